package interop

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
)

// recoveryOperations begin at the server that a client loses its connection to. It comes back to each of the others.
var recoveryOperations = []operation{
	{name: "recovery: missed events, rooms and data", check: (*cluster).checkRecovery},
	{name: "recovery: while others send", check: (*cluster).checkRecoveryUnderWay, ours: true},
	{name: "recovery: refused without a session", check: (*cluster).checkNoRecovery},
}

// startRecovery starts a cluster where clients may come back to another server.
func startRecovery(t *testing.T, k kind) *cluster {
	t.Helper()
	c := startServers(t, clusterOptions{kind: k, recovery: &sockeye.Recovery{MaxDisconnection: time.Minute}})
	for _, on := range c.order {
		c.open("witness "+on, on, "/", "red")
	}
	return c
}

// away ends the connection of a client and waits until its server has kept its session, with a room that it is in.
func (c *cluster) away(client, from, room string) {
	c.t.Helper()
	pid := c.pid(client)
	c.p.do("cut", obj{"name": client}, nil)
	eventually(c.t, "the session of "+client+" is kept", func() bool {
		if len(c.servers[from].fetch(selection{NSP: "/", Rooms: []string{c.ids[client]}, Local: true})) > 0 {
			return false
		}
		text, _ := c.ask("GET", "sio:session:"+pid).(string)
		session, err := base64.StdEncoding.DecodeString(text)
		return err == nil && bytes.Contains(session, []byte(room))
	})
}

// pid is what a client shows to get its session back.
func (c *cluster) pid(client string) string {
	c.t.Helper()
	var state struct{ PID string }
	if c.p.do("state", obj{"name": client}, &state); state.PID == "" {
		c.t.Fatalf("%s has no session that could be recovered", client)
	}
	return state.PID
}

// back lets a client connect to a server and tells whether it was recovered.
func (c *cluster) back(client, to string, times int) bool {
	c.t.Helper()
	c.p.do("move", obj{"name": client, "url": c.servers[to].url()}, nil)
	got, _ := c.clients[client].wait("connect", times)[times-1].(obj)
	recovered, _ := got["recovered"].(bool)
	if recovered {
		same(c.t, "id", got["id"], c.ids[client])
	}
	return recovered
}

// seen gives the events of a client, each with its first argument, for servers append where they are in the stream.
func (c *cluster) seen(client string) []string {
	c.t.Helper()
	var log []struct {
		Kind  string
		Value any
	}
	c.p.do("log", obj{"name": client}, &log)
	var seen []string
	for _, e := range log {
		if args, ok := e.Value.(list); ok && len(args) > 0 {
			seen = append(seen, fmt.Sprint(e.Kind, " ", args[0]))
		}
	}
	return seen
}

func (c *cluster) checkRecovery(from string) {
	data := obj{"user": "x", "bytes": bin("AQID"), "list": list{1, 2.5, nil, "z"}}
	for _, to := range c.order {
		if to == from {
			continue
		}
		client := fmt.Sprintf("from %s to %s", from, to)
		c.meanwhile(func() {
			s := c.open(client, from, "/", "room of "+client)
			s.call("remember", data)
			c.servers[from].emit(selection{NSP: "/"}, "before "+client, 1)
			s.wait("event:before "+client, 1)
			want := []string{"event:before " + client + " 1"}
			for i, way := range [][2]string{{from, to}, {to, from}} {
				c.away(client, way[0], "room of "+client)
				want = append(want, c.miss(client, i)...)
				if !c.back(client, way[1], i+2) {
					c.t.Fatalf("not recovered from %s at %s", way[0], way[1])
				}
				want = append(want, c.reach(client, i)...)
				same(c.t, client+" has seen", c.seen(client), want)
				found := c.servers[way[1]].fetch(selection{NSP: "/", Rooms: []string{c.ids[client]}, Local: true})
				if len(found) != 1 {
					c.t.Fatalf("%d sockets", len(found))
				}
				same(c.t, "data", found[0].Data, data)
			}
		})
	}
}

// miss sends what a client that is away is to get afterwards and what it is not to get, from all servers.
func (c *cluster) miss(client string, round int) (want []string) {
	c.t.Helper()
	for i, on := range c.order {
		s := c.servers[on]
		name := fmt.Sprintf("missed %d", round)
		s.emit(selection{NSP: "/"}, name, on+" to all")
		s.emit(selection{NSP: "/", Rooms: []string{"room of " + client, "green"}}, name, on+" to its room")
		s.emit(selection{NSP: "/", Rooms: []string{"red"}}, name, on+" to another room")
		s.emit(selection{NSP: "/", Except: []string{"room of " + client}}, name, on+" to others")
		s.emit(selection{NSP: "/", Rooms: []string{c.ids[client]}}, name, on+" to its id", deep())
		s.emit(selection{NSP: "/chat"}, name, on+" in another namespace")
		s.emit(selection{NSP: "/"}, fmt.Sprintf("end %d", round), on)
		// The next server sends when all have that, so that the order of all is known.
		for _, w := range c.order {
			c.clients["witness "+w].wait(fmt.Sprintf("event:end %d", round), i+1)
		}
		for _, what := range []string{" to all", " to its room", " to its id"} {
			want = append(want, "event:"+name+" "+on+what)
		}
		want = append(want, fmt.Sprintf("event:end %d %s", round, on))
	}
	for _, w := range c.order {
		c.p.do("clear", obj{"name": "witness " + w}, nil)
	}
	return want
}

// reach sends to a client that is there again.
func (c *cluster) reach(client string, round int) (want []string) {
	c.t.Helper()
	for i, on := range c.order {
		c.servers[on].emit(selection{NSP: "/", Rooms: []string{"room of " + client}}, fmt.Sprintf("there %d", round), on)
		c.clients[client].wait(fmt.Sprintf("event:there %d", round), i+1)
		want = append(want, fmt.Sprintf("event:there %d %s", round, on))
	}
	return want
}

// checkRecoveryUnderWay has all servers send numbers while a client goes from one of our servers to the other. It gets
// each once, those of one server in order. With a Node server it may miss some or get some twice, for a Node server
// sends its own events to its clients earlier or later than the stream has them.
func (c *cluster) checkRecoveryUnderWay(from string) {
	const numbers = 60
	for _, to := range c.order {
		if to == from || to == "node" {
			continue
		}
		client := fmt.Sprintf("busy from %s to %s", from, to)
		c.meanwhile(func() {
			s := c.open(client, from, "/", "room of "+client)
			n := 0
			send := func(count int) {
				for range count {
					for _, on := range c.order {
						c.servers[on].emit(selection{NSP: "/"}, "tick "+on+" for "+client, n)
					}
					n++
				}
			}
			send(numbers / 3)
			s.wait("event:tick "+from+" for "+client, 1) // from here on it knows where it is in the stream
			c.away(client, from, "room of "+client)
			send(numbers / 3)
			c.p.do("move", obj{"name": client, "url": c.servers[to].url()}, nil)
			send(numbers / 3)
			connects := s.wait("connect", 2)
			same(c.t, "recovered", connects[1].(obj)["recovered"], true)
			for _, on := range c.order {
				s.wait("event:tick "+on+" for "+client, n)
			}
			c.servers[to].emit(selection{NSP: "/"}, "end for "+client)
			s.wait("event:end for "+client, 1)
			seen := c.seen(client)
			for _, on := range c.order {
				var want []string
				for i := range n {
					want = append(want, fmt.Sprintf("event:tick %s for %s %d", on, client, i))
				}
				prefix := []byte("event:tick " + on + " for " + client + " ")
				got := slices.DeleteFunc(slices.Clone(seen), func(e string) bool { return !bytes.HasPrefix([]byte(e), prefix) })
				same(c.t, client+" has seen of "+on, got, want)
			}
		})
	}
}

// checkNoRecovery: a client whose session is gone is a new one.
func (c *cluster) checkNoRecovery(from string) {
	for _, to := range c.order {
		if to == from {
			continue
		}
		client := fmt.Sprintf("stranger from %s to %s", from, to)
		c.meanwhile(func() {
			s := c.open(client, from, "/", "room of "+client)
			c.servers[from].emit(selection{NSP: "/"}, "before "+client, 1)
			s.wait("event:before "+client, 1)
			c.away(client, from, "room of "+client)
			same(c.t, "deleted", c.ask("DEL", "sio:session:"+c.pid(client)), 1)
			c.servers[to].emit(selection{NSP: "/"}, "missed "+client, 1)
			c.clients["witness "+to].wait("event:missed "+client, 1)
			if c.back(client, to, 2) {
				c.t.Fatal("recovered")
			}
			c.servers[to].emit(selection{NSP: "/", Rooms: []string{"room of " + client}}, "to its room", 1)
			c.servers[to].emit(selection{NSP: "/"}, "after "+client, 1)
			s.wait("event:after "+client, 1)
			seen := c.seen(client)
			seen = seen[slices.Index(seen, "event:before "+client+" 1"):] // before it, what others got may come late
			same(c.t, client+" has seen", seen, []string{"event:before " + client + " 1", "event:after " + client + " 1"})
		})
	}
}
