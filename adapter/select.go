package adapter

import "sync"

// manyRooms is the number of rooms in Options from which a member is looked up in a set of them, not compared
// with each.
const manyRooms = 8

// scratch is what a selection needs for a moment.
type scratch struct {
	members []Member
	q       query
}

var scratches sync.Pool // of *scratch

func newScratch() *scratch {
	if s, ok := scratches.Get().(*scratch); ok {
		return s
	}
	return new(scratch)
}

// Each calls f for every member that o selects, once each. It goes by the state of the index when it is
// called and holds no lock while f runs: f may call the index.
func (x *Index) Each(o Options, f func(m Member)) {
	if len(o.Rooms) == 1 && len(o.Except) == 0 {
		if m, only := x.only(o.Rooms[0]); only {
			if m != nil {
				f(m)
			}
			return
		}
	}
	s := newScratch()
	defer s.free()
	x.mu.RLock()
	s.members = x.appendSelected(s.members, o, &s.q)
	x.mu.RUnlock()
	for _, m := range s.members {
		f(m)
	}
}

// Collect gives the members that o selects.
func (x *Index) Collect(o Options) []Member {
	s := newScratch()
	defer s.free()
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.appendSelected(nil, o, &s.q)
}

// Count counts the members that o selects.
func (x *Index) Count(o Options) int {
	if len(o.Rooms) == 0 && len(o.Except) == 0 {
		return x.Len()
	}
	s := newScratch()
	defer s.free()
	x.mu.RLock()
	s.members = x.appendSelected(s.members, o, &s.q)
	x.mu.RUnlock()
	return len(s.members)
}

// only is the member of a room that nobody joined, which is at most the one whose id it is; ok is false where
// somebody joined it.
func (x *Index) only(room string) (m Member, ok bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if x.rooms[room] != nil {
		return nil, false
	}
	if e := x.owner(room); e != nil {
		return e.m, true
	}
	return nil, true
}

func (s *scratch) free() {
	clear(s.members) // the pool must not keep sockets alive
	s.members = s.members[:0]
	s.q.reset()
	scratches.Put(s)
}

// appendSelected appends the members that o selects. The caller holds mu.
func (x *Index) appendSelected(dst []Member, o Options, q *query) []Member {
	q.except.set(x, o.Except)
	if len(o.Rooms) == 0 {
		for _, e := range x.all {
			if q.except.first(e) < 0 {
				dst = append(dst, e.m)
			}
		}
		return dst
	}
	q.rooms.set(x, o.Rooms)
	several := len(o.Rooms) > 1
	for i, t := range q.rooms.targets {
		if t.owner != nil && (!several || q.rooms.first(t.owner) == i) && q.except.first(t.owner) < 0 {
			dst = append(dst, t.owner.m)
		}
		if t.room == nil {
			continue
		}
		for _, s := range t.room.slots {
			e := s.e
			if e.at < 0 || e == t.owner { // the owner cannot have joined its own room
				continue
			}
			if (!several || q.rooms.first(e) == i) && q.except.first(e) < 0 {
				dst = append(dst, e.m)
			}
		}
	}
	return dst
}

// query is the resolved form of Options.
type query struct{ rooms, except targets }

func (q *query) reset() {
	q.rooms.reset()
	q.except.reset()
}

// targets are rooms by name: who owns the name as an id, and who joined.
type targets struct {
	targets []target
	byRoom  map[*room]int  // the first target of a room; used from manyRooms on
	byOwner map[*entry]int // likewise
}

type target struct {
	owner *entry
	room  *room
}

func (t *targets) reset() {
	clear(t.targets)
	t.targets = t.targets[:0]
	clear(t.byRoom)
	clear(t.byOwner)
}

func (t *targets) set(x *Index, names []string) {
	for _, name := range names {
		t.targets = append(t.targets, target{x.owner(name), x.rooms[name]})
	}
	if len(names) < manyRooms {
		return
	}
	if t.byRoom == nil {
		t.byRoom, t.byOwner = map[*room]int{}, map[*entry]int{}
	}
	for i, n := range t.targets {
		if _, ok := t.byRoom[n.room]; !ok && n.room != nil {
			t.byRoom[n.room] = i
		}
		if _, ok := t.byOwner[n.owner]; !ok && n.owner != nil {
			t.byOwner[n.owner] = i
		}
	}
}

// first is the first of the targets that e is in, or -1.
func (t *targets) first(e *entry) int {
	if len(t.targets) < manyRooms {
		for i, n := range t.targets {
			if n.owner == e || n.room != nil && sits(e, n.room) {
				return i
			}
		}
		return -1
	}
	best := -1
	if i, ok := t.byOwner[e]; ok {
		best = i
	}
	for _, s := range e.rooms {
		if i, ok := t.byRoom[s.r]; ok && (best < 0 || i < best) {
			best = i
		}
	}
	return best
}

// sits tells whether e is in r.
func sits(e *entry, r *room) bool { return seatIn(e, r) >= 0 }
