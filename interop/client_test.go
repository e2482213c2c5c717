package interop

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http/httptest"
	"strconv"
	"testing"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/parser/msgpack"
)

// ways are those of getting at a server, as options of the clients.
var ways = map[string]struct {
	options   obj
	transport string // the one it ends on
}{
	"polling":   {obj{"transports": list{"polling"}}, "polling"},
	"websocket": {obj{"transports": list{"websocket"}}, "websocket"},
	"upgrade":   {obj{}, "websocket"},
}

// serveGo starts a server with the handlers that the tests of clients want.
func serveGo(t *testing.T, c sockeye.Config) (*sockeye.Server, string) {
	t.Helper()
	c.AllowEIO3 = true
	s, err := sockeye.New(c)
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(s)
	t.Cleanup(func() {
		_ = s.Close()
		h.Close()
	})
	for _, n := range []*sockeye.Namespace{s.Of("/"), s.Of("/chat")} {
		handlers(n)
	}
	refuse := s.Of("/refuse")
	refuse.Use(func(_ context.Context, sock *sockeye.Socket) error {
		return &sockeye.ConnectError{Message: "not today", Data: obj{"code": 7}}
	})
	return s, h.URL
}

func handlers(n *sockeye.Namespace) {
	n.On("echo", on(func(ctx context.Context, m *sockeye.Message) error {
		return sockeye.SocketFrom(ctx).Emit("echo", args(m)...)
	}))
	n.On("call", on(func(_ context.Context, m *sockeye.Message) error { return m.Ack(args(m)...) }))
	// ask calls the client back inside the handler and gives its answer.
	n.On("ask", on(func(ctx context.Context, m *sockeye.Message) error {
		r, err := sockeye.SocketFrom(ctx).EmitWithAck(ctx, "question", args(m)...)
		if err != nil {
			return err
		}
		var back []any
		for _, a := range r.Args() {
			back = append(back, a)
		}
		return m.Ack(back...)
	}))
	n.On("join", on(func(ctx context.Context, m *sockeye.Message) error {
		var room string
		if err := m.Scan(&room); err != nil {
			return err
		}
		return errors.Join(sockeye.SocketFrom(ctx).Join(room), m.Ack())
	}))
	n.On("to", on(func(ctx context.Context, m *sockeye.Message) error {
		var room string
		if err := m.Scan(&room); err != nil {
			return err
		}
		return sockeye.SocketFrom(ctx).To(room).Emit("room", args(m)[1:]...)
	}))
	n.On("rest", on(func(ctx context.Context, m *sockeye.Message) error {
		return sockeye.SocketFrom(ctx).Broadcast().Emit("rest", args(m)...)
	}))
	n.On("auth", on(func(ctx context.Context, m *sockeye.Message) error {
		h := sockeye.SocketFrom(ctx).Handshake()
		return m.Ack(h.Auth, h.Query["token"])
	}))
	n.On("kick", on(func(ctx context.Context, m *sockeye.Message) error {
		var all bool
		if err := m.Scan(&all); err != nil {
			return err
		}
		return sockeye.SocketFrom(ctx).Disconnect(all)
	}))
}

func on(f func(ctx context.Context, m *sockeye.Message) error) sockeye.Handler {
	return sockeye.HandlerFunc(f)
}

func args(m *sockeye.Message) []any {
	var all []any
	for _, a := range m.Args() {
		all = append(all, a)
	}
	return all
}

// deep has binary at several depths.
func deep() any {
	return obj{"a": list{1, bin("AQID"), obj{"b": bin("")}}, "t": "\u00e4\u20ac\U0001f41f", "n": nil, "f": 1.5}
}

func TestClient_Generations(t *testing.T) {
	t.Parallel()
	_, url := serveGo(t, sockeye.Config{})
	for _, generation := range []int{2, 3, 4} {
		p := startPeer(t, "client.mjs")
		for way, w := range ways {
			t.Run(fmt.Sprintf("%d/%s", generation, way), func(t *testing.T) {
				open := func(name, path string, more obj) socket {
					options := obj{}
					maps.Copy(options, w.options)
					maps.Copy(options, more)
					return p.open(way+name, url+path, obj{"generation": generation, "options": options})
				}
				p.t = t
				conversation(t, generation, open)
				s := open("transport", "/", nil)
				s.connected()
				s.ends(t, w.transport)
				s.disconnect()
			})
		}
	}
}

// ends waits until the client is on the transport that it should end on.
func (s socket) ends(t *testing.T, transport string) {
	t.Helper()
	eventually(t, "transport "+transport, func() bool { return s.transport() == transport })
}

// conversation is what every generation can do over every transport.
func conversation(t *testing.T, generation int, open func(name, path string, more obj) socket) {
	t.Helper()
	more := obj{"auth": obj{"user": "ann"}, "query": obj{"token": "t 1"}}
	a, b := open("a", "/", more), open("b", "/", nil)
	if id := a.connected(); len(id) != 20 {
		t.Errorf("socket id %q", id)
	}
	b.connected()

	a.emit("echo", 1, "two", deep())
	a.want("echo", 1, "two", deep())
	same(t, "ack", a.call("call", deep(), bin("/w==")), list{deep(), bin("/w==")})
	same(t, "ack without arguments", a.call("call"), list{})
	same(t, "ack in both directions", a.call("ask", 1, deep()), list{deep(), 1})
	want := list{obj{"user": "ann"}, "t 1"}
	if generation == 2 {
		want[0] = nil // protocol 4 has no CONNECT payload
	}
	got := a.call("auth")
	if generation == 2 {
		got[0] = nil
	}
	same(t, "handshake", got, want)

	b.call("join", "r1")
	a.emit("to", "r1", deep())
	a.emit("rest", "all")
	b.want("room", deep())
	b.want("rest", "all")
	same(t, "sender gets its own broadcasts", a.events(), list{"echo", "question"})

	// Order, also while the transport changes.
	c := open("c", "/", nil)
	const burst = 200
	c.p.do("burst", obj{"name": c.name, "event": "echo", "count": burst}, nil)
	for i, v := range c.wait("event:echo", burst) {
		same(t, "order", v, list{i})
	}
	c.disconnect()

	n := open("n", "/chat", nil)
	n.connected()
	same(t, "namespace", n.call("call", "x"), list{"x"})
	r := open("r", "/refuse", nil)
	e := r.wait("connect_error", 1)[0]
	if generation == 2 {
		same(t, "error to 2.x is the data", e.(obj)["data"], obj{"code": 7})
	} else {
		same(t, "connect_error", e, obj{"message": "not today", "data": obj{"code": 7}})
	}
	u := open("u", "/unknown", nil)
	if generation == 2 {
		u.wait("connect_error", 1)
	} else {
		same(t, "connect_error", u.wait("connect_error", 1)[0].(obj)["message"], "Invalid namespace")
	}

	b.emit("kick", false)
	same(t, "reason", b.wait("disconnect", 1)[0], "io server disconnect")
	a.disconnect()
	same(t, "reason", a.wait("disconnect", 1)[0], "io client disconnect")
	n.emit("kick", true)
	n.wait("disconnect", 1)
}

// TestClient_ServerReasons: what the server is told of how its clients go.
func TestClient_ServerReasons(t *testing.T) {
	t.Parallel()
	s, url := serveGo(t, sockeye.Config{})
	reasons := make(chan sockeye.Reason, 3)
	s.OnConnection(func(_ context.Context, sock *sockeye.Socket) {
		sock.OnDisconnect(func(r sockeye.Reason) { reasons <- r })
	})
	p := startPeer(t, "client.mjs")
	for _, generation := range []int{2, 3, 4} {
		name := strconv.Itoa(generation)
		a := p.open("a"+name, url, obj{"generation": generation})
		a.connected()
		a.disconnect()
		same(t, name+" disconnects", <-reasons, sockeye.ReasonClientDisconnect)
		b := p.open("b"+name, url, obj{"generation": generation, "options": obj{"transports": list{"websocket"}}})
		b.connected()
		p.do("cut", obj{"name": b.name}, nil)
		same(t, name+" cuts", <-reasons, sockeye.ReasonTransportClose)
	}
}

func TestClient_Multiplexing(t *testing.T) {
	t.Parallel()
	s, url := serveGo(t, sockeye.Config{})
	p := startPeer(t, "client.mjs")
	a := p.open("main", url, nil)
	a.connected()
	b := p.open("chat", "/chat", obj{"over": "main"})
	b.connected()
	same(t, "one connection", s.Conns(), 1)
	same(t, "main", a.call("call", 1), list{1})
	same(t, "chat", b.call("call", deep()), list{deep()})
	b.disconnect()
	same(t, "main afterwards", a.call("call", 2), list{2})
}

func TestClient_Volatile(t *testing.T) {
	t.Parallel()
	_, url := serveGo(t, sockeye.Config{})
	p := startPeer(t, "client.mjs")
	a := p.open("a", url, obj{"options": obj{"transports": list{"websocket"}}})
	a.connected()
	// The second one of a tick may be dropped by the client; an acknowledged event in between makes it writable.
	a.call("call")
	p.do("volatile", obj{"name": "a", "event": "echo", "args": list{"v"}}, nil)
	a.want("echo", "v")
}

func TestClient_Msgpack(t *testing.T) {
	t.Parallel()
	_, url := serveGo(t, sockeye.Config{Parser: msgpack.New()})
	for _, generation := range []int{2, 3, 4} {
		p := startPeer(t, "client.mjs")
		for way, w := range ways {
			t.Run(fmt.Sprintf("%d/%s", generation, way), func(t *testing.T) {
				p.t = t
				a := p.open("a"+way, url, obj{"generation": generation, "msgpack": true, "options": w.options})
				b := p.open("b"+way, url, obj{"generation": generation, "msgpack": true, "options": w.options})
				a.connected()
				b.connected()
				a.emit("echo", deep(), -1, 1<<40, "text", true)
				a.want("echo", deep(), -1, 1<<40, "text", true)
				same(t, "ack", a.call("call", deep()), list{deep()})
				same(t, "both directions", a.call("ask", 1, deep()), list{deep(), 1})
				b.call("join", "r")
				a.emit("to", "r", bin("AQID"))
				b.want("room", bin("AQID"))
				a.disconnect()
				b.disconnect()
			})
		}
	}
}

func TestClient_Recovery(t *testing.T) {
	t.Parallel()
	for way, w := range ways {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			s, url := serveGo(t, sockeye.Config{Recovery: &sockeye.Recovery{}})
			left := make(chan string, 1)
			s.OnConnection(func(_ context.Context, sock *sockeye.Socket) {
				if !sock.Recovered() {
					sock.SetData(obj{"cart": 3})
				}
				sock.OnDisconnect(func(sockeye.Reason) { left <- sock.ID() })
			})
			options := obj{"reconnection": true, "reconnectionDelay": 200, "reconnectionDelayMax": 200, "randomizationFactor": 0}
			maps.Copy(options, w.options)
			p := startPeer(t, "client.mjs")
			a := p.open("a", url, obj{"options": options})
			id := a.connected()
			a.call("join", "r")
			// The client remembers the offset of the last event that it got.
			if err := s.Emit("first"); err != nil {
				t.Fatal(err)
			}
			a.wait("event:first", 1)
			p.do("cut", obj{"name": "a"}, nil)
			same(t, "who left", <-left, id)
			for i := range 3 {
				if err := s.To("r").Emit("missed", i, bytesOf("x")); err != nil {
					t.Fatal(err)
				}
			}
			back := a.wait("connect", 2)[1].(obj)
			same(t, "recovered", back, obj{"id": id, "recovered": true})
			for i, v := range a.wait("event:missed", 3) {
				same(t, "missed", v.(list)[:2], list{i, bin("eA==")})
			}
			if err := s.To("r").Emit("live"); err != nil {
				t.Fatal(err)
			}
			a.wait("event:live", 1)
			same(t, "events", a.events(), list{"first", "missed", "missed", "missed", "live"})
			for sock := range s.Of("/").Sockets() {
				same(t, "rooms and data", list{len(sock.Rooms()), sock.Data()}, list{2, obj{"cart": 3}})
			}
		})
	}
}

func bytesOf(s string) []byte { return []byte(s) }
