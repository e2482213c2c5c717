package adapter

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// asked is what Ask told of.
type asked struct {
	mu    sync.Mutex
	calls []string
}

func (a *asked) add(s string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls = append(a.calls, s)
}

func (a *asked) question() Question {
	return Question{
		Counted: func(n int) { a.add("counted " + strconv.Itoa(n)) },
		Answer:  func(x Answer) { a.add("answer " + x.Socket) },
		Left:    func(id string) { a.add("left " + id) },
		Done:    func() { a.add("done") },
	}
}

func TestLocal_Ask(t *testing.T) {
	t.Parallel()
	h := newHost("/")
	l := NewLocal(h)
	m1, m2 := add(t, h.index, "1"), add(t, h.index, "2")
	stranger := newMember("1")
	var a, b, c, none asked
	ask := func(a *asked, o Options) (stop func()) {
		stop, err := l.Ask(event("e"), o, a.question())
		if err != nil {
			t.Fatal(err)
		}
		return stop
	}
	ask(&a, Options{})
	stopB := ask(&b, Options{Rooms: []string{"1"}})
	ask(&c, Options{})
	ask(&none, Options{Rooms: []string{"none"}})

	h.ack(0, stranger)
	h.ack(0, m1)
	h.ack(0, m1)
	stopB()
	stopB()
	h.ack(1, m1)
	h.index.Remove(m2)
	h.ack(0, m2)
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	h.ack(2, m1)
	for _, x := range []struct {
		a    *asked
		want []string
	}{
		{&a, []string{"counted 2", "answer 1", "left 2", "done"}},
		{&b, []string{"counted 1"}},
		{&c, []string{"counted 2", "left 2"}},
		{&none, []string{"counted 0", "done"}},
	} {
		if !slices.Equal(x.a.calls, x.want) {
			t.Errorf("told %q, want %q", x.a.calls, x.want)
		}
	}
	if h.stopped != 4 || len(l.asks) != 0 || l.asking.Load() != 0 {
		t.Errorf("%d stopped, %d left", h.stopped, len(l.asks))
	}
	if _, err := l.Ask(event("e"), Options{}, Question{}); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: error %v", err)
	}
	if h.stopped != 5 {
		t.Error("the host was not made to forget")
	}
	if _, err := l.Ask(event("e", func() {}), Options{}, Question{}); err == nil {
		t.Error("no error for what cannot be encoded")
	}
}

// TestLocal_AckIncomplete covers that all who did not answer are named, those that left too.
func TestLocal_AckIncomplete(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHost("/")
		l := NewLocal(h)
		var members []*member
		for i := range 4 {
			members = append(members, add(t, h.index, strconv.Itoa(i)))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		go func() { // ends at once
			time.Sleep(time.Millisecond)
			h.ack(0, members[1])
			h.index.Remove(members[3])
		}()
		n := 0
		err := l.BroadcastWithAck(ctx, event("e"), Options{}, func(Answer) { n++ })
		var inc *Incomplete
		if !errors.As(err, &inc) || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("error %v", err)
		}
		if n != 1 || inc.Expected != 4 || inc.Received != 1 || !slices.Equal(inc.MissingSockets, []string{"0", "2", "3"}) {
			t.Errorf("%d answers, %+v", n, inc)
		}
		if h.stopped != 1 {
			t.Error("the host was not made to forget")
		}
	})
}

func TestLocal_Closed(t *testing.T) {
	t.Parallel()
	h := newHost("/")
	add(t, h.index, "a")
	l := NewLocal(h)
	if err := l.Command(t.Context(), Command{Join: []string{"r"}}, Options{}); err != nil || len(h.orders) != 1 {
		t.Errorf("orders %q, %v", h.orders, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, o := t.Context(), Options{}
	_, fetchErr := l.Fetch(ctx, o)
	_, countErr := l.Count(ctx, o)
	_, deliverErr := l.Deliver(event("e"), o)
	for name, err := range map[string]error{
		"Broadcast":        l.Broadcast(ctx, event("e"), o),
		"BroadcastWithAck": l.BroadcastWithAck(ctx, event("e"), o, func(Answer) {}),
		"Fetch":            fetchErr,
		"Count":            countErr,
		"Deliver":          deliverErr,
		"Command":          l.Command(ctx, Command{}, o),
		"ServerSide":       l.ServerSide(ctx, event("e"), nil),
	} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// TestLocal_Deliver covers that what nobody here gets is not encoded.
func TestLocal_Deliver(t *testing.T) {
	t.Parallel()
	h := newHost("/")
	add(t, h.index, "a", "red")
	l := NewLocal(h)
	bad := event("e", func() {})
	if n, err := l.Deliver(bad, Options{Rooms: []string{"none"}}); n != 0 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := l.Deliver(bad, Options{Rooms: []string{"red"}}); err == nil {
		t.Error("no error")
	}
	if n, err := l.Deliver(event("e"), Options{Rooms: []string{"red"}}); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

// TestLocal_BroadcastAllocs covers that the number of receivers does not show in allocations.
func TestLocal_BroadcastAllocs(t *testing.T) {
	h := newHost("/")
	for i := range 10_000 {
		add(t, h.index, strconv.Itoa(i), "red")
	}
	l := NewLocal(h)
	p, o := event("e"), Options{Rooms: []string{"red"}}
	send := func() {
		if err := l.Broadcast(t.Context(), p, o); err != nil {
			t.Fatal(err)
		}
	}
	send()
	if a := testing.AllocsPerRun(20, send); a > 4+poolMisses {
		t.Errorf("%v allocations", a)
	}
}
