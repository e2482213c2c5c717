package event_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/sockeye-io/sockeye/internal/event"
)

func nothing(context.Context, *event.Message) error { return nil }

// One handler that is registered twice is there twice, and each registration is taken out once.
func TestListeners_Off(t *testing.T) {
	t.Parallel()
	var l event.Listeners
	h := event.HandlerFunc(nothing)
	before := l.Table()
	first, second := l.AddOn("e", h), l.AddOn("e", h)
	other, all := l.AddOn("other", h), l.AddAny(h)
	full := l.Table()
	counts := func(table *event.Table) [3]int {
		return [3]int{len(table.On["e"]), len(table.On["other"]), len(table.Any)}
	}
	first()
	first()
	other()
	all()
	if got := counts(l.Table()); got != [3]int{1, 0, 0} {
		t.Errorf("left %v", got)
	}
	if _, there := l.Table().On["other"]; there {
		t.Error("an event without handlers is kept")
	}
	second()
	if got := len(l.Table().On); got != 0 {
		t.Errorf("%d events left", got)
	}
	if got := counts(full); got != [3]int{2, 1, 1} {
		t.Errorf("a table has changed: %v", got)
	}
	if got := counts(before); got != [3]int{} {
		t.Errorf("the first table has changed: %v", got)
	}
}

func TestFunctions_Order(t *testing.T) {
	t.Parallel()
	var l event.Functions[func() int]
	if l.All() != nil {
		t.Error("the zero value has functions")
	}
	l.Add(func() int { return 1 })
	off := l.Add(func() int { return 2 })
	l.Add(func() int { return 3 })
	list := func() (got []int) {
		for _, f := range l.All() {
			got = append(got, (*f)())
		}
		return got
	}
	if got := list(); !slices.Equal(got, []int{1, 2, 3}) {
		t.Errorf("got %v", got)
	}
	off()
	off()
	if got := list(); !slices.Equal(got, []int{1, 3}) {
		t.Errorf("without one: %v", got)
	}
}

func TestJoin(t *testing.T) {
	t.Parallel()
	a, b := errors.New("a"), errors.New("b")
	for _, c := range []struct{ a, b, want error }{{nil, nil, nil}, {a, nil, a}, {nil, b, b}} {
		if got := event.Join(c.a, c.b); got != c.want { //nolint:errorlint // the very error
			t.Errorf("%v and %v: %v", c.a, c.b, got)
		}
	}
	if got := event.Join(a, b); !errors.Is(got, a) || !errors.Is(got, b) {
		t.Errorf("both: %v", got)
	}
}
