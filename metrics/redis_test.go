package metrics_test

import (
	"regexp"
	"testing"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/metrics"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/rueidisdriver"
)

// A Redis that is away shows, with what waits for it, and that it is back.
func TestMetrics_RedisAway(t *testing.T) {
	t.Parallel()
	redis := testkit.StartRedis(t)
	d, err := rueidisdriver.FromURL(redis.URL())
	if err != nil {
		t.Fatal(err)
	}
	b := setup(t, sockeye.Config{Adapter: redisadapter.PubSub(d, redisadapter.PubSubOptions{})}, metrics.Options{})
	b.want(`sockeye_adapter_up 1`, `sockeye_adapter_gaps_total 0`)
	redis.Stop()
	waits := regexp.MustCompile(`(?m)^sockeye_adapter_waiting_messages [1-9]`)
	testkit.Eventually(t, "what waits", func() bool {
		if err := b.Emit("x"); err != nil { // it waits for nothing
			t.Fatal(err)
		}
		return waits.MatchString(b.scrape())
	})
	b.want(`sockeye_adapter_up 0`, `sockeye_adapter_gaps_total 1`)
	redis.Start()
	b.want(`sockeye_adapter_up 1`, `sockeye_adapter_waiting_messages 0`)
}
