package engineio

import (
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye/internal/eio"
	"github.com/sockeye-io/sockeye/internal/netpoll"
	"github.com/sockeye-io/sockeye/internal/ws"
)

const (
	// closeTime is how long what is queued may take to leave when a connection is closed, on either side.
	closeTime = 10 * time.Second

	// goodbyeTime is that of the close frame alone, with the answer of the peer.
	goodbyeTime = 2 * time.Second
)

// Frames of packets without data, shared by all connections.
var (
	framePing  = ws.AppendFrame(nil, ws.Text, []byte("2"))
	framePong  = ws.AppendFrame(nil, ws.Text, []byte("3"))
	frameProbe = ws.AppendFrame(nil, ws.Text, []byte("3probe"))
	frameClose = ws.AppendClose(nil, ws.CodeNoStatus, "")
)

// How far a WebSocket of an open session is.
const (
	probeNone uint8 = iota // it is the transport
	probeAwaited
	probeAnswered
	probeFailed
)

// webSocket is the transport of one WebSocket, and the owner of its network connection.
type webSocket struct {
	c  *Conn
	s  *Server
	rd ws.Reader // used by Data only

	nc      netpoll.Conn // to be used once started; see conn
	started atomic.Bool
	flowing sync.Mutex // held over Pause and Resume of nc, so that the last wish wins

	// Guarded by c.mu.
	ahead   []byte // frames that go before what is queued
	final   []byte // the close frame of an ended connection; it is sent once
	probing uint8
	writing bool // what Next gave may not be written yet

	deflate bool
	b64     bool
	ended   bool // final has been given to the driver; used by Next only
	entered bool // Data has entered the handler; used by Data only
}

func (t *webSocket) name() string { return transportWebSocket }

// conn is nil until the driver has the connection.
func (t *webSocket) conn() netpoll.Conn {
	if t.started.Load() {
		return t.nc
	}
	return nil
}

func (t *webSocket) wake() {
	if nc := t.conn(); nc != nil {
		nc.Wake()
	}
}

func (t *webSocket) writable() bool {
	nc := t.conn()
	return nc != nil && nc.Writable()
}

func (t *webSocket) flow() {
	t.flowing.Lock()
	defer t.flowing.Unlock()
	nc := t.conn()
	t.c.mu.Lock()
	paused := t.c.paused && t.c.t == t
	t.c.mu.Unlock()
	switch {
	case nc == nil:
	case paused:
		nc.Pause()
	default:
		nc.Resume()
	}
}

// shut: Next gives what is queued and then the close frame, and Closed ends the connection.
func (t *webSocket) shut() {
	if nc := t.conn(); nc != nil {
		nc.CloseAfterFlush(nil, closeTime)
	}
}

func (t *webSocket) cut(Reason) { t.finish(frameClose) }

// finish sends a close frame, unless there is one already, and closes.
func (t *webSocket) finish(frame []byte) {
	t.c.mu.Lock()
	if t.final == nil {
		t.final = frame
	}
	t.c.mu.Unlock()
	if nc := t.conn(); nc != nil {
		nc.CloseAfterFlush(nil, goodbyeTime)
	}
}

// start hands the connection to the driver and makes up for what was asked of t before.
func (t *webSocket) start(add func(h netpoll.Handler) netpoll.Conn) {
	nc := add(t)
	t.nc = nc
	t.started.Store(true)
	t.c.mu.Lock()
	final := t.final != nil
	closing := t.c.t == t && t.c.state.Load() == stateClosing
	paused := t.c.paused
	t.c.mu.Unlock()
	nc.Wake()
	if paused {
		t.flow()
	}
	switch {
	case final:
		nc.CloseAfterFlush(nil, goodbyeTime)
	case closing:
		nc.CloseAfterFlush(nil, closeTime)
	}
}

// Next implements netpoll.Handler.
func (t *webSocket) Next(bufs [][]byte) [][]byte {
	c := t.c
	c.mu.Lock()
	if t.ended {
		closing := c.t == t && c.state.Load() == stateClosing
		c.mu.Unlock()
		if closing { // all has been written; the handler need not wait for the peer to go
			c.endAsync(ReasonForcedClose, nil)
		}
		return bufs
	}
	defer c.mu.Unlock()
	if len(t.ahead) > 0 {
		bufs = append(bufs, t.ahead)
		t.ahead = nil
	}
	state := c.state.Load()
	if c.t == t && state != stateClosed && t.final == nil {
		bufs = t.nextQueued(bufs)
		if state == stateClosing {
			t.final = frameClose
		}
	}
	if t.final != nil {
		t.ended = true
		bufs = append(bufs, t.final)
	}
	t.writing = len(bufs) > 0
	return bufs
}

// nextQueued takes what is queued. c.mu is held.
func (t *webSocket) nextQueued(bufs [][]byte) [][]byte {
	c := t.c
	if c.q.landed() {
		c.notifyDrained()
	}
	if c.ctl != 0 {
		if c.ctl&ctlPing != 0 {
			bufs = append(bufs, framePing)
		}
		if c.ctl&ctlPong != 0 {
			bufs = append(bufs, framePong)
		}
		c.ctl = 0
	}
	if len(c.q.items) == 0 {
		return bufs
	}
	c.taken()
	protocol := int(c.protocol)
	for i := range c.q.items {
		it := &c.q.items[i]
		if t.deflate && !it.noCompress && it.p.size() >= t.s.cfg.DeflateThreshold {
			bufs = append(bufs, it.p.deflated(protocol, t.b64))
		} else {
			bufs = append(bufs, it.p.wsFrame(protocol, t.b64))
		}
	}
	c.q.took()
	return bufs
}

// errStop stops the reader: the connection has ended in an orderly way.
var errStop = errors.New("engineio: stop")

// Data implements netpoll.Handler.
func (t *webSocket) Data(p []byte) error {
	t.entered = t.c.enter(t)
	t.feed(p)
	if t.entered {
		t.entered = false
		t.c.leave()
	}
	return nil
}

func (t *webSocket) feed(p []byte) {
	defer t.c.recovered("OnMessage")
	err := t.rd.Feed(p, t)
	if err == nil || errors.Is(err, errStop) {
		return
	}
	code := ws.CodeProtocol
	if e, ok := errors.AsType[*ws.Error](err); ok {
		code = e.Code
	}
	t.fail(ReasonTransportError, err, ws.AppendClose(nil, code, ""))
}

// fail ends the connection, or the probe, with the close frame.
func (t *webSocket) fail(reason Reason, err error, frame []byte) {
	c := t.c
	c.mu.Lock()
	if t.final == nil {
		t.final = frame
	}
	current := c.t == t
	c.mu.Unlock()
	if current {
		c.end(reason, err)
		return
	}
	c.abandon(t)
}

// Message implements ws.Sink.
func (t *webSocket) Message(op ws.Op, payload []byte) error {
	c := t.c
	var p eio.Packet
	if op == ws.Binary {
		p = eio.ParseBinary(int(c.protocol), payload)
	} else {
		var err error
		if p, err = eio.ParseText(int(c.protocol), payload); err != nil {
			t.fail(ReasonParseError, err, frameClose)
			return errStop
		}
	}
	if !t.entered {
		return t.probe(p)
	}
	if p.Type == eio.Close {
		return nil // means nothing here, as in Node: the WebSocket itself is closed
	}
	if !c.receive(p) {
		return errStop
	}
	return nil
}

// Control implements ws.Sink.
func (t *webSocket) Control(op ws.Op, payload []byte) error {
	if op == ws.Close {
		code, _ := ws.ParseClose(payload)
		t.fail(ReasonTransportClose, nil, ws.AppendClose(nil, code, ""))
		return errStop
	}
	if !t.c.receiveControl() {
		t.fail(ReasonTransportError, errControlFlood, ws.AppendClose(nil, ws.CodePolicy, ""))
		return errStop
	}
	if op == ws.Ping {
		t.send(ws.AppendFrame(nil, ws.Pong, payload))
	}
	return nil
}

// send queues a frame before the messages. What is ahead is bounded by the rate of control frames.
func (t *webSocket) send(frame []byte) {
	t.c.mu.Lock()
	if len(t.ahead) < maxAhead {
		t.ahead = append(t.ahead, frame...)
	}
	t.c.mu.Unlock()
	t.wake()
}

// maxAhead bounds the frames that wait ahead of the queue, in bytes: answers to pings beyond it are dropped.
const maxAhead = 4 << 10

// Closed implements netpoll.Handler.
func (t *webSocket) Closed(err error) {
	t.rd.Release()
	c := t.c
	c.mu.Lock()
	current := c.t == t
	closing := c.state.Load() == stateClosing
	c.mu.Unlock()
	switch {
	case !current:
		c.abandon(t)
	case closing:
		c.end(ReasonForcedClose, nil)
	case errors.Is(err, netpoll.ErrWriteTimeout):
		c.end(ReasonTransportError, err)
	default:
		c.end(ReasonTransportClose, err)
	}
}

// accept does the opening handshake of a WebSocket. A refusal has been answered when ok is false.
func (s *Server) accept(w http.ResponseWriter, r *http.Request, opening bool) (add func(netpoll.Handler) netpoll.Conn, deflate, ok bool) {
	h := http.Header{}
	s.headers(h, r, opening)
	nc, first, deflate, err := ws.Accept(w, r, ws.AcceptOptions{
		Header: h, Deflate: s.cfg.PerMessageDeflate, Timeout: writeTimeout,
	})
	if err != nil {
		return nil, false, false
	}
	return func(h netpoll.Handler) netpoll.Conn { return s.driver.Add(nc, first, h) }, deflate, true
}

func (s *Server) newWebSocket(c *Conn, q *query, deflate bool) *webSocket {
	t := &webSocket{c: c, s: s, b64: q.b64 && c.protocol == 3, deflate: deflate}
	frames := &s.frames[0]
	if deflate {
		frames = &s.frames[1]
	}
	t.rd = ws.NewReader(frames)
	return t
}

// serveWebSocket serves an upgrade request; c is the session that it belongs to, or nil.
func (s *Server) serveWebSocket(w http.ResponseWriter, r *http.Request, q *query, c *Conn) {
	switch {
	case q.transport != transportWebSocket:
		s.dismiss(w, r)
	case c != nil:
		s.upgradeTo(w, r, q, c)
	default:
		s.openWebSocket(w, r, q)
	}
}

func (s *Server) openWebSocket(w http.ResponseWriter, r *http.Request, q *query) {
	if s.isClosing() {
		unavailable(w)
		return
	}
	add, deflate, ok := s.accept(w, r, true)
	if !ok {
		return
	}
	var t *webSocket
	c := s.register(r, q.protocol(), func(c *Conn) transport {
		t = s.newWebSocket(c, q, deflate)
		open := append([]byte{'0' + byte(eio.Open)}, s.handshake(c.sid, nil)...)
		t.ahead = ws.AppendFrame(nil, ws.Text, open)
		return t
	})
	if c == nil {
		add(&farewell{}).CloseAfterFlush(nil, goodbyeTime)
		return
	}
	c.startHeartbeat()
	c.open(r)
	t.start(add)
}

// dismiss accepts a WebSocket only to close it, as Node does with one that has no use.
func (s *Server) dismiss(w http.ResponseWriter, r *http.Request) {
	if add, _, ok := s.accept(w, r, false); ok {
		add(&farewell{}).CloseAfterFlush(nil, goodbyeTime)
	}
}

// farewell sends a close frame and hears nothing.
type farewell struct{ said bool }

func (*farewell) Data([]byte) error { return nil }
func (*farewell) Closed(error)      {}

// Next implements netpoll.Handler.
func (f *farewell) Next(bufs [][]byte) [][]byte {
	if f.said {
		return bufs
	}
	f.said = true
	return append(bufs, frameClose)
}
