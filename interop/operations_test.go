package interop

import (
	"fmt"
	"maps"
	"slices"
	"sort"
	"time"
)

// operation is a row of the table: what one of the servers does and all are to see.
type operation struct {
	name  string
	check func(c *cluster, from string)
	asks  bool // other servers are asked something
	ours  bool // only among our servers
}

var operations = []operation{
	{name: "broadcast to all", check: (*cluster).checkAll},
	{name: "broadcast to one room", check: (*cluster).checkRoom},
	{name: "broadcast to several rooms", check: (*cluster).checkRooms},
	{name: "broadcast to one socket", check: (*cluster).checkSocket},
	{name: "`except`", check: (*cluster).checkExcept},
	{name: "`volatile`", check: (*cluster).checkVolatile},
	{name: "`local`", check: (*cluster).checkLocal},
	{name: "binary, however deep", check: (*cluster).checkBinary},
	{name: "broadcast with acknowledgement", check: (*cluster).checkAcks, asks: true},
	{name: "`fetchSockets`", check: (*cluster).checkFetch, asks: true},
	{name: "`socketsJoin`", check: (*cluster).checkJoin},
	{name: "`socketsLeave`", check: (*cluster).checkLeave},
	{name: "`disconnectSockets`", check: (*cluster).checkDisconnect},
	{name: "`serverSideEmit`", check: (*cluster).checkServerSide, asks: true},
	{name: "`serverSideEmit` with acknowledgement", check: (*cluster).checkServerSideAcks, asks: true},
	{name: "dynamic namespaces", check: (*cluster).checkDynamic},
	{name: "clients of 2.x", check: (*cluster).checkOldClients},
}

// emitterOperations are those of a process that is no server.
var emitterOperations = []operation{
	{name: "emitter: broadcast", check: (*cluster).checkBroadcasts},
	{name: "emitter: `socketsJoin`", check: (*cluster).checkJoin},
	{name: "emitter: `socketsLeave`", check: (*cluster).checkLeave},
	{name: "emitter: `disconnectSockets`", check: (*cluster).checkDisconnect},
	{name: "emitter: `serverSideEmit`", check: (*cluster).checkServerSide},
}

// someArgs is one of each type of JSON.
func someArgs() list { return list{1, "two", nil, true, 2.5, obj{"k": list{}}} }

// delivery is a broadcast and who is to get it.
type delivery struct {
	name string
	s    selection
	args list
	want []string
}

// deliver checks broadcasts in the main namespace.
func (c *cluster) deliver(from string, deliveries ...delivery) {
	c.t.Helper()
	for _, d := range deliveries {
		d.s.NSP = "/"
		c.servers[from].emit(d.s, "news", d.args...)
		same(c.t, d.name, c.got(from, "news", d.args...), d.want)
	}
}

func (c *cluster) checkAll(from string) {
	c.deliver(from,
		delivery{"all", selection{}, someArgs(), all("a", "b", "c")},
		delivery{"no arguments", selection{}, nil, all("a", "b", "c")},
	)
}

func (c *cluster) checkRoom(from string) {
	c.deliver(from,
		delivery{"one room", selection{Rooms: []string{"blue"}}, someArgs(), all("b")},
		delivery{"no such room", selection{Rooms: []string{"green"}}, someArgs(), nil},
	)
}

func (c *cluster) checkRooms(from string) {
	c.deliver(from, delivery{"several rooms", selection{Rooms: []string{"red", "blue"}}, someArgs(), all("a", "b")})
}

func (c *cluster) checkSocket(from string) {
	for _, name := range all("c") {
		c.deliver(from, delivery{name, selection{Rooms: []string{c.ids[name]}}, someArgs(), []string{name}})
	}
}

func (c *cluster) checkExcept(from string) {
	c.deliver(from,
		delivery{"except", selection{Except: []string{"blue"}}, someArgs(), all("a", "c")},
		delivery{"room except", selection{Rooms: []string{"red"}, Except: []string{"blue"}}, someArgs(), all("a")},
		delivery{
			"all but one socket",
			selection{Rooms: []string{"blue"}, Except: []string{c.ids["go1-b"]}},
			someArgs(),
			[]string{"go2-b", "node-b"},
		},
	)
}

func (c *cluster) checkVolatile(from string) {
	c.deliver(from, delivery{"volatile", selection{Volatile: true}, someArgs(), all("a", "b", "c")})
}

func (c *cluster) checkLocal(from string) {
	c.deliver(from,
		delivery{"local", selection{Local: true}, someArgs(), []string{from + "-a", from + "-b", from + "-c"}},
		delivery{"local room", selection{Local: true, Rooms: []string{"blue"}}, someArgs(), []string{from + "-b"}},
	)
}

func (c *cluster) checkBinary(from string) {
	c.deliver(from,
		delivery{"binary", selection{}, list{bin("AQID"), deep()}, all("a", "b", "c")},
		delivery{"binary to a room", selection{Rooms: []string{"blue"}}, list{deep()}, all("b")},
		delivery{"binary to rooms", selection{Rooms: []string{"blue", "green"}}, list{deep()}, all("b")},
	)
}

// checkBroadcasts checks all broadcasts that an emitter can do too.
func (c *cluster) checkBroadcasts(from string) {
	for _, check := range []func(*cluster, string){
		(*cluster).checkAll, (*cluster).checkRoom, (*cluster).checkRooms, (*cluster).checkSocket, (*cluster).checkExcept,
		(*cluster).checkVolatile, (*cluster).checkBinary,
	} {
		check(c, from)
	}
}

// checkAcks checks that everybody is asked and that every answer comes.
func (c *cluster) checkAcks(from string) {
	s := c.servers[from]
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
		same(c.t, test.name, list{replies, timedOut}, list{want, false})
	}
	// The clients never acknowledge "mute".
	replies, timedOut := s.call(selection{NSP: "/", Rooms: []string{"blue"}}, 100*time.Millisecond, "mute", 1)
	same(c.t, "mute clients", list{replies, timedOut}, list{list{}, true})
}

// checkFetch checks what a server is told of sockets.
func (c *cluster) checkFetch(from string) {
	t, s := c.t, c.servers[from]
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
}

// in waits until just these clients are in a room: a command reaches the sockets of a classic Node server by way of
// Redis, its own too. Two rooms are named, for what is for one alone may go another way than the command.
func (c *cluster) in(from, room string, want ...string) {
	c.t.Helper()
	var got []string
	for tries := 0; tries == 0 || !slices.Equal(got, want) && tries < 100; tries++ {
		c.servers[from].emit(selection{NSP: "/", Rooms: []string{room, "nobody"}}, "news")
		got = c.got(from, "news")
	}
	same(c.t, "who is in "+room, got, want)
}

func (c *cluster) checkJoin(from string) {
	one, two := "one of "+from, "two of "+from
	s := c.servers[from]
	s.join(selection{NSP: "/", Rooms: []string{"blue"}, Except: []string{c.ids["go1-b"]}}, one, two)
	c.in(from, one, "go2-b", "node-b")
	c.in(from, two, "go2-b", "node-b")
	c.settle("/", two, 2)
	c.deliver(from, delivery{"two alone", selection{Rooms: []string{two}}, someArgs(), []string{"go2-b", "node-b"}})
	s.join(selection{NSP: "/", Rooms: []string{c.ids["go1-c"]}}, two)
	c.in(from, two, "go1-c", "go2-b", "node-b")
	s.leave(selection{NSP: "/"}, one, two)
}

func (c *cluster) checkLeave(from string) {
	one, two := "one more of "+from, "two more of "+from
	s := c.servers[from]
	s.join(selection{NSP: "/", Rooms: []string{"red"}}, one, two)
	c.in(from, one, all("a", "b")...)
	s.leave(selection{NSP: "/", Rooms: []string{c.ids["go2-b"]}}, one)
	s.leave(selection{NSP: "/", Rooms: []string{c.ids["node-a"]}}, one)
	c.in(from, one, "go1-a", "go1-b", "go2-a", "node-b")
	s.leave(selection{NSP: "/", Except: []string{"blue"}}, two)
	c.in(from, two, all("b")...)
	s.leave(selection{NSP: "/"}, one, two)
	c.in(from, one)
	c.in(from, two)
}

func (c *cluster) checkDisconnect(from string) {
	for _, closing := range []bool{false, true} {
		room := fmt.Sprintf("leaving %v %s", closing, from)
		for _, on := range c.order {
			c.open("leaving "+on, on, "/", room)
			c.open("staying "+on, on, "/", room, "staying")
		}
		c.servers[from].disconnect(selection{NSP: "/", Rooms: []string{room}, Except: []string{"staying"}}, closing)
		for _, on := range c.order {
			reason := c.clients["leaving "+on].wait("disconnect", 1)[0]
			if reason != "io server disconnect" {
				c.t.Errorf("close %v: reason %v", closing, reason)
			}
			c.drop("leaving " + on)
		}
		c.in(from, room, "staying go1", "staying go2", "staying node")
		for _, on := range c.order {
			c.clients["staying "+on].disconnect()
			c.drop("staying " + on)
		}
	}
}

func (c *cluster) checkServerSide(from string) {
	for _, name := range c.order {
		c.servers[name].listen("/", "hello "+from, nil)
		c.servers[name].listen("/chat", "chat "+from, nil)
	}
	s := c.servers[from]
	s.serverSide("/", "hello "+from, 1, "two", obj{"three": list{}})
	s.serverSide("/", "hello "+from)
	s.serverSide("/", "hello "+from, c.binaryIn())
	s.serverSide("/chat", "chat "+from, from)
	for _, name := range c.order {
		if name == from {
			continue
		}
		o := c.servers[name]
		same(c.t, name+" hears", o.heard("hello "+from, 3), list{list{1, "two", obj{"three": list{}}}, list{}, list{c.binaryIn()}})
		same(c.t, name+" hears in /chat", o.heard("chat "+from, 1), list{list{from}})
	}
}

func (c *cluster) checkServerSideAcks(from string) {
	var want list
	for _, name := range c.order {
		answer := obj{"from": name, "more": c.binaryIn()}
		c.servers[name].listen("/", "ask "+from, answer)
		if name != from {
			want = append(want, answer)
		}
	}
	replies, timedOut := c.servers[from].serverSideCall("/", "ask "+from, "x")
	sort.Slice(replies, func(i, j int) bool { return fmt.Sprint(replies[i]) < fmt.Sprint(replies[j]) })
	sort.Slice(want, func(i, j int) bool { return fmt.Sprint(want[i]) < fmt.Sprint(want[j]) })
	same(c.t, "answers", list{replies, timedOut}, list{want, false})
}

// binaryIn gives binary where the questions between servers of a kind can hold it: those of classic are JSON.
func (c *cluster) binaryIn() any {
	if c.kind.node == "classic" {
		return obj{"no": "binary"}
	}
	return deep()
}

// meanwhile runs a check and ends the clients that it has opened.
func (c *cluster) meanwhile(check func()) {
	c.t.Helper()
	before := maps.Clone(c.clients)
	defer func() {
		for name, s := range c.clients {
			if _, ok := before[name]; !ok {
				s.disconnect()
				c.drop(name)
			}
		}
	}()
	check()
}

func (c *cluster) checkDynamic(from string) {
	nsp := "/dynamic-" + from
	s := c.servers[from]
	c.meanwhile(func() {
		for _, on := range c.order {
			c.open(nsp+on, on, nsp, "red")
		}
		if !c.kind.mute {
			// The servers subscribe when the first client comes.
			eventually(c.t, "three servers in "+nsp, func() bool {
				var count int
				c.servers["node"].(*nodeServer).p.do("servers", obj{"nsp": nsp}, &count)
				return count == 3
			})
			replies, timedOut := s.call(selection{NSP: nsp}, limit, "question", 1)
			same(c.t, "acks", list{replies, timedOut}, list{list{1, 1, 1}, false})
			same(c.t, "fetch", len(s.fetch(selection{NSP: nsp})), 3)
		}
		s.emit(selection{NSP: nsp, Rooms: []string{"red"}}, "to "+from, deep())
		s.emit(selection{NSP: nsp}, "to all", 1)
		for _, on := range c.order {
			c.clients[nsp+on].want("to "+from, deep())
			c.clients[nsp+on].want("to all", 1)
		}
	})
	same(c.t, "crossed over", c.got(from, "to all"), nil)
}

// checkOldClients has clients of 2.x on every server, in two namespaces.
func (c *cluster) checkOldClients(from string) {
	c.meanwhile(func() { c.oldClientsInChat(from) })
	c.meanwhile(func() {
		var old []string
		for _, on := range []string{"go1", "go2", "node"} {
			old = append(old, "old "+on)
			c.generation["old "+on] = 2
			c.open("old "+on, on, "/", "old of "+from)
		}
		c.deliver(from,
			delivery{"all", selection{}, list{deep()}, append(all("a", "b", "c"), old...)},
			delivery{"old", selection{Rooms: []string{"old of " + from}}, someArgs(), old},
			delivery{"one", selection{Rooms: []string{c.ids["old go2"]}}, someArgs(), []string{"old go2"}},
			delivery{"Node's", selection{Rooms: []string{c.ids["old node"]}}, someArgs(), []string{"old node"}},
		)
		if !c.kind.mute {
			s := selection{NSP: "/", Rooms: []string{"old of " + from}}
			replies, timedOut := c.servers[from].call(s, limit, "question", "x")
			same(c.t, "acks", list{replies, timedOut}, list{list{"x", "x", "x"}, false})
		}
	})
}

func (c *cluster) oldClientsInChat(from string) {
	emit := func(name string, rooms ...string) {
		c.servers[from].emit(selection{NSP: "/chat", Rooms: rooms}, name, deep())
	}
	// The id is longer than Node expects of one: with channels for rooms, a Node server that publishes takes it for a
	// room's name, and no Node server listens there.
	deaf := func(on string) bool {
		return c.kind.rooms && !c.kind.sockets && allNode() && on != from
	}
	room := "old of " + from
	for _, on := range c.order {
		name := "old chat " + on
		c.generation[name] = 2
		c.open(name, on, "/chat", room)
		if on != from && !deaf(on) && (on != "node" || c.kind.sockets) {
			c.settle("/chat", c.ids[name], 1)
		}
	}
	emit("to all")
	emit("to old", room)
	for _, on := range c.order {
		emit("to one", c.ids["old chat "+on])
	}
	emit("end")
	for _, on := range c.order {
		s := c.clients["old chat "+on]
		s.wait("event:end", 1)
		want := []string{"to all", "to old", "to one", "end"}
		if deaf(on) {
			want = []string{"to all", "to old", "end"}
		}
		same(c.t, "old chat "+on, s.events(), want)
		s.want("to all", deep())
	}
}
