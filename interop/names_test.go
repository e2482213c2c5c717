package interop

import (
	"fmt"
	"strings"
	"testing"
)

// oddRooms are names that could be taken for something else in the name of a channel. id is that of a socket on
// another server.
func oddRooms(id string) []string {
	return []string{
		"", " ", "#", "##", "x", "x#", "#x", "x#y", "*", "?", "[a", "[a]", `\`, `a\*`, "/", "/chat", "-request#/#", "emitter",
		"two words", "\u00e4\u20ac", "\U0001f41f", "a,b", "\"{", "\x00", "\r\nPING\r\n", "__proto__", "constructor",
		strings.Repeat("r", 20), strings.Repeat("\u20ac", 170), id,
	}
}

// TestCluster_OddRooms: whatever a room is called, its sockets on every server get what is for it, once, and no others do.
func TestCluster_OddRooms(t *testing.T) {
	t.Parallel()
	forKinds(t, testOddRooms)
}

func testOddRooms(t *testing.T, k kind) {
	t.Helper()
	c := startServers(t, clusterOptions{kind: k})
	for _, on := range c.order {
		c.open("own "+on, on, "/") // in no room but its own
	}
	rooms := oddRooms(c.ids["own go1"])
	in := func(i int, on string) string { return fmt.Sprintf("%02d %s", i, on) }
	for _, on := range c.order {
		for i, room := range rooms {
			c.open(in(i, on), on, "/", room)
		}
	}
	for _, from := range c.order {
		for _, local := range []bool{true, false} {
			for i, room := range rooms {
				c.servers[from].emit(selection{NSP: "/", Rooms: []string{room}, Local: local}, fmt.Sprint("to ", i))
				c.servers[from].emit(selection{NSP: "/", Rooms: []string{room, "none"}, Local: local}, fmt.Sprint("also to ", i))
			}
			c.servers[from].emit(selection{NSP: "/"}, "mark")
			for _, on := range c.order {
				for i, room := range rooms {
					want := []string{fmt.Sprint("to ", i), fmt.Sprint("also to ", i), "mark"}
					if local && on != from {
						want = []string{"mark"}
					}
					c.sequence(in(i, on), fmt.Sprintf("%q from %s, local %v", room, from, local), want)
				}
				want := []string{"mark"}
				if last := len(rooms) - 1; on == "go1" && (!local || on == from) {
					want = []string{fmt.Sprint("to ", last), fmt.Sprint("also to ", last), "mark"}
				}
				c.sequence("own "+on, "no room, from "+from, want)
			}
		}
	}
}

// sequence checks the events of a client up to a mark, and forgets them.
func (c *cluster) sequence(client, what string, want []string) {
	c.t.Helper()
	s := c.clients[client]
	s.wait("event:mark", 1)
	same(c.t, client+": "+what, s.events(), want)
	c.p.do("clear", obj{"name": client}, nil)
}

// TestCluster_OddRoomsExcept: the same for the rooms that are left out, and for commands.
func TestCluster_OddRoomsExcept(t *testing.T) {
	t.Parallel()
	forKinds(t, testOddRoomsExcept)
}

func testOddRoomsExcept(t *testing.T, k kind) {
	t.Helper()
	c := startServers(t, clusterOptions{kind: k})
	for _, on := range c.order {
		c.open("out "+on, on, "/")
		c.open("in "+on, on, "/", "base")
	}
	for _, from := range c.order {
		s := c.servers[from]
		for _, room := range oddRooms(c.ids["out go2"]) {
			what := fmt.Sprintf("%q from %s", room, from)
			s.join(selection{NSP: "/", Rooms: []string{"base"}}, room)
			eventually(t, "three in "+what, func() bool {
				n := 0
				for _, r := range s.fetch(selection{NSP: "/", Rooms: []string{room}}) {
					if r.ID != c.ids["out go2"] {
						n++
					}
				}
				return n == 3
			})
			s.emit(selection{NSP: "/", Except: []string{room}}, "news")
			var want []string
			for _, on := range []string{"go1", "go2", "node"} {
				if room != c.ids["out "+on] {
					want = append(want, "out "+on)
				}
			}
			same(t, "all but "+what, c.got(from, "news"), want)
			s.leave(selection{NSP: "/", Rooms: []string{"base"}}, room)
			eventually(t, "nobody left in "+what, func() bool {
				found := s.fetch(selection{NSP: "/", Rooms: []string{room}})
				return len(found) == 0 || len(found) == 1 && found[0].ID == c.ids["out go2"]
			})
		}
	}
}

// TestCluster_OddNamespaces: no namespace gets what is for another one, however their channels are called. A namespace
// with [ or \ in its name is one that classic Node cannot hear of, for it takes the name for a pattern.
func TestCluster_OddNamespaces(t *testing.T) {
	t.Parallel()
	forKinds(t, testOddNamespaces)
}

func testOddNamespaces(t *testing.T, k kind) {
	t.Helper()
	names := []string{
		"/#", "/#x", "/x", "/x#", "/x#y", "/x#*", "/x*", "/xy", "/x?", "/*", "/-", "/two words", "/\u00e4\u20ac",
		"/\U0001f41f", "/x/y", "/{", "/\"", "/x[y]", "/x[y", `/x\y`,
	}
	c := startServers(t, clusterOptions{kind: k, namespaces: names})
	names = append([]string{"/"}, names...)
	rooms := []string{"x", "#", "y", "#x#", ""} // their channels are those of other namespaces
	client := func(on, nsp string) string { return on + " " + nsp }
	for _, on := range c.order {
		c.open(client(on, "/"), on, "/", rooms...)
		for _, nsp := range names[1:] {
			c.openOver(client(on, nsp), client(on, "/"), nsp, rooms...)
		}
	}
	deaf := func(on, from, nsp string) bool {
		return k.node == "classic" && (on == "node" || allNode()) && from != on && strings.ContainsAny(nsp, `[\`)
	}
	for _, from := range c.order {
		s := c.servers[from]
		for _, nsp := range names {
			s.emit(selection{NSP: nsp}, "all of "+nsp)
			for _, room := range rooms {
				s.emit(selection{NSP: nsp, Rooms: []string{room}}, room+" in "+nsp)
			}
			s.emit(selection{NSP: nsp, Rooms: []string{"x", "#"}}, "both in "+nsp)
		}
		for _, nsp := range names {
			s.emit(selection{NSP: nsp}, "mark")
		}
		for _, on := range c.order {
			for _, nsp := range names {
				if deaf(on, from, nsp) {
					continue
				}
				c.sequence(client(on, nsp), "from "+from, []string{
					"all of " + nsp, "x in " + nsp, "# in " + nsp, "y in " + nsp, "#x# in " + nsp, " in " + nsp, "both in " + nsp, "mark",
				})
			}
		}
	}
	for _, nsp := range names {
		if !deaf("node", "", nsp) {
			continue
		}
		for _, e := range c.clients[client("node", nsp)].events() {
			if !strings.HasSuffix(e, " in "+nsp) && e != "all of "+nsp && e != "mark" {
				t.Errorf("%q got %q", nsp, e)
			}
		}
	}
}
