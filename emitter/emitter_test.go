package emitter_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/emitter"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/redistest"
)

// open opens the main namespace of a server without sockets.
func open(t *testing.T, c adapter.Cluster) *adaptertest.Host {
	t.Helper()
	h := adaptertest.NewHost(t, "/")
	if _, err := c.Open(h); err != nil {
		t.Fatal(err)
	}
	return h
}

// pubsub makes an emitter for a hub.
func pubsub(t *testing.T, hub *redistest.Hub, o redisadapter.PubSubOptions) *emitter.Emitter {
	t.Helper()
	e, err := emitter.PubSub(hub.Driver(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func TestEmitter_Refuses(t *testing.T) {
	t.Parallel()
	hub := redistest.NewHub()
	e := pubsub(t, hub, redisadapter.PubSubOptions{})
	ctx := t.Context()
	long := strings.Repeat("x", 513)
	first := func(_ any, err error) error { return err }
	for name, test := range map[string]struct{ err, want error }{
		"reserved event":                 {e.Emit("disconnect"), emitter.ErrReservedEvent},
		"reserved event, waiting":        {e.To("r").EmitContext(ctx, "connect_error"), emitter.ErrReservedEvent},
		"reserved event, acknowledged":   {first(e.EmitWithAck(ctx, "newListener")), emitter.ErrReservedEvent},
		"reserved among servers":         {e.ServerSideEmit(ctx, "connection"), emitter.ErrReservedEvent},
		"reserved among servers, answer": {first(e.ServerSideEmitWithAck(ctx, "new_namespace")), emitter.ErrReservedEvent},
		"long room":                      {e.Join(ctx, long), emitter.ErrRoomName},
		"control character in namespace": {e.Of("/a\n").Emit("ev"), emitter.ErrNamespaceName},
		"comma in namespace":             {e.Of("a,b").Join(ctx, "r"), emitter.ErrNamespaceName},
		"long namespace":                 {e.Of(long).ServerSideEmit(ctx, "ev"), emitter.ErrNamespaceName},
		"question in bad namespace":      {first(e.Of("a,b").FetchSockets(ctx)), emitter.ErrNamespaceName},
	} {
		if !errors.Is(test.err, test.want) {
			t.Errorf("%s: %v", name, test.err)
		}
	}
	for name, err := range map[string]error{
		"function":         e.Emit("ev", func() {}),
		"channel in depth": e.Emit("ev", map[string]any{"x": make(chan int)}),
		"server side":      e.ServerSideEmit(ctx, "ev", func() {}),
		"acknowledged":     first(e.EmitWithAck(ctx, "ev", func() {})),
	} {
		if err == nil || !strings.HasPrefix(err.Error(), "emitter: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, err := range map[string]error{
		"longest room": e.Join(ctx, long[1:]), "no rooms": e.Join(ctx), "no rooms to leave": e.Leave(ctx),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := len(hub.Published()); n != 1 {
		t.Errorf("%d messages published", n)
	}
}

func TestPubSub_Options(t *testing.T) {
	t.Parallel()
	_, err := emitter.PubSub(redistest.NewHub().Driver(), redisadapter.PubSubOptions{Key: "a\nb", RequestsTimeout: -1})
	if err == nil || !strings.Contains(err.Error(), "Key") || !strings.Contains(err.Error(), "RequestsTimeout") {
		t.Error(err)
	}
	hub := redistest.NewHub()
	e := pubsub(t, hub, redisadapter.PubSubOptions{Key: "mine"})
	if err := e.EmitContext(limited(t), "ev"); err != nil {
		t.Fatal(err)
	}
	if got := hub.Published()[0].Channel; got != "mine#/#" {
		t.Error(got)
	}
}

// Values are immutable: what is added to one is not added to another.
func TestBroadcast_Immutable(t *testing.T) {
	t.Parallel()
	hub := redistest.NewHub()
	e := pubsub(t, hub, redisadapter.PubSubOptions{})
	base := e.To("a", "b", "c").To("d") // with room to append
	x, y := base.To("x"), base.To("y")
	_ = x.Except("z").Volatile().Compress(false)
	ctx := limited(t)
	if err := errors.Join(x.EmitContext(ctx, "ev"), y.EmitContext(ctx, "ev")); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"\x95\xa1a\xa1b\xa1c\xa1d\xa1x", "\x95\xa1a\xa1b\xa1c\xa1d\xa1y"} {
		got := string(hub.Published()[i].Payload)
		if !strings.Contains(got, want) || !strings.Contains(got, "flags\x80") || !strings.Contains(got, "except\x90") {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// Many goroutines may use one emitter, and what one of them emits stays in order.
func TestEmitter_Concurrent(t *testing.T) {
	t.Parallel()
	hub := redistest.NewHub()
	server := redisadapter.PubSub(hub.Driver(), redisadapter.PubSubOptions{})
	if err := server.Start(limited(t)); err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	open(t, server).Connect(t, "s")
	e := pubsub(t, hub, redisadapter.PubSubOptions{})
	const senders, each = 8, 100
	var all sync.WaitGroup
	for g := range senders {
		all.Go(func() {
			for i := range each {
				if err := e.To("s").Emit("ev", g, i); err != nil {
					t.Error(err)
				}
				if i%20 == 0 {
					if n, err := e.Count(limited(t)); n != 1 || err != nil {
						t.Error(n, err)
					}
				}
			}
		})
	}
	all.Wait()
	if err := e.EmitContext(limited(t), "end"); err != nil {
		t.Fatal(err)
	}
	var next [senders]byte
	for _, m := range hub.Published() {
		if m.Channel != "socket.io#/#s#" {
			continue
		}
		_, args, _ := bytes.Cut(m.Payload, []byte("\xa2ev")) // two small numbers follow
		if g, i := args[0], args[1]; next[g] != i {
			t.Fatalf("of sender %d came %d, not %d", g, i, next[g])
		}
		next[args[0]]++
	}
	if next != [senders]byte{each, each, each, each, each, each, each, each} {
		t.Error(next)
	}
}

// Redis is away: emits are queued, volatile ones dropped, waiting ones wait, questions fail at once.
func TestEmitter_Outage(t *testing.T) {
	t.Parallel()
	for name, f := range formats() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testOutage(t, f)
		})
	}
}

func testOutage(t *testing.T, f format) {
	hub := redistest.NewHub()
	server := f.server(hub.Driver())
	if err := server.Start(limited(t)); err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	s := open(t, server).Connect(t, "s")
	var faults atomic.Int32
	e := startEmitter(t, f, hub.Driver(), func(error) { faults.Add(1) })
	ctx := limited(t)
	if n, err := e.Count(ctx); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if err := e.Health(); err != nil {
		t.Fatal(err)
	}
	hub.Stop()
	if err := e.Emit("queued"); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "health is degraded", func() bool {
		return errors.Is(e.Health(), redisadapter.ErrUnavailable) && e.Stats().Gaps > 0 && faults.Load() > 0
	})
	testkit.Eventually(t, "volatile events are dropped", func() bool {
		before := e.Stats().Dropped
		if err := e.Volatile().Emit("volatile"); err != nil {
			t.Fatal(err)
		}
		return e.Stats().Dropped > before
	})
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if err := e.EmitContext(short, "waits"); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if _, err := e.Count(ctx); !errors.Is(err, redisadapter.ErrUnavailable) {
		t.Error(err)
	}
	if _, err := e.EmitWithAck(ctx, "q"); !errors.Is(err, redisadapter.ErrUnavailable) {
		t.Error(err)
	}
	if _, err := e.Of("/new").FetchSockets(ctx); !errors.Is(err, redisadapter.ErrUnavailable) {
		t.Error(err)
	}
	hub.Start()
	testkit.Eventually(t, "health is good", func() bool { return e.Health() == nil })
	if err := e.EmitContext(ctx, "after"); err != nil {
		t.Error(err)
	}
	testkit.Eventually(t, "all arrives", func() bool { return s.Has("queued") && s.Has("waits") && s.Has("after") })
	if n, err := e.Count(ctx); n != 1 || err != nil {
		t.Error(n, err)
	}
}

// While Redis is away the queue is bounded: the oldest go, and who waits for one is told.
func TestEmitter_QueueFull(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(h *redistest.Hub) (*emitter.Emitter, error){
		"pubsub": func(h *redistest.Hub) (*emitter.Emitter, error) {
			return emitter.PubSub(h.Driver(), redisadapter.PubSubOptions{PublishQueue: 10})
		},
		"sharded": func(h *redistest.Hub) (*emitter.Emitter, error) {
			return emitter.Sharded(h.Driver(), redisadapter.ShardedOptions{PublishQueue: 10})
		},
		"streams": func(h *redistest.Hub) (*emitter.Emitter, error) {
			return emitter.Streams(h.StreamDriver(), redisadapter.StreamsOptions{PublishQueue: 10})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hub := redistest.NewHub()
			hub.Stop()
			e, err := start(hub)
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			ctx := limited(t)
			if err := e.Emit("first"); err != nil {
				t.Fatal(err)
			}
			// The first is in the flusher's hand then, where it waits for Redis.
			testkit.Eventually(t, "the fault is seen", func() bool { return e.Health() != nil })
			waiting := begin(func() error { return e.EmitContext(ctx, "waits") })
			for done := false; !done; done = e.Stats().Dropped > 0 && len(waiting) > 0 {
				if err := e.Emit("more"); err != nil {
					t.Fatal(err)
				}
			}
			if err := <-waiting; !errors.Is(err, redisadapter.ErrDropped) {
				t.Error(err)
			}
			hub.Start()
			if err := e.EmitContext(ctx, "last"); err != nil {
				t.Error(err)
			}
		})
	}
}

// Nothing comes of a mute server: what came is given, in time, and who asks is told.
func TestEmitter_SilentServer(t *testing.T) {
	t.Parallel()
	hub := redistest.NewHub()
	sub, err := hub.Driver().Subscribe(t.Context(), nobody{})
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	if err := sub.Add(t.Context(), redisadapter.Topics{
		Channels: []string{"socket.io-request#/#"}, Sharded: []string{"socket.io#/#"},
	}); err != nil {
		t.Fatal(err)
	}
	for name, start := range map[string]func() (*emitter.Emitter, error){
		"pubsub": func() (*emitter.Emitter, error) {
			return emitter.PubSub(hub.Driver(), redisadapter.PubSubOptions{RequestsTimeout: 50 * time.Millisecond})
		},
		"sharded": func() (*emitter.Emitter, error) {
			return emitter.Sharded(hub.Driver(), redisadapter.ShardedOptions{RequestsTimeout: 50 * time.Millisecond})
		},
	} {
		e, err := start()
		if err != nil {
			t.Fatal(err)
		}
		var partial *adapter.Incomplete
		if _, err := e.FetchSockets(t.Context()); !errors.As(err, &partial) || partial.Expected != 1 || partial.Received != 0 {
			t.Error(name, err)
		}
		var missing *emitter.AckError
		if _, err := e.EmitWithAck(t.Context(), "q"); !errors.As(err, &missing) || !errors.Is(err, context.DeadlineExceeded) {
			t.Error(name, err)
		}
		if _, err := e.ServerSideEmitWithAck(t.Context(), "q"); !errors.As(err, &missing) || missing.Expected != 1 {
			t.Error(name, err)
		}
		// Closing ends what waits.
		before := len(hub.Published())
		waiting := begin(func() error {
			_, err := e.Count(limited(t))
			return err
		})
		testkit.Eventually(t, "the question is asked", func() bool { return len(hub.Published()) > before })
		if err := e.Close(); err != nil {
			t.Error(name, err)
		}
		if err := <-waiting; !errors.Is(err, emitter.ErrClosed) {
			t.Error(name, err)
		}
	}
}

// changing is a driver whose user is told when a question is published.
type changing struct {
	redisadapter.Driver

	asked func()
}

func (d *changing) Publish(ctx context.Context, batch []redisadapter.Publication) []error {
	errs := d.Driver.Publish(ctx, batch)
	for _, m := range batch {
		if m.Channel == "socket.io-request#/#" {
			d.asked()
		}
	}
	return errs
}

// Who is asked is who was there before the question: a server that begins after it is not waited for, and for one that has
// answered and ends another one still is.
func TestEmitWithAck_ServersChange(t *testing.T) {
	t.Parallel()
	channel := redisadapter.Topics{Channels: []string{"socket.io-request#/#"}}
	start := func(t *testing.T, hub *redistest.Hub, asked func()) *emitter.Emitter {
		t.Helper()
		e, err := emitter.PubSub(&changing{hub.Driver(), asked}, redisadapter.PubSubOptions{RequestsTimeout: testkit.Scale(time.Second)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := e.Close(); err != nil {
				t.Error(err)
			}
		})
		return e
	}
	subscribe := func(t *testing.T, hub *redistest.Hub) redisadapter.Subscription {
		t.Helper()
		sub, err := hub.Driver().Subscribe(t.Context(), nobody{})
		if err != nil {
			t.Fatal(err)
		}
		if err := sub.Add(t.Context(), channel); err != nil {
			t.Fatal(err)
		}
		return sub
	}
	t.Run("one begins", func(t *testing.T) {
		t.Parallel()
		hub := redistest.NewHub()
		var late redisadapter.Subscription
		e := start(t, hub, func() { late = subscribe(t, hub) })
		if _, err := e.EmitWithAck(t.Context(), "q"); err != nil {
			t.Error(err)
		}
		if err := late.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Run("one ends", func(t *testing.T) {
		t.Parallel()
		hub := redistest.NewHub()
		slow, quick := subscribe(t, hub), subscribe(t, hub)
		defer slow.Close()
		e := start(t, hub, func() { // the one answers that it has no socket and ends, and the other does not answer yet
			all := hub.Published()
			_, id, _ := strings.Cut(string(all[len(all)-1].Payload), "requestId\xa6") // a string of 6 characters
			hub.Inject("socket.io-response#/#", []byte(`{"type":8,"requestId":"`+id[:6]+`","clientCount":0}`))
			if err := quick.Close(); err != nil {
				t.Error(err)
			}
		})
		var missing *emitter.AckError
		if _, err := e.EmitWithAck(t.Context(), "q"); !errors.As(err, &missing) {
			t.Errorf("the other one was not waited for: %v", err)
		}
	})
}

// begin calls f on a goroutine that ends with it.
func begin(f func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	return done
}

// nobody hears everything and answers nothing.
type nobody struct{}

func (nobody) Message(string, string, string) {}
func (nobody) Lost(error)                     {}
func (nobody) Restored()                      {}

// What is malformed on the channel of answers is counted and reported, and the next good answer arrives.
func TestEmitter_PoisonedAnswers(t *testing.T) {
	t.Parallel()
	for name, f := range formats() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testPoison(t, f)
		})
	}
}

func testPoison(t *testing.T, f format) {
	hub := redistest.NewHub()
	server := f.server(hub.Driver())
	if err := server.Start(limited(t)); err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	open(t, server).Connect(t, "s")
	var faults atomic.Int32
	e := startEmitter(t, f, hub.Driver(), func(error) { faults.Add(1) })
	ctx := limited(t)
	if n, err := e.Count(ctx); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	poison := []string{
		"", "{", "{}", "null", "\xc0", "\xde\xff\xff", `{"requestId":1}`, `{"type":8,"requestId":"abcdef"}`,
		`{"type":8,"data":{"requestId":"abcdef"},"uid":"x","nsp":"/"}`, `{"type":3,"data":{},"uid":"x","nsp":"/"}`,
		`{"type":99}`, strings.Repeat("[", 100_000), strings.Repeat("\x91", 100_000), strings.Repeat("x", 1<<20),
	}
	// All of it comes in front of each answer, and so do parts of the answer.
	hub.Filter(func(m redisadapter.Publication) []redisadapter.Publication {
		question := strings.HasSuffix(m.Channel, "-request#/#") || m.Channel == "socket.io#/#"
		if question {
			return []redisadapter.Publication{m}
		}
		var out []redisadapter.Publication
		for _, p := range poison {
			out = append(out, redisadapter.Publication{Channel: m.Channel, Payload: []byte(p), Sharded: m.Sharded})
		}
		for n := range m.Payload {
			out = append(out, redisadapter.Publication{Channel: m.Channel, Payload: m.Payload[:n], Sharded: m.Sharded})
		}
		return append(out, m)
	})
	before := e.Stats().Malformed
	if n, err := e.Count(ctx); n != 1 || err != nil {
		t.Error(n, err)
	}
	if e.Stats().Malformed-before < uint64(len(poison)/2) || faults.Load() == 0 || faults.Load() > 10 {
		t.Errorf("%+v, %d faults", e.Stats(), faults.Load())
	}
}

func TestEmitter_Close(t *testing.T) {
	t.Parallel()
	hub := redistest.NewHub()
	e := pubsub(t, hub, redisadapter.PubSubOptions{})
	other := e.Of("/chat")
	const n = 1000
	for range n {
		if err := e.Emit("ev"); err != nil {
			t.Fatal(err)
		}
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if got := len(hub.Published()); got != n {
		t.Errorf("%d published", got)
	}
	first := func(_ any, err error) error { return err }
	for name, err := range map[string]error{
		"emit": e.Emit("ev"), "volatile": e.Volatile().Emit("ev"), "emit, waiting": other.EmitContext(t.Context(), "ev"), "health": e.Health(),
		"join": e.Join(t.Context(), "r"), "server side": e.ServerSideEmit(t.Context(), "ev"),
		"fetch": first(e.FetchSockets(t.Context())), "ack": first(e.EmitWithAck(t.Context(), "ev")),
		"server side, answer": first(e.ServerSideEmitWithAck(t.Context(), "ev")),
	} {
		if !errors.Is(err, emitter.ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := e.Close(); err != nil {
		t.Error("closed again:", err)
	}
}

// The answers of many namespaces are listened to, but not for ever.
func TestEmitter_ManyNamespaces(t *testing.T) {
	t.Parallel()
	hub := redistest.NewHub()
	e := pubsub(t, hub, redisadapter.PubSubOptions{})
	ctx := limited(t)
	name := func(i int) string { return "/n" + strings.Repeat("x", i) }
	for i := range 250 {
		if _, err := e.Of(name(i)).Count(ctx); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 50 {
		if _, err := e.Of("/more" + strings.Repeat("x", i)).Count(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if hub.Subscribers("socket.io-response#/n#") != 1 {
		t.Error("the first one is not listened to any more")
	}
	last := "socket.io-response#/more" + strings.Repeat("x", 49) + "#"
	testkit.Eventually(t, "the last one is not listened to any more", func() bool { return hub.Subscribers(last) == 0 })
}
