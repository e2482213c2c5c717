package redisadapter

import (
	"container/heap"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/rediswire"
)

const (
	// sessionDelay is how long a change of a session waits for others.
	sessionDelay = 100 * time.Millisecond

	// sessionRetry is how long after an error a session is written again.
	sessionRetry = 500 * time.Millisecond

	maxSessionBatch = 256
)

// keeper keeps the sessions of a server's sockets in Redis, from when they are connected, so that they outlive the server.
// One goroutine writes what has changed, and each session again before Redis forgets it.
//
// A session that somebody else has taken or written since is left alone: its client is on another server.
type keeper struct {
	c      *streams
	d      StreamDriver
	prefix string
	ttl    time.Duration

	wake   chan struct{} // holds one token when there is news
	cancel context.CancelFunc
	ended  chan struct{}

	mu     sync.Mutex
	queue  sessionQueue // all that is tracked, by when it is to be written
	byPID  map[string]*tracked
	byID   map[socketKey]*tracked
	of     map[adapter.Member]*tracked
	closed bool
}

type socketKey struct {
	a  *stream
	id string
}

// tracked is one session. Its fields are guarded by the keeper's lock.
type tracked struct {
	a        *stream
	m        adapter.Member
	id, pid  string
	snapshot func() adapter.Session
	due      time.Time // when it is to be written
	index    int       // in the queue, -1 where it is not in it
	written  string    // what Redis has; "" where that is not known
	at       time.Time // when it was written
	last     *adapter.Session
	ends     time.Time // of the session of a socket that has ended
	forget   bool      // it is to be deleted
	taken    bool      // somebody else has it
	pending  int       // events that its socket has without an offset and that have no id yet
	min      entryID   // what it can be recovered from
}

func newKeeper(c *streams) *keeper {
	return &keeper{
		c: c, d: c.d, prefix: c.o.SessionKeyPrefix, ttl: c.recovery.MaxDisconnection,
		wake: make(chan struct{}, 1), ended: make(chan struct{}),
		byPID: map[string]*tracked{}, byID: map[socketKey]*tracked{}, of: map[adapter.Member]*tracked{},
	}
}

// start starts writing, which close ends.
func (k *keeper) start() {
	var ctx context.Context
	ctx, k.cancel = context.WithCancel(context.Background())
	go k.run(ctx)
}

// close writes what is to be written, within a second, and ends the goroutine.
func (k *keeper) close() {
	k.mu.Lock()
	k.closed = true
	k.mu.Unlock()
	k.signal()
	limit := time.AfterFunc(flushLimit, k.cancel)
	<-k.ended
	limit.Stop()
	k.cancel()
}

func (k *keeper) signal() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// track begins to keep the session of a member.
func (k *keeper) track(a *stream, m adapter.Member, snapshot func() adapter.Session) {
	s := snapshot()
	if !adapter.ValidPID(s.PID) {
		return
	}
	t := &tracked{a: a, m: m, id: s.ID, pid: s.PID, snapshot: snapshot, due: time.Now(), index: -1}
	k.mu.Lock()
	if k.closed {
		k.mu.Unlock()
		return
	}
	if old := k.byPID[s.PID]; old != nil {
		old.taken = true
		k.drop(old)
	}
	k.byPID[s.PID], k.byID[socketKey{a, s.ID}], k.of[m] = t, t, t
	heap.Push(&k.queue, t)
	k.mu.Unlock()
	k.signal()
}

// untrack keeps the last state of a session, or forgets it.
func (k *keeper) untrack(m adapter.Member, last *adapter.Session) {
	k.mu.Lock()
	t := k.of[m]
	if t == nil || t.last != nil || t.forget {
		k.mu.Unlock()
		return
	}
	delete(k.byID, socketKey{t.a, t.id})
	t.last, t.forget = last, last == nil
	now := time.Now()
	t.ends = now.Add(k.ttl)
	k.moveUp(t, now)
	k.mu.Unlock()
	k.signal()
}

// drop forgets what is known of a session, not what Redis has, also while it is being written. The lock is held.
func (k *keeper) drop(t *tracked) {
	if k.byPID[t.pid] == t {
		delete(k.byPID, t.pid)
	}
	if key := (socketKey{t.a, t.id}); k.byID[key] == t {
		delete(k.byID, key)
	}
	if k.of[t.m] == t {
		delete(k.of, t.m)
	}
	if t.index >= 0 {
		heap.Remove(&k.queue, t.index)
	}
}

// moveUp makes a session be written at that time at the latest. The lock is held.
func (k *keeper) moveUp(t *tracked, at time.Time) {
	if t.index < 0 { // it is being written
		t.due = at
		return
	}
	if at.Before(t.due) {
		t.due = at
		heap.Fix(&k.queue, t.index)
	}
}

// changed makes the session of a member be written again soon.
func (k *keeper) changed(m adapter.Member) {
	k.mu.Lock()
	if t := k.of[m]; t != nil {
		k.moveUp(t, time.Now().Add(sessionDelay))
	}
	k.mu.Unlock()
	k.signal()
}

// moved is told of changes of rooms.
func (k *keeper) moved(a *stream, e adapter.RoomEvent) {
	if e.Kind != adapter.JoinRoom && e.Kind != adapter.LeaveRoom || e.Room == e.Socket {
		return
	}
	k.mu.Lock()
	t := k.byID[socketKey{a, e.Socket}]
	if t != nil {
		k.moveUp(t, time.Now().Add(sessionDelay))
	}
	k.mu.Unlock()
	if t != nil {
		k.signal()
	}
}

// late tells that members have an event without an offset, and that of an entry whose id is not known.
func (k *keeper) late(got map[adapter.Member]struct{}) { k.each(got, func(t *tracked) { t.pending++ }) }

// known tells the id of that entry, or the zero id where it will not be in the stream.
func (k *keeper) known(got map[adapter.Member]struct{}, id entryID) {
	k.each(got, func(t *tracked) {
		t.pending--
		if t.min.less(id) {
			t.min = id
		}
	})
}

func (k *keeper) each(members map[adapter.Member]struct{}, f func(*tracked)) {
	k.mu.Lock()
	now := time.Now()
	for m := range members {
		if t := k.of[m]; t != nil {
			f(t)
			k.moveUp(t, now)
		}
	}
	k.mu.Unlock()
	k.signal()
}

// again writes the sessions of all namespaces of a stream, which Redis may have lost.
func (k *keeper) again(stream string) {
	k.mu.Lock()
	now := time.Now()
	for _, t := range k.byPID {
		if t.a.key == stream {
			t.written = ""
			k.moveUp(t, now)
		}
	}
	k.mu.Unlock()
	k.signal()
}

// peek gives a session of this server, which its client wants to continue; nil where it is none. It is false where the
// session is to be forgotten.
func (k *keeper) peek(a *stream, pid string) (*tracked, adapter.Session, bool) {
	k.mu.Lock()
	t := k.byPID[pid]
	if t == nil || t.a != a || t.forget {
		k.mu.Unlock()
		return nil, adapter.Session{}, t == nil || !t.forget
	}
	s := t.bounded(adapter.Session{})
	last := t.last
	k.mu.Unlock()
	minimum := s.Min
	if last != nil {
		s = *last
	} else {
		s = t.snapshot()
	}
	s.Min = minimum
	return t, s, true
}

// take gives up a session. It is false where somebody else has taken it; stored tells whether Redis must have it.
func (k *keeper) take(t *tracked) (stored, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if t.taken || t.forget {
		return false, false
	}
	stored = t.written != "" && time.Since(t.at) < k.ttl
	t.taken = true
	k.drop(t)
	return stored, true
}

// bounded adds what it can be recovered from. The lock is held.
func (t *tracked) bounded(s adapter.Session) adapter.Session {
	switch {
	case t.pending > 0:
		s.Min = lastEntryID.String()
	case t.min != entryID{}:
		s.Min = t.min.String()
	}
	return s
}

// run writes sessions. It ends when the keeper is closed.
func (k *keeper) run(ctx context.Context) {
	defer close(k.ended)
	for {
		batch, wait, closed := k.takeDue()
		if len(batch) > 0 {
			k.write(ctx, batch)
			if ctx.Err() == nil {
				continue
			}
		}
		if closed {
			return
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-k.wake:
		}
		t.Stop()
	}
}

// job is a session that is being written.
type job struct {
	t       *tracked
	written string           // what Redis should have; "" where it does not matter
	last    *adapter.Session // nil while the socket is connected
	forget  bool
	value   string
}

// takeDue takes what is to be written now. Else it gives how long nothing is.
func (k *keeper) takeDue() (batch []job, wait time.Duration, closed bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	if k.closed {
		now = now.Add(sessionDelay) // what has changed a moment ago
	}
	for len(k.queue) > 0 && len(batch) < maxSessionBatch && !k.queue[0].due.After(now) {
		t, _ := heap.Pop(&k.queue).(*tracked)
		t.due = lastTime
		j := job{t: t, written: t.written, last: t.last, forget: t.forget}
		if now.Sub(t.at) >= k.ttl { // Redis has forgotten it
			j.written = ""
		}
		batch = append(batch, j)
	}
	wait = time.Hour
	if len(k.queue) > 0 {
		wait = k.queue[0].due.Sub(now)
	}
	return batch, wait, k.closed
}

// write writes a batch.
func (k *keeper) write(ctx context.Context, batch []job) {
	keys := make([]Key, 0, len(batch))
	left := batch[:0]
	for _, j := range batch {
		ok, err := k.prepare(ctx, &j)
		if err != nil {
			k.wrote(&j, err)
			continue
		}
		if !ok {
			k.mu.Lock()
			j.t.taken = true
			k.drop(j.t)
			k.mu.Unlock()
			continue
		}
		key := Key{Name: k.prefix + j.t.pid, Value: j.value, TTL: k.ttl}
		if j.forget {
			key.TTL = time.Millisecond // as good as deleted, and in one batch with others
		}
		keys = append(keys, key)
		left = append(left, j)
	}
	if len(keys) == 0 {
		return
	}
	errs := k.d.Set(ctx, keys)
	for i := range left {
		var err error
		if errs != nil {
			err = errs[i]
		}
		k.wrote(&left[i], err)
	}
}

// prepare encodes a session. It is false where nothing is to be written, since the session is another server's now.
func (k *keeper) prepare(ctx context.Context, j *job) (ok bool, err error) {
	defer func() {
		if v := recover(); v != nil { // what the application has set cannot be encoded
			j.t.a.l.fault(faultSession, fmt.Errorf("%w: %v", errPanic, v))
			ok, err = false, nil
		}
	}()
	if j.written != "" {
		value, found, err := k.d.Get(ctx, k.prefix+j.t.pid)
		if err != nil || !found || value != j.written {
			return false, err
		}
	}
	if j.forget {
		return j.written != "", nil
	}
	var s adapter.Session
	if j.last != nil {
		s = *j.last
	} else {
		s = j.t.snapshot()
	}
	k.mu.Lock()
	s = j.t.bounded(s)
	k.mu.Unlock()
	b, err := rediswire.AppendSession(nil, &s)
	if err != nil {
		j.t.a.l.fault(faultSession, err)
		return false, nil
	}
	j.value = string(b)
	return true, nil
}

// wrote puts a session back into the queue.
func (k *keeper) wrote(j *job, err error) {
	t := j.t
	if err != nil {
		t.a.l.fault(faultSession, fmt.Errorf("%w: %w", ErrUnavailable, err))
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.byPID[t.pid] != t { // it was taken
		return
	}
	now := time.Now()
	next := now.Add(k.ttl / 2)
	if err == nil {
		t.written, t.at = j.value, now
		if j.forget || j.last != nil && t.pending == 0 {
			k.drop(t)
			return
		}
	} else {
		t.written = ""
		next = now.Add(sessionRetry)
	}
	if (t.last != nil || t.forget) && next.After(t.ends) {
		next = t.ends
	}
	if j.last != nil && !now.Before(t.ends) {
		k.drop(t)
		return
	}
	if next.Before(t.due) {
		t.due = next
	}
	heap.Push(&k.queue, t)
}

// sessionQueue is a heap by due.
type sessionQueue []*tracked

func (q sessionQueue) Len() int           { return len(q) }
func (q sessionQueue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }

func (q sessionQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

// Push implements heap.Interface.
func (q *sessionQueue) Push(x any) {
	t, _ := x.(*tracked)
	t.index = len(*q)
	*q = append(*q, t)
}

// Pop implements heap.Interface.
func (q *sessionQueue) Pop() any {
	n := len(*q) - 1
	t := (*q)[n]
	(*q)[n] = nil
	*q = (*q)[:n]
	t.index = -1
	return t
}
