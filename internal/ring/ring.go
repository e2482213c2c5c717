// Package ring holds queues and the workers that empty them: a ring that grows lazily, and a pool of standing
// goroutines for work that may block.
//
// Not in this package: sockets, order between tasks (a task that must not overlap another is given once).
package ring

// minCap is the first size of a ring's storage, and what an idle ring may keep.
const minCap = 8

// Ring is a FIFO queue. The zero Ring is empty, has no storage and is ready to use. It is not safe for
// concurrent use. It has no bound of its own: its owner compares Len with the bound.
type Ring[T any] struct {
	buf  []T // its length is a power of two, or zero
	head int
	n    int
}

// Len counts the elements.
func (r *Ring[T]) Len() int { return r.n }

// Push appends v.
func (r *Ring[T]) Push(v T) {
	if r.n == len(r.buf) {
		r.grow()
	}
	r.buf[(r.head+r.n)&(len(r.buf)-1)] = v
	r.n++
}

// Pop takes the oldest element. Storage beyond a small one is given back with the last element.
func (r *Ring[T]) Pop() (v T, ok bool) {
	if r.n == 0 {
		return v, false
	}
	var zero T
	v, r.buf[r.head] = r.buf[r.head], zero
	r.head = (r.head + 1) & (len(r.buf) - 1)
	r.n--
	if r.n == 0 {
		r.head = 0
		if len(r.buf) > minCap {
			r.buf = nil
		}
	}
	return v, true
}

// Reset drops all elements and the storage.
func (r *Ring[T]) Reset() { *r = Ring[T]{} }

func (r *Ring[T]) grow() {
	buf := make([]T, max(minCap, 2*len(r.buf)))
	n := copy(buf, r.buf[r.head:])
	copy(buf[n:], r.buf[:r.head])
	r.buf, r.head = buf, 0
}
