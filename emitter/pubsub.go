package emitter

import (
	"context"
	"fmt"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/rediswire"
	"github.com/sockeye-io/sockeye/parser"
	"github.com/sockeye-io/sockeye/redisadapter"
)

// usualSize is room for most messages, so that it need not grow step by step.
const usualSize = 256

// pubsub is the format of the classic adapter.
type pubsub struct {
	out *redisadapter.Outlet
	key string
	uid string
}

// PubSub makes an emitter for servers with the classic adapter: those of [redisadapter.PubSub], @socket.io/redis-adapter
// and socket.io-redis. o must be as there; SpecificResponses does not matter here. d belongs to the emitter, which
// closes it.
//
// It does not wait for Redis: what is emitted before Redis answers is queued as later. Who wants to know calls Connect of
// d before. The error says what is wrong with o.
//
// Servers around Socket.IO 2 understand broadcasts; they do not know Join, Leave and Disconnect, and although they are
// counted they do not answer questions, which end incomplete where there are such servers.
//
// Node: @socket.io/redis-emitter/lib/index.ts Emitter
func PubSub(d redisadapter.Driver, o redisadapter.PubSubOptions) (*Emitter, error) {
	out, o, err := redisadapter.NewPubSubOutlet(d, o)
	if err != nil {
		return nil, fmt.Errorf("emitter: %w", err)
	}
	return newEmitter(newCore(out, &pubsub{out: out, key: o.Key, uid: adapter.NewID()})), nil
}

func (f *pubsub) open(name string) *namespace {
	c, err := rediswire.NewChannels(f.key, name, f.uid)
	if err != nil {
		return &namespace{name: name, bad: fmt.Errorf("emitter: %w", err)}
	}
	return &namespace{name: name, all: c.Broadcast, orders: c.Request, answers: []string{c.Response, c.Own}}
}

func (f *pubsub) broadcast(ctx context.Context, n *namespace, p *parser.Packet, o adapter.Options) error {
	payload, err := rediswire.AppendEmitterBroadcast(make([]byte, 0, usualSize), p, &rediswire.Target{Options: o}, false)
	if err != nil {
		return fmt.Errorf("emitter: %w", err)
	}
	channel := n.all
	if room, one := onlyRoom(o.Rooms); one {
		channel = n.room(room)
	}
	return f.out.Publish(ctx, channel, payload)
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

func (f *pubsub) command(ctx context.Context, n *namespace, c adapter.Command, o adapter.Options) error {
	r := rediswire.Request{Target: rediswire.Target{Options: o}, Close: c.CloseConn}
	switch {
	case c.Disconnect:
		r.Type = rediswire.RequestDisconnect
	case len(c.Join) > 0:
		r.Type, r.Rooms = rediswire.RequestJoin, c.Join
	default:
		r.Type, r.Rooms = rediswire.RequestLeave, c.Leave
	}
	return f.order(ctx, n, &r)
}

func (f *pubsub) serverSide(ctx context.Context, n *namespace, p *parser.Packet) error {
	return f.order(ctx, n, &rediswire.Request{Type: rediswire.RequestServerSide, Packet: *p})
}

// order publishes a request that nobody answers.
func (f *pubsub) order(ctx context.Context, n *namespace, r *rediswire.Request) error {
	payload, err := rediswire.AppendEmitterRequest(nil, r)
	if err != nil {
		return fmt.Errorf("emitter: %w", err)
	}
	return f.out.Publish(ctx, n.orders, payload)
}

func (f *pubsub) mayAsk(context.Context, *namespace) error { return nil }

func (f *pubsub) request(q *question) ([]byte, error) {
	r := rediswire.Request{
		UID: f.uid, ID: q.id, Target: rediswire.Target{Options: q.options, Timeout: q.timeout},
	}
	if q.packet != nil {
		r.Packet = *q.packet
	}
	switch q.kind {
	case acks:
		r.Type = rediswire.RequestBroadcast
	case sockets:
		r.Type = rediswire.RequestFetch
	default:
		r.Type = rediswire.RequestServerSide
	}
	return rediswire.AppendRequest(nil, &r)
}

func (f *pubsub) mine(payload string) (id string, ok bool) { return rediswire.PeekResponseID(payload) }

func (f *pubsub) read(payload string) (answer, error) {
	r, err := rediswire.ParseResponse([]byte(payload))
	if err != nil {
		return answer{}, err
	}
	a := answer{id: r.ID}
	switch r.Kind {
	case rediswire.ResponseCount:
		a.kind, a.counted, a.count = acks, true, r.Count
	case rediswire.ResponseAck:
		a.kind, a.args = acks, r.Args()
	case rediswire.ResponseServerSide:
		a.kind, a.args = serverSide, r.Args()
	default:
		a.kind = sockets
		var ok bool
		if a.sockets, ok, err = r.Remotes(); !ok {
			return answer{}, err
		}
	}
	return a, err
}

func (f *pubsub) accepting() error { return f.out.Accepting() }

func (f *pubsub) close() error { return f.out.Close() }
