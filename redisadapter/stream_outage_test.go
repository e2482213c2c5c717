package redisadapter_test

import (
	"testing"

	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/redisadapter"
)

// A frozen Redis does later what it was told, when its clients have long given up.
func TestStreams_RedisFrozen(t *testing.T) {
	t.Parallel()
	redis := testkit.StartRedis(t)
	a := streamServer(t, redisDriver(t, redis.URL()), redisadapter.StreamsOptions{}, nil)
	b := streamServer(t, redisDriver(t, redis.URL()), redisadapter.StreamsOptions{}, nil)
	s := b.host.Connect(t, "bbbbbbbbbbbbbbbbbbbb")
	stormed(t, a, s, func() {
		redis.Pause()
		testkit.Eventually(t, "noticed", func() bool { return a.cluster.Health() != nil })
		redis.Resume()
		testkit.Eventually(t, "health", func() bool { return a.cluster.Health() == nil && b.cluster.Health() == nil })
	}, 1)
}
