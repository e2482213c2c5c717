package httpsession

import (
	"strconv"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
)

// Adopt makes m know of n sessions that have just been touched.
func (m *Sessions) Adopt(n int) {
	all := make([]*open, n)
	ttls := make([]time.Duration, n)
	for i := range n {
		ref := Ref{Key: strconv.Itoa(i)}
		all[i], ttls[i] = m.track(&sockeye.Socket{}, ref), time.Hour
	}
	m.touched(all, ttls, time.Now())
}

// Follow makes m do for a session what it does for one with a new socket, until leave.
func (m *Sessions) Follow(t testing.TB, ref Ref) (leave func()) {
	t.Helper()
	s := &sockeye.Socket{}
	if there, err := m.visit(t.Context(), m.track(s, ref)); !there || err != nil {
		t.Fatalf("no session to follow: %v, %v", there, err)
	}
	return func() { m.untrack(s) }
}

// Len is how many sessions a Memory holds, those that have expired among them.
func (m *Memory) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.entries)
}

// Tracked is of how many sessions and sockets m knows.
func (m *Sessions) Tracked() (sessions, sockets int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.sessions), len(m.sockets)
}
