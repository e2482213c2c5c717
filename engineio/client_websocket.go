package engineio

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"time"

	"github.com/sockeye-io/sockeye/internal/eio"
	"github.com/sockeye-io/sockeye/internal/ws"
)

const (
	readChunk     = 4096
	writeChunk    = 64 << 10 // what is queued is written in pieces of about this size
	closeNoStatus = ws.CodeNoStatus

	// deflateFrom is the size in bytes from which messages are compressed, as in Node.
	deflateFrom = 1024
)

// What a socket is waiting for.
type socketStage uint8

const (
	stageOpening  socketStage = iota // the open packet
	stageProbing                     // the pong of the probe
	stageCarrying                    // packets
)

var (
	errStopped    = errors.New("engineio: connection ended")
	errProbe      = errors.New("engineio: wrong answer to a probe")
	probeResponse = []byte("probe")
)

// peerCloseError is a close frame of the server.
type peerCloseError struct{ code uint16 }

func (e *peerCloseError) Error() string {
	return fmt.Sprintf("engineio: the server closed the WebSocket with code %d", e.code)
}

// clientSocket is a WebSocket of the client side. One goroutine reads, one writes.
type clientSocket struct {
	d       *dialed
	nc      net.Conn
	reader  ws.Reader
	first   []byte // read with the answer to the handshake
	deflate bool
	stage   socketStage // of the reader

	out []byte // of the writer
}

// openSocket opens a connection that is WebSocket from the start.
func (d *dialed) openSocket(ctx context.Context) (*clientSocket, error) {
	s, err := d.dialSocket(ctx, "")
	if err != nil {
		return nil, err
	}
	if err := s.until(ctx, stageCarrying); err != nil {
		if d.c != nil {
			s.failed(err) // it was open already: OnClose tells
			return s, nil
		}
		_ = s.nc.Close() // it is of no use
		return nil, &TransportError{Transport: transportWebSocket, Code: -1, Err: err}
	}
	return s, nil
}

// dialSocket connects. The socket is closed when the connection ends.
func (d *dialed) dialSocket(ctx context.Context, sid string) (*clientSocket, error) {
	nc, first, deflate, resp, err := ws.Dial(ctx, d.target(transportWebSocket, sid), d.socketOptions()) //nolint:bodyclose // it is in memory
	if err != nil {
		refusal := &TransportError{Transport: transportWebSocket, Code: -1, Err: err}
		if resp != nil {
			refusal.readAnswer(resp)
		}
		return nil, refusal
	}
	limit := d.cfg.MaxPayload
	if limit == 0 {
		limit = math.MaxInt64 >> 1
	} else {
		limit++ // of the type digit
	}
	s := &clientSocket{
		d: d, nc: nc, first: first, deflate: deflate,
		reader: ws.NewReader(&ws.ReaderConfig{MaxMessage: limit, Client: true, Deflate: deflate}),
	}
	context.AfterFunc(d.ctx, func() { _ = nc.Close() }) // Close is how reading and writing are ended
	if sid != "" {
		s.stage = stageProbing
	} else {
		d.carrier.Store(s)
	}
	return s, nil
}

// until reads until the stage is reached or ctx ends.
func (s *clientSocket) until(ctx context.Context, stage socketStage) error {
	stop := context.AfterFunc(ctx, func() { _ = s.nc.SetReadDeadline(time.Unix(1, 0)) }) // fails on a closed one only
	err := s.readTo(stage)
	if !stop() {
		return context.Cause(ctx) // the deadline is or will be set
	}
	return err
}

func (s *clientSocket) readTo(stage socketStage) error {
	first := s.first
	s.first = nil
	if err := s.reader.Feed(first, s); err != nil {
		return err
	}
	buf := make([]byte, readChunk)
	for s.stage != stage {
		n, err := s.nc.Read(buf)
		if ferr := s.reader.Feed(buf[:n], s); ferr != nil {
			return ferr
		}
		if err != nil && s.stage != stage {
			return err
		}
	}
	return nil
}

// probe tries to move the connection from polling to WebSocket, and is the reader of the socket then.
// It ends when that fails, which does not harm the connection, or when the connection ends.
//
// Protocol: engine.io v4, "Upgrade".
func (d *dialed) probe() {
	defer d.exit()
	ctx, stop := context.WithTimeout(d.ctx, probeLimit)
	defer stop()
	s, err := d.dialSocket(ctx, d.hs.SID)
	if err != nil {
		return
	}
	if err = s.write(s.appendText(nil, eio.Ping, probeResponse)); err == nil {
		err = s.until(ctx, stageCarrying)
	}
	if err != nil {
		_ = s.nc.Close() // polling goes on
		return
	}
	close(d.stopPolls)
	<-d.pollsDone
	select {
	case d.switched <- s:
		s.run()
	case <-d.ctx.Done():
	}
}

// readSocket ends when the connection ends.
func (d *dialed) readSocket(s *clientSocket) {
	defer d.exit()
	s.run()
}

// run reads until the connection ends.
func (s *clientSocket) run() {
	_ = s.nc.SetReadDeadline(time.Time{}) // fails on a closed one only
	buf := make([]byte, readChunk)
	for s.d.waitResumed(nil) {
		n, err := s.nc.Read(buf)
		if n > 0 {
			s.d.hear()
			if err := s.reader.Feed(buf[:n], s); err != nil {
				s.failed(err)
				return
			}
		}
		if errors.Is(err, io.EOF) {
			s.d.lost(ReasonTransportClose, nil)
			return
		}
		if err != nil {
			s.d.lost(ReasonTransportClose, err)
			return
		}
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
		_ = s.writeClose(code) // the peer may be gone
		s.d.lost(ReasonTransportClose, err)
	case errors.As(err, &violation):
		_ = s.writeClose(violation.Code) // the peer may be gone
		s.d.lost(ReasonTransportError, err)
	case errors.Is(err, eio.ErrMalformed):
		s.d.lost(ReasonParseError, err)
	default:
		s.d.lost(ReasonTransportError, err)
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
		return s.d.opened(p, transportWebSocket)
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

func (s *clientSocket) deliver(p eio.Packet) error {
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
		s.d.mu.Lock()
		s.d.wirePong = append([]byte{}, payload...) // of several pings the last is answered: RFC 6455, 5.5.3
		s.d.mu.Unlock()
		s.d.wake()
		return nil
	case ws.Close:
		code, _ := ws.ParseClose(payload)
		return &peerCloseError{code}
	default:
		return nil // pongs: nobody asked
	}
}

// send writes control packets, a pong frame unless pong is nil, and messages.
func (s *clientSocket) send(batch []queued, ctl uint8, pong []byte) error {
	out := s.out[:0]
	if pong != nil {
		out = ws.AppendMasked(out, ws.Pong, false, maskKey(), pong)
	}
	for _, p := range controlPackets(ctl) {
		out = s.appendText(out, p.Type, nil)
	}
	for _, it := range batch {
		out = s.appendMessage(out, it)
		if len(out) >= writeChunk {
			if err := s.write(out); err != nil {
				return err
			}
			out = out[:0]
		}
	}
	s.out = out[:0]
	if cap(out) > 2*writeChunk {
		s.out = nil
	}
	if len(out) == 0 {
		return nil
	}
	return s.write(out)
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

func (s *clientSocket) writePacket(t eio.Type) error { return s.write(s.appendText(nil, t, nil)) }

func (s *clientSocket) writeClose(code uint16) error {
	return s.write(ws.AppendMasked(nil, ws.Close, false, maskKey(), ws.ClosePayload(code, "")))
}

func (s *clientSocket) write(p []byte) error {
	if err := s.nc.SetWriteDeadline(time.Now().Add(writeLimit)); err != nil {
		return err
	}
	_, err := s.nc.Write(p)
	return err
}

// maskKey is a key that scripts cannot foresee, which is what masking is for.
func maskKey() (key [4]byte) {
	_, _ = rand.Read(key[:]) // it never fails
	return key
}
