package event

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// Listeners are the event handlers of a socket, or of more than one. Reading is free of locks: each change makes a new
// table. The zero value has none. It is safe for concurrent use.
type Listeners struct {
	mu sync.Mutex // serializes changes

	cur atomic.Pointer[Table]
}

// Table is a state of Listeners; it never changes.
type Table struct {
	On  map[string][]*Registration
	Any []*Registration
	Use []func(next Handler) Handler
}

// Registration is one registration: its address tells two of one handler apart.
type Registration struct{ Handler Handler }

var emptyTable Table // never changed

// Table is the state as it is now. It is never nil.
func (l *Listeners) Table() *Table {
	if t := l.cur.Load(); t != nil {
		return t
	}
	return &emptyTable
}

// change replaces the table by what f makes of a copy.
func (l *Listeners) change(f func(t *Table)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.Table()
	t := &Table{Any: slices.Clone(old.Any), Use: slices.Clone(old.Use), On: make(map[string][]*Registration, len(old.On)+1)}
	maps.Copy(t.On, old.On)
	f(t)
	l.cur.Store(t)
}

// AddOn adds a handler of an event; off takes it out, and may be called more than once.
func (l *Listeners) AddOn(event string, h Handler) (off func()) {
	e := &Registration{h}
	l.change(func(t *Table) { t.On[event] = append(slices.Clip(t.On[event]), e) })
	return func() {
		l.change(func(t *Table) {
			if t.On[event] = Without(t.On[event], e); len(t.On[event]) == 0 {
				delete(t.On, event)
			}
		})
	}
}

// AddAny adds a handler of all events; off takes it out, and may be called more than once.
func (l *Listeners) AddAny(h Handler) (off func()) {
	e := &Registration{h}
	l.change(func(t *Table) { t.Any = append(t.Any, e) })
	return func() { l.change(func(t *Table) { t.Any = Without(t.Any, e) }) }
}

// AddUse adds event middleware.
func (l *Listeners) AddUse(f func(next Handler) Handler) {
	l.change(func(t *Table) { t.Use = append(t.Use, f) })
}

// Functions is a list of the application's functions from which single ones can be taken out. The zero value is empty. It
// is safe for concurrent use, and read without a lock.
type Functions[F any] struct {
	mu sync.Mutex // serializes changes

	list atomic.Pointer[[]*F]
}

// Add adds a function; off takes it out, and may be called more than once.
func (l *Functions[F]) Add(f F) (off func()) {
	e := &f
	l.set(func(list []*F) []*F { return append(slices.Clip(list), e) })
	return func() { l.set(func(list []*F) []*F { return Without(list, e) }) }
}

func (l *Functions[F]) set(f func(list []*F) []*F) {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := f(l.All())
	l.list.Store(&list)
}

// All gives the functions in the order of Add. The list is not to be changed.
func (l *Functions[F]) All() []*F {
	if p := l.list.Load(); p != nil {
		return *p
	}
	return nil
}

// Without gives list without e, leaving list as it is.
func Without[T comparable](list []T, e T) []T {
	i := slices.Index(list, e)
	if i < 0 {
		return list
	}
	return slices.Concat(list[:i], list[i+1:])
}

// Join is errors.Join for two, which makes nothing of one.
func Join(a, b error) error {
	if a == nil {
		return b
	}
	if b == nil {
		return a
	}
	return errors.Join(a, b)
}
