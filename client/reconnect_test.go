package client_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/client"
	"github.com/sockeye-io/sockeye/internal/testkit"
)

// nobody refuses every connection.
func nobody(context.Context, string, string) (net.Conn, error) {
	return nil, errors.New("nobody there")
}

func TestManager_BacksOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var events journal
		m, err := client.New("http://a.test", client.Config{
			DialContext: nobody, Reconnect: client.Reconnect{Attempts: 5, Jitter: -1},
		})
		if err != nil {
			t.Fatal(err)
		}
		note := func(format string, args ...any) {
			events.add("%v "+format, append([]any{time.Since(start)}, args...)...)
		}
		m.OnError(func(error) { note("error") })
		m.OnReconnectAttempt(func(n int) { note("attempt %d", n) })
		m.OnReconnectError(func(error) { note("reconnect error") })
		m.OnReconnectFailed(func() { note("failed") })
		m.OnReconnect(func(int) { note("reconnect") })
		s := m.Socket("/")
		errs := 0
		s.OnConnectError(func(error) { errs++ })
		if err := s.Connect(t.Context()); !errors.Is(err, client.ErrReconnectFailed) {
			t.Errorf("connect: %v", err)
		}
		synctest.Wait()
		events.want(
			t, "0s error",
			"1s attempt 1", "1s error", "1s reconnect error", "3s attempt 2", "3s error", "3s reconnect error",
			"7s attempt 3", "7s error", "7s reconnect error", "12s attempt 4", "12s error", "12s reconnect error",
			"17s attempt 5", "17s error", "17s reconnect error", "17s failed",
		)
		if errs != 6 {
			t.Errorf("%d connect errors", errs)
		}
		// It begins anew when asked to.
		if err := s.Open(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if got := events.all(); got[len(got)-1] != "18s reconnect error" {
			t.Errorf("after Open: %q", got[17:])
		}
		// Nothing is tried once nobody wants it.
		_ = s.Close() // always nil
		n := len(events.all())
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := events.all(); len(got) != n {
			t.Errorf("after Close: %q", got[n:])
		}
		_ = m.Close() // always nil
	})
}

func TestManager_NoReconnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, err := client.New("http://a.test", client.Config{DialContext: nobody, Reconnect: client.Reconnect{Disabled: true}})
		if err != nil {
			t.Fatal(err)
		}
		attempts := 0
		m.OnReconnectAttempt(func(int) { attempts++ })
		if err := m.Socket("/").Connect(t.Context()); err == nil || errors.Is(err, client.ErrReconnectFailed) {
			t.Errorf("connect: %v", err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if attempts != 0 {
			t.Errorf("%d attempts", attempts)
		}
		_ = m.Close() // always nil
	})
}

func TestManager_ConnectTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		silent := func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		_, err := client.Dial(t.Context(), "http://a.test", client.Config{DialContext: silent})
		if d := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || d != 20*time.Second {
			t.Errorf("after %v: %v", d, err)
		}
		// A Connect that ends leaves the socket trying; Close ends it while an attempt is under way.
		m, err := client.New("http://a.test", client.Config{DialContext: silent})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		s := m.Socket("/")
		if err := s.Connect(ctx); !errors.Is(err, context.DeadlineExceeded) || !s.Active() {
			t.Errorf("connect: %v", err)
		}
		_ = m.Close() // always nil
	})
}

func TestSocket_ComesBack(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]client.Config{
		"polling": {Transports: onlyPolling}, "websocket": {Transports: onlyWebSocket}, "2.x": {EIO3: true, Transports: onlyWebSocket},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, sockeye.Config{AllowEIO3: true})
			var got, j, k journal
			b.On("line", sockeye.Func(func(n int) { got.add("%d", n) }))
			b.Of("/other").On("line", sockeye.Func(func(n int) { got.add("other %d", n) }))
			cfg.Reconnect = quick
			m := b.manager(cfg)
			m.OnReconnect(func(int) { k.add("reconnect") })
			s, other := m.Socket("/"), m.Socket("/other")
			// What is emitted before the first connect is kept too.
			if err := s.Emit("line", 0); err != nil {
				t.Fatal(err)
			}
			connect(t, s)
			connect(t, other)
			got.want(t, "0")
			s.OnDisconnect(func(client.Reason, error) { j.add("gone") })
			s.OnConnect(func() { j.add("back") })
			first := s.ID()
			b.proxy.Cut()
			j.want(t, "gone")
			for i := range 3 {
				if err := s.Emit("line", i+1); err != nil {
					t.Fatal(err)
				}
			}
			if err := errors.Join(s.Volatile().Emit("line", 9), other.Emit("line", 4)); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			defer cancel()
			_, err := s.EmitWithAck(ctx, "line", 8)
			if _, ok := errors.AsType[*client.AckError](err); !ok || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("an acknowledgement while offline: %v", err)
			}
			answer := make(chan error, 1)
			go func() { // ends with the answer
				_, err := s.EmitWithAck(within(t), "echo", 1)
				answer <- err
			}()
			testkit.Eventually(t, "an attempt", func() bool { return b.proxy.Connections() > 3 })
			b.proxy.Heal()
			j.want(t, "gone", "back")
			k.want(t, "reconnect")
			if err := <-answer; err != nil {
				t.Errorf("an acknowledgement that was asked for while offline: %v", err)
			}
			testkit.Eventually(t, "five lines", func() bool { return len(got.all()) == 5 })
			var mine []string
			for _, l := range got.all() {
				if l != "other 4" {
					mine = append(mine, l)
				}
			}
			if fmt.Sprint(mine) != "[0 1 2 3]" {
				t.Errorf("got %v", got.all())
			}
			if s.ID() == first || s.Recovered() {
				t.Error("the same socket as before")
			}
		})
	}
}

// An acknowledgement of an event that was sent cannot come any more when the connection is lost.
func TestSocket_AckEndsWithTheConnection(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.On("mute", sockeye.HandlerFunc(func(context.Context, *sockeye.Message) error { return nil }))
	s := b.dial("", client.Config{Reconnect: quick})
	answer := make(chan error, 1)
	go func() { // ends with the connection
		_, err := s.EmitWithAck(within(t), "mute")
		answer <- err
	}()
	ask(t, s, "echo")
	b.proxy.Cut()
	err := <-answer
	if reason := client.Reason(""); !errors.As(err, &reason) || !errors.Is(err, client.ErrClosed) {
		t.Errorf("got %v", err)
	}
	if _, ok := errors.AsType[*client.AckError](err); !ok {
		t.Errorf("no AckError: %v", err)
	}
}

func TestSocket_Recovery(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]client.Config{
		"polling": {Transports: onlyPolling}, "websocket": {Transports: onlyWebSocket},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// Of a polling connection that is cut between polls the server learns by the heartbeat.
			b := setup(t, sockeye.Config{
				Recovery: &sockeye.Recovery{}, PingInterval: time.Second, PingTimeout: testkit.Scale(1500 * time.Millisecond),
			})
			var j journal
			cfg.Reconnect = quick
			cfg.Setup = func(s *client.Socket) {
				s.OnConnect(func() { j.add("connect %t", s.Recovered()) })
				s.OnDisconnect(func(client.Reason, error) { j.add("disconnect") })
				s.On("news", client.Func(func(n int) { j.add("news %d", n) }))
			}
			cfg.Auth = map[string]any{"token": 1}
			s := b.dial("", cfg)
			b.Use(func(_ context.Context, s *sockeye.Socket) error {
				var auth struct{ Token int }
				if err := s.Auth(&auth); err != nil || auth.Token != 1 {
					t.Errorf("token %d, %v", auth.Token, err)
				}
				return nil
			})
			want := []string{"connect false"}
			for round := range 2 {
				first := s.ID()
				if err := b.Emit("news", round); err != nil {
					t.Fatal(err)
				}
				want = append(want, fmt.Sprintf("news %d", round))
				j.want(t, want...)
				b.proxy.Cut()
				testkit.Eventually(t, "the server notices", func() bool { return b.Conns() == 0 })
				if err := errors.Join(b.Emit("news", 10), b.Emit("news", 11)); err != nil {
					t.Fatal(err)
				}
				b.proxy.Heal()
				want = append(want, "disconnect", "news 10", "news 11", "connect true")
				j.want(t, want...)
				if s.ID() != first || !s.Recovered() {
					t.Errorf("round %d: id %q, before %q", round, s.ID(), first)
				}
			}
		})
	}
}
