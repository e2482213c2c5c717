package sockeye_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/redistest"
)

// session is what a client needs to come back.
type session struct{ SID, PID, offset string }

func (s session) auth() string { return fmt.Sprintf(`{"pid":%q,"offset":%q}`, s.PID, s.offset) }

// begin joins a namespace of a server with recovery.
func (p *peer) begin(nsp, auth string) (s session) {
	p.t.Helper()
	prefix := "0"
	if nsp != "/" {
		prefix += nsp + ","
	}
	p.send(prefix + auth)
	got := p.next()
	if !strings.HasPrefix(got, prefix+"{") {
		p.t.Fatalf("received %q, want the answer to CONNECT", got)
	}
	decode(p.t, got[len(prefix):], &s)
	if len(s.SID) != 20 || len(s.PID) != 20 {
		p.t.Fatalf("received %q", got)
	}
	return s
}

// event waits for an event with an offset as its last argument and gives the rest of the arguments.
func (p *peer) event(s *session) []any {
	p.t.Helper()
	got := p.next()
	i := strings.Index(got, "[")
	if i < 0 {
		p.t.Fatalf("received %q, want an event", got)
	}
	var args []any
	decode(p.t, got[i:], &args)
	last, ok := args[len(args)-1].(string)
	if !ok {
		p.t.Fatalf("received %q, want an offset", got)
	}
	s.offset = last
	return args[:len(args)-1]
}

// cut ends the connection as a broken network does, and waits until the server has seen it.
func (b *bundle) cut(p *peer, s *sockeye.Socket) {
	b.t.Helper()
	gone := make(chan struct{})
	s.OnDisconnect(func(sockeye.Reason) { close(gone) })
	_ = p.conn.Close()
	get(b.t, "disconnect", gone)
}

// settle waits until everything that was emitted before is in the history: what is on its way there may come to a client
// that is recovered after its CONNECT.
func (b *bundle) settle() {
	b.t.Helper()
	if _, err := b.To("nobody").EmitWithAck(b.t.Context(), "settle"); err != nil {
		b.t.Fatal(err)
	}
}

// withRecoveries runs a test with each adapter that can do recovery.
func withRecoveries(t *testing.T, f func(*testing.T, func() adapter.Cluster)) {
	t.Helper()
	t.Parallel()
	for name, a := range map[string]func() adapter.Cluster{
		"memory": adapter.Memory,
		"streams": func() adapter.Cluster {
			return redisadapter.Streams(redistest.NewHub().StreamDriver(), streamsOptions)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, a)
		})
	}
}

// streamsOptions make servers end quickly, and keep all of a test.
var streamsOptions = redisadapter.StreamsOptions{Block: 100 * time.Millisecond, MaxLen: 1 << 20}

func TestRecovery(t *testing.T) { withRecoveries(t, testRecovery) }

func testRecovery(t *testing.T, a func() adapter.Cluster) {
	t.Helper()
	b := setup(t, sockeye.Config{Adapter: a(), Recovery: &sockeye.Recovery{}})
	var asked []string
	b.Use(func(_ context.Context, s *sockeye.Socket) error {
		asked = append(asked, s.ID())
		return nil
	})
	c := sockets(b)
	echo(b)
	p := b.dial()
	first := p.begin("/", "")
	s := get(t, "socket", c)
	if s.Recovered() {
		t.Error("a new socket is recovered")
	}
	_ = s.Join("r")
	s.SetData(map[string]int{"n": 7})
	ctx := t.Context()
	if err := errors.Join(s.Emit("direct", 1), b.Emit("all"), s.Volatile().Emit("volatile")); err != nil {
		t.Fatal(err)
	}
	if got := p.event(&first); !slices.Equal(got, []any{"direct", 1.0}) {
		t.Errorf("received %v", got)
	}
	if got := p.event(&first); !slices.Equal(got, []any{"all"}) {
		t.Errorf("received %v", got)
	}
	// What has an acknowledgement or is volatile has no offset.
	go func() { _, _ = s.EmitWithAck(ctx, "ask") }() // its end is no matter
	for range 2 {
		if got := p.next(); got == `2["volatile"]` {
			continue
		} else if got != `20["ask"]` {
			t.Errorf("received %q", got)
		}
		break
	}
	b.cut(p, s)
	if err := errors.Join(
		b.To("r").Emit("room", []byte("bin")), b.To("elsewhere").Emit("no"), b.Except("r").Emit("no"),
		b.To(first.SID).Emit("own"), b.Of("/").All().Volatile().Emit("no"), s.Emit("closed"),
	); !errors.Is(err, sockeye.ErrClosed) {
		t.Fatal(err)
	}
	b.settle()

	p = b.dial()
	p.send("0" + first.auth())
	again := first
	got := p.next()
	if !strings.HasPrefix(got, `51-["room",{"_placeholder":true,"num":0},"`) {
		t.Fatalf("received %q", got)
	}
	p.wantBinary("bin")
	if got := p.event(&again); !slices.Equal(got, []any{"own"}) {
		t.Errorf("received %v", got)
	}
	p.want(fmt.Sprintf(`0{"sid":%q,"pid":%q}`, first.SID, first.PID))
	s = get(t, "socket", c)
	rooms := s.Rooms()
	slices.Sort(rooms[1:])
	var data struct{ N int }
	if !s.Recovered() || s.ID() != first.SID || !slices.Equal(rooms, []string{first.SID, "r"}) || s.ScanData(&data) != nil || data.N != 7 {
		t.Errorf("recovered %v, id %q, rooms %q, data %+v", s.Recovered(), s.ID(), rooms, data)
	}
	if len(asked) != 2 {
		t.Errorf("%d sockets went through the middleware, want 2", len(asked))
	}
	// It is a socket like any other, and may be cut again.
	if err := b.To("r").Emit("live"); err != nil {
		t.Fatal(err)
	}
	if got := p.event(&again); !slices.Equal(got, []any{"live"}) {
		t.Errorf("received %v", got)
	}
	b.cut(p, s)
	p = b.dial()
	p.send("0" + again.auth())
	p.want(fmt.Sprintf(`0{"sid":%q,"pid":%q}`, first.SID, first.PID))
	if s = get(t, "socket", c); !s.Recovered() {
		t.Error("not recovered a second time")
	}
}

func TestRecovery_Refused(t *testing.T) { withRecoveries(t, testRecoveryRefused) }

func testRecoveryRefused(t *testing.T, a func() adapter.Cluster) {
	t.Helper()
	tests := map[string]struct {
		change func(s *session)
		nsp    string
		cause  func(b *bundle, p *peer, s *sockeye.Socket)
	}{
		"unknown pid":          {change: func(s *session) { s.PID = strings.Repeat("x", 20) }},
		"huge pid":             {change: func(s *session) { s.PID = strings.Repeat("x", 500_000) }},
		"malformed pid":        {change: func(s *session) { s.PID = "../../../../../../.." }},
		"unknown offset":       {change: func(s *session) { s.offset = "unknown" }},
		"no offset":            {change: func(s *session) { s.offset = "" }},
		"other namespace":      {nsp: "/other"},
		"refused by the first": {nsp: "/refused"},
		"client left": {cause: func(_ *bundle, p *peer, s *sockeye.Socket) {
			p.send("1")
			testkit.Eventually(t, "left", func() bool { return !s.Connected() })
		}},
		"server disconnected it": {cause: func(_ *bundle, _ *peer, s *sockeye.Socket) { _ = s.Disconnect(true) }},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, sockeye.Config{Adapter: a(), Recovery: &sockeye.Recovery{}})
			b.Of("/refused").Use(func(context.Context, *sockeye.Socket) error { return errors.New("no") })
			b.Of("/other")
			c := sockets(b)
			p := b.dial()
			old := p.begin("/", "")
			s := get(t, "socket", c)
			_ = b.Emit("e")
			p.event(&old)
			if tt.cause != nil {
				tt.cause(b, p, s)
			}
			_ = p.conn.Close()
			testkit.Eventually(t, "gone", func() bool { return connected(b.Of("/")) == 0 })
			_ = b.Emit("missed", "secret")
			if tt.change != nil {
				tt.change(&old)
			}
			p = b.dial()
			if tt.nsp == "/refused" {
				p.send("0/refused," + old.auth())
				p.want(`4/refused,{"message":"no"}`)
				return
			}
			fresh := p.begin(or(tt.nsp, "/"), old.auth())
			if fresh.SID == old.SID || fresh.PID == old.PID {
				t.Error("an old session")
			}
		})
	}
}

func or(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

func TestRecovery_Middlewares(t *testing.T) { withRecoveries(t, testRecoveryMiddlewares) }

func testRecoveryMiddlewares(t *testing.T, a func() adapter.Cluster) {
	t.Helper()
	for _, skip := range []bool{false, true} {
		t.Run(fmt.Sprint("skip ", skip), func(t *testing.T) {
			t.Parallel()
			b := setup(t, sockeye.Config{Adapter: a(), Recovery: &sockeye.Recovery{SkipMiddlewares: skip}})
			locked := make(chan struct{})
			b.Use(func(context.Context, *sockeye.Socket) error {
				select {
				case <-locked:
					return errors.New("locked")
				default:
					return nil
				}
			})
			c := sockets(b)
			p := b.dial()
			old := p.begin("/", "")
			_ = b.Emit("e")
			p.event(&old)
			b.cut(p, get(t, "socket", c))
			_ = b.Emit("missed")
			b.settle()
			close(locked)
			p = b.dial()
			p.send("0" + old.auth())
			if !skip { // nothing that was missed comes before the middleware has let it in
				p.want(`4{"message":"locked"}`)
				return
			}
			if got := p.event(&old); !slices.Equal(got, []any{"missed"}) {
				t.Errorf("received %v", got)
			}
			p.want(fmt.Sprintf(`0{"sid":%q,"pid":%q}`, old.SID, old.PID))
		})
	}
}

// A handler that does not end keeps its socket from ending, but not the client from coming back.
// A middleware runs before it is known who the socket is going to be.
func TestRecovery_KeepsTheRoomsOfAMiddleware(t *testing.T) {
	withRecoveries(t, testRecoveryKeepsTheRoomsOfAMiddleware)
}

func testRecoveryKeepsTheRoomsOfAMiddleware(t *testing.T, a func() adapter.Cluster) {
	t.Helper()
	b := setup(t, sockeye.Config{Adapter: a(), Recovery: &sockeye.Recovery{}})
	b.Use(func(_ context.Context, s *sockeye.Socket) error { return s.Join("all", s.ID()+"-asked") })
	left := make(chan string, 64)
	b.Of("/").OnRoom(func(e sockeye.RoomEvent) {
		if e.Kind == "delete-room" {
			left <- e.Room
		}
	})
	c := sockets(b)
	p := b.dial()
	session := p.begin("/", "")
	s := get(t, "socket", c)
	if err := errors.Join(s.Join("own"), s.Emit("offset")); err != nil {
		t.Fatal(err)
	}
	p.event(&session)
	b.cut(p, s)
	for range 4 { // the three, and that of its id
		get(t, "deleted room", left)
	}
	p = b.dial()
	p.begin("/", session.auth())
	s = get(t, "socket", c)
	if !s.Recovered() || s.ID() != session.SID {
		t.Fatalf("recovered: %v", s.Recovered())
	}
	rooms := s.Rooms()
	for _, r := range []string{session.SID, "own", "all", session.SID + "-asked"} {
		if !slices.Contains(rooms, r) {
			t.Errorf("not in %q", r)
		}
	}
	if err := b.To("all").Emit("to all"); err != nil {
		t.Fatal(err)
	}
	if got := p.event(&session); !slices.Equal(got, []any{"to all"}) {
		t.Errorf("received %v", got)
	}
	for len(left) > 0 { // of the attempt, before it was known
		<-left
	}
	b.cut(p, s)
	for range len(rooms) {
		get(t, "deleted room", left)
	}
	if s.Rooms() != nil {
		t.Errorf("still in %q", s.Rooms())
	}
}

func TestRecovery_WhileAHandlerHangs(t *testing.T) { withRecoveries(t, testRecoveryWhileAHandlerHangs) }

func testRecoveryWhileAHandlerHangs(t *testing.T, a func() adapter.Cluster) {
	t.Helper()
	b := setup(t, sockeye.Config{Adapter: a(), Recovery: &sockeye.Recovery{}})
	release := make(chan struct{})
	begun := make(chan struct{})
	b.On("hang", handlerFunc(func(context.Context, *sockeye.Message) error {
		close(begun)
		<-release
		return nil
	}))
	c := sockets(b)
	p := b.dial()
	old := p.begin("/", "")
	s := get(t, "socket", c)
	_ = s.Join("r")
	_ = b.Emit("e")
	p.event(&old)
	p.send(`2["hang"]`)
	get(t, "handler", begun)
	_ = p.conn.Close()
	testkit.Eventually(t, "the end is seen", func() bool { return !s.Connected() })
	// The session is kept by another goroutine, which may not have run yet: then the client gets a new one.
	testkit.Eventually(t, "recovered", func() bool {
		p := b.dial()
		p.send("0" + old.auth())
		got := p.next()
		s := get(t, "socket", c)
		if strings.Contains(got, old.SID) {
			return s.Recovered()
		}
		_ = p.conn.Close()
		return false
	})
	close(release)
	testkit.Eventually(t, "the old socket leaves the new one alone", func() bool {
		n, err := b.To("r").Count(t.Context())
		return n == 1 && err == nil
	})
	now, ok := b.Of("/").Socket(old.SID)
	if !ok || now == s {
		t.Error("the index has the old socket")
	}
}

type noRecovery struct{ adapter.Cluster }

func TestRecovery_NeedsAnAdapter(t *testing.T) {
	t.Parallel()
	_, err := sockeye.New(sockeye.Config{Adapter: noRecovery{adapter.Memory()}, Recovery: &sockeye.Recovery{}})
	if err == nil || !strings.Contains(err.Error(), "Recovery") {
		t.Errorf("New: %v", err)
	}
}

// Each event that is broadcast while clients come and go reaches each session once and in order.
func TestRecovery_NothingLostOrDoubled(t *testing.T) {
	withRecoveries(t, testRecoveryNothingLostOrDoubled)
}

func testRecoveryNothingLostOrDoubled(t *testing.T, a func() adapter.Cluster) {
	t.Helper()
	cluster := a()
	_, slow := cluster.(interface{ Stats() redisadapter.Stats })
	b := setup(t, sockeye.Config{
		Adapter: cluster, Recovery: &sockeye.Recovery{}, Queue: sockeye.SendQueue{MaxPackets: 1 << 20, MaxBytes: 1 << 30},
	})
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		pace := time.NewTicker(200 * time.Microsecond)
		defer pace.Stop()
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-pace.C:
				_ = b.Emit("n", i)
			}
		}
	}()
	t.Run("clients", func(t *testing.T) {
		for range 4 {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				sub := *b
				sub.t = t
				follow(&sub, 15, slow)
			})
		}
	})
	close(stop)
	<-ended
}

// follow receives events and comes back that many times. Where an event may be late, on a busy machine, it need not be
// recovered each time.
func follow(b *bundle, times int, slow bool) {
	p := b.dial()
	recovered := 0
	s := p.begin("/", "")
	next := -1
	for range times {
		for range 50 {
			next = p.number(&s, p.next(), next)
		}
		_ = p.conn.Close()
		testkit.Eventually(b.t, "the end is seen", func() bool {
			_, there := b.Of("/").Socket(s.SID)
			return !there
		})
		// What came before the end but was not read is missed too.
		p = b.dial()
		p.send("0" + s.auth())
		for {
			got := p.next()
			if strings.HasPrefix(got, "0{") {
				if got == fmt.Sprintf(`0{"sid":%q,"pid":%q}`, s.SID, s.PID) {
					recovered++
					break
				}
				if !slow {
					b.t.Fatalf("not recovered: %q", got)
				}
				s, next = session{}, -1
				decode(p.t, got[1:], &s)
				break
			}
			next = p.number(&s, got, next)
		}
	}
	if recovered == 0 {
		b.t.Error("never recovered")
	}
}

// number checks that an event is the expected one, and gives the next.
func (p *peer) number(s *session, text string, want int) int {
	p.t.Helper()
	var args []any
	decode(p.t, strings.TrimPrefix(text, "2"), &args)
	n := int(args[1].(float64))
	if want >= 0 && n != want {
		p.t.Fatalf("event %d instead of %d", n, want)
	}
	if len(args) > 2 {
		s.offset, _ = args[2].(string)
	}
	return n + 1
}
