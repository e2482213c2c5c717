package redisadapter_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
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

// While Redis is away this server goes on, and says so; afterwards what was queued is published.
func TestPubSub_Outage(t *testing.T) {
	t.Parallel()
	hub, a, b, sa, sb := pair(t, options{})
	hub.Stop()
	testkit.Eventually(t, "health is degraded", func() bool { return errors.Is(a.cluster.Health(), redisadapter.ErrUnavailable) })
	if err := a.Broadcast(context.Background(), packet("queued"), adapter.Options{}); err != nil {
		t.Fatal(err)
	}
	if !sa.Has("queued") {
		t.Error("not delivered to the socket of this server")
	}
	testkit.Eventually(t, "publishing fails", func() bool {
		return strings.Contains(fmt.Sprint(a.cluster.Health()), "subscription lost") &&
			strings.Count(fmt.Sprint(a.cluster.Health()), redistest.ErrDown.Error()) == 2
	})
	if err := a.Broadcast(context.Background(), packet("volatile"), adapter.Options{Flags: adapter.Flags{Volatile: true}}); err != nil {
		t.Fatal(err)
	}
	var inc *adapter.Incomplete
	sockets, err := a.Fetch(t.Context(), adapter.Options{})
	if !errors.As(err, &inc) || !errors.Is(err, redisadapter.ErrUnavailable) || len(sockets) != 1 {
		t.Errorf("%v %v", sockets, err)
	}
	answers := 0
	sa.Answer(func([]any) []parser.Arg { return nil })
	err = a.BroadcastWithAck(bounded(t), packet("q"), adapter.Options{}, func(adapter.Answer) { answers++ })
	if !errors.As(err, &inc) || !errors.Is(err, redisadapter.ErrUnavailable) || answers != 1 || inc.Received != 1 {
		t.Errorf("%d answers, %v", answers, err)
	}

	hub.Start()
	testkit.Eventually(t, "health is good", func() bool { return a.cluster.Health() == nil && b.cluster.Health() == nil })
	testkit.Eventually(t, "what was queued arrives", func() bool { return sb.Has("queued") })
	if sb.Has("volatile") || a.stats().Dropped == 0 {
		t.Error("a volatile broadcast was queued")
	}
	if a.stats().Gaps != 1 || len(a.host.Faults()) == 0 {
		t.Errorf("%+v %v", a.stats(), a.host.Faults())
	}
}

// The queue drops the oldest messages, and tells who waits for them.
func TestPubSub_PublishQueue(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]options{
		"messages": {PublishQueue: 10}, "bytes": {PublishQueueBytes: 10 * 52},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hub, a, _, sa, sb := pair(t, o)
			hub.Stop()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			waiting := make(chan error, 1)
			go func() { // ends when the message is dropped
				waiting <- a.Broadcast(ctx, packet("00"), adapter.Options{})
			}()
			testkit.Eventually(t, "it was delivered here", func() bool { return sa.Has("00") })
			testkit.Eventually(t, "publishing fails", func() bool { return a.stats().Failed+a.stats().Dropped > 0 || failing(a) })
			for i := 1; i <= 30; i++ {
				if err := a.Broadcast(context.Background(), packet(fmt.Sprintf("%02d", i)), adapter.Options{}); err != nil {
					t.Fatal(err)
				}
			}
			hub.Start()
			if err := <-waiting; !errors.Is(err, redisadapter.ErrDropped) {
				t.Errorf("error %v", err)
			}
			testkit.Eventually(t, "the last message arrives", func() bool { return sb.Has("30") })
			arrived := got(sb)
			if n := len(arrived); n < 8 || n > 10 || !slices.IsSorted(arrived) {
				t.Errorf("arrived: %q", arrived)
			}
			if d := a.stats().Dropped; int(d)+len(arrived) != 31 {
				t.Errorf("%d dropped, %d arrived", d, len(arrived))
			}
		})
	}
}

func failing(s *server) bool {
	return strings.Count(fmt.Sprint(s.cluster.Health()), redistest.ErrDown.Error()) == 2
}

// A broadcast whose context can end waits until Redis has it.
func TestPubSub_BroadcastWaits(t *testing.T) {
	t.Parallel()
	hub, a, _, sa, _ := pair(t, options{})
	ctx, cancel := context.WithCancel(t.Context())
	if err := a.Broadcast(ctx, packet("e"), adapter.Options{}); err != nil || len(published(hub)) != 1 {
		t.Fatal(err, published(hub))
	}
	hub.Stop()
	cause := errors.New("enough")
	done := make(chan error, 1)
	ctx, cancelCause := context.WithCancelCause(ctx)
	go func() { // ends when ctx does
		done <- a.Broadcast(ctx, packet("late"), adapter.Options{})
	}()
	testkit.Eventually(t, "it was delivered here", func() bool { return sa.Has("late") })
	cancelCause(cause)
	if err := <-done; !errors.Is(err, cause) {
		t.Errorf("error %v", err)
	}
	cancel()
	hub.Start()
}

// Close publishes what is queued.
func TestPubSub_CloseFlushes(t *testing.T) {
	t.Parallel()
	hub, a, _, _, sb := pair(t, options{})
	const messages = 1000
	for i := range messages {
		if err := a.Broadcast(context.Background(), packet(fmt.Sprintf("%04d", i)), adapter.Options{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.cluster.Close(); err != nil {
		t.Fatal(err)
	}
	if n := len(published(hub)); n != messages {
		t.Errorf("%d messages published", n)
	}
	testkit.Eventually(t, "all arrive", func() bool { return len(sb.Got()) == messages })
	if !slices.IsSorted(got(sb)) {
		t.Error("out of order")
	}
	if err := a.Broadcast(t.Context(), packet("e"), adapter.Options{}); !errors.Is(err, adapter.ErrClosed) {
		t.Errorf("error %v", err)
	}
	if err := a.cluster.Health(); !errors.Is(err, adapter.ErrClosed) {
		t.Errorf("health %v", err)
	}
	if _, err := a.cluster.Open(adaptertest.NewHost(t, "/late")); !errors.Is(err, adapter.ErrClosed) {
		t.Errorf("open: %v", err)
	}
}

// An adapter may be closed by what a message leads to, such as the end of the last socket of a namespace.
func TestPubSub_CloseFromAMessage(t *testing.T) {
	t.Parallel()
	redis := testkit.StartRedis(t)
	s := startRedis(t, redis, options{})
	closed := make(chan error, 1)
	host := adaptertest.NewHost(t, "/dynamic")
	a, err := s.cluster.Open(host)
	if err != nil {
		t.Fatal(err)
	}
	host.Listen("close", func([]any) ([]parser.Arg, bool) {
		closed <- a.Close()
		return nil, false
	})
	other, err := rueidisdriver.FromURL(redis.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if errs := other.Publish(t.Context(), []redisadapter.Publication{
		{Channel: "socket.io-request#/dynamic#", Payload: []byte(`{"type":6,"data":["close"]}`)},
	}); errs != nil {
		t.Fatal(errs)
	}
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	if n, err := other.Subscribers(t.Context(), "socket.io-request#/dynamic#"); n != 0 || err != nil {
		t.Errorf("%d subscribers, %v", n, err)
	}
}

// killSubscribers makes Redis end all connections that subscribe: that many.
func killSubscribers(t *testing.T, redis *testkit.Redis, n int64) {
	t.Helper()
	if killed := redis.Do("CLIENT", "KILL", "TYPE", "pubsub"); killed != n {
		t.Fatalf("killed %v connections, want %d", killed, n)
	}
}

func driver(t *testing.T, redis *testkit.Redis) redisadapter.Driver {
	t.Helper()
	d, err := rueidisdriver.FromURL(redis.URL())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func startRedis(t *testing.T, redis *testkit.Redis, o options) *server {
	t.Helper()
	d, err := rueidisdriver.FromURL(redis.URL())
	if err != nil {
		t.Fatal(err)
	}
	return start(t, d, o)
}

// The same outage with a real Redis, killed and started again.
func TestPubSub_RedisRestart(t *testing.T) {
	t.Parallel()
	redis := testkit.StartRedis(t)
	var lost atomic.Int32
	a := startRedis(t, redis, options{OnFault: func(_ string, err error) {
		if strings.Contains(err.Error(), "subscription lost") {
			lost.Add(1)
		}
	}})
	b := startRedis(t, redis, options{})
	sa, sb := a.host.Connect(t, "socket-of-a-aaaaaaaa", "r"), b.host.Connect(t, "socket-of-b-bbbbbbbb", "r")
	if err := a.Broadcast(bounded(t), packet("before"), adapter.Options{}); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "it arrives", func() bool { return sb.Has("before") })

	pid := redis.Pid()
	redis.Stop()
	testkit.Eventually(t, "the loss is known", func() bool { return a.cluster.Health() != nil && b.cluster.Health() != nil })
	for i := range 10 {
		if err := a.Broadcast(context.Background(), packet(strconv.Itoa(i)), adapter.Options{Rooms: []string{"r"}}); err != nil {
			t.Fatal(err)
		}
		if !sa.Has(strconv.Itoa(i)) {
			t.Error("not delivered to the socket of this server")
		}
	}
	late, err := a.cluster.Open(adaptertest.NewHost(t, "/late")) // subscribed later
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close()

	redis.Start()
	if redis.Pid() == pid || lost.Load() != 1 || a.stats().Gaps != 1 {
		t.Errorf("the fault did not happen: %d losses, %+v", lost.Load(), a.stats())
	}
	testkit.Eventually(t, "health is good", func() bool { return a.cluster.Health() == nil && b.cluster.Health() == nil })
	if err := a.Broadcast(bounded(t), packet("after"), adapter.Options{}); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "it arrives", func() bool { return sb.Has("after") })
	if events := got(sb); events[0] != "before" || !slices.IsSorted(events[1:len(events)-1]) || len(events) > 12 {
		t.Errorf("%q", events)
	}
	sockets, err := b.Fetch(bounded(t), adapter.Options{})
	if err != nil || len(sockets) != 2 {
		t.Errorf("%v %v", sockets, err)
	}
	probe, err := rueidisdriver.FromURL(redis.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer probe.Close()
	for channel, want := range map[string]int{"socket.io-request#/#": 2, "socket.io-request#/late#": 1} {
		if n, err := probe.Subscribers(t.Context(), channel); n != want || err != nil {
			t.Errorf("%s: %d subscribers, want %d: %v", channel, n, want, err)
		}
	}
}

// A connection that Redis ends, as it does with one that reads too slowly, is a gap and is made up for.
func TestPubSub_SubscriberKilled(t *testing.T) {
	t.Parallel()
	redis := testkit.StartRedis(t)
	a := startRedis(t, redis, options{})
	sa := a.host.Connect(t, "socket-of-a-aaaaaaaa", "r")
	killSubscribers(t, redis, 1)
	testkit.Eventually(t, "the gap is counted", func() bool { return a.stats().Gaps == 1 })
	testkit.Eventually(t, "health is good", func() bool { return a.cluster.Health() == nil })
	b := startRedis(t, redis, options{})
	if err := b.Broadcast(bounded(t), packet("after"), adapter.Options{}); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "it arrives", func() bool { return sa.Has("after") })
}

func TestPubSub_StartUnreachable(t *testing.T) {
	t.Parallel()
	addr := testkit.FreeAddr(t)
	d, err := rueidisdriver.FromURL("redis://user:secret@" + addr)
	if err != nil {
		t.Fatal(err)
	}
	c := redisadapter.PubSub(d, options{})
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Scale(5*time.Second))
	defer cancel()
	err = c.Start(ctx)
	if !errors.Is(err, redisadapter.ErrUnavailable) || !strings.Contains(err.Error(), addr) || strings.Contains(err.Error(), "secret") {
		t.Errorf("error %v", err)
	}
	if ctx.Err() != nil {
		t.Error("Start waited until the end of the context")
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func TestPubSub_Options(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]options{
		"key": {Key: "a\n"}, "timeout": {RequestsTimeout: -1}, "queue": {PublishQueue: -1}, "bytes": {PublishQueueBytes: -1},
	} {
		c := redisadapter.PubSub(redistest.NewHub().Driver(), o)
		if err := c.Start(t.Context()); err == nil {
			t.Errorf("%s: no error", name)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}
