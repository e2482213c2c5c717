package redisadapter

import (
	"container/heap"
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/rediswire"
)

const (
	// sessionDelay is how long a change of a session waits for others.
	sessionDelay = 20 * time.Millisecond

	// settleDelay is how long after its session was restored a socket has to be tracked, which tells Redis too.
	settleDelay = 100 * time.Millisecond

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

	made      time.Time
	noScripts atomic.Int64 // until when scripts are not tried, in nanoseconds since made

	mu     sync.Mutex
	queue  sessionQueue // all that is tracked, by when it is to be written
	byPID  map[string]*tracked
	byID   map[socketKey]*tracked
	of     map[adapter.Member]*tracked
	claims map[string]*claim // by PID, those that are being restored here
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
	turn     string // by which Redis knows that the session is this server's
	before   string // the turn that it was taken from
	snapshot func() adapter.Session
	due      time.Time // when it is to be written
	index    int       // in the queue, -1 where it is not in it
	written  string    // what Redis has; "" where that is not known
	at       time.Time // when it was written
	last     *adapter.Session
	ends     time.Time // of the session of a socket that has ended
	forget   bool      // it is to be deleted
	taken    bool      // somebody else has it
	adopted  bool      // its member is on its way
}

func newKeeper(c *streams) *keeper {
	return &keeper{
		c: c, d: c.d, prefix: c.o.SessionKeyPrefix, ttl: c.recovery.MaxDisconnection,
		wake: make(chan struct{}, 1), ended: make(chan struct{}), made: time.Now(),
		byPID: map[string]*tracked{}, byID: map[socketKey]*tracked{}, of: map[adapter.Member]*tracked{},
		claims: map[string]*claim{},
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
	t := &tracked{
		a: a, m: m, id: s.ID, pid: s.PID, turn: newTurn(), snapshot: snapshot, due: time.Now(), index: -1,
	}
	k.mu.Lock()
	if k.closed {
		k.mu.Unlock()
		return
	}
	if old := k.byPID[s.PID]; old != nil {
		if old.adopted {
			t.turn, t.before, t.written, t.at = old.turn, old.before, old.written, old.at
		}
		old.taken = true
		k.drop(old)
	}
	k.byPID[s.PID], k.byID[socketKey{a, s.ID}], k.of[m] = t, t, t
	heap.Push(&k.queue, t)
	k.mu.Unlock()
	k.signal()
}

// adopt begins to keep a session that was claimed and written, until its member is tracked: what somebody else writes from
// then on is left alone.
func (k *keeper) adopt(a *stream, s *rediswire.Session, before, value string) *tracked {
	now := time.Now()
	m := strangerMember(s.ID)
	t := &tracked{
		a: a, m: &m, id: s.ID, pid: s.PID, turn: s.Turn, before: before, due: now.Add(k.ttl / 2), index: -1,
		written: value, at: now, last: &s.Session, ends: now.Add(k.ttl), adopted: true,
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return nil
	}
	if old := k.byPID[s.PID]; old != nil {
		old.taken = true
		k.drop(old)
	}
	k.byPID[s.PID] = t
	heap.Push(&k.queue, t)
	return t
}

// settle has Redis told that a session which was claimed is not being restored any more. Where nobody got it, it has the
// turn again that it was taken from, so that who waits may try.
func (k *keeper) settle(t *tracked, restored bool) {
	k.mu.Lock()
	if !restored {
		t.turn = t.before
	}
	if k.byPID[t.pid] == t {
		k.moveUp(t, time.Now().Add(settleDelay))
	}
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
	k.mu.Unlock()
	s, _ := k.state(t)
	return t, s, true
}

// turn gives the turn of a session, and the one that it was taken from.
func (k *keeper) turn(t *tracked) (turn, before string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return t.turn, t.before
}

// state is a session as it is, and what was kept of it if its socket has ended. A socket that ends leaves its rooms only
// after untrack, and so its last state is looked for after the other.
func (k *keeper) state(t *tracked) (s adapter.Session, last *adapter.Session) {
	k.mu.Lock()
	last = t.last
	k.mu.Unlock()
	if last == nil {
		s = t.snapshot()
		k.mu.Lock()
		last = t.last
		k.mu.Unlock()
	}
	if last != nil {
		s = *last
	}
	return s, last
}

// take gives up a session. It is false where somebody else has taken it; value is what Redis must have, "" where that is
// not known.
func (k *keeper) take(t *tracked) (value string, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if t.taken || t.forget {
		return "", false
	}
	if time.Since(t.at) < k.ttl {
		value = t.written
	}
	t.taken = true
	k.drop(t)
	return value, true
}
