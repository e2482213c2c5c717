package redisadapter

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
)

// bus is what all namespaces of a server share, whatever the adapter: one queue of messages to publish, one subscriber
// connection, and the table that says whom a message from Redis concerns. Adapters reach it by a listener each.
type bus struct {
	d       Driver
	o       busOptions
	sharded bool // SSUBSCRIBE and SPUBLISH in place of SUBSCRIBE and PUBLISH
	count   counters
	pub     *publisher
	faults  faults
	in      *inbox
	t       *table
	members *members // nil without announce

	mu      sync.RWMutex
	started bool
	running bool // publisher, dispatcher and syncer do
	closed  bool
	sub     Subscription         // nil before Start
	lost    error                // nil while the subscription stands
	open    map[string]*listener // those of namespaces, by name
}

func newBus(d Driver, o busOptions, sharded bool) *bus {
	b := &bus{d: d, o: o.withDefaults(), sharded: sharded, in: newInbox(), t: newTable(sharded), open: map[string]*listener{}}
	b.faults.start = time.Now()
	b.pub = newPublisher(d, b.o, &b.count, func(err error) { b.faultAll(faultPublish, err) })
	return b
}

// start connects and subscribes to what listeners have asked for so far. check, which may be nil, is called as soon
// as Redis answers. The error wraps ErrUnavailable when Redis does not answer before ctx ends.
func (b *bus) start(ctx context.Context, check func(context.Context) error) error {
	b.mu.Lock()
	if b.closed || b.started {
		b.mu.Unlock()
		return fmt.Errorf("redisadapter: start: %w", ErrClosed)
	}
	b.started = true
	b.mu.Unlock()

	sub, err := b.connect(ctx, check)
	if err != nil {
		b.mu.Lock()
		b.started = false
		b.mu.Unlock()
		return err
	}
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return errors.Join(fmt.Errorf("redisadapter: start: %w", ErrClosed), sub.Close())
	}
	b.sub, b.running = sub, true
	b.pub.start()
	go b.in.run(b.t.dispatch)
	b.t.start(sub, b.o.RequestsTimeout, func(err error) { b.faultAll(faultGap, err) })
	b.mu.Unlock()
	if err := b.t.settled(ctx); err != nil {
		_ = b.Close() // the error says more
		return fmt.Errorf("%w: subscribe: %w", ErrUnavailable, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.members != nil && !b.closed {
		b.members.start()
	}
	return nil
}

func (b *bus) connect(ctx context.Context, check func(context.Context) error) (Subscription, error) {
	if err := b.d.Connect(ctx); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if check != nil {
		if err := check(ctx); err != nil {
			return nil, err
		}
	}
	sub, err := b.d.Subscribe(ctx, (*receiver)(b))
	if err != nil {
		return nil, fmt.Errorf("%w: subscribe: %w", ErrUnavailable, err)
	}
	return sub, nil
}

// Health is nil, or an error that wraps ErrUnavailable while Redis does not accept messages or the subscription
// is lost.
func (b *bus) Health() error {
	b.mu.RLock()
	lost, closed := b.lost, b.closed
	b.mu.RUnlock()
	if closed {
		return ErrClosed
	}
	if lost != nil {
		lost = fmt.Errorf("%w: subscription lost: %w", ErrUnavailable, lost)
	}
	return errors.Join(lost, b.pub.health())
}

// Stats counts what was done so far.
func (b *bus) Stats() Stats {
	s := b.count.stats()
	s.Waiting, s.WaitingBytes = b.pub.waiting()
	s.Unread = b.in.length()
	if b.members != nil {
		s.Servers = b.members.servers()
	}
	return s
}

// Settled waits until Redis has confirmed all subscriptions that were asked for so far, such as those to rooms that were
// just joined, or cannot confirm them at the moment, which is an error.
func (b *bus) Settled(ctx context.Context) error { return b.t.settled(ctx) }

// Close closes all adapters, publishes what is queued, within a second, and closes the driver.
func (b *bus) Close() error {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return nil
	}
	b.closed = true
	open := make([]*listener, 0, len(b.open))
	for _, l := range b.open {
		open = append(open, l)
	}
	sub, running, lost := b.sub, b.running, b.lost
	b.mu.Unlock()
	for _, l := range open {
		_ = l.shut() // the adapters' Close, which returns nil
	}
	if !running {
		return b.d.Close()
	}
	b.pub.close()
	b.t.clear()
	if lost == nil {
		b.unsubscribed()
	}
	if b.members != nil { // when nobody counts this server among the subscribers any more
		b.members.close(lost == nil && b.pub.health() == nil)
	}
	b.t.close()
	b.in.close()
	return errors.Join(sub.Close(), b.d.Close())
}

const unsubscribeLimit = time.Second

// unsubscribed waits until Redis has confirmed what was to be unsubscribed, so that other servers that count this one
// out of a channel's subscribers are right. Where that fails the subscription is lost as a whole, or about to be.
func (b *bus) unsubscribed() {
	ctx, cancel := context.WithTimeout(context.Background(), unsubscribeLimit)
	defer cancel()
	if err := b.t.settled(ctx); err != nil {
		b.faultAll(faultGap, fmt.Errorf("unsubscribe: %w", err))
	}
}

// publication is a message as this bus publishes it.
func (b *bus) publication(channel string, payload []byte) Publication {
	return Publication{Channel: channel, Payload: payload, Sharded: b.sharded}
}

// publish waits until Redis has the message if ctx can end.
func (b *bus) publish(ctx context.Context, channel string, payload []byte) error {
	if ctx.Done() == nil {
		return b.pub.put(b.publication(channel, payload), nil)
	}
	if err := b.pub.wait(ctx, b.publication(channel, payload)); err != nil {
		return fmt.Errorf("redisadapter: publish: %w", err)
	}
	return nil
}

// send publishes without waiting. While the bus is closed there is nobody to tell of it.
func (b *bus) send(channel string, payload []byte) {
	_ = b.pub.put(b.publication(channel, payload), nil)
}

// subscribers counts the connections that are subscribed to a channel.
func (b *bus) subscribers(ctx context.Context, channel string) (int, error) {
	count := b.d.Subscribers
	if b.sharded {
		count = b.d.ShardSubscribers
	}
	n, err := count(ctx, channel)
	if err != nil {
		return 0, fmt.Errorf("%w: count servers: %w", ErrUnavailable, err)
	}
	return n, nil
}

// bounded gives ctx an end if it has none.
func (b *bus) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, b.o.RequestsTimeout)
}

// faultAll reports what concerns every namespace.
func (b *bus) faultAll(k faultKind, err error) {
	suppressed, ok := b.faults.admit(k)
	if !ok {
		return
	}
	err = k.text(err, suppressed)
	b.mu.RLock()
	hosts := make([]adapter.Host, 0, len(b.open))
	for _, l := range b.open {
		hosts = append(hosts, l.host)
	}
	b.mu.RUnlock()
	for _, h := range hosts {
		h.Fault(err)
	}
	if b.o.OnFault != nil {
		b.o.OnFault("", err)
	}
}

// receiver is the bus as the driver sees it.
type receiver bus

func (r *receiver) Message(pattern, channel, payload string) {
	(*bus)(r).in.put(incoming{pattern, channel, payload})
}

func (r *receiver) Lost(err error) {
	b := (*bus)(r)
	b.count.gaps.Add(1)
	b.mu.Lock()
	b.lost = err
	b.mu.Unlock()
	b.faultAll(faultGap, fmt.Errorf("subscription lost: %w", err))
}

func (r *receiver) Restored() {
	b := (*bus)(r)
	b.mu.Lock()
	b.lost = nil
	b.mu.Unlock()
}
