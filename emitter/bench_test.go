package emitter_test

import (
	"context"
	"testing"

	"github.com/sockeye-io/sockeye/emitter"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/redistest"
	"github.com/sockeye-io/sockeye/redisadapter/rueidisdriver"
)

// nowhere is a driver that takes everything and keeps nothing.
type nowhere struct{ redisadapter.StreamDriver }

func (nowhere) Publish(context.Context, []redisadapter.Publication) []error { return nil }

func (nowhere) Append(_ context.Context, batch []redisadapter.Append) ([]string, []error) {
	ids := make([]string, len(batch))
	for i := range ids {
		ids[i] = "1-1"
	}
	return ids, nil
}

// formatsNowhere makes an emitter of each format without Redis.
func formatsNowhere(tb testing.TB) map[string]*emitter.Emitter {
	tb.Helper()
	d := nowhere{redistest.NewHub().StreamDriver()}
	all := map[string]*emitter.Emitter{}
	for name, start := range map[string]func() (*emitter.Emitter, error){
		"pubsub":  func() (*emitter.Emitter, error) { return emitter.PubSub(d, redisadapter.PubSubOptions{}) },
		"sharded": func() (*emitter.Emitter, error) { return emitter.Sharded(d, redisadapter.ShardedOptions{}) },
		"streams": func() (*emitter.Emitter, error) { return emitter.Streams(d, redisadapter.StreamsOptions{}) },
	} {
		e, err := start()
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() {
			if err := e.Close(); err != nil {
				tb.Error(err)
			}
		})
		all[name] = e
	}
	return all
}

// An emit allocates its message, the channel of its room, and little more.
func TestEmit_Allocs(t *testing.T) {
	all := formatsNowhere(t)
	for name, limit := range map[string]float64{"pubsub": 6, "sharded": 6, "streams": 8} {
		to := all[name].To("room")
		var arg any = "text"
		n := testing.AllocsPerRun(1000, func() {
			if err := to.Emit("news", arg); err != nil {
				t.Fatal(err)
			}
		})
		t.Logf("%s: %v", name, n)
		if n > limit {
			t.Errorf("%s: %v allocations, want at most %v", name, n, limit)
		}
	}
}

func BenchmarkEmit(b *testing.B) {
	for name, e := range formatsNowhere(b) {
		b.Run(name, func(b *testing.B) {
			to := e.To("room")
			var arg any = "text"
			b.ReportAllocs()
			for b.Loop() {
				if err := to.Emit("news", arg); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkEmit_Redis publishes to a real Redis, without dropping anything.
func BenchmarkEmit_Redis(b *testing.B) {
	redis := testkit.StartRedis(b)
	for name, f := range map[string]format{
		"pubsub":  pubsubFormat(redisadapter.PubSubOptions{}),
		"sharded": shardedFormat(redisadapter.ShardedOptions{}),
		"streams": streamsFormat(redisadapter.StreamsOptions{}),
	} {
		b.Run(name, func(b *testing.B) {
			d, err := rueidisdriver.FromURL(redis.URL())
			if err != nil {
				b.Fatal(err)
			}
			e, err := f.emitter(d, func(err error) { b.Error(err) })
			if err != nil {
				b.Fatal(err)
			}
			defer e.Close()
			to := e.To("room")
			var arg any = "text"
			n := 0
			b.ReportAllocs()
			for b.Loop() {
				if n++; n%4096 == 0 { // the queue must not be full
					if err := to.EmitContext(b.Context(), "news", arg); err != nil {
						b.Fatal(err)
					}
					continue
				}
				if err := to.Emit("news", arg); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
