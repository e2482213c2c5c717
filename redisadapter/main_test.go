package redisadapter_test

import (
	"context"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/redistest"
	"github.com/sockeye-io/sockeye/redisadapter/rueidisdriver"
)

func TestMain(m *testing.M) { testkit.Main(m) }

var limits = []adaptertest.Limit{
	adaptertest.FirstAckArgument, adaptertest.AckSocketUnknown, adaptertest.AckFlagsDropped,
	adaptertest.FirstServerAnswer, adaptertest.ServerSideText,
}

func TestPubSub_ConformanceFake(t *testing.T) {
	t.Parallel()
	adaptertest.Run(t, func(t *testing.T, servers int) []adapter.Cluster {
		t.Helper()
		hub := redistest.NewHub()
		var all []adapter.Cluster
		for range servers {
			all = append(all, redisadapter.PubSub(hub.Driver(), redisadapter.PubSubOptions{}))
		}
		return all
	}, limits...)
}

func TestPubSub_ConformanceRedis(t *testing.T) {
	t.Parallel()
	for name, specific := range map[string]bool{"common responses": false, "specific responses": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redis := testkit.StartRedis(t)
			adaptertest.Run(t, func(t *testing.T, servers int) []adapter.Cluster {
				t.Helper()
				var all []adapter.Cluster
				for range servers {
					d, err := rueidisdriver.FromURL(redis.URL())
					if err != nil {
						t.Fatal(err)
					}
					o := redisadapter.PubSubOptions{Key: t.Name(), SpecificResponses: specific}
					all = append(all, redisadapter.PubSub(d, o))
				}
				return all
			}, limits...)
		})
	}
}

// server is one started cluster with the namespace "/".
type server struct {
	adapter.Adapter

	cluster adapter.Cluster
	host    *adaptertest.Host
}

func (s *server) stats() redisadapter.Stats {
	return s.cluster.(interface{ Stats() redisadapter.Stats }).Stats()
}

func start(t *testing.T, d redisadapter.Driver, o redisadapter.PubSubOptions) *server {
	t.Helper()
	return startCluster(t, redisadapter.PubSub(d, o))
}

func startSharded(t *testing.T, d redisadapter.Driver, o redisadapter.ShardedOptions) *server {
	t.Helper()
	return startCluster(t, redisadapter.Sharded(d, o))
}

func startCluster(t *testing.T, c adapter.Cluster) *server {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Scale(10*time.Second))
	defer cancel()
	if err := c.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	s := &server{cluster: c, host: adaptertest.NewHost(t, "/")}
	var err error
	if s.Adapter, err = c.Open(s.host); err != nil {
		t.Fatal(err)
	}
	return s
}
