package client

import (
	"context"
	"errors"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
)

// listeners are the event handlers of a socket. Reading is free of locks: each change makes a new table.
type listeners struct {
	mu sync.Mutex // serializes changes

	cur atomic.Pointer[table]
}

// table is a state of listeners; it never changes.
type table struct {
	on  map[string][]*listener
	any []*listener
}

// listener is one registration: its address tells two of one handler apart.
type listener struct{ h Handler }

var emptyTable table // never changed

func (l *listeners) table() *table {
	if t := l.cur.Load(); t != nil {
		return t
	}
	return &emptyTable
}

// change replaces the table by what f makes of a copy.
func (l *listeners) change(f func(t *table)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.table()
	t := &table{any: slices.Clone(old.any), on: make(map[string][]*listener, len(old.on)+1)}
	maps.Copy(t.on, old.on)
	f(t)
	l.cur.Store(t)
}

func (l *listeners) addOn(event string, h Handler) (off func()) {
	e := &listener{h}
	l.change(func(t *table) { t.on[event] = append(slices.Clip(t.on[event]), e) })
	return func() {
		l.change(func(t *table) {
			if t.on[event] = without(t.on[event], e); len(t.on[event]) == 0 {
				delete(t.on, event)
			}
		})
	}
}

func (l *listeners) addAny(h Handler) (off func()) {
	e := &listener{h}
	l.change(func(t *table) { t.any = append(t.any, e) })
	return func() { l.change(func(t *table) { t.any = without(t.any, e) }) }
}

// serve hands a message to everybody who listens for it, the catch-all handlers first. It gives all their errors.
func (t *table) serve(ctx context.Context, m *Message) error {
	var errs error
	for _, l := range t.any {
		errs = join(errs, call(ctx, "catch-all handler", l.h, m))
	}
	for _, l := range t.on[m.Event] {
		errs = join(errs, call(ctx, "handler", l.h, m))
	}
	return errs
}

func join(a, b error) error {
	if a == nil {
		return b
	}
	if b == nil {
		return a
	}
	return errors.Join(a, b)
}

// without gives list without e, leaving list as it is.
func without[T comparable](list []T, e T) []T {
	i := slices.Index(list, e)
	if i < 0 {
		return list
	}
	return slices.Concat(list[:i], list[i+1:])
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

// functions is a list of the application's functions from which single ones can be taken out.
type functions[F any] struct {
	mu sync.Mutex

	list atomic.Pointer[[]*F]
}

func (l *functions[F]) add(f F) (off func()) {
	e := &f
	l.set(func(list []*F) []*F { return append(slices.Clip(list), e) })
	return func() { l.set(func(list []*F) []*F { return without(list, e) }) }
}

func (l *functions[F]) set(f func(list []*F) []*F) {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := f(l.all())
	l.list.Store(&list)
}

func (l *functions[F]) all() []*F {
	if p := l.list.Load(); p != nil {
		return *p
	}
	return nil
}

// tell calls each function of a list.
func tell[F any](m *Manager, what string, l *functions[F], f func(F)) {
	for _, e := range l.all() {
		if err := guard(what, func() { f(*e) }); err != nil {
			m.report(err)
		}
	}
}
