package interop

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/goredisdriver"
	"github.com/sockeye-io/sockeye/redisadapter/rueidisdriver"
)

// kind is an adapter of Node's and the one of ours that speaks to it.
type kind struct {
	name    string // in the table
	node    string // which of adapters in server.mjs
	pkg     string // its npm package
	options obj    // of the Node adapter
	emitter string // script of the emitter for it, if there is one

	// rooms and sockets have channels of their own, where those who publish do not know who listens: a test
	// waits for the subscriptions of what it has joined.
	rooms, sockets bool

	mute   bool // questions do not reach the other side, nor do counts
	stream bool // broadcasts are entries of a stream

	unheard string // a namespace that ours says Node does not hear of, if there is one

	ours func(d redisadapter.StreamDriver, onFault func(nsp string, err error)) adapter.Cluster
}

const classicPackage = "@socket.io/redis-adapter"

// kinds are the columns of the table. The first is the default.
var kinds = []kind{
	{name: "classic", node: "classic", pkg: classicPackage, emitter: "emitter.mjs", ours: pubSub},
	{
		name: "sharded, static", node: "sharded", pkg: classicPackage, options: obj{"subscriptionMode": "static"},
		ours: sharded(redisadapter.StaticSubscriptions),
	},
	{name: "sharded, dynamic", node: "sharded", pkg: classicPackage, rooms: true, ours: sharded("")},
	{
		name: "sharded, dynamic-private", node: "sharded", pkg: classicPackage, options: obj{"subscriptionMode": "dynamic-private"},
		rooms: true, sockets: true, ours: sharded(redisadapter.DynamicPrivateSubscriptions),
	},
	{
		name: "streams", node: "streams", pkg: "@socket.io/redis-streams-adapter", stream: true, emitter: "emitter-streams.mjs",
		ours: streams(redisadapter.StreamsOptions{}),
	},
	{
		name: "streams, sharded pub/sub", node: "streams", pkg: "@socket.io/redis-streams-adapter", stream: true, emitter: "emitter-streams.mjs",
		options: obj{"useShardedPubSub": true, "streamName": "events", "channelPrefix": "chan"},
		ours:    streams(redisadapter.StreamsOptions{ShardedPubSub: true, StreamName: "events", ChannelPrefix: "chan"}),
	},
	{
		name: "streams 0.2", node: "streams", pkg: "redis-streams-adapter-v02", stream: true, mute: true, emitter: "emitter-streams.mjs",
		ours: streams(redisadapter.StreamsOptions{}),
	},
}

// forKinds runs a test with each kind where servers can ask each other.
func forKinds(t *testing.T, f func(*testing.T, kind)) {
	t.Helper()
	for _, k := range kinds {
		if k.mute {
			continue
		}
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			f(t, k)
		})
	}
}

// allNode puts Node servers where ours would be: what fails then is not ours.
func allNode() bool { return os.Getenv("INTEROP_ALL_NODE") != "" }

func pubSub(d redisadapter.StreamDriver, onFault func(string, error)) adapter.Cluster {
	return redisadapter.PubSub(d, redisadapter.PubSubOptions{OnFault: onFault})
}

func specificPubSub(d redisadapter.StreamDriver, onFault func(string, error)) adapter.Cluster {
	return redisadapter.PubSub(d, redisadapter.PubSubOptions{SpecificResponses: true, OnFault: onFault})
}

func sharded(mode redisadapter.SubscriptionMode) func(redisadapter.StreamDriver, func(string, error)) adapter.Cluster {
	return func(d redisadapter.StreamDriver, onFault func(string, error)) adapter.Cluster {
		return redisadapter.Sharded(d, redisadapter.ShardedOptions{Mode: mode, OnFault: onFault})
	}
}

func streams(o redisadapter.StreamsOptions) func(redisadapter.StreamDriver, func(string, error)) adapter.Cluster {
	return func(d redisadapter.StreamDriver, onFault func(string, error)) adapter.Cluster {
		o.OnFault = onFault
		return redisadapter.Streams(d, o)
	}
}

// noFaults gives a hook for a test that fails if something goes wrong in an adapter, be it survived, but for the one
// fault that belongs to the kind.
func noFaults(t testing.TB, k kind) func(nsp string, err error) {
	t.Helper()
	var mu sync.Mutex
	var faults []string
	said := 0
	t.Cleanup(func() {
		mu.Lock()
		defer mu.Unlock()
		if len(faults) > 0 {
			t.Errorf("faults:\n%s", strings.Join(faults, "\n"))
		}
		if k.unheard != "" && said != 1 {
			t.Errorf("said %d times that Node does not hear of %s", said, k.unheard)
		}
	})
	return func(nsp string, err error) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case k.unheard != "" && nsp == k.unheard:
			said++
		case len(faults) < 20:
			faults = append(faults, fmt.Sprintf("%q: %v", nsp, err))
		}
	}
}

// connect makes a driver of rueidis, connectGoRedis one of go-redis.
func connect(t testing.TB, redis *testkit.Redis) redisadapter.StreamDriver {
	t.Helper()
	d, err := rueidisdriver.FromURL(redis.URL())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func connectGoRedis(t testing.TB, redis *testkit.Redis) redisadapter.StreamDriver {
	t.Helper()
	client := goredis.NewClient(&goredis.Options{Addr: redis.Addr})
	t.Cleanup(func() { _ = client.Close() }) // nothing waits for it
	d, err := goredisdriver.New(client, goredisdriver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// ask sends a command to Redis by way of the Node server.
func (c *cluster) ask(command ...string) any {
	c.t.Helper()
	var got any
	c.servers["node"].(*nodeServer).p.do("redis", obj{"command": command}, &got)
	return got
}

// idLength is that of the ids of sockets.
const idLength = 20

// settle waits until so many servers listen for a room, where that is not at once so when a socket is in it. A room
// that could be the id of a socket has no channel of its own where sockets have none.
func (c *cluster) settle(nsp, room string, servers int) {
	c.t.Helper()
	if !c.kind.rooms || !c.kind.sockets && len(room) == idLength {
		return
	}
	channel := "socket.io#" + nsp + "#" + room + "#"
	eventually(c.t, "subscriptions of "+channel, func() bool {
		n, _ := c.ask("PUBSUB", "SHARDNUMSUB", channel).(list)[1].(float64)
		return int(n) >= servers
	})
}

// enter notes that a client is in rooms, and waits until its server listens for them.
func (c *cluster) enter(client, server, nsp string, rooms ...string) {
	c.t.Helper()
	c.places[client] = place{server, nsp, rooms}
	for _, room := range rooms {
		on := map[string]bool{}
		for _, p := range c.places {
			if p.nsp == nsp && slices.Contains(p.rooms, room) {
				on[p.server] = true
			}
		}
		c.settle(nsp, room, len(on))
	}
	if c.kind.sockets {
		c.settle(nsp, c.ids[client], 1)
	}
}

type place struct {
	server, nsp string
	rooms       []string
}

// drop forgets a client. The name may be used again.
func (c *cluster) drop(clients ...string) {
	for _, name := range clients {
		delete(c.clients, name)
		delete(c.places, name)
	}
}

// prime makes each server of streams have read an entry of the stream of a namespace. Before that a Node reader begins anew with the newest one
// at each attempt, and what comes between two attempts is lost to it.
func (c *cluster) prime(nsp string) {
	c.t.Helper()
	for _, on := range c.order {
		c.open("prime "+on, on, nsp)
	}
	eventually(c.t, "all have read an entry", func() bool {
		for _, from := range c.order {
			c.servers[from].emit(selection{NSP: nsp}, "prime "+from)
		}
		return !slices.ContainsFunc(c.order, func(on string) bool {
			return !slices.ContainsFunc(c.clients["prime "+on].events(), func(event string) bool {
				return strings.HasPrefix(event, "prime ") && event != "prime "+on
			})
		})
	})
	for _, from := range c.order {
		c.servers[from].emit(selection{NSP: nsp}, "primed by "+from)
	}
	for _, on := range c.order {
		for _, from := range c.order {
			c.clients["prime "+on].wait("event:primed by "+from, 1)
		}
		c.clients["prime "+on].disconnect()
		c.drop("prime " + on)
	}
}
