package sockeye_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/engineio"
	"github.com/sockeye-io/sockeye/internal/testkit"
)

// diary is what observers were told, in order.
type diary struct {
	mu    sync.Mutex
	lines []string
}

func (d *diary) add(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, fmt.Sprintf(format, args...))
}

func (d *diary) all() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.lines)
}

// wait waits for a line.
func (d *diary) wait(t *testing.T, line string) {
	t.Helper()
	testkit.Eventually(t, line, func() bool { return slices.Contains(d.all(), line) })
}

// observer writes everything into the diary; ids are replaced by "ID".
func (d *diary) observer() sockeye.Observer {
	name := func(s *sockeye.Socket) string { return s.Namespace().Name() }
	return sockeye.Observer{
		Namespace: func(n *sockeye.Namespace) { d.add("namespace %s", n.Name()) },
		Connected: func(s *sockeye.Socket) { d.add("connected %s %v", name(s), s.Connected()) },
		Disconnected: func(s *sockeye.Socket, r sockeye.Reason) {
			d.add("disconnected %s %q %d", name(s), string(r), len(s.Rooms()))
		},
		Room: func(n *sockeye.Namespace, e sockeye.RoomEvent) {
			d.add("%s %s %s", e.Kind, n.Name(), strings.ReplaceAll(e.Room, e.Socket, "ID"))
		},
		Upgraded:    func(s *sockeye.Socket) { d.add("upgraded %s %s", name(s), s.Transport()) },
		DataChanged: func(s *sockeye.Socket) { d.add("data %s %v", name(s), s.Data()) },
		Sent:        func(s *sockeye.Socket, event string, args []any) { d.add("sent %s %s %v", name(s), event, args) },
		Received: func(ctx context.Context, s *sockeye.Socket, m *sockeye.Message) (context.Context, func(error)) {
			d.add("received %s %s %d %v", name(s), m.Event, len(m.Args()), sockeye.SocketFrom(ctx) == s)
			return nil, func(err error) { d.add("handled %s %v", m.Event, err) }
		},
		Broadcast: func(_ context.Context, n *sockeye.Namespace, event string) func(error) {
			d.add("broadcast %s %s", n.Name(), event)
			return func(err error) { d.add("done %s %v", event, err) }
		},
		Asked: func(_ context.Context, n *sockeye.Namespace, event string) func(int, error) {
			d.add("asked %s %s", n.Name(), event)
			return func(replies int, err error) { d.add("answered %s %d %v", event, replies, err != nil) }
		},
	}
}

func TestObserve_Order(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var d diary
	stop := b.Observe(d.observer())
	n := b.Of("/x")
	n.Use(func(_ context.Context, s *sockeye.Socket) error { s.SetData("early"); return nil })
	n.OnConnection(func(_ context.Context, s *sockeye.Socket) {
		d.add("OnConnection")
		_ = s.Join("r")
		s.OnDisconnecting(func(sockeye.Reason) { d.add("OnDisconnecting") })
		s.OnDisconnect(func(sockeye.Reason) { d.add("OnDisconnect") })
	})
	n.On("ask", handlerFunc(func(ctx context.Context, m *sockeye.Message) error {
		s := sockeye.SocketFrom(ctx)
		s.SetData(7)
		if err := s.Emit("direct", 1); err != nil {
			return err
		}
		_, err := s.EmitWithAck(ctx, "question")
		return errors.Join(err, m.Ack("x"))
	}))
	p := b.dial()
	p.join("/x", "")
	p.send(`2/x,1["ask",1,2]`)
	p.want(`2/x,["direct",1]`, `2/x,0["question"]`)
	p.send(`3/x,0[]`)
	p.want(`3/x,1["x"]`)
	d.wait(t, "handled ask <nil>")
	if err := n.To("r").Emit("news", "y"); err != nil {
		t.Fatal(err)
	}
	d.wait(t, "sent /x news [y]")
	p.send(`1/x,`)
	d.wait(t, "delete-room /x ID")
	d.wait(t, "OnDisconnect")
	want := []string{
		"namespace /x",
		"create-room /x ID", "join-room /x ID", "connected /x true", "OnConnection", "create-room /x r", "join-room /x r",
		"received /x ask 2 true", "data /x 7", "sent /x direct [1]", "asked /x question", "sent /x question []",
		"answered question 1 false", "handled ask <nil>",
		"broadcast /x news", "done news <nil>", "sent /x news [y]",
		"OnDisconnecting", `disconnected /x "client namespace disconnect" 2`,
		"leave-room /x r", "delete-room /x r", "leave-room /x ID", "delete-room /x ID", "OnDisconnect",
	}
	// A broadcast is told to the worker of the socket while it is still delivered.
	got := d.all()
	if i := slices.Index(got, "sent /x news [y]"); i > 0 && got[i-1] == "broadcast /x news" && i+1 < len(got) {
		got[i], got[i+1] = got[i+1], got[i]
	}
	if !slices.Equal(got, want) {
		t.Errorf("told\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	stop()
	stop()
	echo(b)
	q, _ := b.connect()
	q.quiet()
	if now := d.all(); len(now) != len(got) {
		t.Errorf("told after stop: %q", now[len(got):])
	}
}

// Observers learn of namespaces that were there before, and of dynamic ones.
func TestObserve_AllNamespaces(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.Of("/before")
	b.OfRegexp(regexp.MustCompile(`^/dyn-\d$`))
	var d diary
	b.Observe(d.observer())
	for _, n := range []string{"/", "/before", "/dyn-1"} {
		b.connect(n)
		d.wait(t, "connected "+n+" true")
		d.wait(t, "join-room "+n+" ID")
	}
	d.wait(t, "namespace /dyn-1")
	if slices.Contains(d.all(), "namespace /before") {
		t.Error("told of a namespace that was there before")
	}
}

func TestObserve_Upgraded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var d diary
	b.Observe(d.observer())
	p := b.dialWith(engineio.DialConfig{Transports: []string{"polling", "websocket"}}, "")
	testkit.Eventually(t, "upgrade", func() bool { return p.conn.Transport() == "websocket" })
	p.join("/", "") // after the upgrade: nobody is told of it
	b.park()
	if slices.ContainsFunc(d.all(), func(l string) bool { return strings.HasPrefix(l, "upgraded") }) {
		t.Errorf("told %q", d.all())
	}
	// One that has joined before.
	sid := b.park()
	testkit.Eventually(t, "the sockets", func() bool { return connected(b.Of("/")) == 3 })
	c := rawWebSocketWith(t, b, "&sid="+sid)
	c.write(t, "2probe")
	c.write(t, "5")
	d.wait(t, "upgraded / websocket")
}

// The context that an observer gives is that of the handlers, and the observer first asked is told last.
func TestObserve_Received(t *testing.T) {
	t.Parallel()
	type key struct{ n int }
	b := setup(t)
	var d diary
	for i := range 2 {
		b.Observe(sockeye.Observer{
			Received: func(ctx context.Context, _ *sockeye.Socket, _ *sockeye.Message) (context.Context, func(error)) {
				return context.WithValue(ctx, key{i}, i), func(err error) { d.add("%d %v", i, err) }
			},
		})
	}
	b.On("x", handlerFunc(func(ctx context.Context, m *sockeye.Message) error {
		if ctx.Value(key{0}) != 0 || ctx.Value(key{1}) != 1 || sockeye.SocketFrom(ctx) == nil {
			return errors.New("no value")
		}
		return errors.Join(m.Ack(), errors.New("refused"))
	}))
	echo(b)
	p, _ := b.connect()
	p.send(`21["x"]`)
	p.want(`31[]`)
	p.quiet()
	if got := d.all(); len(got) < 2 || !slices.Equal(got[:2], []string{"1 refused", "0 refused"}) {
		t.Errorf("told %q", got)
	}
}

func TestObserve_Asked(t *testing.T) {
	t.Parallel()
	b := setup(t, sockeye.Config{AckTimeout: time.Millisecond})
	var d diary
	b.Observe(d.observer())
	b.connect()
	d.wait(t, "connected / true")
	if _, err := b.To().EmitWithAck(t.Context(), "all"); err == nil {
		t.Error("nobody answered, and there is no error")
	}
	d.wait(t, "answered all 0 true")
	for s := range b.Of("/").Sockets() {
		if _, err := s.EmitWithAck(t.Context(), "one"); err == nil {
			t.Error("nobody answered, and there is no error")
		}
	}
	d.wait(t, "answered one 0 true")
	if st := b.Stats(); st.AcksTimedOut != 2 || st.AcksIn != 0 {
		t.Errorf("%+v", st)
	}
}

func TestObserve_PanicsAreSurvived(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.Observe(sockeye.Observer{
		Namespace:    func(*sockeye.Namespace) { panic("x") },
		Connected:    func(*sockeye.Socket) { panic("x") },
		Disconnected: func(*sockeye.Socket, sockeye.Reason) { panic("x") },
		Room:         func(*sockeye.Namespace, sockeye.RoomEvent) { panic("x") },
		DataChanged:  func(*sockeye.Socket) { panic("x") },
		Sent:         func(*sockeye.Socket, string, []any) { panic("x") },
		Received: func(context.Context, *sockeye.Socket, *sockeye.Message) (context.Context, func(error)) {
			return nil, func(error) { panic("x") }
		},
		Broadcast: func(context.Context, *sockeye.Namespace, string) func(error) { panic("x") },
		Asked: func(context.Context, *sockeye.Namespace, string) func(int, error) {
			return func(int, error) { panic("x") }
		},
	})
	echo(b)
	b.Of("/y")
	c := sockets(b)
	p, _ := b.connect()
	s := get(t, "socket", c)
	s.SetData(1)
	p.quiet()
	if err := b.Emit("all"); err != nil {
		t.Fatal(err)
	}
	p.want(`2["all"]`)
	asked := make(chan error, 1)
	go func() {
		_, err := s.EmitWithAck(t.Context(), "one")
		asked <- err
	}()
	p.want(`20["one"]`)
	p.send(`30[]`)
	if err := get(t, "answer", asked); err != nil {
		t.Error(err)
	}
	p.send(`1`)
	testkit.Eventually(t, "the end", func() bool { return connected(b.Of("/")) == 0 })
	testkit.Eventually(t, "reports", func() bool { return len(b.faults.panics()) >= 12 })
	for _, in := range b.faults.panics() {
		if in != "observer" {
			t.Errorf("panic in %q", in)
		}
	}
}

// With recovery the adapter sends what is for one socket: listeners are told once.
func TestObserve_SentOnceWithRecovery(t *testing.T) {
	withRecoveries(t, func(t *testing.T, a func() adapter.Cluster) {
		t.Helper()
		b := setup(t, sockeye.Config{Adapter: a(), Recovery: &sockeye.Recovery{}})
		echo(b)
		c := sockets(b)
		p := b.dial()
		ses := p.begin("/", "")
		s := get(t, "socket", c)
		told := make(chan string, 8)
		s.OnAnyOutgoing(func(event string, _ []any) { told <- event })
		b.Observe(sockeye.Observer{Sent: func(_ *sockeye.Socket, event string, _ []any) { told <- event }})
		if err := s.Emit("one"); err != nil {
			t.Fatal(err)
		}
		p.event(&ses)
		check := func(want string) {
			t.Helper()
			for range 2 {
				if got := get(t, "event", told); got != want {
					t.Errorf("told of %q, want %q", got, want)
				}
			}
		}
		check("one")
		p.send(`2["echo"]`) // its worker has done with what came before
		p.event(&ses)
		check("echo")
	})
}

func TestStats(t *testing.T) {
	t.Parallel()
	b := setup(t)
	c := sockets(b)
	echo(b)
	b.Of("/no").Use(func(context.Context, *sockeye.Socket) error { return errors.New("no") })
	b.OfRegexp(regexp.MustCompile(`^/dyn$`))
	p, _ := b.connect()
	s := get(t, "socket", c)
	if err := s.Join("r", "s"); err != nil {
		t.Fatal(err)
	}
	p.join("/dyn", "")
	p.send("0/no,")
	p.want(`4/no,{"message":"no"}`)
	p.send("0/unknown,")
	p.want(`4/unknown,{"message":"Invalid namespace"}`)
	p.send(`2["echo",1]`, `25["echo",1]`)
	p.want(`2["echo",1]`, `35[1]`)
	asked := make(chan error, 1)
	go func() {
		_, err := b.To("r").EmitWithAck(t.Context(), "q")
		asked <- err
	}()
	p.want(`20["q"]`)
	p.send(`30[]`, `30[]`, `399[]`) // only the first is waited for
	if err := get(t, "answer", asked); err != nil {
		t.Fatal(err)
	}
	b.connect()
	get(t, "second socket", c)
	if err := b.Emit("all"); err != nil {
		t.Fatal(err)
	}
	p.want(`2["all"]`)
	p.quiet()
	// What is sent is counted when it is queued, and may be there before.
	testkit.Eventually(t, "counts", func() bool {
		st := b.Stats()
		return st.EventsOut >= 5 && st.Engine.PacketsIn >= 11 && st.Engine.PacketsOut >= 11
	})
	st := b.Stats()
	if st.EventsIn != 3 || st.EventsOut != 5 || st.AcksIn != 1 || st.AcksOut != 1 || st.AcksTimedOut != 0 {
		t.Errorf("events %d in, %d out, acks %d in, %d out, %d missing",
			st.EventsIn, st.EventsOut, st.AcksIn, st.AcksOut, st.AcksTimedOut)
	}
	if st.Connected != 3 || st.Refused != 2 {
		t.Errorf("%d connected, %d refused", st.Connected, st.Refused)
	}
	want := []sockeye.NamespaceStats{
		{Name: "/", Sockets: 2, Rooms: 2}, {Name: "/dyn", Dynamic: true, Sockets: 1}, {Name: "/no"},
	}
	if !slices.Equal(st.Namespaces, want) {
		t.Errorf("namespaces %+v", st.Namespaces)
	}
	if st.Engine.PacketsIn != 11 || st.Engine.BytesIn == 0 || st.Engine.PacketsOut != 11 {
		t.Errorf("engine %+v", st.Engine)
	}
	p.send(`1`)
	_ = s.Disconnect(true)
	testkit.Eventually(t, "ends", func() bool {
		n := uint64(0)
		for _, d := range b.Stats().Disconnected {
			n += d.Count
		}
		return n == 2
	})
}

func TestStats_Recovery(t *testing.T) {
	withRecoveries(t, func(t *testing.T, a func() adapter.Cluster) {
		t.Helper()
		b := setup(t, sockeye.Config{Adapter: a(), Recovery: &sockeye.Recovery{}})
		c := sockets(b)
		p := b.dial()
		ses := p.begin("/", "")
		s := get(t, "socket", c)
		if err := b.Emit("all"); err != nil {
			t.Fatal(err)
		}
		p.event(&ses)
		b.cut(p, s)
		if got := b.dial().begin("/", ses.auth()); got.SID != ses.SID {
			t.Errorf("%+v is not recovered as %+v", got, ses)
		}
		for _, auth := range []string{
			``, `{}`, `{"token":1}`, // they ask for nothing
			`{"pid":"AAAAAAAAAAAAAAAAAAAA","offset":"x"}`,
			`{"pid":1,"offset":"x"}`, `{"pid":"short","offset":"x"}`, `{"pid":"AAAAAAAAAAAAAAAAAAAA"}`,
		} {
			b.dial().begin("/", auth)
		}
		want := sockeye.RecoveryStats{Recovered: 1, Unknown: 1, Malformed: 3}
		testkit.Eventually(t, "counts", func() bool { return b.Stats().Recovery.Recovered > 0 })
		if got := b.Stats().Recovery; got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	})
}

// Observers come and go while sockets do.
func TestObserve_WhileSocketsComeAndGo(t *testing.T) {
	t.Parallel()
	b := setup(t)
	echo(b)
	b.OfRegexp(regexp.MustCompile(`^/dyn-\d$`))
	var d diary
	done := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 2 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				stop := b.Observe(d.observer())
				if i == 0 {
					_ = b.Stats()
				}
				stop()
				runtime.Gosched()
			}
		})
	}
	for i := range 10 {
		p, _ := b.connect("/", fmt.Sprintf("/dyn-%d", i%3))
		if err := b.Emit("all"); err != nil {
			t.Error(err)
		}
		p.want(`2["all"]`)
		p.quiet()
		_ = p.conn.Close()
	}
	close(done)
	wg.Wait()
	testkit.Eventually(t, "the end of all", func() bool {
		st := b.Stats()
		n := uint64(0)
		for _, e := range st.Disconnected {
			n += e.Count
		}
		return n == 20 && st.Connected == 20
	})
}
