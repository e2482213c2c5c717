package redisadapter_test

import (
	"testing"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/parser"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/redistest"
)

// A server that takes nothing for long makes Redis end the connection, as its output buffer is full. That is a gap, is
// counted and reported, and what comes afterwards is delivered.
func TestOutputBufferFull(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		start   func(t *testing.T, redis *testkit.Redis) *server
		channel string
		sharded bool
	}{
		"classic": {
			func(t *testing.T, redis *testkit.Redis) *server { t.Helper(); return startRedis(t, redis, options{}) },
			"socket.io-response#/#", false,
		},
		"sharded": {
			func(t *testing.T, redis *testkit.Redis) *server {
				t.Helper()
				return startSharded(t, driver(t, redis), shardedOptions{})
			},
			"socket.io#/#", true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redis := testkit.StartRedis(t, "--client-output-buffer-limit", "pubsub 8mb 0 0")
			a := c.start(t, redis)
			sa := a.host.Connect(t, "socket-of-a-aaaaaaaa", "r")
			entered, leave := make(chan struct{}), make(chan struct{})
			a.host.Listen("stop", func([]any) ([]parser.Arg, bool) {
				close(entered)
				<-leave
				return nil, false
			})
			b := c.start(t, redis)
			if err := b.ServerSide(bounded(t), packet("stop"), nil); err != nil {
				t.Fatal(err)
			}
			<-entered
			if err := b.cluster.Close(); err != nil { // so that a is the only subscriber
				t.Fatal(err)
			}
			probe := driver(t, redis)
			defer probe.Close()
			flood := redisadapter.Publication{Channel: c.channel, Payload: make([]byte, 1<<18), Sharded: c.sharded}
			killed := func() bool { return clients(redis, "TYPE", "pubsub") == 0 }
			for i := 0; i < 4000 && !killed(); i++ {
				if errs := probe.Publish(t.Context(), []redisadapter.Publication{flood}); errs != nil {
					t.Fatal(errs)
				}
			}
			if !killed() {
				t.Fatal("Redis did not end the connection")
			}
			close(leave)
			testkit.Eventually(t, "the gap is counted", func() bool { return a.stats().Gaps == 1 })
			testkit.Eventually(t, "health is good", func() bool { return a.cluster.Health() == nil })
			b = c.start(t, redis)
			if err := b.Broadcast(bounded(t), packet("after"), adapter.Options{}); err != nil {
				t.Fatal(err)
			}
			testkit.Eventually(t, "it arrives", func() bool { return sa.Has("after") })
			if len(a.host.Faults()) == 0 {
				t.Error("the gap was not reported")
			}
		})
	}
}

// A message that is too large is skipped and counted, on whichever channel, and the next good one is delivered.
func TestOversized(t *testing.T) {
	hub := redistest.NewHub()
	classic, sharded := start(t, hub.Driver(), options{}), startSharded(t, hub.Driver(), shardedOptions{})
	for _, c := range []struct {
		s        *server
		inject   func(channel string, payload []byte)
		channels []string
		good     []byte
	}{
		{
			classic, hub.Inject,
			[]string{"socket.io#/#", "socket.io#/#r#", "socket.io-request#/#", "socket.io-response#/#", "socket.io-sockeye##"},
			good,
		},
		{sharded, hub.InjectSharded, hub.ShardChannels(), shardedGood},
	} {
		socket := c.s.host.Connect(t, "socket-aaaaaaaaaaaaa")
		payload := append(c.good, make([]byte, 64<<20)...)
		for i, channel := range c.channels {
			c.inject(channel, payload)
			c.inject("socket.io#/#", c.good)
			testkit.Eventually(t, "the good message after one on "+channel, func() bool { return count(socket, "good") == i+1 })
		}
		if n := c.s.stats().Malformed; n != uint64(len(c.channels)) || len(c.s.host.Faults()) == 0 {
			t.Errorf("%d of %d counted; %v", n, len(c.channels), c.s.host.Faults())
		}
	}
}
