package redisadapter

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/sockeye-io/sockeye/internal/testkit"
)

// slow is a subscription whose calls wait for a token each.
type slow struct {
	step chan struct{}

	mu    sync.Mutex
	calls []Topics // of Add
	all   map[string]bool
}

var errSlow = errors.New("too slow")

func (s *slow) change(ctx context.Context, t Topics, to bool) error {
	s.mu.Lock()
	for _, list := range [][]string{t.Channels, t.Patterns, t.Sharded} {
		for _, name := range list {
			if s.all[name] == to {
				panic("told twice: " + name)
			}
			s.all[name] = to
		}
	}
	s.calls = append(s.calls, t)
	s.mu.Unlock()
	select {
	case <-s.step:
		return nil
	case <-ctx.Done():
		return errSlow
	}
}

func (s *slow) Add(ctx context.Context, t Topics) error    { return s.change(ctx, t, true) }
func (s *slow) Remove(ctx context.Context, t Topics) error { return s.change(ctx, t, false) }
func (s *slow) Close() error                               { return nil }

func (s *slow) called() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.calls)
}

func startTable(t *testing.T, sharded bool) (*table, *slow) {
	t.Helper()
	s := &slow{step: make(chan struct{}, 1000), all: map[string]bool{}}
	b := newTable(sharded)
	b.start(s, testkit.Scale(defaultRequestsTimeout), func(err error) { t.Error(err) })
	t.Cleanup(b.close)
	return b, s
}

// Changes wait for nothing, are merged while the driver is busy, and end in the right state.
func TestTable_Merges(t *testing.T) {
	t.Parallel()
	tab, sub := startTable(t, true)
	l := &listener{}
	nothing := func(string, string) {}
	tab.add("first", false, route{l, nothing})
	testkit.Eventually(t, "the driver is busy", func() bool { return sub.called() == 1 })
	for range 100 {
		for i := range 100 {
			tab.add(strconv.Itoa(i), false, route{l, nothing})
		}
		for i := range 90 {
			tab.remove(strconv.Itoa(i), l)
		}
	}
	tab.remove("first", l)
	for range 3 {
		sub.step <- struct{}{}
	}
	if err := tab.settled(t.Context()); err != nil {
		t.Fatal(err)
	}
	if sub.called() != 3 || len(sub.calls[1].Sharded) != 1 || len(sub.calls[2].Sharded) != 10 || len(sub.calls[2].Channels) > 0 {
		t.Errorf("%+v", sub.calls)
	}
	if got := tab.channelsOf(l); len(got) != 10 || sub.all["first"] || !sub.all["99"] {
		t.Errorf("%q %v", got, sub.all)
	}
	if len(tab.channels) != 10 {
		t.Errorf("%d topics are left in the table", len(tab.channels))
	}
}

// Large changes are cut into calls of the driver, and all listeners of a channel must go before it is unsubscribed.
func TestTable_SeveralListeners(t *testing.T) {
	t.Parallel()
	tab, sub := startTable(t, false)
	close(sub.step) // as many calls as the goroutine finds
	var names []string
	a, b := &listener{}, &listener{}
	nothing := func(string, string) {}
	for i := range maxChange + 1 {
		names = append(names, strconv.Itoa(i))
	}
	for _, name := range names {
		tab.add(name, false, route{a, nothing})
		tab.add(name, false, route{b, nothing})
		tab.add(name, false, route{b, nothing})
	}
	tab.add("pattern*", true, route{a, nothing})
	if err := tab.settled(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, c := range sub.calls {
		if len(c.Channels)+len(c.Patterns) > maxChange || len(c.Sharded) > 0 {
			t.Errorf("%d channels in one call", len(c.Channels))
		}
	}
	tab.removeAll(a)
	if err := tab.settled(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !sub.all["0"] || sub.all["pattern*"] {
		t.Error("wrong state after the first listener went")
	}
	tab.removeAll(b)
	tab.add("late", false, route{b, nothing})
	if err := tab.settled(t.Context()); err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(append(names, "late"), func(n string) bool { return sub.all[n] }) || len(tab.own) > 0 {
		t.Error("something is still subscribed to")
	}
}

// A message costs one look-up and no memory, and one that is too large is skipped and counted.
func TestTable_Dispatch(t *testing.T) {
	b := newBus(nil, busOptions{}, true)
	l := b.listener(nil, nil)
	n := 0
	l.add(func(string, string) { n++ }, "channel")
	m := incoming{channel: "channel", payload: "x"}
	if allocs := testing.AllocsPerRun(100, func() { b.t.dispatch(m) }); allocs > 0 || n != 101 {
		t.Errorf("%v allocations, %d messages", allocs, n)
	}
	b.t.dispatch(incoming{pattern: "channel", channel: "channel"})
	b.t.dispatch(incoming{channel: "other"})
	b.t.dispatch(incoming{channel: "channel", payload: strings.Repeat("x", maxMessage+1)})
	if n != 101 || b.Stats().Malformed != 1 {
		t.Errorf("%d messages, %+v", n, b.Stats())
	}
	if err := b.publish(t.Context(), "channel", make([]byte, maxMessage+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("published: %v", err)
	}
}

func BenchmarkTable_Dispatch(b *testing.B) {
	bus := newBus(nil, busOptions{}, true)
	l := bus.listener(nil, nil)
	for i := range 10_000 {
		l.add(func(string, string) {}, "socket.io#/#room-"+strconv.Itoa(i)+"#")
	}
	m := incoming{channel: "socket.io#/#room-5000#", payload: "x"}
	b.ReportAllocs()
	for b.Loop() {
		bus.t.dispatch(m)
	}
}

// BenchmarkTable_JoinLeave is what a room costs whose first socket joins and leaves again.
func BenchmarkTable_JoinLeave(b *testing.B) {
	bus := newBus(nil, busOptions{}, true)
	l := bus.listener(nil, nil)
	f := func(string, string) {}
	b.ReportAllocs()
	for b.Loop() {
		l.add(f, "socket.io#/#room#")
		l.remove("socket.io#/#room#")
	}
}
