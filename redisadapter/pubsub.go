package redisadapter

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/rediswire"
	"github.com/sockeye-io/sockeye/parser"
)

// classic is the cluster of the classic adapter.
type classic struct {
	*bus

	o PubSubOptions
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
	if o.Key == "" {
		o.Key = defaultKey
	}
	return &classic{newBus(d, o.bus(), false), o}
}

// Start connects to Redis. The error wraps ErrUnavailable when it does not answer before ctx ends.
func (c *classic) Start(ctx context.Context) error {
	if err := c.o.validate(); err != nil {
		return err
	}
	return c.start(ctx, nil)
}

// Open makes the adapter of a namespace. It waits until Redis has confirmed the subscription, but not while Redis is
// away.
func (c *classic) Open(h adapter.Host) (adapter.Adapter, error) {
	a := &pubsub{Local: adapter.NewLocal(h), c: c, host: h, name: h.Name(), uid: adapter.NewID()}
	var err error
	if a.channels, err = rediswire.NewChannels(c.o.Key, a.name, a.uid); err != nil {
		return nil, fmt.Errorf("redisadapter: open: %w", err)
	}
	a.kinds = map[string]rediswire.ResponseKind{}
	a.remotes = map[string]*remoteAsk{}
	a.own = ownPrefixes(a.uid)
	a.l = c.listener(h, a.Close)
	if err := a.l.open(); err != nil {
		return nil, err
	}
	a.l.addPattern(a.receive(faultBroadcast, a.onBroadcast), a.channels.Pattern)
	a.l.add(a.receive(faultRequest, a.onRequest), a.channels.Request)
	a.l.add(a.receive(faultResponse, a.onResponse), a.channels.Response, a.channels.Own)
	a.l.opened()
	return a, nil
}

// pubsub is the classic adapter of one namespace.
type pubsub struct {
	*adapter.Local

	c        *classic
	l        *listener
	host     adapter.Host
	name     string
	uid      string
	channels rediswire.Channels
	own      [3]string // how messages of this server start
	requests adapter.Requests
	closed   atomic.Bool

	mu      sync.Mutex
	kinds   map[string]rediswire.ResponseKind // what the open requests expect, by id
	remotes map[string]*remoteAsk             // questions of other servers that sockets here still answer
}

// Broadcast delivers p here and publishes it for the others.
func (a *pubsub) Broadcast(ctx context.Context, p *parser.Packet, o adapter.Options) error {
	if o.Flags.Local {
		return a.Local.Broadcast(ctx, p, o)
	}
	payload, err := rediswire.AppendBroadcast(nil, a.uid, p, rediswire.Target{Options: o})
	if err != nil {
		return fmt.Errorf("redisadapter: broadcast: %w", err)
	}
	if err := a.Local.Broadcast(ctx, p, o); err != nil {
		return err
	}
	channel := a.channels.Broadcast
	if room, one := onlyRoom(o.Rooms); one {
		channel = a.channels.Room(room)
	}
	if failing := a.c.pub.health() != nil; failing && o.Flags.Volatile {
		a.c.count.dropped.Add(1)
		return nil
	}
	return a.c.publish(ctx, channel, payload)
}

// onlyRoom tells whether exactly one room is meant, which has a channel of its own.
func onlyRoom(rooms []string) (string, bool) {
	if len(rooms) == 0 {
		return "", false
	}
	for _, r := range rooms[1:] {
		if r != rooms[0] {
			return "", false
		}
	}
	return rooms[0], true
}

// BroadcastWithAck delivers p here and elsewhere and collects the acknowledgements. Of sockets of other servers it
// gets the first argument and no id. While Redis is unavailable it asks this server's sockets and returns an *Incomplete.
func (a *pubsub) BroadcastWithAck(
	ctx context.Context, p *parser.Packet, o adapter.Options, each func(adapter.Answer),
) error {
	if o.Flags.Local {
		return a.Local.BroadcastWithAck(ctx, p, o, each)
	}
	q, end, err := a.ask(adapter.OfSockets, rediswire.ResponseAck)
	if err != nil {
		return err
	}
	defer end()
	r := rediswire.Request{Type: rediswire.RequestBroadcast, ID: q.ID(), Packet: *p, Target: rediswire.Target{Options: o}}
	if deadline, ok := ctx.Deadline(); ok {
		r.Target.Timeout = max(time.Until(deadline), time.Millisecond)
	}
	payload, err := a.request(&r)
	if err != nil {
		return err
	}
	if err := a.AskFor(q, p, o); err != nil {
		return err
	}
	others, failed := a.publishCounted(ctx, payload)
	q.Expect(others)
	received := 0
	err = q.Wait(ctx, func(r adapter.Response) {
		received++
		each(r.Answer)
	})
	if err == nil && failed != nil {
		return &adapter.Incomplete{Expected: received, Received: received, Err: failed}
	}
	return err
}

// publishCounted publishes a request and counts the other servers that got it: none, and an error, while Redis is
// unavailable.
func (a *pubsub) publishCounted(ctx context.Context, payload []byte) (others int, err error) {
	if err := a.c.pub.health(); err != nil {
		return 0, err
	}
	if err := a.c.pub.wait(ctx, a.c.publication(a.channels.Request, payload)); err != nil {
		return 0, err
	}
	return a.others(ctx)
}

// others counts the other servers of the namespace.
func (a *pubsub) others(ctx context.Context) (int, error) {
	n, err := a.c.subscribers(ctx, a.channels.Request)
	return n - 1, err
}

// ask opens a request for answers of that kind.
func (a *pubsub) ask(of adapter.Kind, kind rediswire.ResponseKind) (*adapter.Request, func(), error) {
	q, err := a.requests.New(of)
	if err != nil {
		return nil, nil, fmt.Errorf("redisadapter: %w", err)
	}
	a.mu.Lock()
	a.kinds[q.ID()] = kind
	a.mu.Unlock()
	return q, func() {
		q.Close()
		a.mu.Lock()
		delete(a.kinds, q.ID())
		a.mu.Unlock()
	}, nil
}

func (a *pubsub) request(r *rediswire.Request) ([]byte, error) {
	r.UID = a.uid
	payload, err := rediswire.AppendRequest(nil, r)
	if err != nil {
		return nil, fmt.Errorf("redisadapter: request: %w", err)
	}
	return payload, nil
}

// Fetch describes the sockets that o selects, those of this server first.
func (a *pubsub) Fetch(ctx context.Context, o adapter.Options) ([]adapter.Remote, error) {
	sockets, err := a.Local.Fetch(ctx, o)
	if err != nil || o.Flags.Local {
		return sockets, err
	}
	ctx, cancel := a.c.bounded(ctx)
	defer cancel()
	err = a.query(ctx, rediswire.ResponseOther,
		&rediswire.Request{Type: rediswire.RequestFetch, Target: rediswire.Target{Options: o}},
		func(r adapter.Response) { sockets = append(sockets, r.Remotes...) })
	return sockets, err
}

// Count counts the sockets that o selects.
func (a *pubsub) Count(ctx context.Context, o adapter.Options) (int, error) {
	if o.Flags.Local {
		return a.Local.Count(ctx, o)
	}
	sockets, err := a.Fetch(ctx, o)
	return len(sockets), err
}

// query asks every other server once. It returns at once if there is none.
func (a *pubsub) query(
	ctx context.Context, kind rediswire.ResponseKind, r *rediswire.Request, each func(adapter.Response),
) error {
	err := a.c.pub.health()
	var others int
	if err == nil {
		others, err = a.others(ctx)
	}
	if err != nil {
		return &adapter.Incomplete{Err: err}
	}
	if others <= 0 {
		return nil
	}
	q, end, err := a.ask(adapter.OfServers, kind)
	if err != nil {
		return err
	}
	defer end()
	r.ID = q.ID()
	payload, err := a.request(r)
	if err != nil {
		return err
	}
	q.Expect(others)
	if err := a.c.publish(context.Background(), a.channels.Request, payload); err != nil {
		return err
	}
	return q.Wait(ctx, each)
}

// Command acts here at once and tells the others to.
func (a *pubsub) Command(ctx context.Context, c adapter.Command, o adapter.Options) error {
	r := rediswire.Request{Target: rediswire.Target{Options: o}, Close: c.CloseConn}
	switch {
	case c.Disconnect:
		r.Type = rediswire.RequestDisconnect
	case len(c.Join) > 0:
		r.Type, r.Rooms = rediswire.RequestJoin, c.Join
	case len(c.Leave) > 0:
		r.Type, r.Rooms = rediswire.RequestLeave, c.Leave
	default:
		return nil
	}
	if err := a.Local.Command(ctx, c, o); err != nil || o.Flags.Local {
		return err
	}
	payload, err := a.request(&r)
	if err != nil {
		return err
	}
	return a.c.publish(ctx, a.channels.Request, payload)
}

// ServerSide tells the other servers of an event. It and the answers travel as JSON.
func (a *pubsub) ServerSide(ctx context.Context, p *parser.Packet, each func(adapter.Answer)) error {
	if a.closed.Load() {
		return adapter.ErrClosed
	}
	r := rediswire.Request{Type: rediswire.RequestServerSide, Packet: *p}
	payload, err := a.request(&r) // checks the event also where there is no other server
	if err != nil {
		return err
	}
	if each == nil {
		return a.c.publish(ctx, a.channels.Request, payload)
	}
	ctx, cancel := a.c.bounded(ctx)
	defer cancel()
	return a.query(ctx, rediswire.ResponseServerSide, &r, func(r adapter.Response) { each(r.Answer) })
}

// Close unsubscribes and ends what waits for answers.
func (a *pubsub) Close() error {
	if a.closed.Swap(true) {
		return nil
	}
	a.l.close()
	a.requests.Close()
	a.mu.Lock()
	remotes := a.remotes
	a.remotes = nil
	a.mu.Unlock()
	for _, k := range remotes {
		a.end(k)
	}
	return a.Local.Close()
}

var errPanic = errors.New("redisadapter: panic while a message was handled")
