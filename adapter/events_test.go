package adapter

import (
	"slices"
	"strings"
	"sync"
	"testing"
)

type eventLog struct {
	mu   sync.Mutex
	seen []string
}

func (l *eventLog) add(e RoomEvent) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen = append(l.seen, e.Kind+" "+e.Room+" "+e.Socket)
}

func (l *eventLog) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := strings.Join(l.seen, ", ")
	l.seen = nil
	return s
}

func TestIndex_Events(t *testing.T) {
	t.Parallel()
	var log, second eventLog
	x := NewIndex(2, log.add)
	x.Watch(second.add)
	x.Watch(nil)
	a, b := newMember("a"), newMember("b")
	for _, c := range []struct {
		name string
		do   func()
		want string
	}{
		{"add", func() { x.Add(a) }, "create-room a a, join-room a a"},
		{"add again", func() { x.Add(a) }, ""},
		{"join", func() { _ = x.Join(a, "red", "blue") }, "create-room red a, join-room red a, create-room blue a, join-room blue a"},
		{"join again", func() { _ = x.Join(a, "red", "a") }, ""},
		{"too many", func() { _ = x.Join(a, "green") }, ""},
		{"join before add", func() { _ = x.Join(b, "red", "a") }, "join-room red b, join-room a b"},
		{"leave", func() { x.Leave(a, "red", "none", "a") }, "leave-room red a"},
		{"leave last", func() { x.Leave(a, "blue") }, "leave-room blue a, delete-room blue a"},
		{"remove", func() { x.Remove(a) }, "leave-room a a"},
		{"remove again", func() { x.Remove(a) }, ""},
		{"remove last", func() { x.Remove(b) }, "leave-room a b, delete-room a b, leave-room red b, delete-room red b"},
		{
			"replace", func() { x.Add(newMember("c")); x.Add(newMember("c")) },
			"create-room c c, join-room c c, leave-room c c, delete-room c c, create-room c c, join-room c c",
		},
	} {
		c.do()
		if got := log.take(); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		if got := second.take(); got != c.want {
			t.Errorf("%s: second watcher: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestIndex_WatcherMayChange covers that a watcher runs without a lock, and that events stay in order.
func TestIndex_WatcherMayChange(t *testing.T) {
	t.Parallel()
	var log eventLog
	var x *Index
	a := newMember("a")
	x = NewIndex(0, func(e RoomEvent) {
		if e.Kind == JoinRoom && e.Room == "a" {
			_ = x.Join(a, "nested") // there is room
			x.Len()
		}
		log.add(e)
	})
	x.Add(a)
	want := "create-room a a, join-room a a, create-room nested a, join-room nested a"
	if got := log.take(); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestIndex_WatcherPanics covers that events go on after a watcher that panicked.
func TestIndex_WatcherPanics(t *testing.T) {
	t.Parallel()
	var log eventLog
	once := true
	x := NewIndex(0, func(e RoomEvent) {
		if once {
			once = false
			panic("watcher")
		}
		log.add(e)
	})
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic did not reach the caller")
			}
		}()
		x.Add(newMember("a"))
	}()
	x.Add(newMember("b"))
	if got := log.take(); !strings.HasSuffix(got, "create-room b b, join-room b b") {
		t.Errorf("after a panic: %q", got)
	}
}

func TestIndex_EventsHeld(t *testing.T) {
	t.Parallel()
	var log eventLog
	x := NewIndex(0, log.add)
	x.events.hold()
	x.Add(newMember("a"))
	if got := log.take(); got != "" {
		t.Errorf("while held: %q", got)
	}
	x.events.release()
	if got := log.take(); got != "create-room a a, join-room a a" {
		t.Errorf("after release: %q", got)
	}
}

// TestIndex_EventsBounded covers that a watcher that does not return costs events, not memory.
func TestIndex_EventsBounded(t *testing.T) {
	t.Parallel()
	var log eventLog
	x := NewIndex(0, log.add)
	m := newMember("a")
	x.Add(m)
	x.events.hold()
	for range maxEvents/4 + 10 {
		_ = x.Join(m, "r") // there is room
		x.Leave(m, "r")
	}
	if got := x.EventsDropped(); got != 40 {
		t.Errorf("%d events dropped, want 40", got)
	}
	x.events.release()
	if n := strings.Count(log.take(), ", ") + 1; n != maxEvents+2 {
		t.Errorf("%d events, want %d", n, maxEvents+2)
	}
}

// TestIndex_EventsOrdered covers that events of one room alternate although many goroutines make them.
func TestIndex_EventsOrdered(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var kinds []string
	x := NewIndex(0, func(e RoomEvent) {
		mu.Lock()
		defer mu.Unlock()
		if e.Room == "red" && (e.Kind == CreateRoom || e.Kind == DeleteRoom) {
			kinds = append(kinds, e.Kind)
		}
	})
	var wg sync.WaitGroup
	for _, id := range []string{"a", "b", "c", "d"} {
		wg.Go(func() {
			m := newMember(id)
			x.Add(m)
			for range 500 {
				_ = x.Join(m, "red") // there is room
				x.Leave(m, "red")
			}
		})
	}
	wg.Wait()
	mu.Lock()
	defer mu.Unlock()
	if len(kinds) == 0 || len(kinds)%2 != 0 {
		t.Fatalf("%d events", len(kinds))
	}
	for pair := range slices.Chunk(kinds, 2) {
		if pair[0] != CreateRoom || pair[1] != DeleteRoom {
			t.Fatal("created twice without being deleted")
		}
	}
}
