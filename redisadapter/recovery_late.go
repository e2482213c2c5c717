package redisadapter

import (
	"slices"
	"time"
)

// lateCame tells whether the entry is of something that was delivered without an offset, and forgets that. What is before
// it in the stream does not come any more. The lock is held.
func (q *sequence) lateCame(id entryID, fields []string) (found bool) {
	if len(q.late) == 0 {
		return false
	}
	q.late = slices.DeleteFunc(q.late, func(w *waiting) bool {
		passed := w.id.Load()
		switch {
		case !found && slices.Equal(w.fields, fields):
			found = true
			q.tell(id, w)
			return true
		case passed != nil && passed.less(id): // it was trimmed before it was read
			return true
		}
		return false
	})
	q.settle()
	return found
}

// settle tells those who wait that late is empty, if it is. The lock is held.
func (q *sequence) settle() {
	if len(q.late) == 0 && q.settled != nil {
		close(q.settled)
		q.settled = nil
	}
}

// inStream gives what to wait for until everything that was delivered is known to be in the stream, before which nobody
// can be restored without a gap; nil where it is. The lock is held.
func (q *sequence) inStream() <-chan struct{} {
	if len(q.late) == 0 {
		return nil
	}
	if q.settled == nil {
		q.settled = make(chan struct{})
	}
	return q.settled
}

// tick is called by the timer.
func (q *sequence) tick() {
	q.lock()
	defer q.unlock()
	q.expire(time.Now(), nil)
	q.arm()
}

// overdue delivers w, and what is before it, without an offset.
func (q *sequence) overdue(w *waiting) {
	q.lock()
	defer q.unlock()
	if !w.done {
		q.expire(time.Time{}, w)
	}
}

// failed is overdue for what will not be in the stream.
func (q *sequence) failed(w *waiting) {
	q.overdue(w)
	q.lock()
	defer q.unlock()
	if i := slices.Index(q.late, w); i >= 0 {
		q.late = slices.Delete(q.late, i, i+1)
		q.settle()
	}
}

// expire delivers without an offset what does not wait any longer, and what is before last or last itself, if that is not
// nil. The lock is held.
func (q *sequence) expire(now time.Time, last *waiting) {
	for _, w := range q.queue {
		if w.f == nil && !w.done {
			if last == nil && w.deadline().After(now) {
				break
			}
			w.done = true
			q.withoutOffset(w)
		}
		if w == last {
			break
		}
	}
	q.advance()
}

// withoutOffset delivers w to sockets that cannot be recovered then until they get something with an offset. The lock is
// held.
func (q *sequence) withoutOffset(w *waiting) {
	_, _ = q.a.Deliver(withArg(w.p, noOffset), w.o) // it was encoded before
	q.late = append(q.late, w)
}

// lastTime is after all others.
var lastTime = time.Unix(1<<40, 0)
