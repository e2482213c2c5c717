// Package redistest has a Driver that needs no Redis, for tests of adapters, and whose faults can be chosen.
//
// Not in this package: a Redis server. Use one for what a client library does.
package redistest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/sockeye-io/sockeye/redisadapter"
)

// ErrDown is the error of everything while a Hub is down.
var ErrDown = errors.New("redistest: the hub is down")

// Hub is what its drivers publish to and subscribe to, in place of a Redis. It is safe for concurrent use.
type Hub struct {
	mu      sync.Mutex
	down    bool
	filter  func(redisadapter.Publication) []redisadapter.Publication
	drivers []*driver
	subs    []*subscription
	sent    []redisadapter.Publication
	store   store
}

// NewHub returns a hub without drivers.
func NewHub() *Hub { return &Hub{} }

// Driver makes a driver of the hub.
func (h *Hub) Driver() redisadapter.Driver {
	d := &driver{h: h}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.drivers = append(h.drivers, d)
	return d
}

// Filter makes everything that is published go through f, which gives what is published instead: nothing, something
// else, or more. nil ends that.
func (h *Hub) Filter(f func(redisadapter.Publication) []redisadapter.Publication) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.filter = f
}

// Inject publishes a message as a stranger would.
func (h *Hub) Inject(channel string, payload []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.spread(redisadapter.Publication{Channel: channel, Payload: payload})
}

// Published gives everything that drivers have published so far.
func (h *Hub) Published() []redisadapter.Publication {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]redisadapter.Publication(nil), h.sent...)
}

// Stop takes the hub down: publishing fails and subscriptions are lost.
func (h *Hub) Stop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.down {
		return
	}
	h.down = true
	h.store.changed()
	for _, s := range h.subs {
		s.queue(event{kind: lost})
	}
}

// Start brings the hub up again, with the subscriptions it had.
func (h *Hub) Start() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.down {
		return
	}
	h.down = false
	for _, s := range h.subs {
		s.queue(event{kind: restored})
	}
}

// Subscribers counts the connections that are subscribed to a channel.
func (h *Hub) Subscribers(channel string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, s := range h.subs {
		if s.channels[channel] {
			n++
		}
	}
	return n
}

// ShardSubscribers counts the connections that are subscribed to a channel of SPUBLISH.
func (h *Hub) ShardSubscribers(channel string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, s := range h.subs {
		if s.sharded[channel] {
			n++
		}
	}
	return n
}

// spread hands a message to the subscriptions. The lock is held.
func (h *Hub) spread(m redisadapter.Publication) {
	for _, s := range h.subs {
		if m.Sharded {
			if s.sharded[m.Channel] {
				s.queue(event{channel: m.Channel, payload: string(m.Payload)})
			}
			continue
		}
		if s.channels[m.Channel] {
			s.queue(event{channel: m.Channel, payload: string(m.Payload)})
		}
		for p := range s.patterns {
			if match(p, m.Channel) {
				s.queue(event{pattern: p, channel: m.Channel, payload: string(m.Payload)})
			}
		}
	}
}

type driver struct{ h *Hub }

func (d *driver) Connect(context.Context) error {
	d.h.mu.Lock()
	defer d.h.mu.Unlock()
	if d.h.down {
		return ErrDown
	}
	return nil
}

func (d *driver) Publish(_ context.Context, batch []redisadapter.Publication) []error {
	d.h.mu.Lock()
	defer d.h.mu.Unlock()
	if d.h.down {
		errs := make([]error, len(batch))
		for i := range errs {
			errs[i] = fmt.Errorf("%w: %w", redisadapter.ErrNotSent, ErrDown)
		}
		return errs
	}
	for _, m := range batch {
		d.h.sent = append(d.h.sent, m)
		if d.h.filter == nil {
			d.h.spread(m)
			continue
		}
		for _, other := range d.h.filter(m) {
			d.h.spread(other)
		}
	}
	return nil
}

func (d *driver) Subscribe(_ context.Context, r redisadapter.Receiver) (redisadapter.Subscription, error) {
	d.h.mu.Lock()
	defer d.h.mu.Unlock()
	if d.h.down {
		return nil, ErrDown
	}
	s := &subscription{
		h: d.h, r: r, channels: map[string]bool{}, patterns: map[string]bool{}, sharded: map[string]bool{},
		wake: make(chan struct{}, 1), ended: make(chan struct{}),
	}
	d.h.subs = append(d.h.subs, s)
	go s.run()
	return s, nil
}

func (d *driver) Subscribers(_ context.Context, channel string) (int, error) {
	if err := d.Connect(context.Background()); err != nil {
		return 0, err
	}
	return d.h.Subscribers(channel), nil
}

func (d *driver) ShardSubscribers(_ context.Context, channel string) (int, error) {
	if err := d.Connect(context.Background()); err != nil {
		return 0, err
	}
	return d.h.ShardSubscribers(channel), nil
}

func (d *driver) Close() error { return nil }

type eventKind uint8

const (
	message eventKind = iota
	lost
	restored
)

type event struct {
	kind                      eventKind
	pattern, channel, payload string
}

type subscription struct {
	h                  *Hub
	r                  redisadapter.Receiver
	channels, patterns map[string]bool // guarded by the hub's lock
	sharded            map[string]bool // likewise
	wake               chan struct{}
	ended              chan struct{}

	mu     sync.Mutex
	events []event
	closed bool
}

func (s *subscription) queue(e event) {
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

// run hands out what comes. It ends when the subscription is closed.
func (s *subscription) run() {
	defer close(s.ended)
	for {
		s.mu.Lock()
		events, closed := s.events, s.closed
		s.events = nil
		s.mu.Unlock()
		if closed {
			return
		}
		for _, e := range events {
			switch e.kind {
			case lost:
				s.r.Lost(ErrDown)
			case restored:
				s.r.Restored()
			default:
				s.r.Message(e.pattern, e.channel, e.payload)
			}
		}
		if len(events) == 0 {
			<-s.wake
		}
	}
}

func (s *subscription) Add(_ context.Context, t redisadapter.Topics) error {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	for _, c := range t.Channels {
		s.channels[c] = true
	}
	for _, p := range t.Patterns {
		s.patterns[p] = true
	}
	for _, c := range t.Sharded {
		s.sharded[c] = true
	}
	if s.h.down {
		return ErrDown
	}
	return nil
}

func (s *subscription) Remove(_ context.Context, t redisadapter.Topics) error {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	for _, c := range t.Channels {
		delete(s.channels, c)
	}
	for _, p := range t.Patterns {
		delete(s.patterns, p)
	}
	for _, c := range t.Sharded {
		delete(s.sharded, c)
	}
	if s.h.down {
		return ErrDown
	}
	return nil
}

func (s *subscription) Close() error {
	s.h.mu.Lock()
	for i, other := range s.h.subs {
		if other == s {
			s.h.subs = append(s.h.subs[:i], s.h.subs[i+1:]...)
			break
		}
	}
	s.h.mu.Unlock()
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.signal()
	<-s.ended
	return nil
}

// match is Redis' glob, but for classes of characters, which a [ stands for itself without.
func match(pattern, s string) bool {
	for pattern != "" {
		switch pattern[0] {
		case '*':
			for i := range len(s) + 1 {
				if match(pattern[1:], s[i:]) {
					return true
				}
			}
			return false
		case '?':
			if s == "" {
				return false
			}
		case '\\':
			if len(pattern) > 1 {
				pattern = pattern[1:]
			}
			fallthrough
		default:
			if s == "" || s[0] != pattern[0] {
				return false
			}
		}
		pattern, s = pattern[1:], s[1:]
	}
	return s == ""
}
