package sockeye

import (
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye/engineio"
	"github.com/sockeye-io/sockeye/parser"
)

// conn is the connection of one client, which its sockets share.
//
// Node: socket.io/lib/client.ts Client
type conn struct {
	srv *Server
	eng *engineio.Conn
	dec parser.Decoder
	v4  bool // a client of Socket.IO 2.x

	mu      sync.Mutex
	sockets []*Socket
	pending []attempt     // CONNECTs that are not answered yet
	request *http.Request // until the first namespace is joined
	timer   *time.Timer   // of Config.ConnectTimeout, until then; later of close
	turns   chan struct{} // of one element: see turn; nil until it is needed
	late    *lateness     // while attachments are missing
	left    int           // sockets that have left since a CONNECT found room in the send queue

	fresh   bool // it counts as pending
	closing bool // timer is of close

	closed atomic.Bool // set under mu

	live atomic.Int32 // sockets and attempts whose worker has not done with them

	awaiting bool // whether attachments are missing; used by OnMessage only

	pauseMu sync.Mutex // serializes Pause and Resume of eng
	pauses  int        // sockets whose inbox is full, and one more while the client sends too fast

	rate *meter // nil: it may send as fast as it can
}

// lateness is how Config.AttachmentTimeout is kept. conn.mu guards it.
type lateness struct {
	timer *time.Timer
	since time.Time // when we began to wait, or went on reading
}

// attempt is a CONNECT under way.
type attempt struct {
	name string
	s    *Socket
}

// engineHandler is a Server as the engine sees it.
type engineHandler Server

// OnOpen implements engineio.Handler.
func (h *engineHandler) OnOpen(e *engineio.Conn, r *http.Request) {
	s := (*Server)(h)
	c := &conn{srv: s, eng: e, request: r, v4: e.Protocol() == 3}
	c.dec = s.cfg.Parser.NewDecoder(s.cfg.parserLimits(), c.protocol())
	if r := &s.cfg.Rate; r.Messages > 0 || r.Bytes > 0 {
		c.rate = &meter{start: time.Now()}
	}
	e.SetValue(c)
	if !c.begin() {
		return
	}
	if t := s.cfg.ConnectTimeout; t > 0 {
		c.mu.Lock()
		c.timer = time.AfterFunc(t, c.timeout)
		c.mu.Unlock()
	}
	if c.v4 { // these clients do not ask for the main namespace
		c.connect("/", parser.Arg{})
	}
}

// OnMessage implements engineio.Handler.
func (h *engineHandler) OnMessage(e *engineio.Conn, data []byte, binary bool) {
	c, ok := e.Value().(*conn)
	if !ok || c.closed.Load() {
		return
	}
	if c.rate != nil {
		c.measure(len(data))
	}
	in := incomings.Get().(*incoming) //nolint:errcheck // of our own pool
	done, err := c.dec.Add(&in.packet, data, binary)
	switch {
	case err != nil:
		c.violation("undecodable packet", err)
	case !done:
		c.await()
	default:
		c.arrived()
		if c.receive(in) {
			return // the packet is kept
		}
	}
	in.packet = parser.Packet{}
	incomings.Put(in)
}

// OnClose implements engineio.Handler. It may be called under locks of an adapter, when an emit closes the
// connection.
func (h *engineHandler) OnClose(e *engineio.Conn, reason engineio.Reason, _ error) {
	c, ok := e.Value().(*conn)
	if !ok {
		return
	}
	r := Reason(reason)
	if r == ReasonForcedClose && c.srv.isClosing() {
		r = ReasonShuttingDown
	}
	c.end(r)
}

// incomings holds packets that nobody kept.
var incomings = sync.Pool{New: func() any { return new(incoming) }}

func (c *conn) protocol() int {
	if c.v4 {
		return 4
	}
	return 5
}

// receive takes one packet, and tells whether it is kept.
func (c *conn) receive(in *incoming) (kept bool) {
	p := &in.packet
	name := p.Namespace
	if c.v4 {
		var auth parser.Arg
		var ok bool
		if name, auth, ok = parseV4(name); !ok {
			c.violation("invalid namespace", nil)
			return false
		}
		if p.Type == parser.Connect {
			p.Data = auth
		}
	}
	c.mu.Lock()
	s := c.find(name)
	c.mu.Unlock()
	switch {
	case s == nil && p.Type == parser.Connect:
		c.connect(name, p.Data)
		return false
	case s == nil, p.Type == parser.Connect, p.Type == parser.ConnectError:
		c.violation("packet out of place", nil)
		return false
	}
	switch p.Type {
	case parser.Event, parser.BinaryEvent:
		if p.Empty {
			return false
		}
		c.counts().eventsIn.Add(1)
		in.init(s)
		s.push(in)
		return true
	case parser.Ack, parser.BinaryAck:
		if p.HasID {
			s.acknowledged(p.ID, p.Args)
		}
		return false
	case parser.Disconnect:
		c.leave(s)
		s.end(ReasonClientDisconnect)
		return false
	case parser.Connect, parser.ConnectError:
	}
	return false
}

// init makes the message of an event.
func (in *incoming) init(s *Socket) {
	p := &in.packet
	if p.HasID {
		in.msg.Init(p.Event, p.Args, (*acker)(s), p.ID)
	} else {
		in.msg.Init(p.Event, p.Args, nil, 0)
	}
}

// find is called under mu.
func (c *conn) find(name string) *Socket {
	for _, s := range c.sockets {
		if s.nsp.name == name {
			return s
		}
	}
	return nil
}

// leave takes s out of the sockets of the connection, so that the client may connect to its namespace again.
func (c *conn) leave(s *Socket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := slices.Index(c.sockets, s); i >= 0 {
		c.sockets = slices.Delete(c.sockets, i, i+1)
		c.left++
	}
}

// overfull tells whether the send queue is beyond its bounds, as the answers to CONNECT and what recovery sends again
// may make it.
func (c *conn) overfull() bool {
	bytes, packets := c.eng.Buffered()
	return bytes > c.srv.cfg.Queue.MaxBytes || packets > c.srv.cfg.Queue.MaxPackets
}

// await bounds the time that attachments may take. It is called for the head of a packet and each attachment but
// the last.
//
// Differs from Node: it waits forever.
func (c *conn) await() {
	t := c.srv.cfg.AttachmentTimeout
	if c.awaiting || t < 0 {
		return
	}
	c.awaiting = true
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed.Load() {
		return
	}
	l := &lateness{since: time.Now()}
	l.timer = time.AfterFunc(t, func() { c.overdue(l) })
	c.late = l
}

// arrived ends what await began, if it did.
func (c *conn) arrived() {
	if !c.awaiting {
		return
	}
	c.awaiting = false
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.late != nil {
		c.late.timer.Stop()
		c.late = nil
	}
}

// overdue closes a connection whose attachments did not come, unless it is we who do not read, or did not until a moment
// ago. A timer calls it; by then it may be of no concern any more.
func (c *conn) overdue(l *lateness) {
	c.pauseMu.Lock()
	paused := c.pauses > 0
	c.pauseMu.Unlock()
	c.mu.Lock()
	missing, left := c.late == l, c.srv.cfg.AttachmentTimeout
	if !paused {
		left -= time.Since(l.since)
	}
	if missing && left > 0 {
		l.timer.Reset(left)
	}
	c.mu.Unlock()
	if missing && left <= 0 {
		c.violation("attachments are missing", nil)
	}
}

// renew gives the client all the time again to send attachments that we did not read.
func (c *conn) renew() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.late != nil {
		c.late.since = time.Now()
	}
}

// violation closes the connection of a client that does not follow the protocol.
func (c *conn) violation(what string, err error) {
	if l := c.srv.debugging(); l != nil {
		attrs := []slog.Attr{slog.String("what", what), slog.String("transport", c.eng.Transport())}
		if err != nil {
			attrs = append(attrs, slog.Any("error", err))
		}
		l.LogAttrs(quiet, slog.LevelDebug, "protocol violation", attrs...)
	}
	c.close()
}

// closeGrace is how long a polling connection has to find a poll that tells the client of its end.
const closeGrace = 50 * time.Millisecond

// close closes the connection.
//
// Node: socket.io/lib/client.ts close
func (c *conn) close() {
	_ = c.eng.Close() // it never fails
	if c.eng.Transport() == "websocket" {
		c.end(ReasonForcedClose)
		return
	}
	// Without a pending poll the engine waits for one before it tells us, but the sockets end now.
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed.Load() {
		return
	}
	if c.timer != nil {
		c.timer.Stop()
	}
	c.closing = true
	c.timer = time.AfterFunc(closeGrace, c.forced)
}

// forced is called by a timer.
func (c *conn) forced() { c.end(ReasonForcedServerClose) }

// disconnect ends all sockets, telling the client, and closes the connection.
//
// Node: socket.io/lib/client.ts _disconnect
func (c *conn) disconnect() {
	c.mu.Lock()
	sockets := slices.Clone(c.sockets)
	c.sockets = nil
	c.mu.Unlock()
	for _, s := range sockets {
		s.bye()
	}
	c.close()
}

// timeout closes a connection that has joined no namespace in time. A timer calls it.
func (c *conn) timeout() {
	c.mu.Lock()
	idle := len(c.sockets) == 0
	c.mu.Unlock()
	if idle {
		c.close()
	}
}

// end ends the sockets of the connection.
func (c *conn) end(r Reason) {
	c.mu.Lock()
	if c.closed.Load() {
		c.mu.Unlock()
		return
	}
	c.closed.Store(true)
	c.begun()
	sockets, pending := c.sockets, c.pending
	c.sockets, c.pending, c.request = nil, nil, nil
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
	if c.late != nil {
		c.late.timer.Stop()
		c.late = nil
	}
	c.mu.Unlock()
	if c.rate != nil {
		c.rate.stop()
	}
	for _, s := range sockets {
		s.end(r)
	}
	for _, a := range pending {
		a.s.end(r)
	}
}

// pause and resume are called by sockets in turn: the connection is paused while any inbox is full.
func (c *conn) pause() {
	c.pauseMu.Lock()
	defer c.pauseMu.Unlock()
	if c.pauses++; c.pauses == 1 {
		c.eng.Pause()
	}
}

func (c *conn) resume() {
	c.renew() // before anybody can see that the pause is over
	c.pauseMu.Lock()
	defer c.pauseMu.Unlock()
	if c.pauses--; c.pauses == 0 {
		c.eng.Resume()
	}
}

// send encodes and queues a packet. With force the bounds of the queue do not hold.
func (c *conn) send(p *parser.Packet, force bool) error {
	f, err := c.srv.cfg.Parser.Encode(p, c.protocol())
	if err != nil {
		return err
	}
	return c.sendFrames(f, engineio.SendOptions{Force: force})
}

func (c *conn) sendFrames(f parser.Frames, o engineio.SendOptions) error {
	return sendError(c.queue(f, o))
}

// sendCounted is sendFrames that counts what was queued.
func (c *conn) sendCounted(f parser.Frames, o engineio.SendOptions, sent *atomic.Uint64) error {
	err := c.queue(f, o)
	if err == nil {
		sent.Add(1)
	}
	return sendError(err)
}

func (c *conn) queue(f parser.Frames, o engineio.SendOptions) error {
	if len(f.Attachments) == 0 && o == (engineio.SendOptions{}) {
		return c.eng.Send(f.Head, f.Binary)
	}
	return c.eng.SendPrepared(o, prepare(f)...)
}

// prepare makes the messages of one packet ready for any number of connections.
func prepare(f parser.Frames) []*engineio.Prepared {
	ps := make([]*engineio.Prepared, 1, 1+len(f.Attachments))
	ps[0] = engineio.Prepare(f.Head, f.Binary)
	for _, b := range f.Attachments {
		ps = append(ps, engineio.Prepare(b, true))
	}
	return ps
}
