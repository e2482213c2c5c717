package rueidisdriver

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/sockeye-io/sockeye/internal/redisproto"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/redisadapter"
)

// Channels come and go while slots move and connections are killed. In the end Redis has what is wanted and nothing else.
func TestCluster_Churn(t *testing.T) {
	t.Parallel()
	const workers, each = 8, 40
	c := testkit.StartCluster(t, 3, 0)
	d := newStreamDriver(t, clusterURL(c))
	b := subscribed(t, d, redisadapter.Topics{Channels: []string{"classic"}})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wants := make([]map[string]bool, workers)
	for i := range workers {
		wants[i] = map[string]bool{}
		wg.Go(func() { churn(t.Context(), b, i, each, wants[i], stop) })
	}
	for i := range 12 {
		switch i % 4 {
		case 3:
			c.Nodes[rand.IntN(3)].Do("CLIENT", "KILL", "TYPE", "pubsub")
		default:
			slot := redisproto.Slot(fmt.Sprint("w", rand.IntN(workers), "-", rand.IntN(each)))
			from := c.Owner(slot, 0)
			c.Move(slot, from, (from+1)%3)
		}
	}
	close(stop)
	wg.Wait()
	testkit.Eventually(t, "all is whole", func() bool {
		lost, restored := b.Losses()
		return lost == restored
	})
	if lost, _ := b.Losses(); lost == 0 {
		t.Error("nothing was lost")
	}
	for _, want := range wants {
		for ch, wanted := range want {
			n := 0
			if wanted {
				n = 1
			}
			testkit.Eventually(t, fmt.Sprint(ch, " has ", n), func() bool {
				got, err := d.ShardSubscribers(bounded(t), ch)
				return err == nil && got == n
			})
			if wanted {
				b.reaches(t, ch, true)
			}
		}
	}
	s := b.Subscription.(*subscription)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.missing)+len(s.waiting)+s.down > 0 {
		t.Errorf("missing %v, waiting %v, %d down", s.missing, s.waiting, s.down)
	}
}

// churn ends when stop is closed.
func churn(ctx context.Context, b *bundle, worker, each int, want map[string]bool, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		ch := fmt.Sprint("w", worker, "-", rand.IntN(each))
		topics := redisadapter.Topics{Sharded: []string{ch}}
		// Errors tell of connections that are lost, and what is wanted holds all the same.
		if want[ch] {
			_ = b.Remove(ctx, topics)
		} else {
			_ = b.Add(ctx, topics)
		}
		want[ch] = !want[ch]
	}
}
