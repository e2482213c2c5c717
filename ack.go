package sockeye

import (
	"context"
	"errors"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/parser"
)

// ackSink waits for an acknowledgement. Its methods are called by the goroutine that reads, must not block, and may
// be called under locks.
type ackSink interface {
	acked(s *Socket, args []parser.Arg)
	ended(r Reason)
}

// waiter is an EmitWithAck.
type waiter chan result

type result struct {
	args []parser.Arg
	end  Reason
}

func (w waiter) acked(_ *Socket, args []parser.Arg) { w <- result{args: args} } // of one element, sent once
func (w waiter) ended(r Reason)                     { w <- result{end: r} }

// expect registers a sink under an id.
func (s *Socket) expect(id uint64, a ackSink) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reason != "" {
		return ErrClosed
	}
	if len(s.acks) >= s.nsp.srv.cfg.Limits.Acks {
		return ErrTooManyAcks
	}
	if s.acks == nil {
		s.acks = make(map[uint64]ackSink)
	}
	s.acks[id] = a
	return nil
}

// take takes a pending sink.
func (s *Socket) take(id uint64) (ackSink, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.acks[id]
	if ok {
		if delete(s.acks, id); len(s.acks) == 0 {
			s.acks = nil
		}
	}
	return a, ok
}

// acknowledged is an ACK from the client. One that nobody waits for (any more) is ignored.
func (s *Socket) acknowledged(id uint64, args []parser.Arg) {
	if a, ok := s.take(id); ok {
		s.conn.counts().acksIn.Add(1)
		a.acked(s, args)
	}
}

// ackContext bounds the wait for acknowledgements where ctx does not.
func (s *Server) ackContext(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, bounded := ctx.Deadline(); bounded || s.cfg.AckTimeout < 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, s.cfg.AckTimeout)
}

// EmitWithAck sends an event and waits for its acknowledgement, at most until ctx ends or, where it has no
// deadline, for Config.AckTimeout. It may be called by a handler of the same socket. Errors: those of Emit,
// ErrTooManyAcks, and *AckError, which wraps context.DeadlineExceeded, or the Reason if the socket disconnected.
//
// Protocol: socket.io v5, "Acknowledgement"
func (s *Socket) EmitWithAck(ctx context.Context, event string, args ...any) (reply Reply, err error) {
	if err := checkEvent(event); err != nil {
		return Reply{}, err
	}
	if done := s.nsp.asking(ctx, event); done != nil {
		defer func() { done(answered(err), err) }()
	}
	ctx, cancel := s.nsp.srv.ackContext(ctx)
	defer cancel()
	id := s.nsp.ackID.Add(1) - 1
	w := make(waiter, 1)
	if err := s.expect(id, w); err != nil {
		return Reply{}, err
	}
	s.outgoing(event, args)
	if err := s.emit(event, args, emission{id: id, ack: true}); err != nil {
		s.take(id)
		return Reply{}, err
	}
	r, err := s.wait(ctx, id, w)
	if err == nil {
		return newReply(s.id, r.args), nil
	}
	return Reply{}, &AckError{Expected: 1, MissingSockets: []string{s.id}, Err: err}
}

// wait waits for an acknowledgement until ctx ends; one that has come counts in any case, as does the end of the socket.
func (s *Socket) wait(ctx context.Context, id uint64, w waiter) (r result, err error) {
	select {
	case r = <-w:
	case <-ctx.Done():
		if _, mine := s.take(id); mine {
			s.nsp.srv.counters.acksTimedOut.Add(1)
			return r, context.Cause(ctx)
		}
		r = <-w // who took it tells
	}
	if r.end != "" {
		return r, r.end
	}
	return r, nil
}

// answered is the number of replies of a question to one socket.
func answered(err error) int {
	if err != nil {
		return 0
	}
	return 1
}

// question is a broadcast with acknowledgement: the sink of all its sockets.
type question struct {
	answer func(m adapter.Member, args []parser.Arg)
}

func (q *question) acked(s *Socket, args []parser.Arg) { q.answer(s.member(), args) }
func (q *question) ended(Reason)                       {} // the adapter sees it leave

// EmitWithAck sends an event to the selected sockets and gives their acknowledgements, in the order of their
// arrival. It waits at most until ctx ends or, where that has no deadline, for Config.AckTimeout. With an
// *AckError come the replies that arrived: it wraps the cause of ctx, ErrServerLeft where a server is gone and all others
// have answered, or what is wrong with the cluster. Of sockets on Node servers only the first argument of each comes.
//
// Node: socket.io/lib/broadcast-operator.ts emitWithAck
func (b Broadcast) EmitWithAck(ctx context.Context, event string, args ...any) (replies Replies, err error) {
	if err := checkEvent(event); err != nil {
		return nil, err
	}
	if done := b.nsp.asking(ctx, event); done != nil {
		defer func() { done(len(replies), err) }()
	}
	ctx, cancel := b.nsp.srv.ackContext(ctx)
	defer cancel()
	err = b.nsp.adapter.BroadcastWithAck(ctx, b.packet(event, args), b.options(), func(a adapter.Answer) {
		replies = append(replies, replyOf(a))
	})
	var inc *adapter.Incomplete
	if errors.As(err, &inc) && ctx.Err() != nil {
		b.nsp.srv.counters.acksTimedOut.Add(uint64(max(0, inc.Expected-inc.Received)))
	}
	return replies, ackError(err)
}

// ackError turns what an adapter says into an AckError.
func ackError(err error) error {
	var inc *adapter.Incomplete
	if !errors.As(err, &inc) {
		return err
	}
	return &AckError{
		Expected: inc.Expected, Received: inc.Received,
		MissingSockets: inc.MissingSockets, MissingServers: inc.MissingServers, SilentServers: inc.SilentServers,
		Err: inc.Err,
	}
}
