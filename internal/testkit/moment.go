package testkit

import (
	"context"
	"errors"
	"testing"
	"time"
)

// moment is a context that calls f when somebody begins to wait for its end.
type moment struct {
	context.Context

	f func()
}

// AtMoment gives a context that has ended, of which whoever waits for it learns only after f has run: for what comes at
// the moment in which a wait is over. It claims to have an hour left.
func AtMoment(t testing.TB, f func()) context.Context {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("the moment has come"))
	return moment{ctx, f}
}

// Deadline implements context.Context.
func (moment) Deadline() (time.Time, bool) { return time.Now().Add(time.Hour), true }

// Done implements context.Context.
func (m moment) Done() <-chan struct{} {
	m.f()
	return m.Context.Done()
}
