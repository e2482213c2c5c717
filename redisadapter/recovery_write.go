package redisadapter

import (
	"container/heap"
	"context"
	"fmt"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/rediswire"
)

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
	turn    string
	before  string
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
		if t.adopted && !now.Before(t.ends) {
			k.drop(t)
			continue
		}
		t.due = lastTime
		j := job{t: t, turn: t.turn, before: t.before, written: t.written, last: t.last, forget: t.forget}
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

// write writes a batch: what is another server's now is left alone.
func (k *keeper) write(ctx context.Context, batch []job) {
	left := batch[:0]
	var swaps []swap
	for _, j := range batch {
		if !k.encode(&j) {
			k.lose(j.t)
			continue
		}
		sw := swap{key: k.prefix + j.t.pid, old: j.written, value: j.value, ttl: k.ttl}
		if j.forget {
			sw.ttl = time.Millisecond // as good as deleted, and in one batch with others
		}
		swaps = append(swaps, sw)
		left = append(left, j)
	}
	if len(left) == 0 {
		return
	}
	results, ok := k.swap(ctx, swaps)
	if !ok {
		k.overwrite(ctx, left, swaps)
		return
	}
	for i, r := range results {
		switch j := &left[i]; {
		case r.err != nil || r.done:
			k.wrote(j, r.err)
		case r.value != "" && ownTurn(r.value, j.turn, j.before, j.written):
			k.found(j.t, r.value)
		default:
			k.lose(j.t)
		}
	}
}

// overwrite is write for where scripts cannot be run: what another server writes at the same moment may get lost.
func (k *keeper) overwrite(ctx context.Context, batch []job, swaps []swap) {
	keys := make([]Key, 0, len(batch))
	left := batch[:0]
	for i, j := range batch {
		if j.written != "" {
			value, found, err := k.d.Get(ctx, swaps[i].key)
			if err != nil {
				k.wrote(&j, err)
				continue
			}
			if !found || value != j.written {
				k.lose(j.t)
				continue
			}
		}
		keys = append(keys, Key{Name: swaps[i].key, Value: j.value, TTL: swaps[i].ttl})
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

// encode is false where nothing is to be written.
func (k *keeper) encode(j *job) (ok bool) {
	if j.forget {
		return j.written != ""
	}
	s, last := k.state(j.t)
	if j.last == nil {
		j.last = last
	}
	j.value, ok = encodeSession(j.t.a, &rediswire.Session{Session: s, Turn: j.turn})
	return ok
}

// lose forgets a session that is another server's now.
func (k *keeper) lose(t *tracked) {
	k.mu.Lock()
	defer k.mu.Unlock()
	t.taken = true
	k.drop(t)
}

// found has a session written at once that Redis has in another state of this server's.
func (k *keeper) found(t *tracked, value string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.byPID[t.pid] != t { // it was taken
		return
	}
	now := time.Now()
	t.written, t.at, t.due = value, now, now
	heap.Push(&k.queue, t)
}

// encodeSession is false, and reports why, where what the application has set cannot be encoded.
func encodeSession(a *stream, s *rediswire.Session) (value string, ok bool) {
	defer func() {
		if v := recover(); v != nil {
			a.l.fault(faultSession, fmt.Errorf("%w: %v", errPanic, v))
			value, ok = "", false
		}
	}()
	b, err := rediswire.AppendSession(nil, s)
	if err != nil {
		a.l.fault(faultSession, err)
		return "", false
	}
	return string(b), true
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
		if t.adopted {
			next = t.ends
		} else if j.forget || j.last != nil {
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

// Len implements heap.Interface.
func (q *sessionQueue) Len() int { return len(*q) }

// Less implements heap.Interface.
func (q *sessionQueue) Less(i, j int) bool { return (*q)[i].due.Before((*q)[j].due) }

// Swap implements heap.Interface.
func (q *sessionQueue) Swap(i, j int) {
	all := *q
	all[i], all[j] = all[j], all[i]
	all[i].index, all[j].index = i, j
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
