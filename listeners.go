package sockeye

import (
	"context"
	"slices"

	"github.com/sockeye-io/sockeye/internal/event"
)

var emptyTable event.Table // never changed

// tables are those that concern one socket, outermost first.
type tables [3]*event.Table

// serve hands a message to everybody who listens for it: catch-all handlers, then through the event
// middleware to the handlers of the event. It gives all their errors.
func (ts *tables) serve(ctx context.Context, m *Message) error {
	var errs error
	uses := 0
	for _, t := range ts {
		for _, l := range t.Any {
			errs = event.Join(errs, call(ctx, "catch-all handler", l.Handler, m))
		}
		uses += len(t.Use)
	}
	if uses == 0 {
		return event.Join(errs, ts.dispatch(ctx, m))
	}
	return event.Join(errs, ts.middleware(ctx, m))
}

// dispatch calls the handlers of the message's event.
func (ts *tables) dispatch(ctx context.Context, m *Message) error {
	var errs error
	for _, t := range ts {
		for _, l := range t.On[m.Event] {
			errs = event.Join(errs, call(ctx, "handler", l.Handler, m))
		}
	}
	return errs
}

// middleware wraps dispatch in the event middleware, the first one outermost.
func (ts *tables) middleware(ctx context.Context, m *Message) (err error) {
	defer caught("event middleware", &err)
	h := Handler(HandlerFunc(ts.dispatch))
	for _, t := range slices.Backward(ts[:]) {
		for _, use := range slices.Backward(t.Use) {
			h = use(h)
		}
	}
	return h.ServeEvent(ctx, m)
}

// call runs one handler, giving a panic as an error.
func call(ctx context.Context, what string, h Handler, m *Message) (err error) {
	defer caught(what, &err)
	return h.ServeEvent(ctx, m)
}
