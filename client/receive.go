package client

import (
	"errors"

	"github.com/sockeye-io/sockeye/parser"
)

// maxEarly bounds the events that come before the answer to CONNECT, such as those that were missed.
const maxEarly = 1 << 17

// kind is what an inbox holds.
type kind uint8

const (
	inEvent kind = iota
	inConnect
	inRefused
	inDisconnect
)

// incoming is what the functions of the application are to be told of.
type incoming struct {
	kind   kind
	sess   *session
	reason Reason
	err    error

	// Of an event.
	name  string
	args  []parser.Arg
	id    uint64
	acked bool // wants an acknowledgement
}

// receive takes a packet of the namespace. It is called by the goroutine that reads.
//
// Node: socket.io-client/lib/socket.ts onpacket
func (s *Socket) receive(l *link, p *parser.Packet) {
	switch p.Type {
	case parser.Connect:
		s.accepted(l, p.Data)
	case parser.ConnectError:
		s.rejected(l, p.Data)
	case parser.Disconnect:
		s.dismissed(l)
	case parser.Event:
		if !p.Empty {
			s.received(l, p)
		}
	case parser.Ack:
		s.acknowledged(l, p)
	case parser.BinaryEvent, parser.BinaryAck: // a decoder gives the plain forms
	}
}

// received is an event.
func (s *Socket) received(l *link, p *parser.Packet) {
	in := &incoming{name: p.Event, args: p.Args, id: p.ID, acked: p.HasID}
	s.mu.Lock()
	if s.link != l {
		s.mu.Unlock()
		return
	}
	if s.sess == nil { // what was missed, or what the server sends early
		if len(s.early) >= maxEarly {
			s.mu.Unlock()
			s.m.drop(l, ReasonParseError, errTooEarly)
			return
		}
		s.early = append(s.early, in)
		s.mu.Unlock()
		return
	}
	in.sess = s.sess
	s.note(in)
	start := s.push(in)
	s.mu.Unlock()
	s.start(start)
}

// note remembers the offset of an event. s.mu is held.
//
// Differs from Node: an event that wants an acknowledgement has none, so its last argument is not taken for one.
//
// Node: socket.io-client/lib/socket.ts emitEvent
func (s *Socket) note(in *incoming) {
	if s.pid == "" || in.acked || len(in.args) == 0 {
		return
	}
	var offset *string
	if in.args[len(in.args)-1].Scan(&offset) == nil && offset != nil {
		s.offset = *offset
	}
}

// dismissed is the server's DISCONNECT.
func (s *Socket) dismissed(l *link) {
	m := s.m
	m.mu.Lock()
	s.mu.Lock()
	if s.link != l || s.sess == nil {
		s.mu.Unlock()
		m.mu.Unlock()
		return
	}
	l.root.CompareAndSwap(rootJoined, s.left())
	last := m.deactivate(s)
	end := s.end(ReasonServerDisconnect, nil)
	s.mu.Unlock()
	m.mu.Unlock()
	end()
	if last != nil {
		m.cut(last, ReasonForcedClose, nil)
	}
}

// push puts something into the inbox and tells whether a worker is to be given it: see start. When there are many events
// reading pauses. s.mu is held.
func (s *Socket) push(in *incoming) (start bool) {
	s.inbox.Push(in)
	if in.kind == inEvent {
		s.events++
		if s.events >= s.m.cfg.Inbox && s.paused != s.link && s.link != nil {
			if s.paused != nil {
				s.paused.resume() // the one before, which has ended
			}
			s.paused = s.link
			s.paused.pause()
		}
	}
	start = !s.working
	s.working = true
	return start
}

// start gives the socket to a worker if push said so.
func (s *Socket) start(really bool) {
	if really {
		s.m.pool.Go((*socketTask)(s))
	}
}

// socketTask is a Socket as a task of the pool. One worker at most has a socket, so that events are handled one at a
// time and in order.
type socketTask Socket

// Run implements ring.Task: it handles what is in the inbox.
func (t *socketTask) Run() {
	s := (*Socket)(t)
	for {
		s.mu.Lock()
		in, ok := s.inbox.Pop()
		if ok && in.kind == inEvent {
			s.events--
		}
		if s.paused != nil && s.events <= s.m.cfg.Inbox/2 {
			s.paused.resume()
			s.paused = nil
		}
		if !ok {
			s.working = false
		}
		s.mu.Unlock()
		if !ok {
			return
		}
		s.handle(in)
	}
}

// handle calls the functions of the application.
func (s *Socket) handle(in *incoming) {
	switch in.kind {
	case inEvent:
		s.serve(in)
	case inConnect:
		tell(s.m, "connect listener", &s.connected, func(f func()) { f() })
	case inRefused:
		tell(s.m, "connect error listener", &s.refusals, func(f func(error)) { f(in.err) })
	case inDisconnect:
		tell(s.m, "disconnect listener", &s.disconnected, func(f func(Reason, error)) { f(in.reason, in.err) })
	}
}

func (s *Socket) serve(in *incoming) {
	m := new(Message)
	if in.acked {
		m.Init(in.name, in.args, in.sess, in.id)
	} else {
		m.Init(in.name, in.args, nil, 0)
	}
	err := serve(in.sess.ctx, s.listeners.Table(), m)
	if err == nil {
		return
	}
	err = &EventError{Event: in.name, Err: err}
	var pe *PeerError
	if errors.As(err, &pe) && m.WantsAck() {
		err = m.Ack(pe.Data)
	}
	s.m.report(err)
}
