package sockeye

import (
	"context"
	"errors"
	"slices"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/parser"
)

// recoverer is the adapter as far as it keeps sessions, nil where that is switched off.
func (n *Namespace) recoverer() adapter.Recoverer {
	if n.srv.cfg.Recovery == nil {
		return nil
	}
	r, _ := n.adapter.(adapter.Recoverer) // a namespace that could not be opened has none
	return r
}

// persistTask is a Socket whose session is kept while a handler of it still runs.
type persistTask Socket

// Run implements ring.Task.
func (t *persistTask) Run() {
	s := (*Socket)(t)
	s.mu.Lock()
	r := s.reason
	s.mu.Unlock()
	s.persist(r)
}

func (s *Socket) mayRecover(r Reason) bool {
	return r.recoverable() && s.nsp.srv.cfg.Recovery != nil
}

// persist keeps the session of a socket that ended, once, or has it forgotten.
func (s *Socket) persist(r Reason) {
	rec, keeper := s.nsp.recoverer(), s.nsp.keeper
	if rec == nil || keeper == nil && !s.mayRecover(r) {
		return
	}
	e := s.extra()
	e.persist.Do(func() {
		s.mu.Lock()
		joined := s.joined
		s.mu.Unlock()
		switch {
		case !joined || e.pid == "":
		case keeper != nil:
			s.untrack(r)
		default:
			rec.Persist(s.session())
		}
	})
}

// session is what is kept of the socket.
func (s *Socket) session() adapter.Session {
	session := adapter.Session{ID: s.id, PID: s.extra().pid, Namespace: s.nsp.name, Rooms: s.Rooms()}
	if data := s.Data(); data != nil {
		session.Data = parser.Value(data)
	}
	return session
}

// track has the session kept while the socket is connected, where the adapter does that.
func (s *Socket) track() {
	e := s.more.Load()
	if s.nsp.keeper == nil || e == nil || e.pid == "" {
		return
	}
	now := s.session()
	if r := s.ended(); r != "" && s.recovered.Load() && s.mayRecover(r) {
		return // its rooms are gone, and the session that was restored goes on
	}
	s.nsp.keeper.Track(s.member(), func() adapter.Session {
		session := s.session()
		if len(session.Rooms) == 0 { // it is not in the index any more, and what it was in then comes by Untrack
			session.Rooms = now.Rooms
		}
		return session
	})
	switch r := s.ended(); { // then persist may have come before
	case r == "":
	case s.mayRecover(r):
		s.nsp.keeper.Untrack(s.member(), &now)
	default:
		s.nsp.keeper.Untrack(s.member(), nil)
	}
}

// ended is why the socket has ended, "" while it has not.
func (s *Socket) ended() Reason {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reason
}

func (s *Socket) untrack(r Reason) {
	if !s.mayRecover(r) {
		s.nsp.keeper.Untrack(s.member(), nil)
		return
	}
	session := s.session()
	s.nsp.keeper.Untrack(s.member(), &session)
}

// Why there is nothing to be restored, beside what the adapter says.
var (
	errEnded            = errors.New("sockeye: connection ended")
	errNoSession        = errors.New("sockeye: no session asked for")
	errMalformedSession = errors.New("sockeye: malformed session")
)

// restore makes the socket the continuation of one that lost its connection: it joins with that one's id and
// rooms, and the client gets what it missed and then CONNECT. With an error it is a socket like any other.
//
// Differs from Node: the connection middleware has let the socket in before, unless Recovery.SkipMiddlewares.
func (t *connectTask) restore() error {
	s := t.s
	rec := s.nsp.recoverer()
	if rec == nil || t.c.v4 || t.auth.IsZero() || t.c.rejoins() {
		return errNoSession
	}
	var auth struct {
		PID    any `json:"pid"`
		Offset any `json:"offset"`
	}
	if t.auth.Scan(&auth) != nil || auth.PID == nil && auth.Offset == nil {
		return errNoSession
	}
	pid, ok1 := auth.PID.(string)
	offset, ok2 := auth.Offset.(string)
	if !ok1 || !ok2 || !adapter.ValidPID(pid) {
		return errMalformedSession
	}
	ctx, cancel := context.WithCancel((*socketContext)(s))
	defer cancel()
	err := rec.Restore(ctx, pid, offset, s.resume)
	if err == nil {
		s.nsp.srv.counters.restored(nil)
	}
	return err
}

// rejoins tells whether a client comes back to a namespace without having read what was sent before: it does not get
// everything again.
func (c *conn) rejoins() bool {
	if !c.overfull() {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.left > 0
}

// resume is called with broadcasts held back. It must not call the application.
func (s *Socket) resume(session adapter.Session, missed []*parser.Packet) error {
	if !s.continues(session) {
		return errOtherSession
	}
	id, pid := s.id, s.extra().pid
	// What a middleware let the socket join stays. The index must not know it while its id changes.
	rooms := s.Rooms()
	s.nsp.index.Remove(s.member())
	s.id, s.extra().pid = session.ID, session.PID
	if err := s.nsp.index.Join(s.member(), slices.Concat(session.Rooms, rooms)...); err != nil {
		s.id, s.extra().pid = id, pid
		return errors.Join(err, s.nsp.index.Join(s.member(), rooms...))
	}
	s.mu.Lock()
	s.extra().before = session.Data
	if s.data == nil && !session.Data.IsZero() { // what a middleware set is newer
		s.data = session.Data
	}
	s.mu.Unlock()
	if !s.conn.adopt(s) {
		return errEnded
	}
	s.recovered.Store(true)
	for _, p := range missed {
		// An error means that the connection has ended, and the socket with it.
		if s.conn.send(p, true) == nil {
			s.conn.counts().eventsOut.Add(1)
		}
	}
	s.nsp.index.Add(s.member())
	s.welcome()
	return nil
}
