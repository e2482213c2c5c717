package redistest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/sockeye-io/sockeye/redisadapter"
)

// ErrLost is an error of an Append whose outcome is not known, for use in a function of AppendFault.
var ErrLost = errors.New("redistest: connection lost")

// store has the streams and keys of a Hub. It is guarded by the hub's lock.
type store struct {
	streams map[string]*stream
	keys    map[string]key
	fault   func(redisadapter.Append) (kept bool, err error)
	change  chan struct{} // closed and replaced at each change
}

type stream struct {
	entries []redisadapter.Entry
	at      []id
	last    id
}

type key struct {
	value string
	ends  time.Time
}

// id is that of an entry.
type id struct{ ms, seq uint64 }

func (i id) String() string {
	return strconv.FormatUint(i.ms, 10) + "-" + strconv.FormatUint(i.seq, 10)
}

func (i id) less(j id) bool { return i.ms < j.ms || i.ms == j.ms && i.seq < j.seq }

func parseID(s string, seq uint64) (id, error) {
	ms, rest, ok := strings.Cut(s, "-")
	i := id{seq: seq}
	var err error
	if i.ms, err = strconv.ParseUint(ms, 10, 64); err == nil && ok {
		i.seq, err = strconv.ParseUint(rest, 10, 64)
	}
	if err != nil {
		return id{}, fmt.Errorf("redistest: id %q: %w", s, err)
	}
	return i, nil
}

// changed wakes those who wait for entries.
func (s *store) changed() {
	if s.change != nil {
		close(s.change)
		s.change = nil
	}
}

func (s *store) add(a redisadapter.Append) string {
	t := s.stream(a.Stream)
	next := id{ms: uint64(time.Now().UnixMilli())}
	if !t.last.less(next) {
		next = id{t.last.ms, t.last.seq + 1}
	}
	t.last = next
	t.entries = append(t.entries, redisadapter.Entry{ID: next.String(), Fields: slices.Clone(a.Fields)})
	t.at = append(t.at, next)
	if a.MaxLen > 0 {
		t.trim(a.MaxLen)
	}
	s.changed()
	return next.String()
}

// stream finds or makes a stream.
func (s *store) stream(name string) *stream {
	if s.streams == nil {
		s.streams = map[string]*stream{}
	}
	if s.streams[name] == nil {
		s.streams[name] = &stream{}
	}
	return s.streams[name]
}

func (t *stream) trim(n int) {
	if over := len(t.entries) - n; over > 0 {
		t.entries, t.at = t.entries[over:], t.at[over:]
	}
}

// between gives up to count entries from first to last.
func (t *stream) between(first, last id, count int) []redisadapter.Entry {
	if t == nil {
		return nil
	}
	var found []redisadapter.Entry
	for n := sort.Search(len(t.at), func(i int) bool { return !t.at[i].less(first) }); n < len(t.at); n++ {
		if last.less(t.at[n]) || len(found) >= count {
			break
		}
		found = append(found, t.entries[n])
	}
	return found
}

// StreamDriver makes a driver of the hub that can do streams too. It is a redisadapter.StreamDriver.
func (h *Hub) StreamDriver() redisadapter.StreamDriver {
	d, _ := h.Driver().(*driver)
	return d
}

// AppendFault makes f decide about every entry that is to be appended: whether it is kept, and the error that the driver
// gets in either case. nil ends that.
func (h *Hub) AppendFault(f func(redisadapter.Append) (kept bool, err error)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.store.fault = f
}

// Add appends an entry as a stranger would, and gives its id.
func (h *Hub) Add(stream string, fields ...string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.store.add(redisadapter.Append{Stream: stream, Fields: fields})
}

// Entries gives what is in a stream.
func (h *Hub) Entries(stream string) []redisadapter.Entry {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t := h.store.streams[stream]; t != nil {
		return slices.Clone(t.entries)
	}
	return nil
}

// Trim leaves the last n entries of a stream.
func (h *Hub) Trim(stream string, n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t := h.store.streams[stream]; t != nil {
		t.trim(n)
	}
}

// Flush forgets all streams and keys, as a Redis without persistence does when it is restarted.
func (h *Hub) Flush() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.store.streams, h.store.keys = nil, nil
	h.store.changed()
}

// Keys gives the keys that there are and their values.
func (h *Hub) Keys() map[string]string {
	h.mu.Lock()
	defer h.mu.Unlock()
	keys := map[string]string{}
	for name, k := range h.store.keys {
		if time.Now().Before(k.ends) {
			keys[name] = k.value
		}
	}
	return keys
}

func (d *driver) Append(_ context.Context, batch []redisadapter.Append) (ids []string, errs []error) {
	h := d.h
	h.mu.Lock()
	defer h.mu.Unlock()
	ids, errs = make([]string, len(batch)), make([]error, len(batch))
	failed := false
	for i, a := range batch {
		kept, err := true, error(nil)
		switch {
		case h.down:
			kept, err = false, fmt.Errorf("%w: %w", redisadapter.ErrNotSent, ErrDown)
		case h.store.fault != nil:
			kept, err = h.store.fault(a)
		}
		id := ""
		if kept {
			id = h.store.add(a)
		}
		if err != nil {
			errs[i], failed = err, true
			continue
		}
		ids[i] = id
	}
	if !failed {
		errs = nil
	}
	return ids, errs
}

func (d *driver) Read(
	ctx context.Context, name, after string, count int, block time.Duration,
) ([]redisadapter.Entry, error) {
	from, err := parseID(after, 0)
	if err != nil {
		return nil, err
	}
	timer := time.NewTimer(block)
	defer timer.Stop()
	h := d.h
	for {
		h.mu.Lock()
		if h.down {
			h.mu.Unlock()
			return nil, ErrDown
		}
		found := h.store.streams[name].between(id{from.ms, from.seq + 1}, id{^uint64(0), ^uint64(0)}, count)
		if h.store.change == nil {
			h.store.change = make(chan struct{})
		}
		change := h.store.change
		h.mu.Unlock()
		if len(found) > 0 {
			return found, nil
		}
		select {
		case <-change:
		case <-timer.C:
			return nil, nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (d *driver) Range(_ context.Context, name, first, last string, count int) ([]redisadapter.Entry, error) {
	from, to := id{}, id{^uint64(0), ^uint64(0)}
	var err error
	if first != "-" {
		if from, err = parseID(first, 0); err != nil {
			return nil, err
		}
	}
	if last != "+" {
		if to, err = parseID(last, ^uint64(0)); err != nil {
			return nil, err
		}
	}
	d.h.mu.Lock()
	defer d.h.mu.Unlock()
	if d.h.down {
		return nil, ErrDown
	}
	return d.h.store.streams[name].between(from, to, count), nil
}

func (d *driver) Info(_ context.Context, name string) (redisadapter.StreamInfo, error) {
	d.h.mu.Lock()
	defer d.h.mu.Unlock()
	if d.h.down {
		return redisadapter.StreamInfo{}, ErrDown
	}
	t := d.h.store.streams[name]
	if t == nil {
		return redisadapter.StreamInfo{}, nil
	}
	info := redisadapter.StreamInfo{Length: len(t.entries), LastID: t.last.String(), LastDeleted: "0-0"}
	if len(t.at) > 0 {
		info.FirstID = t.at[0].String()
	}
	return info, nil
}

func (d *driver) Set(_ context.Context, batch []redisadapter.Key) []error {
	d.h.mu.Lock()
	defer d.h.mu.Unlock()
	if d.h.down {
		errs := make([]error, len(batch))
		for i := range errs {
			errs[i] = fmt.Errorf("%w: %w", redisadapter.ErrNotSent, ErrDown)
		}
		return errs
	}
	if d.h.store.keys == nil {
		d.h.store.keys = map[string]key{}
	}
	for _, k := range batch {
		d.h.store.keys[k.Name] = key{k.Value, time.Now().Add(k.TTL)}
	}
	return nil
}

func (d *driver) Get(_ context.Context, name string) (string, bool, error) {
	d.h.mu.Lock()
	defer d.h.mu.Unlock()
	if d.h.down {
		return "", false, ErrDown
	}
	k, ok := d.h.store.keys[name]
	if !ok || !time.Now().Before(k.ends) {
		return "", false, nil
	}
	return k.value, true, nil
}

func (d *driver) Delete(_ context.Context, name string) (bool, error) {
	d.h.mu.Lock()
	defer d.h.mu.Unlock()
	if d.h.down {
		return false, ErrDown
	}
	k, ok := d.h.store.keys[name]
	delete(d.h.store.keys, name)
	return ok && time.Now().Before(k.ends), nil
}

// Skip makes the next entry of a stream get an id above last, as if there had been one.
func (h *Hub) Skip(name, last string) {
	at, err := parseID(last, 0)
	if err != nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.store.stream(name).last = at
}

// Expires tells when a key ends; the zero time where there is none.
func (h *Hub) Expires(name string) time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.store.keys[name].ends
}
