package httpsession_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/httpsession"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/redisadapter/rueidisdriver"
)

// The sockets of a session end with it, on each server, and no others.
func TestSessions_EndAcrossTheCluster(t *testing.T) {
	t.Parallel()
	a, b := twoSites(t, httpsession.Config{CheckInterval: -1})
	a.handlers()
	b.handlers()
	c, _ := a.login(nil)
	other, _ := a.login(nil)
	one, two, three, stays := a.visit(c), a.visit(c), b.visit(c), b.visit(other)
	testkit.Eventually(t, "two servers", func() bool {
		n, err := a.io.Of("/").All().Count(t.Context())
		return err == nil && n == 4
	})
	if err := one.Emit("logout"); err != nil {
		t.Fatal(err)
	}
	one.wantGone()
	two.wantGone()
	three.wantGone()
	if got := stays.ask("name"); got != "no name" {
		t.Errorf("the other session: %v", got)
	}
	if _, err := b.dial(c); err == nil {
		t.Error("it connects again")
	}
}

// An end that nobody tells is found by asking, or by the next event.
func TestSessions_EndUnseen(t *testing.T) {
	t.Parallel()
	t.Run("by asking", func(t *testing.T) {
		t.Parallel()
		a, b := twoSites(t, httpsession.Config{CheckInterval: 200 * time.Millisecond})
		c, ref := a.login(nil)
		other, _ := a.login(nil)
		one, two, stays := a.visit(c), b.visit(c), b.visit(other)
		if err := a.backend.Delete(t.Context(), ref); err != nil { // as Express would
			t.Fatal(err)
		}
		one.wantGone()
		two.wantGone()
		if !stays.Connected() {
			t.Error("the other session has ended too")
		}
	})
	t.Run("by touching", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, parts{config: httpsession.Config{CheckInterval: -1, TouchInterval: 100 * time.Millisecond}})
		c, ref := s.login(nil)
		v := s.visit(c)
		if err := s.backend.Delete(t.Context(), ref); err != nil {
			t.Fatal(err)
		}
		v.wantGone()
	})
	t.Run("by an event", func(t *testing.T) {
		t.Parallel()
		for _, lazy := range []bool{false, true} {
			a, b := twoSites(t, httpsession.Config{CheckInterval: -1, Lazy: lazy})
			var ran atomic.Int32
			a.io.On("event", sockeye.HandlerFunc(func(ctx context.Context, _ *sockeye.Message) error {
				if _, _, err := name.Get(ctx); err == nil {
					ran.Add(1)
				}
				return nil
			}))
			c, ref := a.login(nil)
			one, two := a.visit(c), b.visit(c)
			testkit.Eventually(t, "two servers", func() bool {
				n, err := a.io.Of("/").All().Count(t.Context())
				return err == nil && n == 2
			})
			if err := a.backend.Delete(t.Context(), ref); err != nil {
				t.Fatal(err)
			}
			if err := one.Emit("event"); err != nil {
				t.Fatal(err)
			}
			one.wantGone()
			two.wantGone()
			if ran.Load() != 0 {
				t.Error("the handler has had a session")
			}
		}
	})
}

// swapped is a Store that lets a test act just before a write.
type swapped struct {
	*httpsession.Memory
	mu     sync.Mutex
	before func(id string)
}

func (s *swapped) Swap(ctx context.Context, id string, old, data []byte, ttl time.Duration) (bool, error) {
	s.mu.Lock()
	f := s.before
	s.before = nil
	s.mu.Unlock()
	if f != nil {
		f(id)
	}
	return s.Memory.Swap(ctx, id, old, data, ttl)
}

// A session that ends while a handler runs is not written back to life.
func TestSessions_EndWhileHandled(t *testing.T) {
	t.Parallel()
	store := &swapped{Memory: httpsession.NewMemory()}
	s := newSite(t, parts{store: store})
	s.io.On("rename", sockeye.HandlerFunc(func(ctx context.Context, _ *sockeye.Message) error { return name.Set(ctx, "x") }))
	c, ref := s.login(nil)
	v := s.visit(c)
	fired := make(chan struct{})
	store.mu.Lock()
	store.before = func(id string) {
		close(fired)
		_ = store.Delete(context.Background(), id) // always nil
	}
	store.mu.Unlock()
	if err := v.Emit("rename"); err != nil {
		t.Fatal(err)
	}
	<-fired
	v.wantGone()
	if _, err := store.Get(t.Context(), ref.Key); !errors.Is(err, httpsession.ErrNoSession) {
		t.Errorf("it is there: %v", err)
	}
}

// vanishing is a Store whose sessions end when they have been read once.
type vanishing struct{ *httpsession.Memory }

func (s vanishing) Get(ctx context.Context, id string) ([]byte, error) {
	data, err := s.Memory.Get(ctx, id)
	_ = s.Delete(ctx, id) // always nil
	return data, err
}

// A session that ends after a socket was let in, and before it is in the room of the session, takes it along.
func TestSessions_EndWhileConnecting(t *testing.T) {
	t.Parallel()
	s := newSite(t, parts{store: vanishing{httpsession.NewMemory()}, config: httpsession.Config{CheckInterval: -1}})
	c, _ := s.login(nil)
	if v, err := s.dial(c); err == nil {
		v.wantGone()
	}
	s = newSite(t, parts{store: vanishing{httpsession.NewMemory()}, config: httpsession.Config{CheckInterval: -1, Anonymous: true}})
	s.handlers()
	c, ref := s.login(map[string]any{"name": "ann"})
	v := s.visit(c)
	if got := v.ask("name"); got != "nobody" {
		t.Errorf("name %v", got)
	}
	if n, err := s.io.To(httpsession.Room(ref.Key)).Count(within(t)); err != nil || n != 0 {
		t.Errorf("%d in the room, %v", n, err)
	}
}

// told is a writer that tells of what is written.
type told struct {
	what string
	seen chan struct{}
	once sync.Once
}

func (w *told) Write(b []byte) (int, error) {
	if strings.Contains(string(b), w.what) {
		w.once.Do(func() { close(w.seen) })
	}
	return len(b), nil
}

// While Redis does not answer nobody is disconnected, and afterwards all goes on.
func TestSessions_RedisPaused(t *testing.T) {
	t.Parallel()
	redis := testkit.StartRedis(t)
	d, err := rueidisdriver.FromURL(redis.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeDriver(t, d) })
	log := &told{what: "sessions cannot be looked after", seen: make(chan struct{})}
	s := newSite(t, parts{store: httpsession.Redis(d, "sess:"), config: httpsession.Config{
		CheckInterval: 100 * time.Millisecond, Timeout: 3 * time.Second, Logger: slog.New(slog.NewTextHandler(log, nil)),
	}})
	s.handlers()
	c, ref := s.login(map[string]any{"name": "ann"})
	v := s.visit(c)
	redis.Pause()
	select {
	case <-log.seen:
	case <-within(t).Done():
		t.Fatal("the keeper has not noticed")
	}
	redis.Resume()
	testkit.Eventually(t, "sessions are read again", func() bool {
		_, err := s.backend.Load(t.Context(), ref)
		return err == nil
	})
	if got := v.ask("name"); got != "ann" {
		t.Errorf("name %v", got)
	}
	select {
	case r := <-v.gone:
		t.Errorf("disconnected for %s", r)
	default:
	}
}
