package adapter

import (
	"context"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/parser"
)

const testPID = "abcdefghij-_ABCDE123"

// recovering is a namespace with recovery and what its sockets got.
type recovering struct {
	*fakeHost
	Adapter
	Recoverer

	cluster Cluster
	got     map[string][]*parser.Packet // by socket
}

func (r *recovering) Name() string { return r.fakeHost.Name() }

func setupRecovery(t *testing.T, o RecoveryOptions) *recovering {
	t.Helper()
	c := Memory()
	rc, ok := c.(RecoveryCluster)
	if !ok || !rc.Recoverable() {
		t.Fatal("memory cannot recover")
	}
	if err := rc.EnableRecovery(o); err != nil {
		t.Fatal(err)
	}
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := &recovering{fakeHost: newHost("/"), cluster: c, got: map[string][]*parser.Packet{}}
	r.deliver = func(p *parser.Packet, m Member) { r.got[m.ID()] = append(r.got[m.ID()], p) }
	a, err := c.Open(r.fakeHost)
	if err != nil {
		t.Fatal(err)
	}
	r.Adapter, r.Recoverer = a, a.(Recoverer)
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *recovering) say(t *testing.T, name string, o Options) {
	t.Helper()
	if err := r.Broadcast(t.Context(), event(name), o); err != nil {
		t.Fatal(err)
	}
}

// offsetOf is the offset that a socket got last.
func (r *recovering) offsetOf(t *testing.T, id string) string {
	t.Helper()
	got := r.got[id]
	if len(got) == 0 {
		t.Fatalf("%s got nothing", id)
	}
	args := got[len(got)-1].Args
	return text(t, args[len(args)-1])
}

// restore gives the names of the missed events.
func (r *recovering) restore(t *testing.T, pid, offset string) (s Session, missed []string, err error) {
	t.Helper()
	err = r.Restore(t.Context(), pid, offset, func(got Session, packets []*parser.Packet) error {
		s = got
		for _, p := range packets {
			missed = append(missed, p.Event)
		}
		return nil
	})
	return s, missed, err
}

func ended(id string, rooms ...string) Session {
	return Session{ID: id, PID: testPID, Namespace: "/", Rooms: rooms, Data: parser.Value("data")}
}

func TestRecovery_MissedPackets(t *testing.T) {
	t.Parallel()
	r := setupRecovery(t, RecoveryOptions{})
	a, b := add(t, r.index, "a", "red"), add(t, r.index, "b")
	r.say(t, "before", Options{})
	offset := r.offsetOf(t, "a")
	r.index.Remove(a)
	r.Persist(ended("a", "a", "red"))
	r.index.Remove(b)
	for _, c := range []struct {
		name string
		o    Options
	}{
		{"all", Options{}},
		{"red", Options{Rooms: []string{"red"}}},
		{"blue", Options{Rooms: []string{"blue"}}},
		{"own", Options{Rooms: []string{"a"}}},
		{"several", Options{Rooms: []string{"blue", "red"}}},
		{"except red", Options{Except: []string{"red"}}},
		{"except own", Options{Except: []string{"a"}}},
		{"except blue", Options{Except: []string{"blue"}}},
		{"red except blue", Options{Rooms: []string{"red"}, Except: []string{"blue"}}},
		{"red except own", Options{Rooms: []string{"red"}, Except: []string{"a"}}},
		{"volatile", Options{Flags: Flags{Volatile: true}}},
		{"local", Options{Flags: Flags{Local: true}}},
	} {
		r.say(t, c.name, c.o)
	}
	withID := event("with id")
	withID.ID, withID.HasID = 1, true
	if err := r.Broadcast(t.Context(), withID, Options{}); err != nil {
		t.Fatal(err)
	}
	s, missed, err := r.restore(t, testPID, offset)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"all", "red", "own", "several", "except blue", "red except blue", "local"}
	if !slices.Equal(missed, want) {
		t.Errorf("missed %q, want %q", missed, want)
	}
	if s.ID != "a" || s.PID != testPID || !slices.Equal(s.Rooms, []string{"a", "red"}) || text(t, s.Data) != "data" {
		t.Errorf("session %+v", s)
	}
	if _, _, err := r.restore(t, testPID, offset); !errors.Is(err, ErrNotRecoverable) {
		t.Errorf("second restore: error %v", err)
	}
}

// TestRecovery_Offset covers which packets get an offset, and that the caller's packet stays as it is.
func TestRecovery_Offset(t *testing.T) {
	t.Parallel()
	r := setupRecovery(t, RecoveryOptions{})
	add(t, r.index, "a")
	bin := []byte("bytes")
	list := []string{"first"}
	p := event("e", list, map[string]any{"bin": bin}, bin)
	seen := map[string]bool{}
	for range 3 {
		if err := r.Broadcast(t.Context(), p, Options{}); err != nil {
			t.Fatal(err)
		}
		got := r.got["a"][len(r.got["a"])-1]
		if len(p.Args) != 3 || len(got.Args) != 4 {
			t.Fatalf("%d arguments given, %d arrived", len(p.Args), len(got.Args))
		}
		seen[r.offsetOf(t, "a")] = true
	}
	if len(seen) != 3 {
		t.Errorf("offsets %v", slices.Collect(maps.Keys(seen)))
	}
	// The values may be changed once Broadcast has returned.
	list[0], bin[0] = "changed", 'X'
	var values []any
	for _, a := range r.got["a"][0].Args[:3] {
		v, err := a.Any()
		if err != nil {
			t.Fatal(err)
		}
		values = append(values, v)
	}
	want := []any{[]any{"first"}, map[string]any{"bin": []byte("bytes")}, []byte("bytes")}
	if !reflect.DeepEqual(values, want) {
		t.Errorf("kept %v, want %v", values, want)
	}

	if err := r.Broadcast(t.Context(), event("e", func() {}), Options{}); err == nil {
		t.Error("no error for what cannot be encoded")
	}
	r.say(t, "volatile", Options{Flags: Flags{Volatile: true}})
	if got := r.got["a"][len(r.got["a"])-1]; got.Event != "volatile" || len(got.Args) != 0 {
		t.Errorf("volatile: %+v", got)
	}
}

// TestRecovery_Refused covers T6 and offsets of every wrong kind: refused, and the session is still there.
func TestRecovery_Refused(t *testing.T) {
	t.Parallel()
	r := setupRecovery(t, RecoveryOptions{})
	add(t, r.index, "a")
	r.say(t, "e", Options{})
	offset := r.offsetOf(t, "a")
	r.Persist(ended("a"))
	epoch, number := offset[:epochLen], offset[epochLen:]
	for _, pid := range []string{
		"", "short", testPID + "x", testPID[:19] + "*", testPID[:19] + "\x00", "ABCDEFGHIJKLMNOPQRST", strings.Repeat("x", 1<<20),
	} {
		if _, _, err := r.restore(t, pid, offset); !errors.Is(err, ErrNotRecoverable) {
			t.Errorf("pid %.30q: error %v", pid, err)
		}
	}
	for _, o := range []string{
		"", number, epoch, epoch + "0", epoch + "2", epoch + "0" + number, epoch + "+1", epoch + "Z", epoch + "-1", epoch + " 1",
		epoch + "zzzzzzzzzzzzz", epoch + "3w5e11264sgsf", strings.ToUpper(epoch) + "|" + number, "a user's text", strings.Repeat("1", 1<<20),
	} {
		if _, _, err := r.restore(t, testPID, o); !errors.Is(err, ErrNotRecoverable) {
			t.Errorf("offset %.30q: error %v", o, err)
		}
	}
	for i := range offset { // every prefix
		if _, _, err := r.restore(t, testPID, offset[:i]); !errors.Is(err, ErrNotRecoverable) {
			t.Errorf("offset %q: error %v", offset[:i], err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	never := func(Session, []*parser.Packet) error { t.Error("resumed"); return nil }
	if err := r.Restore(ctx, testPID, offset, never); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: error %v", err)
	}
	broken := errors.New("connection is gone")
	if err := r.Restore(t.Context(), testPID, offset, func(Session, []*parser.Packet) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("error of resume: %v", err)
	}
	if _, missed, err := r.restore(t, testPID, offset); err != nil || len(missed) != 0 {
		t.Errorf("after all that: %q, %v", missed, err)
	}
}

func TestRecovery_PersistRefused(t *testing.T) {
	t.Parallel()
	r := setupRecovery(t, RecoveryOptions{})
	add(t, r.index, "a")
	r.say(t, "e", Options{})
	offset := r.offsetOf(t, "a")
	other := ended("a")
	other.Namespace = "/other"
	short := ended("a")
	short.PID = "short"
	r.Persist(other)
	r.Persist(short)
	for _, pid := range []string{testPID, "short"} {
		if _, _, err := r.restore(t, pid, offset); !errors.Is(err, ErrNotRecoverable) {
			t.Errorf("error %v", err)
		}
	}
	// The later of two sessions of one client counts.
	r.Persist(ended("a"))
	r.Persist(ended("b"))
	if s, _, err := r.restore(t, testPID, offset); err != nil || s.ID != "b" {
		t.Errorf("session %q, %v", s.ID, err)
	}
}

func TestRecovery_Bounds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		o    RecoveryOptions
		keep int // packets of 10 bytes that can be missed
	}{
		{"packets", RecoveryOptions{MaxPackets: 5}, 5},
		{"bytes", RecoveryOptions{MaxBytes: 45}, 4},
		{"none", RecoveryOptions{MaxPackets: -1, MaxBytes: -1}, 500},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := setupRecovery(t, c.o)
			m := add(t, r.index, "a")
			r.say(t, "0123456789", Options{})
			offset := r.offsetOf(t, "a")
			r.index.Remove(m)
			r.Persist(ended("a"))
			for range c.keep {
				r.say(t, "0123456789", Options{Rooms: []string{"others"}})
			}
			if _, missed, err := r.restore(t, testPID, offset); err != nil || len(missed) != 0 {
				t.Errorf("within the bound: %d, %v", len(missed), err)
			}
			if c.name == "none" {
				return
			}
			r.Persist(ended("a"))
			r.say(t, "0123456789", Options{Rooms: []string{"others"}})
			if _, _, err := r.restore(t, testPID, offset); !errors.Is(err, ErrNotRecoverable) {
				t.Errorf("beyond the bound: error %v", err)
			}
		})
	}
}

func TestRecovery_MaxSessions(t *testing.T) {
	t.Parallel()
	r := setupRecovery(t, RecoveryOptions{MaxSessions: 2})
	add(t, r.index, "x")
	r.say(t, "e", Options{})
	offset := r.offsetOf(t, "x")
	pids := []string{"A0000000000000000000", "B0000000000000000000", "C0000000000000000000"}
	for _, pid := range pids {
		s := ended("a")
		s.PID = pid
		r.Persist(s)
	}
	for i, pid := range pids {
		if _, _, err := r.restore(t, pid, offset); (err == nil) != (i > 0) {
			t.Errorf("session %d: error %v", i, err)
		}
	}
}

func TestRecovery_Time(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := setupRecovery(t, RecoveryOptions{MaxDisconnection: time.Minute})
		add(t, r.index, "a")
		h := r.Adapter.(recoveringAdapter).history
		r.say(t, "first", Options{})
		offset := r.offsetOf(t, "a")
		time.Sleep(30 * time.Second)
		r.Persist(ended("a"))
		r.say(t, "second", Options{})

		time.Sleep(59 * time.Second) // the first packet is gone, but nobody misses it
		if _, missed, err := r.restore(t, testPID, offset); err != nil || !slices.Equal(missed, []string{"second"}) {
			t.Errorf("in time: %q, %v", missed, err)
		}
		r.Persist(ended("a"))
		time.Sleep(time.Second)
		if _, _, err := r.restore(t, testPID, offset); !errors.Is(err, ErrNotRecoverable) {
			t.Errorf("packets too old: error %v", err)
		}
		if _, missed, err := r.restore(t, testPID, r.offsetOf(t, "a")); err != nil || len(missed) != 0 {
			t.Errorf("latest offset, no packet kept: %q, %v", missed, err)
		}
		r.Persist(ended("a"))
		time.Sleep(time.Minute)
		if _, _, err := r.restore(t, testPID, r.offsetOf(t, "a")); !errors.Is(err, ErrNotRecoverable) {
			t.Errorf("session too old: error %v", err)
		}

		r.say(t, "third", Options{})
		r.Persist(ended("a"))
		time.Sleep(3 * time.Minute) // nothing happens, and still nothing stays
		synctest.Wait()
		h.mu.Lock()
		h.sessions.Lock()
		if h.log != nil || h.bytes != 0 || len(h.sessions.byPID) != 0 || h.sessions.oldest.Len() != 0 || h.sessions.timer != nil {
			t.Errorf("left: %d packets, %d bytes, %d sessions", len(h.log), h.bytes, len(h.sessions.byPID))
		}
		h.sessions.Unlock()
		h.mu.Unlock()
	})
}

// sweptHost is a fakeHost that is swept at the beginning of a broadcast.
type sweptHost struct {
	*fakeHost

	sweep func()
}

func (h *sweptHost) Index() *Index {
	h.sweep()
	return h.fakeHost.Index()
}

// TestRecovery_SweepDuringABroadcast: a packet that comes while what is old is dropped is dropped too, in its time.
func TestRecovery_SweepDuringABroadcast(t *testing.T) {
	t.Parallel()
	host := &sweptHost{fakeHost: newHost("/"), sweep: func() {}}
	h := newHistory(host, RecoveryOptions{})
	t.Cleanup(h.close)
	host.sweep = h.sweep
	if err := h.broadcast(&parser.Packet{Type: parser.Event, Event: "x"}, Options{}); err != nil {
		t.Fatal(err)
	}
	h.sessions.Lock()
	defer h.sessions.Unlock()
	if len(h.log) != 1 || h.sessions.timer == nil {
		t.Errorf("%d packets are kept for ever", len(h.log))
	}
}

// TestRecovery_Compaction covers that a long log keeps its numbers right while its head is dropped.
func TestRecovery_Compaction(t *testing.T) {
	t.Parallel()
	r := setupRecovery(t, RecoveryOptions{MaxPackets: 100})
	add(t, r.index, "a")
	for i := range 1000 {
		r.say(t, strconv.Itoa(i), Options{})
	}
	h := r.Adapter.(recoveringAdapter).history
	if len(h.log) > 1000 || len(h.log)-h.head != 100 {
		t.Errorf("%d of %d are kept", len(h.log)-h.head, len(h.log))
	}
	for _, back := range []int{1, 50, 100} {
		r.Persist(ended("a"))
		got := r.got["a"]
		args := got[len(got)-1-back].Args
		_, missed, err := r.restore(t, testPID, text(t, args[0]))
		if err != nil || len(missed) != back || missed[0] != strconv.Itoa(1000-back) {
			t.Errorf("%d back: %d, %v", back, len(missed), err)
		}
	}
}

// TestRecovery_Reentrant covers that watchers run without the lock of broadcasts, and that a delivery may end in
// the removal and persisting of a socket, and in the closing of the adapter.
func TestRecovery_Reentrant(t *testing.T) {
	t.Parallel()
	r := setupRecovery(t, RecoveryOptions{})
	var watched []string
	r.index.Watch(func(e RoomEvent) {
		if e.Kind == JoinRoom || e.Kind == LeaveRoom {
			watched = append(watched, e.Kind+" "+e.Socket)
			if err := r.Broadcast(t.Context(), event("watched"), Options{Rooms: []string{"nobody"}}); err != nil {
				t.Error(err)
			}
		}
	})
	a := add(t, r.index, "a")
	var last *parser.Packet
	r.deliver = func(p *parser.Packet, m Member) {
		last = p
		r.index.Remove(m)
		r.Persist(ended(m.ID()))
	}
	r.say(t, "e", Options{})
	resumed := newMember("a")
	err := r.Restore(t.Context(), testPID, text(t, last.Args[0]), func(_ Session, missed []*parser.Packet) error {
		if len(missed) != 0 {
			t.Errorf("%d missed", len(missed))
		}
		r.index.Add(resumed)
		if len(watched) != 2 {
			t.Errorf("watched %q while restoring", watched)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"join-room a", "leave-room a", "join-room a"}; !slices.Equal(watched, want) {
		t.Errorf("watched %q, want %q", watched, want)
	}
	r.index.Remove(a)
	r.deliver = func(*parser.Packet, Member) {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	r.say(t, "close", Options{})
	r.Persist(ended("a"))
	if _, _, err := r.restore(t, testPID, text(t, last.Args[0])); !errors.Is(err, ErrNotRecoverable) {
		t.Errorf("after Close: error %v", err)
	}
}

// FuzzOffset covers that an offset is taken only in the one form that is given out.
func FuzzOffset(f *testing.F) {
	h := newHistory(newHost("/"), RecoveryOptions{})
	h.epoch = "EPOCH-_0"
	for _, n := range []uint64{1, 35, 36, 1 << 53, 1<<64 - 1} {
		f.Add(h.offset(n))
	}
	f.Add("EPOCH-_001")
	f.Add("EPOCH-_0+1")
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		n, ok := h.number(s)
		if ok && (n == 0 || h.offset(n) != s) {
			t.Errorf("%q taken for %d", s, n)
		}
	})
}
