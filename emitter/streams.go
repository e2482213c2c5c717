package emitter

import (
	"context"
	"fmt"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/rediswire"
	"github.com/sockeye-io/sockeye/parser"
	"github.com/sockeye-io/sockeye/redisadapter"
)

// streams is the format of the adapter with streams.
type streams struct {
	messages

	out   *redisadapter.StreamsOutlet
	plain bool
}

// Streams makes an emitter for servers with the adapter of streams: those of [redisadapter.Streams] and of
// @socket.io/redis-streams-adapter. The names and counts of o must be as there, and MaxLen should be; what concerns reading
// and recovery does not matter here. d belongs to the emitter, which closes it.
//
// Events, orders and events among servers are entries, which survive that a server is away for a while; once Redis has
// them nothing is lost, and each is appended once, also where the connection breaks before Redis can say so. (If another
// emitter appends an equal entry at that very moment, one of the two may be missing.) Questions go by pub/sub, and are
// refused with redisadapter.ErrPrefixInUse where servers with the classic adapter would get them.
//
// As with [PubSub] it does not wait for Redis, and the error says what is wrong with o.
//
// Differs from Node: StreamCount is heeded, so that entries reach the servers that spread namespaces over several streams;
// Of adds the slash.
//
// Node: @socket.io/redis-streams-emitter/lib/index.ts Emitter
func Streams(d redisadapter.StreamDriver, o redisadapter.StreamsOptions) (*Emitter, error) {
	out, o, err := redisadapter.NewStreamsOutlet(d, o)
	if err != nil {
		return nil, fmt.Errorf("emitter: %w", err)
	}
	return newEmitter(newCore(out.Outlet, &streams{
		messages: messages{out: out.Outlet, prefix: o.ChannelPrefix, uid: newUID(), form: rediswire.FormatMsgpack},
		out:      out, plain: o.PlainText,
	})), nil
}

func (f *streams) broadcast(ctx context.Context, _ *namespace, p *parser.Packet, o adapter.Options) error {
	return f.append(ctx, &rediswire.Message{
		Type: rediswire.MessageBroadcast, UID: rediswire.UIDEmitter, Namespace: p.Namespace,
		Packet: *p, Target: rediswire.Target{Options: o},
	})
}

func (f *streams) command(ctx context.Context, n *namespace, c adapter.Command, o adapter.Options) error {
	return f.append(ctx, order(n.name, c, o))
}

func (f *streams) serverSide(ctx context.Context, _ *namespace, p *parser.Packet) error {
	return f.append(ctx, &rediswire.Message{
		Type: rediswire.MessageServerSide, UID: rediswire.UIDEmitter, Namespace: p.Namespace, Packet: *p,
	})
}

func (f *streams) append(ctx context.Context, m *rediswire.Message) error {
	fields, err := rediswire.EmitterFields(m, f.plain)
	if err != nil {
		return fmt.Errorf("emitter: %w", err)
	}
	return f.out.Append(ctx, m.Namespace, fields)
}

func (f *streams) mayAsk(ctx context.Context, n *namespace) error { return f.out.Clear(ctx, n.name) }

func (f *streams) accepting() error { return f.out.Accepting() }

func (f *streams) close() error { return f.out.Close() }
