package redisadapter

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// StreamsOutlet is an [Outlet] beside servers with [Streams], which also appends to their streams.
type StreamsOutlet struct {
	*Outlet

	o   StreamsOptions
	d   StreamDriver
	app *appender
}

// NewStreamsOutlet makes an outlet and gives the options with their defaults. It does not wait for Redis. d belongs to it.
//
// Node: @socket.io/redis-streams-emitter/lib/index.ts Emitter constructor.
func NewStreamsOutlet(d StreamDriver, o StreamsOptions) (*StreamsOutlet, StreamsOptions, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, o, err
	}
	out := &StreamsOutlet{Outlet: newOutlet(d, o.bus(), o.ShardedPubSub), o: o, d: d}
	bounds := &boundedDriver{StreamDriver: d, ends: map[string]streamEnd{}}
	out.app = newAppender(bounds, out.b.o, &out.b.count, func(err error) { out.b.faultAll(faultPublish, err) })
	out.app.start()
	return out, o, nil
}

// Append queues an entry for the stream of a namespace, in order, and waits until Redis has it if ctx can end. Errors are
// those of Publish.
//
// Protocol: Redis, XADD.
func (o *StreamsOutlet) Append(ctx context.Context, namespace string, fields []string) error {
	name, _ := o.o.stream(namespace)
	e := appending{Append: Append{Stream: name, MaxLen: o.o.MaxLen, Fields: fields}}
	if ctx.Done() == nil {
		return o.app.put(e)
	}
	done := make(chan error, 1)
	e.done = func(_ string, err error) { done <- err }
	if err := o.app.put(e); err != nil {
		return err
	}
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("redisadapter: append: %w", err)
		}
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Clear is nil where questions for a namespace may be published: servers with the classic adapter, which do not
// understand them, do not listen there. Errors wrap ErrPrefixInUse or ErrUnavailable.
//
// Differs from Node: its servers do not look.
func (o *StreamsOutlet) Clear(ctx context.Context, namespace string) error {
	if o.o.ShardedPubSub {
		return nil
	}
	channel := o.o.ChannelPrefix + "-request#" + namespace + "#"
	n, err := o.d.Subscribers(ctx, channel)
	if err != nil {
		return fmt.Errorf("%w: count servers: %w", ErrUnavailable, err)
	}
	if n > 0 {
		return fmt.Errorf("%w: %d servers listen on %s", ErrPrefixInUse, n, channel)
	}
	return nil
}

// Accepting is nil, or an error that wraps ErrUnavailable while Redis does not take entries.
func (o *StreamsOutlet) Accepting() error { return o.app.health() }

// Health is that of Outlet, and nil only while Redis takes entries too.
func (o *StreamsOutlet) Health() error { return errors.Join(o.Outlet.Health(), o.app.health()) }

// Close appends and publishes what is queued, within a second each, and closes the connections and the driver. It may be
// called again.
func (o *StreamsOutlet) Close() error {
	o.app.close()
	return o.Outlet.Close()
}

// freshEnd is how long the end of a stream, as it is known, is taken as near enough.
const freshEnd = time.Second

// boundedDriver bounds where an appender looks for an entry of unknown outcome. Emitters all have one uid, so that an equal
// entry of another one, from long ago, could be taken for its own: it learns the end of the stream before it appends, and
// nothing before that is looked at.
type boundedDriver struct {
	StreamDriver

	mu   sync.Mutex
	ends map[string]streamEnd
}

// streamEnd is the id after which entries are new, and when it was learned.
type streamEnd struct {
	id entryID
	at time.Time
}

// Append implements StreamDriver.
func (d *boundedDriver) Append(ctx context.Context, batch []Append) (ids []string, errs []error) {
	if err := d.learn(ctx, batch); err != nil {
		errs = make([]error, len(batch))
		for i := range errs {
			errs[i] = fmt.Errorf("%w: %w", ErrNotSent, err)
		}
		return make([]string, len(batch)), errs
	}
	ids, errs = d.StreamDriver.Append(ctx, batch)
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range batch {
		id, ok := parseEntryID(ids[i])
		if end := d.ends[batch[i].Stream]; ok && end.id.less(id) && errs == nil {
			d.ends[batch[i].Stream] = streamEnd{id, time.Now()}
		}
	}
	return ids, errs
}

// learn asks for the ends that are not known well enough.
func (d *boundedDriver) learn(ctx context.Context, batch []Append) error {
	for i := range batch {
		stream := batch[i].Stream
		d.mu.Lock()
		end, ok := d.ends[stream]
		d.mu.Unlock()
		if ok && time.Since(end.at) < freshEnd {
			continue
		}
		info, err := d.Info(ctx, stream)
		if err != nil {
			return err
		}
		id, _ := parseEntryID(info.LastID) // "" where there is no stream yet
		d.mu.Lock()
		d.ends[stream] = streamEnd{id, time.Now()}
		d.mu.Unlock()
	}
	return nil
}

// Range implements StreamDriver.
func (d *boundedDriver) Range(ctx context.Context, stream, first, last string, count int) ([]Entry, error) {
	d.mu.Lock()
	end := d.ends[stream]
	d.mu.Unlock()
	if id, ok := parseEntryID(first); ok && id.less(end.id.next()) {
		first = end.id.next().String()
	}
	return d.StreamDriver.Range(ctx, stream, first, last, count)
}
