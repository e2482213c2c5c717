package interop

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/adapter"
)

// startLegacy starts a cluster whose Node server is one of Socket.IO 2, with clients of that generation. Those of
// our servers are of all three.
func startLegacy(t *testing.T) *cluster {
	t.Helper()
	return startCluster(t, clusterOptions{script: "server2.mjs", generation: map[string]int{
		"node-a": 2, "node-b": 2, "node-c": 2, "node-extra": 2,
		"go1-b": 2, "go1-c": 3, "go2-a": 2, "go2-c": 3,
	}})
}

// alive checks that the old server still works and could read all that came, and that nobody's connection has
// ended: all get what it sends.
func (c *cluster) alive() {
	c.t.Helper()
	c.stillThere()
	same(c.t, "what the old server could not read", c.servers["node"].(*nodeServer).logged("error"), list{})
}

func (c *cluster) stillThere() {
	c.t.Helper()
	names := make([]string, 0, len(c.clients))
	for name := range c.clients {
		names = append(names, name)
	}
	sort.Strings(names)
	c.servers["node"].emit(selection{NSP: "/"}, "still there", bin("AQID"))
	same(c.t, "who is still there", c.got("node", "still there", bin("AQID")), names)
}

// ask calls a method of the old adapter.
func (n *nodeServer) ask(method string, args ...any) any {
	n.p.t.Helper()
	var got any
	n.p.do("ask", obj{"nsp": "/", "method": method, "args": emptyNotNil(args)}, &got)
	return got
}

// bufferJSON turns binary into what JavaScript's JSON makes of a Buffer.
func bufferJSON(v any) any {
	switch v := v.(type) {
	case obj:
		if s, ok := v["$bin"].(string); ok {
			b, _ := base64.StdEncoding.DecodeString(s) // value has checked it before
			data := list{}
			for _, x := range b {
				data = append(data, x)
			}
			return obj{"type": "Buffer", "data": data}
		}
		o := obj{}
		for k, x := range v {
			o[k] = bufferJSON(x)
		}
		return o
	case list:
		l := make(list, len(v))
		for i := range v {
			l[i] = bufferJSON(v[i])
		}
		return l
	}
	return v
}

// TestCluster_Legacy2Broadcast: between a server of Socket.IO 2 and ours. Binary from it has a type of packet that
// would make newer clients disconnect; binary from us is JSON to its clients, since it would be of that type else.
func TestCluster_Legacy2Broadcast(t *testing.T) {
	t.Parallel()
	c := startLegacy(t)
	args := list{1, "two", nil, true, 2.5, obj{"k": list{}}}
	c.each(func(t *testing.T, from string, s server) {
		own := []string{from + "-a", from + "-b", from + "-c"}
		others := slices.DeleteFunc(all("a", "b", "c"), func(name string) bool { return name == "node-c" })
		for _, test := range []struct {
			name string
			s    selection
			args list
			want []string
		}{
			{"all", selection{}, args, all("a", "b", "c")},
			{"one room", selection{Rooms: []string{"blue"}}, args, all("b")},
			{"several rooms", selection{Rooms: []string{"red", "blue"}}, args, all("a", "b")},
			{"no such room", selection{Rooms: []string{"green"}}, args, nil},
			{"our socket", selection{Rooms: []string{c.ids["go2-c"]}}, args, []string{"go2-c"}},
			{"our socket of 2.x", selection{Rooms: []string{c.ids["go1-b"]}}, args, []string{"go1-b"}},
			{"node's socket", selection{Rooms: []string{c.ids["node-c"]}}, args, []string{"node-c"}},
			{"all but one socket", selection{Except: []string{c.ids["node-c"]}}, args, others},
			{"local", selection{Local: true}, args, own},
			{"volatile", selection{Volatile: true}, args, all("a", "b", "c")},
			{"binary", selection{}, list{bin("AQID"), deep()}, all("a", "b", "c")},
			{"binary to a room", selection{Rooms: []string{"blue"}}, list{deep()}, all("b")},
			{"no arguments", selection{}, nil, all("a", "b", "c")},
		} {
			if from == "node" && len(test.s.Except) > 0 {
				continue // a server of 2.x cannot; see TestCluster_Legacy2Except
			}
			test.s.NSP = "/"
			s.emit(test.s, "news", test.args...)
			got := c.gotEach(from, "news", func(client string) list {
				if from != "node" && strings.HasPrefix(client, "node-") {
					return bufferJSON(test.args).(list)
				}
				return test.args
			})
			same(t, test.name, got, test.want)
		}
	})
	c.alive()
}

// TestCluster_Legacy2Except: the sockets that a server of Socket.IO 2 excludes are told by their ids.
func TestCluster_Legacy2Except(t *testing.T) {
	t.Parallel()
	c := startLegacy(t)
	c.clients["node-a"].emit("tell others", "x")
	c.clients["node-b"].wait("event:told", 1)
	want := slices.DeleteFunc(all("a", "b", "c"), func(name string) bool { return name == "node-a" })
	same(t, "who was told", c.got("node", "told", "x"), want)
}

func TestCluster_Legacy2Namespaces(t *testing.T) {
	t.Parallel()
	c := startLegacy(t)
	for _, name := range c.order {
		c.generation["chat "+name] = c.generation[name+"-a"]
		c.open("chat "+name, name, "/chat", "red")
	}
	for _, from := range c.order {
		c.servers[from].emit(selection{NSP: "/chat", Rooms: []string{"red"}}, "from "+from, from)
		for _, name := range c.order {
			c.clients["chat "+name].want("from "+from, from)
		}
	}
	for _, name := range c.order {
		delete(c.clients, "chat "+name)
		same(t, "crossed over", c.clients[name+"-a"].events(), nil)
	}
	c.alive()
}

// TestCluster_Legacy2Questions: a server of Socket.IO 2 is counted but cannot answer newer questions. It lives on, and
// the answers of the others come with an error.
func TestCluster_Legacy2Questions(t *testing.T) {
	t.Parallel()
	c := startLegacy(t)
	for _, name := range []string{"go1", "go2"} {
		c.servers[name].listen("/", "hello", obj{"from": name})
	}
	g := c.servers["go1"].(*goServer)
	// Long enough for the other server's answers, and all of it is waited for.
	const wait = time.Second

	ctx, cancel := g.context(wait)
	defer cancel()
	found, err := g.choose(selection{NSP: "/"}).FetchSockets(ctx)
	if _, ok := errors.AsType[*adapter.Incomplete](err); !ok {
		t.Errorf("fetch: %v, want an *adapter.Incomplete", err)
	}
	same(t, "fetched", len(found), 6)
	c.alive()

	ctx, cancel = g.context(wait)
	defer cancel()
	replies, err := g.s.Of("/").ServerSideEmitWithAck(ctx, "hello", 1)
	if _, ok := errors.AsType[*sockeye.AckError](err); !ok {
		t.Errorf("server-side acks: %v, want an *AckError", err)
	}
	same(t, "server-side replies", len(replies), 1)
	g.serverSide("/", "hello", 2)
	c.servers["go2"].heard("hello", 2)
	c.alive()

	ctx, cancel = g.context(wait)
	defer cancel()
	replies, err = g.choose(selection{NSP: "/"}).EmitWithAck(ctx, "question", "x")
	if _, ok := errors.AsType[*sockeye.AckError](err); !ok {
		t.Errorf("acks: %v, want an *AckError", err)
	}
	same(t, "replies", len(replies), 6)
	// These travel as MessagePack between servers of any kind. The old adapter reports an error for each message
	// that is not JSON.
	c.stillThere()
	if len(c.servers["node"].(*nodeServer).logged("error")) == 0 {
		t.Error("the old server has not seen the question")
	}
}

// TestCluster_Legacy2Commands: those of our servers reach our servers' sockets, and do the old one no harm.
func TestCluster_Legacy2Commands(t *testing.T) {
	t.Parallel()
	c := startLegacy(t)
	g := c.servers["go1"]
	blue := func(room string) []string {
		t.Helper()
		g.emit(selection{NSP: "/", Rooms: []string{room}}, "news")
		return c.got("go1", "news")
	}
	g.join(selection{NSP: "/", Rooms: []string{"blue"}}, "one", "two")
	same(t, "in one", blue("one"), []string{"go1-b", "go2-b"})
	g.leave(selection{NSP: "/"}, "one")
	same(t, "in one, after all have left", blue("one"), nil)
	same(t, "in two", blue("two"), []string{"go1-b", "go2-b"})
	for _, closing := range []bool{false, true} {
		for _, on := range c.order {
			c.open(on+"-extra", on, "/", "leaving")
		}
		g.disconnect(selection{NSP: "/", Rooms: []string{"leaving"}}, closing)
		for _, on := range []string{"go1", "go2"} {
			c.clients[on+"-extra"].wait("disconnect", 1)
			delete(c.clients, on+"-extra")
		}
		c.alive() // the old server's own client has stayed
		c.clients["node-extra"].disconnect()
		delete(c.clients, "node-extra")
	}
}

// TestCluster_Legacy2Asks: what a server of Socket.IO 2 asks, our servers answer.
func TestCluster_Legacy2Asks(t *testing.T) {
	t.Parallel()
	c := startLegacy(t)
	n := c.servers["node"].(*nodeServer)
	n.p.do("custom", obj{"nsp": "/", "answer": "mine"}, nil)
	names := func(v any) []string {
		t.Helper()
		var got []string
		for _, x := range v.(list) {
			got = append(got, fmt.Sprint(x))
		}
		sort.Strings(got)
		return got
	}
	ids := func(clients ...string) []string {
		var want []string
		for _, name := range clients {
			want = append(want, c.ids[name])
		}
		sort.Strings(want)
		return want
	}
	same(t, "clients", names(n.ask("clients", list{})), ids(all("a", "b", "c")...))
	same(t, "clients in blue", names(n.ask("clients", list{"blue"})), ids(all("b")...))
	same(t, "clients in green", names(n.ask("clients", list{"green"})), nil)
	rooms := append(ids(all("a", "b", "c")...), "blue", "red")
	sort.Strings(rooms)
	same(t, "all rooms", names(n.ask("allRooms")), rooms)

	for _, name := range []string{"go1-b", "go2-c"} { // of 2.x and of 3.x
		id := c.ids[name]
		n.ask("remoteJoin", id, "new")
		same(t, name+" in new", names(n.ask("clients", list{"new"})), ids(name))
		same(t, name+" has new", slices.Contains(names(n.ask("clientRooms", id)), "new"), true)
		n.emit(selection{NSP: "/", Rooms: []string{"new"}}, "news", 1)
		same(t, "who gets news", c.got("node", "news", 1), []string{name})
		n.ask("remoteLeave", id, "new")
		same(t, name+" not in new", names(n.ask("clients", list{"new"})), nil)
	}
	same(t, "custom request", names(n.ask("customRequest", obj{"x": 1})), []string{"<nil>", "<nil>", "mine"})

	for _, closing := range []bool{false, true} {
		c.open("extra", "go2", "/")
		n.ask("remoteDisconnect", c.ids["extra"], closing)
		c.clients["extra"].wait("disconnect", 1)
		delete(c.clients, "extra")
	}
	c.alive()
}

// TestCluster_Legacy7: with an adapter that writes the older dialect of MessagePack.
func TestCluster_Legacy7(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		check func(c *cluster)
	}{
		{"broadcasts", (*cluster).broadcasts},
		{"acks", (*cluster).acks},
		{"fetches", (*cluster).fetches},
		{"commands", (*cluster).commands},
		{"server-side", (*cluster).serverSides},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.check(startCluster(t, clusterOptions{adapter: "redis-adapter-v7", specific: test.name == "acks"}))
		})
	}
}
