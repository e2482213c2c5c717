//go:build unix

// Command publish measures how many broadcasts a second one server publishes to Redis: it emits to a room that nobody is
// in, never more at once than the publish queue holds, and prints messages per second and CPU microseconds per message.
//
//	taskset -c 0 go run ./bench/publish -redis 127.0.0.1:6379 [-for 5s]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/rueidisdriver"
)

// outstanding is how many messages wait for Redis at once.
const outstanding = 1 << 15

func main() {
	redis := flag.String("redis", "127.0.0.1:6379", "host:port of Redis")
	d := flag.Duration("for", 5*time.Second, "measured time")
	size := flag.Int("size", 64, "bytes of the payload")
	flag.Parse()
	if err := run(*redis, *d, strings.Repeat("x", *size)); err != nil {
		fmt.Fprintln(os.Stderr, "bench/publish:", err)
		os.Exit(1)
	}
}

func run(redis string, d time.Duration, payload string) error {
	driver, err := rueidisdriver.FromURL("redis://" + redis)
	if err != nil {
		return err
	}
	cluster := redisadapter.PubSub(driver, redisadapter.PubSubOptions{})
	counted, ok := cluster.(interface{ Stats() redisadapter.Stats })
	if !ok {
		return errors.New("the cluster has no Stats")
	}
	io, err := sockeye.New(sockeye.Config{Adapter: cluster})
	if err != nil {
		return err
	}
	room := io.To("room")
	pump := func(d time.Duration) (uint64, error) {
		from := counted.Stats().Published
		emitted := from
		for end := time.Now().Add(d); time.Now().Before(end); {
			for range 256 {
				if err := room.Emit("msg", payload); err != nil {
					return 0, err
				}
			}
			for emitted += 256; emitted-counted.Stats().Published > outstanding; {
				time.Sleep(100 * time.Microsecond) // so that what Redis answers is read
			}
		}
		return counted.Stats().Published - from, nil
	}
	if _, err := pump(time.Second); err != nil { // warm-up
		return err
	}
	cpu, start := used(), time.Now()
	n, err := pump(d)
	if err != nil {
		return err
	}
	took, busy := time.Since(start), used()-cpu
	fmt.Printf("%.0f messages/s, %.2f us CPU per message\n", float64(n)/took.Seconds(), float64(busy.Microseconds())/float64(n))
	if s := counted.Stats(); s.Dropped > 0 || s.Failed > 0 {
		return fmt.Errorf("%d messages dropped, %d failed", s.Dropped, s.Failed)
	}
	return io.Shutdown(context.Background())
}

// used is the CPU time of this process so far.
func used() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // it fails for no process of one's own
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
