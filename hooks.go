package sockeye

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"

	"github.com/sockeye-io/sockeye/engineio"
)

// Hooks are optional; each func may be nil. They may be called concurrently, and must not block for long. A
// panic in one is survived.
type Hooks struct {
	// Error is told of errors that handlers return (as *EventError), of panics in functions of the
	// application (as, or wrapping, *PanicError), and of oddities that were survived. ctx is that of the socket
	// where there is one.
	Error func(ctx context.Context, err error)

	// ConnectionError is told of a refused request, with the code and text that the client got.
	//
	// Node: the connection_error event of engine.io
	ConnectionError func(r *http.Request, code int, message string)

	// InitialHeaders may change the headers of the answer that opens a connection, Headers those of every answer.
	InitialHeaders func(h http.Header, r *http.Request)
	Headers        func(h http.Header, r *http.Request)
}

// report tells of an error that was survived. It must not be called with a lock held.
func (s *Server) report(ctx context.Context, err error) {
	s.log(ctx, err)
	if s.cfg.Hooks.Error == nil {
		return
	}
	if p := s.guard("error hook", func() { s.cfg.Hooks.Error(ctx, err) }); p != nil {
		s.log(ctx, p) // not to the hook again
	}
}

func (s *Server) log(ctx context.Context, err error) {
	level, attrs := slog.LevelWarn, []slog.Attr{slog.Any("error", err)}
	if pe, ok := errors.AsType[*PanicError](err); ok {
		level = slog.LevelError
		attrs = append(attrs, slog.String("stack", string(pe.Stack)))
	}
	if sock := SocketFrom(ctx); sock != nil {
		attrs = append(attrs, sock.attrs()...)
	}
	s.cfg.Logger.LogAttrs(ctx, level, "application error", attrs...)
}

// guard calls a function of the application and gives its panic as an error.
func (s *Server) guard(what string, f func()) (err error) {
	defer caught(what, &err)
	f()
	return nil
}

// caught is to be deferred around calls of the application's functions.
func caught(what string, err *error) {
	if v := recover(); v != nil {
		*err = &PanicError{In: what, Value: v, Stack: debug.Stack()}
	}
}

func (s *Server) connectionError(e *engineio.ConnectionError) {
	if s.cfg.Hooks.ConnectionError == nil {
		return
	}
	if err := s.guard("connection error hook", func() {
		s.cfg.Hooks.ConnectionError(e.Request, e.Code, e.Message)
	}); err != nil {
		s.report(context.Background(), err)
	}
}
