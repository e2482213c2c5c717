package interop

import (
	"fmt"
	"testing"
)

// startEmitter adds the official emitter to a cluster. It is called "emitter" there, and is no server.
func startEmitter(t *testing.T, c *cluster) server {
	t.Helper()
	e := &nodeServer{p: startPeer(t, c.kind.emitter)}
	e.p.do("start", obj{"redis": c.redis.URL(), "options": c.kind.options}, nil)
	c.servers["emitter"] = e
	return e
}

func TestEmitter_Broadcast(t *testing.T) {
	t.Parallel()
	c := startCluster(t, clusterOptions{})
	e := startEmitter(t, c)
	args := list{1, "two", nil, true, 2.5, obj{"k": list{}}}
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
		{"except", selection{Except: []string{"blue"}}, args, all("a", "c")},
		{"except two", selection{Except: []string{"blue", c.ids["go1-a"]}}, args, []string{"go1-c", "go2-a", "go2-c", "node-a", "node-c"}},
		{"room except", selection{Rooms: []string{"red"}, Except: []string{"blue"}}, args, all("a")},
		{"one socket", selection{Rooms: []string{c.ids["go2-c"]}}, args, []string{"go2-c"}},
		{"volatile", selection{Volatile: true}, args, all("a", "b", "c")},
		{"volatile to a room", selection{Volatile: true, Rooms: []string{"blue"}}, args, all("b")},
		{"binary", selection{}, list{bin("AQID"), deep()}, all("a", "b", "c")},
		{"binary to a room", selection{Rooms: []string{"blue"}}, list{deep()}, all("b")},
		{"no arguments", selection{}, nil, all("a", "b", "c")},
	} {
		test.s.NSP = "/"
		e.emit(test.s, "news", test.args...)
		same(t, test.name, c.got("emitter", "news", test.args...), test.want)
	}
}

func TestEmitter_Namespaces(t *testing.T) {
	t.Parallel()
	c := startServers(t, clusterOptions{})
	e := startEmitter(t, c)
	for _, name := range c.order {
		c.open(name, name, "/chat", "red")
		c.open("main "+name, name, "/", "red")
	}
	e.emit(selection{NSP: "/chat"}, "to all", deep())
	e.emit(selection{NSP: "chat", Rooms: []string{"red"}}, "to red", 1) // the emitter adds the slash
	e.emit(selection{NSP: "/chat"}, "end")
	e.emit(selection{NSP: "/"}, "end")
	for _, name := range c.order {
		c.clients[name].want("end")
		same(t, name, c.clients[name].events(), []string{"to all", "to red", "end"})
		c.clients[name].want("to all", deep())
		c.clients["main "+name].want("end")
		same(t, "main "+name, c.clients["main "+name].events(), []string{"end"})
	}
}

func TestEmitter_JoinLeaveDisconnect(t *testing.T) {
	t.Parallel()
	c := startCluster(t, clusterOptions{})
	e := startEmitter(t, c)
	// What comes after it on the emitter's connection is handled after it on each server.
	in := func(room string) []string {
		t.Helper()
		e.emit(selection{NSP: "/", Rooms: []string{"blue", room}}, "news")
		return c.got("emitter", "news")
	}
	e.join(selection{NSP: "/", Rooms: []string{"red"}, Except: []string{"blue", c.ids["go1-a"]}}, "one", "two")
	same(t, "blue or one", in("one"), []string{"go1-b", "go2-a", "go2-b", "node-a", "node-b"})
	same(t, "blue or two", in("two"), []string{"go1-b", "go2-a", "go2-b", "node-a", "node-b"})
	e.leave(selection{NSP: "/", Rooms: []string{c.ids["go2-a"]}}, "one")
	same(t, "blue or one, after one has left", in("one"), []string{"go1-b", "go2-b", "node-a", "node-b"})
	same(t, "blue or two, after one has left one", in("two"), []string{"go1-b", "go2-a", "go2-b", "node-a", "node-b"})
	e.leave(selection{NSP: "/"}, "one", "two")
	same(t, "blue or one, after all have left", in("one"), all("b"))
	same(t, "blue or two, after all have left", in("two"), all("b"))

	for _, closing := range []bool{false, true} {
		for _, on := range c.order {
			c.open("leaving "+on, on, "/", "leaving")
			c.open("leaving but "+on, on, "/", "leaving", "staying")
		}
		e.disconnect(selection{NSP: "/", Rooms: []string{"leaving"}, Except: []string{"staying"}}, closing)
		for _, on := range c.order {
			reason := c.clients["leaving "+on].wait("disconnect", 1)[0]
			if reason != "io server disconnect" {
				t.Errorf("close %v: reason %v", closing, reason)
			}
			delete(c.clients, "leaving "+on)
		}
		e.emit(selection{NSP: "/", Rooms: []string{"leaving"}}, "news")
		same(t, fmt.Sprintf("who stays, close %v", closing), c.got("emitter", "news"),
			[]string{"leaving but go1", "leaving but go2", "leaving but node"})
		for _, on := range c.order {
			c.clients["leaving but "+on].disconnect()
			delete(c.clients, "leaving but "+on)
		}
	}
	e.disconnect(selection{NSP: "/"}, true)
	for name, s := range c.clients {
		s.wait("disconnect", 1)
		delete(c.clients, name)
	}
}

func TestEmitter_ServerSideEmit(t *testing.T) {
	t.Parallel()
	c := startServers(t, clusterOptions{})
	e := startEmitter(t, c)
	for _, name := range c.order {
		c.servers[name].listen("/", "hello", nil)
		c.servers[name].listen("/", "end", nil)
		c.servers[name].listen("/chat", "hello chat", nil)
		c.servers[name].listen("/chat", "end chat", nil)
	}
	e.serverSide("/", "hello", 1, "two", obj{"three": list{}})
	e.serverSide("/", "hello")
	e.serverSide("/chat", "hello chat", "x")
	e.serverSide("/", "end")
	e.serverSide("/chat", "end chat")
	for _, name := range c.order {
		o := c.servers[name]
		o.heard("end", 1)
		o.heard("end chat", 1)
		same(t, name, o.heardAll("hello"), list{list{1, "two", obj{"three": list{}}}, list{}})
		same(t, name+" in /chat", o.heardAll("hello chat"), list{list{"x"}})
	}
}
