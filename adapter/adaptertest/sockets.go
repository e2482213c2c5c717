package adaptertest

import (
	"context"
	"errors"
	"maps"
	"reflect"
	"slices"
	"sync"
	"testing"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/parser"
)

var selections = []adapter.Options{
	{},
	{Rooms: []string{"red"}},
	{Rooms: []string{"red", "blue"}},
	{Rooms: []string{"nobody"}},
	{Rooms: []string{id(0, 2)}},
	{Except: []string{"blue"}},
	{Rooms: []string{"red"}, Except: []string{"blue"}},
	{Rooms: []string{"red"}, Flags: adapter.Flags{Local: true}},
	{Flags: adapter.Flags{Local: true}},
}

func testFetch(t *testing.T, w *world) {
	t.Helper()
	nodes := w.populate(t)
	all := sockets(nodes)
	auth := map[string]any{"token": "t", "n": 1.0}
	for i, s := range all {
		s.handshake = adapter.Handshake{
			Headers: map[string][]string{"User-Agent": {"test"}, "X-Number": {s.id}},
			Query:   map[string]string{"EIO": "4", "odd": "\u00e9&=#"},
			Auth:    parser.Value(auth),
			Address: "::ffff:127.0.0.1",
			URL:     "/socket.io/?EIO=4",
			Issued:  1795226400123,
			Time:    "Sat Nov 21 2026 02:00:00 GMT+0000 (Coordinated Universal Time)",
			Secure:  i%2 == 0,
			XDomain: i%3 == 0,
		}
		if i%4 != 3 {
			s.data = map[string]any{"name": s.id, "list": []any{1.0, nil}}
		}
	}
	for _, n := range nodes {
		for _, o := range selections {
			got, err := n.Fetch(deadline(t), o)
			if err != nil {
				t.Fatal(err)
			}
			bySocket := map[string]adapter.Remote{}
			for i, r := range got {
				bySocket[r.ID] = r
				if _, here := n.index.Lookup(r.ID); i < n.index.Count(o) && !here {
					t.Errorf("%s: %s comes before sockets of this server", describe(o), r.ID)
				}
			}
			if len(bySocket) != len(got) {
				t.Errorf("%s: a socket is there twice", describe(o))
			}
			for _, s := range all {
				r, there := bySocket[s.id]
				if there != selects(o, n.Host, s) {
					t.Errorf("%s: %s there: %v", describe(o), s.id, there)
				}
				if there {
					s.compare(t, r)
				}
			}
		}
	}
}

func (s *Socket) compare(t *testing.T, r adapter.Remote) {
	t.Helper()
	rooms := slices.Sorted(slices.Values(r.Rooms))
	if want := slices.Sorted(slices.Values(s.host.index.Rooms(s))); !slices.Equal(rooms, want) {
		t.Errorf("%s: rooms %q, want %q", s.id, rooms, want)
	}
	data, err := r.Data.Any()
	if err != nil {
		t.Error(err)
	}
	// A format may have to make an empty object out of no data.
	if m, ok := data.(map[string]any); !reflect.DeepEqual(data, s.data) && (s.data != nil || !ok || len(m) > 0) {
		t.Errorf("%s: data %v, want %v", s.id, data, s.data)
	}
	got, want := r.Handshake, s.handshake
	gotAuth, err := got.Auth.Any()
	if err != nil {
		t.Error(err)
	}
	if wantAuth, _ := want.Auth.Any(); !reflect.DeepEqual(gotAuth, wantAuth) {
		t.Errorf("%s: auth %v, want %v", s.id, gotAuth, wantAuth)
	}
	got.Auth, want.Auth = parser.Arg{}, parser.Arg{}
	got.Headers, want.Headers = lower(got.Headers), lower(want.Headers)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: handshake\n%+v\nwant\n%+v", s.id, got, want)
	}
}

func testCount(t *testing.T, w *world) {
	t.Helper()
	nodes := w.populate(t)
	for _, n := range nodes {
		for _, o := range selections {
			want := 0
			for _, s := range sockets(nodes) {
				if selects(o, n.Host, s) {
					want++
				}
			}
			if got, err := n.Count(deadline(t), o); err != nil || got != want {
				t.Errorf("%s: %d, %v, want %d", describe(o), got, err, want)
			}
		}
	}
}

// testRooms is for adapters that list rooms. One that embeds Local does, and must not do it for its own server alone.
func testRooms(t *testing.T, w *world) {
	t.Helper()
	nodes := w.populate(t)
	for i, n := range nodes {
		lister, ok := n.Adapter.(adapter.RoomLister)
		if !ok {
			return
		}
		for _, o := range selections {
			want := map[string]int{}
			for _, s := range sockets(nodes) {
				if selects(o, n.Host, s) {
					for _, room := range s.Rooms() {
						want[room]++
					}
				}
			}
			if got, err := lister.Rooms(deadline(t), o); err != nil || !maps.Equal(got, want) {
				t.Errorf("server %d, %s: %v, %v, want %v", i, describe(o), got, err, want)
			}
		}
	}
	first := nodes[0]
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := first.Adapter.(adapter.RoomLister).Rooms(deadline(t), adapter.Options{}); !errors.Is(err, adapter.ErrClosed) {
		t.Errorf("after Close: error %v", err)
	}
	for i, n := range nodes[1:] {
		got, err := n.Adapter.(adapter.RoomLister).Rooms(deadline(t), adapter.Options{})
		if err != nil || got["red"] != 2*len(nodes[1:]) || got["server-0"] != 0 {
			t.Errorf("server %d after another has closed: %v, %v", i+1, got, err)
		}
	}
}

func testCommandRooms(t *testing.T, w *world) {
	t.Helper()
	nodes := w.populate(t)
	all := sockets(nodes)
	model := map[*Socket][]string{}
	for _, s := range all {
		model[s] = s.Rooms()
	}
	for _, n := range nodes {
		for _, c := range []struct {
			o adapter.Options
			c adapter.Command
		}{
			{adapter.Options{}, adapter.Command{Join: []string{"green", "x#*"}}},
			{adapter.Options{Rooms: []string{"red"}, Except: []string{"blue"}}, adapter.Command{Join: []string{"yellow"}}},
			{adapter.Options{Rooms: []string{"nobody"}}, adapter.Command{Join: []string{"never"}}},
			{adapter.Options{Rooms: []string{"yellow", "blue"}}, adapter.Command{Leave: []string{"green", "none"}}},
			{adapter.Options{Rooms: []string{id(len(nodes)-1, 2)}}, adapter.Command{Join: []string{"single"}}},
			{adapter.Options{Except: []string{"yellow"}}, adapter.Command{Leave: []string{"x#*", "yellow"}}},
			{adapter.Options{Flags: adapter.Flags{Local: true}}, adapter.Command{Join: []string{"local"}}},
			{adapter.Options{Flags: adapter.Flags{Local: true}}, adapter.Command{Leave: []string{"local"}}},
			{adapter.Options{}, adapter.Command{Leave: []string{"yellow", "green", "x#*"}}},
		} {
			for _, s := range all {
				if !selects(c.o, n.Host, s) {
					continue
				}
				model[s] = append(slices.DeleteFunc(model[s], func(r string) bool {
					return slices.Contains(c.c.Leave, r) || slices.Contains(c.c.Join, r)
				}), c.c.Join...)
			}
			if err := n.Adapter.Command(t.Context(), c.c, c.o); err != nil {
				t.Fatal(err)
			}
			for _, s := range n.sockets { // here it must have happened
				if got, want := s.Rooms(), slices.Sorted(slices.Values(model[s])); !slices.Equal(got, want) {
					t.Errorf("%s: %s is in %q, want %q", describe(c.o), s.id, got, want)
				}
			}
			commandBarrier(t, nodes)
			for _, s := range all {
				if got, want := s.Rooms(), slices.Sorted(slices.Values(model[s])); !slices.Equal(got, want) {
					t.Errorf("%s: %s is in %q, want %q", describe(c.o), s.id, got, want)
				}
			}
		}
	}
	for _, s := range all { // no order was obeyed twice
		for _, c := range s.Orders() {
			if c.Disconnect || len(c.Join) > 0 == (len(c.Leave) > 0) {
				t.Errorf("%s was told %+v", s.id, c)
			}
		}
	}
}

func testCommandDisconnect(t *testing.T, w *world) {
	t.Helper()
	nodes := w.populate(t)
	all := sockets(nodes)
	left := map[*Socket]adapter.Command{}
	for _, c := range []struct {
		o adapter.Options
		c adapter.Command
	}{
		{adapter.Options{Rooms: []string{"nobody"}}, adapter.Command{Disconnect: true}},
		{adapter.Options{Rooms: []string{"red"}, Except: []string{"blue"}}, adapter.Command{Disconnect: true}},
		{adapter.Options{Rooms: []string{"blue"}}, adapter.Command{Disconnect: true, CloseConn: true}},
	} {
		for _, s := range all {
			if _, gone := left[s]; !gone && selects(c.o, nodes[0].Host, s) {
				left[s] = c.c
			}
		}
		if err := nodes[0].Adapter.Command(t.Context(), c.c, c.o); err != nil {
			t.Fatal(err)
		}
		commandBarrier(t, nodes)
	}
	for _, s := range all {
		c, want := left[s]
		if _, there := s.host.index.Lookup(s.id); there == want {
			t.Errorf("%s there: %v", s.id, there)
		}
		if got := s.Orders(); want && (len(got) != 1 || !reflect.DeepEqual(got[0], c)) || !want && len(got) > 0 {
			t.Errorf("%s was told %+v, want %+v", s.id, got, c)
		}
	}
}

// testClose covers that one server leaving does not hurt the others.
func testClose(t *testing.T, w *world) {
	t.Helper()
	nodes := w.populate(t)
	sayID(sockets(nodes)...)
	first, rest := nodes[0], nodes[1:]
	silent := first.sockets[0]
	silent.Answer(nil)
	pending := make(chan error, 1)
	go func() { // ends when the adapter closes
		o := adapter.Options{Flags: adapter.Flags{}, Rooms: []string{silent.id}}
		pending <- first.BroadcastWithAck(t.Context(), packet(first, "never answered"), o, func(adapter.Answer) {})
	}()
	testkit.Eventually(t, "the question arrives", func() bool { return silent.Has("never answered") })
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-pending; !errors.Is(err, adapter.ErrClosed) {
		t.Errorf("pending question: error %v", err)
	}
	if err := first.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if err := first.Broadcast(t.Context(), packet(first, "late"), adapter.Options{}); !errors.Is(err, adapter.ErrClosed) {
		t.Errorf("Broadcast after Close: error %v", err)
	}
	if _, err := first.Fetch(deadline(t), adapter.Options{}); !errors.Is(err, adapter.ErrClosed) {
		t.Errorf("Fetch after Close: error %v", err)
	}
	for i, n := range rest {
		if got, err := n.Count(deadline(t), adapter.Options{}); err != nil || got != 3*len(rest) {
			t.Errorf("server %d counts %d, %v", i+1, got, err)
		}
		a := answers{t: t}
		if err := n.BroadcastWithAck(deadline(t), packet(n, "who"), adapter.Options{}, a.add); err != nil {
			t.Error(err)
		}
		if got, want := a.firsts(), ids(sockets(rest)); !slices.Equal(got, want) {
			t.Errorf("answers of %q, want %q", got, want)
		}
	}
	barrier(t, rest)
	for _, s := range first.sockets {
		if s.Has("who") || s.Has("late") {
			t.Errorf("%s got something after Close", s.id)
		}
	}

	// The name can be opened again.
	h := NewHost(t, "/")
	a, err := w.clusters[0].Open(h)
	if err != nil {
		t.Fatal(err)
	}
	again := &node{Host: h, Adapter: a}
	again.connect(t, id(9, 9))
	barrier(t, append(rest, again))
}

// testConcurrent uses everything at once; what it finds, the race detector tells.
func testConcurrent(t *testing.T, w *world) {
	t.Helper()
	nodes := w.populate(t)
	sayID(sockets(nodes)...)
	ctx := deadline(t)
	var wg sync.WaitGroup
	for k, n := range nodes {
		n.Listen("ask", func([]any) ([]parser.Arg, bool) { return values("yes"), true })
		check := func(what string, err error) {
			var inc *adapter.Incomplete
			if err != nil && !errors.As(err, &inc) {
				t.Errorf("%s: %v", what, err)
			}
		}
		const rounds = 20
		wg.Go(func() {
			for i := range rounds {
				s := n.Connect(t, id(k, 10), "red", "green")
				check("broadcast", n.Broadcast(ctx, packet(n, "event", i), adapter.Options{Rooms: []string{"red", "green"}}))
				s.Disconnect()
			}
		})
		wg.Go(func() {
			for range rounds {
				o := adapter.Options{Except: []string{id(k, 10)}}
				check("ack", n.BroadcastWithAck(ctx, packet(n, "who"), adapter.Options{Rooms: []string{"blue"}}, func(adapter.Answer) {}))
				_, err := n.Fetch(ctx, o)
				check("fetch", err)
				_, err = n.Count(ctx, o)
				check("count", err)
			}
		})
		wg.Go(func() {
			for range rounds {
				o := adapter.Options{Rooms: []string{"blue"}}
				check("join", n.Adapter.Command(ctx, adapter.Command{Join: []string{"temporary"}}, o))
				check("leave", n.Adapter.Command(ctx, adapter.Command{Leave: []string{"temporary"}}, o))
				check("server side", n.Adapter.ServerSide(ctx, packet(n, "tell"), nil))
				check("server side", n.Adapter.ServerSide(ctx, packet(n, "ask"), func(adapter.Answer) {}))
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		t.Fatal(err)
	}
	barrier(t, nodes)
}
