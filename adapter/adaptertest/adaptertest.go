// Package adaptertest is the conformance suite of adapters: whatever carries a namespace across servers must
// pass it with one, two and three of them.
//
// Not in this package: wire formats and faults of a store, which each adapter tests by itself.
package adaptertest

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/parser"
)

// Factory makes the clusters of a number of servers that know each other, and nobody else. The suite starts
// and closes them. When Open of an adapter has returned, what other servers send must reach it. A Cluster that learns
// of rooms in the background has a method Settled(context.Context) error, which waits for that.
type Factory func(t *testing.T, servers int) []adapter.Cluster

// Limit is something that a wire format cannot say, so that the suite does not ask for it across servers.
type Limit string

// The limits.
const (
	FirstAckArgument  Limit = "only the first argument of a socket's acknowledgement is carried"
	AckSocketUnknown  Limit = "an acknowledgement does not tell whose it is"
	AckFlagsDropped   Limit = "flags of broadcasts with acknowledgement are not carried"
	FirstServerAnswer Limit = "only the first argument of a server's answer is carried"
	ServerSideText    Limit = "server-side events carry no binary"
	OffsetAdded       Limit = "broadcasts have an offset as a further argument, since recovery is on"
)

const barrierEvent = "\x00barrier-"

var barriers atomic.Int64

// suite is one run with a number of servers.
type suite struct {
	factory Factory
	servers int
	limits  []Limit
}

// Run runs the suite with 1, 2 and 3 servers.
func Run(t *testing.T, f Factory, limits ...Limit) {
	t.Helper()
	for n := 1; n <= 3; n++ {
		RunServers(t, f, n, limits...)
	}
}

// RunServers runs the suite with that number of servers only.
func RunServers(t *testing.T, f Factory, servers int, limits ...Limit) {
	t.Helper()
	s := &suite{f, servers, limits}
	t.Run(fmt.Sprintf("servers=%d", servers), s.run)
}

func (s *suite) run(t *testing.T) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, *world)
	}{
		{"broadcast selects", testBroadcastSelects},
		{"broadcast to odd rooms", testOddRooms},
		{"broadcast carries arguments", testBroadcastArguments},
		{"broadcast carries flags", testBroadcastFlags},
		{"broadcast keeps order", testBroadcastOrder},
		{"broadcast refuses what cannot be encoded", testBroadcastInvalid},
		{"ack from all", testAckAll},
		{"ack with arguments", testAckArguments},
		{"ack from nobody", testAckNobody},
		{"ack selects", testAckSelects},
		{"ack incomplete", testAckIncomplete},
		{"ack of a socket that leaves", testAckLeaving},
		{"fetch", testFetch},
		{"count", testCount},
		{"rooms", testRooms},
		{"command join and leave", testCommandRooms},
		{"command disconnect", testCommandDisconnect},
		{"server side", testServerSide},
		{"server side with answers", testServerSideAnswers},
		{"server side incomplete", testServerSideIncomplete},
		{"namespaces", testNamespaces},
		{"close", testClose},
		{"concurrent use", testConcurrent},
		{"room events", testRoomEvents},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(t, s.setup(t))
		})
	}
}

// world is a set of servers that know each other.
type world struct {
	suite    *suite
	clusters []adapter.Cluster
}

// node is a namespace on one server.
type node struct {
	*Host
	adapter.Adapter

	sockets []*Socket
}

func (n *node) Name() string { return n.Host.Name() }

func (s *suite) setup(t *testing.T) *world {
	t.Helper()
	w := &world{s, s.factory(t, s.servers)}
	if len(w.clusters) != s.servers {
		t.Fatalf("factory gave %d clusters, want %d", len(w.clusters), s.servers)
	}
	for _, c := range w.clusters {
		if err := c.Start(deadline(t)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	return w
}

// open opens a namespace on every server.
func (w *world) open(t *testing.T, name string) []*node {
	t.Helper()
	var nodes []*node
	for _, c := range w.clusters {
		h := NewHost(t, name)
		a, err := c.Open(h)
		if err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, &node{Host: h, Adapter: a})
	}
	t.Cleanup(func() {
		for _, n := range nodes {
			for _, err := range n.Faults() {
				t.Errorf("fault: %v", err)
			}
		}
	})
	return nodes
}

// populate opens "/" and connects three sockets on each server: the first in red, the second in red and blue, the
// third in nothing but a room of its server.
func (w *world) populate(t *testing.T) []*node {
	t.Helper()
	nodes := w.open(t, "/")
	for i, n := range nodes {
		n.connect(t, id(i, 0), "red")
		n.connect(t, id(i, 1), "red", "blue")
		n.connect(t, id(i, 2), "server-"+strconv.Itoa(i))
	}
	w.settle(t)
	return nodes
}

// settle waits until the clusters know of the rooms that were joined.
func (w *world) settle(t *testing.T) {
	t.Helper()
	for _, c := range w.clusters {
		if s, ok := c.(interface {
			Settled(ctx context.Context) error
		}); ok {
			if err := s.Settled(deadline(t)); err != nil {
				t.Error(err)
			}
		}
	}
}

func (n *node) connect(t *testing.T, id string, rooms ...string) *Socket {
	t.Helper()
	s := n.Connect(t, id, rooms...)
	n.sockets = append(n.sockets, s)
	return s
}

// id is that of a socket: 20 characters, like real ones.
func id(server, socket int) string { return fmt.Sprintf("socket-%d-on-server-%d", socket, server)[:20] }

func sockets(nodes []*node) []*Socket {
	var all []*Socket
	for _, n := range nodes {
		all = append(all, n.sockets...)
	}
	return all
}

// lacks tells whether the wire format has a limit that shows with so many servers.
func (w *world) lacks(l Limit) bool { return w.suite.servers > 1 && slices.Contains(w.suite.limits, l) }

// barrier waits until every broadcast that was made on nodes has arrived everywhere, by sending one more from each.
func barrier(t *testing.T, nodes []*node) {
	t.Helper()
	for _, n := range nodes {
		event := barrierEvent + strconv.FormatInt(barriers.Add(1), 10)
		broadcast(t, n, adapter.Options{}, event)
		for _, s := range sockets(nodes) {
			testkit.Eventually(t, "the barrier arrives", func() bool {
				_, there := s.host.index.Lookup(s.id)
				return !there || s.Has(event)
			})
		}
	}
}

// commandBarrier is barrier for commands.
func commandBarrier(t *testing.T, nodes []*node) {
	t.Helper()
	for _, n := range nodes {
		room := barrierEvent + strconv.FormatInt(barriers.Add(1), 10)
		if err := n.Adapter.Command(t.Context(), adapter.Command{Join: []string{room}}, adapter.Options{}); err != nil {
			t.Fatal(err)
		}
		for _, s := range sockets(nodes) {
			testkit.Eventually(t, "the barrier is obeyed", func() bool {
				_, there := s.host.index.Lookup(s.id) // an earlier order to disconnect may still be on its way
				return !there || s.InRoom(room)
			})
		}
	}
}

func broadcast(t *testing.T, n *node, o adapter.Options, event string, args ...any) {
	t.Helper()
	if err := n.Broadcast(t.Context(), packet(n, event, args...), o); err != nil {
		t.Fatal(err)
	}
}

func packet(n *node, event string, args ...any) *parser.Packet {
	return &parser.Packet{Type: parser.Event, Namespace: n.Name(), Event: event, Args: values(args...)}
}

// deadline is a context that ends with the test, or much later than anything should take.
func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Scale(20*time.Second))
	t.Cleanup(cancel)
	return ctx
}

// selects is the meaning of Options, said again in the plainest way.
func selects(o adapter.Options, sender *Host, s *Socket) bool {
	if o.Flags.Local && s.host != sender {
		return false
	}
	in := func(rooms []string) bool {
		return slices.ContainsFunc(rooms, func(r string) bool { return r == s.id || s.InRoom(r) })
	}
	return (len(o.Rooms) == 0 || in(o.Rooms)) && !in(o.Except)
}

func describe(o adapter.Options) string {
	return strings.Join(o.Rooms, "+") + " but " + strings.Join(o.Except, "+")
}
