package redisadapter

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/rediswire"
	"github.com/sockeye-io/sockeye/parser"
)

// ErrNoSharding is wrapped by the error of Start where Redis has no sharded pub/sub: it is older than 7.0.
var ErrNoSharding = errors.New("redisadapter: sharded pub/sub needs Redis 7")

// SubscriptionMode says which rooms have a channel of their own. All servers and emitters of a cluster use the same.
//
// Node: ShardedRedisAdapterOptions.subscriptionMode.
type SubscriptionMode string

// The modes. An empty one is DynamicSubscriptions.
const (
	// StaticSubscriptions is one channel for all rooms of a namespace: every server gets every message.
	StaticSubscriptions SubscriptionMode = "static"

	// DynamicSubscriptions is a channel for each room but those of socket ids: what is sent to exactly one such room
	// reaches only the servers where somebody is in it.
	DynamicSubscriptions SubscriptionMode = "dynamic"

	// DynamicPrivateSubscriptions is a channel for each room, also for those of socket ids.
	DynamicPrivateSubscriptions SubscriptionMode = "dynamic-private"
)

// ShardedOptions configure [Sharded]. The zero value is what the official adapter does by default.
type ShardedOptions struct {
	// ChannelPrefix is the start of the names of all channels. Default "socket.io". All servers of a cluster use the same,
	// and no other application on the same Redis does. In a Redis Cluster, what braces are around decides on the node:
	// with {socket.io} all channels are at one, and messages keep their order across rooms.
	ChannelPrefix string

	// Mode says which rooms have a channel of their own. Default DynamicSubscriptions.
	Mode SubscriptionMode

	// RequestsTimeout bounds questions to other servers whose context has no deadline. Default 5 s.
	RequestsTimeout time.Duration

	// PublishQueue and PublishQueueBytes are as in PubSubOptions.
	PublishQueue      int
	PublishQueueBytes int

	// OnFault is as in PubSubOptions.
	OnFault func(namespace string, err error)
}

func (o ShardedOptions) bus() busOptions {
	return busOptions{o.RequestsTimeout, o.PublishQueue, o.PublishQueueBytes, o.OnFault}
}

func (o ShardedOptions) withDefaults() ShardedOptions {
	if o.ChannelPrefix == "" {
		o.ChannelPrefix = defaultKey
	}
	if o.Mode == "" {
		o.Mode = DynamicSubscriptions
	}
	return o
}

func (o ShardedOptions) validate() error {
	var mode error
	switch o.Mode {
	case StaticSubscriptions, DynamicSubscriptions, DynamicPrivateSubscriptions:
	default:
		mode = fmt.Errorf("redisadapter: Mode %q is none of static, dynamic and dynamic-private", string(o.Mode))
	}
	return errors.Join(validName("ChannelPrefix", o.ChannelPrefix), mode, o.bus().validate())
}

// sharded is the cluster of the sharded adapter.
type sharded struct {
	*bus

	o ShardedOptions
}

// Sharded makes the sharded adapter of a server, over SSUBSCRIBE and SPUBLISH of Redis 7, where a Redis Cluster spreads
// the channels over its nodes. d has no other user. Servers, Go or Node, that use the same Redis, ChannelPrefix and
// Mode are one cluster. Limits: of a socket's acknowledgement and of the answer to a server-side event only the first
// argument travels, and connection state recovery does not exist. What is sent to one room with a channel of its own, and
// what is sent to others, have no order between them in a Redis Cluster.
//
// Rooms are subscribed to in the background: what another server sends to a room within the moment after its first socket
// has joined may be missed. The Cluster has a method Settled(context.Context) error for who must wait for that. Open
// waits for the channels of the namespace itself.
//
// The namespaces' names must not have control characters: Open fails with them.
//
// Differs from Node: in the mode dynamic what is sent to a 2.x client outside "/" alone, whose id is longer than others,
// reaches it on every server, and this server hears what official servers send to such ids; a broadcast with acknowledgement to the sockets of this server alone does not
// wait for others; what would harm peers is refused.
//
// Node: @socket.io/redis-adapter/lib/sharded-adapter.ts createShardedAdapter.
func Sharded(d Driver, o ShardedOptions) adapter.Cluster {
	o = o.withDefaults()
	b := newBus(d, o.bus(), true)
	b.announce(o.ChannelPrefix)
	return &sharded{b, o}
}

// Start connects to Redis. The error wraps ErrUnavailable when it does not answer before ctx ends, and ErrNoSharding
// when it is too old.
func (c *sharded) Start(ctx context.Context) error {
	if err := c.o.validate(); err != nil {
		return err
	}
	return c.start(ctx, c.canShard)
}

// canShard asks what only Redis 7 understands, and whether it was the question that failed.
func (b *bus) canShard(ctx context.Context) error {
	_, err := b.d.ShardSubscribers(ctx, defaultKey)
	if err == nil {
		return nil
	}
	if away := b.d.Connect(ctx); away != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, away)
	}
	return fmt.Errorf("%w: %w", ErrNoSharding, err)
}

// Open makes the adapter of a namespace. It waits until Redis has confirmed the subscription, but not while Redis is
// away.
func (c *sharded) Open(h adapter.Host) (adapter.Adapter, error) {
	m, err := newMessages(c.bus, h, c.o.ChannelPrefix, rediswire.FormatAuto)
	if err != nil {
		return nil, err
	}
	a := &shard{messages: m, mode: c.o.Mode}
	if err := a.open(a.Close); err != nil {
		return nil, err
	}
	if a.mode != StaticSubscriptions {
		(&follower{
			x: h.Index(), l: a.l, receive: a.receive, channel: a.channels.Room, wants: a.hasChannel,
			always: []string{a.channels.Common, a.channels.Own},
		}).start()
	}
	return a, nil
}

// shard is the sharded adapter of one namespace.
type shard struct {
	*messages

	mode SubscriptionMode
}

// hasChannel tells whether others may publish on a channel of that room, which exists here. In the mode dynamic they do
// not for sockets of here, but where an id is so long that they do not know it as one.
func (a *shard) hasChannel(room string) bool {
	if a.mode == DynamicPrivateSubscriptions || !likeSocketID(room) {
		return true
	}
	_, isSocket := a.host.Index().Lookup(room)
	return !isSocket
}

// Broadcast delivers p here and publishes it for the others.
func (a *shard) Broadcast(ctx context.Context, p *parser.Packet, o adapter.Options) error {
	if o.Flags.Local {
		return a.Local.Broadcast(ctx, p, o)
	}
	payload, err := a.encode(&rediswire.Message{
		Type: rediswire.MessageBroadcast, Packet: *p, Target: rediswire.Target{Options: o},
	})
	if err != nil {
		return err
	}
	if err := a.Local.Broadcast(ctx, p, o); err != nil {
		return err
	}
	channel := a.channels.Common
	if room, one := onlyRoom(o.Rooms); one && a.mode.Separate(a.name, room) {
		channel = a.channels.Room(room)
	}
	return a.spread(ctx, channel, payload, o.Flags)
}

// Command acts here at once and tells the others to.
func (a *shard) Command(ctx context.Context, c adapter.Command, o adapter.Options) error {
	x, ok := order(c, o)
	if !ok {
		return nil
	}
	if o.Flags.Local {
		return a.Local.Command(ctx, c, o)
	}
	payload, err := a.encode(&x)
	if err != nil {
		return err
	}
	if err := a.Local.Command(ctx, c, o); err != nil {
		return err
	}
	return a.b.publish(ctx, a.common, payload)
}

// Separate tells whether what is sent to that room of a namespace alone goes to a channel of its own. In the mode dynamic
// a name of 20 characters, as JavaScript counts them, is taken for the id of a socket.
//
// Differs from Node: so is that of a 2.x client, which is longer outside "/". Official servers do not listen to a channel
// of it, while the common one reaches everybody.
//
// Node: @socket.io/redis-adapter/lib/sharded-adapter.ts computeChannel.
func (m SubscriptionMode) Separate(namespace, room string) bool {
	switch m {
	case StaticSubscriptions:
		return false
	case DynamicPrivateSubscriptions:
		return true
	default:
		return !likeSocketID(room) && !strings.HasPrefix(room, namespace+"#")
	}
}

const socketIDLen = 20

// likeSocketID tells whether room has the length of a socket's id in UTF-16.
func likeSocketID(room string) bool {
	if len(room) < socketIDLen || len(room) > 3*socketIDLen {
		return false
	}
	n := 0
	for _, r := range room {
		n++
		if r > 0xffff {
			n++
		}
	}
	return n == socketIDLen
}
