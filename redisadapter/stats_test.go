package redisadapter_test

import (
	"context"
	"testing"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/rueidisdriver"
)

// What waits while Redis is away shows, and what was sent is counted in batches with the time that Redis took.
func TestStats_Waiting(t *testing.T) {
	t.Parallel()
	for name, cluster := range map[string]func(t *testing.T, redis *testkit.Redis) adapter.Cluster{
		"classic": func(t *testing.T, redis *testkit.Redis) adapter.Cluster {
			t.Helper()
			return redisadapter.PubSub(driver(t, redis), redisadapter.PubSubOptions{})
		},
		"streams": func(t *testing.T, redis *testkit.Redis) adapter.Cluster {
			t.Helper()
			d, err := rueidisdriver.FromURL(redis.URL())
			if err != nil {
				t.Fatal(err)
			}
			return redisadapter.Streams(d, redisadapter.StreamsOptions{})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redis := testkit.StartRedis(t)
			s := startCluster(t, cluster(t, redis))
			emit := func() {
				t.Helper()
				if err := s.Broadcast(t.Context(), packet("e", "0123456789"), adapter.Options{}); err != nil {
					t.Fatal(err)
				}
			}
			emit()
			first := s.stats()
			if first.Batches == 0 || first.BatchTime <= 0 {
				t.Errorf("%+v", first)
			}
			redis.Pause()
			queue := func() {
				_ = s.Broadcast(context.WithoutCancel(t.Context()), packet("e", "0123456789"), adapter.Options{}) // it waits for nothing
			}
			queue()
			testkit.Eventually(t, "what waits", func() bool {
				queue()
				st := s.stats()
				return st.Waiting > 1 && st.WaitingBytes >= 10*st.Waiting
			})
			redis.Resume()
			testkit.Eventually(t, "an empty queue", func() bool {
				st := s.stats()
				return st.Waiting == 0 && st.Unread == 0 && st.Batches > first.Batches && st.BatchTime > first.BatchTime
			})
		})
	}
}
