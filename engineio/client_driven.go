package engineio

import (
	"errors"
	"io"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/internal/eio"
	"github.com/sockeye-io/sockeye/internal/netpoll"
	"github.com/sockeye-io/sockeye/internal/ws"
)

// start hands the socket to its driver and makes up for what was asked of it before.
func (s *clientSocket) start() {
	if loop := s.d.cfg.Loop; loop != nil {
		s.driven = loop.driver.Add(s.nc, nil, s)
	} else {
		s.driven = netpoll.Drive(s.nc, s, netpoll.Config{WriteTimeout: writeLimit})
	}
	s.started.Store(true)
	s.driven.Wake()
	s.flow()
	s.mu.Lock()
	final := s.final != nil
	s.mu.Unlock()
	switch {
	case final:
		s.driven.CloseAfterFlush(nil, goodbyeTime)
	case s.d.closing.Load():
		s.shut()
	}
}

// conn is nil until the driver has the connection.
func (s *clientSocket) conn() netpoll.Conn {
	if s.started.Load() {
		return s.driven
	}
	return nil
}

func (s *clientSocket) wake() {
	if nc := s.conn(); nc != nil {
		nc.Wake()
	}
}

func (s *clientSocket) writable() bool {
	nc := s.conn()
	if nc == nil || !nc.Writable() {
		return false
	}
	s.d.c.mu.Lock()
	defer s.d.c.mu.Unlock()
	return s.d.c.q.flights == 0
}

func (s *clientSocket) flow() {
	s.flowing.Lock()
	defer s.flowing.Unlock()
	nc := s.conn()
	if nc == nil {
		return
	}
	s.d.c.mu.Lock()
	paused := s.d.c.paused
	s.d.c.mu.Unlock()
	if paused {
		nc.Pause()
	} else {
		nc.Resume()
	}
}

// shut: Next gives what is queued and then the close frame.
func (s *clientSocket) shut() {
	if nc := s.conn(); nc != nil {
		nc.CloseAfterFlush(nil, closeTime)
	}
}

// finish sends a close frame, unless one has been sent, and closes; at once if there is no time.
func (s *clientSocket) finish(code uint16, abrupt bool) {
	s.mu.Lock()
	if s.final == nil {
		s.final = closeFrame(code)
	}
	s.mu.Unlock()
	nc := s.conn()
	switch {
	case nc == nil:
	case abrupt:
		nc.Close(nil)
	default:
		nc.CloseAfterFlush(nil, goodbyeTime)
	}
}

func closeFrame(code uint16) []byte {
	return ws.AppendMasked(nil, ws.Close, false, maskKey(), ws.ClosePayload(code, ""))
}

// Data implements netpoll.Handler.
func (s *clientSocket) Data(p []byte) error {
	s.d.hear()
	if !s.d.c.enter(s.d) {
		return nil // it has ended
	}
	s.entered = true // and stays so: Data is all that reads from now on
	defer s.d.c.leave()
	defer s.d.c.recovered("OnMessage")
	if err := s.reader.Feed(p, s); err != nil {
		s.failed(err)
	}
	return nil
}

// Closed implements netpoll.Handler.
func (s *clientSocket) Closed(err error) {
	defer s.d.let()
	s.reader.Release()
	s.mu.Lock()
	s.gone = true
	if s.bye != nil {
		s.bye.Stop()
	}
	s.mu.Unlock()
	switch {
	case err == nil, errors.Is(err, io.EOF):
		s.d.lost(ReasonTransportClose, nil)
	case errors.Is(err, netpoll.ErrWriteTimeout):
		s.d.lost(ReasonTransportError, err)
	case errors.Is(err, netpoll.ErrClosed):
		s.d.lost(ReasonForcedClose, err)
	default:
		s.d.lost(ReasonTransportClose, err)
	}
}

// failed ends the connection for what Feed returned.
func (s *clientSocket) failed(err error) {
	var violation *ws.Error
	var closed *peerCloseError
	switch {
	case errors.Is(err, errStopped):
	case errors.As(err, &closed):
		code := closed.code
		if code == closeNoStatus || code == ws.CodeNormal || code == ws.CodeGoingAway {
			err = nil
		}
		s.say(code)
		s.d.lost(ReasonTransportClose, err)
	case errors.As(err, &violation):
		s.say(violation.Code)
		s.d.lost(ReasonTransportError, err)
	case errors.Is(err, eio.ErrMalformed):
		s.d.lost(ReasonParseError, err)
	default:
		s.d.lost(ReasonTransportError, err)
	}
}

// say chooses the close frame of a connection that is about to end.
func (s *clientSocket) say(code uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.final == nil {
		s.final = closeFrame(code)
	}
}

// Message implements ws.Sink.
func (s *clientSocket) Message(op ws.Op, payload []byte) error {
	var p eio.Packet
	if op == ws.Binary {
		p = eio.ParseBinary(s.d.cfg.Protocol, payload)
	} else {
		var err error
		if p, err = eio.ParseText(s.d.cfg.Protocol, payload); err != nil {
			return err
		}
	}
	switch s.stage {
	case stageOpening:
		s.stage = stageCarrying
		return s.d.opened(p, s)
	case stageProbing:
		if p.Type != eio.Pong || string(p.Data) != string(probeResponse) {
			return errProbe
		}
		s.stage = stageCarrying
		return nil
	default:
		return s.deliver(p)
	}
}

// deliver takes a packet. The goroutine has entered the handler, but in the call of Dial.
func (s *clientSocket) deliver(p eio.Packet) error {
	if s.entered {
		if !s.d.deliver(p) {
			return errStopped
		}
		return nil
	}
	if !s.d.c.enter(s.d) {
		return errStopped
	}
	defer s.d.c.leave()
	defer s.d.c.recovered("OnMessage")
	s.d.deliver(p)
	return nil
}

// Control implements ws.Sink.
func (s *clientSocket) Control(op ws.Op, payload []byte) error {
	switch op {
	case ws.Ping:
		s.mu.Lock()
		s.pong = append([]byte{}, payload...) // of several pings the last is answered: RFC 6455, 5.5.3
		s.mu.Unlock()
		s.wake()
		return nil
	case ws.Close:
		code, _ := ws.ParseClose(payload)
		return &peerCloseError{code}
	default:
		return nil // pongs: nobody asked
	}
}

// Next implements netpoll.Handler: it gives about writeChunk of what is to be sent, masked.
func (s *clientSocket) Next(bufs [][]byte) [][]byte {
	if s.ended {
		s.putOut()
		s.over()
		return bufs
	}
	s.mu.Lock()
	pong, final := s.pong, s.final
	s.pong = nil
	s.mu.Unlock()
	ctl, closing := s.take()
	if s.at == len(s.batch) && ctl == 0 && pong == nil && final == nil && !closing && !s.lead {
		s.putOut()
		return bufs
	}
	if s.out == nil {
		s.out = outBuffers.Get().(*[]byte) //nolint:errcheck // nothing else is put
	}
	out := (*s.out)[:0]
	if s.lead {
		s.lead = false
		out = s.appendText(out, eio.Upgrade, nil)
	}
	if pong != nil {
		out = ws.AppendMasked(out, ws.Pong, false, maskKey(), pong)
	}
	for _, p := range withControl(s.small[:0], ctl) {
		out = s.appendText(out, p.Type, nil)
	}
	for s.at < len(s.batch) && len(out) < writeChunk && final == nil {
		out = s.appendMessage(out, s.batch[s.at])
		s.at++
	}
	if final == nil && closing && s.at == len(s.batch) {
		final = closeFrame(closeNoStatus)
	}
	if final != nil {
		out = append(out, final...)
		s.ended = true
	}
	*s.out = out
	return append(bufs, out)
}

// take makes what is queued the batch when the one before is written. closing tells that it is the last one.
func (s *clientSocket) take() (ctl uint8, closing bool) {
	if s.at < len(s.batch) {
		return 0, false
	}
	clear(s.batch)
	s.batch, s.at = s.batch[:0], 0
	if cap(s.batch) > keepQueue {
		s.batch = nil
	}
	c := s.d.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.q.landed() {
		c.notifyDrained()
	}
	if c.state.Load() == stateClosed {
		return 0, false
	}
	s.batch = append(s.batch, c.q.items...)
	ctl = c.ctl
	c.ctl = 0
	c.q.took()
	return ctl, c.state.Load() == stateClosing
}

// over is called when all is written after the close frame. The handler need not wait for the server, which has a
// little time to answer: closing at once could take back what was just sent.
func (s *clientSocket) over() {
	if s.d.c.state.Load() == stateClosing {
		s.d.c.endAsync(ReasonForcedClose, nil)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bye == nil && !s.gone {
		s.bye = time.AfterFunc(goodbyeTime, s.leave)
	}
}

// leave ends the time that the server has.
func (s *clientSocket) leave() { s.driven.Close(nil) } // after over, which is after start

// outBuffers has what sockets write, of *[]byte.
var outBuffers = sync.Pool{New: func() any { return new([]byte) }}

// putOut gives the buffer back: idle connections have none.
func (s *clientSocket) putOut() {
	if s.out == nil {
		return
	}
	if cap(*s.out) <= 2*writeChunk {
		outBuffers.Put(s.out)
	}
	s.out = nil
}

func (s *clientSocket) appendMessage(out []byte, it queued) []byte {
	frame := it.p.wsFrame(s.d.cfg.Protocol, false)
	op, body := ws.Op(frame[0]&0x0f), framePayload(frame)
	if s.deflate && !it.noCompress && len(body) >= deflateFrom {
		if packed := ws.AppendDeflated(nil, body); len(packed) < len(body) {
			return ws.AppendMasked(out, op, true, maskKey(), packed)
		}
	}
	return ws.AppendMasked(out, op, false, maskKey(), body)
}

func (s *clientSocket) appendText(out []byte, t eio.Type, data []byte) []byte {
	var small [16]byte
	body := eio.AppendText(small[:0], s.d.cfg.Protocol, eio.Packet{Type: t, Data: data})
	return ws.AppendMasked(out, ws.Text, false, maskKey(), body)
}

func (s *clientSocket) write(p []byte) error {
	if err := s.nc.SetWriteDeadline(time.Now().Add(writeLimit)); err != nil {
		return err
	}
	if _, err := s.nc.Write(p); err != nil {
		return err
	}
	return s.nc.SetWriteDeadline(time.Time{}) // a loop sets none: what it writes later would fail
}
