package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/emitter"
	"github.com/sockeye-io/sockeye/redisadapter"
)

// target is whom a command over Redis speaks to.
type target struct {
	redis         redisFlags
	subscriptions string // mode sharded: which rooms have channels of their own
	streams       int    // mode streams: over how many the namespaces are spread
	namespace     string
	rooms, except []string
	timeout       time.Duration
}

const defaultTimeout = 5 * time.Second

// targetHelp is a part of the help of each command over Redis.
const targetHelp = `

The servers, Node's or these, are found by the Redis that connects them: --redis, --redis-mode and --redis-prefix must be
as theirs. Where --redis is not given, REDIS_HOST and REDIS_PORT or PUB_HOST and PUB_PORT say where it is; SUB_HOST and
SUB_PORT stand for --redis-sub, and REDIS_PASSWORD is for all of them. Forms of URLs: see "sockeye serve --help".`

func (o *target) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.redis.url, "redis", "", "URL of the Redis that connects the servers, as redis://host:port")
	f.StringVar(&o.redis.sub, "redis-sub", "", "URL of a replica of it to subscribe at (default: the same)")
	f.StringVar(&o.redis.mode, "redis-mode", modePubSub, "how the servers use it: pubsub (or classic), sharded or streams")
	f.StringVar(&o.redis.prefix, "redis-prefix", "socket.io", "how the names of channels and of the stream start")
	f.StringVar(&o.subscriptions, "redis-subscriptions", string(redisadapter.DynamicSubscriptions),
		"with sharded, which rooms have channels: static, dynamic or dynamic-private")
	f.IntVar(&o.streams, "redis-stream-count", 1, "with streams, how many there are")
	f.StringVarP(&o.namespace, "namespace", "n", "/", "namespace")
	f.StringArrayVar(&o.rooms, "room", nil, "only sockets in this room, or of this id; repeatable: in any of them")
	f.StringArrayVar(&o.except, "except", nil, "no sockets in this room, or of this id; repeatable")
	f.DurationVar(&o.timeout, "timeout", defaultTimeout, "how long to wait for Redis and for answers")
	for name, values := range map[string][]string{
		"redis-mode": {modePubSub, modeSharded, modeStreams},
		"redis-subscriptions": {
			string(redisadapter.StaticSubscriptions), string(redisadapter.DynamicSubscriptions),
			string(redisadapter.DynamicPrivateSubscriptions),
		},
	} {
		_ = c.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)) // the flag is there
	}
}

// speak connects, has f speak to the cluster, and makes one clear line of what goes wrong.
func (o *target) speak(ctx context.Context, in invocation, f func(ctx context.Context, b emitter.Broadcast) error) (err error) {
	if err := o.check(); err != nil {
		return err
	}
	c, err := findRedis(o.redis, in.env)
	if err != nil {
		return err
	}
	if c.driver == nil {
		return usagef("nothing says which Redis connects the servers: add --redis redis://host:port")
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	if err := c.driver.Connect(ctx); err != nil {
		return c.explain(errors.Join(fmt.Errorf("%w: %w", redisadapter.ErrUnavailable, err), c.driver.Close()))
	}
	e, err := o.emitter(c)
	if err != nil {
		return errors.Join(usageError{err}, c.driver.Close())
	}
	defer func() {
		if closing := e.Close(); err == nil && closing != nil {
			err = c.explain(closing)
		}
	}()
	return c.tell(f(ctx, e.Of(o.namespace).To(o.rooms...).Except(o.except...)))
}

func (o *target) check() error {
	if o.timeout <= 0 {
		return usagef("--timeout must be more than 0")
	}
	if slices.Contains(o.rooms, "") || slices.Contains(o.except, "") {
		return usagef("the name of a room is empty")
	}
	switch redisadapter.SubscriptionMode(o.subscriptions) {
	case redisadapter.StaticSubscriptions, redisadapter.DynamicSubscriptions, redisadapter.DynamicPrivateSubscriptions:
		return nil
	}
	return usagef("--redis-subscriptions: %q is none of static, dynamic, dynamic-private", o.subscriptions)
}

// emitter makes what speaks in the mode of c, to whose driver it is the owner.
func (o *target) emitter(c cluster) (*emitter.Emitter, error) {
	prefix := o.redis.prefix
	switch c.mode {
	case modeSharded:
		return emitter.Sharded(c.driver, redisadapter.ShardedOptions{
			ChannelPrefix: prefix, Mode: redisadapter.SubscriptionMode(o.subscriptions),
		})
	case modeStreams:
		if o.streams < 1 {
			return nil, errors.New("--redis-stream-count must be at least 1")
		}
		return emitter.Streams(c.driver, redisadapter.StreamsOptions{
			StreamName: prefix, ChannelPrefix: prefix, StreamCount: o.streams,
		})
	default:
		return emitter.PubSub(c.driver, redisadapter.PubSubOptions{Key: prefix})
	}
}

// tell makes one clear line of an error of an emitter.
func (c cluster) tell(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, emitter.ErrReservedEvent), errors.Is(err, emitter.ErrRoomName), errors.Is(err, emitter.ErrNamespaceName):
		return usageError{errors.New(strings.TrimPrefix(err.Error(), "emitter: "))}
	}
	if ack, ok := errors.AsType[*emitter.AckError](err); ok {
		return partial(ack.Received, ack.Expected, "acknowledgements", len(ack.MissingServers)+ack.SilentServers, ack.Err)
	}
	if inc, ok := errors.AsType[*adapter.Incomplete](err); ok {
		return partial(inc.Received, inc.Expected, "answers of servers", 0, inc.Err)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("no answer of Redis at %s in time", c.addr)
	}
	return c.explain(err)
}

// partial says what is missing.
func partial(received, expected int, what string, silent int, why error) error {
	also := ""
	if silent > 0 {
		also = fmt.Sprintf(", servers that did not answer: %d", silent)
	}
	reason := why.Error()
	if errors.Is(why, context.DeadlineExceeded) {
		reason = "the time is over"
	}
	return fmt.Errorf("not everybody answered: %d of %d %s%s (%s)", received, expected, what, also, reason)
}

// incomplete tells whether an error is that not everybody answered, so that there is something to print.
func incomplete(err error) bool {
	inc, ok := errors.AsType[*adapter.Incomplete](err)
	return ok && inc != nil
}
