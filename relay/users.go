package relay

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/relay/identity"
)

const (
	expiring = reserved + "expiring"
	expired  = reserved + "expired"

	// anonymousRoom is for who is no user: a session of a user cannot be continued by them.
	anonymousRoom = reserved + "anonymous"

	defaultWarning = time.Minute
)

// admit is the connection middleware.
func (s *Server) admit(ctx context.Context, sock *sockeye.Socket) error {
	var u identity.User
	if s.identity != nil {
		var err error
		if u, err = s.identity.Authenticate(ctx, sock); err != nil {
			return s.refuse(ctx, sock, err)
		}
	}
	if !u.Anonymous() && !identity.ValidID(u.ID) {
		return s.refuse(ctx, sock, errors.New("relay: what names the user is too long, or no text"))
	}
	room := anonymousRoom
	if !u.Anonymous() {
		room = identity.UserRoom(u.ID)
	}
	if s.identity != nil {
		if err := sock.Join(room); err != nil {
			return err
		}
		sock.BindRecovery(room)
	}
	// The id of a 2.x client is a secret, so that it needs another name by which it can be reached.
	if id := identity.PublicID(sock.ID(), sock.Handshake().Query); id != sock.ID() {
		if err := sock.Join(identity.SocketRoom(id)); err != nil {
			return err
		}
	}
	sock.SetData(&account{user: u, name: cut(u.Name, maxName)})
	return nil
}

// refuse makes the error for a client, and says in the log why.
func (s *Server) refuse(ctx context.Context, sock *sockeye.Socket, err error) error {
	var ierr *identity.Error
	if !errors.As(err, &ierr) {
		ierr = &identity.Error{Code: identity.CodeUnavailable, Message: "It cannot be said who you are at the moment.", Err: err}
		s.log.LogAttrs(ctx, slog.LevelWarn, "authentication does not work", slog.String("error", err.Error()))
	} else {
		s.log.LogAttrs(ctx, slog.LevelDebug, "client refused", slog.String("code", ierr.Code),
			slog.String("error", ierr.Error()), slog.String("address", sock.Handshake().Address))
	}
	return &sockeye.ConnectError{Message: ierr.Message, Data: refusal{ierr.Code, ierr.Message}}
}

// connected begins with a socket that was let in.
func (s *Server) connected(_ context.Context, sock *sockeye.Socket) {
	a := accountOf(sock)
	sock.OnDisconnecting(func(sockeye.Reason) {
		a.end()
		_ = s.announce(sock, gone, sock.Rooms()...) // the sender is going: nobody to tell
	})
	if sock.Recovered() {
		var before profile
		if sock.ScanRecovered(&before) == nil && before.Name != "" && len(before.Name) <= maxName {
			a.rename(before.Name)
			sock.SetData(a)
		}
		s.evict(sock, a.who())
	}
	s.watchExpiry(sock, a)
}

// evict takes a socket out of the rooms that its user may not join any more, and gives their names.
func (s *Server) evict(sock *sockeye.Socket, u identity.User) []string {
	var left []string
	for _, room := range sock.Rooms() {
		if room == sock.ID() || identity.ReservedRoom(room) || s.rules.allows(u, room, toJoin) {
			continue
		}
		if sock.Leave(room, watchers(room)) != nil {
			return left // it has ended
		}
		left = append(left, room)
		_ = s.announce(sock, gone, room) // it cannot be told by whom it is left
	}
	slices.Sort(left)
	return left
}

// watchExpiry has the client warned, and disconnected in the end. A timer for each socket costs a few hundred bytes, and
// nothing while it runs.
func (s *Server) watchExpiry(sock *sockeye.Socket, a *account) {
	switch left := a.left(); {
	case left == forever:
		a.arm(left, nil) // that of before may run
	case left > s.warning:
		a.arm(left-s.warning, func() { s.watchExpiry(sock, a) })
	default:
		_ = sock.Emit(expiring, map[string]int64{"in": max(0, left.Milliseconds())}) // one that is gone needs no warning
		s.expire(sock, a)
	}
}

// expire ends a socket when its time has come.
func (s *Server) expire(sock *sockeye.Socket, a *account) {
	switch left := a.left(); {
	case left > s.warning: // it was renewed in the meantime
		s.watchExpiry(sock, a)
	case left > 0:
		a.arm(left, func() { s.expire(sock, a) })
	default:
		_ = sock.Emit(expired, refusal{identity.CodeExpired, "The token has expired."})
		_ = sock.Disconnect(true) // it may be gone by itself
	}
}

type renewAck struct {
	OK      bool     `json:"ok"`
	Expires int64    `json:"expires,omitempty"` // ms since 1970
	Left    []string `json:"left"`
}

// renew takes another token of the same user.
func (s *Server) renew(ctx context.Context, sock *sockeye.Socket, m *sockeye.Message) (any, error) {
	r, ok := s.identity.(identity.Renewer)
	if !ok {
		return nil, errNoRenewal
	}
	var req struct {
		Token string `json:"token"`
	}
	if len(m.Args()) != 1 || m.Scan(&req) != nil || req.Token == "" {
		return nil, errArgument
	}
	a := accountOf(sock)
	if !a.mayRenew(time.Now()) {
		return nil, errTooOften
	}
	u, err := r.Renew(ctx, req.Token)
	if err != nil {
		if ierr, ok := errors.AsType[*identity.Error](err); ok {
			return nil, &refusal{ierr.Code, ierr.Message}
		}
		return nil, err
	}
	a.mu.Lock()
	same := a.user.ID == u.ID
	if same {
		a.user = u
	}
	a.mu.Unlock()
	if !same {
		return nil, &refusal{identity.CodeOtherUser, "The token is of another user."}
	}
	s.watchExpiry(sock, a)
	answer := renewAck{OK: true, Left: s.evict(sock, u)}
	if answer.Left == nil {
		answer.Left = []string{}
	}
	if !u.Expires.IsZero() {
		answer.Expires = u.Expires.UnixMilli()
	}
	return answer, nil
}

// cut shortens a text to n bytes of whole characters.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}
