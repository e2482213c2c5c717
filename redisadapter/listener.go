package redisadapter

import (
	"context"
	"fmt"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
)

// listener is one who listens on the bus: the adapter of a namespace, or a part of the process that belongs to none.
// Its methods are safe for concurrent use and but for opened and close never wait.
type listener struct {
	b    *bus
	name string       // of the namespace, or ""
	host adapter.Host // nil without namespace
	shut func() error // what the bus calls when it is closed
	own  faults

	ended bool // guarded by the table's lock
}

// listener makes a listener, which open makes known. h is nil for one that belongs to no namespace.
func (b *bus) listener(h adapter.Host, shut func() error) *listener {
	l := &listener{b: b, host: h, shut: shut}
	l.own.start = time.Now()
	if h != nil {
		l.name = h.Name()
	}
	return l
}

// open makes the listener of a namespace known to the bus, which then calls its shut when it is closed. The error is
// ErrClosed, or adapter.ErrOpen where there is one of that name.
func (l *listener) open() error {
	b := l.b
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return ErrClosed
	}
	if l.host == nil {
		return nil
	}
	if b.open[l.name] != nil {
		return fmt.Errorf("redisadapter: open %q: %w", l.name, adapter.ErrOpen)
	}
	b.open[l.name] = l
	return nil
}

// add subscribes to channels, in the background. What comes on one is handed to f, one message at a time for the
// whole bus. Several listeners may have one channel; for one listener the last f counts.
func (l *listener) add(f func(channel, payload string), channels ...string) {
	for _, ch := range channels {
		l.b.t.add(ch, false, route{l, f})
	}
}

// addPattern is add for a pattern. f is told the channel that it stands for.
func (l *listener) addPattern(f func(channel, payload string), pattern string) {
	l.b.t.add(pattern, true, route{l, f})
}

// remove ends what add began, in the background. Messages that came before may be handed out meanwhile.
func (l *listener) remove(channels ...string) {
	for _, ch := range channels {
		l.b.t.remove(ch, l)
	}
}

// listensTo gives the channels that were added and not removed.
func (l *listener) listensTo() []string { return l.b.t.channelsOf(l) }

// opened waits until Redis has confirmed what was added, but not while Redis is away. The error wraps
// ErrForbidden: Redis will never confirm it.
func (l *listener) opened() error {
	ctx, cancel := context.WithTimeout(context.Background(), l.b.o.RequestsTimeout)
	defer cancel()
	err := l.b.t.settled(ctx)
	if refused := l.b.t.refusedTo(l); refused != nil {
		return fmt.Errorf("redisadapter: subscribe: %w", refused)
	}
	if err != nil {
		l.fault(faultGap, err)
	}
	return nil
}

// close takes the listener out of the table, and waits until Redis has confirmed that. It may be called again.
func (l *listener) close() {
	b := l.b
	b.mu.Lock()
	if b.open[l.name] == l {
		delete(b.open, l.name)
	}
	closed := b.closed
	b.mu.Unlock()
	b.t.removeAll(l)
	if !closed { // else the bus waits for all at once
		b.unsubscribed()
	}
}

// handle hands over one message. Whatever goes wrong in it is counted and reported, and concerns no other message.
func (r *route) handle(channel, payload string) {
	defer func() {
		if v := recover(); v != nil {
			r.l.b.count.malformed.Add(1)
			r.l.fault(faultPanic, fmt.Errorf("%w: %v", errPanic, v))
		}
	}()
	r.f(channel, payload)
}

// malformed counts and reports a message that could not be read.
func (l *listener) malformed(k faultKind, err error) {
	l.b.count.malformed.Add(1)
	l.fault(k, err)
}

// fault reports what this listener met and survived.
func (l *listener) fault(k faultKind, err error) {
	suppressed, ok := l.own.admit(k)
	if !ok {
		return
	}
	err = k.text(err, suppressed)
	if l.host != nil {
		l.host.Fault(err)
	}
	if l.b.o.OnFault != nil {
		l.b.o.OnFault(l.name, err)
	}
}
