package relay

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/parser"
	"github.com/sockeye-io/sockeye/relay/identity"
)

const (
	// reserved begins the names of this package's own events and rooms.
	reserved = "sockeye:"

	maxRoom  = 512 // bytes of a room's name
	maxEvent = 256 // bytes of an event's name

	// askTime bounds a question to the other servers.
	askTime = 5 * time.Second
)

// refusal is an error that the client gets to see.
type refusal struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

func (r *refusal) Error() string { return "relay: " + r.Message }

var (
	errArgument   = &refusal{"invalid_argument", "The arguments are not as this event wants them."}
	errRoom       = &refusal{"invalid_room", "A room's name has 1 to 512 bytes and does not begin with \"sockeye:\" or \"sockeye-session:\"."}
	errRooms      = &refusal{"too_many_rooms", "The socket is in too many rooms."}
	errForbidden  = &refusal{"forbidden", "That room belongs to a socket."}
	errMember     = &refusal{"not_in_room", "The socket is not in that room."}
	errEvent      = &refusal{"reserved_event", "An event's name has 1 to 256 bytes and is not a reserved one."}
	errBusy       = &refusal{"unavailable", "The other servers cannot be asked at the moment."}
	errNotAllowed = &refusal{"not_allowed", "The rules of this server do not allow that."}
	errNoPresence = &refusal{"no_presence", "This server keeps no record of who is online."}
	errNoRenewal  = &refusal{"no_renewal", "Tokens are not renewed here."}
	errTooOften   = &refusal{"too_many_requests", "That is too often."}
	errInternal   = &refusal{"internal", "The server could not do that."}
)

type ack struct {
	OK    bool     `json:"ok"`
	Error *refusal `json:"error,omitempty"`
}

// command is an event whose outcome is acknowledged; extra, if any, is what is acknowledged instead of {"ok":true}.
type command func(ctx context.Context, s *sockeye.Socket, m *sockeye.Message) (extra any, err error)

func (s *Server) events() {
	s.handle("message", s.message)
	s.handle("msg", s.message)
	s.handle("join", s.join)
	s.handle("leave", s.leave)
	s.handle("publish", s.publish)
	s.io.On("echo", sockeye.HandlerFunc(echo))
	s.handle(reserved+"profile", s.profile)
	s.handle(reserved+"who", s.who)
	s.handle(reserved+"renew", s.renew)
	s.handle(reserved+"online", s.online)
	s.handle(aboutServer, s.about)
}

// handle registers c and acknowledges what it returns. Errors that are no refusals are for the log, too.
func (s *Server) handle(event string, c command) {
	s.io.On(event, sockeye.HandlerFunc(func(ctx context.Context, m *sockeye.Message) error {
		var answer any = ack{OK: true}
		extra, err := c(ctx, sockeye.SocketFrom(ctx), m)
		if extra != nil {
			answer = extra
		}
		var r *refusal
		if err != nil {
			if !errors.As(err, &r) {
				r = errInternal
			}
			answer = ack{Error: r}
		}
		if m.WantsAck() {
			if aerr := m.Ack(answer); aerr != nil {
				return aerr
			}
		}
		if r == errInternal {
			return err
		}
		return nil
	}))
}

// message goes to everyone else under the same name, with its arguments as they came.
func (s *Server) message(_ context.Context, sock *sockeye.Socket, m *sockeye.Message) (any, error) {
	if !s.rules.everyoneAllows(accountOf(sock).who()) {
		return nil, errNotAllowed
	}
	return nil, sock.Broadcast().Emit(m.Event, values(m.Args())...)
}

func (s *Server) join(ctx context.Context, sock *sockeye.Socket, m *sockeye.Message) (any, error) {
	room, err := roomOf(m)
	if err != nil {
		return nil, err
	}
	if member(sock, room) {
		return nil, nil
	}
	if !s.rules.allows(accountOf(sock).who(), room, toJoin) {
		return nil, errNotAllowed
	}
	if taken, err := s.belongsToSocket(ctx, room); err != nil {
		return nil, err
	} else if taken {
		return nil, errForbidden
	}
	if err := sock.Join(room); err != nil {
		return nil, errRooms
	}
	return nil, s.announce(sock, here, room)
}

func (s *Server) leave(_ context.Context, sock *sockeye.Socket, m *sockeye.Message) (any, error) {
	room, err := roomOf(m)
	if err != nil {
		return nil, err
	}
	if room == sock.ID() {
		return nil, errForbidden
	}
	if !member(sock, room) {
		return nil, nil
	}
	if err := sock.Leave(room, watchers(room)); err != nil {
		return nil, err
	}
	return nil, s.announce(sock, gone, room)
}

func (s *Server) publish(_ context.Context, sock *sockeye.Socket, m *sockeye.Message) (any, error) {
	var req struct {
		Room  string     `json:"room"`
		Event string     `json:"event"`
		Data  parser.Arg `json:"data"`
	}
	if len(m.Args()) != 1 || m.Scan(&req) != nil {
		return nil, errArgument
	}
	if !validRoom(req.Room) {
		return nil, errRoom
	}
	if req.Event == "" || len(req.Event) > maxEvent || parser.Reserved(req.Event) || strings.HasPrefix(req.Event, reserved) {
		return nil, errEvent
	}
	if !member(sock, req.Room) {
		return nil, errMember
	}
	if !s.rules.allows(accountOf(sock).who(), req.Room, toPublish) {
		return nil, errNotAllowed
	}
	if req.Data.IsZero() {
		return nil, sock.To(req.Room).Emit(req.Event)
	}
	return nil, sock.To(req.Room).Emit(req.Event, req.Data)
}

// belongsToSocket tells whether room is the one of a socket's own id, by which it can be reached alone. Ids
// have 20 characters, and only names of that kind need the other servers to be asked.
func (s *Server) belongsToSocket(ctx context.Context, room string) (bool, error) {
	_, ok := s.io.Of("/").Socket(room)
	if ok || !s.clustered || !looksLikeID(room) {
		return ok, nil
	}
	done, err := s.lookup()
	if err != nil {
		return false, err
	}
	defer done()
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	found, err := s.io.To(room).FetchSockets(ctx)
	if err != nil {
		return false, errBusy
	}
	for _, r := range found {
		if r.ID == room {
			return true, nil
		}
	}
	return false, nil
}

// lookup reserves one of the questions to the other servers that may be asked at a time.
func (s *Server) lookup() (done func(), err error) {
	select {
	case s.lookups <- struct{}{}:
		return func() { <-s.lookups }, nil
	default:
		return nil, errBusy
	}
}

func looksLikeID(s string) bool {
	if len(s) != 20 {
		return false
	}
	for i := range len(s) {
		c := s[i] | 0x20
		if (c < 'a' || c > 'z') && (s[i] < '0' || s[i] > '9') && s[i] != '-' && s[i] != '_' {
			return false
		}
	}
	return true
}

func roomOf(m *sockeye.Message) (string, error) {
	args := m.Args()
	if len(args) != 1 {
		return "", errArgument
	}
	v, err := args[0].Any()
	if err != nil {
		return "", errArgument
	}
	room, ok := v.(string)
	if !ok {
		return "", errArgument
	}
	if !validRoom(room) {
		return "", errRoom
	}
	return room, nil
}

func validRoom(room string) bool {
	return room != "" && len(room) <= maxRoom && !identity.ReservedRoom(room)
}

func member(sock *sockeye.Socket, room string) bool {
	return slices.Contains(sock.Rooms(), room)
}

func values(args []parser.Arg) []any {
	vs := make([]any, len(args))
	for i, a := range args {
		vs[i] = a
	}
	return vs
}
