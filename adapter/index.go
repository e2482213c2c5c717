package adapter

import (
	"errors"
	"iter"
)

// ErrTooManyRooms is returned by a Join that would exceed the bound on rooms of one socket.
var ErrTooManyRooms = errors.New("adapter: too many rooms")

// Index finds the sockets of one namespace on this server by room. It is safe for concurrent use.
// A member is in a room of its own id, which costs nothing. Members that have joined rooms before
// Add are not selected until Add.
type Index struct{}

// RoomEvent tells of a change: "create-room" then "join-room"; "leave-room" then "delete-room".
type RoomEvent struct {
	Kind, Room, Socket string
}

// NewIndex returns an empty index. maxRooms bounds the rooms of a member beside its own; negative is no bound.
// on, which may be nil, is told of every change, by the goroutine that made it and without any lock held.
func NewIndex(maxRooms int, on func(RoomEvent)) *Index { return &Index{} }

// Watch adds a further function like that of NewIndex.
func (x *Index) Watch(on func(RoomEvent)) {}

// Add makes m selectable.
func (x *Index) Add(m Member) {}

// Join puts m into rooms; all of them or, with an error, none.
func (x *Index) Join(m Member, rooms ...string) error { return nil }

// Leave takes m out of rooms.
func (x *Index) Leave(m Member, rooms ...string) {}

// Remove takes m out of everything.
func (x *Index) Remove(m Member) {}

// Rooms gives the rooms of m, its own first.
func (x *Index) Rooms(m Member) []string { return nil }

// Each calls f for every member that o selects, once each. f must not call the index.
func (x *Index) Each(o Options, f func(m Member)) {}

// Collect gives the members that o selects.
func (x *Index) Collect(o Options) []Member { return nil }

// Count counts the members that o selects.
func (x *Index) Count(o Options) int { return 0 }

// Has tells whether room, or a member of that id, exists here.
func (x *Index) Has(room string) bool { return false }

// AllRooms gives every room, those of the members' ids included.
func (x *Index) AllRooms() []string { return nil }

// Members iterates over the added members.
func (x *Index) Members() iter.Seq[Member] { return nil }

// Lookup finds an added member by id.
func (x *Index) Lookup(id string) (Member, bool) { return nil, false }

// Len counts the added members.
func (x *Index) Len() int { return 0 }
