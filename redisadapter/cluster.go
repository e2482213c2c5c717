package redisadapter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/rediswire"
)

// cluster is what all namespaces of a server share: one queue of messages to publish, one subscriber connection,
// and the table that says whom a message from Redis concerns.
type cluster struct {
	d      Driver
	o      PubSubOptions
	count  counters
	pub    *publisher
	faults faults
	in     *inbox

	mu       sync.RWMutex
	sub      Subscription // nil before Start
	started  bool
	closed   bool
	lost     error              // nil while the subscription stands
	open     map[string]*pubsub // by namespace
	patterns map[string]*pubsub // by pattern
	channels map[string][]route // by channel; a namespace may be named like another's response channel
}

// route says what a channel is to an adapter.
type route struct {
	a       *pubsub
	request bool
}

// PubSub makes the classic adapter of a server, which must be the only user of d. Servers, Go or Node, that use
// the same Redis and Key are one cluster. Limits: of a socket's acknowledgement and of the answer to a
// server-side event only the first argument travels, binary in server-side events and in what Fetch tells of other
// servers arrives as the JSON form of Node's Buffer, rooms are restricted by nothing, and connection state
// recovery does not exist.
//
// The namespaces' names must not have control characters: Open fails with them.
//
// Differs from Node: a namespace with the characters * ? [ or \ hears its own channels alone; this server joins,
// leaves and disconnects its own sockets at once and not when its message comes back; a broadcast with acknowledgement
// to the sockets of this server alone does not wait for others; what would harm peers is refused.
//
// Node: @socket.io/redis-adapter/lib/index.ts createAdapter.
func PubSub(d Driver, o PubSubOptions) adapter.Cluster {
	c := &cluster{
		d: d, o: o.withDefaults(), in: newInbox(),
		open: map[string]*pubsub{}, patterns: map[string]*pubsub{}, channels: map[string][]route{},
	}
	c.faults.start = time.Now()
	c.pub = newPublisher(d, c.o, &c.count, func(err error) { c.faultAll(faultPublish, err) })
	return c
}

// Start connects to Redis. The error wraps ErrUnavailable when it does not answer before ctx ends.
func (c *cluster) Start(ctx context.Context) error {
	if err := c.o.validate(); err != nil {
		return err
	}
	c.mu.Lock()
	if c.closed || c.started {
		c.mu.Unlock()
		return fmt.Errorf("redisadapter: start: %w", ErrClosed)
	}
	c.started = true
	c.mu.Unlock()

	sub, err := c.connect(ctx)
	if err != nil {
		c.mu.Lock()
		c.started = false
		c.mu.Unlock()
		return err
	}
	c.pub.start()
	go c.in.run(c.dispatch)
	c.mu.Lock()
	c.sub = sub
	topics := c.topics()
	c.mu.Unlock()
	if err := sub.Add(ctx, topics); err != nil {
		_ = c.Close() // the error of Add says more
		return fmt.Errorf("%w: subscribe: %w", ErrUnavailable, err)
	}
	return nil
}

func (c *cluster) connect(ctx context.Context) (Subscription, error) {
	if err := c.d.Connect(ctx); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	sub, err := c.d.Subscribe(ctx, (*receiver)(c))
	if err != nil {
		return nil, fmt.Errorf("%w: subscribe: %w", ErrUnavailable, err)
	}
	return sub, nil
}

// topics are those of the adapters that are open.
func (c *cluster) topics() Topics {
	var t Topics
	for p := range c.patterns {
		t.Patterns = append(t.Patterns, p)
	}
	for ch := range c.channels {
		t.Channels = append(t.Channels, ch)
	}
	return t
}

// Open makes the adapter of a namespace. It waits until Redis has confirmed the subscription, but not while Redis is
// away.
func (c *cluster) Open(h adapter.Host) (adapter.Adapter, error) {
	a := &pubsub{Local: adapter.NewLocal(h), c: c, host: h, name: h.Name(), uid: adapter.NewID()}
	var err error
	if a.channels, err = rediswire.NewChannels(c.o.Key, a.name, a.uid); err != nil {
		return nil, fmt.Errorf("redisadapter: open: %w", err)
	}
	a.init()
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil, ErrClosed
	}
	if c.open[a.name] != nil {
		c.mu.Unlock()
		return nil, fmt.Errorf("redisadapter: open %q: %w", a.name, adapter.ErrOpen)
	}
	c.open[a.name] = a
	c.patterns[a.channels.Pattern] = a
	t := Topics{Patterns: []string{a.channels.Pattern}}
	for _, ch := range a.listens() {
		if len(c.channels[ch]) == 0 {
			t.Channels = append(t.Channels, ch)
		}
		c.channels[ch] = append(c.channels[ch], route{a, ch == a.channels.Request})
	}
	sub := c.sub
	c.mu.Unlock()
	if sub == nil {
		return a, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.o.RequestsTimeout)
	defer cancel()
	if err := sub.Add(ctx, t); err != nil {
		a.fault(faultGap, err)
	}
	return a, nil
}

// release takes an adapter out of the table.
func (c *cluster) release(a *pubsub) {
	c.mu.Lock()
	if c.open[a.name] != a {
		c.mu.Unlock()
		return
	}
	delete(c.open, a.name)
	delete(c.patterns, a.channels.Pattern)
	t := Topics{Patterns: []string{a.channels.Pattern}}
	for _, ch := range a.listens() {
		left := slices.DeleteFunc(slices.Clone(c.channels[ch]), func(r route) bool { return r.a == a })
		if len(left) > 0 {
			c.channels[ch] = left
			continue
		}
		delete(c.channels, ch)
		t.Channels = append(t.Channels, ch)
	}
	sub := c.sub
	c.mu.Unlock()
	if sub != nil {
		c.unsubscribe(sub, t)
	}
}

const unsubscribeLimit = time.Second

// unsubscribe waits, so that other servers that count this one out of the channel's subscribers are right. Where that
// fails the subscription is lost as a whole, or about to be.
func (c *cluster) unsubscribe(sub Subscription, t Topics) {
	ctx, cancel := context.WithTimeout(context.Background(), unsubscribeLimit)
	defer cancel()
	if err := sub.Remove(ctx, t); err != nil {
		c.faultAll(faultGap, fmt.Errorf("unsubscribe: %w", err))
	}
}

// Health is nil, or an error that wraps ErrUnavailable while Redis does not accept messages or the subscription
// is lost.
func (c *cluster) Health() error {
	c.mu.RLock()
	lost, closed := c.lost, c.closed
	c.mu.RUnlock()
	if closed {
		return ErrClosed
	}
	if lost != nil {
		lost = fmt.Errorf("%w: subscription lost: %w", ErrUnavailable, lost)
	}
	return errors.Join(lost, c.pub.health())
}

// Stats counts what was done so far.
func (c *cluster) Stats() Stats { return c.count.stats() }

// Close closes all adapters, publishes what is queued, within a second, and closes the driver.
func (c *cluster) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	open := make([]*pubsub, 0, len(c.open))
	for _, a := range c.open {
		open = append(open, a)
	}
	sub, t, lost := c.sub, c.topics(), c.lost
	c.sub = nil // the adapters need not unsubscribe one by one
	c.mu.Unlock()
	for _, a := range open {
		_ = a.Close() // it returns nil
	}
	if sub == nil {
		return c.d.Close()
	}
	c.pub.close()
	if lost == nil {
		c.unsubscribe(sub, t)
	}
	c.in.close()
	return errors.Join(sub.Close(), c.d.Close())
}

// faultAll reports what concerns every namespace.
func (c *cluster) faultAll(k faultKind, err error) {
	suppressed, ok := c.faults.admit(k)
	if !ok {
		return
	}
	err = k.text(err, suppressed)
	c.mu.RLock()
	hosts := make([]adapter.Host, 0, len(c.open))
	for _, a := range c.open {
		hosts = append(hosts, a.host)
	}
	c.mu.RUnlock()
	for _, h := range hosts {
		h.Fault(err)
	}
	if c.o.OnFault != nil {
		c.o.OnFault("", err)
	}
}

// dispatch finds the adapter by what was subscribed to, never by taking the channel's name apart.
func (c *cluster) dispatch(m incoming) {
	c.mu.RLock()
	byPattern := c.patterns[m.pattern]
	var routes []route
	if m.pattern == "" {
		byPattern, routes = nil, c.channels[m.channel]
	}
	c.mu.RUnlock()
	if byPattern != nil {
		byPattern.receive(faultBroadcast, m.channel, m.payload)
	}
	for _, to := range routes {
		kind := faultResponse
		if to.request {
			kind = faultRequest
		}
		to.a.receive(kind, m.channel, m.payload)
	}
}

// receiver is the cluster as the driver sees it.
type receiver cluster

func (r *receiver) Message(pattern, channel, payload string) {
	(*cluster)(r).in.put(incoming{pattern, channel, payload})
}

func (r *receiver) Lost(err error) {
	c := (*cluster)(r)
	c.count.gaps.Add(1)
	c.mu.Lock()
	c.lost = err
	c.mu.Unlock()
	c.faultAll(faultGap, fmt.Errorf("subscription lost: %w", err))
}

func (r *receiver) Restored() {
	c := (*cluster)(r)
	c.mu.Lock()
	c.lost = nil
	c.mu.Unlock()
}
