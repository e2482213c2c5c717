package redisadapter

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/rediswire"
	"github.com/sockeye-io/sockeye/parser"
)

const (
	// offsetLimit is how long sockets of this server wait for an event that must go through the stream to get its
	// offset, as long as Redis has not said that it is there.
	offsetLimit = 250 * time.Millisecond

	// readLimit is how much longer they wait where it has: who got an event without its offset cannot be recovered
	// from before it.
	readLimit = time.Second

	// noOffset takes the place of an offset that is not known. A client keeps it as its last, and no server recovers it
	// from there: so what it has got without an offset is not sent to it again, wherever it comes back.
	noOffset = "-"
)

// sequence delivers what has an offset to the sockets of a namespace in the order of the stream: so an offset that a
// client has means that it has had everything before. What this server broadcasts waits for the stream, but no longer
// than offsetLimit, and readLimit where Redis has it; what has no offset waits behind it. From when something is delivered
// without its offset until it comes from the stream, everything is: what comes meanwhile is before it in the stream.
type sequence struct {
	a       *stream
	waiting atomic.Int32 // len(queue), read without the lock

	// mu is held while something is delivered and while a session is restored. What is called under it must not come
	// back to the adapter.
	mu      sync.Mutex
	at      entryID    // of the last entry for this namespace
	queue   []*waiting // in the order of the broadcasts
	late    []*waiting // delivered without an offset, and to be in the stream
	joiners map[*joiner]struct{}
	timer   *time.Timer
	closed  bool
	settled chan struct{} // closed when late is empty; nil where nobody waits for that
}

// waiting is a broadcast that waits, or something else that waits behind one.
type waiting struct {
	p      *parser.Packet // with room for the offset; nil for something else
	o      adapter.Options
	fields []string // of the entry
	ends   time.Time
	id     atomic.Pointer[entryID] // nil until Redis has said it
	f      func() error
	done   bool
}

// deadline is until when w waits.
func (w *waiting) deadline() time.Time {
	if w.id.Load() != nil {
		return w.ends.Add(readLimit)
	}
	return w.ends
}

func newSequence(a *stream) *sequence { return &sequence{a: a, joiners: map[*joiner]struct{}{}} }

// lock and unlock are for sections that deliver: watchers of rooms, who may call the adapter, are told after them.
func (q *sequence) lock() {
	q.a.host.Index().Hold()
	q.mu.Lock()
}

func (q *sequence) unlock() {
	q.waiting.Store(int32(len(q.queue)))
	q.mu.Unlock()
	q.a.host.Index().Release()
}

// broadcast appends p, and delivers it when it comes back.
func (q *sequence) broadcast(ctx context.Context, p *parser.Packet, o adapter.Options) error {
	a := q.a
	frozen, _, err := adapter.Freeze(p)
	if err != nil {
		return err
	}
	if o.Flags.Local {
		return q.inTurn(func() error { return a.Local.Broadcast(context.Background(), frozen, o) })
	}
	fields, err := a.fields(&rediswire.Message{
		Type: rediswire.MessageBroadcast, Packet: *frozen, Target: rediswire.Target{Options: o},
	})
	if err != nil {
		return err
	}
	if !hasOffset(frozen, o) {
		if err := q.inTurn(func() error { return a.Local.Broadcast(context.Background(), frozen, o) }); err != nil {
			return err
		}
		return a.append(ctx, fields, o.Flags)
	}
	if a.closed.Load() {
		return adapter.ErrClosed
	}
	w := &waiting{p: frozen, o: o, fields: fields, ends: time.Now().Add(offsetLimit)}
	q.push(w)
	done := make(chan error, 1)
	e := appending{Append: Append{Stream: a.key, MaxLen: a.c.o.MaxLen, Fields: fields}, done: func(id string, err error) {
		if err != nil {
			q.failed(w)
		} else if at, ok := parseEntryID(id); ok {
			w.id.Store(&at)
		}
		done <- err
	}}
	if a.reader == nil || a.c.app.health() != nil || a.reader.health() != nil {
		q.overdue(w) // there is nothing to wait for
	}
	if ctx.Done() == nil {
		err = a.c.app.put(e)
	} else {
		err = a.wait(ctx, e, done)
	}
	if errors.Is(err, ErrClosed) {
		q.failed(w)
	}
	return err
}

// hasOffset tells which packets get an offset.
func hasOffset(p *parser.Packet, o adapter.Options) bool {
	return p.Type == parser.Event && !p.HasID && !o.Flags.Volatile
}

func (q *sequence) push(w *waiting) {
	q.lock()
	defer q.unlock()
	q.queue = append(q.queue, w)
	if q.closed {
		q.expire(lastTime, nil)
		return
	}
	if len(q.queue) == 1 {
		q.arm()
	}
}

// inTurn calls f when everything before is delivered, and gives its error if that is at once.
func (q *sequence) inTurn(f func() error) error {
	if q.waiting.Load() == 0 {
		return f()
	}
	q.lock()
	defer q.unlock()
	if len(q.queue) == 0 {
		return f()
	}
	q.queue = append(q.queue, &waiting{f: f})
	return nil
}

// After implements adapter.Sequencer.
func (q *sequence) After(f func()) bool {
	if q.waiting.Load() == 0 {
		return false
	}
	q.lock()
	defer q.unlock()
	if len(q.queue) == 0 {
		return false
	}
	q.queue = append(q.queue, &waiting{f: func() error { f(); return nil }})
	return true
}

// drain waits until everything that was broadcast before is delivered.
func (q *sequence) drain(ctx context.Context) {
	done := make(chan struct{})
	if !q.After(func() { close(done) }) {
		return
	}
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// own delivers what waited for this entry.
func (q *sequence) own(id entryID, fields []string) {
	q.lock()
	defer q.unlock()
	q.at = id
	if q.lateCame(id, fields) {
		return
	}
	for i, w := range q.queue {
		if w.p == nil || w.done || !slices.Equal(w.fields, fields) {
			continue
		}
		w.done = true
		_ = q.deliver(id, w) // it was encoded before
		if i == 0 {
			q.advance()
		}
		return
	}
}

// rewind takes back where the stream was. What was there before is restored to nobody.
func (q *sequence) rewind(to entryID) {
	q.lock()
	defer q.unlock()
	q.at = to
	for j := range q.joiners {
		j.overflow, j.packets = true, nil
	}
}

// foreign delivers what another server broadcast.
func (q *sequence) foreign(id entryID, m *rediswire.Message, fields []string) error {
	p, o := &m.Packet, m.Target.Options
	q.lock()
	defer q.unlock()
	q.at = id
	q.lateCame(id, nil)
	if m.Asks || !hasOffset(p, o) {
		_, err := q.a.Deliver(p, o)
		return err
	}
	if len(q.joiners) == 0 && !q.a.anyRoom(o.Rooms) {
		return nil
	}
	return q.deliver(id, &waiting{p: p, o: o, fields: fields})
}

// deliver delivers w with its offset, also to those who are being restored. The lock is held.
func (q *sequence) deliver(id entryID, w *waiting) error {
	p := q.tell(id, w)
	if q.a.closed.Load() {
		return nil
	}
	if len(q.late) > 0 {
		p = withArg(w.p, noOffset)
	}
	_, err := q.a.Deliver(p, w.o)
	return err
}

// tell adds the offset, and gives the packet to those who are being restored. The lock is held.
func (q *sequence) tell(id entryID, w *waiting) *parser.Packet {
	p := withOffset(w.p, id)
	for j := range q.joiners {
		j.add(p, w.o, dataSize(w.fields))
	}
	return p
}

// dataSize is the size of the data of an entry, which comes last in those of ours.
func dataSize(fields []string) int { return len(fields[len(fields)-1]) }

// withOffset gives p with its offset as a further argument.
func withOffset(p *parser.Packet, id entryID) *parser.Packet {
	var text [maxEntryID]byte
	return withArg(p, string(id.append(text[:0])))
}

func withArg(p *parser.Packet, text string) *parser.Packet {
	with := *p
	with.Args = append(slices.Clip(p.Args), parser.RawJSON(strconv.AppendQuote(nil, text)))
	return &with
}

// advance takes from the head what is done, and does what waited for that alone. The lock is held.
func (q *sequence) advance() {
	n := 0
	for ; n < len(q.queue); n++ {
		w := q.queue[n]
		if w.f != nil {
			_ = w.f() // nobody waits for its error any more
		} else if !w.done {
			break
		}
	}
	if q.queue = slices.Delete(q.queue, 0, n); len(q.queue) == 0 {
		q.queue = nil
	}
	q.arm()
}

// arm sets the timer for the head. The lock is held.
func (q *sequence) arm() {
	if len(q.queue) == 0 || q.closed {
		return
	}
	wait := time.Until(q.queue[0].deadline())
	if q.timer == nil {
		q.timer = time.AfterFunc(wait, q.tick)
		return
	}
	q.timer.Reset(wait)
}

// close delivers what waits.
func (q *sequence) close() {
	q.lock()
	defer q.unlock()
	q.closed = true
	if q.timer != nil {
		q.timer.Stop()
	}
	q.expire(lastTime, nil)
	q.late = nil
	q.settle()
}
