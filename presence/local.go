package presence

import (
	"encoding/json"
	"maps"
	"slices"
	"sync"
	"time"
)

// local is what this server has: its sockets, and for each place the users that they make online. It notes which users
// the store must still be told of. The list is bounded by the users of the places.
type local struct {
	changed func() // never blocks

	mu      sync.Mutex
	closed  bool
	sockets map[string]*tracked
	places  map[string]*place // by room; "" is the namespace and always there
	dirty   []*member
	leaving []departure // the oldest first
}

// tracked is a socket.
type tracked struct {
	user  string // "" where it is nobody
	info  json.RawMessage
	rooms map[string]struct{}
}

// place is a room, or the namespace.
type place struct {
	room    string
	members map[string]*member
	stored  int // of these, those that the store was told of
}

// member is a user in a place.
type member struct {
	place   *place
	id      string
	info    json.RawMessage
	sockets int
	told    bool      // the store was told that the user is here
	dirty   bool      // is in the list
	until   time.Time // the end of the grace that was begun last
}

// departure is the end of a grace. It holds where the member's is the same.
type departure struct {
	m     *member
	until time.Time
}

func newLocal(changed func()) *local {
	return &local{
		changed: changed, sockets: map[string]*tracked{},
		places: map[string]*place{"": {members: map[string]*member{}}},
	}
}

// close tells whether it was open. Nothing changes from then on.
func (l *local) close() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	was := !l.closed
	l.closed = true
	return was
}

func (l *local) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

// add takes in a socket and tells whether it is new.
func (l *local) add(socket, user string, info json.RawMessage, known bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.sockets[socket] != nil {
		return false
	}
	t := &tracked{rooms: map[string]struct{}{}}
	l.sockets[socket] = t
	if known {
		t.user, t.info = user, info
		l.enter(t, "")
	}
	return true
}

func (l *local) remove(socket string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.sockets[socket]
	if t == nil || l.closed {
		return
	}
	delete(l.sockets, socket)
	l.exitAll(t)
}

// update has a socket belong to another user, or to nobody.
func (l *local) update(socket, user string, info json.RawMessage, known bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.sockets[socket]
	if t == nil || l.closed {
		return
	}
	if t.user != "" {
		l.exitAll(t)
	}
	t.user, t.info = "", nil
	if !known {
		return
	}
	t.user, t.info = user, info
	l.enter(t, "")
	for room := range t.rooms {
		l.enter(t, room)
	}
}

func (l *local) join(socket, room string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t := l.sockets[socket]; t != nil && !l.closed {
		l.joined(t, room)
	}
}

func (l *local) joined(t *tracked, room string) {
	if _, there := t.rooms[room]; there {
		return
	}
	t.rooms[room] = struct{}{}
	if t.user != "" {
		l.enter(t, room)
	}
}

func (l *local) leave(socket, room string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t := l.sockets[socket]; t != nil && !l.closed {
		l.left(t, room)
	}
}

func (l *local) left(t *tracked, room string) {
	if _, there := t.rooms[room]; !there {
		return
	}
	delete(t.rooms, room)
	if t.user != "" {
		l.exit(t, room)
	}
}

// setRooms has a socket be in these rooms and in no other.
func (l *local) setRooms(socket string, rooms map[string]struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.sockets[socket]
	if t == nil || l.closed {
		return
	}
	for room := range rooms {
		l.joined(t, room)
	}
	for _, room := range slices.Collect(maps.Keys(t.rooms)) {
		if _, keep := rooms[room]; !keep {
			l.left(t, room)
		}
	}
}

// enter is called with the lock held, as the following.
func (l *local) enter(t *tracked, room string) {
	p := l.places[room]
	if p == nil {
		p = &place{room: room, members: map[string]*member{}}
		l.places[room] = p
	}
	m := p.members[t.user]
	if m == nil {
		m = &member{place: p, id: t.user}
		p.members[t.user] = m
	}
	if m.sockets++; m.sockets == 1 {
		if !m.told {
			m.info = t.info
		}
		l.touch(m)
	}
}

func (l *local) exitAll(t *tracked) {
	if t.user == "" {
		return
	}
	l.exit(t, "")
	for room := range t.rooms {
		l.exit(t, room)
	}
}

func (l *local) exit(t *tracked, room string) {
	p := l.places[room]
	if p == nil || p.members[t.user] == nil {
		return
	}
	m := p.members[t.user]
	if m.sockets--; m.sockets == 0 {
		l.touch(m)
	}
}

func (l *local) touch(m *member) {
	if m.dirty {
		return
	}
	m.dirty = true
	l.dirty = append(l.dirty, m)
	if len(l.dirty) == 1 {
		l.changed()
	}
}

// update is what a store must be told of one place.
type update struct {
	room  string
	users []User
}

// take gives the changes that are due, as told from now on, and when the next one is; the zero Time if none is. Users
// whose last socket has gone are due after grace.
func (l *local) take(now time.Time, grace time.Duration) (joins, leaves []update, next time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var in, out updates
	for _, m := range l.dirty {
		m.dirty = false
		switch {
		case m.sockets > 0 && !m.told:
			m.told = true
			m.place.stored++
			in.note(m)
		case m.sockets == 0 && !m.told:
			l.drop(m)
		case m.sockets == 0:
			m.until = now.Add(grace)
			l.leaving = append(l.leaving, departure{m, m.until})
		}
	}
	l.dirty = nil
	for len(l.leaving) > 0 {
		d := l.leaving[0]
		if d.until.After(now) {
			next = d.until
			break
		}
		l.leaving[0] = departure{}
		l.leaving = l.leaving[1:]
		if m := d.m; m.sockets == 0 && m.told && m.until.Equal(d.until) {
			m.told = false
			m.place.stored--
			out.note(m)
			l.drop(m)
		}
	}
	return in.list, out.list, next
}

// updates gathers users by place.
type updates struct {
	list []update
	at   map[*place]int
}

func (u *updates) note(m *member) {
	i, there := u.at[m.place]
	if !there {
		if u.at == nil {
			u.at = map[*place]int{}
		}
		i = len(u.list)
		u.at[m.place] = i
		u.list = append(u.list, update{room: m.place.room})
	}
	u.list[i].users = append(u.list[i].users, User{m.id, m.info})
}

// drop forgets a member without sockets, and its place when it is empty.
func (l *local) drop(m *member) {
	p := m.place
	if p.members[m.id] == m {
		delete(p.members, m.id)
	}
	if len(p.members) == 0 && p.room != "" && l.places[p.room] == p {
		delete(l.places, p.room)
	}
}

// stored gives how many users the store was told of in the namespace, as "", and in each room where there are any.
func (l *local) stored() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	rooms := make(map[string]int, len(l.places))
	for room, p := range l.places {
		if p.stored > 0 || room == "" {
			rooms[room] = p.stored
		}
	}
	return rooms
}

// told gives those of a place that the store was told of.
func (l *local) told(room string) map[string]User {
	l.mu.Lock()
	defer l.mu.Unlock()
	users := map[string]User{}
	if p := l.places[room]; p != nil {
		for id, m := range p.members {
			if m.told {
				users[id] = User{id, m.info}
			}
		}
	}
	return users
}

// The following answer questions where the store does not.

func (l *local) has(room, user string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.places[room]
	return p != nil && p.members[user] != nil
}

func (l *local) count(room string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := l.places[room]; p != nil {
		return len(p.members)
	}
	return 0
}

func (l *local) users(room, after string, n int) []User {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.places[room]
	if p == nil {
		return nil
	}
	users := make(map[string]User, len(p.members))
	for id, m := range p.members {
		users[id] = User{id, m.info}
	}
	return pageOf(users, after, n)
}
