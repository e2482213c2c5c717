package emitter

import (
	"context"
	"fmt"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/rediswire"
	"github.com/sockeye-io/sockeye/parser"
	"github.com/sockeye-io/sockeye/redisadapter"
)

// sharded is the format of the sharded adapter.
type sharded struct {
	messages

	mode redisadapter.SubscriptionMode
}

// Sharded makes an emitter for servers with the sharded adapter: those of [redisadapter.Sharded] and of
// createShardedAdapter of @socket.io/redis-adapter. o must be as there: what is emitted to one room where the Mode is
// another than that of the servers may reach none of them. d belongs to the emitter, which closes it.
//
// As with [PubSub] it does not wait for Redis, and the error says what is wrong with o. A Redis before 7 refuses each
// message, which Health and OnFault tell.
//
// Differs from Node: there is no such emitter.
func Sharded(d redisadapter.Driver, o redisadapter.ShardedOptions) (*Emitter, error) {
	out, o, err := redisadapter.NewShardedOutlet(d, o)
	if err != nil {
		return nil, fmt.Errorf("emitter: %w", err)
	}
	f := &sharded{messages{out: out, prefix: o.ChannelPrefix, uid: newUID(), form: rediswire.FormatAuto}, o.Mode}
	return newEmitter(newCore(out, f)), nil
}

func (f *sharded) broadcast(ctx context.Context, n *namespace, p *parser.Packet, o adapter.Options) error {
	channel := n.all
	if room, one := onlyRoom(o.Rooms); one && f.mode.Separate(n.name, room) {
		channel = n.room(room)
	}
	return f.publish(ctx, channel, &rediswire.Message{
		Type: rediswire.MessageBroadcast, UID: rediswire.UIDEmitter, Namespace: p.Namespace,
		Packet: *p, Target: rediswire.Target{Options: o},
	})
}

func (f *sharded) command(ctx context.Context, n *namespace, c adapter.Command, o adapter.Options) error {
	return f.publish(ctx, n.all, order(n.name, c, o))
}

func (f *sharded) serverSide(ctx context.Context, n *namespace, p *parser.Packet) error {
	return f.publish(ctx, n.all, &rediswire.Message{
		Type: rediswire.MessageServerSide, UID: rediswire.UIDEmitter, Namespace: p.Namespace, Packet: *p,
	})
}

func (f *sharded) publish(ctx context.Context, channel string, m *rediswire.Message) error {
	payload, err := rediswire.AppendMessage(make([]byte, 0, usualSize), m, f.form)
	if err != nil {
		return fmt.Errorf("emitter: %w", err)
	}
	return f.out.Publish(ctx, channel, payload)
}

func (f *sharded) accepting() error { return f.out.Accepting() }

func (f *sharded) close() error { return f.out.Close() }
