package redisadapter

import (
	"context"
	"errors"
	"fmt"
)

// Outlet is the way to Redis of a process that serves no sockets: what adapters publish by, and a subscriber connection
// that is opened when somebody listens. It subscribes to nothing by itself and so is no server to the servers. Package
// emitter is made of it. Its methods are safe for concurrent use.
type Outlet struct {
	b    *bus
	gate chan struct{} // holds a token while nobody connects
}

// NewPubSubOutlet makes an outlet beside servers with [PubSub], and gives the options with their defaults. It does not wait
// for Redis. d belongs to it.
//
// Node: @socket.io/redis-emitter/lib/index.ts Emitter constructor.
func NewPubSubOutlet(d Driver, o PubSubOptions) (*Outlet, PubSubOptions, error) {
	if err := o.validate(); err != nil {
		return nil, o, err
	}
	if o.Key == "" {
		o.Key = defaultKey
	}
	return newOutlet(d, o.bus(), false), o, nil
}

// NewShardedOutlet is NewPubSubOutlet beside servers with [Sharded].
func NewShardedOutlet(d Driver, o ShardedOptions) (*Outlet, ShardedOptions, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, o, err
	}
	return newOutlet(d, o.bus(), true), o, nil
}

func newOutlet(d Driver, o busOptions, sharded bool) *Outlet {
	out := &Outlet{b: newBus(d, o, sharded), gate: make(chan struct{}, 1)}
	out.gate <- struct{}{}
	out.b.pub.start()
	return out
}

// Publish queues a message, in order, and waits until Redis has accepted it if ctx can end. Errors: ErrClosed, the cause
// of ctx, ErrDropped, and those that wrap ErrUnavailable.
//
// Protocol: Redis, PUBLISH and SPUBLISH.
func (o *Outlet) Publish(ctx context.Context, channel string, payload []byte) error {
	return o.b.publish(ctx, channel, payload)
}

// Listen subscribes to channels, and returns when Redis has confirmed that. f takes the messages, one at a time for the
// whole outlet, and must not block; its errors are counted and reported as malformed messages. stop unsubscribes, in
// the background. Errors: ErrClosed, the cause of ctx, and those that wrap ErrUnavailable.
//
// Protocol: Redis, SUBSCRIBE and SSUBSCRIBE.
func (o *Outlet) Listen(
	ctx context.Context, f func(payload string) error, channels ...string,
) (stop func(), err error) {
	if err := o.connect(ctx); err != nil {
		return nil, err
	}
	l := o.b.listener(nil, nil)
	l.add(func(_, payload string) {
		if err := f(payload); err != nil {
			l.malformed(faultResponse, err)
		}
	}, channels...)
	stop = func() { o.b.t.removeAll(l) }
	if err := o.b.t.settled(ctx); err != nil {
		stop()
		if errors.Is(err, ErrClosed) || ctx.Err() != nil {
			return nil, err
		}
		return nil, fmt.Errorf("%w: subscribe: %w", ErrUnavailable, err)
	}
	return stop, nil
}

// connect opens the subscriber connection once. It is never under a lock while it waits.
func (o *Outlet) connect(ctx context.Context) error {
	select {
	case <-o.gate:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { o.gate <- struct{}{} }()
	b := o.b
	b.mu.RLock()
	running, closed := b.running, b.closed
	b.mu.RUnlock()
	switch {
	case closed:
		return ErrClosed
	case running:
		return nil
	}
	sub, err := b.connect(ctx, nil)
	if err != nil {
		return err
	}
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return errors.Join(ErrClosed, sub.Close())
	}
	b.sub, b.running = sub, true
	go b.in.run(b.t.dispatch)
	b.t.start(sub, b.o.RequestsTimeout, func(err error) { b.faultAll(faultGap, err) })
	b.mu.Unlock()
	return nil
}

// Subscribers counts the connections that are subscribed to a channel. The error wraps ErrUnavailable.
//
// Protocol: Redis, PUBSUB NUMSUB and PUBSUB SHARDNUMSUB.
func (o *Outlet) Subscribers(ctx context.Context, channel string) (int, error) {
	return o.b.subscribers(ctx, channel)
}

// Received counts a message that somebody here waited for, or that nobody did.
func (o *Outlet) Received(wanted bool) {
	if wanted {
		o.b.count.received.Add(1)
		return
	}
	o.b.count.unknown.Add(1)
}

// Skip counts a message that was not even queued as dropped.
func (o *Outlet) Skip() { o.b.count.dropped.Add(1) }

// Bounded gives ctx an end, after RequestsTimeout, if it has none.
func (o *Outlet) Bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return o.b.bounded(ctx)
}

// Accepting is nil, or an error that wraps ErrUnavailable while Redis does not accept messages.
func (o *Outlet) Accepting() error { return o.b.pub.health() }

// Health is nil, or an error that wraps ErrUnavailable while Redis does not accept messages or the subscription is lost,
// or ErrClosed.
func (o *Outlet) Health() error { return o.b.Health() }

// Stats counts what was done so far.
func (o *Outlet) Stats() Stats { return o.b.Stats() }

// Close publishes what is queued, within a second, and closes the connections and the driver. It may be called again.
func (o *Outlet) Close() error {
	b := o.b
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return nil
	}
	b.closed = true
	sub, running := b.sub, b.running
	b.mu.Unlock()
	b.pub.close()
	if !running {
		return b.d.Close()
	}
	b.t.close()
	b.in.close()
	return errors.Join(sub.Close(), b.d.Close())
}
