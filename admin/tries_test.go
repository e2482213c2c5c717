package admin

import (
	"fmt"
	"testing"
	"time"
)

func TestTries_Window(t *testing.T) {
	t.Parallel()
	tr := newTries(5)
	now := time.Unix(1000, 0)
	for i := range 5 {
		if wait := tr.begin("192.0.2.1", now.Add(time.Duration(i)*time.Second)); wait != 0 {
			t.Errorf("try %d has to wait %v", i, wait)
		}
	}
	now = now.Add(10 * time.Second)
	for range 10_000 { // refused ones do not prolong it
		if wait := tr.begin("192.0.2.1", now); wait != 50*time.Second {
			t.Fatalf("wait %v", wait)
		}
	}
	if wait := tr.begin("192.0.2.2", now); wait != 0 {
		t.Errorf("another address has to wait %v", wait)
	}
	if wait := tr.begin("192.0.2.1", now.Add(50*time.Second)); wait != 0 {
		t.Errorf("after a minute: wait %v", wait)
	}
	if wait := tr.begin("192.0.2.1", now.Add(50*time.Second)); wait != time.Second {
		t.Errorf("the second is a second later: wait %v", wait)
	}
}

func TestTries_Undo(t *testing.T) {
	t.Parallel()
	tr := newTries(1)
	now := time.Unix(1000, 0)
	for range 3 {
		if wait := tr.begin("::1", now); wait != 0 {
			t.Errorf("wait %v", wait)
		}
		tr.undo("::1", now.Add(1)) // is not there
		if wait := tr.begin("::1", now); wait != time.Minute {
			t.Errorf("wait %v", wait)
		}
		tr.undo("::1", now)
	}
	tr.undo("192.0.2.1", now)
}

func TestTries_Networks(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "192.0.2.2", false},
		{"192.0.2.1", "::ffff:192.0.2.1", true},
		{"2001:db8::1", "2001:db8::ffff:1", true},
		{"2001:db8::1", "2001:db8:0:1::1", false},
		{"fe80::1%eth0", "fe80::2%eth1", true},
		{"", "nonsense", true},
		{"", "0.0.0.0", false},
	} {
		if got := network(c.a) == network(c.b); got != c.same {
			t.Errorf("%q and %q: %v", c.a, c.b, got)
		}
	}
}

// Addresses that are not of one client push out those that were quiet for longest, and take no more room.
func TestTries_Bound(t *testing.T) {
	t.Parallel()
	tr := newTries(1)
	now := time.Unix(1000, 0)
	for i := range 3 * maxTried {
		tr.begin(fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255), now)
	}
	if len(tr.byKey) != maxTried || tr.order.Len() != maxTried {
		t.Errorf("%d addresses, %d in order", len(tr.byKey), tr.order.Len())
	}
	if wait := tr.begin("10.0.0.0", now); wait != 0 {
		t.Error("the first is still known")
	}
	last := 3*maxTried - 1
	if wait := tr.begin(fmt.Sprintf("10.%d.%d.%d", last>>16, last>>8&255, last&255), now); wait == 0 {
		t.Error("the last is not known")
	}
}
