package engineio

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye/internal/eio"
)

// env is what the connections of one server, or one dialed connection, have in common.
type env struct {
	handler  Handler
	queue    SendQueue // with its defaults filled in
	interval time.Duration
	timeout  time.Duration
	start    time.Time // where due times count from

	// wheel calls beat when a connection is due. Without one, the transport looks after heartbeats (Dial).
	wheel *wheel

	// fault is told of panics in callbacks. It is never nil.
	fault func(error)

	// ended is called once for each connection when it is closed, and told once its OnClose has returned: the
	// owner of the connections waits for that. Both may be nil.
	ended func(*Conn)
	told  func(*Conn)

	// upgraded is told of a change of transport, as a message is. It may be nil.
	upgraded func(*Conn)

	count *counters // nil: nothing is counted
}

// now is the time in nanoseconds since start.
func (e *env) now() int64 { return int64(time.Since(e.start)) }

// transport carries the packets of a Conn. None of its methods blocks, and none is called with c.mu held.
type transport interface {
	name() string

	// wake says that there is something to take: messages or control packets.
	wake()

	// writable tells whether a message would leave at once.
	writable() bool

	// flow makes reading follow c.paused.
	flow()

	// shut sends what is queued, says goodbye and calls c.end with ReasonForcedClose. c is closing.
	shut()

	// cut says goodbye and ends. c is closed for the given reason.
	cut(reason Reason)
}

// States of a Conn.
const (
	stateOpen    uint32 = iota
	stateClosing        // Close was called: what is queued is sent, nothing is received
	stateClosed
)

// Control packets that wait to be sent, one at most of each kind.
const (
	ctlPing uint8 = 1 << iota
	ctlPong
	ctlNoop
)

// States of the heartbeat of protocol 4.
const (
	beatIdle     uint32 = iota
	beatWaiting         // for the pong
	beatExtended        // for the pong, and another packet has moved the deadline
)

// Conn is a connection. Its methods are safe for concurrent use and, unless said otherwise, may be called
// from the handler.
type Conn struct {
	e      *env
	sid    string
	blob   string // see info.go
	value  any
	opened int64 // unix, nanoseconds

	state atomic.Uint32 // changed with mu held
	beats atomic.Uint32 // changed with mu held

	protocol uint8

	got got // used by the goroutine in the handler only

	mu sync.Mutex

	// Guarded by mu.
	t       transport
	up      *upgrade // while a WebSocket is probed
	q       sendq
	drained chan struct{} // closed when the queue gets shorter; nil while nobody waits
	resumed chan struct{} // closed by Resume; nil while nobody waits
	reason  Reason
	err     error
	ctl     uint8
	owed    uint16 // pings without pong
	paused  bool
	calling bool // a goroutine is in the handler
	told    bool // that goroutine, or another, has taken it on itself to call OnClose
	forged  rate

	// The place in the wheel, guarded by the wheel's lock; due by mu.
	prev, next *Conn
	tick       int64
	due        int64 // when the heartbeat acts, in nanoseconds since e.start
	pinged     int64 // when a ping was last due, in the same; guarded by mu
}

// newConn returns a connection that is calling its handler: the caller is to call OnOpen and then leave.
func newConn(e *env, sid string, protocol int, blob string) *Conn {
	return &Conn{
		e: e, sid: sid, blob: blob, protocol: uint8(protocol), opened: time.Now().UnixNano(), calling: true,
	}
}

// ID is the session id: 20 characters. It is a secret.
func (c *Conn) ID() string { return c.sid }

// Protocol is 4 or 3.
func (c *Conn) Protocol() int { return int(c.protocol) }

// Transport is the current one, "polling" or "websocket".
func (c *Conn) Transport() string { return c.current().name() }

func (c *Conn) current() transport {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

// Value is what SetValue set; both are to be used by the handler only.
func (c *Conn) Value() any { return c.value }

// SetValue keeps v with the connection.
func (c *Conn) SetValue(v any) { c.value = v }

// Opened is when the connection was opened.
func (c *Conn) Opened() time.Time { return time.Unix(0, c.opened) }

// Send queues one message, which it copies. It never blocks.
// Errors: ErrClosed, ErrQueueFull.
func (c *Conn) Send(data []byte, binary bool) error {
	if c.state.Load() != stateOpen {
		return ErrClosed
	}
	return c.SendPrepared(SendOptions{}, Prepare(data, binary))
}

// SendOptions modify SendPrepared.
type SendOptions struct {
	Volatile   bool // drop (ErrDropped) unless the transport can take it at once
	NoCompress bool
	Force      bool // beyond the bounds of the queue
}

// SendPrepared queues messages together: all or none. It never blocks and allocates nothing in the
// common case. ps is not kept.
// Errors: ErrClosed, ErrQueueFull, ErrDropped.
func (c *Conn) SendPrepared(o SendOptions, ps ...*Prepared) error {
	if len(ps) == 0 {
		return nil
	}
	if o.Volatile && !c.current().writable() {
		c.countVolatile(len(ps))
		return ErrDropped
	}
	c.mu.Lock()
	if c.state.Load() != stateOpen {
		c.mu.Unlock()
		return ErrClosed
	}
	if o.Volatile && len(c.q.items) > 0 {
		c.mu.Unlock()
		c.countVolatile(len(ps))
		return ErrDropped
	}
	if !o.Force {
		before := len(c.q.items)
		ok := c.q.admit(&c.e.queue, ps)
		c.countDropped(before - len(c.q.items))
		if !ok {
			c.mu.Unlock()
			return c.overflow(len(ps))
		}
	}
	c.q.push(ps, o.NoCompress)
	t := c.t
	c.mu.Unlock()
	t.wake()
	return nil
}

// overflow is the end of a call of SendPrepared that found the queue full.
func (c *Conn) overflow(messages int) error {
	if c.e.queue.OnFull != CloseConnection {
		c.countDropped(messages)
		return ErrQueueFull
	}
	c.endAsync(ReasonTransportError, ErrQueueFull)
	return ErrQueueFull
}

// Buffered gives what waits to be sent: what is queued, and what the transport has taken but not yet written.
func (c *Conn) Buffered() (bytes, packets int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.q.bytes + c.q.flight, len(c.q.items) + c.q.flights
}

// WaitBuffered waits until at most n bytes wait to be sent, the connection is closed (ErrClosed) or ctx ends
// (its cause). It must not be called from the handler.
func (c *Conn) WaitBuffered(ctx context.Context, n int) error {
	return c.wait(ctx, func(q *sendq) bool { return q.bytes+q.flight <= n })
}

// WaitRoom waits until the send queue is at most half full and takes messages of n bytes together, or is empty: then it
// takes any. Otherwise it is as WaitBuffered.
func (c *Conn) WaitRoom(ctx context.Context, n int) error {
	limit := &c.e.queue
	return c.wait(ctx, func(q *sendq) bool {
		return q.fits(limit, max(n, limit.MaxBytes/2), max(1, limit.MaxPackets/2))
	})
}

// wait waits until done, the connection is closed or ctx ends.
func (c *Conn) wait(ctx context.Context, done func(q *sendq) bool) error {
	for {
		c.mu.Lock()
		if c.state.Load() == stateClosed {
			c.mu.Unlock()
			return ErrClosed
		}
		if done(&c.q) {
			c.mu.Unlock()
			return nil
		}
		if c.drained == nil {
			c.drained = make(chan struct{})
		}
		drained := c.drained
		c.mu.Unlock()
		select {
		case <-drained:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// notifyDrained wakes those who wait for room. c.mu is held.
func (c *Conn) notifyDrained() {
	if c.drained != nil {
		close(c.drained)
		c.drained = nil
	}
}

// Pause stops reading, which pushes back on the peer; the messages of a WebSocket that have been read already, one
// buffer at most, are still given to the handler. A paused connection does not fail its heartbeat. Pauses do not count: one Resume ends them.
func (c *Conn) Pause() {
	c.mu.Lock()
	c.paused = true
	c.pausing()
	t := c.t
	c.mu.Unlock()
	t.flow()
}

// Resume ends what Pause began.
func (c *Conn) Resume() {
	c.mu.Lock()
	if !c.paused {
		c.mu.Unlock()
		return
	}
	c.paused = false
	if c.resumed != nil {
		close(c.resumed)
		c.resumed = nil
	}
	c.restartWait()
	t, ping := c.t, c.ctl&ctlPing != 0
	c.mu.Unlock()
	t.flow()
	if ping {
		t.wake()
	}
}

// Close sends what is queued and closes with ReasonForcedClose. It does not wait: OnClose comes later, on another
// goroutine. A polling connection tells of the close by a poll of its own, after those that take what is queued; it
// waits for each at most for Config.PollingCloseWait.
// The error is always nil.
//
// Node: engine.io/lib/socket.ts close
func (c *Conn) Close() error {
	c.mu.Lock()
	if c.state.Load() != stateOpen {
		c.mu.Unlock()
		return nil
	}
	c.state.Store(stateClosing)
	c.unschedule()
	if c.resumed != nil { // nothing is received any more
		close(c.resumed)
		c.resumed = nil
	}
	t := c.t
	c.mu.Unlock()
	t.shut()
	return nil
}

// enter claims the handler for a transport, which then calls receive and, at the end, leave. It is false when the
// connection is closed or has another transport.
func (c *Conn) enter(t transport) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state.Load() == stateClosed || c.t != t || c.calling {
		return false
	}
	c.calling = true
	return true
}

// leave ends what enter began; if the connection was closed meanwhile the handler is told now.
func (c *Conn) leave() {
	c.countReceived()
	c.mu.Lock()
	c.calling = false
	tell := c.state.Load() == stateClosed && !c.told
	if tell {
		c.told = true
	}
	c.mu.Unlock()
	if tell {
		c.tell()
	}
}

// end closes the connection at once. The handler is told by this goroutine, or by the one that is in the handler now.
// It may be called at any time; only the first call has an effect.
func (c *Conn) end(reason Reason, err error) {
	if c.close(nil, reason, err) {
		c.tell()
	}
}

// failed is end for what went wrong with a transport, unless the connection has left that.
//
// Node: engine.io/lib/socket.ts clearTransport
func (c *Conn) failed(t transport, reason Reason, err error) {
	if c.close(t, reason, err) {
		c.tell()
	}
}

// endAsync is end for a caller who may hold locks that the handler needs, or must not wait for the handler.
func (c *Conn) endAsync(reason Reason, err error) {
	if c.close(nil, reason, err) {
		go c.tell() // ends when OnClose has returned; env.told reports that
	}
}

// close reports whether the caller is to call tell. With only it does nothing unless that is the transport.
func (c *Conn) close(only transport, reason Reason, err error) bool {
	c.mu.Lock()
	if c.state.Load() == stateClosed || only != nil && c.t != only {
		c.mu.Unlock()
		return false
	}
	if c.state.Load() == stateClosing && reason != ReasonForcedClose {
		reason, err = ReasonForcedClose, nil // Close has said so, whatever comes in between
	}
	c.state.Store(stateClosed)
	c.reason, c.err = reason, err
	if c.e.count != nil {
		c.e.count.over(c.t.name(), c.protocol, reason, err)
	}
	c.q = sendq{}
	c.ctl = 0
	c.unschedule()
	c.notifyDrained()
	if c.resumed != nil {
		close(c.resumed)
		c.resumed = nil
	}
	t, up := c.t, c.up
	c.up = nil
	tell := !c.calling
	c.told = c.told || tell
	c.mu.Unlock()

	if c.e.ended != nil {
		c.e.ended(c)
	}
	if up != nil {
		up.stop()
		up.t.cut(reason)
	}
	t.cut(reason)
	return tell
}

// tell calls OnClose.
func (c *Conn) tell() {
	defer func() {
		if p := recover(); p != nil {
			c.e.fault(newPanicError("OnClose", p))
		}
		if c.e.told != nil {
			c.e.told(c)
		}
	}()
	c.e.handler.OnClose(c, c.reason, c.err)
}

// open calls OnOpen and leaves. A panic closes the connection.
func (c *Conn) open(r *http.Request) {
	defer c.leave()
	defer c.recovered("OnOpen")
	c.e.handler.OnOpen(c, r)
}

// recovered is deferred around calls of the handler: a panic closes the connection.
func (c *Conn) recovered(where string) {
	if p := recover(); p != nil {
		err := newPanicError(where, p)
		c.e.fault(err)
		c.end(ReasonForcedClose, err)
	}
}

// receive takes one packet from the current transport, whose goroutine has entered. false means that the rest
// is to be ignored. Packets of type close are the affair of the transport.
func (c *Conn) receive(p eio.Packet) bool {
	if c.state.Load() != stateOpen {
		return false
	}
	switch p.Type {
	case eio.Message:
		if c.beats.Load() == beatWaiting {
			c.extend()
		}
		c.got.packets++
		c.got.bytes += len(p.Data)
		c.e.handler.OnMessage(c, p.Data, p.Binary)
		return true
	case eio.Ping:
		return c.receivePing()
	case eio.Pong:
		return c.receivePong()
	default: // Node ignores open, upgrade and noop packets here, and binary packets of no known type
		return true
	}
}
