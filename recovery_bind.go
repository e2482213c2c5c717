package sockeye

import (
	"errors"
	"slices"

	"github.com/sockeye-io/sockeye/adapter"
)

// errOtherSession is why a session is not continued. It goes nowhere: the socket begins a new one.
var errOtherSession = errors.New("sockeye: session of another")

// BindRecovery is for connection middleware: the socket continues only a session that was in all of rooms, and else
// begins a new one. So a room that is named after the user keeps what the user has missed from whoever got hold of the
// session's secret.
//
// Differs from Node: there is none.
func (s *Socket) BindRecovery(rooms ...string) {
	e := s.extra()
	s.mu.Lock()
	e.bound = append(e.bound, rooms...)
	s.mu.Unlock()
}

// ScanRecovered scans the data of the session that the socket continues into dst, also where a connection middleware has
// set other data. Without a session or data dst is left as it is.
//
// Differs from Node: there is none.
func (s *Socket) ScanRecovered(dst any) error {
	e := s.more.Load()
	if e == nil {
		return nil
	}
	s.mu.Lock()
	a := e.before
	s.mu.Unlock()
	if a.IsZero() {
		return nil
	}
	return a.Scan(dst)
}

// continues tells whether the socket may go on as that session.
func (s *Socket) continues(session adapter.Session) bool {
	e := s.extra()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, room := range e.bound {
		if !slices.Contains(session.Rooms, room) {
			return false
		}
	}
	return true
}
