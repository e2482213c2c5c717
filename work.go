package sockeye

import (
	"context"
	"errors"
	"log/slog"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/event"
	"github.com/sockeye-io/sockeye/parser"
)

// socketTask is a Socket as a task of the pool. One worker at most has a socket, so that events are handled one
// at a time and in order.
type socketTask Socket

// Run implements ring.Task: it handles what is in the inbox, and the end of the socket.
func (t *socketTask) Run() {
	s := (*Socket)(t)
	for {
		s.mu.Lock()
		in, ok := s.inbox.Pop()
		resume := s.paused && s.inbox.Len() <= s.nsp.srv.cfg.Limits.Inbox/2
		if resume {
			s.paused = false
		}
		ended := !ok && s.reason != ""
		if !ok && !ended {
			s.working = false
		}
		s.mu.Unlock()
		if resume {
			s.conn.resume()
		}
		switch {
		case ended:
			s.finish() // working stays: nothing comes after the end
			return
		case !ok:
			return
		case in.out:
			s.tellOutgoing(in)
		default:
			s.serve(in)
		}
	}
}

// push puts an event into the inbox. It is called by the goroutine that reads. When the inbox is full reading
// pauses; what a WebSocket has read until then, which is one buffer, still comes.
func (s *Socket) push(in *incoming) {
	s.mu.Lock()
	if s.reason != "" {
		s.mu.Unlock()
		return
	}
	s.inbox.Push(in)
	pause := !s.paused && s.inbox.Len() >= s.nsp.srv.cfg.Limits.Inbox
	if pause {
		s.paused = true
	}
	start := !s.working
	s.working = true
	s.mu.Unlock()
	if pause {
		s.conn.pause()
	}
	if start {
		s.nsp.srv.pool.Go((*socketTask)(s))
	}
}

// serve calls the handlers of one event.
func (s *Socket) serve(in *incoming) {
	ctx := context.Context((*socketContext)(s))
	srv := s.nsp.srv
	var done endings
	if w := srv.watchers.Load(); w != nil && w.received {
		ctx, done = w.receive(ctx, s, &in.msg)
	}
	ts := s.tables()
	err := ts.serve(ctx, &in.msg)
	done.end(ctx, srv, err)
	if err != nil {
		err = &EventError{Event: in.msg.Event, Err: err}
		var pe *PeerError
		if errors.As(err, &pe) && in.msg.WantsAck() {
			err = in.msg.Ack(pe.Data)
		}
		if err != nil {
			srv.report(ctx, err)
		}
	}
}

func (s *Socket) tables() tables {
	ts := tables{&emptyTable, s.nsp.listeners.Table(), &emptyTable}
	if p := s.nsp.parent; p != nil {
		ts[0] = p.listeners.Table()
	}
	if e := s.more.Load(); e != nil {
		ts[2] = e.listeners.Table()
	}
	return ts
}

// end ends the socket: its context, what waits for acknowledgements of it, and, once the handlers of the events
// that came before have run, its place in the rooms. It is called once for each socket to any effect, by any
// goroutine, also under locks of an adapter and of the engine: so it calls neither the adapter nor the application.
func (s *Socket) end(r Reason) {
	s.mu.Lock()
	if s.reason != "" {
		s.mu.Unlock()
		return
	}
	s.reason = r
	s.gone.Store(true)
	if r == ReasonServerDisconnect {
		s.inbox.Reset()
	}
	acks := s.acks
	s.acks = nil
	start := !s.working
	s.working = true
	persist := !start && s.joined
	var cancel context.CancelCauseFunc
	if e := s.more.Load(); e != nil {
		cancel = e.cancel
	}
	s.mu.Unlock()
	for _, a := range acks {
		a.ended(r)
	}
	if cancel != nil {
		cancel(r)
	}
	if persist && s.mayRecover(r) { // a handler may take long, and the client may be back before
		s.nsp.srv.pool.Go((*persistTask)(s))
	}
	if start {
		s.nsp.srv.pool.Go((*socketTask)(s))
	}
}

// finish is the last that a worker does for a socket.
func (s *Socket) finish() {
	s.mu.Lock()
	r, joined := s.reason, s.joined
	resume := s.paused
	s.paused = false
	s.mu.Unlock()
	if resume {
		s.conn.resume()
	}
	s.persist(r)
	e := s.more.Load()
	if e != nil && joined {
		s.tell("disconnecting listener", &e.disconnecting, r)
	}
	if joined {
		s.nsp.srv.counters.ended(r)
		s.nsp.srv.observe(func(o *Observer) {
			if o.Disconnected != nil {
				o.Disconnected(s, r)
			}
		})
	}
	s.nsp.index.Remove(s.member())
	if e != nil && joined {
		s.tell("disconnect listener", &e.disconnected, r)
	}
	if l := s.nsp.srv.debugging(); l != nil {
		l.LogAttrs(quiet, slog.LevelDebug, "socket disconnected", append(s.attrs(), slog.String("reason", string(r)))...)
	}
	s.conn.live.Add(-1)
	s.nsp.release()
}

func (s *Socket) tell(what string, fs *event.Functions[func(Reason)], r Reason) {
	for _, f := range fs.All() {
		if err := s.nsp.srv.guard(what, func() { (*f)(r) }); err != nil {
			s.nsp.srv.report((*socketContext)(s), err)
		}
	}
}

// debugging gives the logger if it wants lines of that level, else nil.
func (s *Server) debugging() *slog.Logger {
	if !s.cfg.Logger.Enabled(quiet, slog.LevelDebug) {
		return nil
	}
	return s.cfg.Logger
}

// pushOutgoing tells the OnAnyOutgoing functions of a broadcast, on the worker, since the caller holds locks. What
// does not fit the inbox is not told.
func (s *Socket) pushOutgoing(p *parser.Packet) {
	s.mu.Lock()
	if s.reason != "" || s.inbox.Len() >= s.nsp.srv.cfg.Limits.Inbox {
		s.mu.Unlock()
		return
	}
	s.inbox.Push(&incoming{packet: parser.Packet{Event: p.Event, Args: p.Args}, out: true})
	start := !s.working
	s.working = true
	s.mu.Unlock()
	if start {
		s.nsp.srv.pool.Go((*socketTask)(s))
	}
}

func (s *Socket) tellOutgoing(in *incoming) {
	args := make([]any, len(in.packet.Args))
	for i, a := range in.packet.Args {
		v, err := a.Any()
		if err != nil {
			s.nsp.srv.report((*socketContext)(s), &EventError{Event: in.packet.Event, Err: err})
			return
		}
		args[i] = v
	}
	s.outgoing(in.packet.Event, args)
}

// outgoing calls the OnAnyOutgoing functions, and observers.
func (s *Socket) outgoing(event string, args []any) {
	if s.nsp.srv.watchesSent() {
		s.sent(event, args)
	}
	e := s.more.Load()
	if e == nil {
		return
	}
	for _, f := range e.outgoing.All() {
		if err := s.nsp.srv.guard("outgoing listener", func() { (*f)(event, args) }); err != nil {
			s.nsp.srv.report((*socketContext)(s), err)
		}
	}
}

var _ adapter.Departing = (*member)(nil)
