package client_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/client"
	"github.com/sockeye-io/sockeye/internal/testkit"
)

func TestSocket_QueueFull(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		queue   client.Queue
		retries int
	}{
		"packets": {queue: client.Queue{MaxPackets: 2}},
		"bytes":   {queue: client.Queue{MaxBytes: 30}}, // an event has 15
		"retries": {queue: client.Queue{MaxPackets: 2}, retries: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			var got journal
			b.On("line", sockeye.HandlerFunc(func(_ context.Context, m *sockeye.Message) error {
				var n int
				err := m.Scan(&n)
				got.add("%d", n)
				return errors.Join(err, m.Ack())
			}))
			s := b.manager(client.Config{Queue: tt.queue, Retries: tt.retries}).Socket("/")
			for n := range 2 {
				if err := s.Emit("line", 1000+n); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Emit("line", 1002); !errors.Is(err, client.ErrQueueFull) {
				t.Fatalf("a third event: %v", err)
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			waits := make(chan error, 1)
			go func() { waits <- s.EmitContext(ctx, "line", 9999) }() // ends with ctx
			cancel(errors.New("enough"))
			if err := <-waits; err == nil || err.Error() != "enough" {
				t.Errorf("EmitContext: %v", err)
			}
			go func() { waits <- s.EmitContext(within(t), "line", 1003) }() // ends when there is room
			connect(t, s)
			if err := <-waits; err != nil {
				t.Errorf("EmitContext: %v", err)
			}
			got.want(t, "1000", "1001", "1003")
		})
	}
}

// A client whose peer does not read is told so, and stays connected.
func TestSocket_QueueFullWhileConnected(t *testing.T) {
	t.Parallel()
	b := setup(t, sockeye.Config{Limits: sockeye.Limits{Inbox: 2}})
	var got journal
	release := make(chan struct{})
	b.On("line", sockeye.Func(func(text string) {
		select {
		case <-release:
		case <-t.Context().Done():
		}
		got.add("%d", len(text))
	}))
	s, err := client.Dial(within(t), b.direct, client.Config{Transports: onlyWebSocket, Queue: client.Queue{MaxBytes: 1 << 19}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // always nil
	text, sent := strings.Repeat("x", 1<<17), 0
	for ; ; sent++ {
		err := s.Emit("line", text)
		if errors.Is(err, client.ErrQueueFull) {
			break
		}
		if err != nil || sent > 1000 {
			t.Fatalf("%d: %v", sent, err)
		}
	}
	if err := s.Volatile().Emit("line", "dropped"); err != nil {
		t.Errorf("a volatile event: %v", err)
	}
	done := make(chan error, 1)
	go func() { done <- s.EmitContext(within(t), "line", "1") }() // ends when there is room
	close(release)
	if err := <-done; err != nil {
		t.Error(err)
	}
	testkit.Eventually(t, "all lines", func() bool { return len(got.all()) == sent+1 })
	if lines := got.all(); lines[sent] != "1" || lines[0] != strconv.Itoa(1<<17) {
		t.Errorf("got %v", lines)
	}
}

// Handlers that are slow push back on the server, and nothing is lost.
func TestSocket_SlowHandlers(t *testing.T) {
	t.Parallel()
	for name, transports := range map[string][]string{"polling": onlyPolling, "websocket": onlyWebSocket} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const total = 2000
			b := setup(t)
			release, done := make(chan struct{}), make(chan struct{})
			n := 0
			b.dial("", client.Config{Transports: transports, Inbox: 8, Setup: func(s *client.Socket) {
				s.On("line", client.Func(func(i int, _ string) {
					if n == 0 {
						<-release
					}
					if i != n {
						t.Errorf("%d instead of %d", i, n)
					}
					if n++; n == total {
						close(done)
					}
				}))
			}})
			peer := serverSocket(t, b)
			text := strings.Repeat("x", 1<<12)
			sent := make(chan error, 1)
			go func() { // ends when all is sent
				for i := range total {
					if err := peer.EmitContext(t.Context(), "line", i, text); err != nil {
						sent <- err
						return
					}
				}
				sent <- nil
			}()
			testkit.Eventually(t, "the server must wait", func() bool { return peer.Buffered() > 0 })
			close(release)
			if err := <-sent; err != nil {
				t.Fatal(err)
			}
			<-done
		})
	}
}

func TestSocket_Volatile(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var got journal
	b.On("line", sockeye.Func(func(n int) { got.add("%d", n) }))
	s := b.manager(client.Config{}).Socket("/")
	if err := s.Volatile().Emit("line", 1); err != nil {
		t.Errorf("while not connected: %v", err)
	}
	connect(t, s)
	ask(t, s, "echo")
	testkit.Eventually(t, "one that arrives", func() bool {
		if err := s.Volatile().Emit("line", 2); err != nil {
			t.Fatal(err)
		}
		return len(got.all()) > 0
	})
	if got.all()[0] != "2" {
		t.Errorf("got %v", got.all())
	}
}

func TestSocket_EncodingFails(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for name, cfg := range map[string]client.Config{"plain": {}, "retries": {Retries: 1}} {
		s := b.dial("", cfg)
		_, err := s.EmitWithAck(t.Context(), "f", func() {})
		if s.Emit("f", func() {}) == nil || err == nil {
			t.Errorf("%s: a function can be sent", name)
		}
		if err := s.EmitContext(t.Context(), "f", make(chan int)); err == nil {
			t.Errorf("%s: a channel can be sent", name)
		}
		ask(t, s, "echo")
	}
}

func TestManager_TryAllTransports(t *testing.T) {
	t.Parallel()
	b := setup(t, sockeye.Config{Transports: onlyPolling})
	ways := []string{"websocket", "polling"}
	if _, err := client.Dial(within(t), b.url, client.Config{Transports: ways}); err == nil {
		t.Error("WebSocket is not refused")
	}
	s := b.dial("", client.Config{Transports: ways, TryAllTransports: true})
	if tr := s.Manager().Transport(); tr != "polling" {
		t.Errorf("connected by %s", tr)
	}
}

func TestManager_RememberUpgrade(t *testing.T) {
	t.Parallel()
	for name, remember := range map[string]bool{"off": false, "on": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			opened := make(chan string, 2)
			b.OnConnection(func(_ context.Context, s *sockeye.Socket) {
				opened <- s.Handshake().Query["transport"]
			})
			s := b.manager(client.Config{RememberUpgrade: remember}).Socket("/")
			connect(t, s)
			testkit.Eventually(t, "the upgrade", func() bool { return s.Manager().Transport() == "websocket" })
			_ = s.Close() // always nil
			testkit.Eventually(t, "the end", func() bool { return b.Conns() == 0 })
			connect(t, s)
			if first, second := <-opened, <-opened; first != "polling" || (second == "websocket") != remember {
				t.Errorf("opened with %s, then %s", first, second)
			}
		})
	}
}
