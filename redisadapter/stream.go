package redisadapter

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/rediswire"
)

// streams is the cluster of the adapter with streams.
type streams struct {
	*bus

	d        StreamDriver
	o        StreamsOptions
	app      *appender
	recovery *adapter.RecoveryOptions // nil without recovery; not changed once started
	sessions *keeper                  // likewise

	smu     sync.RWMutex
	running bool
	open    map[string]*stream // by namespace
	readers map[string]*reader // by stream
}

// Streams makes an adapter of a server, which must be the only user of d, that sends broadcasts and orders to sockets by
// Redis streams, so that nothing is lost while Redis is away or a server slow, and questions by pub/sub. Servers, Go or
// Node, with the same names on the same Redis are one cluster. It can do connection state recovery: clients find
// their sessions on any server.
//
// What Redis has acknowledged reaches each connected socket once, also across a restart of a Redis that keeps its data.
// With recovery the sockets of this server get a broadcast when it comes back from the stream, so that all get everything
// in one order, but at most 250 ms later, or 1.25 s where Redis has it: then, and while Redis is away, they get it without
// an offset, and who has nothing behind it with one cannot be recovered. What is broadcast with Flags.Local, volatile events and those with an acknowledgement are not recovered.
//
// Limits: of a socket's acknowledgement and of the answer to a server-side event only the first argument travels.
//
// Differs from Node: reading begins where the stream ended at Start and not at the first read that finds something; gaps
// are found and reported; order is kept on the sender; a session is bound to its namespace and kept from the beginning,
// so that the end of a server loses none.
//
// Node: @socket.io/redis-streams-adapter/lib/adapter.ts createAdapter.
func Streams(d StreamDriver, o StreamsOptions) adapter.Cluster {
	o = o.withDefaults()
	c := &streams{
		bus: newBus(d, o.bus(), o.ShardedPubSub), d: d, o: o,
		open: map[string]*stream{}, readers: map[string]*reader{},
	}
	c.announce(o.ChannelPrefix)
	c.app = newAppender(d, c.bus.o, &c.count, func(err error) { c.faultAll(faultPublish, err) })
	return c
}

var _ adapter.RecoveryCluster = (*streams)(nil)

// Recoverable implements adapter.RecoveryCluster.
func (c *streams) Recoverable() bool { return true }

// EnableRecovery implements adapter.RecoveryCluster.
func (c *streams) EnableRecovery(o adapter.RecoveryOptions) error {
	c.smu.Lock()
	defer c.smu.Unlock()
	if c.running || len(c.open) > 0 {
		return errors.New("redisadapter: recovery enabled after start")
	}
	o = o.Bounded()
	c.recovery = &o
	c.sessions = newKeeper(c)
	return nil
}

// Start connects to Redis. The error wraps ErrUnavailable when it does not answer before ctx ends, and ErrPrefixInUse
// where servers with the classic adapter listen.
func (c *streams) Start(ctx context.Context) error {
	if err := c.o.validate(); err != nil {
		return err
	}
	if err := c.start(ctx, c.begin); err != nil {
		return err
	}
	c.app.start()
	if c.sessions != nil {
		c.sessions.start()
	}
	c.smu.Lock()
	defer c.smu.Unlock()
	c.running = true
	for _, r := range c.readers {
		r.start()
	}
	return nil
}

// Stats counts what was done so far.
func (c *streams) Stats() Stats {
	s := c.bus.Stats()
	entries, bytes := c.app.waiting()
	s.Waiting += entries
	s.WaitingBytes += bytes
	return s
}

// begin is called when Redis answers for the first time.
func (c *streams) begin(ctx context.Context) error {
	if !c.o.ShardedPubSub {
		n, err := c.d.Subscribers(ctx, c.o.ChannelPrefix+"-request#/#")
		if err != nil {
			return fmt.Errorf("%w: count servers: %w", ErrUnavailable, err)
		}
		if n > 0 {
			return fmt.Errorf("%w: %d servers listen on %s-request#/#; choose another StreamsOptions.ChannelPrefix",
				ErrPrefixInUse, n, c.o.ChannelPrefix)
		}
	}
	for _, r := range c.all() {
		if err := r.locate(ctx); err != nil {
			return fmt.Errorf("%w: stream %s: %w", ErrUnavailable, r.name, err)
		}
	}
	return nil
}

// all gives the readers.
func (c *streams) all() []*reader {
	c.smu.RLock()
	defer c.smu.RUnlock()
	return slices.Collect(maps.Values(c.readers))
}

// Open makes the adapter of a namespace. It waits until Redis has confirmed the subscription, but not while Redis is
// away.
func (c *streams) Open(h adapter.Host) (adapter.Adapter, error) {
	m, err := newMessages(c.bus, h, c.o.ChannelPrefix, rediswire.FormatMsgpack)
	if err != nil {
		return nil, err
	}
	name, negative := c.o.stream(m.name)
	a := &stream{messages: m, c: c, key: name}
	if c.recovery != nil {
		a.seq = newSequence(a)
	}
	if err := a.open(a.Close); err != nil {
		return nil, err
	}
	if !negative || !c.o.IgnoreNegative {
		c.follow(a)
	}
	c.smu.Lock()
	c.open[m.name] = a
	c.smu.Unlock()
	if negative {
		a.unheard()
	}
	if a.seq == nil {
		return a, nil
	}
	h.Index().Watch(func(e adapter.RoomEvent) { c.sessions.moved(a, e) })
	return recovering{a}, nil
}

// follow makes sure that the stream of a namespace is read.
func (c *streams) follow(a *stream) {
	c.smu.Lock()
	r := c.readers[a.key]
	made := r == nil
	if made {
		r = newReader(c, a.key)
		c.readers[a.key] = r
	}
	a.reader = r
	running := c.running
	c.smu.Unlock()
	if made && running {
		c.begun(a, r)
	}
}

// begun starts a reader while the server runs. Where Redis is away it begins when that is back.
func (c *streams) begun(a *stream, r *reader) {
	ctx, cancel := context.WithTimeout(context.Background(), c.bus.o.RequestsTimeout)
	defer cancel()
	if err := r.locate(ctx); err != nil {
		a.l.fault(faultStream, err)
	}
	r.start()
}

// release takes the adapter of a namespace out.
func (c *streams) release(a *stream) {
	c.smu.Lock()
	defer c.smu.Unlock()
	if c.open[a.name] == a {
		delete(c.open, a.name)
	}
}

// entry hands an entry to the namespace that it is for. Whatever goes wrong in it is counted and reported, and concerns no
// other.
func (c *streams) entry(id entryID, fields []string) {
	uid, nsp, t, ok := rediswire.PeekEntry(fields)
	if !ok {
		if nsp != "" || len(fields) == 0 {
			c.count.malformed.Add(1)
			c.faultAll(faultEntry, fmt.Errorf("%w: entry %s", rediswire.ErrMalformed, id))
		}
		return // what has no namespace is none of ours
	}
	c.smu.RLock()
	a := c.open[nsp]
	c.smu.RUnlock()
	if a == nil {
		return
	}
	defer func() {
		if v := recover(); v != nil {
			c.count.malformed.Add(1)
			a.l.fault(faultPanic, fmt.Errorf("%w: %v", errPanic, v))
		}
	}()
	a.entry(id, uid, t, fields)
}

// gap counts and reports that entries of a stream are lost. Sessions are written again, since Redis may have lost them
// too.
func (c *streams) gap(stream string, err error) {
	c.count.gaps.Add(1)
	if c.sessions != nil {
		c.sessions.again(stream)
	}
	c.faultAll(faultLoss, err)
}

// rewind tells the namespaces of a stream that it goes on behind an id that is lower than what they had.
func (c *streams) rewind(stream string, to entryID) {
	c.smu.RLock()
	open := slices.Collect(maps.Values(c.open))
	c.smu.RUnlock()
	for _, a := range open {
		if a.key == stream && a.seq != nil {
			a.seq.rewind(to)
		}
	}
}

// Health is nil, or an error that wraps ErrUnavailable while Redis does not take entries or messages, or a stream or the
// subscription is lost.
func (c *streams) Health() error {
	errs := []error{c.bus.Health(), c.app.health()}
	for _, r := range c.all() {
		if err := r.health(); err != nil {
			errs = append(errs, fmt.Errorf("%w: read %s: %w", ErrUnavailable, r.name, err))
		}
	}
	return errors.Join(errs...)
}

// Close closes all adapters, appends and publishes what is queued, within a second each, and closes the driver.
func (c *streams) Close() error {
	c.smu.Lock()
	running := c.running
	c.running = false
	open := make([]*stream, 0, len(c.open))
	for _, a := range c.open {
		open = append(open, a)
	}
	c.smu.Unlock()
	if running {
		for _, a := range open {
			a.settle()
		}
		c.app.close()
		for _, r := range c.all() {
			r.stop()
		}
		if c.sessions != nil {
			c.sessions.close()
		}
	}
	return c.bus.Close()
}
