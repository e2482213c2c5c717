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

// pubsub is the classic adapter of one namespace.
type pubsub struct {
	*adapter.Local

	c        *cluster
	host     adapter.Host
	name     string
	uid      string
	channels rediswire.Channels
	own      [3]string // how messages of this server start
	requests adapter.Requests
	faults   faults
	closed   atomic.Bool

	mu      sync.Mutex
	kinds   map[string]rediswire.ResponseKind // what the open requests expect, by id
	remotes map[string]*remoteAsk             // questions of other servers that sockets here still answer
}

func (a *pubsub) init() {
	a.faults.start = time.Now()
	a.kinds = map[string]rediswire.ResponseKind{}
	a.remotes = map[string]*remoteAsk{}
	a.own = ownPrefixes(a.uid)
}

// listens gives the channels beside the pattern.
func (a *pubsub) listens() []string {
	return []string{a.channels.Request, a.channels.Response, a.channels.Own}
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
	return a.publish(ctx, channel, payload)
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

// publish waits until Redis has the message if ctx can end.
func (a *pubsub) publish(ctx context.Context, channel string, payload []byte) error {
	m := Publication{Channel: channel, Payload: payload}
	if ctx.Done() == nil {
		return a.c.pub.put(m, nil)
	}
	if err := a.c.pub.wait(ctx, m); err != nil {
		return fmt.Errorf("redisadapter: publish: %w", err)
	}
	return nil
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
	if err := a.c.pub.wait(ctx, Publication{Channel: a.channels.Request, Payload: payload}); err != nil {
		return 0, err
	}
	return a.others(ctx)
}

// others counts the other servers of the namespace.
func (a *pubsub) others(ctx context.Context) (int, error) {
	n, err := a.c.d.Subscribers(ctx, a.channels.Request)
	if err != nil {
		return 0, fmt.Errorf("%w: count servers: %w", ErrUnavailable, err)
	}
	return n - 1, nil
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

// bounded gives ctx an end if it has none.
func (a *pubsub) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, a.c.o.RequestsTimeout)
}

// Fetch describes the sockets that o selects, those of this server first.
func (a *pubsub) Fetch(ctx context.Context, o adapter.Options) ([]adapter.Remote, error) {
	sockets, err := a.Local.Fetch(ctx, o)
	if err != nil || o.Flags.Local {
		return sockets, err
	}
	ctx, cancel := a.bounded(ctx)
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
	if err := a.c.pub.put(Publication{Channel: a.channels.Request, Payload: payload}, nil); err != nil {
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
	return a.publish(ctx, a.channels.Request, payload)
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
		return a.publish(ctx, a.channels.Request, payload)
	}
	ctx, cancel := a.bounded(ctx)
	defer cancel()
	return a.query(ctx, rediswire.ResponseServerSide, &r, func(r adapter.Response) { each(r.Answer) })
}

// Close unsubscribes and ends what waits for answers.
func (a *pubsub) Close() error {
	if a.closed.Swap(true) {
		return nil
	}
	a.c.release(a)
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

// fault reports what this namespace met and survived.
func (a *pubsub) fault(k faultKind, err error) {
	suppressed, ok := a.faults.admit(k)
	if !ok {
		return
	}
	err = k.text(err, suppressed)
	a.host.Fault(err)
	if a.c.o.OnFault != nil {
		a.c.o.OnFault(a.name, err)
	}
}

var errPanic = errors.New("redisadapter: panic while a message was handled")
