package adapter

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/sockeye-io/sockeye/parser"
)

// Local is an Adapter for the sockets of this server alone. The adapters that speak to other servers embed
// it. It is safe for concurrent use.
type Local struct {
	host Host
	log  *history // nil without recovery

	asking atomic.Int32 // len(asks), read without the lock by every Remove

	mu     sync.Mutex
	asks   map[*ask]struct{}
	closed bool
}

// NewLocal returns the adapter of one namespace.
func NewLocal(h Host) *Local {
	l := &Local{host: h, asks: map[*ask]struct{}{}}
	h.Index().onLeft(l.left)
	return l
}

// Host is the namespace that the adapter was made for.
func (l *Local) Host() Host { return l.host }

// Broadcast delivers p to the sockets of this server that o selects. The error is ErrClosed or that of encoding.
func (l *Local) Broadcast(_ context.Context, p *parser.Packet, o Options) error {
	if l.isClosed() {
		return ErrClosed
	}
	if l.log != nil && p.Type == parser.Event && !p.HasID && !o.Flags.Volatile {
		return l.log.broadcast(p, o)
	}
	d, _, err := l.host.Prepare(p, o.Flags, nil)
	if err != nil {
		return err
	}
	l.host.Index().Each(o, d.Deliver)
	return nil
}

// Deliver is Broadcast for what came from another server: where o selects nobody here p is not even encoded.
// It tells how many sockets were selected.
func (l *Local) Deliver(p *parser.Packet, o Options) (int, error) {
	if l.isClosed() {
		return 0, ErrClosed
	}
	s := newScratch()
	defer s.free()
	x := l.host.Index()
	x.mu.RLock()
	s.members = x.appendSelected(s.members, o, &s.q)
	x.mu.RUnlock()
	if len(s.members) == 0 {
		return 0, nil
	}
	d, _, err := l.host.Prepare(p, o.Flags, nil)
	if err != nil {
		return 0, err
	}
	for _, m := range s.members {
		d.Deliver(m)
	}
	return len(s.members), nil
}

// BroadcastWithAck delivers p to the sockets of this server that o selects and waits for their answers. Sockets
// that leave are not waited for: when all others have answered the error is an *Incomplete that names those
// which left, with Err ErrSocketLeft.
func (l *Local) BroadcastWithAck(ctx context.Context, p *parser.Packet, o Options, each func(Answer)) error {
	q := newRequest(OfSockets)
	defer q.Close()
	if err := l.AskFor(q, p, o); err != nil {
		return err
	}
	q.Expect(0)
	return q.Wait(ctx, func(r Response) { each(r.Answer) })
}

// Fetch describes the sockets of this server that o selects.
func (l *Local) Fetch(_ context.Context, o Options) ([]Remote, error) {
	if l.isClosed() {
		return nil, ErrClosed
	}
	members := l.host.Index().Collect(o)
	sockets := make([]Remote, len(members))
	for i, m := range members {
		sockets[i] = l.host.Describe(m)
	}
	return sockets, nil
}

// Count counts the sockets of this server that o selects.
func (l *Local) Count(_ context.Context, o Options) (int, error) {
	if l.isClosed() {
		return 0, ErrClosed
	}
	return l.host.Index().Count(o), nil
}

// Command makes the sockets of this server that o selects join, leave or disconnect.
func (l *Local) Command(_ context.Context, c Command, o Options) error {
	if l.isClosed() {
		return ErrClosed
	}
	// Collected first, since each command changes the index and with it the selection.
	for _, m := range l.host.Index().Collect(o) {
		l.host.Command(m, c)
	}
	return nil
}

// ServerSide returns at once: there are no other servers.
func (l *Local) ServerSide(_ context.Context, _ *parser.Packet, _ func(Answer)) error {
	if l.isClosed() {
		return ErrClosed
	}
	return nil
}

// Close ends what waits for answers. Everything else fails from now on.
func (l *Local) Close() error {
	l.mu.Lock()
	l.closed = true
	asks := make([]*ask, 0, len(l.asks))
	for a := range l.asks {
		asks = append(asks, a)
	}
	l.mu.Unlock()
	for _, a := range asks {
		a.abort()
	}
	if l.log != nil {
		l.log.close()
	}
	return nil
}

func (l *Local) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

func (l *Local) register(a *ask) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.asks[a] = struct{}{}
	l.asking.Store(int32(len(l.asks)))
	return true
}

func (l *Local) unregister(a *ask) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.asks, a)
	l.asking.Store(int32(len(l.asks)))
}

// left is the index's call for a member that was removed.
func (l *Local) left(m Member) {
	if l.asking.Load() == 0 {
		return
	}
	l.mu.Lock()
	asks := make([]*ask, 0, len(l.asks))
	for a := range l.asks {
		asks = append(asks, a)
	}
	l.mu.Unlock()
	for _, a := range asks {
		a.left(m)
	}
}
