package load

// maxPending is how many events of a connection may wait for their acknowledgements. One more that is due is not sent.
const maxPending = 4096

// pending keeps when the events were due whose acknowledgements are not here yet. Ids count from base; most answers
// come in order.
type pending struct {
	base uint64
	due  []int64 // 0 = answered
	open int
}

// push gives the id of an event; false when there are too many.
func (p *pending) push(due int64) (id uint64, ok bool) {
	if len(p.due) >= maxPending {
		return 0, false
	}
	p.due = append(p.due, due)
	p.open++
	return p.base + uint64(len(p.due)) - 1, true
}

// pop gives when the event was due; false for an id that waits for nothing.
func (p *pending) pop(id uint64) (due int64, ok bool) {
	if id < p.base || id-p.base >= uint64(len(p.due)) {
		return 0, false
	}
	i := id - p.base
	due = p.due[i]
	if due == 0 {
		return 0, false
	}
	p.due[i] = 0
	p.open--
	n := 0
	for n < len(p.due) && p.due[n] == 0 {
		n++
	}
	p.base += uint64(n)
	p.due = p.due[:copy(p.due, p.due[n:])]
	return due, true
}
