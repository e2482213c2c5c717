package client

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/sockeye-io/sockeye/internal/event"
	"github.com/sockeye-io/sockeye/internal/ring"
	"github.com/sockeye-io/sockeye/parser"
)

// Socket is one namespace of a server. Its methods are safe for concurrent use.
//
// Node: socket.io-client/lib/socket.ts
type Socket struct {
	m     *Manager
	name  string
	owner bool // closes its Manager; set by Dial

	listeners    event.Listeners
	outgoing     event.Functions[func(event string, args []any)]
	connected    event.Functions[func()]
	refusals     event.Functions[func(error)]
	disconnected event.Functions[func(Reason, error)]

	ids atomic.Uint64 // of acknowledgements

	mu sync.Mutex

	// Guarded by mu; active is written with Manager.mu held too.
	ready     bool     // Config.Setup has returned
	active    bool     // wants to be connected
	link      *link    // where it is connected, or is to be
	turn      uint64   // counts connects, so that an AuthFunc that took long is noticed
	asked     *link    // where CONNECT is not answered yet
	abandoned bool     // the answer to that is not wanted any more
	sess      *session // while connected
	id        string
	pid       string // what to show for recovery; a secret
	offset    string // of the last event
	recovered bool
	waiters   []waiter
	changed   chan struct{} // closed when it is time to look again; nil while nobody waits

	acks   map[uint64]sink
	buffer []*outbound // in order, for the next connection
	bytes  int         // of buffer
	queue  []*reliable // with Config.Retries: the first is under way
	queued int         // bytes of queue

	early   []*incoming // events that came before the answer to CONNECT
	inbox   ring.Ring[*incoming]
	events  int   // in inbox
	paused  *link // that does not read because of the inbox
	working bool  // a worker has it
}

// session is a socket from one connect to the disconnect.
type session struct {
	s      *Socket
	l      *link
	ctx    context.Context // of handlers
	cancel context.CancelCauseFunc
}

// waiter waits in Connect.
type waiter struct {
	done  chan error // of one element
	first bool       // wants the outcome of the first attempt
}

func newSocket(m *Manager, name string) *Socket {
	return &Socket{m: m, name: name}
}

// Namespace is the name of the namespace.
func (s *Socket) Namespace() string { return s.name }

// Manager is the connection that the socket shares.
func (s *Socket) Manager() *Manager { return s.m }

// ID is what the server calls the socket; "" while it is not connected.
func (s *Socket) ID() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.id
}

// Connected tells whether the socket is connected.
func (s *Socket) Connected() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sess != nil
}

// Active tells whether the socket is connected or will connect by itself.
//
// Node: socket.io-client/lib/socket.ts active
func (s *Socket) Active() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.active
}

// Recovered tells whether the last connect restored the session: the id is that of before, and the events that were
// missed come before the functions of OnConnect are called.
//
// Node: socket.io-client/lib/socket.ts recovered
func (s *Socket) Recovered() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.recovered
}

// Open lets the socket connect, and connect again whenever the connection is lost. It does not wait. It is of no
// effect on a socket that does so already, but that it begins anew where Reconnect.Attempts were in vain. A socket
// that was closed by the server, refused by it, or closed, connects again only by Open or Connect.
//
// Errors: ErrClosed for a Manager that is closed.
//
// Node: socket.io-client/lib/socket.ts connect
func (s *Socket) Open() error {
	l, err := s.m.activate(s)
	if err != nil {
		return err
	}
	if l != nil {
		s.begin(l)
	}
	return nil
}

// Connect is Open and waits until the socket is connected, or will not be. It must not be called by a
// listener of the Manager. When ctx ends the socket goes on trying.
//
// Errors: *[ConnectError], *[AuthError], [ErrReconnectFailed], the error of a first attempt where Reconnect.Disabled
// is set, ErrClosed, the cause of ctx.
func (s *Socket) Connect(ctx context.Context) error { return s.connect(ctx, false) }

func (s *Socket) connect(ctx context.Context, first bool) error {
	w := waiter{make(chan error, 1), first}
	s.mu.Lock()
	if s.sess != nil {
		s.mu.Unlock()
		return nil
	}
	s.waiters = append(s.waiters, w)
	s.mu.Unlock()
	if err := s.Open(); err != nil {
		s.unwait(w)
		return err
	}
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
		s.unwait(w)
		return context.Cause(ctx)
	}
}

func (s *Socket) unwait(w waiter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiters = event.Without(s.waiters, w)
}

// Close leaves the namespace: the server is told, and what waits for acknowledgements gets ReasonClientDisconnect.
// Events that came before are still handled, and those that wait to be sent stay for a further Open. The connection is
// closed with its last socket. A socket of [Dial] closes its Manager and waits for that. The error is always nil.
//
// Node: socket.io-client/lib/socket.ts disconnect
func (s *Socket) Close() error {
	if s.owner {
		return s.m.Close()
	}
	s.leave()
	return nil
}

// leave is Close without the Manager.
func (s *Socket) leave() {
	m := s.m
	m.mu.Lock()
	s.mu.Lock()
	last := m.deactivate(s)
	if s.sess != nil {
		s.link.root.CompareAndSwap(rootJoined, s.left())
		_ = s.link.send(&parser.Packet{Type: parser.Disconnect, Namespace: s.name}) // it was connected by that name
	}
	s.abandoned = s.asked != nil
	waiters := s.waiters
	s.waiters = nil
	end := s.end(ReasonClientDisconnect, nil)
	s.mu.Unlock()
	m.mu.Unlock()
	end()
	tellWaiters(waiters, ErrClosed)
	if last != nil {
		m.cut(last, ReasonForcedClose, nil)
	}
}

// left is what became of "/" when this socket has left.
func (s *Socket) left() uint32 {
	if s.name == "/" {
		return rootLeft
	}
	return rootJoined
}

func tellWaiters(ws []waiter, err error) {
	for _, w := range ws {
		w.done <- err // of one element, and taken out of the list by who sends
	}
}

// end notes that the socket is not connected any more. s.mu is held; what it gives is to be called without locks.
func (s *Socket) end(reason Reason, err error) (after func()) {
	sess := s.sess
	s.turn++
	s.link, s.sess, s.id, s.early = nil, nil, "", nil
	s.notify()
	if sess == nil {
		return func() {}
	}
	sinks := s.failSent()
	start := s.push(&incoming{kind: inDisconnect, reason: reason, err: err, sess: sess})
	return func() {
		sess.cancel(reason)
		for _, k := range sinks {
			k.ended(reason)
		}
		s.start(start)
	}
}

// notify wakes those who wait for a change. s.mu is held.
func (s *Socket) notify() {
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// change gives what is closed at the next change. s.mu is held.
func (s *Socket) change() <-chan struct{} {
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return s.changed
}

// On registers a handler for an event. Events that nobody handles are ignored.
//
// Where the server has connection state recovery the last argument of an event may be its offset, a string.
//
// Node: socket.io-client/lib/socket.ts on
func (s *Socket) On(event string, h Handler) (off func()) { return s.listeners.AddOn(event, h) }

// OnAny registers a handler for all events, which is called before those of the event.
//
// Node: socket.io-client/lib/socket.ts onAny
func (s *Socket) OnAny(h Handler) (off func()) { return s.listeners.AddAny(h) }

// OnAnyOutgoing registers a function that is told of each event that is emitted, by the goroutine that emits and before
// it is sent. It must not change args.
//
// Differs from Node: it is told when an event is emitted, also of one that is kept for the next connection.
//
// Node: socket.io-client/lib/socket.ts onAnyOutgoing
func (s *Socket) OnAnyOutgoing(f func(event string, args []any)) (off func()) {
	return s.outgoing.Add(f)
}

// OnConnect registers a function that is called when the socket is connected, each time, in turn with the handlers.
//
// Node: the connect event of the Socket
func (s *Socket) OnConnect(f func()) (off func()) { return s.connected.Add(f) }

// OnConnectError registers a function that is told why the socket could not connect, in turn with the handlers: an
// *[engineio.TransportError], after which it tries again as Config.Reconnect says, or what Connect gives.
//
// Node: the connect_error event of the Socket
func (s *Socket) OnConnectError(f func(err error)) (off func()) { return s.refusals.Add(f) }

// OnDisconnect registers a function that is told that the socket is disconnected, in turn with the handlers: those of
// the events that came before have been called. err has the detail and may be nil.
//
// Node: the disconnect event of the Socket
func (s *Socket) OnDisconnect(f func(reason Reason, err error)) (off func()) {
	return s.disconnected.Add(f)
}

type socketKey struct{}

// SocketFrom gives the socket whose handler has that context; nil for another context.
func SocketFrom(ctx context.Context) *Socket {
	s, _ := ctx.Value(socketKey{}).(*Socket) // nil is the answer for others
	return s
}

// SendAck implements event.Acker: an acknowledgement is for the connection by which the event came.
//
// Differs from Node: it sends one for an event of a former connection too, which the server ignores at best.
func (e *session) SendAck(id uint64, args []any) error {
	f, _, err := e.s.m.encode(&parser.Packet{
		Type: parser.Ack, Namespace: e.s.name, ID: id, HasID: true, Args: event.AppendArgs(nil, args),
	})
	if err != nil {
		return err
	}
	e.s.mu.Lock()
	defer e.s.mu.Unlock()
	if e.s.sess != e {
		return ErrClosed
	}
	return sendError(e.l.conn.SendPrepared(sendPlain, f...))
}
