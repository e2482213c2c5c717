package rueidisdriver

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/internal/redisproto"
	"github.com/sockeye-io/sockeye/redisadapter"
)

var (
	errLost   = errors.New("the connection for subscriptions is lost")
	errMoved  = errors.New("the slot of a channel has moved")
	errDrop   = errors.New("the connection for subscriptions was to a Redis that is none to use any more")
	errSilent = errors.New("no answer over the connection for subscriptions")
)

// subscription is one subscriber connection, kept open by a link. In a Redis Cluster there is another link to each master
// that has Sharded channels, and a goroutine that keeps those where their slots are.
type subscription struct {
	d      *Driver
	r      redisadapter.Receiver
	ctx    context.Context // of its goroutines; ends with Close
	cancel context.CancelFunc
	kicked chan struct{} // holds one token when channels are astray

	telling sync.Mutex // held while a method of r runs
	muted   bool       // no method of r is called any more

	mu      sync.Mutex
	main    *link
	shards  map[*node]*link
	sharded map[string]*link     // all Sharded channels in a cluster; nil for one that is astray
	waiting map[string][]*waiter // those who wait for one that is astray
	closed  bool
	told    *node // has said itself that slots have moved; may be nil
	fresh   bool  // where slots have moved is known

	// What keeps it from being whole.
	down    int                 // links that have lost their connection
	missing map[string]struct{} // Sharded channels that were subscribed, and are no more

	started bool    // r may be told
	broken  bool    // what events lead to
	events  []error // for r: nil is Restored
}

// waiter waits until several changes are made.
type waiter struct {
	done chan error // has room for one

	mu   sync.Mutex
	left int
	err  error
}

func newWaiter(left int) *waiter { return &waiter{done: make(chan error, 1), left: left} }

func (w *waiter) tell(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.left--; w.err == nil {
		w.err = err
	}
	if w.left == 0 {
		w.done <- w.err
	}
}

func tell(ws []*waiter, err error) {
	for _, w := range ws {
		w.tell(err)
	}
}

// Subscribe opens a connection for subscriptions.
func (d *Driver) Subscribe(ctx context.Context, r redisadapter.Receiver) (redisadapter.Subscription, error) {
	s := &subscription{
		d: d, r: r, kicked: make(chan struct{}, 1),
		shards: map[*node]*link{}, sharded: map[string]*link{}, waiting: map[string][]*waiter{},
		missing: map[string]struct{}{},
	}
	s.ctx, s.cancel = context.WithCancel(d.ctx)
	w := newWaiter(1)
	s.mu.Lock()
	s.main = s.newLink(nil)
	s.main.changes = []change{{waiters: []*waiter{w}}}
	ok := s.d.start(s.main.run)
	s.mu.Unlock()
	err := redisadapter.ErrClosed
	if ok {
		err = s.wait(ctx, w)
	}
	if err == nil && d.cluster != nil && !d.start(s.tend) {
		err = redisadapter.ErrClosed
	}
	if err != nil {
		_ = s.Close() // it returns nil
		return nil, err
	}
	s.mu.Lock()
	s.started = true
	s.mu.Unlock()
	s.flush()
	return s, nil
}

func (s *subscription) wait(ctx context.Context, w *waiter) error {
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.ctx.Done():
		return redisadapter.ErrClosed
	}
}

// note tells r what has become of the subscription, by flush. mu is held.
func (s *subscription) note(err error) {
	broken := s.down > 0 || len(s.missing) > 0
	if broken == s.broken {
		return
	}
	s.broken = broken
	if !broken {
		err = nil
	}
	s.events = append(s.events, err)
}

// flush tells r what note has noted.
func (s *subscription) flush() {
	s.telling.Lock()
	defer s.telling.Unlock()
	for !s.muted {
		s.mu.Lock()
		if !s.started || len(s.events) == 0 {
			s.mu.Unlock()
			return
		}
		err := s.events[0]
		s.events = s.events[1:]
		s.mu.Unlock()
		if err != nil {
			s.r.Lost(err)
		} else {
			s.r.Restored()
		}
	}
}

// Add subscribes to further topics.
func (s *subscription) Add(ctx context.Context, t redisadapter.Topics) error {
	if s.d.cluster == nil {
		s.mu.Lock()
		w := newWaiter(1)
		s.main.push(change{topics: t, waiters: []*waiter{w}})
		s.mu.Unlock()
		return s.wait(ctx, w)
	}
	w := newWaiter(1 + len(t.Sharded))
	s.mu.Lock()
	s.main.push(change{topics: redisadapter.Topics{Channels: t.Channels, Patterns: t.Patterns}, waiters: []*waiter{w}})
	for _, channel := range t.Sharded {
		if _, there := s.sharded[channel]; !there {
			s.sharded[channel] = nil
		}
		s.waiting[channel] = append(s.waiting[channel], w)
	}
	s.adopt(t.Sharded)
	s.mu.Unlock()
	return s.wait(ctx, w)
}

// adopt gives channels that are astray to the links of the masters that have their slots. mu is held.
func (s *subscription) adopt(channels []string) {
	parts := map[*link]*change{}
	for _, channel := range channels {
		l := s.sharded[channel]
		if owner, _ := s.d.cluster.known(redisproto.Slot(channel)); l == nil && owner != nil {
			l = s.shard(owner)
		}
		if l == nil {
			s.kick() // nobody has the slot
			continue
		}
		s.sharded[channel] = l
		part := parts[l]
		if part == nil {
			part = &change{sharded: map[string][]*waiter{}}
			parts[l] = part
		}
		part.topics.Sharded = append(part.topics.Sharded, channel)
		part.sharded[channel] = s.waiting[channel]
		delete(s.waiting, channel)
	}
	for l, part := range parts {
		l.push(*part)
	}
}

// shard gives the link to a master, nil when all is closed. mu is held.
func (s *subscription) shard(n *node) *link {
	l := s.shards[n]
	if l == nil && !s.closed {
		l = s.newLink(n)
		if !s.d.start(l.run) {
			return nil
		}
		s.shards[n] = l
	}
	return l
}

// stray takes channels from a link that are not subscribed where their slots are. mu is held.
func (s *subscription) stray(l *link, channels []string) {
	for _, channel := range channels {
		if s.sharded[channel] != l {
			continue
		}
		s.sharded[channel] = nil
		if l.sharded[channel] {
			s.missing[channel] = struct{}{}
		}
		delete(l.sharded, channel)
	}
	s.note(l.node.fail(errMoved))
}

func (s *subscription) kick() {
	select {
	case s.kicked <- struct{}{}:
	default:
	}
}

// Remove unsubscribes from topics.
func (s *subscription) Remove(ctx context.Context, t redisadapter.Topics) error {
	s.mu.Lock()
	parts := map[*link]*change{s.main: {topics: t, remove: true}}
	if s.d.cluster != nil {
		parts[s.main].topics.Sharded = nil
		for _, channel := range t.Sharded {
			l := s.sharded[channel]
			delete(s.sharded, channel)
			delete(s.missing, channel)
			tell(s.waiting[channel], redisadapter.ErrUnavailable)
			delete(s.waiting, channel)
			if l == nil {
				continue
			}
			if parts[l] == nil {
				parts[l] = &change{remove: true}
			}
			parts[l].topics.Sharded = append(parts[l].topics.Sharded, channel)
		}
	}
	w := newWaiter(len(parts))
	for l, part := range parts {
		part.waiters = []*waiter{w}
		l.push(*part)
	}
	s.note(nil)
	s.mu.Unlock()
	s.flush()
	return s.wait(ctx, w)
}

// Close closes the connections. The driver waits for the goroutines, which may be in the middle of making a connection
// that only the driver can stop.
func (s *subscription) Close() error {
	s.cancel()
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.telling.Lock()
	s.muted = true
	s.telling.Unlock()
	return nil
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
