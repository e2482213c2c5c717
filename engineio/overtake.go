package engineio

import (
	"net/http"
	"time"
)

// What a client sends over several connections can overtake one another here, though a server of one thread would see
// it in order. Where that makes a difference a request waits for what may have been sent before it.
const (
	overtakeTime = 25 * time.Millisecond
	overtakeTick = time.Millisecond
)

// settle waits until done, at most for s.overtake or until the client of r goes away.
func (s *Server) settle(r *http.Request, done func() bool) {
	if done() {
		return
	}
	limit := time.NewTimer(s.overtake)
	defer limit.Stop()
	tick := time.NewTicker(overtakeTick)
	defer tick.Stop()
	for {
		select {
		case <-limit.C:
			return
		case <-r.Context().Done():
			return
		case <-tick.C:
			if done() {
				return
			}
		}
	}
}

// awaitUpgrade is called for a poll that came while a WebSocket is probed: the packet that ends the probe may be on
// its way, and then there is nothing more to poll.
func (p *polling) awaitUpgrade(r *http.Request) {
	c := p.c
	p.s.settle(r, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.up == nil || p.polled || len(c.q.items) > 0 || c.ctl != 0 || c.state.Load() != stateOpen
	})
}

// awaitPoll is called for a close: the poll that is to be told of it may be on its way.
func (p *polling) awaitPoll(r *http.Request) {
	c := p.c
	p.s.settle(r, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return p.polled || c.state.Load() != stateOpen
	})
}

// lead is how many ticks what a WebSocket said goes before the answer to a request that came too late.
const lead = 5

// awaitWritten is called for a request of a session that was upgraded: what the WebSocket is to say, such as the answer
// to the probe, goes before the answer. The request is an error in any case, so that its client can wait.
func (s *Server) awaitWritten(r *http.Request, c *Conn) {
	ticks := 0
	s.settle(r, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		t, ok := c.t.(*webSocket)
		if !ok || c.state.Load() != stateOpen {
			return true
		}
		if t.writing || len(t.ahead) > 0 || len(c.q.items) > 0 || c.ctl != 0 {
			return false
		}
		ticks++
		return ticks > lead
	})
}
