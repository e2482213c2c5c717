package redisadapter

// backlog is what waits for Redis, in order, bounded in number and bytes: where it is full the oldest make room, but one
// always fits. Its owner guards it.
type backlog[T interface{ bytes() int }] struct {
	most, mostBytes int

	queue []T // from first on
	first int
	size  int // in bytes
}

func (b *backlog[T]) length() int { return len(b.queue) - b.first }

// put gives what made room.
func (b *backlog[T]) put(x T) (dropped []T) {
	b.queue = append(b.queue, x)
	b.size += x.bytes()
	for n := b.length(); n > 1 && (n > b.most || b.size > b.mostBytes); n-- {
		dropped = append(dropped, b.shift())
	}
	return dropped
}

// take moves the next batch out.
func (b *backlog[T]) take(batch []T) []T {
	for size := 0; b.length() > 0 && len(batch) < maxBatch && size < maxBatchBytes; {
		x := b.shift()
		size += x.bytes()
		batch = append(batch, x)
	}
	return batch
}

// rest moves everything out.
func (b *backlog[T]) rest() []T {
	rest := append([]T(nil), b.queue[b.first:]...)
	b.queue, b.first, b.size = nil, 0, 0
	return rest
}

// over counts, of a batch that was taken, those that would have made room meanwhile.
func (b *backlog[T]) over(batch []T) (over int) {
	n, size := b.length()+len(batch), b.size
	for _, x := range batch {
		size += x.bytes()
	}
	for ; over < len(batch) && n > 1 && (n > b.most || size > b.mostBytes); n-- {
		size -= batch[over].bytes()
		over++
	}
	return over
}

func (b *backlog[T]) shift() T {
	var none T
	x := b.queue[b.first]
	b.queue[b.first] = none
	b.first++
	b.size -= x.bytes()
	switch {
	case b.first == len(b.queue):
		b.queue, b.first = b.queue[:0], 0
		if cap(b.queue) > 4*maxBatch {
			b.queue = nil // a burst is over
		}
	case b.first > maxBatch && 2*b.first > len(b.queue):
		// Move down what is left, so that the slice does not grow for ever while it never runs empty.
		n := copy(b.queue, b.queue[b.first:])
		clear(b.queue[n:])
		b.queue, b.first = b.queue[:n], 0
	}
	return x
}
