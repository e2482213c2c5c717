package redisadapter_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/internal/rediswire"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/parser"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/redistest"
)

const (
	testPID = "pppppppppppppppppppp"
	testSID = "ssssssssssssssssssss"
	testKey = "sio:session:" + testPID
)

// mortal is a driver that can be killed: nothing that is done by it afterwards is seen by others, nor done.
type mortal struct {
	redisadapter.StreamDriver

	dead  atomic.Bool
	calls atomic.Int64 // of Get, Range and Delete
}

var errDead = errors.New("dead")

func (d *mortal) Connect(ctx context.Context) error {
	if d.dead.Load() {
		return errDead
	}
	return d.StreamDriver.Connect(ctx)
}

func (d *mortal) Append(ctx context.Context, batch []redisadapter.Append) ([]string, []error) {
	if d.dead.Load() {
		return nil, slices.Repeat([]error{errDead}, len(batch))
	}
	return d.StreamDriver.Append(ctx, batch)
}

func (d *mortal) Set(ctx context.Context, batch []redisadapter.Key) []error {
	if d.dead.Load() {
		return slices.Repeat([]error{errDead}, len(batch))
	}
	return d.StreamDriver.Set(ctx, batch)
}

func (d *mortal) Get(ctx context.Context, key string) (string, bool, error) {
	d.calls.Add(1)
	if d.dead.Load() {
		return "", false, errDead
	}
	return d.StreamDriver.Get(ctx, key)
}

func (d *mortal) Delete(ctx context.Context, key string) (bool, error) {
	d.calls.Add(1)
	if d.dead.Load() {
		return false, errDead
	}
	return d.StreamDriver.Delete(ctx, key)
}

func (d *mortal) Range(ctx context.Context, s, first, last string, n int) ([]redisadapter.Entry, error) {
	d.calls.Add(1)
	return d.StreamDriver.Range(ctx, s, first, last, n)
}

// recoveringServer starts a server with recovery.
func recoveringServer(t *testing.T, d redisadapter.StreamDriver, r adapter.RecoveryOptions) (*server, adapter.SessionKeeper) {
	t.Helper()
	s := streamServer(t, d, redisadapter.StreamsOptions{}, &r)
	k, ok := s.Adapter.(adapter.SessionKeeper)
	if !ok {
		t.Fatal("it keeps no sessions")
	}
	return s, k
}

func snapshot(s *adaptertest.Socket) func() adapter.Session {
	return func() adapter.Session {
		return adapter.Session{ID: s.ID(), PID: testPID, Namespace: "/", Rooms: s.Rooms(), Data: parser.Value("d")}
	}
}

// offsetOf is the offset of what a socket got last; "" where it had none.
func offsetOf(s *adaptertest.Socket) string {
	got := s.Got()
	if args := got[len(got)-1].Args; len(args) > 0 {
		text, _ := args[len(args)-1].(string)
		return text
	}
	return ""
}

// restore gives the missed events. The session is continued by a new socket of the server.
func restore(t *testing.T, s *server, pid, offset string) (session adapter.Session, missed []string, err error) {
	t.Helper()
	r, ok := s.Adapter.(adapter.Recoverer)
	if !ok {
		t.Fatal("it cannot recover")
	}
	err = r.Restore(t.Context(), pid, offset, func(got adapter.Session, packets []*parser.Packet) error {
		session = got
		for _, p := range packets {
			missed = append(missed, p.Event)
		}
		return nil
	})
	return session, missed, err
}

func kept(t *testing.T, hub *redistest.Hub) (s adapter.Session, ok bool) {
	t.Helper()
	b, ok := hub.Keys()[testKey]
	if !ok || b == "" {
		return s, false
	}
	stored, err := rediswire.ParseSession(b)
	if err != nil {
		t.Fatal(err)
	}
	return stored.Session, true
}

// With recovery it is an adapter like any other.
func TestStreamsRecovery_Conformance(t *testing.T) {
	t.Parallel()
	redis := testkit.StartRedis(t)
	for name, world := range map[string]func(*testing.T) func() redisadapter.StreamDriver{
		"fake": func(*testing.T) func() redisadapter.StreamDriver { return redistest.NewHub().StreamDriver },
		"redis": func(t *testing.T) func() redisadapter.StreamDriver {
			t.Helper()
			return func() redisadapter.StreamDriver { return redisDriver(t, redis.URL()) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			adaptertest.Run(t, func(t *testing.T, servers int) []adapter.Cluster {
				t.Helper()
				driver := world(t)
				var all []adapter.Cluster
				for range servers {
					o := redisadapter.StreamsOptions{StreamName: t.Name(), ChannelPrefix: t.Name(), Block: quick}
					c, _ := redisadapter.Streams(driver(), o).(adapter.RecoveryCluster)
					if err := c.EnableRecovery(adapter.RecoveryOptions{}); err != nil {
						t.Fatal(err)
					}
					all = append(all, c)
				}
				return all
			}, append(slices.Clip(streamLimits), adaptertest.OffsetAdded)...)
		})
	}
}

// A session is in Redis from the beginning, and as it is.
func TestStreamsRecovery_Kept(t *testing.T) {
	t.Parallel()
	hub := redistest.NewHub()
	a, k := recoveringServer(t, hub.StreamDriver(), adapter.RecoveryOptions{})
	s := a.host.Connect(t, testSID, "red")
	k.Track(s, snapshot(s))
	testkit.Eventually(t, "kept", func() bool { _, ok := kept(t, hub); return ok })
	got, _ := kept(t, hub)
	if got.ID != testSID || got.PID != testPID || got.Namespace != "/" || !slices.Contains(got.Rooms, "red") || got.Data.IsZero() {
		t.Errorf("%+v", got)
	}
	if err := a.host.Index().Join(s, "blue"); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the room", func() bool { got, _ := kept(t, hub); return slices.Contains(got.Rooms, "blue") })
	k.Untrack(s, nil)
	testkit.Eventually(t, "forgotten", func() bool { _, ok := kept(t, hub); return !ok })
	if _, _, err := restore(t, a, testPID, "1-1"); !errors.Is(err, adapter.ErrNotRecoverable) {
		t.Errorf("error %v", err)
	}
	// One whose client is on another server is left alone.
	k.Track(s, snapshot(s))
	testkit.Eventually(t, "kept", func() bool { _, ok := kept(t, hub); return ok })
	d := hub.StreamDriver()
	if errs := d.Set(t.Context(), []redisadapter.Key{{Name: testKey, Value: "another's", TTL: time.Hour}}); errs != nil {
		t.Fatal(errs)
	}
	last := snapshot(s)()
	k.Untrack(s, &last)
	if err := a.cluster.Close(); err != nil {
		t.Fatal(err)
	}
	if got := hub.Keys()[testKey]; got != "another's" {
		t.Errorf("key %q", got)
	}
}

// A session is written again before Redis forgets it.
func TestStreamsRecovery_Refreshed(t *testing.T) {
	t.Parallel()
	hub := redistest.NewHub()
	a, k := recoveringServer(t, hub.StreamDriver(), adapter.RecoveryOptions{MaxDisconnection: time.Second})
	s := a.host.Connect(t, testSID)
	k.Track(s, snapshot(s))
	testkit.Eventually(t, "kept", func() bool { _, ok := kept(t, hub); return ok })
	first := hub.Expires(testKey)
	testkit.Eventually(t, "kept for longer", func() bool { return hub.Expires(testKey).After(first) })
}

// What was missed while a server was gone for good comes at another one.
func TestStreamsRecovery_ServerKilled(t *testing.T) {
	t.Parallel()
	hub := redistest.NewHub()
	d := &mortal{StreamDriver: hub.StreamDriver()}
	a, k := recoveringServer(t, d, adapter.RecoveryOptions{})
	b, _ := recoveringServer(t, hub.StreamDriver(), adapter.RecoveryOptions{})
	s := a.host.Connect(t, testSID, "red")
	probe := b.host.Connect(t, "bbbbbbbbbbbbbbbbbbbb", "probe") // what it has, the server has read
	k.Track(s, snapshot(s))
	testkit.Eventually(t, "kept", func() bool { _, ok := kept(t, hub); return ok })
	b.emit(t, "before")
	testkit.Eventually(t, "delivered", func() bool { return s.Has("before") })
	offset := offsetOf(s)
	d.dead.Store(true)
	last := snapshot(s)()
	k.Untrack(s, &last) // which comes too late

	b.emit(t, "all")
	b.emit(t, "red", "red")
	b.emit(t, "blue", "blue")
	b.emit(t, "own", testSID)
	volatile := adapter.Options{Flags: adapter.Flags{Volatile: true}}
	hub.Add("socket.io", "uid", "0123456789abcdef", "nsp", "/", "type", "3", "data",
		`{"opts":{"rooms":[],"except":[],"flags":{}},"packet":{"type":2,"id":7,"data":["asking"],"nsp":"/"}}`)
	if err := errors.Join(
		b.Broadcast(t.Context(), packet("volatile"), volatile),
		b.Broadcast(t.Context(), packet("but red"), adapter.Options{Except: []string{"red"}}),
		b.Broadcast(t.Context(), packet("but blue"), adapter.Options{Except: []string{"blue"}}),
	); err != nil {
		t.Fatal(err)
	}
	b.emit(t, "end", "probe")
	testkit.Eventually(t, "all is read", func() bool { return probe.Has("end") })
	session, missed, err := restore(t, b, testPID, offset)
	if err != nil || session.ID != testSID || !slices.Contains(session.Rooms, "red") {
		t.Errorf("%+v %v", session, err)
	}
	if want := []string{"all", "red", "own", "but blue"}; !slices.Equal(missed, want) {
		t.Errorf("missed %q, want %q", missed, want)
	}
	// The client may be gone again before its socket is tracked, and so may be the server that it came to.
	c, _ := recoveringServer(t, hub.StreamDriver(), adapter.RecoveryOptions{})
	testkit.Eventually(t, "the end is read by all", func() bool {
		session, missed, err = restore(t, c, testPID, offset)
		return err == nil
	})
	if session.ID != testSID || len(missed) != 4 {
		t.Errorf("a second time: %+v, missed %q", session, missed)
	}
}

func TestStreamsRecovery_Refused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		pid, offset func(string) string
		change      func(*adapter.Session)
		prepare     func(t *testing.T, h *redistest.Hub, s *server, probe *adaptertest.Socket)
		o           adapter.RecoveryOptions
		ok, quiet   bool // it is restored; Redis is not asked
	}{
		"well":                  {ok: true},
		"malformed pid":         {pid: func(string) string { return "*" + testPID[1:] }, quiet: true},
		"huge pid":              {pid: func(string) string { return strings.Repeat("p", 1<<20) }, quiet: true},
		"other pid":             {pid: func(string) string { return strings.Repeat("q", 20) }},
		"no offset":             {offset: func(string) string { return "" }, quiet: true},
		"malformed offset":      {offset: func(string) string { return "1-x" }, quiet: true},
		"signed offset":         {offset: func(string) string { return "+1-1" }, quiet: true},
		"range as offset":       {offset: func(string) string { return "-" }, quiet: true},
		"huge offset":           {offset: func(string) string { return "1-" + strings.Repeat("0", 1<<20) }, quiet: true},
		"unknown offset":        {offset: func(s string) string { return s + "7" }},
		"offset in the future":  {offset: func(string) string { return "99999999999999-0" }},
		"another namespace":     {change: func(s *adapter.Session) { s.Namespace = "/other" }},
		"another's pid":         {change: func(s *adapter.Session) { s.PID = strings.Repeat("q", 20) }},
		"without a namespace":   {change: func(s *adapter.Session) { s.Namespace = "" }, ok: true},
		"only own, without one": {change: func(s *adapter.Session) { s.Namespace = "" }, o: onlyOwn},
		"trimmed": {prepare: func(t *testing.T, h *redistest.Hub, s *server, probe *adaptertest.Socket) {
			s.emit(t, "missed")
			testkit.Eventually(t, "it is read", func() bool { return len(probe.Got()) == 2 })
			h.Trim("socket.io", 1)
		}},
		"too much": {o: adapter.RecoveryOptions{MaxPackets: 5}, prepare: func(t *testing.T, _ *redistest.Hub, s *server, probe *adaptertest.Socket) {
			for i := range 10 {
				s.emit(t, strconv.Itoa(i))
			}
			testkit.Eventually(t, "it is read", func() bool { return len(probe.Got()) == 11 })
		}},
		"too large": {o: adapter.RecoveryOptions{MaxBytes: 5}, prepare: func(t *testing.T, _ *redistest.Hub, s *server, probe *adaptertest.Socket) {
			s.emit(t, "missed")
			testkit.Eventually(t, "it is read", func() bool { return len(probe.Got()) == 2 })
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hub := redistest.NewHub()
			d := &mortal{StreamDriver: hub.StreamDriver()}
			a, _ := recoveringServer(t, d, c.o)
			s := a.host.Connect(t, "aaaaaaaaaaaaaaaaaaaa")
			a.emit(t, "first")
			testkit.Eventually(t, "delivered", func() bool { return s.Has("first") })
			offset := hub.Entries("socket.io")[0].ID
			session := adapter.Session{ID: testSID, PID: testPID, Namespace: "/", Rooms: []string{testSID}}
			if c.change != nil {
				c.change(&session)
			}
			b, err := rediswire.AppendSession(nil, &rediswire.Session{Session: session})
			if err != nil {
				t.Fatal(err)
			}
			if errs := d.Set(t.Context(), []redisadapter.Key{{Name: testKey, Value: string(b), TTL: time.Hour}}); errs != nil {
				t.Fatal(errs)
			}
			if c.prepare != nil {
				c.prepare(t, hub, a, s)
			}
			pid := testPID
			if c.pid != nil {
				pid = c.pid(pid)
			}
			if c.offset != nil {
				offset = c.offset(offset)
			}
			before := d.calls.Load()
			_, _, err = restore(t, a, pid, offset)
			if c.ok && err != nil || !c.ok && !errors.Is(err, adapter.ErrNotRecoverable) {
				t.Errorf("error %v", err)
			}
			if c.quiet && d.calls.Load() != before {
				t.Error("Redis was asked")
			}
			if _, left := hub.Keys()[testKey]; !left { // also of one that was restored: it goes on
				t.Error("the key is gone")
			}
		})
	}
}

var onlyOwn = adapter.RecoveryOptions{OwnSessions: true}

// A blob as an official server writes it.
func TestStreamsRecovery_OfficialBlob(t *testing.T) {
	t.Parallel()
	hub := redistest.NewHub()
	a, _ := recoveringServer(t, hub.StreamDriver(), adapter.RecoveryOptions{})
	s := a.host.Connect(t, "aaaaaaaaaaaaaaaaaaaa")
	a.emit(t, "first")
	testkit.Eventually(t, "delivered", func() bool { return s.Has("first") })
	blob := "\x84\xa3sid\xb4" + testSID + "\xa3pid\xb4" + testPID + "\xa5rooms\x92\xb4" + testSID + "\xa1r\xa4data\x81\xa1n\x07"
	k := redisadapter.Key{Name: testKey, Value: base64.StdEncoding.EncodeToString([]byte(blob)), TTL: time.Hour}
	if errs := hub.StreamDriver().Set(t.Context(), []redisadapter.Key{k}); errs != nil {
		t.Fatal(errs)
	}
	offset := offsetOf(s)
	if err := a.host.Index().Join(s, "r"); err != nil {
		t.Fatal(err)
	}
	a.emit(t, "missed", "r")
	testkit.Eventually(t, "it is read", func() bool { return s.Has("missed") })
	session, missed, err := restore(t, a, testPID, offset)
	if err != nil || !slices.Equal(missed, []string{"missed"}) {
		t.Errorf("missed %q, %v", missed, err)
	}
	var data struct{ N int }
	if session.Data.Scan(&data) != nil || data.N != 7 || !slices.Equal(session.Rooms, []string{testSID, "r"}) {
		t.Errorf("%+v", session)
	}
}

// Local delivery waits for the offset only so long, and then who got the event is not recovered, and who did not gets it.
func TestStreamsRecovery_Late(t *testing.T) {
	t.Parallel()
	hub := redistest.NewHub()
	a, k := recoveringServer(t, hub.StreamDriver(), adapter.RecoveryOptions{})
	b, _ := recoveringServer(t, hub.StreamDriver(), adapter.RecoveryOptions{})
	s, seen := a.host.Connect(t, testSID), b.host.Connect(t, "cccccccccccccccccccc")
	probe := a.host.Connect(t, "dddddddddddddddddddd")
	k.Track(s, snapshot(s))
	a.emit(t, "first")
	testkit.Eventually(t, "delivered", func() bool { return s.Has("first") })
	first := offsetOf(s)
	if first == "" {
		t.Fatal("no offset")
	}
	var refused atomic.Bool
	refused.Store(true)
	hub.AppendFault(func(redisadapter.Append) (bool, error) {
		if refused.Load() {
			return false, redisadapter.ErrNotSent
		}
		return true, nil
	})
	a.emit(t, "late")
	if s.Has("late") {
		t.Error("it did not wait")
	}
	sq, ok := a.Adapter.(adapter.Sequencer)
	if !ok {
		t.Fatal("no sequencer")
	}
	after := make(chan bool, 1)
	if !sq.After(func() { after <- s.Has("late") }) {
		t.Error("nothing waits")
	}
	testkit.Eventually(t, "delivered", func() bool { return s.Has("late") })
	if offsetOf(s) != "-" {
		t.Errorf("offset %q", offsetOf(s))
	}
	if !<-after {
		t.Error("what came behind it was first")
	}
	if sq.After(func() {}) {
		t.Error("something waits")
	}
	refused.Store(false)
	testkit.Eventually(t, "the late one is in the stream", func() bool { return len(hub.Entries("socket.io")) == 2 })
	b.emit(t, "behind it", probe.ID())
	testkit.Eventually(t, "the late one was read", func() bool { return probe.Has("behind it") })
	// The next has an offset again, and the late one is not delivered twice.
	a.emit(t, "next")
	testkit.Eventually(t, "delivered", func() bool { return s.Has("next") })
	if got := events(s); !slices.Equal(got, []string{"first", "late", "next"}) {
		t.Errorf("events %q", got)
	}
	next := offsetOf(s)
	if next == "" || next == "-" {
		t.Fatalf("offset %q", next)
	}
	if _, _, err := restore(t, b, testPID, "-"); !errors.Is(err, adapter.ErrNotRecoverable) {
		t.Errorf("who got the late one: %v", err)
	}
	testkit.Eventually(t, "b has read as much", func() bool { return offsetOf(seen) == next })
	if _, missed, err := restore(t, b, testPID, first); err != nil || !slices.Equal(missed, []string{"late", "next"}) {
		t.Errorf("who did not get the late one missed %q, %v", missed, err)
	}
	b.emit(t, "missed")
	testkit.Eventually(t, "it is read", func() bool { return seen.Has("missed") })
	if _, missed, err := restore(t, b, testPID, next); err != nil || !slices.Equal(missed, []string{"missed"}) {
		t.Errorf("missed %q, %v", missed, err)
	}
}

// All sockets on all servers get everything with offsets that go up, while servers broadcast at once.
func TestStreamsRecovery_Order(t *testing.T) {
	t.Parallel()
	hub := redistest.NewHub()
	const servers, n = 3, 200
	var all []*server
	var sockets []*adaptertest.Socket
	for i := range servers {
		s, _ := recoveringServer(t, hub.StreamDriver(), adapter.RecoveryOptions{})
		all = append(all, s)
		sockets = append(sockets, s.host.Connect(t, fmt.Sprintf("%020d", i)))
	}
	for i, s := range all {
		go func() { // ends when it has broadcast all
			for j := range n {
				_ = s.Broadcast(context.Background(), packet(fmt.Sprintf("%d %d", i, j)), adapter.Options{})
			}
		}()
	}
	for _, s := range sockets {
		testkit.Eventually(t, "all", func() bool { return len(s.Got()) == servers*n })
		next := [servers]int{}
		last := [2]uint64{}
		for _, r := range s.Got() {
			var i, j int
			if _, err := fmt.Sscan(r.Event, &i, &j); err != nil || j != next[i] {
				t.Fatalf("%q, want %d of that server, %v", r.Event, next[i], err)
			}
			next[i]++
			if len(r.Args) == 0 { // a busy machine
				continue
			}
			offset, _ := r.Args[0].(string)
			at := [2]uint64{}
			if _, err := fmt.Sscanf(offset, "%d-%d", &at[0], &at[1]); err != nil || slices.Compare(at[:], last[:]) <= 0 {
				t.Fatalf("offset %q after %d, %v", offset, last, err)
			}
			last = at
		}
	}
}

// Orders to disconnect come after what was broadcast before.
func TestStreamsRecovery_DisconnectWaits(t *testing.T) {
	t.Parallel()
	hub := redistest.NewHub()
	a, _ := recoveringServer(t, hub.StreamDriver(), adapter.RecoveryOptions{})
	s := a.host.Connect(t, testSID)
	a.emit(t, "bye")
	if err := a.Command(t.Context(), adapter.Command{Disconnect: true}, adapter.Options{}); err != nil {
		t.Fatal(err)
	}
	if !s.Has("bye") {
		t.Error("it was disconnected before")
	}
}

// blind is a driver that cannot tell of streams for a while.
type blind struct {
	redisadapter.StreamDriver

	asked atomic.Int64
	sees  chan struct{} // closed when it can
}

func (d *blind) Info(ctx context.Context, stream string) (redisadapter.StreamInfo, error) {
	if d.asked.Add(1) == 1 {
		return redisadapter.StreamInfo{}, errDead
	}
	<-d.sees
	return d.StreamDriver.Info(ctx, stream)
}

// Who comes back while it is not known yet where reading begins is recovered when it is, and not only when something else
// comes.
func TestStreamsRecovery_BeforeReading(t *testing.T) {
	t.Parallel()
	hub := redistest.NewHub()
	a, k := recoveringServer(t, hub.StreamDriver(), adapter.RecoveryOptions{})
	s := a.host.Connect(t, testSID)
	k.Track(s, snapshot(s))
	a.emit(t, "first")
	testkit.Eventually(t, "delivered", func() bool { return s.Has("first") })
	testkit.Eventually(t, "kept", func() bool { _, ok := kept(t, hub); return ok })
	d := &blind{StreamDriver: hub.StreamDriver(), sees: make(chan struct{})}
	b, _ := recoveringServer(t, d, adapter.RecoveryOptions{})
	id, done := make(chan string, 1), make(chan error, 1)
	go func() { // ends when the session is restored or not
		id <- goroutine()
		_, _, err := restore(t, b, testPID, hub.Entries("socket.io")[0].ID)
		done <- err
	}()
	waiting := <-id
	testkit.Eventually(t, "it waits", func() bool { return stands(waiting, "(*reader).reached") })
	close(d.sees)
	if err := <-done; err != nil {
		t.Error(err)
	}
}
