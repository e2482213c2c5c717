package relay

import (
	"context"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/relay/identity"
)

const (
	here = reserved + "here"
	gone = reserved + "gone"

	maxName   = 120  // bytes of a person's name
	maxPeople = 1000 // in one answer to "who"
)

type person struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	User string `json:"user,omitempty"`
}

type whoAck struct {
	OK     bool     `json:"ok"`
	People []person `json:"people"`
}

type announcement struct {
	Room string `json:"room"`
	ID   string `json:"id"`
	Name string `json:"name"`
	User string `json:"user,omitempty"`
}

// watchers is the room of those in room that want to know of others coming and going. Clients cannot join it
// by themselves.
func watchers(room string) string { return reserved + "watch:" + room }

// announce tells the watchers of a room of sock, if it has a profile.
func (s *Server) announce(sock *sockeye.Socket, event string, rooms ...string) error {
	p := accountOf(sock).profile()
	if p.Name == "" {
		return nil
	}
	id := identity.PublicID(sock.ID(), sock.Handshake().Query)
	for _, room := range rooms {
		if room == sock.ID() || identity.ReservedRoom(room) {
			continue
		}
		if err := sock.To(watchers(room)).Emit(event, announcement{room, id, p.Name, p.User}); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) profile(_ context.Context, sock *sockeye.Socket, m *sockeye.Message) (any, error) {
	var p struct {
		Name string `json:"name"`
	}
	if len(m.Args()) != 1 || m.Scan(&p) != nil || p.Name == "" || len(p.Name) > maxName {
		return nil, errArgument
	}
	a := accountOf(sock)
	a.rename(p.Name)
	sock.SetData(a)
	return nil, s.announce(sock, here, sock.Rooms()...)
}

func (s *Server) who(ctx context.Context, sock *sockeye.Socket, m *sockeye.Message) (any, error) {
	room, err := roomOf(m)
	if err != nil {
		return nil, err
	}
	if !member(sock, room) {
		return nil, errMember
	}
	if s.rules.find(room).hidden {
		return nil, errNotAllowed
	}
	done, err := s.lookup()
	if err != nil {
		return nil, err
	}
	defer done()
	// First listen, then look: nobody is missed in between.
	if err := sock.Join(watchers(room)); err != nil {
		return nil, errRooms
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	found, err := s.io.To(room).FetchSockets(ctx)
	if err != nil && len(found) == 0 {
		return nil, errBusy
	}
	people := make([]person, 0, len(found))
	for _, r := range found[:min(len(found), maxPeople)] {
		var p profile
		if r.Data.Scan(&p) != nil || p.Name == "" {
			p.Name = "guest" // another program of the cluster has data of its own
		}
		people = append(people, person{identity.PublicID(r.ID, r.Handshake.Query), p.Name, p.User})
	}
	return whoAck{OK: true, People: people}, nil
}
