package adapter

import (
	"errors"
	"maps"
	"testing"
)

func TestLocal_Rooms(t *testing.T) {
	t.Parallel()
	h := newHost("/")
	l := NewLocal(h)
	a, b, c, early := &member{id: "a"}, &member{id: "b"}, &member{id: "c"}, &member{id: "early"}
	for _, m := range []*member{a, b, c} {
		h.Index().Add(m)
	}
	for m, rooms := range map[*member][]string{a: {"x", "y", ""}, b: {"x", "a", "b"}, early: {"x", "z"}} {
		if err := h.Index().Join(m, rooms...); err != nil {
			t.Fatal(err)
		}
	}
	for name, k := range map[string]struct {
		o    Options
		want map[string]int
	}{
		"all":     {Options{}, map[string]int{"x": 2, "y": 1, "": 1, "a": 1}},
		"room":    {Options{Rooms: []string{"y", "c"}}, map[string]int{"x": 1, "y": 1, "": 1}},
		"except":  {Options{Except: []string{"a"}}, map[string]int{}},
		"nobody":  {Options{Rooms: []string{"none"}}, map[string]int{}},
		"no room": {Options{Rooms: []string{"c"}}, map[string]int{}},
	} {
		if got, err := l.Rooms(t.Context(), k.o); err != nil || !maps.Equal(got, k.want) {
			t.Errorf("%s: %v, %v; want %v", name, got, err, k.want)
		}
		var sockets []Remote
		for _, m := range h.Index().Collect(k.o) {
			sockets = append(sockets, Remote{ID: m.ID(), Rooms: h.Index().Rooms(m)})
		}
		if got := SizesOf(sockets); !maps.Equal(got, k.want) {
			t.Errorf("%s: of what was fetched: %v, want %v", name, got, k.want)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Rooms(t.Context(), Options{}); !errors.Is(err, ErrClosed) {
		t.Errorf("error %v", err)
	}
}
