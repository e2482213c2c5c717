package emitter_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/emitter"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/goredisdriver"
	"github.com/sockeye-io/sockeye/redisadapter/rueidisdriver"
)

// In a Redis Cluster everything arrives too, and answers come back.
func TestEmitter_RedisCluster(t *testing.T) {
	t.Parallel()
	nodes := testkit.StartCluster(t, 3, 0)
	url := "redis+cluster://" + strings.Join(nodes.Addrs(), ",")
	for name, f := range map[string]format{
		"pubsub":  pubsubFormat(redisadapter.PubSubOptions{Key: "pubsub"}),
		"sharded": shardedFormat(redisadapter.ShardedOptions{ChannelPrefix: "sharded"}),
		"streams": streamsFormat(redisadapter.StreamsOptions{ChannelPrefix: "streams", StreamName: "streams", StreamCount: 2}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := &cluster{t: t}
			dial := func() redisadapter.Driver {
				d, err := rueidisdriver.FromURL(url)
				if err != nil {
					t.Fatal(err)
				}
				return d
			}
			for range 2 {
				c.serve(f, dial())
			}
			c.e = startEmitter(t, f, dial(), func(error) {})
			a, b := c.connect("a", 0, "/", "red"), c.connect("b", 1, "/", "red", "blue")
			if err := c.e.To("blue").Emit("news"); err != nil {
				t.Fatal(err)
			}
			if got := b.events(1); got[0] != `["news"]` {
				t.Error(got)
			}
			if err := c.e.To("red").EmitContext(limited(t), "more"); err != nil {
				t.Fatal(err)
			}
			if got := a.events(1); got[0] != `["more"]` {
				t.Error(got)
			}
			ctx := limited(t)
			if replies, err := c.e.EmitWithAck(ctx, "q"); len(replies) != 2 || err != nil {
				t.Errorf("%v, %v", replies, err)
			}
			if n, err := c.e.To("red").Count(ctx); n != 2 || err != nil {
				t.Errorf("%d, %v", n, err)
			}
		})
	}
}

// A service that has a go-redis client hands that in.
func TestEmitter_GoRedis(t *testing.T) {
	t.Parallel()
	for name, f := range formats() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := &cluster{t: t, redis: testkit.StartRedis(t)}
			c.serve(f, c.driver())
			client := redis.NewClient(&redis.Options{Addr: c.redis.Addr})
			t.Cleanup(func() {
				if err := client.Close(); err != nil {
					t.Error(err)
				}
			})
			d, err := goredisdriver.New(client, goredisdriver.Options{})
			if err != nil {
				t.Fatal(err)
			}
			c.e = startEmitter(t, f, d, func(error) {})
			k := c.connect("k", 0, "/", "room")
			ctx := limited(t)
			if err := c.e.To("room").EmitContext(ctx, "news"); err != nil {
				t.Fatal(err)
			}
			if got := k.events(1); got[0] != `["news"]` {
				t.Error(got)
			}
			if replies, err := c.e.EmitWithAck(ctx, "q"); len(replies) != 1 || err != nil {
				t.Errorf("%v, %v", replies, err)
			}
			if n, err := c.e.Count(ctx); n != 1 || err != nil {
				t.Errorf("%d, %v", n, err)
			}
		})
	}
}

// What an emitter has sent meanwhile is replayed to a client that comes back, on another server.
func TestStreams_Recovery(t *testing.T) {
	t.Parallel()
	c := &cluster{t: t, redis: testkit.StartRedis(t), recovery: &sockeye.Recovery{}}
	f := streamsFormat(redisadapter.StreamsOptions{})
	for range 2 {
		c.serve(f, c.driver())
	}
	c.e = startEmitter(t, f, c.driver(), func(error) {})
	k := c.connect("k", 0, "/", "room")
	if err := c.e.To("room").EmitContext(limited(t), "before"); err != nil {
		t.Fatal(err)
	}
	var before []string
	if err := json.Unmarshal([]byte(k.events(1)[0]), &before); err != nil || len(before) != 2 || before[0] != "before" {
		t.Fatal(before, err)
	}
	if err := k.conn.Close(); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "it is gone", func() bool {
		_, ok := c.servers[0].Of("/").Socket(k.id)
		return !ok
	})
	for _, to := range []emitter.Broadcast{c.e.To("room"), c.e.To("another"), c.e.Volatile(), c.e.All()} {
		if err := to.EmitContext(limited(t), "missed"); err != nil {
			t.Fatal(err)
		}
	}
	back := c.dial("back", 1, "/", fmt.Sprintf(`{"pid":%q,"offset":%q}`, k.pid, before[1]))
	if back.id != k.id {
		t.Errorf("id %q, was %q", back.id, k.id)
	}
	for _, e := range back.events(2) {
		if !strings.HasPrefix(e, `["missed","`) {
			t.Error(e)
		}
	}
	if err := c.e.To("room").EmitContext(limited(t), "after"); err != nil {
		t.Fatal(err)
	}
	if got := back.events(3); len(got) != 3 || !strings.HasPrefix(got[2], `["after","`) {
		t.Errorf("%v", got)
	}
}

// With streams each event arrives once, whatever happens to a Redis that keeps its data.
func TestStreams_RedisRestarts(t *testing.T) {
	t.Parallel()
	c := &cluster{t: t, redis: testkit.StartRedis(t, "--appendonly", "yes", "--appendfsync", "always")}
	f := streamsFormat(redisadapter.StreamsOptions{})
	c.serve(f, c.driver())
	c.e = startEmitter(t, f, c.driver(), func(error) {})
	k := c.connect("k", 0, "/")
	const each = 500
	for round := range 3 {
		for i := range each {
			if err := c.e.Emit("ev", round, i); err != nil {
				t.Fatal(err)
			}
			if i == each/2 {
				k.events(round*each + 1) // it is under way
				c.redis.Stop()
			}
		}
		testkit.Eventually(t, "the fault is seen", func() bool { return c.e.Health() != nil })
		c.redis.Start()
	}
	got := k.events(3 * each)
	for i, e := range got {
		if want := fmt.Sprintf(`["ev",%d,%d]`, i/each, i%each); e != want {
			t.Fatalf("event %d is %s, want %s", i, e, want)
		}
	}
	if s := c.e.Stats(); s.Published != 3*each || s.Dropped+s.Failed != 0 {
		t.Errorf("%+v", s)
	}
}
