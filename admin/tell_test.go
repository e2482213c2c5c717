package admin

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/client"
	"github.com/sockeye-io/sockeye/engineio"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/redistest"
)

func TestPace(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	p := newPace(100, now)
	waits := make([]time.Duration, 0, 13)
	for range 13 {
		waits = append(waits, p.take(now))
	}
	want := append(make([]time.Duration, 11), 10*time.Millisecond, 20*time.Millisecond)
	if !slices.Equal(waits, want) {
		t.Errorf("waits %v, want %v", waits, want)
	}
	if wait := p.take(now.Add(time.Hour)); wait != 0 {
		t.Errorf("after an hour: %v", wait)
	}
	free := newPace(-1, now)
	for range 1000 {
		if wait := free.take(now); wait != 0 {
			t.Fatalf("without a bound: %v", wait)
		}
	}
}

// The queue is bounded; what changes the picture may have all of it, the rest half.
func TestTeller_Overflow(t *testing.T) {
	t.Parallel()
	te := newTeller(nil, nil, -1)
	for range maxTold {
		if te.room() {
			te.mention("event_sent")
		}
	}
	if len(te.queue) != maxTold/2 || te.lossy.Load() || te.dropped.Load() != maxTold/2 {
		t.Errorf("%d wait, lossy %v, %d dropped", len(te.queue), te.lossy.Load(), te.dropped.Load())
	}
	for range maxTold/2 + 1 {
		te.tell("room_joined")
	}
	te.mention("event_sent")
	if len(te.queue) != maxTold || !te.lossy.Load() || te.dropped.Load() != maxTold/2+2 {
		t.Errorf("%d wait, lossy %v, %d dropped", len(te.queue), te.lossy.Load(), te.dropped.Load())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	te.await(ctx, told{}) // returns
}

// Where something was left out the pages get the list again.
func TestAdmin_ShowsAgain(t *testing.T) {
	t.Parallel()
	var log lines
	s := setup(t, Options{Open: true, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	p := s.page(nil)
	p.find("all_sockets", nil)
	p.clear()
	s.a.teller.dropped.Add(3)
	s.a.teller.lossy.Store(true)
	p.find("all_sockets", nil)
	if text := log.String(); !strings.Contains(text, `msg="admin events left out" events=3`) {
		t.Errorf("the log does not say so:\n%s", text)
	}
	if s.a.teller.lossy.Load() {
		t.Error("it would be shown again and again")
	}
}

// With more sockets than MaxSockets only totals are told, until half are left.
func TestAdmin_MaxSockets(t *testing.T) {
	t.Parallel()
	s := setup(t, Options{Open: true, MaxSockets: 4})
	p := s.page(nil)
	features := func(want bool) func(args []any) bool {
		return func(args []any) bool { return strings.Contains(fmt.Sprint(args), "ALL_EVENTS") == want }
	}
	p.find("config", features(true))
	var clients []*peer
	for range 4 {
		clients = append(clients, s.join("/", client.Config{}))
	}
	p.find("config", features(false))
	p.clear()
	quiet := s.join("/", client.Config{})
	sock, _ := s.io.Of("/").Socket(quiet.ID())
	must(t, sock.Join("room"))
	sock.SetData(1)
	must(t, sock.Emit("event"))
	p.find("server_stats", nil)
	if all := p.all(); len(all) > 0 {
		t.Errorf("told of %v", all)
	}
	again := s.page(nil)
	again.find("config", features(false))
	must(t, again.Manager().Close())
	for _, c := range append(clients[1:], quiet) {
		must(t, c.Manager().Close())
	}
	p.find("config", features(true))
	list := p.find("all_sockets", nil)[0].([]any)
	if len(list) != 2 {
		t.Errorf("%d sockets", len(list))
	}
}

// A long list comes in parts, with the time of each connection.
func TestAdmin_LongList(t *testing.T) {
	t.Parallel()
	s := setup(t, Options{Open: true})
	const many = maxList + 30
	for range many / 2 { // each with two sockets
		c := s.join("/", client.Config{})
		s.io.Of("/other")
		must(t, c.Manager().Socket("/other").Connect(t.Context()))
	}
	p := s.page(nil)
	list := p.find("all_sockets", nil)[0].([]any)
	seen := map[string]int{}
	note := func(v any) {
		m, _ := v.(map[string]any)
		seen[fmt.Sprint(m["nsp"], " ", m["id"])]++
	}
	for _, v := range list {
		note(v)
	}
	if len(list) != maxList {
		t.Errorf("%d at once", len(list))
	}
	testkit.Eventually(t, "the rest", func() bool {
		for _, e := range p.all() {
			if e.name == "socket_connected" && e.args[0].(map[string]any)["nsp"] != "/admin" {
				note(e.args[0])
			}
		}
		p.clear()
		n := 0
		for k := range seen {
			if !strings.HasPrefix(k, "/admin") {
				n++
			}
		}
		return n == many
	})
}

// Two servers are one for their pages, whatever the page is connected to.
func TestAdmin_Cluster(t *testing.T) {
	t.Parallel()
	hub := redistest.NewHub()
	node := func(id string) *site {
		return setup(t, Options{Open: true, Write: true, ServerID: id}, sockeye.Config{
			Adapter: redisadapter.PubSub(hub.Driver(), redisadapter.PubSubOptions{}),
		})
	}
	one, two := node("one"), node("two")
	c := two.join("/", client.Config{})
	sock, _ := two.io.Of("/").Socket(c.ID())
	sock.SetData(map[string]any{"name": "Ann"})
	p := one.page(nil)
	isIt := func(v any) bool { return v.(map[string]any)["id"] == c.ID() }
	list := p.find("all_sockets", nil)[0].([]any)
	i := slices.IndexFunc(list, isIt)
	if i < 0 {
		t.Fatalf("list %v", list)
	}
	info := list[i].(map[string]any)
	same(t, "data", info["data"], map[string]any{"name": "Ann"})
	same(t, "client", []any{info["clientId"], info["transport"]}, []any{sock.ClientID(), "websocket"})
	for _, id := range []string{"one", "two"} {
		p.find("server_stats", func(args []any) bool { return args[0].(map[string]any)["serverId"] == id })
	}
	must(t, p.Emit("join", "/", "room", c.ID()))
	p.find("room_joined", func(args []any) bool { return args[1] == "room" && args[2] == c.ID() })
	must(t, p.Emit("emit", "/", "room", "news", 1))
	c.find("news", nil)
	p.find("event_sent", func(args []any) bool { return args[1] == c.ID() })
	must(t, c.Emit("hello"))
	p.find("event_received", func(args []any) bool { return args[1] == c.ID() })
	// What one server left out, the other shows again.
	p.clear()
	two.a.teller.lossy.Store(true)
	p.find("all_sockets", nil)
	id := c.ID() // it has none later
	must(t, p.Emit("_disconnect", "/", true, id))
	p.find("socket_disconnected", func(args []any) bool { return args[1] == id })
	testkit.Eventually(t, "the client is out", func() bool { return c.reason() != "" })
}

// A page that asks for the sockets of too many gets those of its server.
func TestAdmin_TooManyInCluster(t *testing.T) {
	t.Parallel()
	hub := redistest.NewHub()
	node := func() *site {
		return setup(t, Options{Open: true, MaxSockets: 3}, sockeye.Config{
			Adapter: redisadapter.PubSub(hub.Driver(), redisadapter.PubSubOptions{}),
		})
	}
	one, two := node(), node()
	for range 2 {
		one.join("/", client.Config{})
		two.join("/", client.Config{})
	}
	list := one.page(nil).find("all_sockets", nil)[0].([]any)
	if len(list) != 3 {
		t.Errorf("%d sockets", len(list))
	}
}

func TestAggregator(t *testing.T) {
	t.Parallel()
	var g aggregator
	now := time.UnixMilli(1795229833999)
	var st engineio.Stats
	g.sample(&st, now)
	same(t, "nothing", g.take(), []any{})
	st.Transports[0].Opened, st.Transports[2].Opened = 2, 1
	st.PacketsIn, st.BytesIn, st.PacketsOut, st.BytesOut = 1, 2, 3, 4
	st.Closed[1] = engineio.ClosedStats{Reason: engineio.ReasonForcedClose, Count: 1}
	g.sample(&st, now)
	st.PacketsIn += 5
	g.sample(&st, now.Add(time.Second))
	first, second := 1795229833000, 1795229834000
	entry := func(at int, typ string, n int) map[string]any {
		return map[string]any{"timestamp": at, "type": typ, "count": n}
	}
	gone := entry(first, "rawDisconnection", 1)
	gone["subType"] = "forced close"
	same(t, "entries", plainJSON(t, g.take()), plainJSON(t, []any{
		entry(first, "rawConnection", 3), entry(first, "packetsIn", 1), entry(first, "bytesIn", 2), entry(first, "packetsOut", 3),
		entry(first, "bytesOut", 4), gone, entry(second, "packetsIn", 5),
	}))
	same(t, "taken", g.take(), []any{})
}

// Of very many namespaces those with the most sockets are told.
func TestAdmin_ReportNamespaces(t *testing.T) {
	t.Parallel()
	a := &Admin{o: Options{ServerID: "x"}, hostname: "h"}
	st := &sockeye.Stats{}
	for i := range 2 * maxNamespaces {
		st.Namespaces = append(st.Namespaces, sockeye.NamespaceStats{Name: fmt.Sprint("/", i), Sockets: i})
	}
	st.Engine.Transports[0] = engineio.TransportStats{Transport: "polling", Open: 2}
	st.Engine.Transports[2] = engineio.TransportStats{Transport: "websocket", Open: 3}
	r := a.report(st, nil, started.Add(1500*time.Millisecond))
	if len(r.Namespaces) != maxNamespaces || r.Namespaces[0].Sockets != 2*maxNamespaces-1 {
		t.Errorf("%d namespaces, first %+v", len(r.Namespaces), r.Namespaces[0])
	}
	if r.Clients != 5 || r.Polling != 2 || r.Uptime != 1.5 || r.PID != os.Getpid() {
		t.Errorf("report %+v", r)
	}
}

// What is told is spaced out.
func TestTeller_Paced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		said := 0
		te := newTeller(func(string, ...any) error {
			said++
			return nil
		}, nil, 1000)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		begun := time.Now()
		last := make(chan time.Duration, 1)
		for range 2000 {
			te.tell("room_joined", "x")
		}
		te.await(ctx, told{event: "last", then: func() { last <- time.Since(begun) }})
		go func() { // ends when ctx does
			defer close(done)
			te.run(ctx)
		}()
		if took := <-last; took < 1890*time.Millisecond || took > 2*time.Second {
			t.Errorf("2,000 events in %v", took)
		}
		cancel()
		<-done
		if said != 2001 {
			t.Errorf("%d were told", said)
		}
	})
}
