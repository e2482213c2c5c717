package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/sockeye-io/sockeye/parser"
)

var errAuth = errors.New("not a JSON object")

// begin connects the socket over a link, unless it does not want that or does so already.
//
// Node: socket.io-client/lib/socket.ts onopen
func (s *Socket) begin(l *link) {
	s.mu.Lock()
	if !s.ready || !s.active || l.dead.Load() || s.link == l || s.asked == l { // an abandoned CONNECT is answered first
		s.mu.Unlock()
		return
	}
	s.link = l
	s.turn++
	turn := s.turn
	s.mu.Unlock()
	if s.m.cfg.AuthFunc == nil {
		s.ask(l, turn, s.m.cfg.Auth)
		return
	}
	s.m.pool.Go(&authTask{s, l, turn})
}

// authTask asks for what is to be sent with CONNECT.
type authTask struct {
	s    *Socket
	l    *link
	turn uint64
}

// Run implements ring.Task.
func (t *authTask) Run() {
	var auth any
	var failed error
	err := guard("auth function", func() { auth, failed = t.s.m.cfg.AuthFunc(t.l.ctx, t.s.name) })
	if err == nil {
		err = failed
	}
	if err != nil {
		t.s.refused(t.l, t.turn, &AuthError{err})
		return
	}
	t.s.ask(t.l, t.turn, auth)
}

// ask sends CONNECT.
func (s *Socket) ask(l *link, turn uint64, auth any) {
	s.mu.Lock()
	if s.turn != turn || s.link != l || l.dead.Load() {
		s.mu.Unlock()
		return
	}
	if s.m.cfg.EIO3 && s.name == "/" && l.root.Load() != rootLeft { // the server connects it by itself
		s.asked = l
		s.mu.Unlock()
		if l.root.Load() == rootJoined {
			s.accepted(l, parser.Arg{})
		}
		return
	}
	p := &parser.Packet{Type: parser.Connect, Namespace: s.name}
	var err error
	if s.m.cfg.EIO3 {
		if q := s.m.cfg.Query.Encode(); q != "" {
			p.Namespace += "?" + q
		}
	} else {
		p.Data, err = authData(auth, s.pid, s.offset)
	}
	if err == nil {
		err = l.send(p)
	}
	if err == nil {
		s.asked = l
	}
	s.mu.Unlock()
	if err != nil {
		s.refused(l, turn, &AuthError{err})
	}
}

// authData makes the payload of CONNECT. What the application gives comes last, as with Node, and so counts where it
// has a pid of its own.
func authData(auth any, pid, offset string) (parser.Arg, error) {
	var own []byte
	if auth != nil {
		var err error
		if own, err = parser.Value(auth).AppendJSON(nil); err != nil {
			return parser.Arg{}, err
		}
		if own = bytes.TrimSpace(own); string(own) == "null" {
			own = nil
		} else if own[0] != '{' {
			return parser.Arg{}, errAuth
		}
	}
	if pid == "" || offset == "" {
		if own == nil {
			return parser.Arg{}, nil
		}
		return parser.RawJSON(own), nil
	}
	b, err := parser.Value(map[string]any{"pid": pid, "offset": offset}).AppendJSON(nil)
	if err != nil {
		return parser.Arg{}, err
	}
	b = b[:len(b)-1]
	if rest := bytes.TrimSpace(bytes.TrimPrefix(own, []byte("{"))); len(rest) > 0 && rest[0] != '}' {
		return parser.RawJSON(append(append(b, ','), rest...)), nil
	}
	return parser.RawJSON(append(b, '}')), nil
}

// answered takes the answer to CONNECT: one that is not wanted any more is none. It is called by the goroutine that
// reads, with s.mu held. again tells to connect once more.
func (s *Socket) answered(l *link, ok bool) (wanted, again bool) {
	if s.asked != l {
		return false, false
	}
	s.asked = nil
	if !s.abandoned {
		return true, false
	}
	s.abandoned = false
	if ok {
		l.root.CompareAndSwap(rootJoined, s.left())
		_ = l.send(&parser.Packet{Type: parser.Disconnect, Namespace: s.name}) // it was connected by that name
	}
	return false, s.active
}

// accepted is the server's CONNECT.
//
// Node: socket.io-client/lib/socket.ts onconnect
func (s *Socket) accepted(l *link, data parser.Arg) {
	var is struct {
		SID string `json:"sid"`
		PID string `json:"pid"`
	}
	err := data.Scan(&is)
	if s.m.cfg.EIO3 {
		is.SID, is.PID, err = l.conn.ID(), "", nil
		if s.name != "/" {
			is.SID = s.name + "#" + is.SID
		}
	}
	s.mu.Lock()
	wanted, again := s.answered(l, true)
	if !wanted {
		s.mu.Unlock()
		if again {
			s.begin(l)
		}
		return
	}
	if err != nil || is.SID == "" {
		turn := s.turn
		s.mu.Unlock()
		s.refused(l, turn, ErrOldServer)
		return
	}
	sess := &session{s: s, l: l}
	sess.ctx, sess.cancel = context.WithCancelCause(context.WithValue(context.Background(), socketKey{}, s))
	s.sess, s.id = sess, is.SID
	s.recovered = is.PID != "" && is.PID == s.pid
	if !s.recovered {
		s.offset = "" // it was one of another session
	}
	s.pid = is.PID
	start := false
	for _, in := range s.early {
		in.sess = sess
		s.note(in)
		start = s.push(in) || start
	}
	s.early = nil
	start = s.push(&incoming{kind: inConnect, sess: sess}) || start
	s.flush()
	waiters := s.waiters
	s.waiters = nil
	s.notify()
	s.mu.Unlock()
	tellWaiters(waiters, nil)
	s.start(start)
}

// rejected is the server's CONNECT_ERROR.
func (s *Socket) rejected(l *link, data parser.Arg) {
	s.mu.Lock()
	wanted, again := s.answered(l, false)
	turn := s.turn
	s.mu.Unlock()
	switch {
	case wanted:
		s.refused(l, turn, connectError(data))
	case again:
		s.begin(l)
	}
}

// connectError reads what a server says: an object with message and data or, with protocol 4, a string.
func connectError(data parser.Arg) *ConnectError {
	e := &ConnectError{}
	if data.Scan(&e.Message) == nil {
		return e
	}
	var is struct {
		Message string     `json:"message"`
		Data    parser.Arg `json:"data"`
	}
	if err := data.Scan(&is); err != nil || is.Message == "" { // protocol 4 may send the data alone
		e.Data = data
		return e
	}
	e.Message, e.Data = is.Message, is.Data
	return e
}

// refused ends the wish to be connected: somebody said no.
func (s *Socket) refused(l *link, turn uint64, err error) {
	m := s.m
	m.mu.Lock()
	s.mu.Lock()
	if s.turn != turn || s.link != l || s.sess != nil {
		s.mu.Unlock()
		m.mu.Unlock()
		return
	}
	last := m.deactivate(s)
	s.turn++
	s.link, s.asked, s.early = nil, nil, nil
	waiters := s.waiters
	s.waiters = nil
	start := s.push(&incoming{kind: inRefused, err: err})
	s.mu.Unlock()
	m.mu.Unlock()
	tellWaiters(waiters, err)
	s.start(start)
	if last != nil {
		m.cut(last, ReasonForcedClose, nil)
	}
}

// failed tells that the connection could not be opened; final that it will not be tried again.
func (s *Socket) failed(err error, final bool) {
	s.mu.Lock()
	if !s.active {
		s.mu.Unlock()
		return
	}
	var told, kept []waiter
	for _, w := range s.waiters {
		if final || w.first {
			told = append(told, w)
			continue
		}
		kept = append(kept, w)
	}
	s.waiters = kept
	start := s.push(&incoming{kind: inRefused, err: err})
	s.mu.Unlock()
	tellWaiters(told, err)
	s.start(start)
}

// lost tells that a connection has ended.
func (s *Socket) lost(l *link, reason Reason, err error) {
	s.mu.Lock()
	if s.asked == l {
		s.asked, s.abandoned = nil, false
	}
	if s.link != l {
		s.mu.Unlock()
		return
	}
	connected := s.sess != nil
	end := s.end(reason, err)
	s.mu.Unlock()
	end()
	if !connected {
		why := error(reason)
		if err != nil {
			why = fmt.Errorf("%w: %w", reason, err)
		}
		s.failed(why, s.m.cfg.Reconnect.Disabled)
	}
}
