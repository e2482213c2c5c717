package engineio

// The bounds of a queue when Config does not say.
const (
	defaultQueueBytes   = 1_000_000
	defaultQueuePackets = 1024
)

// keepQueue is the greatest capacity that an empty queue keeps: it holds the memory of idle connections down.
const keepQueue = 16

func (q SendQueue) withDefaults() SendQueue {
	if q.MaxBytes == 0 {
		q.MaxBytes = defaultQueueBytes
	}
	if q.MaxPackets == 0 {
		q.MaxPackets = defaultQueuePackets
	}
	return q
}

// queued is a message that waits.
type queued struct {
	p          *Prepared
	noCompress bool
	more       bool // the next one was queued together with this one
}

// sendq is what waits for a connection: items, and what the transport has taken but not yet written.
type sendq struct {
	items   []queued
	bytes   int // of items
	flight  int // bytes
	flights int // packets
}

// admit tells whether ps may be queued. With DropOldest it makes room.
func (q *sendq) admit(limit *SendQueue, ps []*Prepared) bool {
	size := 0
	for _, p := range ps {
		size += p.size()
	}
	if q.fits(limit, size, len(ps)) {
		return true
	}
	if limit.OnFull != DropOldest {
		return false
	}
	for len(q.items) > 0 {
		q.dropFirst()
		if q.fits(limit, size, len(ps)) {
			return true
		}
	}
	return false
}

// fits: an empty queue takes anything.
func (q *sendq) fits(limit *SendQueue, size, n int) bool {
	packets := len(q.items) + q.flights
	return packets == 0 || packets+n <= limit.MaxPackets && q.bytes+q.flight+size <= limit.MaxBytes
}

// dropFirst drops the first message and those that were queued together with it: half of them would mislead the peer.
func (q *sendq) dropFirst() {
	n := 0
	for {
		it := q.items[n]
		q.bytes -= it.p.size()
		n++
		if !it.more {
			break
		}
	}
	rest := copy(q.items, q.items[n:])
	clear(q.items[rest:])
	q.items = q.items[:rest]
}

func (q *sendq) push(ps []*Prepared, noCompress bool) {
	for i, p := range ps {
		q.items = append(q.items, queued{p: p, noCompress: noCompress, more: i < len(ps)-1})
		q.bytes += p.size()
	}
}

// landed says that what was taken has been written. It reports whether that was anything.
func (q *sendq) landed() bool {
	if q.flights == 0 {
		return false
	}
	q.flight, q.flights = 0, 0
	return true
}

// took empties the queue, whose items are in flight now. Items belong to flights all or none.
func (q *sendq) took() {
	q.flight, q.flights = q.flight+q.bytes, q.flights+len(q.items)
	q.bytes = 0
	if cap(q.items) > keepQueue {
		q.items = nil
		return
	}
	clear(q.items)
	q.items = q.items[:0]
}
