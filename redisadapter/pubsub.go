package redisadapter

import (
	"context"
	"errors"
	"fmt"

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
	b := newBus(d, o.bus(), false)
	b.announce(o.Key)
	return &classic{b, o}
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
	a := &pubsub{asker: newAsker(c.bus, h, adapter.NewID), c: c, uid: adapter.NewID()}
	var err error
	if a.channels, err = rediswire.NewChannels(c.o.Key, a.name, a.uid); err != nil {
		return nil, fmt.Errorf("redisadapter: open: %w", err)
	}
	a.common = a.channels.Request
	a.own = ownPrefixes(a.uid)
	a.l = c.listener(h, a.Close)
	if err := a.l.open(); err != nil {
		return nil, err
	}
	a.l.addPattern(a.receive(faultBroadcast, a.onBroadcast), a.channels.Pattern)
	a.l.add(a.receive(faultRequest, a.onRequest), a.channels.Request)
	a.l.add(a.receive(faultResponse, a.onResponse), a.channels.Response, a.channels.Own)
	a.join(a.uid)
	a.k.answer = a.onAnswer
	if err := a.l.opened(); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	a.enter()
	return a, nil
}

// pubsub is the classic adapter of one namespace.
type pubsub struct {
	*asker

	c        *classic
	uid      string
	channels rediswire.Channels
	own      [3]string // how messages of this server start
}

// usualMessage is the size of most messages, for which memory is taken once.
const usualMessage = 256

// Broadcast delivers p here and publishes it for the others.
func (a *pubsub) Broadcast(ctx context.Context, p *parser.Packet, o adapter.Options) error {
	if o.Flags.Local {
		return a.Local.Broadcast(ctx, p, o)
	}
	t := rediswire.Target{Options: o}
	if err := checkRooms(t, nil); err != nil {
		return err
	}
	payload, err := rediswire.AppendBroadcast(make([]byte, 0, usualMessage), a.uid, p, t)
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
	return a.spread(ctx, channel, payload, o.Flags)
}

// BroadcastWithAck delivers p here and elsewhere and collects the acknowledgements. Of sockets of other servers it
// gets the first argument and no id. While Redis is unavailable it asks this server's sockets and returns an *Incomplete.
func (a *pubsub) BroadcastWithAck(
	ctx context.Context, p *parser.Packet, o adapter.Options, each func(adapter.Answer),
) error {
	return a.broadcastWithAck(ctx, p, o, each, func(id string) ([]byte, error) {
		t := rediswire.Target{Options: o, Timeout: remaining(ctx)}
		return a.request(&rediswire.Request{Type: rediswire.RequestBroadcast, ID: id, Packet: *p, Target: t})
	})
}

func (a *pubsub) request(r *rediswire.Request) ([]byte, error) {
	if err := checkRooms(r.Target, r.Rooms); err != nil {
		return nil, err
	}
	r.UID = a.uid
	payload, err := rediswire.AppendRequest(nil, r)
	if err != nil {
		return nil, fmt.Errorf("redisadapter: request: %w", err)
	}
	return payload, nil
}

// Fetch describes the sockets that o selects, those of this server first.
func (a *pubsub) Fetch(ctx context.Context, o adapter.Options) ([]adapter.Remote, error) {
	return a.fetch(ctx, o, func(id string) ([]byte, error) {
		return a.request(&rediswire.Request{Type: rediswire.RequestFetch, ID: id, Target: rediswire.Target{Options: o}})
	})
}

// Count counts the sockets that o selects. Where all servers are of this implementation none is described for that.
func (a *pubsub) Count(ctx context.Context, o adapter.Options) (int, error) {
	return a.count(ctx, o, a.Fetch)
}

// Rooms implements adapter.RoomLister; like Count.
func (a *pubsub) Rooms(ctx context.Context, o adapter.Options) (map[string]int, error) {
	return a.rooms(ctx, o, a.Fetch)
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
	if o.Flags.Local {
		return a.Local.Command(ctx, c, o)
	}
	payload, err := a.request(&r)
	if err != nil {
		return err
	}
	if err := a.Local.Command(ctx, c, o); err != nil {
		return err
	}
	return a.b.publish(ctx, a.common, payload)
}

// ServerSide tells the other servers of an event. It and the answers travel as JSON.
func (a *pubsub) ServerSide(ctx context.Context, p *parser.Packet, each func(adapter.Answer)) error {
	return a.serverSide(ctx, each, func(id string) ([]byte, error) {
		return a.request(&rediswire.Request{Type: rediswire.RequestServerSide, ID: id, Packet: *p})
	})
}
