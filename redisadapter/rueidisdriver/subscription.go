package rueidisdriver

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/sockeye-io/sockeye/redisadapter"
)

const (
	chunk      = 256 // topics in one command
	minBackoff = 50 * time.Millisecond
	maxBackoff = 2 * time.Second
)

var errLost = errors.New("rueidisdriver: the connection for subscriptions is lost")

// subscription is one subscriber connection, kept open by a goroutine of its own.
type subscription struct {
	d      *driver
	r      redisadapter.Receiver
	cancel context.CancelFunc
	ended  chan struct{}
	wake   chan struct{} // holds one token when there are changes

	telling sync.Mutex // held while a method of r runs
	muted   bool       // no method of r is called any more

	mu       sync.Mutex
	channels map[string]struct{}
	patterns map[string]struct{}
	sharded  map[string]struct{}
	changes  []change // for the connection that stands
	up       bool
}

// change is what a connection must still be told.
type change struct {
	topics redisadapter.Topics
	remove bool
	done   chan<- error // has room for one
}

// Subscribe opens a connection for subscriptions.
func (d *driver) Subscribe(ctx context.Context, r redisadapter.Receiver) (redisadapter.Subscription, error) {
	s := &subscription{
		d: d, r: r,
		ended: make(chan struct{}), wake: make(chan struct{}, 1),
		channels: map[string]struct{}{}, patterns: map[string]struct{}{}, sharded: map[string]struct{}{},
	}
	run, cancel := context.WithCancel(d.ctx)
	s.cancel = cancel
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		cancel()
		return nil, redisadapter.ErrClosed
	}
	d.running.Add(1)
	d.mu.Unlock()
	first := make(chan error, 1)
	go s.run(run, first)
	var err error
	select {
	case err = <-first:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = s.Close() // it returns nil
		return nil, err
	}
	return s, nil
}

// run keeps a connection open. It ends when the subscription is closed, or when the first connection fails.
func (s *subscription) run(ctx context.Context, first chan<- error) {
	defer s.d.running.Done()
	defer close(s.ended)
	delay := minBackoff
	for {
		up, err := s.session(ctx, first)
		if ctx.Err() != nil {
			return
		}
		if first != nil && !up {
			first <- err
			return
		}
		first = nil
		if up {
			delay = minBackoff
			s.tell(func() { s.r.Lost(err) })
		}
		if !sleep(ctx, delay/2+rand.N(delay)) {
			return
		}
		delay = min(2*delay, maxBackoff)
	}
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

// session is the life of one connection. up tells whether everything was subscribed.
func (s *subscription) session(ctx context.Context, first chan<- error) (up bool, err error) {
	client, err := s.d.use()
	if err != nil {
		return false, err
	}
	c, _ := client.Dedicate()
	defer c.Close()
	// A connection that hangs in a command must not keep Close waiting.
	defer context.AfterFunc(ctx, c.Close)()
	broken := c.SetPubSubHooks(rueidis.PubSubHooks{OnMessage: s.message})
	if err := c.Do(ctx, c.B().Ping().Build()).Error(); err != nil {
		return false, s.d.fail(err)
	}
	if err := subscribe(ctx, c, s.begin()); err != nil {
		s.end(err)
		return false, s.d.fail(err)
	}
	if first != nil {
		first <- nil
	} else {
		s.tell(s.r.Restored)
	}
	for {
		if err = s.apply(ctx, c); err != nil {
			break
		}
		select {
		case err = <-broken:
			if err == nil {
				err = errLost
			}
		case <-ctx.Done():
			err = context.Cause(ctx)
		case <-s.wake:
			continue
		}
		break
	}
	s.end(err)
	return true, s.d.fail(err)
}

// begin gives all topics; changes are noted from now on.
func (s *subscription) begin() redisadapter.Topics {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.up = true
	s.changes = nil
	var t redisadapter.Topics
	for c := range s.channels {
		t.Channels = append(t.Channels, c)
	}
	for p := range s.patterns {
		t.Patterns = append(t.Patterns, p)
	}
	for c := range s.sharded {
		t.Sharded = append(t.Sharded, c)
	}
	return t
}

// end tells those who wait that the connection is lost.
func (s *subscription) end(err error) {
	s.mu.Lock()
	s.up = false
	changes := s.changes
	s.changes = nil
	s.mu.Unlock()
	for _, c := range changes {
		c.done <- err
	}
}

// apply tells the connection of all changes.
func (s *subscription) apply(ctx context.Context, c rueidis.DedicatedClient) error {
	s.mu.Lock()
	changes := s.changes
	s.changes = nil
	s.mu.Unlock()
	for i, ch := range changes {
		do := subscribe
		if ch.remove {
			do = unsubscribe
		}
		err := do(ctx, c, ch.topics)
		ch.done <- err
		if err != nil {
			for _, rest := range changes[i+1:] {
				rest.done <- err
			}
			return err
		}
	}
	return nil
}

func subscribe(ctx context.Context, c rueidis.DedicatedClient, t redisadapter.Topics) error {
	for list := range slices.Chunk(t.Patterns, chunk) {
		if err := c.Do(ctx, c.B().Psubscribe().Pattern(list...).Build()).Error(); err != nil {
			return err
		}
	}
	for list := range slices.Chunk(t.Channels, chunk) {
		if err := c.Do(ctx, c.B().Subscribe().Channel(list...).Build()).Error(); err != nil {
			return err
		}
	}
	for list := range slices.Chunk(t.Sharded, chunk) {
		if err := c.Do(ctx, c.B().Ssubscribe().Channel(list...).Build()).Error(); err != nil {
			return err
		}
	}
	return nil
}

func unsubscribe(ctx context.Context, c rueidis.DedicatedClient, t redisadapter.Topics) error {
	for list := range slices.Chunk(t.Patterns, chunk) {
		if err := c.Do(ctx, c.B().Punsubscribe().Pattern(list...).Build()).Error(); err != nil {
			return err
		}
	}
	for list := range slices.Chunk(t.Channels, chunk) {
		if err := c.Do(ctx, c.B().Unsubscribe().Channel(list...).Build()).Error(); err != nil {
			return err
		}
	}
	for list := range slices.Chunk(t.Sharded, chunk) {
		if err := c.Do(ctx, c.B().Sunsubscribe().Channel(list...).Build()).Error(); err != nil {
			return err
		}
	}
	return nil
}

// message is the hook for messages, called by the reader of the connection.
func (s *subscription) message(m rueidis.PubSubMessage) {
	s.telling.Lock()
	defer s.telling.Unlock()
	if !s.muted {
		s.r.Message(m.Pattern, m.Channel, m.Message)
	}
}

func (s *subscription) tell(f func()) {
	s.telling.Lock()
	defer s.telling.Unlock()
	if !s.muted {
		f()
	}
}

// Add subscribes to further topics.
func (s *subscription) Add(ctx context.Context, t redisadapter.Topics) error {
	return s.change(ctx, t, false)
}

// Remove unsubscribes from topics.
func (s *subscription) Remove(ctx context.Context, t redisadapter.Topics) error {
	return s.change(ctx, t, true)
}

func (s *subscription) change(ctx context.Context, t redisadapter.Topics, remove bool) error {
	done := make(chan error, 1)
	s.mu.Lock()
	for _, c := range t.Channels {
		set(s.channels, c, !remove)
	}
	for _, p := range t.Patterns {
		set(s.patterns, p, !remove)
	}
	for _, c := range t.Sharded {
		set(s.sharded, c, !remove)
	}
	up := s.up
	if up {
		s.changes = append(s.changes, change{t, remove, done})
	}
	s.mu.Unlock()
	if !up {
		return s.d.fail(errLost)
	}
	s.signal()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.ended:
		return redisadapter.ErrClosed
	}
}

func set(m map[string]struct{}, key string, to bool) {
	if to {
		m[key] = struct{}{}
	} else {
		delete(m, key)
	}
}

func (s *subscription) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Close closes the connection. The driver waits for the goroutine, which may be in the middle of making a connection
// that only the driver can stop.
func (s *subscription) Close() error {
	s.cancel()
	s.telling.Lock()
	s.muted = true
	s.telling.Unlock()
	return nil
}
