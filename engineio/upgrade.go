package engineio

import (
	"net/http"
	"time"

	"github.com/sockeye-io/sockeye/internal/eio"
)

// probeTick is how often a pending poll is ended while a WebSocket is probed: the client waits for that.
const probeTick = 100 * time.Millisecond

// upgrade is a WebSocket that may become the transport of a polling connection.
type upgrade struct {
	c *Conn
	t *webSocket

	// Guarded by c.mu.
	timeout *time.Timer
	noop    *time.Timer
	stopped bool
}

// upgradeTo probes a WebSocket for an open session. There is one at a time; others are closed.
//
// Protocol: engine.io v4, "Upgrade". Node: engine.io/lib/socket.ts _maybeUpgrade
func (s *Server) upgradeTo(w http.ResponseWriter, r *http.Request, q *query, c *Conn) {
	u := &upgrade{c: c}
	c.mu.Lock()
	_, isPolling := c.t.(*polling)
	free := isPolling && c.up == nil && c.state.Load() != stateClosed && !s.cfg.DisableUpgrades
	if free {
		u.t = s.newWebSocket(c, q, false)
		u.t.probing = probeAwaited
		c.up = u
	}
	c.mu.Unlock()
	if !free {
		s.dismiss(w, r)
		return
	}
	add, deflate, ok := s.accept(w, r, false)
	if !ok {
		c.abandon(u.t)
		return
	}
	if deflate {
		fresh := s.newWebSocket(c, q, true)
		u.t.rd, u.t.deflate = fresh.rd, true
	}
	c.mu.Lock()
	if !u.stopped {
		u.timeout = time.AfterFunc(s.cfg.UpgradeTimeout, u.expire)
	}
	c.mu.Unlock()
	u.t.start(add)
}

// expire closes a WebSocket that did not become the transport in time; the session goes on.
func (u *upgrade) expire() { u.c.abandon(u.t) }

// stop stops the timers.
func (u *upgrade) stop() {
	u.c.mu.Lock()
	defer u.c.mu.Unlock()
	u.stopped = true
	if u.timeout != nil {
		u.timeout.Stop()
	}
	if u.noop != nil {
		u.noop.Stop()
	}
}

// endPoll answers a pending poll with a noop, and comes again.
func (u *upgrade) endPoll() {
	c := u.c
	c.mu.Lock()
	if u.stopped {
		c.mu.Unlock()
		return
	}
	p, ok := c.t.(*polling)
	pending := ok && p.polled
	if pending {
		c.ctl |= ctlNoop
	}
	u.noop.Reset(probeTick)
	c.mu.Unlock()
	if pending {
		p.wake()
	}
}

// probe takes a packet on a WebSocket that is not the transport yet.
//
// Differs from Node: a second probe, and an upgrade without a probe, close the WebSocket.
func (t *webSocket) probe(p eio.Packet) error {
	c := t.c
	c.mu.Lock()
	u, probing := c.up, t.probing
	c.mu.Unlock()
	switch {
	case u == nil || u.t != t:
		return errStop // closed meanwhile
	case probing == probeAwaited && p.Type == eio.Ping && string(p.Data) == "probe":
		t.send(frameProbe)
		c.mu.Lock()
		t.probing = probeAnswered
		if !u.stopped {
			u.noop = time.AfterFunc(probeTick, u.endPoll)
		}
		c.mu.Unlock()
		return nil
	case probing == probeAnswered && p.Type == eio.Upgrade && c.switchTo(u):
		return nil
	}
	c.abandon(t)
	return errStop
}

// abandon closes a WebSocket that did not become the transport; one that did, while its time ran out, is left alone.
func (c *Conn) abandon(t *webSocket) {
	c.mu.Lock()
	if c.t == t {
		c.mu.Unlock()
		return
	}
	u := c.up
	if u != nil && u.t == t {
		c.up = nil
	} else {
		u = nil
	}
	t.probing = probeFailed
	c.mu.Unlock()
	if u != nil {
		u.stop()
	}
	t.finish(frameClose)
}

// switchTo makes the WebSocket of u the transport, and enters the handler for it. It is false when a request is in
// the handler: the client was to end those first.
func (c *Conn) switchTo(u *upgrade) bool {
	c.mu.Lock()
	old, ok := c.t.(*polling)
	if !ok || c.up != u || c.calling || c.state.Load() == stateClosed {
		c.mu.Unlock()
		return false
	}
	c.up = nil
	c.t = u.t
	if c.e.count != nil {
		c.e.count.switched(old.name(), u.t.name(), c.protocol)
	}
	u.t.probing = probeNone
	c.calling = true
	u.t.entered = true
	c.ctl &^= ctlNoop
	closing := c.state.Load() == stateClosing
	paused := c.paused
	waiting := old.waiting
	old.waiting = nil
	c.mu.Unlock()

	u.stop()
	if waiting != nil {
		waiting.Stop()
	}
	old.wake() // a pending poll ends with a noop
	u.t.wake()
	if paused {
		u.t.flow()
	}
	if closing {
		u.t.shut()
	}
	if c.e.upgraded != nil {
		c.e.upgraded(c)
	}
	return true
}
