package rueidisdriver

import (
	"strconv"
	"testing"

	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/redisadapter"
)

// BenchmarkPublish publishes batches of small messages; an operation is a message.
func BenchmarkPublish(b *testing.B) {
	redis := testkit.StartRedis(b)
	for _, size := range []int{1, 16, 256} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			d, err := FromURL(redis.URL())
			if err != nil {
				b.Fatal(err)
			}
			defer d.Close()
			batch := make([]redisadapter.Publication, size)
			for i := range batch {
				batch[i] = redisadapter.Publication{Channel: "socket.io#/#", Payload: make([]byte, 100)}
			}
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				if n%size == 0 { // so that an operation is a message
					if errs := d.Publish(b.Context(), batch); errs != nil {
						b.Fatal(errs)
					}
				}
			}
		})
	}
}
