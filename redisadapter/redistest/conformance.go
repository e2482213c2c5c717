package redistest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/redisadapter"
)

// Open makes the driver under test for a Redis at host:port. The suite closes it.
type Open func(t *testing.T, addr string) redisadapter.StreamDriver

// Drivers is what each driver must do, with a real redis-server that the suite starts.
func Drivers(t *testing.T, open Open) {
	t.Helper()
	for name, f := range map[string]func(*testing.T, Open){
		"publish and subscribe": publishSubscribe, "many topics": manyTopics, "sharded": sharded, "restart": restart,
		"killed": killed, "mute": mute, "closed": closed, "entries": entries, "follow": follow, "keys": keys,
		"refused": refused, "commands": commands,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, func(t *testing.T, addr string) redisadapter.StreamDriver {
				t.Helper()
				d := open(t, addr)
				t.Cleanup(func() {
					if err := d.Close(); err != nil {
						t.Error(err)
					}
				})
				return d
			})
		})
	}
}

// Recorder is a Receiver that notes everything.
type Recorder struct {
	mu       sync.Mutex
	messages []string
	lost     []error
	restored int
}

// Message notes "pattern channel payload".
func (r *Recorder) Message(pattern, channel, payload string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.messages = append(r.messages, pattern+" "+channel+" "+payload)
}

// Lost notes the error.
func (r *Recorder) Lost(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lost = append(r.lost, err)
}

// Restored counts.
func (r *Recorder) Restored() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.restored++
}

// Got gives the messages.
func (r *Recorder) Got() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.messages)
}

// Losses tells how often Lost and Restored were called.
func (r *Recorder) Losses() (lost, restored int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.lost), r.restored
}

// Errs gives the errors of Lost.
func (r *Recorder) Errs() []error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.lost)
}

func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Scale(10*time.Second))
	t.Cleanup(cancel)
	return ctx
}

func subscribe(t *testing.T, d redisadapter.Driver, topics redisadapter.Topics) (*Recorder, redisadapter.Subscription) {
	t.Helper()
	r := &Recorder{}
	s, err := d.Subscribe(bounded(t), r)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Add(bounded(t), topics); err != nil {
		t.Fatal(err)
	}
	return r, s
}

func publish(t *testing.T, d redisadapter.Driver, batch ...redisadapter.Publication) {
	t.Helper()
	if errs := d.Publish(bounded(t), batch); errs != nil {
		t.Fatal(errs)
	}
}

func to(channels ...string) []redisadapter.Publication {
	var batch []redisadapter.Publication
	for _, c := range channels {
		batch = append(batch, redisadapter.Publication{Channel: c})
	}
	return batch
}

func expect(t *testing.T, r *Recorder, want ...string) {
	t.Helper()
	testkit.Eventually(t, "the messages", func() bool { return len(r.Got()) >= len(want) })
	if got := r.Got(); !slices.Equal(got, want) {
		t.Errorf("messages %q, want %q", got, want)
	}
}

func publishSubscribe(t *testing.T, open Open) {
	d := open(t, testkit.StartRedis(t).Addr)
	if err := d.Connect(bounded(t)); err != nil {
		t.Fatal(err)
	}
	both := redisadapter.Topics{Channels: []string{"x"}, Patterns: []string{`n-\**`}}
	r, s := subscribe(t, d, both)
	if n, err := d.Subscribers(bounded(t), "x"); n != 1 || err != nil {
		t.Errorf("%d subscribers, %v", n, err)
	}
	payload := "\x00\xff binary"
	publish(t, d,
		redisadapter.Publication{Channel: "x", Payload: []byte(payload)},
		redisadapter.Publication{Channel: "n-*y"}, redisadapter.Publication{Channel: "other"},
		redisadapter.Publication{Channel: "x", Payload: []byte("2")})
	expect(t, r, " x "+payload, `n-\** n-*y `, " x 2")
	if err := s.Remove(bounded(t), both); err != nil {
		t.Fatal(err)
	}
	if n, err := d.Subscribers(bounded(t), "x"); n != 0 || err != nil {
		t.Errorf("%d subscribers, %v", n, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Add(bounded(t), both); err == nil {
		t.Error("Add after Close: no error")
	}
}

// More topics than fit into one command, added and removed at the same time.
func manyTopics(t *testing.T, open Open) {
	d := open(t, testkit.StartRedis(t).Addr)
	r, s := subscribe(t, d, redisadapter.Topics{})
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() { // ends when its topics are there
			var stay, go1 redisadapter.Topics
			for i := range 400 {
				stay.Channels = append(stay.Channels, fmt.Sprint("stay", g, "-", i))
				go1.Channels = append(go1.Channels, fmt.Sprint("go", g, "-", i))
				go1.Sharded = append(go1.Sharded, fmt.Sprint("go", g, "-", i))
			}
			for _, step := range []error{
				s.Add(bounded(t), stay), s.Add(bounded(t), go1), s.Remove(bounded(t), go1),
			} {
				if step != nil {
					t.Error(step)
				}
			}
		})
	}
	wg.Wait()
	publish(t, d, to("go0-0", "stay0-0", "go3-399", "stay3-399")...)
	publish(t, d, redisadapter.Publication{Channel: "go0-0", Sharded: true}, redisadapter.Publication{Channel: "stay2-7"})
	expect(t, r, " stay0-0 ", " stay3-399 ", " stay2-7 ")
}

func sharded(t *testing.T, open Open) {
	d := open(t, testkit.StartRedis(t).Addr)
	topics := redisadapter.Topics{Sharded: []string{"c", "{d}#/#"}, Channels: []string{"c"}}
	r, s := subscribe(t, d, topics)
	if n, err := d.ShardSubscribers(bounded(t), "c"); n != 1 || err != nil {
		t.Errorf("%d subscribers, %v", n, err)
	}
	publish(t, d,
		redisadapter.Publication{Channel: "c", Payload: []byte("1"), Sharded: true},
		redisadapter.Publication{Channel: "c", Payload: []byte("2")},
		redisadapter.Publication{Channel: "{d}#/#", Payload: []byte("3"), Sharded: true},
		redisadapter.Publication{Channel: "{d}#/#", Payload: []byte("4")})
	expect(t, r, " c 1", " c 2", " {d}#/# 3")
	if err := s.Remove(bounded(t), redisadapter.Topics{Sharded: []string{"c"}}); err != nil {
		t.Fatal(err)
	}
	if n, err := d.ShardSubscribers(bounded(t), "c"); n != 0 || err != nil {
		t.Errorf("%d subscribers, %v", n, err)
	}
}

func restart(t *testing.T, open Open) {
	redis := testkit.StartRedis(t)
	d := open(t, redis.Addr)
	r, s := subscribe(t, d, redisadapter.Topics{
		Channels: []string{"a", "gone"}, Patterns: []string{"p*"}, Sharded: []string{"s"},
	})
	if err := d.Connect(bounded(t)); err != nil {
		t.Fatal(err)
	}
	redis.Stop()
	testkit.Eventually(t, "the loss is told", func() bool { lost, _ := r.Losses(); return lost == 1 })
	if err := s.Add(bounded(t), redisadapter.Topics{Channels: []string{"b"}}); err == nil {
		t.Error("Add without a connection: no error")
	}
	if err := s.Remove(bounded(t), redisadapter.Topics{Channels: []string{"gone"}}); err == nil {
		t.Error("Remove without a connection: no error")
	}
	testkit.Eventually(t, "a publication that is certainly not sent", func() bool {
		errs := d.Publish(bounded(t), to("a"))
		return len(errs) == 1 && errors.Is(errs[0], redisadapter.ErrNotSent) && strings.Contains(errs[0].Error(), redis.Addr)
	})
	redis.Start()
	testkit.Eventually(t, "all is subscribed again", func() bool { _, restored := r.Losses(); return restored == 1 })
	publish(t, d, append(to("a", "b", "gone", "p1"), redisadapter.Publication{Channel: "s", Sharded: true})...)
	expect(t, r, " a ", " b ", "p* p1 ", " s ")
	if lost, restored := r.Losses(); lost != 1 || restored != 1 {
		t.Errorf("lost %d times, restored %d times", lost, restored)
	}
}

// Redis ends the connection that subscribes, and that alone: what is published meanwhile is lost, and that is told.
func killed(t *testing.T, open Open) {
	redis := testkit.StartRedis(t)
	d := open(t, redis.Addr)
	r, _ := subscribe(t, d, redisadapter.Topics{Channels: []string{"a"}})
	for round := 1; round <= 3; round++ {
		redis.Do("CLIENT", "KILL", "TYPE", "pubsub")
		testkit.Eventually(t, "loss and return are told", func() bool {
			lost, restored := r.Losses()
			return lost == round && restored == round
		})
		publish(t, d, to("a")...)
		testkit.Eventually(t, "the message", func() bool { return len(r.Got()) == round })
	}
	// The connection that publishes is found to be lost before anything is sent.
	redis.Do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
	testkit.Eventually(t, "it publishes", func() bool { return d.Publish(bounded(t), to("a")) == nil })
	testkit.Eventually(t, "the message", func() bool { return len(r.Got()) == 4 })
}

// Everything ends with its context, or with the driver, also where nobody answers.
func mute(t *testing.T, open Open) {
	l, err := net.Listen("tcp4", "127.0.0.1:0") // accepts, by the kernel, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	addr := l.Addr().String()
	d := open(t, addr)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := d.Connect(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), addr) {
		t.Errorf("Connect: %v", err)
	}
	if _, err := d.Subscribers(ctx, "c"); err == nil {
		t.Error("Subscribers: no error")
	}
	if _, err := d.Subscribe(ctx, &Recorder{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Subscribe: %v", err)
	}
	if _, err := d.Read(ctx, "s", "0", 1, time.Second); err == nil {
		t.Error("Read: no error")
	}
	if errs := d.Publish(ctx, to("a")); len(errs) != 1 || errs[0] == nil {
		t.Errorf("Publish: %v", errs)
	}
}

func closed(t *testing.T, open Open) {
	d := open(t, testkit.StartRedis(t).Addr)
	_, s := subscribe(t, d, redisadapter.Topics{Channels: []string{"a"}})
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := d.Connect(bounded(t)); !errors.Is(err, redisadapter.ErrClosed) {
		t.Errorf("Connect: %v", err)
	}
	if errs := d.Publish(bounded(t), to("a")); len(errs) != 1 || !errors.Is(errs[0], redisadapter.ErrClosed) {
		t.Errorf("Publish: %v", errs)
	}
	if _, err := d.Subscribe(bounded(t), &Recorder{}); !errors.Is(err, redisadapter.ErrClosed) {
		t.Errorf("Subscribe: %v", err)
	}
	if err := s.Add(bounded(t), redisadapter.Topics{Channels: []string{"b"}}); err == nil {
		t.Error("Add: no error")
	}
	if _, err := d.Read(bounded(t), "s", "0", 1, time.Second); err == nil {
		t.Error("Read: no error")
	}
	if err := d.Close(); err != nil {
		t.Errorf("Close again: %v", err)
	}
}
