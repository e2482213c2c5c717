package adaptertest

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/parser"
)

// names gives the events that a socket got.
func names(s *Socket) []string {
	var events []string
	for _, r := range s.Got() {
		events = append(events, r.Event)
	}
	return events
}

func testBroadcastSelects(t *testing.T, w *world) {
	t.Helper()
	nodes := w.populate(t)
	last := len(nodes) - 1
	want := map[*Socket]map[string]int{}
	total := 0
	for i, o := range []adapter.Options{
		{},
		{Rooms: []string{}, Except: []string{}},
		{Rooms: []string{"red"}},
		{Rooms: []string{"nobody"}},
		{Rooms: []string{"red", "blue"}},
		{Rooms: []string{"red", "red"}},
		{Rooms: []string{"blue", "server-0", "nobody"}},
		{Rooms: []string{id(0, 2)}},
		{Rooms: []string{id(last, 2)}},
		{Rooms: []string{id(0, 0), id(last, 1), "red"}},
		{Except: []string{"red"}},
		{Except: []string{"red", "server-0"}},
		{Except: []string{id(0, 0)}},
		{Except: []string{"nobody"}},
		{Rooms: []string{"red"}, Except: []string{"blue"}},
		{Rooms: []string{"red"}, Except: []string{"red"}},
		{Rooms: []string{"red", "server-0"}, Except: []string{id(0, 0), "nobody"}},
		{Flags: adapter.Flags{Local: true}},
		{Rooms: []string{"red"}, Flags: adapter.Flags{Local: true}},
		{Rooms: []string{"red"}, Except: []string{"blue"}, Flags: adapter.Flags{Local: true}},
	} {
		for k, n := range nodes {
			event := fmt.Sprintf("case %d from %d: %s", i, k, describe(o))
			broadcast(t, n, o, event)
			total++
			for _, s := range sockets(nodes) {
				if want[s] == nil {
					want[s] = map[string]int{}
				}
				if selects(o, n.Host, s) {
					want[s][event]++
				}
			}
		}
	}
	barrier(t, nodes)
	for s, events := range want {
		got := map[string]int{}
		for _, e := range names(s) {
			got[e]++
		}
		if !reflect.DeepEqual(got, events) {
			t.Errorf("%s got\n%v\nwant\n%v", s.id, got, events)
		}
	}
	if total == 0 {
		t.Error("nothing was sent")
	}
}

// oddRooms are names that a wire format or a pattern subscription may stumble over.
var oddRooms = []string{
	"", "#", "##", "x#", "#x#", "*", "?", "[a", "[a-z]", "\\", "a\x00b", "\r\n", " ", "room with blanks", ",", "/", "/#/",
	"\U0001F41F", "\u00e9t\u00e9", "%23", "+", "$", "{}", "undefined", "null", "0", "42", "__proto__", "constructor",
	"abcdefghijklmnopqrst", "request", "response", strings.Repeat("long", 128),
}

// testOddRooms covers T22: what a room is called changes nothing.
func testOddRooms(t *testing.T, w *world) {
	t.Helper()
	nodes := w.open(t, "/")
	for k, n := range nodes {
		for i, room := range oddRooms {
			n.connect(t, id(k, i), room)
		}
		n.connect(t, id(k, 99))
	}
	w.settle(t)
	for k, n := range nodes {
		for i, room := range oddRooms {
			broadcast(t, n, adapter.Options{Rooms: []string{room}}, fmt.Sprintf("one %d from %d", i, k))
			pair := []string{room, oddRooms[(i+1)%len(oddRooms)]}
			broadcast(t, n, adapter.Options{Rooms: pair, Except: pair[1:]}, fmt.Sprintf("pair %d from %d", i, k))
		}
	}
	barrier(t, nodes)
	for k, n := range nodes {
		for i, s := range n.sockets {
			var want []string
			for k := range nodes {
				if i < len(oddRooms) {
					want = append(want, fmt.Sprintf("one %d from %d", i, k), fmt.Sprintf("pair %d from %d", i, k))
				}
			}
			slices.Sort(want)
			got := names(s)
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("server %d, socket %d: %q, want %q", k, i, got, want)
			}
		}
	}
}

// arguments are values of every kind, as they are given and as they must arrive.
func arguments() (given, want []any) {
	given = []any{
		"text", "", "\u2028 \U0001F41F \x00 \"", 0, -1, 1 << 40, 1.5, -0.25, true, false, nil,
		[]any{},
		map[string]any{},
		[]byte("bytes"),
		[]byte{},
		map[string]any{"deep": []any{map[string]any{"bytes": []byte{0, 255}}, []any{[]byte("x")}}, "__proto__": 1},
	}
	want = []any{
		"text", "", "\u2028 \U0001F41F \x00 \"", 0.0, -1.0, float64(1 << 40), 1.5, -0.25, true, false, nil,
		[]any{},
		map[string]any{},
		[]byte("bytes"),
		[]byte{},
		map[string]any{"deep": []any{map[string]any{"bytes": []byte{0, 255}}, []any{[]byte("x")}}, "__proto__": 1.0},
	}
	return given, want
}

func testBroadcastArguments(t *testing.T, w *world) {
	t.Helper()
	nodes := w.populate(t)
	given, want := arguments()
	for _, n := range nodes {
		broadcast(t, n, adapter.Options{}, "all", given...)
		broadcast(t, n, adapter.Options{Rooms: []string{"red"}}, "", given...)
		broadcast(t, n, adapter.Options{}, "none")
	}
	barrier(t, nodes)
	for _, s := range sockets(nodes) {
		got := s.Got()
		if least := 2 * len(nodes); len(got) < least {
			t.Errorf("%s got %d events, want at least %d", s.id, len(got), least)
		}
		for _, r := range got {
			if slices.Contains(w.suite.limits, OffsetAdded) {
				r.Args = withoutOffset(r.Args)
			}
			if r.Event == "none" {
				if len(r.Args) != 0 {
					t.Errorf("%s: arguments %v out of nothing", s.id, r.Args)
				}
			} else if !reflect.DeepEqual(r.Args, want) {
				t.Errorf("%s got\n%#v\nwant\n%#v", s.id, r.Args, want)
			}
		}
	}
}

// withoutOffset takes away an offset, which an event that took long may be without.
func withoutOffset(args []any) []any {
	if len(args) == 0 {
		return args
	}
	offset, _ := args[len(args)-1].(string)
	ms, seq, ok := strings.Cut(offset, "-")
	_, err1 := strconv.ParseUint(ms, 10, 64)
	_, err2 := strconv.ParseUint(seq, 10, 64)
	if !ok || err1 != nil || err2 != nil {
		return args
	}
	return args[:len(args)-1]
}

func testBroadcastFlags(t *testing.T, w *world) {
	t.Helper()
	nodes := w.populate(t)
	flags := []adapter.Flags{{}, {Volatile: true}, {NoCompress: true}, {Volatile: true, NoCompress: true}}
	for _, n := range nodes {
		for i, f := range flags {
			broadcast(t, n, adapter.Options{Flags: f}, strconv.Itoa(i))
		}
	}
	barrier(t, nodes)
	for _, s := range sockets(nodes) {
		got := s.Got()
		if want := len(nodes) * len(flags); len(got) != want {
			t.Errorf("%s got %d events, want %d", s.id, len(got), want)
		}
		for _, r := range got {
			i, err := strconv.Atoi(r.Event)
			if err != nil || r.Flags != flags[i] {
				t.Errorf("%s got %q with %+v", s.id, r.Event, r.Flags)
			}
		}
	}
}

// testBroadcastOrder covers that what one goroutine sends arrives in order, whoever it is for.
func testBroadcastOrder(t *testing.T, w *world) {
	t.Helper()
	nodes := w.populate(t)
	const count = 200
	options := []adapter.Options{
		{}, {Rooms: []string{"red"}}, {Rooms: []string{"red", "blue"}}, {Except: []string{"server-0"}}, {Rooms: []string{id(0, 1)}},
	}
	done := make(chan error, len(nodes))
	for k, n := range nodes {
		go func() { // ends when everything is sent
			for i := range count {
				p := packet(n, "event", k, i)
				if err := n.Broadcast(t.Context(), p, options[i%len(options)]); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range nodes {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	barrier(t, nodes)
	for _, s := range sockets(nodes) {
		for k, n := range nodes {
			var want, got []any
			for i := range count {
				if selects(options[i%len(options)], n.Host, s) {
					want = append(want, float64(i))
				}
			}
			for _, r := range s.Got() {
				if r.Args[0] == float64(k) {
					got = append(got, r.Args[1])
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s from %d: %v, want %v", s.id, k, got, want)
			}
		}
	}
}

// testBroadcastInvalid covers that a packet that cannot be encoded is an error and reaches nobody.
func testBroadcastInvalid(t *testing.T, w *world) {
	t.Helper()
	nodes := w.populate(t)
	p := &parser.Packet{Type: parser.Event, Namespace: "/", Event: "bad", Args: values(func() {})}
	for _, n := range nodes {
		if err := n.Broadcast(t.Context(), p, adapter.Options{}); err == nil {
			t.Error("Broadcast of a function: no error")
		}
		if err := n.BroadcastWithAck(deadline(t), p, adapter.Options{}, func(adapter.Answer) {}); err == nil {
			t.Error("BroadcastWithAck of a function: no error")
		}
	}
	barrier(t, nodes)
	for _, s := range sockets(nodes) {
		if got := names(s); len(got) > 0 {
			t.Errorf("%s got %q", s.id, got)
		}
	}
}

func testRoomEvents(t *testing.T, w *world) {
	t.Helper()
	nodes := w.open(t, "/")
	for k, n := range nodes {
		s := n.connect(t, id(k, 0))
		o := adapter.Options{Rooms: []string{s.id}}
		for _, c := range []adapter.Command{{Join: []string{"red"}}, {Leave: []string{"red"}}, {Disconnect: true}} {
			if err := nodes[0].Adapter.Command(t.Context(), c, o); err != nil {
				t.Fatal(err)
			}
		}
		testkit.Eventually(t, "the socket is gone", func() bool { return n.index.Len() == 0 && len(n.RoomEvents()) == 8 })
		want := []adapter.RoomEvent{
			{Kind: adapter.CreateRoom, Room: s.id, Socket: s.id},
			{Kind: adapter.JoinRoom, Room: s.id, Socket: s.id},
			{Kind: adapter.CreateRoom, Room: "red", Socket: s.id},
			{Kind: adapter.JoinRoom, Room: "red", Socket: s.id},
			{Kind: adapter.LeaveRoom, Room: "red", Socket: s.id},
			{Kind: adapter.DeleteRoom, Room: "red", Socket: s.id},
			{Kind: adapter.LeaveRoom, Room: s.id, Socket: s.id},
			{Kind: adapter.DeleteRoom, Room: s.id, Socket: s.id},
		}
		if got := n.RoomEvents(); !slices.Equal(got, want) {
			t.Errorf("server %d: %v", k, got)
		}
	}
}
