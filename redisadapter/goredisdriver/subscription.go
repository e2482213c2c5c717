package goredisdriver

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/redisadapter"
)

const (
	chunk      = 256 // topics in one command
	minBackoff = 50 * time.Millisecond
	maxBackoff = time.Second
	lookEvery  = 500 * time.Millisecond // at who owns the slots, where there are channels of SPUBLISH
	lookRarely = 4                      // times that, where there are none
)

// subscription is connections for subscriptions, kept open by a goroutine of its own: one, in a Redis Cluster one to each
// master that has a slot of a channel of SPUBLISH.
type subscription struct {
	d      *Driver
	p      place
	r      redisadapter.Receiver
	cancel context.CancelFunc
	ended  chan struct{}
	wake   chan struct{} // holds one token when there is news
	links  sync.WaitGroup

	telling sync.Mutex // held while a method of r runs
	muted   bool       // no method of r is called any more

	mu     sync.Mutex
	ops    []*op   // by callers, who mostly wait
	events []event // by links: no more than they have commands and topics

	keeper
}

// op is a call of Add or Remove.
type op struct {
	topics redisadapter.Topics
	remove bool
	done   chan error // has room for one

	left int // commands, and one while they are made
	err  error
}

type eventKind uint8

const (
	linkUp eventKind = iota
	linkDown
	confirmed
	refusal
	pushedOut
)

// event is what a link has to say.
type event struct {
	kind  eventKind
	l     *link
	c     *command
	topic string
	err   error
}

// Subscribe opens a connection for subscriptions.
func (d *Driver) Subscribe(ctx context.Context, r redisadapter.Receiver) (redisadapter.Subscription, error) {
	if !d.enter() {
		return nil, redisadapter.ErrClosed
	}
	s := &subscription{d: d, p: d.sub, r: r, ended: make(chan struct{}), wake: make(chan struct{}, 1)}
	s.init()
	run, cancel := context.WithCancel(d.ctx)
	s.cancel = cancel
	first := make(chan error, 1)
	go s.run(run, first)
	var err error
	select {
	case err = <-first:
	case <-ctx.Done():
		err = fmt.Errorf("goredisdriver: %w", context.Cause(ctx))
	case <-s.ended:
		err = redisadapter.ErrClosed
		select {
		case err = <-first:
		default:
		}
	}
	if err != nil {
		_ = s.Close() // it returns nil
		return nil, err
	}
	return s, nil
}

// run keeps the connections open. It ends when the subscription is closed, or when the first connection fails.
func (s *subscription) run(ctx context.Context, first chan<- error) {
	defer s.d.running.Done()
	defer close(s.ended)
	defer s.finish()
	s.first = first
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	if !s.p.sharded() {
		look.Stop()
	}
	for n := 1; ; {
		events, ops := s.take()
		for _, e := range events {
			s.handle(ctx, e)
		}
		for _, o := range ops {
			s.do(ctx, o)
		}
		again := s.settle(ctx)
		if s.failed {
			return
		}
		retry := time.NewTimer(again)
		select {
		case <-s.wake:
		case <-retry.C:
		case <-look.C:
			if n++; s.shardedTopics > 0 || n%lookRarely == 0 {
				s.look(ctx)
			}
		case <-ctx.Done():
			retry.Stop()
			return
		}
		retry.Stop()
	}
}

func (s *subscription) take() ([]event, []*op) {
	s.mu.Lock()
	defer s.mu.Unlock()
	events, ops := s.events, s.ops
	s.events, s.ops = nil, nil
	return events, ops
}

// finish closes the links, waits for them and answers those who wait.
func (s *subscription) finish() {
	_ = s.Close() // it returns nil
	s.links.Wait()
	events, ops := s.take()
	for _, e := range events {
		if e.c != nil {
			e.c.o.finish(redisadapter.ErrClosed)
		}
	}
	for _, l := range s.open {
		for _, c := range l.left() {
			c.o.finish(redisadapter.ErrClosed)
		}
	}
	for _, o := range ops {
		o.answer(redisadapter.ErrClosed)
	}
}

// post hands over an event.
func (s *subscription) post(e event) {
	s.mu.Lock()
	s.events = append(s.events, e)
	s.mu.Unlock()
	s.signal()
}

func (s *subscription) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// message is called by the readers of links.
func (s *subscription) message(m *redis.Message) {
	s.telling.Lock()
	defer s.telling.Unlock()
	if !s.muted {
		s.r.Message(m.Pattern, m.Channel, m.Payload)
	}
}

func (s *subscription) tellLost(err error) {
	s.telling.Lock()
	defer s.telling.Unlock()
	if !s.muted {
		s.r.Lost(err)
	}
}

func (s *subscription) tellRestored() {
	s.telling.Lock()
	defer s.telling.Unlock()
	if !s.muted {
		s.r.Restored()
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
	o := &op{topics: t, remove: remove, done: make(chan error, 1)}
	s.mu.Lock()
	s.ops = append(s.ops, o)
	s.mu.Unlock()
	s.signal()
	select {
	case err := <-o.done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.ended:
		return redisadapter.ErrClosed
	}
}

// finish counts one command of the operation. nil is nobody's.
func (o *op) finish(err error) {
	if o == nil {
		return
	}
	if err != nil && o.err == nil {
		o.err = err
	}
	if o.left--; o.left == 0 {
		o.answer(o.err)
	}
}

func (o *op) answer(err error) {
	select {
	case o.done <- err:
	default: // it has an answer
	}
}

// Close closes the connections. The driver waits for the goroutines, which may be in the middle of making a connection
// that only the driver can stop.
func (s *subscription) Close() error {
	s.cancel()
	s.telling.Lock()
	s.muted = true
	s.telling.Unlock()
	return nil
}

func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d) }
