package client_test

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"testing"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/client"
	"github.com/sockeye-io/sockeye/engineio"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/parser/msgpack"
)

func TestDial_EveryWay(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]client.Config{
		"upgrade":   {},
		"polling":   {Transports: onlyPolling},
		"websocket": {Transports: onlyWebSocket},
		"deflate":   {Transports: onlyWebSocket, PerMessageDeflate: true},
		"msgpack":   {Parser: msgpack.New()},
		"2.x":       {EIO3: true},
		"2.x poll":  {EIO3: true, Transports: onlyPolling},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, sockeye.Config{AllowEIO3: true, Parser: cfg.Parser})
			b.OnConnection(func(_ context.Context, s *sockeye.Socket) {
				_ = s.Emit("hello", []byte("raw"), s.ID()) // the test sees whether it comes
			})
			j := &journal{}
			var hello [2]any
			got := make(chan struct{})
			cfg.Setup = func(s *client.Socket) {
				s.On("hello", client.HandlerFunc(func(ctx context.Context, m *client.Message) error {
					if client.SocketFrom(ctx) != s {
						t.Error("another socket in the context")
					}
					defer close(got)
					var raw []byte
					err := m.Scan(&raw, &hello[1])
					hello[0] = string(raw)
					return err
				}))
			}
			s := b.dial("", cfg)
			<-got
			if hello != [2]any{"raw", s.ID()} || s.ID() == "" || !s.Connected() || !s.Active() {
				t.Errorf("hello %q, id %q", hello, s.ID())
			}
			want := []any{"text", 1.5, []byte("bytes"), map[string]any{"in": []byte{}}}
			if got := ask(t, s, "echo", "text", 1.5, []byte("bytes"), map[string]any{"in": []byte{}}); !reflect.DeepEqual(got, want) {
				t.Errorf("echo gives %v", got)
			}
			if name == "upgrade" {
				testkit.Eventually(t, "the upgrade", func() bool { return s.Manager().Transport() == "websocket" })
			}
			s.On("sum", client.Func(func(a, b int) int { return a + b }))
			r, err := serverSocket(t, b).EmitWithAck(within(t), "sum", 1, 2)
			var sum int
			if err = errors.Join(err, r.Scan(&sum)); err != nil || sum != 3 {
				t.Errorf("sum %d, %v", sum, err)
			}
			s.OnDisconnect(func(r client.Reason, _ error) { j.add("%s", string(r)) })
			for range 2 {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
			j.want(t, "io client disconnect")
			if err := s.Emit("late"); !errors.Is(err, client.ErrClosed) {
				t.Errorf("emit after Close: %v", err)
			}
			if err := s.Connect(t.Context()); !errors.Is(err, client.ErrClosed) {
				t.Errorf("connect after Close: %v", err)
			}
		})
	}
}

// serverSocket is the first socket of the server.
func serverSocket(t testing.TB, b *bundle) (s *sockeye.Socket) {
	t.Helper()
	testkit.Eventually(t, "a socket at the server", func() bool {
		for s = range b.Of("/").Sockets() {
			return true
		}
		return false
	})
	return s
}

func TestManager_Namespaces(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]client.Config{"": {}, "2.x": {EIO3: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, sockeye.Config{AllowEIO3: true})
			b.Of("/chat").On("where", sockeye.Func(func() string { return "chat" }))
			b.Of("/closed").Use(func(context.Context, *sockeye.Socket) error {
				return &sockeye.ConnectError{Message: "no entry", Data: map[string]any{"code": 7}}
			})
			m := b.manager(cfg)
			main, chat, shut := m.Socket("/"), m.Socket("chat"), m.Socket("/closed")
			if m.Socket("/chat") != chat || chat.Namespace() != "/chat" {
				t.Error("two sockets for one namespace")
			}
			connect(t, main)
			connect(t, chat)
			if got := ask(t, chat, "where"); !reflect.DeepEqual(got, []any{"chat"}) {
				t.Errorf("got %v", got)
			}
			var refusal *client.ConnectError
			var data struct{ Code int }
			if err := shut.Connect(within(t)); !errors.As(err, &refusal) {
				t.Fatalf("connect: %v", err)
			}
			if err := refusal.Data.Scan(&data); err != nil || data.Code != 7 || !cfg.EIO3 && refusal.Message != "no entry" {
				t.Errorf("refused with %q %+v, %v", refusal.Message, data, err)
			}
			if shut.Active() || shut.Connected() {
				t.Error("still trying")
			}
			if err := m.Socket("/nowhere").Connect(within(t)); !errors.As(err, &refusal) || refusal.Message != "Invalid namespace" {
				t.Errorf("unknown namespace: %v", err)
			}
			if n := b.Conns(); n != 1 {
				t.Errorf("%d connections", n)
			}
			// The connection ends with the last socket and comes back with the next one.
			_, _ = main.Close(), chat.Close()
			testkit.Eventually(t, "no connection", func() bool { return b.Conns() == 0 && m.Transport() == "" })
			connect(t, chat)
			if n := b.Conns(); n != 1 {
				t.Errorf("%d connections after opening again", n)
			}
			if connect(t, main); main.ID() == "" {
				t.Error("no id")
			}
		})
	}
}

// A socket that is closed and opened again while its CONNECT is not answered must not send a second one: the server
// would close the connection.
func TestSocket_ReopenedBeforeTheAnswer(t *testing.T) {
	t.Parallel()
	b := setup(t)
	entered, release := make(chan struct{}, 2), make(chan struct{})
	b.Of("/slow").Use(func(context.Context, *sockeye.Socket) error {
		entered <- struct{}{}
		<-release
		return nil
	})
	m := b.manager(client.Config{Transports: onlyWebSocket})
	j := &journal{}
	j.follow(m.Socket("/"))
	connect(t, m.Socket("/"))
	slow := m.Socket("/slow")
	if err := slow.Open(); err != nil {
		t.Fatal(err)
	}
	<-entered
	_ = slow.Close() // always nil
	done := make(chan error, 1)
	go func() { done <- slow.Connect(within(t)) }() // ends with the connect
	testkit.Eventually(t, "opened again", slow.Active)
	close(release)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	j.want(t, "connect false")
	testkit.Eventually(t, "one socket at the server", func() bool {
		n := 0
		for range b.Of("/slow").Sockets() {
			n++
		}
		return n == 1
	})
}

func TestSocket_Auth(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.Use(func(_ context.Context, s *sockeye.Socket) error {
		var auth struct{ Token int }
		if err := s.Auth(&auth); err != nil {
			return err
		}
		s.SetData(auth.Token)
		return nil
	})
	b.On("token", sockeye.HandlerFunc(func(ctx context.Context, m *sockeye.Message) error {
		return m.Ack(sockeye.SocketFrom(ctx).Data())
	}))
	if got := ask(t, b.dial("", client.Config{Auth: map[string]any{"token": 7}}), "token"); got[0] != 7.0 {
		t.Errorf("the value of Auth: %v", got)
	}
	n := 0
	m := b.manager(client.Config{AuthFunc: func(ctx context.Context, namespace string) (any, error) {
		if n++; n == 3 {
			return nil, errors.New("no token")
		}
		return map[string]any{"token": n}, ctx.Err()
	}})
	s := m.Socket("/")
	for want := 1.0; want <= 2; want++ {
		connect(t, s)
		if got := ask(t, s, "token"); got[0] != want {
			t.Errorf("connect %v has token %v", want, got)
		}
		_ = s.Close() // always nil
	}
	var ae *client.AuthError
	if err := s.Connect(within(t)); !errors.As(err, &ae) || ae.Err.Error() != "no token" {
		t.Errorf("a failing function: %v", err)
	}
	connect(t, s)
	if _, err := client.Dial(within(t), b.url, client.Config{Auth: 7}); !errors.As(err, &ae) {
		t.Errorf("auth that is no object: %v", err)
	}
}

func TestSocket_ServerDisconnects(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.Of("/other")
	m := b.manager(client.Config{Reconnect: quick})
	main, other := m.Socket("/"), m.Socket("/other")
	var one, two journal
	one.follow(main)
	two.follow(other)
	connect(t, other)
	connect(t, main)
	if err := serverSocket(t, b).Disconnect(false); err != nil {
		t.Fatal(err)
	}
	one.want(t, "connect false", "disconnect: io server disconnect")
	if main.Active() || main.ID() != "" || !other.Connected() {
		t.Error("the wrong one is disconnected")
	}
	connect(t, main)
	one.want(t, "connect false", "disconnect: io server disconnect", "connect false")
	two.want(t, "connect false")
}

func TestSocket_HandlersMayWaitAndClose(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.OnConnection(func(_ context.Context, s *sockeye.Socket) { _ = s.Emit("go") })
	result := make(chan error, 1)
	var s *client.Socket
	ended := make(chan context.Context, 1)
	m := b.manager(client.Config{})
	s = m.Socket("/")
	s.On("go", client.HandlerFunc(func(ctx context.Context, _ *client.Message) error {
		r, err := s.EmitWithAck(ctx, "echo", 7)
		var n int
		if err = errors.Join(err, r.Scan(&n)); err == nil && n != 7 {
			err = errors.New("another answer")
		}
		_ = m.Close() // always nil
		ended <- ctx
		result <- err
		return nil
	}))
	if err := s.Open(); err != nil {
		t.Fatal(err)
	}
	if err := <-result; err != nil {
		t.Error(err)
	}
	if ctx := <-ended; !errors.Is(context.Cause(ctx), client.ReasonClientDisconnect) {
		t.Errorf("the context ends with %v", context.Cause(ctx))
	}
	_ = m.Close() // now it waits
	testkit.Eventually(t, "the connection ends", func() bool { return b.Conns() == 0 })
}

func TestSocket_ErrorsOfHandlers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	told := make(chan error, 4)
	s := b.dial("", client.Config{OnError: func(err error) { told <- err }})
	s.On("panic", client.Func(func() { panic("boom") }))
	s.On("refuse", client.Func(func() (int, error) { return 0, &client.PeerError{Data: "no"} }))
	s.On("wrong", client.Func(func(int) {}))
	peer := serverSocket(t, b)
	if err := errors.Join(peer.Emit("panic"), peer.Emit("wrong", "text")); err != nil {
		t.Fatal(err)
	}
	var pe *client.PanicError
	var ee *client.EventError
	if err := <-told; !errors.As(err, &pe) || pe.Value != "boom" || !errors.As(err, &ee) || ee.Event != "panic" {
		t.Errorf("a panic: %v", err)
	}
	if err := <-told; !errors.As(err, &ee) || ee.Event != "wrong" {
		t.Errorf("an argument that does not fit: %v", err)
	}
	var text string
	if r, err := peer.EmitWithAck(within(t), "refuse"); err != nil || r.Scan(&text) != nil || text != "no" {
		t.Errorf("a PeerError gives %q, %v", text, err)
	}
	if len(told) != 0 {
		t.Errorf("told of %v", <-told)
	}
}

func TestSocket_CatchAll(t *testing.T) {
	t.Parallel()
	b := setup(t)
	s := b.dial("", client.Config{})
	var in, out journal
	off := s.OnAny(client.HandlerFunc(func(_ context.Context, m *client.Message) error {
		in.add("any %s", m.Event)
		return nil
	}))
	s.On("a", client.Func(func(n int) { in.add("a %d", n) }))
	s.OnAnyOutgoing(func(event string, args []any) { out.add("%s %v", event, args) })
	peer := serverSocket(t, b)
	if err := peer.Emit("a", 1); err != nil {
		t.Fatal(err)
	}
	in.want(t, "any a", "a 1")
	off()
	if err := peer.Emit("a", 2); err != nil {
		t.Fatal(err)
	}
	in.want(t, "any a", "a 1", "a 2")
	ask(t, s, "echo", 1)
	if err := errors.Join(s.Emit("x", 1, "b"), s.Volatile().Emit("y")); err != nil {
		t.Fatal(err)
	}
	out.want(t, "echo [1]", "x [1 b]", "y []")
	for _, name := range []string{"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"} {
		_, err := s.EmitWithAck(t.Context(), name)
		if !errors.Is(s.Emit(name), client.ErrReservedEvent) || !errors.Is(err, client.ErrReservedEvent) {
			t.Errorf("%s can be emitted", name)
		}
	}
}

func TestDial_Fails(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.Use(func(context.Context, *sockeye.Socket) error { return &sockeye.ConnectError{Message: "go away"} })
	var ce *client.ConnectError
	if s, err := client.Dial(within(t), b.url, client.Config{}); s != nil || !errors.As(err, &ce) || ce.Message != "go away" {
		t.Errorf("a refusal: %v", err)
	}
	var te *engineio.TransportError
	if _, err := client.Dial(within(t), "http://"+testkit.FreeAddr(t), client.Config{}); !errors.As(err, &te) {
		t.Errorf("nobody there: %v", err)
	}
	if _, err := client.Dial(within(t), b.url, client.Config{Path: "/other"}); !errors.As(err, &te) {
		t.Errorf("another path: %v", err)
	}
	b.proxy.Hang(testkit.ToServer)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough"))
	if _, err := client.Dial(ctx, b.url, client.Config{}); err == nil || err.Error() != "enough" {
		t.Errorf("a context that has ended: %v", err)
	}
	for name, c := range map[string]client.Config{
		"transport": {Transports: []string{"pigeon"}}, "two auths": {Auth: 1, AuthFunc: func(context.Context, string) (any, error) { return 1, nil }},
		"negative": {Timeout: -1}, "jitter": {Reconnect: client.Reconnect{Jitter: 2}}, "auth in protocol 4": {EIO3: true, Auth: 1},
	} {
		if _, err := client.New(b.url, c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for _, url := range []string{"", "http://", "ftp://a", "http://[::1", "http://a/path"} {
		if _, err := client.New(url, client.Config{}); err == nil {
			t.Errorf("%q: no error", url)
		}
	}
}

func TestSocket_TypedEvents(t *testing.T) {
	t.Parallel()
	type point struct {
		client.Args

		X, Y int
	}
	const (
		moved client.Event[point]         = "moved"
		sum   client.Call[[]int, int]     = "sum"
		blob  client.Event[[]byte]        = "blob"
		twice client.Call[string, string] = "twice"
	)
	b := setup(t)
	sum.Handle(b, func(_ context.Context, ns []int) (n int, err error) {
		for _, i := range ns {
			n += i
		}
		return n, nil
	})
	s := b.dial("", client.Config{})
	points, blobs := make(chan point, 1), make(chan []byte, 1)
	moved.On(s, func(_ context.Context, p point) error { points <- p; return nil })
	blob.On(s, func(_ context.Context, b []byte) error { blobs <- b; return nil })
	twice.Handle(s, func(_ context.Context, text string) (string, error) { return text + text, nil })
	if n, err := sum.Do(within(t), s, []int{1, 2, 3}); n != 6 || err != nil {
		t.Errorf("sum %d, %v", n, err)
	}
	peer := serverSocket(t, b)
	if err := errors.Join(moved.Emit(peer, point{X: 1, Y: 2}), blob.Emit(peer, []byte{0, 255})); err != nil {
		t.Fatal(err)
	}
	if p := <-points; p.X != 1 || p.Y != 2 {
		t.Errorf("moved to %v", p)
	}
	if got := <-blobs; !bytes.Equal(got, []byte{0, 255}) {
		t.Errorf("blob %v", got)
	}
	if got, err := twice.Do(within(t), peer, "ab"); got != "abab" || err != nil {
		t.Errorf("twice %q, %v", got, err)
	}
}
