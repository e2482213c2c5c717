package sockeye

import (
	"context"
	"slices"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
)

const (
	// drainTick is how often Drain looks which clients can go.
	drainTick = 20 * time.Millisecond

	// drainAtOnce is how many clients may go in that time, however long Drain may take for all.
	drainAtOnce = 100
)

// Drain refuses new connections from now on, and closes the open ones with ReasonShuttingDown in the course of spread,
// so that the clients, which reconnect by themselves, do not reach the other servers all at once. Each is let go once its
// handlers have run and nobody waits for an acknowledgement of it. Drain returns when all have been let go, those too
// that were being connected when it began and are now, or with the cause when ctx ends; what it leaves is for Shutdown.
// It must not be called by a handler.
//
// Differs from Node: there is none.
func (s *Server) Drain(ctx context.Context, spread time.Duration) error {
	s.eng.Drain()
	tick := time.NewTicker(drainTick)
	defer tick.Stop()
	left := s.clients()
	share := max(drainAtOnce, len(left)*int(drainTick)/max(1, int(spread))+1)
	for {
		n := 0
		for i := 0; i < len(left); i++ {
			c := left[i]
			if n >= share {
				break
			}
			if !c.closed.Load() {
				if !c.quiet() {
					continue
				}
				c.goAway()
				n++
			}
			left[i] = left[len(left)-1]
			left = left[:len(left)-1]
			i--
		}
		if len(left) == 0 {
			if left = s.clients(); len(left) == 0 {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// clients gives the open connections that have joined a namespace.
func (s *Server) clients() []*conn {
	known := map[*conn]struct{}{}
	var all []*conn
	for _, n := range s.opened() {
		for _, m := range n.index.Collect(adapter.Options{}) {
			c := socketOf(m).conn
			if _, twice := known[c]; !twice && !c.closed.Load() {
				known[c] = struct{}{}
				all = append(all, c)
			}
		}
	}
	return all
}

// quiet tells whether no handler runs or is to run for the client, and nobody waits for an acknowledgement of it.
func (c *conn) quiet() bool {
	c.mu.Lock()
	sockets, pending := slices.Clone(c.sockets), len(c.pending)
	c.mu.Unlock()
	for _, s := range sockets {
		s.mu.Lock()
		busy := s.reason == "" && (s.working || s.inbox.Len() > 0 || len(s.acks) > 0)
		s.mu.Unlock()
		if busy {
			return false
		}
	}
	return pending == 0
}

// goAway closes the connection without the packet that would keep the client from connecting again.
func (c *conn) goAway() {
	c.mu.Lock()
	sockets := slices.Clone(c.sockets)
	c.mu.Unlock()
	for _, s := range sockets {
		s.end(ReasonShuttingDown)
	}
	c.close()
}
