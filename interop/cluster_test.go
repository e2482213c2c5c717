package interop

import (
	"fmt"
	"sort"
	"testing"
	"time"
)

func TestCluster_Broadcast(t *testing.T) {
	t.Parallel()
	startCluster(t, clusterOptions{}).broadcasts()
}

// broadcasts checks who gets what, from each server.
func (c *cluster) broadcasts() {
	args := list{1, "two", nil, true, 2.5, obj{"k": list{}}}
	c.each(func(t *testing.T, from string, s server) {
		own := []string{from + "-a", from + "-b", from + "-c"}
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
			{"room except", selection{Rooms: []string{"red"}, Except: []string{"blue"}}, args, all("a")},
			{"one socket", selection{Rooms: []string{c.ids["go2-c"]}}, args, []string{"go2-c"}},
			{"node's socket", selection{Rooms: []string{c.ids["node-c"]}}, args, []string{"node-c"}},
			{"all but one socket", selection{Rooms: []string{"blue"}, Except: []string{c.ids["go1-b"]}}, args, []string{"go2-b", "node-b"}},
			{"local", selection{Local: true}, args, own},
			{"local room", selection{Local: true, Rooms: []string{"blue"}}, args, []string{from + "-b"}},
			{"volatile", selection{Volatile: true}, args, all("a", "b", "c")},
			{"binary", selection{}, list{bin("AQID"), deep()}, all("a", "b", "c")},
			{"binary to a room", selection{Rooms: []string{"blue"}}, list{deep()}, all("b")},
			{"no arguments", selection{}, nil, all("a", "b", "c")},
		} {
			test.s.NSP = "/"
			s.emit(test.s, "news", test.args...)
			same(t, test.name, c.got(from, "news", test.args...), test.want)
		}
	})
}

func TestCluster_BroadcastWithAck(t *testing.T) {
	t.Parallel()
	for _, specific := range []bool{false, true} {
		t.Run(fmt.Sprintf("specific responses %v", specific), func(t *testing.T) {
			t.Parallel()
			startCluster(t, clusterOptions{specific: specific}).acks()
		})
	}
}

// acks checks that everybody is asked and that every answer comes, by each server.
func (c *cluster) acks() {
	c.each(func(t *testing.T, _ string, s server) {
		for _, test := range []struct {
			name string
			s    selection
			arg  any
			want int
		}{
			{"all", selection{}, "x", 9},
			{"one room", selection{Rooms: []string{"blue"}}, list{"x"}, 3},
			{"except", selection{Except: []string{"red"}}, obj{"x": 1}, 3},
			{"binary", selection{Rooms: []string{"red"}}, bin("AQID"), 6},
			{"nobody", selection{Rooms: []string{"green"}}, "x", 0},
		} {
			test.s.NSP = "/"
			replies, timedOut := s.call(test.s, limit, "question", test.arg)
			want := list{}
			for range test.want {
				want = append(want, test.arg)
			}
			same(t, test.name, list{replies, timedOut}, list{want, false})
		}
		// The clients never acknowledge "mute".
		replies, timedOut := s.call(selection{NSP: "/", Rooms: []string{"blue"}}, 300*time.Millisecond, "mute", 1)
		same(t, "mute clients", list{replies, timedOut}, list{list{}, true})
	})
}

func TestCluster_FetchSockets(t *testing.T) {
	t.Parallel()
	for _, specific := range []bool{false, true} {
		t.Run(fmt.Sprintf("specific responses %v", specific), func(t *testing.T) {
			t.Parallel()
			startCluster(t, clusterOptions{specific: specific}).fetches()
		})
	}
}

// fetches checks what each server tells of sockets.
func (c *cluster) fetches() {
	c.each(func(t *testing.T, _ string, s server) {
		same(t, "count", len(s.fetch(selection{NSP: "/"})), 9)
		same(t, "other namespace", len(s.fetch(selection{NSP: "/chat"})), 0)
		found := s.fetch(selection{NSP: "/", Rooms: []string{"blue"}})
		same(t, "count in blue", len(found), 3)
		for _, r := range found {
			user, _ := r.Data.(obj)["user"].(string)
			same(t, "auth", r.Handshake.Auth, obj{"user": user})
			same(t, "id", r.ID, c.ids[user])
			sort.Slice(r.Rooms, func(i, j int) bool { return fmt.Sprint(r.Rooms[i]) < fmt.Sprint(r.Rooms[j]) })
			want := list{"blue", "red", c.ids[user]}
			sort.Slice(want, func(i, j int) bool { return fmt.Sprint(want[i]) < fmt.Sprint(want[j]) })
			same(t, "rooms", r.Rooms, want)
		}
	})
}

func TestCluster_JoinLeaveDisconnect(t *testing.T) {
	t.Parallel()
	startCluster(t, clusterOptions{}).commands()
}

// commands checks that sockets on every server do as they are told, by each server.
func (c *cluster) commands() {
	c.each(func(t *testing.T, from string, s server) {
		size := func(room string, n int) {
			t.Helper()
			eventually(t, fmt.Sprintf("%d in %s", n, room), func() bool {
				return len(s.fetch(selection{NSP: "/", Rooms: []string{room}})) == n
			})
		}
		s.join(selection{NSP: "/", Rooms: []string{"blue"}, Except: []string{c.ids["go1-b"]}}, "one", "two")
		size("one", 2)
		size("two", 2)
		s.emit(selection{NSP: "/", Rooms: []string{"two"}}, "news")
		same(t, "who is in two", c.got(from, "news"), list{"go2-b", "node-b"})
		s.leave(selection{NSP: "/", Rooms: []string{c.ids["go2-b"]}}, "one")
		size("one", 1)
		s.leave(selection{NSP: "/"}, "one", "two")
		size("one", 0)
		size("two", 0)

		for _, on := range c.order {
			name := fmt.Sprintf("%s-%s", from, on)
			c.open(name, on, "/", "leaving")
			defer delete(c.clients, name)
		}
		s.disconnect(selection{NSP: "/", Rooms: []string{"leaving"}}, from != "go1")
		for _, on := range c.order {
			reason := c.clients[fmt.Sprintf("%s-%s", from, on)].wait("disconnect", 1)[0]
			if reason != "io server disconnect" && reason != "transport close" {
				t.Errorf("reason %v", reason)
			}
		}
	})
}

func TestCluster_ServerSideEmit(t *testing.T) {
	t.Parallel()
	for _, specific := range []bool{false, true} {
		t.Run(fmt.Sprintf("specific responses %v", specific), func(t *testing.T) {
			t.Parallel()
			startCluster(t, clusterOptions{specific: specific}).serverSides()
		})
	}
}

// serverSides checks that servers hear and answer each other.
func (c *cluster) serverSides() {
	for _, name := range c.order {
		for _, from := range c.order {
			c.servers[name].listen("/", "hello "+from, nil)
			c.servers[name].listen("/", "ask "+from, obj{"from": name})
			c.servers[name].listen("/chat", "chat "+from, nil)
		}
	}
	c.each(func(t *testing.T, from string, s server) {
		s.serverSide("/", "hello "+from, 1, "two", obj{"three": list{}})
		s.serverSide("/", "hello "+from)
		s.serverSide("/chat", "chat "+from, from)
		for _, name := range c.order {
			if name == from {
				continue
			}
			o := c.servers[name]
			same(t, name+" hears", o.heard("hello "+from, 2), list{list{1, "two", obj{"three": list{}}}, list{}})
			same(t, name+" hears in /chat", o.heard("chat "+from, 1), list{list{from}})
		}
		replies, timedOut := s.serverSideCall("/", "ask "+from, "x")
		var want list
		for _, name := range c.order {
			if name != from {
				want = append(want, obj{"from": name})
			}
		}
		sort.Slice(replies, func(i, j int) bool { return fmt.Sprint(replies[i]) < fmt.Sprint(replies[j]) })
		sort.Slice(want, func(i, j int) bool { return fmt.Sprint(want[i]) < fmt.Sprint(want[j]) })
		same(t, "answers", list{replies, timedOut}, list{want, false})
	})
}

func TestCluster_Namespaces(t *testing.T) {
	t.Parallel()
	c := startCluster(t, clusterOptions{})
	for _, nsp := range []string{"/chat", "/dynamic-x"} {
		for _, name := range c.order {
			c.open(nsp+name, name, nsp, "red")
		}
		if nsp == "/dynamic-x" {
			// The servers subscribe when the first client comes.
			eventually(t, "three servers in "+nsp, func() bool {
				var count int
				c.servers["node"].(*nodeServer).p.do("servers", obj{"nsp": nsp}, &count)
				return count == 3
			})
		}
		c.each(func(t *testing.T, from string, s server) {
			s.emit(selection{NSP: nsp, Rooms: []string{"red"}}, "to "+from, deep())
			for _, name := range c.order {
				c.clients[nsp+name].want("to "+from, deep())
			}
			replies, timedOut := s.call(selection{NSP: nsp}, limit, "question", 1)
			same(t, "acks", list{replies, timedOut}, list{list{1, 1, 1}, false})
			same(t, "fetch", len(s.fetch(selection{NSP: nsp})), 3)
		})
	}
	// Nothing came across into the main namespace.
	for _, name := range []string{"node-a", "go1-a", "go2-a"} {
		same(t, name, c.clients[name].events(), nil)
	}
}

// TestCluster_Close: a server that goes is not waited for.
func TestCluster_Close(t *testing.T) {
	t.Parallel()
	c := startCluster(t, clusterOptions{})
	g := c.servers["go2"].(*goServer)
	if err := g.s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"a", "b", "c"} {
		delete(c.clients, "go2-"+kind)
	}
	for _, from := range []string{"node", "go1"} {
		s := c.servers[from]
		replies, timedOut := s.call(selection{NSP: "/"}, limit, "question", 1)
		same(t, from+": acks", list{replies, timedOut}, list{list{1, 1, 1, 1, 1, 1}, false})
		same(t, from+": fetch", len(s.fetch(selection{NSP: "/"})), 6)
	}
}
