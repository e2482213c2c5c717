package goredisdriver

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/parser"
	"github.com/sockeye-io/sockeye/redisadapter"
)

// newDriver makes a driver for an adapter, which closes it.
func newDriver(t *testing.T, client redis.UniversalClient) redisadapter.StreamDriver {
	t.Helper()
	d, err := New(client, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// shapes runs a test with one Redis and with a Redis Cluster. open gives a driver.
func shapes(t *testing.T, f func(t *testing.T, open func(t *testing.T) redisadapter.StreamDriver)) {
	t.Helper()
	t.Run("single", func(t *testing.T) {
		t.Parallel()
		server := testkit.StartRedis(t)
		f(t, func(t *testing.T) redisadapter.StreamDriver {
			t.Helper()
			return newDriver(t, redis.NewClient(&redis.Options{Addr: server.Addr}))
		})
	})
	t.Run("cluster", func(t *testing.T) {
		t.Parallel()
		c := testkit.StartCluster(t, 3, 0)
		f(t, func(t *testing.T) redisadapter.StreamDriver {
			t.Helper()
			return newDriver(t, redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs()}))
		})
	})
}

// conform runs the suite for adapters that f makes for the prefix of a test.
func conform(
	t *testing.T, open func(t *testing.T) redisadapter.StreamDriver,
	f func(d redisadapter.StreamDriver, prefix string) adapter.Cluster, limits ...adaptertest.Limit,
) {
	t.Helper()
	adaptertest.Run(t, func(t *testing.T, servers int) []adapter.Cluster {
		t.Helper()
		var all []adapter.Cluster
		for range servers {
			all = append(all, f(open(t), t.Name()))
		}
		return all
	}, limits...)
}

func TestPubSub_Conformance(t *testing.T) {
	t.Parallel()
	shapes(t, func(t *testing.T, open func(t *testing.T) redisadapter.StreamDriver) {
		t.Helper()
		conform(t, open, func(d redisadapter.StreamDriver, prefix string) adapter.Cluster {
			return redisadapter.PubSub(d, redisadapter.PubSubOptions{Key: prefix})
		}, adaptertest.FirstAckArgument, adaptertest.AckSocketUnknown, adaptertest.AckFlagsDropped,
			adaptertest.FirstServerAnswer, adaptertest.ServerSideText)
	})
}

// In a Redis Cluster, what is said to several rooms goes several ways, if they have channels of their own and these are
// not kept together by braces.
func TestSharded_Conformance(t *testing.T) {
	t.Parallel()
	shapes(t, func(t *testing.T, open func(t *testing.T) redisadapter.StreamDriver) {
		t.Helper()
		// A driver does not see which rooms of the dynamic modes have channels.
		for _, mode := range []redisadapter.SubscriptionMode{
			redisadapter.StaticSubscriptions, redisadapter.DynamicPrivateSubscriptions,
		} {
			t.Run(string(mode), func(t *testing.T) {
				t.Parallel()
				conform(t, open, func(d redisadapter.StreamDriver, prefix string) adapter.Cluster {
					if mode != redisadapter.StaticSubscriptions {
						prefix = "{" + prefix + "}"
					}
					return redisadapter.Sharded(d, redisadapter.ShardedOptions{ChannelPrefix: prefix, Mode: mode})
				}, adaptertest.FirstAckArgument, adaptertest.AckSocketUnknown, adaptertest.FirstServerAnswer)
			})
		}
	})
}

func TestStreams_Conformance(t *testing.T) {
	t.Parallel()
	shapes(t, func(t *testing.T, open func(t *testing.T) redisadapter.StreamDriver) {
		t.Helper()
		for name, o := range map[string]redisadapter.StreamsOptions{
			"one stream": {}, "several streams": {StreamCount: 5, ShardedPubSub: true},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				conform(t, open, func(d redisadapter.StreamDriver, prefix string) adapter.Cluster {
					o := o
					o.StreamName, o.ChannelPrefix = prefix, prefix
					return redisadapter.Streams(d, o)
				}, adaptertest.FirstAckArgument, adaptertest.AckSocketUnknown, adaptertest.FirstServerAnswer)
			})
		}
	})
}

// serve starts a server with one namespace and one socket.
func serve(t *testing.T, c adapter.Cluster, id string) (adapter.Adapter, *adaptertest.Socket) {
	t.Helper()
	if err := c.Start(bounded(t)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	host := adaptertest.NewHost(t, "/")
	a, err := c.Open(host)
	if err != nil {
		t.Fatal(err)
	}
	return a, host.Connect(t, id)
}

// The slot of a stream moves again and again while it is written and read: every broadcast arrives once, in order.
func TestStreams_SlotMoves(t *testing.T) {
	t.Parallel()
	c := testkit.StartCluster(t, 3, 0)
	open := func() adapter.Cluster {
		d := newDriver(t, redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs()}))
		return redisadapter.Streams(d, redisadapter.StreamsOptions{StreamName: "stream"})
	}
	a, _ := serve(t, open(), "socket-of-a-aaaaaaaa")
	_, sb := serve(t, open(), "socket-of-b-bbbbbbbb")
	slot := c.Slot("stream")
	stop := make(chan struct{})
	sent := make(chan int, 1)
	go func() { // ends when it is told to
		tick := time.NewTicker(500 * time.Microsecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-tick.C:
			case <-stop:
				sent <- i
				return
			}
			p := &parser.Packet{Type: parser.Event, Namespace: "/", Event: strconv.Itoa(i)}
			if err := a.Broadcast(context.Background(), p, adapter.Options{}); err != nil {
				t.Error(err)
			}
		}
	}()
	from := c.Owner(slot, 0)
	for range 4 {
		before := len(sb.Got())
		to := (from + 1) % 3
		c.Move(slot, from, to)
		from = to
		testkit.Eventually(t, "broadcasts go on", func() bool { return len(sb.Got()) > before })
	}
	close(stop)
	total := <-sent
	testkit.Eventually(t, "all broadcasts", func() bool { return len(sb.Got()) >= total })
	for i, m := range sb.Got() {
		if m.Event != strconv.Itoa(i) {
			t.Fatalf("broadcast %d is %s", i, m.Event)
		}
	}
	if n := len(sb.Got()); n != total {
		t.Errorf("%d broadcasts of %d", n, total)
	}
}
