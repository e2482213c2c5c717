// Package event holds the vocabulary that server, client and emitter share: messages, handlers, typed
// events and calls, replies. Users reach it through aliases in those packages.
//
// Not in this package: connections, packets, rooms.
package event

import "context"

// Handler takes incoming events. ServeEvent of one handler may be called at the same time for different
// sockets, but for one socket events are handled one at a time and in order. Its context ends when the
// socket disconnects. An error goes to the error hook and the log; see [PeerError] for what a peer sees.
//
// Protocol: socket.io v5, "Sending and receiving data"
type Handler interface {
	ServeEvent(ctx context.Context, m *Message) error
}

// HandlerFunc is a function as a [Handler].
//
// Protocol: socket.io v5, "Sending and receiving data"
type HandlerFunc func(ctx context.Context, m *Message) error

// ServeEvent calls f.
func (f HandlerFunc) ServeEvent(ctx context.Context, m *Message) error { return f(ctx, m) }

// Listener is where handlers are registered: a server, a namespace, a socket, a client.
//
// Node: socket.io/lib/typed-events.ts on
type Listener interface {
	On(event string, h Handler) (off func())
}

// Target is anything one can emit to: a socket, a client, a broadcast, an emitter.
//
// Node: socket.io/lib/typed-events.ts emit
type Target interface {
	Emit(event string, args ...any) error
	EmitContext(ctx context.Context, event string, args ...any) error
}

// Caller is one peer that can be asked.
//
// Protocol: socket.io v5, "Acknowledgement"
type Caller interface {
	EmitWithAck(ctx context.Context, event string, args ...any) (Reply, error)
}

// Event is the name of an event that carries a T as its first argument, or, where T is a struct that embeds
// [Args], the fields of T as its arguments.
//
// Protocol: socket.io v5, "Sending and receiving data"
type Event[T any] string

// Emit sends v. Its errors are those of to.
func (e Event[T]) Emit(to Target, v T) error { return to.Emit(string(e), v) }

// EmitContext sends v and waits as to's EmitContext does.
func (e Event[T]) EmitContext(ctx context.Context, to Target, v T) error {
	return to.EmitContext(ctx, string(e), v)
}

// On registers f. An argument that does not fit T is an error of the handler, and f is not called.
func (e Event[T]) On(l Listener, f func(ctx context.Context, v T) error) (off func()) {
	return l.On(string(e), HandlerFunc(func(ctx context.Context, m *Message) error {
		var v T
		if err := m.Scan(&v); err != nil {
			return err
		}
		return f(ctx, v)
	}))
}

// Call is the name of an event that is answered: it carries a Req and is acknowledged with a Res. Either may
// be a struct that embeds [Args].
//
// Protocol: socket.io v5, "Acknowledgement"
type Call[Req, Res any] string

// Do sends req and waits for the answer. Its errors are those of to's EmitWithAck and of scanning the answer.
func (c Call[Req, Res]) Do(ctx context.Context, to Caller, req Req) (res Res, err error) {
	r, err := to.EmitWithAck(ctx, string(c), req)
	if err != nil {
		return res, err
	}
	err = r.Scan(&res)
	return res, err
}

// Handle answers with what f returns, unless the peer asked for no answer. An error of f goes to the error
// hook and the log; the peer sees it only where it is or wraps a [*PeerError].
func (c Call[Req, Res]) Handle(l Listener, f func(ctx context.Context, req Req) (Res, error)) (off func()) {
	return l.On(string(c), HandlerFunc(func(ctx context.Context, m *Message) error {
		var req Req
		if err := m.Scan(&req); err != nil {
			return err
		}
		res, err := f(ctx, req)
		if err != nil {
			return m.fail(err)
		}
		if !m.WantsAck() {
			return nil
		}
		return m.Ack(res)
	}))
}
