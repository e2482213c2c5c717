package adapter

import (
	"errors"
	"iter"
	"slices"
	"strings"
	"sync"
)

// ErrTooManyRooms is returned by a Join that would exceed the bound on rooms of one socket.
var ErrTooManyRooms = errors.New("adapter: too many rooms")

// ErrGone is returned by a Join of a member that says it is gone.
var ErrGone = errors.New("adapter: socket is gone")

// DefaultMaxRooms is the bound on the rooms of one member where none is given.
const DefaultMaxRooms = 1000

// Departing is what a Member may implement so that a Join or Add that races with its end leaves nothing
// behind. Gone is called under the index's lock: it must only read a flag, which its owner sets before it
// calls Remove. Join of a member that is gone fails with ErrGone, and Add does nothing.
type Departing interface {
	Gone() bool
}

// Index finds the sockets of one namespace on this server by room. It is safe for concurrent use.
// A member is in a room of its own id, which costs nothing. Members that have joined rooms before
// Add are not selected until Add. Members are told apart by ==, so they should be pointers; of two members
// with one id the later takes the place of the earlier, which is then unknown.
type Index struct {
	maxRooms int
	events   events

	mu      sync.RWMutex
	entries map[string]*entry // by id
	rooms   map[string]*room  // those that somebody joined; never empty ones
	all     []*entry          // the added ones
	left    []func(Member)    // told of members that were removed, after mu is released
}

// entry is what the index keeps of a member.
type entry struct {
	m     Member
	id    string
	at    int32 // position in Index.all, -1 before Add
	rooms []seat
}

// seat is the place of a member in a room.
type seat struct {
	r  *room
	at int32 // position in room.slots
}

// room is a room that somebody joined.
type room struct {
	name  string
	slots []slot
}

// slot is a member of a room; seat is the position of the room in the member's seats, so that moving a slot
// or a seat needs no search.
type slot struct {
	e    *entry
	seat int32
}

// NewIndex returns an empty index. maxRooms bounds the rooms of a member beside its own; zero means
// DefaultMaxRooms, negative is no bound. on, which may be nil, is told of every change without any lock held,
// in the order in which the changes were made, one call at a time: by the goroutine that made the change, or
// by the one that is already in such a call. See also Watch.
func NewIndex(maxRooms int, on func(RoomEvent)) *Index {
	if maxRooms == 0 {
		maxRooms = DefaultMaxRooms
	}
	x := &Index{maxRooms: maxRooms, entries: map[string]*entry{}, rooms: map[string]*room{}}
	if on != nil {
		x.events.watch(on)
	}
	return x
}

// Add makes m selectable. It is no change if m is there already.
func (x *Index) Add(m Member) {
	x.mu.Lock()
	e, old := x.entryOf(m)
	if e != nil && e.at < 0 {
		e.at = int32(len(x.all))
		x.all = append(x.all, e)
		if x.events.on() {
			if x.rooms[e.id] == nil {
				x.events.add(RoomEvent{CreateRoom, e.id, e.id})
			}
			x.events.add(RoomEvent{JoinRoom, e.id, e.id})
		}
	}
	x.unlock(old)
}

// Join puts m into rooms; all of them or, with an error, none. Rooms that it is in already do not count.
func (x *Index) Join(m Member, rooms ...string) error {
	x.mu.Lock()
	if len(rooms) == 0 {
		x.mu.Unlock()
		return nil
	}
	e, old := x.entryOf(m)
	if e == nil {
		x.unlock(old)
		return ErrGone
	}
	if x.maxRooms >= 0 && len(e.rooms)+len(rooms) > x.maxRooms && len(e.rooms)+x.countNew(e, rooms) > x.maxRooms {
		if e.at < 0 && len(e.rooms) == 0 {
			delete(x.entries, e.id)
		}
		x.unlock(old)
		return ErrTooManyRooms
	}
	for _, name := range rooms {
		x.join(e, name)
	}
	if e.at < 0 && len(e.rooms) == 0 { // only its own room, before Add
		delete(x.entries, e.id)
	}
	x.unlock(old)
	return nil
}

// Leave takes m out of rooms. Its own room cannot be left.
func (x *Index) Leave(m Member, rooms ...string) {
	x.mu.Lock()
	if e := x.known(m); e != nil {
		for _, name := range rooms {
			if i := seatIn(e, x.rooms[name]); i >= 0 {
				x.leave(e, i)
			}
		}
		if e.at < 0 && len(e.rooms) == 0 {
			delete(x.entries, e.id)
		}
	}
	x.unlock(nil)
}

// Remove takes m out of everything. It is harmless for a member that is not there.
func (x *Index) Remove(m Member) {
	x.mu.Lock()
	e := x.known(m)
	if e == nil {
		x.mu.Unlock()
		return
	}
	x.drop(e)
	x.unlock(m)
}

// Rooms gives the rooms of m, its own first once it was added.
func (x *Index) Rooms(m Member) []string {
	x.mu.RLock()
	defer x.mu.RUnlock()
	e := x.known(m)
	if e == nil {
		return nil
	}
	names := make([]string, 0, len(e.rooms)+1)
	if e.at >= 0 {
		names = append(names, e.id)
	}
	for _, s := range e.rooms {
		names = append(names, s.r.name)
	}
	return names
}

// Has tells whether room, or a member of that id, exists here.
func (x *Index) Has(room string) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.rooms[room] != nil || x.owner(room) != nil
}

// AllRooms gives every room, those of the members' ids included.
func (x *Index) AllRooms() []string {
	x.mu.RLock()
	defer x.mu.RUnlock()
	names := make([]string, 0, len(x.rooms)+len(x.all))
	for _, e := range x.all {
		names = append(names, e.id)
	}
	for name := range x.rooms {
		if x.owner(name) == nil {
			names = append(names, name)
		}
	}
	return names
}

// Members iterates over the members that are added when the iteration starts.
func (x *Index) Members() iter.Seq[Member] {
	return func(yield func(Member) bool) {
		for _, m := range x.Collect(Options{}) {
			if !yield(m) {
				return
			}
		}
	}
}

// Lookup finds an added member by id.
func (x *Index) Lookup(id string) (Member, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if e := x.owner(id); e != nil {
		return e.m, true
	}
	return nil, false
}

// Len counts the added members.
func (x *Index) Len() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.all)
}

// Totals counts the added members, and the rooms that somebody joined.
func (x *Index) Totals() (members, rooms int) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.all), len(x.rooms)
}

// onLeft adds a function that is told of every member that was removed, without any lock held.
func (x *Index) onLeft(f func(Member)) {
	x.mu.Lock()
	x.left = append(slices.Clip(x.left), f)
	x.mu.Unlock()
}

// unlock releases mu and tells of what was changed under it; gone is a member that was removed, or nil.
func (x *Index) unlock(gone Member) {
	left := x.left
	x.mu.Unlock()
	if gone != nil {
		for _, f := range left {
			f(gone)
		}
	}
	x.events.emit()
}

// entryOf finds or makes the entry of m, nil where m is gone. Another member of its id is dropped and returned.
func (x *Index) entryOf(m Member) (e *entry, old Member) {
	if d, ok := m.(Departing); ok && d.Gone() {
		return nil, nil
	}
	id := m.ID()
	if e = x.entries[id]; e != nil {
		if e.m == m {
			return e, nil
		}
		old = e.m
		x.drop(e)
	}
	e = &entry{m: m, id: id, at: -1}
	x.entries[id] = e
	return e, old
}

// known is the entry of m, or nil.
func (x *Index) known(m Member) *entry {
	if e := x.entries[m.ID()]; e != nil && e.m == m {
		return e
	}
	return nil
}

// owner is the added member whose id is room, or nil.
func (x *Index) owner(room string) *entry {
	if e := x.entries[room]; e != nil && e.at >= 0 {
		return e
	}
	return nil
}

// countNew counts the distinct rooms of names that e is not in.
func (x *Index) countNew(e *entry, names []string) int {
	fresh := make(map[string]struct{}, len(names))
	for _, name := range names {
		if name != e.id && seatIn(e, x.rooms[name]) < 0 {
			fresh[name] = struct{}{}
		}
	}
	return len(fresh)
}

func (x *Index) join(e *entry, name string) {
	if name == e.id {
		return
	}
	r := x.rooms[name]
	if r == nil {
		// The clone keeps a name that was cut out of a message from holding on to the message.
		r = &room{name: strings.Clone(name)}
		x.rooms[r.name] = r
		if x.events.on() && x.owner(name) == nil {
			x.events.add(RoomEvent{CreateRoom, r.name, e.id})
		}
	} else if seatIn(e, r) >= 0 {
		return
	}
	e.rooms = append(e.rooms, seat{r, int32(len(r.slots))})
	r.slots = append(r.slots, slot{e, int32(len(e.rooms) - 1)})
	if x.events.on() {
		x.events.add(RoomEvent{JoinRoom, r.name, e.id})
	}
}

// leave takes e out of the room of its i-th seat.
func (x *Index) leave(e *entry, i int) {
	r, at := e.rooms[i].r, e.rooms[i].at
	last := len(r.slots) - 1
	if moved := r.slots[last]; int(at) != last {
		r.slots[at] = moved
		moved.e.rooms[moved.seat].at = at
	}
	r.slots[last] = slot{}
	r.slots = r.slots[:last]

	end := len(e.rooms) - 1
	if moved := e.rooms[end]; i != end {
		e.rooms[i] = moved
		moved.r.slots[moved.at].seat = int32(i)
	}
	e.rooms[end] = seat{}
	e.rooms = e.rooms[:end]

	gone := len(r.slots) == 0
	if gone {
		delete(x.rooms, r.name)
	} else if c := cap(r.slots); c > 64 && len(r.slots) < c/4 {
		r.slots = append(make([]slot, 0, c/2), r.slots...) // a room that was large once gives memory back
	}
	if x.events.on() {
		x.events.add(RoomEvent{LeaveRoom, r.name, e.id})
		if gone && x.owner(r.name) == nil {
			x.events.add(RoomEvent{DeleteRoom, r.name, e.id})
		}
	}
}

// drop takes e out of everything.
func (x *Index) drop(e *entry) {
	for len(e.rooms) > 0 {
		x.leave(e, len(e.rooms)-1)
	}
	delete(x.entries, e.id)
	if e.at < 0 {
		return
	}
	last := len(x.all) - 1
	moved := x.all[last]
	x.all[e.at] = moved
	moved.at = e.at
	x.all[last] = nil
	x.all = x.all[:last]
	if c := cap(x.all); c > 64 && len(x.all) < c/4 {
		x.all = append(make([]*entry, 0, c/2), x.all...)
	}
	e.at = -1
	if x.events.on() {
		x.events.add(RoomEvent{LeaveRoom, e.id, e.id})
		if x.rooms[e.id] == nil {
			x.events.add(RoomEvent{DeleteRoom, e.id, e.id})
		}
	}
}

// seatIn is the position of r among the seats of e, or -1. It searches the shorter side.
func seatIn(e *entry, r *room) int {
	if r == nil {
		return -1
	}
	if len(r.slots) < len(e.rooms) {
		for _, s := range r.slots {
			if s.e == e {
				return int(s.seat)
			}
		}
		return -1
	}
	for i := range e.rooms {
		if e.rooms[i].r == r {
			return i
		}
	}
	return -1
}
