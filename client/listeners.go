package client

import (
	"context"
	"runtime/debug"

	"github.com/sockeye-io/sockeye/internal/event"
)

// serve hands a message to everybody who listens for it, the catch-all handlers first. It gives all their errors.
func serve(ctx context.Context, t *event.Table, m *Message) error {
	var errs error
	for _, l := range t.Any {
		errs = event.Join(errs, call(ctx, "catch-all handler", l.Handler, m))
	}
	for _, l := range t.On[m.Event] {
		errs = event.Join(errs, call(ctx, "handler", l.Handler, m))
	}
	return errs
}

// call runs one handler, giving a panic as an error.
func call(ctx context.Context, what string, h Handler, m *Message) (err error) {
	defer caught(what, &err)
	return h.ServeEvent(ctx, m)
}

// guard runs a function of the application, giving a panic as an error.
func guard(what string, f func()) (err error) {
	defer caught(what, &err)
	f()
	return nil
}

// caught is deferred around functions of the application.
func caught(what string, err *error) {
	if p := recover(); p != nil {
		*err = &PanicError{In: what, Value: p, Stack: debug.Stack()}
	}
}

// tell calls each function of a list.
func tell[F any](m *Manager, what string, l *event.Functions[F], f func(F)) {
	for _, e := range l.All() {
		if err := guard(what, func() { f(*e) }); err != nil {
			m.report(err)
		}
	}
}
