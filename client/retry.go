package client

import (
	"context"
	"slices"
	"time"

	"github.com/sockeye-io/sockeye/parser"
)

// reliable is an event that is sent until it is acknowledged: see Config.Retries.
//
// Node: socket.io-client/lib/socket.ts QueuedPacket
type reliable struct {
	*outbound

	s     *Socket
	event string
	asker asker // who waits; nil for a plain emit

	// Guarded by s.mu.
	tries int
	sent  bool // and waiting
	timer *time.Timer
}

// reliable encodes an event.
//
// Differs from Node: all tries have one id, so that an acknowledgement which comes late counts.
func (s *Socket) reliable(name string, args []any) (*reliable, error) {
	o, err := s.encode(name, args, true)
	return &reliable{outbound: o, s: s, event: name}, err
}

// enqueue sends an event in its turn.
func (s *Socket) enqueue(r *reliable) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m.ctx.Err() != nil {
		return ErrClosed
	}
	q := &s.m.cfg.Queue
	if n := len(s.queue); n > 0 && (n >= q.MaxPackets || s.queued+r.bytes > q.MaxBytes) {
		return ErrQueueFull
	}
	s.queue = append(s.queue, r)
	s.queued += r.bytes
	s.drain()
	return nil
}

// drain sends the first event if it is not under way. s.mu is held.
//
// Node: socket.io-client/lib/socket.ts _drainQueue
func (s *Socket) drain() {
	if s.sess == nil || len(s.queue) == 0 || s.queue[0].sent {
		return
	}
	r := s.queue[0]
	r.sent = true
	r.tries++
	try := r.tries
	s.expect(r.id, attempt{r, try})
	if limit := s.m.cfg.AckTimeout; limit > 0 {
		r.timer = time.AfterFunc(limit, func() { s.expire(r, try) })
	}
	// An error means that the connection has ended, of which the socket will be told.
	_ = s.link.conn.SendPrepared(r.forced(), r.frames...)
}

// attempt is one try.
type attempt struct {
	*reliable

	try int
}

// answered implements sink.
func (r attempt) answered(args []parser.Arg) {
	r.s.mu.Lock()
	was := r.s.remove(r.reliable)
	r.s.mu.Unlock()
	if was && r.asker != nil {
		r.asker.answered(args)
	}
}

// ended implements sink: the connection was lost. By now another try may be under way.
func (r attempt) ended(reason Reason) { r.s.tryFailed(r.reliable, r.try, reason) }

// expire is called when the acknowledgement of a try did not come in time.
func (s *Socket) expire(r *reliable, try int) { s.tryFailed(r, try, context.DeadlineExceeded) }

// tryFailed sends the event again, unless it has been tried often enough.
func (s *Socket) tryFailed(r *reliable, try int, err error) {
	s.mu.Lock()
	if len(s.queue) == 0 || s.queue[0] != r || r.tries != try || !r.sent {
		s.mu.Unlock()
		return
	}
	r.stop()
	if r.tries <= s.m.cfg.Retries {
		s.drain()
		s.mu.Unlock()
		return
	}
	s.remove(r)
	s.mu.Unlock()
	if r.asker != nil {
		r.asker <- result{err: err} // of one element, and the event is not in the queue any more
		return
	}
	s.m.report(&EventError{Event: r.event, Err: &AckError{Expected: 1, Err: err}})
}

// giveUp takes an event out of the queue that nobody wants any more. It is false when it is out already: who took it
// tells.
func (s *Socket) giveUp(r *reliable) (mine bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.remove(r)
}

// remove takes an event out of the queue, if it is there, and sends the next one. s.mu is held.
func (s *Socket) remove(r *reliable) bool {
	i := slices.Index(s.queue, r)
	if i < 0 {
		return false
	}
	r.stop()
	delete(s.acks, r.id)
	s.queue = slices.Delete(s.queue, i, i+1)
	s.queued -= r.bytes
	s.notify()
	s.drain()
	return true
}

// stop ends the wait of a try. s.mu is held.
func (r *reliable) stop() {
	r.sent = false
	if r.timer != nil {
		r.timer.Stop()
		r.timer = nil
	}
}
