package sockeye_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/engineio"
	"github.com/sockeye-io/sockeye/internal/testkit"
)

func TestSocket_DisconnectReasons(t *testing.T) {
	t.Parallel()
	only := func(transport string) engineio.DialConfig {
		return engineio.DialConfig{Transports: []string{transport}}
	}
	tests := map[string]struct {
		cfg    sockeye.Config
		cause  func(b *bundle, p *peer, s *sockeye.Socket)
		want   sockeye.Reason
		client []string // packets before the end
		ends   bool     // whether the connection ends
	}{
		"client disconnects": {
			cause: func(_ *bundle, p *peer, _ *sockeye.Socket) { p.send("1") },
			want:  sockeye.ReasonClientDisconnect,
		},
		"server disconnects": {
			cause:  func(_ *bundle, _ *peer, s *sockeye.Socket) { _ = s.Disconnect(false) },
			want:   sockeye.ReasonServerDisconnect,
			client: []string{"1"},
		},
		"server disconnects and closes": {
			cause:  func(_ *bundle, _ *peer, s *sockeye.Socket) { _ = s.Disconnect(true) },
			want:   sockeye.ReasonServerDisconnect,
			client: []string{"1"}, ends: true,
		},
		"undecodable packet": {
			cause: func(_ *bundle, p *peer, _ *sockeye.Socket) { p.send("x") },
			want:  sockeye.ReasonForcedClose, ends: true,
		},
		"packet out of place": {
			cause: func(_ *bundle, p *peer, _ *sockeye.Socket) { p.send("0") },
			want:  sockeye.ReasonForcedClose, ends: true,
		},
		"client closes": {
			cause: func(_ *bundle, p *peer, _ *sockeye.Socket) { _ = p.conn.Close() },
			want:  sockeye.ReasonTransportClose, ends: true,
		},
		"server shuts down": {
			cause: func(b *bundle, _ *peer, _ *sockeye.Socket) { _ = b.Close() },
			want:  sockeye.ReasonShuttingDown, ends: true,
		},
	}
	for name, tt := range tests {
		for _, transport := range []string{"websocket", "polling"} {
			t.Run(name+"/"+transport, func(t *testing.T) {
				t.Parallel()
				b := setup(t, tt.cfg)
				c := sockets(b)
				p := b.dialWith(only(transport), "")
				p.join("/", "")
				s := get(t, "socket", c)
				reasons := make(chan sockeye.Reason, 4)
				s.OnDisconnecting(func(r sockeye.Reason) { reasons <- r })
				s.OnDisconnect(func(r sockeye.Reason) { reasons <- r })
				tt.cause(b, p, s)
				for _, what := range []string{"disconnecting", "disconnect"} {
					if r := get(t, what, reasons); r != tt.want {
						t.Errorf("%s with %q, want %q", what, r, tt.want)
					}
				}
				p.want(tt.client...)
				if tt.ends {
					p.ended()
				} else {
					p.join("/", "")
				}
			})
		}
	}
}

func TestSocket_PingTimeout(t *testing.T) {
	t.Parallel()
	b := setup(t, sockeye.Config{PingInterval: 50 * time.Millisecond, PingTimeout: testkit.Scale(time.Second)}) // CONNECT must come in time
	reasons := make(chan sockeye.Reason, 1)
	b.OnConnection(func(_ context.Context, s *sockeye.Socket) {
		s.OnDisconnect(func(r sockeye.Reason) { reasons <- r })
	})
	mute := rawWebSocket(t, b)
	mute.write(t, "40")
	if r := get(t, "disconnect", reasons); r != sockeye.ReasonPingTimeout {
		t.Errorf("reason %q", r)
	}
}

func TestSocket_DisconnectOrder(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var calls []string
	joined, done := make(chan struct{}), make(chan struct{})
	b.Of("/").OnRoom(func(e sockeye.RoomEvent) {
		if e.Room == "r" {
			calls = append(calls, e.Kind)
		}
	})
	b.OnConnection(func(ctx context.Context, s *sockeye.Socket) {
		_ = s.Join("r") // it fails once the client has left
		close(joined)
		s.OnDisconnecting(func(sockeye.Reason) {
			calls = append(calls, "disconnecting")
			if !slices.Equal(s.Rooms(), []string{s.ID(), "r"}) || ctx.Err() == nil || s.Connected() {
				t.Errorf("disconnecting: rooms %q, connected %v", s.Rooms(), s.Connected())
			}
		})
		s.OnDisconnect(func(sockeye.Reason) {
			calls = append(calls, "disconnect")
			if len(s.Rooms()) != 0 {
				t.Errorf("disconnect: rooms %q", s.Rooms())
			}
			close(done)
		})
	})
	b.On("slow", handlerFunc(func(ctx context.Context, _ *sockeye.Message) error {
		<-ctx.Done()
		if !errors.Is(context.Cause(ctx), sockeye.ReasonClientDisconnect) {
			t.Errorf("cause %v", context.Cause(ctx))
		}
		calls = append(calls, "slow")
		return nil
	}))
	b.On("bye", handlerFunc(func(context.Context, *sockeye.Message) error {
		calls = append(calls, "bye")
		return nil
	}))
	p, _ := b.connect()
	get(t, "room", joined)
	// What the client sent before it left is still handled.
	p.send(`2["slow"]`, `2["bye"]`, `1`)
	get(t, "disconnect", done)
	want := []string{"create-room", "join-room", "slow", "bye", "disconnecting", "leave-room", "delete-room", "disconnect"}
	if !slices.Equal(calls, want) {
		t.Errorf("calls %q, want %q", calls, want)
	}
}

func TestSocket_DisconnectFromAHandler(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ended := make(chan struct{})
	begun := make(chan struct{})
	b.On("leave", handlerFunc(func(ctx context.Context, m *sockeye.Message) error {
		<-begun // the next event is there
		s := sockeye.SocketFrom(ctx)
		s.OnDisconnect(func(sockeye.Reason) { close(ended) })
		if err := errors.Join(s.Disconnect(false), s.Disconnect(false)); err != nil {
			return err
		}
		if err := m.Ack(); !errors.Is(err, sockeye.ErrClosed) {
			t.Errorf("Ack after Disconnect: %v", err)
		}
		return nil
	}))
	b.On("after", handlerFunc(func(context.Context, *sockeye.Message) error {
		t.Error("an event after Disconnect is handled")
		return nil
	}))
	other := sockets(b.Of("/other"))
	p, _ := b.connect("/other", "/")
	p.send(`21["leave"]`, `2["after"]`, `0/third,`)
	p.want(`4/third,{"message":"Invalid namespace"}`)
	close(begun)
	get(t, "disconnect", ended)
	p.want(`1`)
	if !get(t, "the other socket", other).Connected() {
		t.Error("the other namespace is disconnected too")
	}
	p.join("/", "")
}

func TestSocket_DisconnectAllNamespaces(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.Of("/other")
	c := sockets(b)
	reasons := make(chan sockeye.Reason, 2)
	b.Of("/other").OnConnection(func(_ context.Context, s *sockeye.Socket) {
		s.OnDisconnect(func(r sockeye.Reason) { reasons <- r })
	})
	p, _ := b.connect("/", "/other")
	if err := get(t, "socket", c).Disconnect(true); err != nil {
		t.Fatal(err)
	}
	p.want("1", "1/other,")
	p.ended()
	if r := get(t, "disconnect", reasons); r != sockeye.ReasonServerDisconnect {
		t.Errorf("reason %q", r)
	}
}

func TestServer_CloseFromHandlers(t *testing.T) {
	t.Parallel()
	for name, closeIt := range map[string]func(s *sockeye.Server) error{
		"Close":    (*sockeye.Server).Close,
		"Shutdown": func(s *sockeye.Server) error { return s.Shutdown(context.Background()) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			closed := make(chan error, 2)
			reasons := make(chan sockeye.Reason, 2)
			b.OnConnection(func(_ context.Context, s *sockeye.Socket) {
				s.OnDisconnect(func(r sockeye.Reason) { reasons <- r })
			})
			b.On("close", handlerFunc(func(context.Context, *sockeye.Message) error {
				closed <- closeIt(b.Server)
				return nil
			}))
			p1, _ := b.connect()
			p2, _ := b.connect()
			p1.send(`2["close"]`)
			_ = p2.conn.Send([]byte(`2["close"]`), false) // the first may have closed it already
			for range 2 {
				if r := get(t, "disconnect", reasons); r != sockeye.ReasonShuttingDown {
					t.Errorf("reason %q", r)
				}
			}
			if err := get(t, "Close returns", closed); err != nil {
				t.Error(err)
			}
			p1.ended()
			p2.ended()
			if err := b.Close(); err != nil {
				t.Error(err)
			}
			if err := b.Health(); !errors.Is(err, sockeye.ErrClosed) {
				t.Errorf("Health: %v", err)
			}
		})
	}
}

func TestServer_ShutdownIsBounded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	release := make(chan struct{})
	begun := make(chan struct{})
	b.On("hang", handlerFunc(func(context.Context, *sockeye.Message) error {
		close(begun)
		<-release
		return nil
	}))
	p, _ := b.connect()
	p.send(`2["hang"]`)
	get(t, "the handler", begun)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := b.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown: %v", err)
	}
	p.ended()
	done := make(chan error)
	go func() { done <- b.Close() }()
	select {
	case <-done:
		t.Error("Close does not wait for the handler")
	case <-time.After(20 * time.Millisecond):
	}
	close(release)
	if err := get(t, "Close", done); err != nil {
		t.Error(err)
	}
}

func TestServer_ClosedServerRefuses(t *testing.T) {
	t.Parallel()
	b := setup(t)
	n := b.Of("/static")
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := b.Emit("e"); err == nil {
		t.Error("a closed server emits")
	}
	if err := b.Of("/new").Emit("e"); !errors.Is(err, sockeye.ErrClosed) {
		t.Errorf("a namespace of a closed server: %v", err)
	}
	if _, err := n.All().FetchSockets(t.Context()); err == nil {
		t.Error("a closed server fetches")
	}
	if _, err := engineio.Dial(t.Context(), b.url, engineio.DialConfig{}, &peer{t: t, in: make(chan message, 8)}); err == nil {
		t.Error("a closed server takes connections")
	}
	testkit.Eventually(t, "nobody is left", func() bool { return b.Conns() == 0 })
}

// A polling client that does not poll cannot be told, so its sockets end without waiting for the transport.
func TestSocket_ForcedServerClose(t *testing.T) {
	t.Parallel()
	b := setup(t)
	reasons := make(chan sockeye.Reason, 1)
	b.OnConnection(func(_ context.Context, s *sockeye.Socket) {
		s.OnDisconnect(func(r sockeye.Reason) { reasons <- r })
	})
	c := sockets(b)
	sid := b.park()
	get(t, "socket", c)
	b.post(sid, "42[]")
	if r := get(t, "disconnect", reasons); r != sockeye.ReasonForcedServerClose {
		t.Errorf("reason %q", r)
	}
}
