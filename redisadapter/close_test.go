package redisadapter_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/redistest"
)

// trying counts how often it was tried to reach Redis.
type trying struct {
	redisadapter.StreamDriver

	tries atomic.Int64
}

func (d *trying) Connect(ctx context.Context) error {
	d.tries.Add(1)
	return d.StreamDriver.Connect(ctx)
}

// What is queued when a server is closed is sent where Redis is back, though the next try was to be later.
func TestClose_SendsWhatWaitsForRedis(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(t *testing.T, d redisadapter.StreamDriver) *server{
		"pub/sub": func(t *testing.T, d redisadapter.StreamDriver) *server {
			t.Helper()
			return start(t, d, options{})
		},
		"streams": func(t *testing.T, d redisadapter.StreamDriver) *server {
			t.Helper()
			return streamServer(t, d, redisadapter.StreamsOptions{}, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hub := redistest.NewHub()
			d := &trying{StreamDriver: hub.StreamDriver()}
			a, b := start(t, d), start(t, hub.StreamDriver())
			s := b.host.Connect(t, "socket-of-b-bbbbbbbb")
			hub.Stop()
			before := d.tries.Load()
			if err := a.Broadcast(context.Background(), packet("queued"), adapter.Options{}); err != nil {
				t.Fatal(err)
			}
			// The next try is in a second at least.
			testkit.Eventually(t, "it is tried", func() bool { return d.tries.Load() >= before+7 })
			hub.Start()
			if err := a.cluster.Close(); err != nil {
				t.Fatal(err)
			}
			testkit.Eventually(t, "it arrives", func() bool { return s.Has("queued") })
		})
	}
}
