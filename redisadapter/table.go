package redisadapter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// maxChange bounds the topics of one call of the driver.
const maxChange = 1024

// table says whom a message concerns, by what was subscribed to and never by taking the channel's name apart, and keeps
// the subscription as it says: one goroutine passes on what has changed, all at once, so that changing the table
// costs little and waits for nothing. What is added and removed again before it is passed on costs nothing
// else. The list of changes is bounded by the number of names.
type table struct {
	sharded bool // the channels are

	cancel context.CancelFunc // nil before start
	wake   chan struct{}      // holds one token when there is news
	ended  chan struct{}

	mu       sync.RWMutex
	channels map[string]*topic
	patterns map[string]*topic
	own      map[*listener]map[*topic]struct{}
	dirty    []*topic
	waiting  []chan<- error // those who wait for what is in dirty; each has room for one
	running  bool
}

// topic is a channel or pattern. It is in the table while somebody listens to it or it is subscribed.
type topic struct {
	name    string
	pattern bool
	routes  []route // replaced, not changed
	told    bool    // the driver has been told to subscribe
	refused error   // Redis does not allow it
	isDirty bool
}

// route says who takes the messages of a topic.
type route struct {
	l *listener
	f func(channel, payload string)
}

func newTable(sharded bool) *table {
	return &table{
		sharded: sharded, channels: map[string]*topic{}, patterns: map[string]*topic{},
		own: map[*listener]map[*topic]struct{}{}, wake: make(chan struct{}, 1), ended: make(chan struct{}),
	}
}

// dispatch hands a message to those whom it concerns.
func (t *table) dispatch(m incoming) {
	var routes []route
	t.mu.RLock()
	if m.pattern != "" {
		routes = routesOf(t.patterns, m.pattern)
	} else {
		routes = routesOf(t.channels, m.channel)
	}
	t.mu.RUnlock()
	for i := range routes {
		if len(m.payload) > maxMessage {
			routes[i].l.malformed(faultBroadcast, ErrTooLarge)
			continue
		}
		routes[i].handle(m.channel, m.payload)
	}
}

func routesOf(in map[string]*topic, name string) []route {
	if p := in[name]; p != nil {
		return p.routes
	}
	return nil
}

func (t *table) add(name string, pattern bool, r route) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r.l.ended {
		return
	}
	in := t.names(pattern)
	p := in[name]
	if p == nil {
		p = &topic{name: name, pattern: pattern}
		in[name] = p
	}
	p.routes = append(without(p.routes, r.l), r)
	if t.own[r.l] == nil {
		t.own[r.l] = map[*topic]struct{}{}
	}
	t.own[r.l][p] = struct{}{}
	t.changed(p)
}

// names gives the map for channels or patterns.
func (t *table) names(patterns bool) map[string]*topic {
	if patterns {
		return t.patterns
	}
	return t.channels
}

func (t *table) remove(channel string, l *listener) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p := t.channels[channel]; p != nil {
		t.drop(p, l)
	}
}

// removeAll removes all of a listener, which adds nothing from then on.
func (t *table) removeAll(l *listener) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l.ended = true
	for p := range t.own[l] {
		t.drop(p, l)
	}
}

// clear removes what is left.
func (t *table) clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for l, topics := range t.own {
		for p := range topics {
			t.drop(p, l)
		}
	}
}

// channelsOf gives the channels of a listener, patterns aside.
func (t *table) channelsOf(l *listener) []string {
	t.mu.RLock()
	defer t.mu.RUnlock()
	names := make([]string, 0, len(t.own[l]))
	for p := range t.own[l] {
		if !p.pattern {
			names = append(names, p.name)
		}
	}
	return names
}

// drop is called with the lock held.
func (t *table) drop(p *topic, l *listener) {
	p.routes = without(p.routes, l)
	delete(t.own[l], p)
	if len(t.own[l]) == 0 {
		delete(t.own, l)
	}
	t.changed(p)
}

func without(routes []route, l *listener) []route {
	return slices.DeleteFunc(slices.Clone(routes), func(r route) bool { return r.l == l })
}

// changed is called with the lock held. A topic stays in the table until the goroutine has looked at it, so that it is in
// the list once, however often it changes.
func (t *table) changed(p *topic) {
	if p.isDirty || p.told == (len(p.routes) > 0) {
		return
	}
	p.isDirty = true
	t.dirty = append(t.dirty, p)
	if len(t.dirty) == 1 {
		t.signal()
	}
}

// signal wakes the goroutine, and never blocks.
func (t *table) signal() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// start starts the goroutine that changes sub, each time within limit; close ends it. fault is told of what goes
// wrong where nobody waits for it.
func (t *table) start(sub Subscription, limit time.Duration, fault func(error)) {
	ctx, cancel := context.WithCancel(context.Background())
	t.mu.Lock()
	t.cancel, t.running = cancel, true
	t.mu.Unlock()
	go t.run(ctx, sub, limit, fault)
}

// settled waits until all changes so far are confirmed by Redis, which it need not be before start. Its error is that of
// a driver that cannot confirm them, or of ctx.
func (t *table) settled(ctx context.Context) error {
	done := make(chan error, 1)
	t.mu.Lock()
	if !t.running {
		t.mu.Unlock()
		return nil
	}
	t.waiting = append(t.waiting, done)
	t.mu.Unlock()
	t.signal()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// refusedTo gives one reason why l is not subscribed to all that it has added.
func (t *table) refusedTo(l *listener) error {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for p := range t.own[l] {
		if p.refused != nil {
			return p.refused
		}
	}
	return nil
}

// close ends the goroutine. Whatever is in the table stays as it is.
func (t *table) close() {
	t.cancel()
	<-t.ended
}

// run passes on changes. It ends when the table is closed.
func (t *table) run(ctx context.Context, sub Subscription, limit time.Duration, fault func(error)) {
	defer close(t.ended)
	for {
		select {
		case <-t.wake:
		case <-ctx.Done():
			t.mu.Lock()
			t.running = false
			waiting := t.waiting
			t.waiting = nil
			t.mu.Unlock()
			for _, done := range waiting {
				done <- ErrClosed
			}
			return
		}
		add, remove, waiting := t.take()
		err := errors.Join(pass(ctx, remove, limit, func(ctx context.Context, part []*topic) error {
			return sub.Remove(ctx, t.topics(part))
		}), pass(ctx, add, limit, func(ctx context.Context, part []*topic) error {
			return t.subscribe(ctx, sub, part)
		}))
		for _, done := range waiting {
			done <- err
		}
		if err != nil && len(waiting) == 0 && ctx.Err() == nil {
			fault(fmt.Errorf("change of subscription: %w", err))
		}
	}
}

// take takes the changes, as to be told to the driver from now on.
func (t *table) take() (add, remove []*topic, waiting []chan<- error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.dirty {
		p.isDirty = false
		switch want := len(p.routes) > 0; {
		case want && !p.told:
			add = append(add, p)
		case !want && p.told:
			remove = append(remove, p)
		}
		if p.told = len(p.routes) > 0; !p.told {
			delete(t.names(p.pattern), p.name)
		}
	}
	waiting = t.waiting
	t.dirty, t.waiting = nil, nil
	return add, remove, waiting
}

// pass makes as many calls as it takes, all within limit.
func pass(
	ctx context.Context, list []*topic, limit time.Duration, call func(context.Context, []*topic) error,
) error {
	if len(list) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var errs []error
	for part := range slices.Chunk(list, maxChange) {
		if err := call(ctx, part); err != nil {
			errs = append(errs, err) // the driver knows of them nevertheless
		}
	}
	return errors.Join(errs...)
}

// subscribe tells the driver of topics. Where Redis refuses some, it notes which, and the others are not lost with them.
func (t *table) subscribe(ctx context.Context, sub Subscription, part []*topic) error {
	err := sub.Add(ctx, t.topics(part))
	if !errors.Is(err, ErrForbidden) {
		return err
	}
	if len(part) == 1 {
		t.mu.Lock()
		part[0].refused = err
		t.mu.Unlock()
		return err
	}
	_ = sub.Remove(ctx, t.topics(part)) // as well as it can: some are not there
	var errs []error
	for i := range part {
		errs = append(errs, t.subscribe(ctx, sub, part[i:i+1]))
	}
	return errors.Join(errs...)
}

func (t *table) topics(list []*topic) Topics {
	var all Topics
	for _, p := range list {
		switch {
		case p.pattern:
			all.Patterns = append(all.Patterns, p.name)
		case t.sharded:
			all.Sharded = append(all.Sharded, p.name)
		default:
			all.Channels = append(all.Channels, p.name)
		}
	}
	return all
}
