package goredisdriver

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/redisadapter"
)

// BenchmarkDriver_Publish publishes batches of 256 messages as a busy server does.
func BenchmarkDriver_Publish(b *testing.B) {
	d := driverOf(b, redis.NewClient(&redis.Options{Addr: testkit.StartRedis(b).Addr}), Options{})
	batch := make([]redisadapter.Publication, 256)
	for i := range batch {
		batch[i] = redisadapter.Publication{Channel: "socket.io#/#", Payload: make([]byte, 120)}
	}
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		if errs := d.Publish(ctx, batch); errs != nil {
			b.Fatal(errs)
		}
	}
	b.ReportMetric(float64(b.N)*float64(len(batch))/b.Elapsed().Seconds(), "messages/s")
}
