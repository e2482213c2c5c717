package rest

import (
	"slices"
	"strconv"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/relay/identity"
)

const (
	maxNames = 1000 // in one list of rooms, users or sockets
	maxName  = 512  // bytes of one
	maxEvent = 256  // bytes
)

// target selects sockets: all, or those in any of the rooms, of any of the users, and the ones named.
type target struct {
	All     bool     `json:"all"`
	Rooms   []string `json:"rooms"`
	Users   []string `json:"users"`
	Sockets []string `json:"sockets"`
}

func (t *target) empty() bool { return len(t.Rooms)+len(t.Users)+len(t.Sockets) == 0 }

// check is for a field "to".
func (t *target) check(pointer string) *problem {
	switch {
	case t == nil:
		return invalid(pointer, "it is needed")
	case t.All && !t.empty():
		return invalid(pointer, "all and others exclude each other")
	case !t.All && t.empty():
		return invalid(pointer, "it selects nobody: give all, rooms, users or sockets")
	}
	return t.names(pointer)
}

func (t *target) names(pointer string) *problem {
	if p := checkRooms(t.Rooms, pointer+"/rooms"); p != nil {
		return p
	}
	if p := checkNames(t.Users, pointer+"/users", identity.ValidID, "the id of a user has 1 to 256 bytes and no control characters"); p != nil {
		return p
	}
	plain := func(id string) bool { return id != "" && len(id) <= maxName && !identity.ReservedRoom(id) }
	return checkNames(t.Sockets, pointer+"/sockets", plain, "that is no id of a socket")
}

func checkRooms(rooms []string, pointer string) *problem {
	return checkNames(rooms, pointer, isRoom, `a room's name has 1 to 512 bytes and does not begin with "sockeye:" or "sockeye-session:"`)
}

func isRoom(room string) bool {
	return room != "" && len(room) <= maxName && !identity.ReservedRoom(room)
}

func checkNames(names []string, pointer string, ok func(string) bool, detail string) *problem {
	if len(names) > maxNames {
		return invalid(pointer, "at most "+strconv.Itoa(maxNames))
	}
	for i, name := range names {
		if !ok(name) {
			return invalid(pointer+"/"+strconv.Itoa(i), detail)
		}
	}
	return nil
}

// rooms are the rooms that the selected sockets are in.
func (t *target) rooms() []string {
	if t == nil {
		return nil
	}
	rooms := slices.Clone(t.Rooms)
	for _, u := range t.Users {
		rooms = append(rooms, identity.UserRoom(u))
	}
	for _, id := range t.Sockets { // by its id, and a 2.x client's by its public one
		rooms = append(rooms, id, identity.SocketRoom(id))
	}
	return rooms
}

// selection selects sockets for an operation.
type selection struct {
	To     *target `json:"to"`
	Except *target `json:"except"`
}

func (s *selection) checkSelection() *problem {
	if p := s.To.check("/to"); p != nil {
		return p
	}
	if s.Except == nil {
		return nil
	}
	if s.Except.All {
		return invalid("/except/all", "there is no such field")
	}
	return s.Except.names("/except")
}

func (s *selection) broadcast(ns *sockeye.Namespace) sockeye.Broadcast {
	b := ns.All()
	if !s.To.All {
		b = b.To(s.To.rooms()...)
	}
	if rooms := s.Except.rooms(); len(rooms) > 0 {
		b = b.Except(rooms...)
	}
	return b
}
