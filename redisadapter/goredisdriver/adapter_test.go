package goredisdriver

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/redisadapter"
)

var limits = []adaptertest.Limit{
	adaptertest.FirstAckArgument, adaptertest.AckSocketUnknown, adaptertest.AckFlagsDropped,
	adaptertest.FirstServerAnswer, adaptertest.ServerSideText,
}

// newDriver makes a driver that closes the client with it, for an adapter that closes the driver.
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

func TestPubSub_Conformance(t *testing.T) {
	t.Parallel()
	server := testkit.StartRedis(t)
	adaptertest.Run(t, func(t *testing.T, servers int) []adapter.Cluster {
		t.Helper()
		var all []adapter.Cluster
		for range servers {
			d := newDriver(t, redis.NewClient(&redis.Options{Addr: server.Addr}))
			all = append(all, redisadapter.PubSub(d, redisadapter.PubSubOptions{Key: t.Name()}))
		}
		return all
	}, limits...)
}

func TestPubSub_ConformanceCluster(t *testing.T) {
	t.Parallel()
	c := testkit.StartCluster(t, 3, 0)
	adaptertest.Run(t, func(t *testing.T, servers int) []adapter.Cluster {
		t.Helper()
		var all []adapter.Cluster
		for range servers {
			d := newDriver(t, redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs()}))
			all = append(all, redisadapter.PubSub(d, redisadapter.PubSubOptions{Key: t.Name()}))
		}
		return all
	}, limits...)
}
