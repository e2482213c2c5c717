package sockeye_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/engineio"
	"github.com/sockeye-io/sockeye/parser"
)

func TestNew_ReportsAllFaults(t *testing.T) {
	t.Parallel()
	_, err := sockeye.New(sockeye.Config{
		Path:     "no-slash",
		Limits:   sockeye.Limits{Inbox: 1},
		Recovery: &sockeye.Recovery{MaxDisconnection: -1},
		Adapter:  noRecovery{adapter.Memory()},
	})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, what := range []string{"Path", "Inbox", "MaxDisconnection", "Recovery is set"} {
		if !strings.Contains(err.Error(), what) {
			t.Errorf("%q is not reported in %q", what, err)
		}
	}
	// Those of the transports are found by the engine.
	for name, cfg := range map[string]sockeye.Config{
		"unknown transport":         {Transports: []string{"carrier pigeon"}},
		"any origin and its cookie": {Origin: sockeye.OriginPolicy{Allow: []string{"*"}, Credentials: true}},
		"cookie with a semicolon":   {Cookie: &http.Cookie{Name: "io;evil"}},
	} {
		if _, err := sockeye.New(cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// brokenCluster fails in one place.
type brokenCluster struct {
	adapter.Cluster

	start, open error
	health      error
	closed      chan struct{}
}

func (c *brokenCluster) Start(ctx context.Context) error {
	if c.start != nil {
		<-ctx.Done()
		return errors.Join(c.start, ctx.Err())
	}
	return c.Cluster.Start(ctx)
}

func (c *brokenCluster) Open(h adapter.Host) (adapter.Adapter, error) {
	if c.open != nil && h.Name() != "/" {
		return nil, c.open
	}
	return c.Cluster.Open(h)
}

func (c *brokenCluster) Health() error { return c.health }

func (c *brokenCluster) Close() error {
	close(c.closed)
	return c.Cluster.Close()
}

func TestNew_AdapterThatDoesNotStart(t *testing.T) {
	t.Parallel()
	away := errors.New("store away")
	c := &brokenCluster{Cluster: adapter.Memory(), start: away, closed: make(chan struct{})}
	_, err := sockeye.New(sockeye.Config{Adapter: c, StartTimeout: 10 * time.Millisecond})
	if !errors.Is(err, away) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("New: %v", err)
	}
	get(t, "the adapter is closed", c.closed)
}

func TestServer_AdapterThatDoesNotOpen(t *testing.T) {
	t.Parallel()
	refused := errors.New("refused")
	degraded := errors.New("degraded")
	c := &brokenCluster{Cluster: adapter.Memory(), open: refused, health: degraded, closed: make(chan struct{})}
	b := setup(t, sockeye.Config{Adapter: c})
	b.OfFunc(func(context.Context, string, parserArg) error { return nil })
	if err := b.Health(); !errors.Is(err, degraded) {
		t.Errorf("Health: %v", err)
	}
	ctx := t.Context()
	n := b.Of("/x")
	_, fetch := n.All().FetchSockets(ctx)
	_, count := n.All().Count(ctx)
	_, ack := n.All().EmitWithAck(ctx, "e")
	_, side := n.ServerSideEmitWithAck(ctx, "e")
	for what, err := range map[string]error{
		"Emit": n.Emit("e"), "fetch": fetch, "count": count, "ack": ack, "server side ack": side,
		"server side": n.ServerSideEmit(ctx, "e"), "join": n.All().Join(ctx, "r"), "report": errors.Join(b.faults.all()...),
	} {
		if !errors.Is(err, refused) {
			t.Errorf("%s: %v", what, err)
		}
	}
	p := b.dial()
	for range 2 {
		p.send("0/y,")
		p.want(`4/y,{"message":"Invalid namespace"}`)
	}
	p.join("/", "")
}

func TestConfig_ReachesTheEngine(t *testing.T) {
	t.Parallel()
	var refused []int
	b := setup(t, sockeye.Config{
		Path: "/io/", Transports: []string{"polling"}, PingInterval: 7 * time.Second, PingTimeout: 3 * time.Second, MaxPayload: 1234,
		Cookie: &http.Cookie{Name: "io"},
		Hooks: sockeye.Hooks{
			ConnectionError: func(_ *http.Request, code int, _ string) { refused = append(refused, code) },
			Headers:         func(h http.Header, _ *http.Request) { h.Set("X-All", "1") },
			InitialHeaders:  func(h http.Header, _ *http.Request) { h.Set("X-First", "1") },
		},
	})
	do := func(query string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		b.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/io/?EIO=4&transport="+query, nil))
		return w
	}
	w := do("polling")
	for _, want := range []string{`"pingInterval":7000`, `"pingTimeout":3000`, `"maxPayload":1234`, `"upgrades":[]`} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s is not in %s", want, w.Body)
		}
	}
	h := w.Result().Header
	if h.Get("X-All") != "1" || h.Get("X-First") != "1" || !strings.HasPrefix(h.Get("Set-Cookie"), "io=") {
		t.Errorf("headers %v", h)
	}
	if w := do("websocket"); w.Code != http.StatusBadRequest || len(refused) != 1 || refused[0] != engineio.CodeTransportUnknown {
		t.Errorf("status %d, codes %v", w.Code, refused)
	}
}

func TestConfig_ParserLimits(t *testing.T) {
	t.Parallel()
	b := setup(t, sockeye.Config{Limits: sockeye.Limits{Depth: 5, Attachments: 2}, MaxPayload: 50_000})
	echo(b)
	p, _ := b.connect()
	p.send(`21["echo",[[[1]]]]`)
	p.want(`31[[[[1]]]]`)
	p.send(`21["echo",[[[[[1]]]]]]`)
	p.ended()
	p, _ = b.connect()
	p.send(`53-["echo"]`)
	p.ended()
	p, _ = b.connect()
	p.send(`52-["echo",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`)
	p.sendBinary(make([]byte, 30_000))
	p.sendBinary(make([]byte, 30_000))
	p.ended()
}

// linked is the adapter of one of two servers that hear each other's server-side events.
type linked struct {
	adapter.Adapter

	other *host
}

type host struct{ adapter.Host }

type linkedCluster struct {
	adapter.Cluster

	mine, other *host
}

func (c linkedCluster) Open(h adapter.Host) (adapter.Adapter, error) {
	a, err := c.Cluster.Open(h)
	c.mine.Host = h
	return linked{a, c.other}, err
}

func (a linked) ServerSide(ctx context.Context, p *parser.Packet, each func(adapter.Answer)) error {
	if each == nil {
		a.other.ServerSide(p.Event, p.Args, nil)
		return nil
	}
	answers := make(chan []parser.Arg, 1)
	a.other.ServerSide(p.Event, p.Args, func(args []parser.Arg) { answers <- args })
	select {
	case args := <-answers:
		each(adapter.Answer{Server: "other", Args: args})
		return nil
	case <-ctx.Done():
		return &adapter.Incomplete{Expected: 1, MissingServers: []string{"other"}, Err: context.Cause(ctx)}
	}
}

func TestNamespace_ServerSideEmit(t *testing.T) {
	t.Parallel()
	h1, h2 := &host{}, &host{}
	a := setup(t, sockeye.Config{Adapter: linkedCluster{adapter.Memory(), h1, h2}})
	b := setup(t, sockeye.Config{Adapter: linkedCluster{adapter.Memory(), h2, h1}})
	ctx := t.Context()
	got := make(chan int, 100)
	off := b.Of("/").OnServerSide("n", handlerFunc(func(_ context.Context, m *sockeye.Message) error {
		var n int
		err := m.Scan(&n)
		got <- n
		return err
	}))
	b.Of("/").OnServerSide("ask", handlerFunc(func(_ context.Context, m *sockeye.Message) error {
		return errors.Join(m.Ack("answer", []byte("b")), m.Ack())
	}))
	b.Of("/").OnServerSide("panic", handlerFunc(func(context.Context, *sockeye.Message) error { panic("x") }))
	a.Of("/").OnServerSide("n", handlerFunc(func(context.Context, *sockeye.Message) error {
		t.Error("a server hears itself")
		return nil
	}))
	for i := range 50 {
		if err := a.ServerSideEmit(ctx, "n", i); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 50 {
		if n := get(t, "event", got); n != i {
			t.Fatalf("event %d instead of %d", n, i)
		}
	}
	if err := errors.Join(a.ServerSideEmit(ctx, "panic"), a.ServerSideEmit(ctx, "unknown")); err != nil {
		t.Fatal(err)
	}
	replies, err := a.Of("/").ServerSideEmitWithAck(ctx, "ask")
	var text string
	var bin []byte
	if err != nil || len(replies) != 1 || replies[0].Server != "other" || replies[0].Scan(&text, &bin) != nil || text != "answer" || string(bin) != "b" {
		t.Errorf("replies %+v, %v", replies, err)
	}
	short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	_, err = a.Of("/").ServerSideEmitWithAck(short, "unknown")
	var ae *sockeye.AckError
	if !errors.As(err, &ae) || !errors.Is(err, context.DeadlineExceeded) || ae.MissingServers[0] != "other" {
		t.Errorf("error %v", err)
	}
	off()
	for _, name := range []string{"connect", "connection", "new_namespace"} {
		_, err := a.Of("/").ServerSideEmitWithAck(ctx, name)
		if !errors.Is(err, sockeye.ErrReservedEvent) || !errors.Is(a.ServerSideEmit(ctx, name), sockeye.ErrReservedEvent) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if in := b.faults.panics(); len(in) != 1 {
		t.Errorf("panics in %q", in)
	}
}

func TestNamespace_ServerSideEventsAreBounded(t *testing.T) {
	t.Parallel()
	h1, h2 := &host{}, &host{}
	a := setup(t, sockeye.Config{Adapter: linkedCluster{adapter.Memory(), h1, h2}})
	b := setup(t, sockeye.Config{Adapter: linkedCluster{adapter.Memory(), h2, h1}})
	release := make(chan struct{})
	b.Of("/").OnServerSide("n", handlerFunc(func(context.Context, *sockeye.Message) error { <-release; return nil }))
	for range 1500 {
		if err := a.ServerSideEmit(t.Context(), "n"); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(b.faults.all()); n < 1500-1024-1 || n > 1500-1024 {
		t.Errorf("%d were dropped", n)
	}
	close(release)
}
