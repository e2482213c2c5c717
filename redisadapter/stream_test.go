package redisadapter_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/parser"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/redistest"
	"github.com/sockeye-io/sockeye/redisadapter/rueidisdriver"
)

var streamLimits = []adaptertest.Limit{
	adaptertest.FirstAckArgument, adaptertest.AckSocketUnknown, adaptertest.FirstServerAnswer,
}

// quick makes Close quick.
const quick = 100 * time.Millisecond

func TestStreams_ConformanceFake(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]redisadapter.StreamsOptions{
		"one stream":      {Block: quick},
		"several streams": {StreamCount: 5, ShardedPubSub: true, Block: quick},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			adaptertest.Run(t, func(t *testing.T, servers int) []adapter.Cluster {
				t.Helper()
				hub := redistest.NewHub()
				var all []adapter.Cluster
				for range servers {
					all = append(all, redisadapter.Streams(hub.StreamDriver(), o))
				}
				return all
			}, streamLimits...)
		})
	}
}

func TestStreams_ConformanceRedis(t *testing.T) {
	t.Parallel()
	redis := testkit.StartRedis(t)
	adaptertest.Run(t, func(t *testing.T, servers int) []adapter.Cluster {
		t.Helper()
		var all []adapter.Cluster
		for range servers {
			o := redisadapter.StreamsOptions{StreamName: t.Name(), ChannelPrefix: t.Name()}
			all = append(all, redisadapter.Streams(redisDriver(t, redis.URL()), o))
		}
		return all
	}, streamLimits...)
}

func redisDriver(t *testing.T, url string) redisadapter.StreamDriver {
	t.Helper()
	d, err := rueidisdriver.FromURL(url)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// streamServer starts a server with the namespaces.
func streamServer(
	t *testing.T, d redisadapter.StreamDriver, o redisadapter.StreamsOptions, r *adapter.RecoveryOptions,
) *server {
	t.Helper()
	if o.Block == 0 {
		o.Block = quick
	}
	c := redisadapter.Streams(d, o)
	if r != nil {
		rc, ok := c.(adapter.RecoveryCluster)
		if !ok || !rc.Recoverable() {
			t.Fatal("it cannot recover")
		}
		if err := rc.EnableRecovery(*r); err != nil {
			t.Fatal(err)
		}
	}
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

func (s *server) emit(t *testing.T, event string, rooms ...string) {
	t.Helper()
	p := &parser.Packet{Type: parser.Event, Namespace: "/", Event: event}
	if err := s.Broadcast(context.Background(), p, adapter.Options{Rooms: rooms}); err != nil {
		t.Fatal(err)
	}
}

// events are those that a socket got.
func events(s *adaptertest.Socket) []string {
	var all []string
	for _, r := range s.Got() {
		all = append(all, r.Event)
	}
	return all
}

// wantEvents waits for n events, and wants them numbered from 0 on.
func wantEvents(t *testing.T, s *adaptertest.Socket, n int) {
	t.Helper()
	testkit.Eventually(t, "all events", func() bool { return len(s.Got()) >= n })
	for i, e := range events(s) {
		if e != strconv.Itoa(i) {
			t.Fatalf("event %d is %q", i, e)
		}
	}
	if got := len(s.Got()); got != n {
		t.Errorf("%d events, want %d", got, n)
	}
}

func TestStreams_Options(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]redisadapter.StreamsOptions{
		"stream name":   {StreamName: "a\nb"},
		"prefix":        {ChannelPrefix: "a\x00"},
		"session":       {SessionKeyPrefix: "\x7f"},
		"stream count":  {StreamCount: -1},
		"max len":       {MaxLen: -1},
		"read count":    {ReadCount: -1},
		"block":         {Block: time.Millisecond},
		"queue":         {PublishQueue: -1},
		"request limit": {RequestsTimeout: -1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := redisadapter.Streams(redistest.NewHub().StreamDriver(), o)
			if err := c.Start(t.Context()); err == nil {
				t.Error("started")
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestStreams_PrefixInUse(t *testing.T) {
	t.Parallel()
	hub := redistest.NewHub()
	start(t, hub.Driver(), redisadapter.PubSubOptions{})
	for name, o := range map[string]redisadapter.StreamsOptions{
		"other prefix": {ChannelPrefix: "other"}, "sharded": {ShardedPubSub: true}, "same": {},
	} {
		c := redisadapter.Streams(hub.StreamDriver(), o)
		err := c.Start(t.Context())
		if errors.Is(err, redisadapter.ErrPrefixInUse) != (name == "same") || name != "same" && err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("more than one line: %v", err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Nothing is lost or doubled where it is not known whether entries were appended.
func TestStreams_OutcomeUnknown(t *testing.T) {
	t.Parallel()
	for name, kept := range map[string]func(n int64) bool{
		"none is there":   func(int64) bool { return false },
		"all are there":   func(int64) bool { return true },
		"every other is":  func(n int64) bool { return n%2 == 0 },
		"the first third": func(n int64) bool { return n%30 < 10 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hub := redistest.NewHub()
			a := streamServer(t, hub.StreamDriver(), redisadapter.StreamsOptions{}, nil)
			b := streamServer(t, hub.StreamDriver(), redisadapter.StreamsOptions{}, nil)
			s := b.host.Connect(t, "bbbbbbbbbbbbbbbbbbbb")
			var faults int64          // AppendFault is called one at a time
			tries := map[string]int{} // what is refused again and again is given up
			hub.AppendFault(func(e redisadapter.Append) (bool, error) {
				data := e.Fields[len(e.Fields)-1]
				if tries[data]++; faults < 90 && tries[data] <= 3 {
					faults++
					return kept(faults), redistest.ErrLost
				}
				return true, nil
			})
			const n = 200
			for i := range n {
				a.emit(t, strconv.Itoa(i))
			}
			testkit.Eventually(t, "all events", func() bool { return len(s.Got()) >= n })
			seen := map[string]int{}
			for _, e := range events(s) {
				seen[e]++
			}
			for i := range n {
				if seen[strconv.Itoa(i)] != 1 {
					t.Errorf("event %d came %d times", i, seen[strconv.Itoa(i)])
				}
			}
			hub.AppendFault(nil)
			if faults < 90 {
				t.Errorf("the fault happened %d times", faults)
			}
		})
	}
}

// Equal events are told apart by their number alone.
func TestStreams_OutcomeUnknownOfEqualEvents(t *testing.T) {
	t.Parallel()
	hub := redistest.NewHub()
	a := streamServer(t, hub.StreamDriver(), redisadapter.StreamsOptions{}, nil)
	b := streamServer(t, hub.StreamDriver(), redisadapter.StreamsOptions{}, nil)
	s := b.host.Connect(t, "bbbbbbbbbbbbbbbbbbbb")
	var faults atomic.Int64
	hub.AppendFault(func(redisadapter.Append) (bool, error) {
		if n := faults.Add(1); n%3 == 0 && n < 60 {
			return n%2 == 0, redistest.ErrLost
		}
		return true, nil
	})
	const n = 100
	for range n {
		a.emit(t, "same")
	}
	testkit.Eventually(t, "all are appended", func() bool { return a.stats().Published == n })
	a.emit(t, "end")
	testkit.Eventually(t, "the end", func() bool { return s.Has("end") })
	if got := len(s.Got()); got != n+1 {
		t.Errorf("%d events, want %d", got, n+1)
	}
}

// What Redis refuses for a while is kept.
func TestStreams_NotSent(t *testing.T) {
	t.Parallel()
	hub := redistest.NewHub()
	a := streamServer(t, hub.StreamDriver(), redisadapter.StreamsOptions{}, nil)
	b := streamServer(t, hub.StreamDriver(), redisadapter.StreamsOptions{}, nil)
	s := b.host.Connect(t, "bbbbbbbbbbbbbbbbbbbb")
	var refuse atomic.Bool
	refuse.Store(true)
	hub.AppendFault(func(redisadapter.Append) (bool, error) {
		if refuse.Load() {
			return false, fmt.Errorf("%w: NOREPLICAS", redisadapter.ErrNotSent)
		}
		return true, nil
	})
	for i := range 50 {
		a.emit(t, strconv.Itoa(i))
	}
	testkit.Eventually(t, "the fault", func() bool { return errors.Is(a.cluster.Health(), redisadapter.ErrUnavailable) })
	if n := len(s.Got()); n > 0 {
		t.Fatalf("%d events", n)
	}
	refuse.Store(false)
	wantEvents(t, s, 50)
	testkit.Eventually(t, "health", func() bool { return a.cluster.Health() == nil })
}

// An entry that Redis never takes does not hold up others for ever.
func TestStreams_NeverTaken(t *testing.T) {
	t.Parallel()
	hub := redistest.NewHub()
	a := streamServer(t, hub.StreamDriver(), redisadapter.StreamsOptions{}, nil)
	b := streamServer(t, hub.StreamDriver(), redisadapter.StreamsOptions{}, nil)
	s := b.host.Connect(t, "bbbbbbbbbbbbbbbbbbbb")
	hub.AppendFault(func(e redisadapter.Append) (bool, error) {
		if strings.Contains(e.Fields[len(e.Fields)-1], "bad") {
			return false, errors.New("WRONGTYPE")
		}
		return true, nil
	})
	a.emit(t, "bad")
	a.emit(t, "good")
	testkit.Eventually(t, "the next", func() bool { return s.Has("good") })
	testkit.Eventually(t, "counted", func() bool { return a.stats().Failed == 1 })
}

func TestStreams_QueueFull(t *testing.T) {
	t.Parallel()
	hub := redistest.NewHub()
	a := streamServer(t, hub.StreamDriver(), redisadapter.StreamsOptions{PublishQueue: 10}, nil)
	b := streamServer(t, hub.StreamDriver(), redisadapter.StreamsOptions{}, nil)
	s := b.host.Connect(t, "bbbbbbbbbbbbbbbbbbbb")
	hub.Stop()
	for i := range 100 {
		a.emit(t, strconv.Itoa(i))
	}
	testkit.Eventually(t, "dropped", func() bool { return a.stats().Dropped >= 80 })
	hub.Start()
	testkit.Eventually(t, "the newest", func() bool { return s.Has("99") })
	if got := len(s.Got()); got > 20 {
		t.Errorf("%d events", got)
	}
}

// The context of Broadcast waits for Redis.
func TestStreams_Waits(t *testing.T) {
	t.Parallel()
	hub := redistest.NewHub()
	a := streamServer(t, hub.StreamDriver(), redisadapter.StreamsOptions{}, nil)
	ctx, cancel := context.WithCancelCause(t.Context())
	p := &parser.Packet{Type: parser.Event, Namespace: "/", Event: "e"}
	if err := a.Broadcast(ctx, p, adapter.Options{}); err != nil {
		t.Fatal(err)
	}
	if n := len(hub.Entries("socket.io")); n != 1 {
		t.Errorf("%d entries", n)
	}
	hub.Stop()
	tired := errors.New("tired")
	done := make(chan error, 1)
	go func() { done <- a.Broadcast(ctx, p, adapter.Options{}) }() // ends with the context
	testkit.Eventually(t, "the fault", func() bool { return a.cluster.Health() != nil })
	cancel(tired)
	if err := <-done; !errors.Is(err, tired) {
		t.Errorf("error %v", err)
	}
	hub.Start()
}
