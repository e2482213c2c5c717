package client

import (
	"context"

	"github.com/sockeye-io/sockeye/parser"
)

// Asked is an event that was sent with the wish for an acknowledgement. Its methods are safe for concurrent use.
type Asked struct {
	s      *Socket
	answer asker
	forget func() (mine bool)
}

// Ask is EmitWithAck in two steps, for who wants to send more before the acknowledgement comes: it sends, or keeps, the
// event and returns. Wait must be called, or what waits is kept until the socket disconnects. Errors: those of Emit,
// and ErrTooManyAcks.
//
// Protocol: socket.io v5, "Acknowledgement"
func (s *Socket) Ask(event string, args ...any) (*Asked, error) {
	if parser.Reserved(event) {
		return nil, ErrReservedEvent
	}
	s.tellOutgoing(event, args)
	a := &Asked{s: s, answer: make(asker, 1)}
	var err error
	if a.forget, err = s.sendAsking(event, args, a.answer); err != nil {
		return nil, err
	}
	return a, nil
}

// Wait waits for the acknowledgement, at most until ctx ends; one that has come counts in any case. It must be called
// once. Errors: *[AckError].
//
// Protocol: socket.io v5, "Acknowledgement"
func (a *Asked) Wait(ctx context.Context) (Reply, error) {
	var err error
	select {
	case r := <-a.answer:
		return a.reply(r)
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-a.s.m.ctx.Done(): // nothing is sent any more
		err = ErrClosed
	}
	if !a.forget() {
		return a.reply(<-a.answer) // it is being told
	}
	select {
	case r := <-a.answer:
		return a.reply(r)
	default:
		return Reply{}, &AckError{Expected: 1, Err: err}
	}
}

func (a *Asked) reply(r result) (Reply, error) {
	if r.err != nil {
		return Reply{}, &AckError{Expected: 1, Err: r.err}
	}
	return newReply(a.s, r.args), nil
}
