package sockeye

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/event"
	"github.com/sockeye-io/sockeye/internal/ring"
)

// Namespace is a part of a server that clients connect to by name. It is safe for concurrent use.
//
// Node: socket.io/lib/namespace.ts Namespace
type Namespace struct {
	srv     *Server
	name    string
	parent  *Parent // nil for a static one
	index   *adapter.Index
	adapter adapter.Adapter
	lister  adapter.RoomLister // the adapter, if it is one
	failed  error              // why it could not be opened; the adapter returns it too

	// What the adapter can do besides, with recovery; nil where it cannot, or need not.
	keeper adapter.SessionKeeper
	seq    adapter.Sequencer

	ready chan struct{} // closed when adapter and failed are set
	gone  chan struct{} // closed when a removed namespace has closed its adapter

	// Under Server.mu.
	users   int  // sockets and connection attempts
	kept    bool // asked for by Of
	removed bool

	listeners  event.Listeners
	middleware event.Functions[func(context.Context, *Socket) error]
	connection event.Functions[func(context.Context, *Socket)]
	rooms      event.Functions[func(RoomEvent)]
	watchRooms sync.Once
	serverSide event.Listeners
	ackID      atomic.Uint64 // the next acknowledgement id

	closeOnce sync.Once
	closeErr  error

	mu      sync.Mutex
	inbox   ring.Ring[*serverMessage] // events of other servers
	working bool                      // whether a worker empties inbox
}

// RoomEvent tells of a change of rooms on this server: Kind is "create-room" and then "join-room", or
// "leave-room" and then "delete-room".
//
// Node: socket.io-adapter/lib/in-memory-adapter.ts events
type RoomEvent struct{ Kind, Room, Socket string }

// open finds or makes a namespace and waits until it is open. With p it is made as a child of p, and with
// claim it is not removed until release.
func (s *Server) open(name string, p *Parent, claim *Socket) (*Namespace, error) {
	if !validNamespace(name) {
		return nil, ErrNamespaceName
	}
	for {
		s.mu.Lock()
		n := s.namespaces[name]
		if n != nil && n.removed {
			s.mu.Unlock()
			<-n.gone
			continue
		}
		made := n == nil
		if made {
			if err := s.mayOpen(p); err != nil {
				s.mu.Unlock()
				return nil, err
			}
			n = s.newNamespace(name, p)
			s.namespaces[name] = n
			if s.watchesRooms() {
				n.watch()
			}
		}
		if claim != nil {
			n.users++
		} else {
			n.kept = true
		}
		s.mu.Unlock()
		if made {
			n.openAdapter()
			if n.failed != nil { // so that it is tried again
				s.mu.Lock()
				delete(s.namespaces, name)
				s.mu.Unlock()
			} else {
				n.observed()
			}
		}
		<-n.ready
		return n, nil
	}
}

// mayOpen is called under mu.
func (s *Server) mayOpen(p *Parent) error {
	if s.isClosing() {
		return ErrClosed
	}
	if p != nil && len(s.namespaces) >= s.cfg.Limits.Dynamic {
		return errors.New("sockeye: too many dynamic namespaces")
	}
	return nil
}

func (s *Server) newNamespace(name string, p *Parent) *Namespace {
	return &Namespace{
		srv: s, name: name, parent: p, index: adapter.NewIndex(s.cfg.Limits.Rooms, nil),
		ready: make(chan struct{}), gone: make(chan struct{}),
	}
}

// unopened gives a namespace that only returns err.
func (s *Server) unopened(name string, err error) *Namespace {
	n := s.newNamespace(name, nil)
	n.fail(err)
	close(n.ready)
	s.report(context.Background(), n.failed)
	return n
}

func (n *Namespace) openAdapter() {
	a, err := n.srv.cluster.Open((*host)(n))
	if err != nil {
		n.fail(err)
	} else {
		n.adapter = a
		n.lister, _ = a.(adapter.RoomLister)
		if n.srv.cfg.Recovery != nil {
			n.keeper, _ = a.(adapter.SessionKeeper)
			n.seq, _ = a.(adapter.Sequencer)
		}
	}
	close(n.ready)
}

func (n *Namespace) fail(err error) {
	n.failed = fmt.Errorf("sockeye: open namespace %q: %w", clip(n.name), err)
	n.adapter = failedAdapter{n.failed}
}

func (n *Namespace) isReady() bool {
	select {
	case <-n.ready:
		return true
	default:
		return false
	}
}

// lookup finds an open namespace for a connection attempt, which must release it.
func (s *Server) lookup(name string, claim *Socket) *Namespace {
	s.mu.RLock()
	n := s.namespaces[name]
	known := n != nil && !n.removed
	s.mu.RUnlock()
	if !known {
		return nil
	}
	n, err := s.open(name, n.parent, claim)
	if err != nil || n.failed != nil {
		return nil
	}
	return n
}

// release ends the claim of a socket or connection attempt, and removes an empty child.
func (n *Namespace) release() {
	s := n.srv
	s.mu.Lock()
	n.users--
	empty := n.users == 0 && n.parent != nil && s.cfg.RemoveEmpty && !n.kept && !s.isClosing()
	if empty {
		n.removed = true
	}
	s.mu.Unlock()
	if !empty {
		return
	}
	if err := n.closeAdapter(); err != nil {
		s.report(context.Background(), fmt.Errorf("sockeye: close namespace %q: %w", clip(n.name), err))
	}
	s.mu.Lock()
	delete(s.namespaces, n.name)
	s.mu.Unlock()
	close(n.gone)
}

func (n *Namespace) closeAdapter() error {
	n.closeOnce.Do(func() { n.closeErr = n.adapter.Close() })
	return n.closeErr
}

// validNamespace tells whether a client could connect to name.
//
// Differs from Node: any name is taken there.
func validNamespace(name string) bool {
	if name == "" || name[0] != '/' || len(name) > maxNamespaceName {
		return false
	}
	return !strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f || r == ',' })
}

// Name is the name, which begins with a slash.
func (n *Namespace) Name() string { return n.name }

// Use adds a connection middleware: a function that is asked, after those added before, whether a socket may
// connect. The first error refuses it: the client's connect_error event has the message and data of a
// *ConnectError, or the text of any other error. f may block; its context ends when the connection does. A
// panic refuses the socket too.
//
// Node: socket.io/lib/namespace.ts use
func (n *Namespace) Use(f func(ctx context.Context, s *Socket) error) { n.middleware.Add(f) }

// OnConnection adds a function that is told of each new socket, before any of its events is handled. ctx ends
// when the socket disconnects.
//
// Node: the connection event
func (n *Namespace) OnConnection(f func(ctx context.Context, s *Socket)) { n.connection.Add(f) }

// On adds a handler for an event of every socket, in ctx the socket is found by SocketFrom. off takes it out.
//
// Differs from Node: there handlers belong to a socket.
func (n *Namespace) On(event string, h Handler) (off func()) { return n.listeners.AddOn(event, h) }

// OnAny adds a handler for every event of every socket. It comes before the event middleware.
//
// Node: socket.io/lib/socket.ts onAny
func (n *Namespace) OnAny(h Handler) (off func()) { return n.listeners.AddAny(h) }

// UseEvent wraps the handlers of every socket. f is called for each event with what comes next.
//
// Node: socket.io/lib/socket.ts use
func (n *Namespace) UseEvent(f func(next Handler) Handler) { n.listeners.AddUse(f) }

// OnRoom adds a function that is told of each room that is made, joined, left or deleted on this server,
// in order. It is called by the goroutine that made a change, and must not block.
//
// Node: the events of the adapter
func (n *Namespace) OnRoom(f func(e RoomEvent)) (off func()) {
	off = n.rooms.Add(f)
	n.watch()
	return off
}

func (n *Namespace) roomChanged(e adapter.RoomEvent) {
	for _, f := range n.rooms.All() {
		if err := n.srv.guard("room listener", func() { (*f)(RoomEvent(e)) }); err != nil {
			n.srv.report(context.Background(), err)
		}
	}
	n.srv.observe(func(o *Observer) {
		if o.Room != nil {
			o.Room(n, RoomEvent(e))
		}
	})
}

// Sockets iterates over the sockets of this server that are connected when the iteration starts.
//
// Node: socket.io/lib/namespace.ts sockets
func (n *Namespace) Sockets() iter.Seq[*Socket] {
	return func(yield func(*Socket) bool) {
		for m := range n.index.Members() {
			if !yield(socketOf(m)) {
				return
			}
		}
	}
}

// Socket finds a connected socket of this server.
func (n *Namespace) Socket(id string) (s *Socket, ok bool) {
	m, ok := n.index.Lookup(id)
	if !ok {
		return nil, false
	}
	return socketOf(m), true
}

// All selects every socket.
func (n *Namespace) All() Broadcast { return Broadcast{nsp: n} }

// To selects the sockets in any of rooms; without rooms, all.
//
// Node: socket.io/lib/namespace.ts to
func (n *Namespace) To(rooms ...string) Broadcast { return n.All().To(rooms...) }

// Except selects the sockets that are in none of rooms.
//
// Node: socket.io/lib/namespace.ts except
func (n *Namespace) Except(rooms ...string) Broadcast { return n.All().Except(rooms...) }

// Emit sends an event to every socket. It does not wait for other servers. Errors: ErrReservedEvent, and those
// of encoding.
//
// Node: socket.io/lib/namespace.ts emit
func (n *Namespace) Emit(event string, args ...any) error { return n.All().Emit(event, args...) }

// EmitContext is Emit that waits until the adapter has accepted the event.
//
// Node: socket.io/lib/namespace.ts emit
func (n *Namespace) EmitContext(ctx context.Context, event string, args ...any) error {
	return n.All().EmitContext(ctx, event, args...)
}
