package sockeye_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/engineio"
	"github.com/sockeye-io/sockeye/internal/testkit"
)

func TestNamespace_Middleware(t *testing.T) {
	t.Parallel()
	b := setup(t)
	n := b.Of("/m")
	n.Use(func(_ context.Context, s *sockeye.Socket) error {
		var auth struct{ As string }
		if err := s.Auth(&auth); err != nil {
			return err
		}
		switch auth.As {
		case "plain":
			return errors.New("plain text")
		case "data":
			return &sockeye.ConnectError{Message: "with data", Data: map[string]int{"code": 401}}
		case "wrapped":
			return fmt.Errorf("not shown: %w", &sockeye.ConnectError{Message: "shown"})
		case "panic":
			panic("at the client")
		case "cannot be encoded":
			return &sockeye.ConnectError{Message: "m", Data: func() {}}
		}
		s.SetData("from the first")
		return s.Join("middle")
	})
	n.Use(func(_ context.Context, s *sockeye.Socket) error {
		if s.Connected() || s.Data() != "from the first" {
			t.Error("the second middleware does not come after the first")
		}
		return s.Emit("early", s.ID())
	})
	p := b.dial()
	tests := []struct{ as, want string }{
		{"plain", `{"message":"plain text"}`},
		{"data", `{"message":"with data","data":{"code":401}}`},
		{"wrapped", `{"message":"shown"}`},
		{"panic", `{"message":"Internal error"}`},
		{"cannot be encoded", `{"message":"m"}`},
	}
	for _, tt := range tests {
		p.send(`0/m,{"As":"` + tt.as + `"}`)
		p.want(`4/m,` + tt.want)
	}
	if got := connected(n); got != 0 {
		t.Errorf("%d sockets in after refusals", got)
	}
	p.send(`0/m,{"As":"friend"}`)
	early := p.next()
	id := p.sid("0/m,")
	if want := `2/m,["early","` + id + `"]`; early != want {
		t.Errorf("first %q, want %q", early, want)
	}
	s, ok := n.Socket(id)
	if !ok || !slices.Equal(s.Rooms(), []string{id, "middle"}) {
		t.Error("the rooms of the middleware are lost")
	}
	if in := b.faults.panics(); !slices.Equal(in, []string{"connection middleware"}) {
		t.Errorf("panics in %q", in)
	}
}

func TestNamespace_MiddlewareEndsWithTheConnection(t *testing.T) {
	t.Parallel()
	b := setup(t)
	causes := make(chan error, 1)
	begun := make(chan struct{})
	n := b.Of("/m")
	n.Use(func(ctx context.Context, s *sockeye.Socket) error {
		if err := s.Join("r"); err != nil {
			return err
		}
		close(begun)
		<-ctx.Done()
		causes <- context.Cause(ctx)
		return nil
	})
	n.OnConnection(func(context.Context, *sockeye.Socket) { t.Error("connected") })
	p := b.dial()
	p.send(`0/m,`)
	get(t, "middleware", begun)
	_ = p.conn.Close()
	if err := get(t, "end", causes); !errors.Is(err, sockeye.ReasonTransportClose) {
		t.Errorf("cause %v", err)
	}
	if c, err := n.To("r").Count(t.Context()); c != 0 || err != nil {
		t.Errorf("%d in the room, %v", c, err)
	}
}

// A second CONNECT is one too many, whether the first is answered or not.
func TestNamespace_OneConnectEach(t *testing.T) {
	t.Parallel()
	b := setup(t)
	release := make(chan struct{})
	var asked, in atomic.Int32
	b.Of("/slow").Use(func(context.Context, *sockeye.Socket) error {
		asked.Add(1)
		<-release
		return nil
	})
	b.Of("/slow").OnConnection(func(context.Context, *sockeye.Socket) { in.Add(1) })
	p := b.dial()
	for range 1000 {
		if p.conn.Send([]byte("0/slow,"), false) != nil {
			break
		}
	}
	p.ended()
	close(release)
	testkit.Eventually(t, "the connection is gone", func() bool { return b.Conns() == 0 })
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if asked.Load() > 1 || in.Load() > 1 {
		t.Errorf("%d asked, %d connected", asked.Load(), in.Load())
	}
}

func TestNamespace_LimitForEachConnection(t *testing.T) {
	t.Parallel()
	b := setup(t, sockeye.Config{Limits: sockeye.Limits{Namespaces: 5}})
	b.OfRegexp(regexp.MustCompile(`^/d\d+$`))
	p := b.dial()
	for i := range 5 {
		p.join(fmt.Sprintf("/d%d", i), "")
	}
	p.send("0/d5,")
	p.want(`4/d5,{"message":"Too many namespaces"}`)
	p.send("1/d0,")
	p.join("/d5", "")
}

func TestServer_LimitOfDynamicNamespaces(t *testing.T) {
	t.Parallel()
	b := setup(t, sockeye.Config{Limits: sockeye.Limits{Dynamic: 3}})
	b.OfRegexp(regexp.MustCompile(`^/d\d+$`))
	p := b.dial()
	p.join("/d0", "")
	p.join("/d1", "")
	p.send("0/d2,")
	p.want(`4/d2,{"message":"Invalid namespace"}`)
	b.Of("/static") // the application is not limited
	p.join("/static", "")
}

func TestNamespace_Names(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.OfFunc(func(context.Context, string, parserArg) error { return nil })
	p := b.dial()
	long := "/" + strings.Repeat("n", 255)
	for _, name := range []string{"/a", "/a/b", "/a b", "/é", "/a?b=c", `/a["b"]`, "/*", long} {
		if id := p.join(name, ""); len(id) != 20 {
			t.Errorf("%q: id %q", name, id)
		}
	}
	for _, name := range []string{"/a\nb", "/a\x00", "/\x7f", long + "n"} {
		p.send("0" + name + ",")
		p.want("4" + name + `,{"message":"Invalid namespace"}`)
	}
	if got := b.Of("chat").Name(); got != "/chat" {
		t.Errorf("name %q", got)
	}
	for _, name := range []string{"/a,b", "/a\r", strings.Repeat("x", 300)} {
		if err := b.Of(name).Emit("e"); !errors.Is(err, sockeye.ErrNamespaceName) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if b.Of("") != b.Of("/") || b.Of("chat") != b.Of("/chat") {
		t.Error("one name, two namespaces")
	}
}

func TestParent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	re := b.OfRegexp(regexp.MustCompile(`^/dynamic-\d+$`))
	fn := b.OfFunc(func(ctx context.Context, name string, auth parserArg) error {
		if sockeye.RequestFrom(ctx) == nil || sockeye.SocketFrom(ctx) != nil {
			t.Error("a context without the request, or with a socket")
		}
		var a struct{ Token string }
		if err := auth.Scan(&a); err != nil || a.Token != "123" {
			return errors.New("no")
		}
		return nil
	})
	b.OfFunc(func(_ context.Context, name string, _ parserArg) error {
		if name == "/panic" {
			panic("in a function")
		}
		return errors.New("no")
	})
	re.Use(func(_ context.Context, s *sockeye.Socket) error { s.SetData("re"); return nil })
	fn.Use(func(_ context.Context, s *sockeye.Socket) error { s.SetData("fn"); return nil })
	got := make(chan string, 8)
	see := func(_ context.Context, s *sockeye.Socket) {
		got <- fmt.Sprint(s.Namespace().Name(), " ", s.Data())
	}
	re.OnConnection(see)
	fn.OnConnection(see)

	p := b.dial()
	p.join("/dynamic-1", "")
	p.join("/dynamic-2", `{"token":"123"}`)
	p.join("/any", `{"token":"123"}`)
	var seen []string // by a worker each, in any order
	for range 3 {
		seen = append(seen, get(t, "connection", got))
	}
	slices.Sort(seen)
	if want := []string{"/any fn", "/dynamic-1 re", "/dynamic-2 re"}; !slices.Equal(seen, want) {
		t.Errorf("got %q, want %q", seen, want)
	}
	for _, name := range []string{"/dynamic-x", "/other", "/panic"} {
		p.send("0" + name + ",{}")
		p.want("4" + name + `,{"message":"Invalid namespace"}`)
	}
	if in := b.faults.panics(); len(in) != 1 {
		t.Errorf("panics in %q", in)
	}
	if err := re.Emit("e", 1); err != nil {
		t.Fatal(err)
	}
	both := []string{p.next(), p.next()}
	slices.Sort(both)
	if !slices.Equal(both, []string{`2/dynamic-1,["e",1]`, `2/dynamic-2,["e",1]`}) {
		t.Errorf("received %q", both)
	}
	if err := re.Emit("connect"); !errors.Is(err, sockeye.ErrReservedEvent) {
		t.Error(err)
	}
	var names []string
	for n := range b.Namespaces() {
		names = append(names, n.Name())
	}
	if !slices.Equal(names, []string{"/", "/any", "/dynamic-1", "/dynamic-2"}) {
		t.Errorf("namespaces %q", names)
	}
}

func TestParent_RemoveEmpty(t *testing.T) {
	t.Parallel()
	b := setup(t, sockeye.Config{RemoveEmpty: true})
	parent := b.OfFunc(func(_ context.Context, name string, _ parserArg) error { return nil })
	parent.Use(func(_ context.Context, s *sockeye.Socket) error {
		if s.Namespace().Name() == "/refused" {
			return errors.New("refused")
		}
		return nil
	})
	count := func() int { return len(parent.Namespaces()) }
	p := b.dial()
	p.join("/a", "")
	q := b.dial()
	q.join("/a", "")
	p.send("0/refused,")
	p.want(`4/refused,{"message":"refused"}`)
	testkit.Eventually(t, "the refused one is removed", func() bool { return count() == 1 })
	p.send("1/a,")
	p.join("/b", "")
	if count() != 2 {
		t.Errorf("%d children", count())
	}
	b.Of("/b") // kept by the application
	p.send("1/b,")
	_ = q.conn.Close()
	testkit.Eventually(t, "the empty one is removed", func() bool { return count() == 1 })
	// And made anew, again and again, at the same time.
	clients := make([]*peer, 4)
	for i := range clients {
		clients[i] = b.dial()
	}
	for range 50 {
		for _, c := range clients {
			c.join("/a", "")
			c.send("1/a,")
		}
	}
	testkit.Eventually(t, "it is removed", func() bool { return count() == 1 })
	if errs := b.faults.all(); len(errs) > 0 {
		t.Error(errs)
	}
}

func TestNamespace_OnRoom(t *testing.T) {
	t.Parallel()
	b := setup(t)
	n := b.Of("/")
	events := make(chan sockeye.RoomEvent, 16)
	off := n.OnRoom(func(e sockeye.RoomEvent) { events <- e })
	c := sockets(b)
	_, id := b.connect()
	s := get(t, "socket", c)
	_ = s.Join("r", "r")
	_ = s.Leave("r")
	off()
	_ = s.Join("unseen")
	for _, want := range []sockeye.RoomEvent{
		{"create-room", id, id},
		{"join-room", id, id},
		{"create-room", "r", id},
		{"join-room", "r", id},
		{"leave-room", "r", id},
		{"delete-room", "r", id},
	} {
		if got := get(t, "room event", events); got != want {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	if len(events) > 0 {
		t.Errorf("then %v", <-events)
	}
}

func TestSocket_RoomLimits(t *testing.T) {
	t.Parallel()
	b := setup(t)
	c := sockets(b)
	b.connect()
	s := get(t, "socket", c)
	for i := range 1000 {
		if err := s.Join(fmt.Sprint("room ", i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Join("one more"); !errors.Is(err, sockeye.ErrTooManyRooms) {
		t.Errorf("room 1,001: %v", err)
	}
	if err := s.Join("room 1", "room 2"); err != nil {
		t.Errorf("rooms that it is in: %v", err)
	}
	if err := s.Leave("room 1"); err != nil {
		t.Error(err)
	}
	if err := s.Join(strings.Repeat("r", 512)); err != nil {
		t.Error(err)
	}
	if err := s.Join(strings.Repeat("r", 513)); !errors.Is(err, sockeye.ErrRoomName) {
		t.Errorf("a long name: %v", err)
	}
	if err := b.To(s.ID()).Join(t.Context(), strings.Repeat("r", 513)); !errors.Is(err, sockeye.ErrRoomName) {
		t.Errorf("a long name by Broadcast: %v", err)
	}
}

func TestSocket_Handshake(t *testing.T) {
	t.Parallel()
	b := setup(t)
	requests := make(chan *http.Request, 2)
	use := func(ctx context.Context, _ *sockeye.Socket) error {
		requests <- sockeye.RequestFrom(ctx)
		return nil
	}
	b.Use(use)
	b.Of("/later").Use(use)
	c := sockets(b)
	p := b.dialWith(engineio.DialConfig{Header: http.Header{
		"X-Custom": {"one", "two"}, "Origin": {strings.TrimSuffix(b.url, "/socket.io/")},
	}}, "?a=1&a=2&b=%20x")
	p.join("/", `{"token":["t",1]}`)
	h := get(t, "socket", c).Handshake()
	var auth struct{ Token []any }
	if err := h.Auth.Scan(&auth); err != nil || len(auth.Token) != 2 {
		t.Errorf("auth %+v, %v", auth, err)
	}
	if !slices.Equal(h.Headers.Values("X-Custom"), []string{"one", "two"}) || h.Query["a"] != "2" || h.Query["b"] != " x" ||
		h.Query["EIO"] != "4" || h.Address != "127.0.0.1" || h.Secure || !h.XDomain || h.Time.IsZero() ||
		!strings.HasPrefix(h.URL, "/socket.io/?") {
		t.Errorf("handshake %+v", h)
	}
	p.join("/later", "")
	for _, what := range []string{"first", "later"} {
		r := get(t, what, requests)
		if r == nil || r.Header.Get("X-Custom") != "one" || r.URL.Query().Get("b") != " x" {
			t.Errorf("%s request %+v", what, r)
		}
	}
}

// Connecting and leaving again and again makes no more workers than connections may have namespaces.
func TestNamespace_SocketsThatDoNotEndCount(t *testing.T) {
	t.Parallel()
	b := setup(t, sockeye.Config{Limits: sockeye.Limits{Namespaces: 3}})
	release := make(chan struct{})
	b.OnConnection(func(context.Context, *sockeye.Socket) { <-release })
	p := b.dial()
	for range 6 {
		p.join("/", "")
		p.send("1")
	}
	p.send("0")
	p.want(`4{"message":"Too many namespaces"}`)
	close(release)
	testkit.Eventually(t, "room again", func() bool {
		p.send("0")
		return strings.HasPrefix(p.next(), `0{"sid"`)
	})
}

// The request of the first namespace is the one that the application's own HTTP middleware has seen.
func TestRequestFrom_KeepsTheContext(t *testing.T) {
	t.Parallel()
	b := setup(t)
	type key struct{}
	users := make(chan any, 1)
	b.Use(func(ctx context.Context, s *sockeye.Socket) error {
		users <- sockeye.RequestFrom(ctx).Context().Value(key{})
		if sockeye.SocketFrom(ctx) != s || ctx.Err() != nil {
			t.Error("a context that is not the socket's")
		}
		return nil
	})
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), key{}, "user")))
	}))
	defer web.Close()
	b.url = web.URL + "/socket.io/"
	b.connect()
	if u := get(t, "request", users); u != "user" {
		t.Errorf("user %v", u)
	}
}

// A broadcast comes after CONNECT also where it races with it, and none is lost after the first.
func TestNamespace_ConnectComesFirst(t *testing.T) {
	t.Parallel()
	b := setup(t, sockeye.Config{Queue: sockeye.SendQueue{MaxPackets: 1 << 20, MaxBytes: 1 << 30}})
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				_ = b.Emit("n", i)
			}
			if i%8 == 0 {
				runtime.Gosched()
			}
		}
	}()
	for range 100 {
		p := b.dial()
		p.join("/", "")
		last := -1
		for range 3 {
			var args []any
			decode(t, p.next()[1:], &args)
			n := int(args[1].(float64))
			if last >= 0 && n != last+1 {
				t.Fatalf("event %d after %d", n, last)
			}
			last = n
		}
		_ = p.conn.Close()
	}
	close(stop)
	<-ended
}
