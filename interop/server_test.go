package interop

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net/http/httptest"
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/testkit"
)

// selection chooses sockets; see select in server.mjs.
type selection struct {
	NSP      string   `json:"nsp"`
	Rooms    []string `json:"rooms"`
	Except   []string `json:"except"`
	Local    bool     `json:"local"`
	Volatile bool     `json:"volatile"`
}

// remote is what FetchSockets tells of a socket.
type remote struct {
	ID        string `json:"id"`
	Rooms     list   `json:"rooms"`
	Data      any    `json:"data"`
	Handshake struct {
		Auth any `json:"auth"`
	} `json:"handshake"`
}

// server is one of a cluster, ours or a Node one.
type server interface {
	url() string
	emit(s selection, event string, args ...any)
	call(s selection, wait time.Duration, event string, args ...any) (replies list, timedOut bool)
	fetch(s selection) []remote
	join(s selection, rooms ...string)
	leave(s selection, rooms ...string)
	disconnect(s selection, closeConn bool)
	listen(nsp, event string, answer any)
	serverSide(nsp, event string, args ...any)
	serverSideCall(nsp, event string, args ...any) (replies list, timedOut bool)
	heard(event string, count int) list
	heardAll(event string) list
}

// namespaces that every server of a cluster has.
var namespaces = []string{"/", "/chat"}

// nodeServer is a Node server with the official adapter.
type nodeServer struct {
	p    *peer
	base string
}

func startNode(t *testing.T, redis *testkit.Redis, k kind, o clusterOptions) *nodeServer {
	t.Helper()
	n := &nodeServer{p: startPeer(t, cmp.Or(o.script, "server.mjs"))}
	options := obj{"publishOnSpecificResponseChannel": o.specific}
	maps.Copy(options, k.options)
	args := obj{
		"redis": redis.URL(), "kind": k.node, "adapter": cmp.Or(o.adapter, k.pkg), "options": options,
		"namespaces": append(slices.Clone(namespaces[1:]), o.namespaces...),
	}
	if o.recovery != nil {
		args["recovery"] = obj{
			"maxDisconnectionDuration": o.recovery.MaxDisconnection.Milliseconds(), "skipMiddlewares": o.recovery.SkipMiddlewares,
		}
	}
	n.p.do("start", args, &n.base)
	return n
}

func (n *nodeServer) url() string { return n.base }

// with makes the arguments of a command of a selection and more.
func with(s selection, more obj) obj {
	args := obj{"nsp": s.NSP, "rooms": s.Rooms, "except": s.Except, "local": s.Local, "volatile": s.Volatile}
	maps.Copy(args, more)
	return args
}

func (n *nodeServer) emit(s selection, event string, args ...any) {
	n.p.do("emit", with(s, obj{"event": event, "args": emptyNotNil(args)}), nil)
}

type answers struct {
	Replies  list `json:"replies"`
	TimedOut bool `json:"timedOut"`
}

func (n *nodeServer) call(s selection, wait time.Duration, event string, args ...any) (list, bool) {
	var a answers
	n.p.do("call", with(s, obj{"event": event, "args": emptyNotNil(args), "timeout": wait.Milliseconds()}), &a)
	return a.Replies, a.TimedOut
}

func (n *nodeServer) fetch(s selection) (r []remote) {
	n.p.do("fetch", with(s, nil), &r)
	return r
}

func (n *nodeServer) join(s selection, rooms ...string) {
	n.p.do("join", with(s, obj{"join": rooms}), nil)
}

func (n *nodeServer) leave(s selection, rooms ...string) {
	n.p.do("leave", with(s, obj{"leave": rooms}), nil)
}

func (n *nodeServer) disconnect(s selection, closeConn bool) {
	n.p.do("disconnect", with(s, obj{"close": closeConn}), nil)
}

func (n *nodeServer) listen(nsp, event string, answer any) {
	n.p.do("listen", obj{"nsp": nsp, "event": event, "answer": answer}, nil)
}

func (n *nodeServer) serverSide(nsp, event string, args ...any) {
	n.p.do("serverSide", obj{"nsp": nsp, "event": event, "args": emptyNotNil(args)}, nil)
}

func (n *nodeServer) serverSideCall(nsp, event string, args ...any) (list, bool) {
	var a answers
	n.p.do("serverSideCall", obj{"nsp": nsp, "event": event, "args": emptyNotNil(args)}, &a)
	return a.Replies, a.TimedOut
}

func (n *nodeServer) heard(event string, count int) (got list) {
	n.p.do("wait", obj{"kind": "server:" + event, "count": count}, &got)
	return got
}

// heardAll gives what has come so far; heard waits.
func (n *nodeServer) heardAll(event string) list { return n.logged("server:" + event) }

// logged gives what the server has noted of a kind.
func (n *nodeServer) logged(kind string) list {
	var entries []struct {
		Kind  string
		Value any
	}
	n.p.do("log", nil, &entries)
	got := list{}
	for _, e := range entries {
		if e.Kind == kind {
			got = append(got, e.Value)
		}
	}
	return got
}

// goServer is one of ours.
type goServer struct {
	t    *testing.T
	s    *sockeye.Server
	http *httptest.Server

	mu    sync.Mutex
	calls map[string]list // server-side events, by name
}

func startGo(t *testing.T, a adapter.Cluster, o clusterOptions) *goServer {
	t.Helper()
	s, err := sockeye.New(sockeye.Config{AllowEIO3: true, Adapter: a, Recovery: o.recovery})
	if err != nil {
		t.Fatal(err)
	}
	g := &goServer{t: t, s: s, http: httptest.NewServer(s), calls: make(map[string]list)}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		g.http.Close()
	})
	for _, name := range slices.Concat(namespaces, o.namespaces) {
		n := s.Of(name)
		n.OnConnection(welcome)
		n.On("join", on(joinAll))
		n.On("remember", on(remember))
	}
	dynamic := s.OfRegexp(regexp.MustCompile(`^/dynamic-\w+$`))
	dynamic.OnConnection(welcome)
	dynamic.On("join", on(joinAll))
	return g
}

func welcome(_ context.Context, sock *sockeye.Socket) {
	if sock.Recovered() {
		return
	}
	var auth struct{ User string }
	_ = sock.Auth(&auth) // without it the name is empty
	sock.SetData(obj{"user": auth.User})
}

func joinAll(ctx context.Context, m *sockeye.Message) error {
	var rooms []string
	if err := m.Scan(&rooms); err != nil {
		return err
	}
	return errors.Join(sockeye.SocketFrom(ctx).Join(rooms...), m.Ack())
}

func remember(ctx context.Context, m *sockeye.Message) error {
	data, err := m.Args()[0].Any()
	if err != nil {
		return err
	}
	sockeye.SocketFrom(ctx).SetData(data)
	return m.Ack()
}

func (g *goServer) url() string { return g.http.URL }

func (g *goServer) choose(s selection) sockeye.Broadcast {
	b := g.s.Of(s.NSP).All()
	if len(s.Rooms) > 0 {
		b = b.To(s.Rooms...)
	}
	if len(s.Except) > 0 {
		b = b.Except(s.Except...)
	}
	if s.Local {
		b = b.Local()
	}
	if s.Volatile {
		b = b.Volatile()
	}
	return b
}

// values turns binary of scripts into bytes.
func values(t testing.TB, args []any) []any {
	t.Helper()
	all := make([]any, len(args))
	for i, a := range args {
		all[i] = value(t, a)
	}
	return all
}

func (g *goServer) check(err error) {
	g.t.Helper()
	if err != nil {
		g.t.Error(err)
	}
}

func (g *goServer) context(wait time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(g.t.Context(), testkit.Scale(wait))
}

func (g *goServer) emit(s selection, event string, args ...any) {
	g.t.Helper()
	g.check(g.choose(s).Emit(event, values(g.t, args)...))
}

func (g *goServer) call(s selection, wait time.Duration, event string, args ...any) (list, bool) {
	g.t.Helper()
	ctx, cancel := g.context(wait)
	defer cancel()
	replies, err := g.choose(s).EmitWithAck(ctx, event, values(g.t, args)...)
	return g.replies(replies, err)
}

// replies gives the first argument of each, as Node does.
func (g *goServer) replies(replies sockeye.Replies, err error) (list, bool) {
	g.t.Helper()
	all := list{}
	for _, r := range replies {
		var v any
		g.check(r.Scan(&v))
		all = append(all, script(v))
	}
	var missing *sockeye.AckError
	if err != nil && !errors.As(err, &missing) {
		g.t.Error(err)
	}
	return all, err != nil
}

func (g *goServer) fetch(s selection) (all []remote) {
	g.t.Helper()
	ctx, cancel := g.context(limit)
	defer cancel()
	found, err := g.choose(s).FetchSockets(ctx)
	g.check(err)
	for _, f := range found {
		r := remote{ID: f.ID}
		for _, room := range f.Rooms {
			r.Rooms = append(r.Rooms, room)
		}
		g.check(f.Data.Scan(&r.Data))
		r.Data = script(r.Data)
		g.check(f.Handshake.Auth.Scan(&r.Handshake.Auth))
		all = append(all, r)
	}
	return all
}

func (g *goServer) join(s selection, rooms ...string) {
	g.t.Helper()
	g.check(g.choose(s).Join(g.t.Context(), rooms...))
}

func (g *goServer) leave(s selection, rooms ...string) {
	g.t.Helper()
	g.check(g.choose(s).Leave(g.t.Context(), rooms...))
}

func (g *goServer) disconnect(s selection, closeConn bool) {
	g.t.Helper()
	g.check(g.choose(s).Disconnect(g.t.Context(), closeConn))
}

func (g *goServer) listen(nsp, event string, answer any) {
	g.s.Of(nsp).OnServerSide(event, on(func(_ context.Context, m *sockeye.Message) error {
		got := list{}
		for _, a := range m.Args() {
			v, err := a.Any()
			if err != nil {
				return err
			}
			got = append(got, script(v))
		}
		g.mu.Lock()
		g.calls[event] = append(g.calls[event], got)
		g.mu.Unlock()
		if answer != nil && m.WantsAck() {
			return m.Ack(value(g.t, answer))
		}
		return nil
	}))
}

func (g *goServer) serverSide(nsp, event string, args ...any) {
	g.t.Helper()
	g.check(g.s.Of(nsp).ServerSideEmit(g.t.Context(), event, values(g.t, args)...))
}

func (g *goServer) serverSideCall(nsp, event string, args ...any) (list, bool) {
	g.t.Helper()
	ctx, cancel := g.context(5 * time.Second)
	defer cancel()
	replies, err := g.s.Of(nsp).ServerSideEmitWithAck(ctx, event, values(g.t, args)...)
	return g.replies(replies, err)
}

func (g *goServer) heard(event string, count int) (got list) {
	g.t.Helper()
	eventually(g.t, "server-side event "+event, func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		got = append(list{}, g.calls[event]...)
		return len(got) >= count
	})
	return got
}

func (g *goServer) heardAll(event string) list {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append(list{}, g.calls[event]...)
}
