package adapter

import "context"

// RoomLister is what an Adapter may implement to list rooms without describing every socket.
type RoomLister interface {
	// Rooms gives the rooms that the sockets selected by o have joined, on all servers, and how many of these sockets are
	// in each. The room that every socket has of its own id is left out. When ctx ends it returns what came with an
	// *Incomplete.
	Rooms(ctx context.Context, o Options) (map[string]int, error)
}

// Sizes gives the rooms that the members selected by o have joined, and how many of these members are in each.
func (x *Index) Sizes(o Options) map[string]int {
	s := newScratch()
	defer s.free()
	sizes := map[string]int{}
	x.mu.RLock()
	defer x.mu.RUnlock()
	s.members = x.appendSelected(s.members, o, &s.q)
	for _, m := range s.members {
		for _, seat := range x.known(m).rooms {
			sizes[seat.r.name]++
		}
	}
	return sizes
}

// SizesOf gives what Index.Sizes gives, for sockets that were fetched.
func SizesOf(sockets []Remote) map[string]int {
	sizes := map[string]int{}
	for i := range sockets {
		for _, room := range sockets[i].Rooms {
			if room != sockets[i].ID {
				sizes[room]++
			}
		}
	}
	return sizes
}

// Rooms implements RoomLister for the sockets of this server.
func (l *Local) Rooms(_ context.Context, o Options) (map[string]int, error) {
	if l.isClosed() {
		return nil, ErrClosed
	}
	return l.host.Index().Sizes(o), nil
}
