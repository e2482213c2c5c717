package redisadapter

import (
	"math"
	"strings"
	"testing"
)

func TestEntryID(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]entryID{
		"0-0": {}, "1-2": {1, 2}, "1795249358071-199": {1795249358071, 199},
		"18446744073709551615-18446744073709551615": {math.MaxUint64, math.MaxUint64},
	} {
		got, ok := parseEntryID(text)
		if !ok || got != want || got.String() != text {
			t.Errorf("%s: %v %v", text, got, ok)
		}
	}
	for _, text := range []string{
		"", "-", "1", "1-", "-1", "1--1", "+1-1", "1-+1", "1-1-1", " 1-1", "1-1 ", "a-1", "1-a", "0x1-1", "1_0-1", "$", "*",
		"18446744073709551616-0", "0-18446744073709551616", strings.Repeat("0", 40) + "-1", "1.5-1",
	} {
		if got, ok := parseEntryID(text); ok {
			t.Errorf("%q is %v", text, got)
		}
	}
}

func TestEntryID_Order(t *testing.T) {
	t.Parallel()
	ordered := []entryID{{}, {0, 1}, {0, math.MaxUint64}, {1, 0}, {9, 7}, {10, 0}, {math.MaxUint64, math.MaxUint64}}
	for i, a := range ordered {
		for j, b := range ordered {
			if a.less(b) != (i < j) {
				t.Errorf("%v and %v", a, b)
			}
		}
	}
	for _, a := range ordered[:len(ordered)-1] {
		if n := a.next(); !a.less(n) || ordered[0] == n {
			t.Errorf("%v comes after %v", n, a)
		}
	}
}

func FuzzEntryID(f *testing.F) {
	for _, s := range []string{"0-0", "1795249358071-199", "1-", "-", "+1-1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, ok := parseEntryID(s)
		if !ok {
			return
		}
		if again, ok := parseEntryID(id.String()); !ok || again != id {
			t.Errorf("%q: %v", s, again)
		}
	})
}

// An entry for a namespace that is not here costs nothing.
func TestStreams_EntryElsewhere(t *testing.T) {
	c, _ := Streams(nil, StreamsOptions{}).(*streams)
	fields := []string{"uid", "0123456789abcdef", "nsp", "/elsewhere", "type", "3", "data", "{}"}
	if n := testing.AllocsPerRun(100, func() { c.entry(entryID{1, 1}, fields) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
