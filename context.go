package sockeye

import (
	"context"
	"net/http"
	"time"
)

// socketContext is a Socket as a context.Context. It costs nothing until somebody waits for its end: only then
// there is a real context inside.
type socketContext Socket

type (
	socketKey  struct{}
	requestKey struct{}
)

// SocketFrom gives the socket of a handler's context, nil where there is none.
//
// Node: socket.io/lib/socket.ts (handlers are bound to the socket)
func SocketFrom(ctx context.Context) *Socket {
	s, _ := ctx.Value(socketKey{}).(*Socket)
	return s
}

// RequestFrom gives the request that opened the connection, in a connection middleware and in the function of
// OfFunc; nil elsewhere. For the first namespace that a client connects to it is the request itself, with
// the values of its context; for later ones it is built anew from what is kept of it.
//
// Node: socket.io/lib/socket.ts request
func RequestFrom(ctx context.Context) *http.Request {
	r, _ := ctx.Value(requestKey{}).(*http.Request)
	return r
}

// Deadline implements context.Context.
func (c *socketContext) Deadline() (time.Time, bool) { return time.Time{}, false }

// Done implements context.Context.
func (c *socketContext) Done() <-chan struct{} { return (*Socket)(c).ctx().Done() }

// Err implements context.Context.
func (c *socketContext) Err() error {
	if (*Socket)(c).gone.Load() {
		return context.Canceled
	}
	return nil
}

// Value implements context.Context. Keys other than ours are asked of the real context, by which package
// context finds the cause and saves a goroutine for each derived context.
func (c *socketContext) Value(key any) any {
	if _, ok := key.(socketKey); ok {
		return (*Socket)(c)
	}
	if _, ok := key.(requestKey); ok {
		return nil
	}
	return (*Socket)(c).ctx().Value(key)
}

// ctx gives the real context of the socket.
func (s *Socket) ctx() context.Context {
	e := s.extra()
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.ctx == nil {
		var cancel context.CancelCauseFunc
		e.ctx, cancel = context.WithCancelCause(context.Background())
		if s.reason != "" {
			cancel(s.reason)
		} else {
			e.cancel = cancel
		}
	}
	return e.ctx
}
