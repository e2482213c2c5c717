package httpsession

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

// Memory is a Store of one process. What it keeps is lost with the process, and other servers do not see it. The zero value
// is ready. It is safe for concurrent use.
//
// Node: express-session MemoryStore
type Memory struct {
	// Max is how many sessions are kept; 0 is 100,000, negative any number. Set gives ErrStoreFull for one more.
	Max int

	mu      sync.Mutex
	entries map[string]entry
	sweepAt int // with so many entries those that have expired are looked for
}

type entry struct {
	data []byte
	end  time.Time // zero for never
}

const (
	defaultMemoryMax = 100_000
	firstSweep       = 1_024
)

// NewMemory makes an empty Memory.
func NewMemory() *Memory { return &Memory{} }

// find is called under mu.
func (m *Memory) find(id string, now time.Time) (entry, bool) {
	e, ok := m.entries[id]
	if ok && !e.end.IsZero() && !now.Before(e.end) {
		delete(m.entries, id)
		return entry{}, false
	}
	return e, ok
}

// put is called under mu.
func (m *Memory) put(id string, data []byte, ttl time.Duration, now time.Time) {
	if m.entries == nil {
		m.entries = make(map[string]entry)
	}
	e := entry{data: bytes.Clone(data)}
	if e.data == nil {
		e.data = []byte{}
	}
	if ttl > 0 {
		e.end = now.Add(ttl)
	}
	m.entries[id] = e
}

// room makes place for one more. It is called under mu.
func (m *Memory) room(now time.Time) bool {
	limit := m.Max
	if limit == 0 {
		limit = defaultMemoryMax
	}
	full := limit > 0 && len(m.entries) >= limit
	if full || len(m.entries) >= max(m.sweepAt, firstSweep) {
		maps.DeleteFunc(m.entries, func(_ string, e entry) bool { return !e.end.IsZero() && !now.Before(e.end) })
		m.sweepAt = 2 * len(m.entries)
	}
	return limit < 0 || len(m.entries) < limit
}

// Get implements Store.
func (m *Memory) Get(_ context.Context, id string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.find(id, time.Now())
	if !ok {
		return nil, ErrNoSession
	}
	return e.data, nil
}

// Set implements Store. Errors: ErrStoreFull.
func (m *Memory) Set(_ context.Context, id string, data []byte, ttl time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if _, ok := m.find(id, now); !ok && !m.room(now) {
		return ErrStoreFull
	}
	m.put(id, data, ttl, now)
	return nil
}

// Swap implements Store.
func (m *Memory) Swap(_ context.Context, id string, old, data []byte, ttl time.Duration) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	e, ok := m.find(id, now)
	if !ok {
		return false, ErrNoSession
	}
	if !bytes.Equal(e.data, old) {
		return false, nil
	}
	m.put(id, data, ttl, now)
	return true, nil
}

// Touch implements Store.
func (m *Memory) Touch(_ context.Context, id string, ttl time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	e, ok := m.find(id, now)
	if !ok {
		return ErrNoSession
	}
	e.end = time.Time{}
	if ttl > 0 {
		e.end = now.Add(ttl)
	}
	m.entries[id] = e
	return nil
}

// Delete implements Store.
func (m *Memory) Delete(_ context.Context, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.entries, id)
	return nil
}

// IDs gives the ids of the sessions, sorted.
func (m *Memory) IDs() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	maps.DeleteFunc(m.entries, func(_ string, e entry) bool { return !e.end.IsZero() && !now.Before(e.end) })
	return slices.Sorted(maps.Keys(m.entries))
}
