package interop

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/emitter"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/redisadapter"
)

// goEmitters make the emitter for a kind, by its name.
var goEmitters = map[string]func(testing.TB, *testkit.Redis) (*emitter.Emitter, error){
	"classic": func(t testing.TB, redis *testkit.Redis) (*emitter.Emitter, error) {
		return emitter.PubSub(connect(t, redis), redisadapter.PubSubOptions{})
	},
	"sharded, static":          shardedEmitter(redisadapter.StaticSubscriptions),
	"sharded, dynamic":         shardedEmitter(redisadapter.DynamicSubscriptions),
	"sharded, dynamic-private": shardedEmitter(redisadapter.DynamicPrivateSubscriptions),
	"streams":                  streamsEmitter(redisadapter.StreamsOptions{}),
	"streams, sharded pub/sub": streamsEmitter(redisadapter.StreamsOptions{
		ShardedPubSub: true, StreamName: "events", ChannelPrefix: "chan",
	}),
	"streams 0.2": streamsEmitter(redisadapter.StreamsOptions{}),
}

func streamsEmitter(o redisadapter.StreamsOptions) func(testing.TB, *testkit.Redis) (*emitter.Emitter, error) {
	return func(t testing.TB, redis *testkit.Redis) (*emitter.Emitter, error) {
		return emitter.Streams(connect(t, redis), o)
	}
}

func shardedEmitter(mode redisadapter.SubscriptionMode) func(testing.TB, *testkit.Redis) (*emitter.Emitter, error) {
	return func(t testing.TB, redis *testkit.Redis) (*emitter.Emitter, error) {
		return emitter.Sharded(connect(t, redis), redisadapter.ShardedOptions{Mode: mode})
	}
}

// goEmitter is our emitter. What only servers do it does not.
type goEmitter struct {
	server

	t testing.TB
	e *emitter.Emitter
}

// startGoEmitter adds our emitter to a cluster. It is called "goemitter" there, and is no server.
func startGoEmitter(t *testing.T, c *cluster) *goEmitter {
	t.Helper()
	e, err := goEmitters[c.kind.name](t, c.redis)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	g := &goEmitter{t: t, e: e}
	c.servers["goemitter"] = g
	return g
}

// TestGoEmitter has our emitter do in a cluster of Node and Go what an emitter does, and ask it what Node's cannot.
func TestGoEmitter(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		if goEmitters[k.name] == nil {
			continue
		}
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			c := startCluster(t, clusterOptions{kind: k})
			g := startGoEmitter(t, c)
			do := func(name string, check func(*cluster, string)) {
				t.Run(name, func(t *testing.T) {
					c.use(t)
					g.t = t
					c.forget()
					check(c, "goemitter")
				})
				c.use(t)
				g.t = t
			}
			for _, o := range emitterOperations {
				do(o.name, o.check)
			}
			if k.mute {
				return
			}
			for _, o := range goEmitterOperations {
				do(o.name, o.check)
			}
			do("who is counted", func(c *cluster, _ string) { g.isNoServer(c) })
		})
	}
}

// goEmitterOperations are what Node's emitter cannot do.
var goEmitterOperations = []operation{
	{name: "emitter: broadcast with acknowledgement", check: (*cluster).checkAcks, asks: true},
	{name: "emitter: `fetchSockets`", check: (*cluster).checkFetch, asks: true},
	{name: "emitter: count", check: (*cluster).checkEmitterCount, asks: true},
	{name: "emitter: `serverSideEmit` with acknowledgement", check: (*cluster).checkServerSideAcks, asks: true},
}

func (c *cluster) checkEmitterCount(from string) {
	g, _ := c.servers[from].(*goEmitter)
	for _, test := range []struct {
		s    selection
		want int
	}{{selection{NSP: "/"}, 9}, {selection{NSP: "/", Rooms: []string{"blue"}}, 3}, {selection{NSP: "chat"}, 0}} {
		ctx, cancel := context.WithTimeout(c.t.Context(), testkit.Scale(limit))
		n, err := g.choose(test.s).Count(ctx)
		cancel()
		same(c.t, "count", list{n, err}, list{test.want, nil})
	}
}

// isNoServer checks that the servers count each other and not the emitter, which has asked.
func (g *goEmitter) isNoServer(c *cluster) {
	var count int
	c.servers["node"].(*nodeServer).p.do("servers", obj{"nsp": "/"}, &count)
	same(c.t, "servers", count, 3)
	for _, name := range c.order {
		same(c.t, "fetched by "+name, len(c.servers[name].fetch(selection{NSP: "/"})), 9)
	}
}

func (g *goEmitter) choose(s selection) emitter.Broadcast {
	b := g.e.Of(s.NSP).To(s.Rooms...).Except(s.Except...)
	if s.Volatile {
		b = b.Volatile()
	}
	return b
}

func (g *goEmitter) check(err error) {
	g.t.Helper()
	if err != nil {
		g.t.Error(err)
	}
}

// replies gives the first argument of each, as Node does.
func (g *goEmitter) replies(replies emitter.Replies, err error) (list, bool) {
	g.t.Helper()
	all := list{}
	for _, r := range replies {
		var v any
		g.check(r.Scan(&v))
		all = append(all, script(v))
	}
	var missing *emitter.AckError
	if err != nil && !errors.As(err, &missing) {
		g.t.Error(err)
	}
	return all, err != nil
}

func (g *goEmitter) emit(s selection, event string, args ...any) {
	g.t.Helper()
	g.check(g.choose(s).Emit(event, values(g.t, args)...))
}

func (g *goEmitter) call(s selection, wait time.Duration, event string, args ...any) (list, bool) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), testkit.Scale(wait))
	defer cancel()
	return g.replies(g.choose(s).EmitWithAck(ctx, event, values(g.t, args)...))
}

func (g *goEmitter) fetch(s selection) (all []remote) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), testkit.Scale(limit))
	defer cancel()
	found, err := g.choose(s).FetchSockets(ctx)
	g.check(err)
	for _, f := range found {
		r := remote{ID: f.ID}
		for _, room := range f.Rooms {
			r.Rooms = append(r.Rooms, room)
		}
		g.check(f.Data.Scan(&r.Data))
		g.check(f.Handshake.Auth.Scan(&r.Handshake.Auth))
		all = append(all, r)
	}
	return all
}

func (g *goEmitter) join(s selection, rooms ...string) {
	g.t.Helper()
	g.check(g.choose(s).Join(g.t.Context(), rooms...))
}

func (g *goEmitter) leave(s selection, rooms ...string) {
	g.t.Helper()
	g.check(g.choose(s).Leave(g.t.Context(), rooms...))
}

func (g *goEmitter) disconnect(s selection, closeConn bool) {
	g.t.Helper()
	g.check(g.choose(s).Disconnect(g.t.Context(), closeConn))
}

func (g *goEmitter) serverSide(nsp, event string, args ...any) {
	g.t.Helper()
	g.check(g.e.Of(nsp).ServerSideEmit(g.t.Context(), event, values(g.t, args)...))
}

func (g *goEmitter) serverSideCall(nsp, event string, args ...any) (list, bool) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), testkit.Scale(limit))
	defer cancel()
	return g.replies(g.e.Of(nsp).ServerSideEmitWithAck(ctx, event, values(g.t, args)...))
}
