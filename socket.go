package sockeye

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/engineio"
	"github.com/sockeye-io/sockeye/internal/event"
	"github.com/sockeye-io/sockeye/internal/ring"
	"github.com/sockeye-io/sockeye/parser"
)

// Socket is the connection of one client to one namespace. It is safe for concurrent use.
//
// Node: socket.io/lib/socket.ts Socket
type Socket struct {
	nsp  *Namespace
	conn *conn
	id   string

	gone      atomic.Bool // the socket has ended, or will not begin
	connected atomic.Bool // the client has been told, and was not refused
	recovered atomic.Bool
	more      atomic.Pointer[extra] // what most sockets do without

	mu      sync.Mutex
	inbox   ring.Ring[*incoming]
	working bool // whether a worker has the socket; so it is from the start until it has connected
	paused  bool // whether reading waits for the inbox
	joined  bool // whether it came as far as the index

	dismissed bool // DISCONNECT is to follow the answer to CONNECT

	reason Reason
	data   any
	acks   map[uint64]ackSink // pending; nil if there are none
}

// extra is what most sockets do without.
type extra struct {
	listeners     event.Listeners
	outgoing      event.Functions[func(event string, args []any)]
	disconnecting event.Functions[func(Reason)]
	disconnected  event.Functions[func(Reason)]
	persist       sync.Once

	auth parser.Arg // never changed once the socket has begun
	pid  string     // likewise

	// Under Socket.mu.
	bound  []string        // rooms of a session that may be continued
	before parser.Arg      // the data of the session that is continued
	held   []*delivery     // broadcasts that came before the client was told that it is connected
	ctx    context.Context // the socket's own
	cancel context.CancelCauseFunc
}

// incoming is one packet with its message, in one piece of memory.
type incoming struct {
	packet parser.Packet
	msg    Message
	out    bool // it is not a message but an emit, for OnAnyOutgoing
}

// member is a Socket as its adapter sees it.
type member Socket

// ID implements adapter.Member.
func (m *member) ID() string { return m.id }

// Gone implements adapter.Departing.
func (m *member) Gone() bool { return m.gone.Load() }

func (s *Socket) member() adapter.Member { return (*member)(s) }

// socketOf is the way back. Members are never anything else.
func socketOf(m adapter.Member) *Socket {
	s, _ := m.(*member)
	return (*Socket)(s)
}

// extra makes what most sockets do without.
func (s *Socket) extra() *extra {
	if e := s.more.Load(); e != nil {
		return e
	}
	s.more.CompareAndSwap(nil, &extra{})
	return s.more.Load()
}

// ID is the public id: 20 characters for clients of today. For 2.x clients it contains the id of the session,
// which is a secret, as they compute it themselves.
//
// Node: socket.io/lib/socket.ts id
func (s *Socket) ID() string { return s.id }

// Namespace is the namespace that the socket belongs to.
//
// Node: socket.io/lib/socket.ts nsp
func (s *Socket) Namespace() *Namespace { return s.nsp }

// Recovered tells whether the client came back after a short loss of its connection, and got back its id,
// rooms and data.
//
// Node: socket.io/lib/socket.ts recovered
func (s *Socket) Recovered() bool { return s.recovered.Load() }

// Connected tells whether the socket is connected: it is not in a connection middleware yet, nor after its end.
//
// Node: socket.io/lib/socket.ts connected
func (s *Socket) Connected() bool { return s.connected.Load() && !s.gone.Load() }

// Context ends when the socket disconnects; its cause is the Reason.
//
// Differs from Node: there is none.
func (s *Socket) Context() context.Context { return (*socketContext)(s) }

// Data is what SetData set. It is shown to other servers by FetchSockets, and restored by recovery as a
// parser.Arg.
//
// Node: socket.io/lib/socket.ts data
func (s *Socket) Data() any {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.data
}

// SetData sets the data of the socket. v must not be changed afterwards. Node servers of a cluster, which want objects, get
// what is none as the entry "_value" of one.
//
// Node: socket.io/lib/socket.ts data
func (s *Socket) SetData(v any) {
	s.mu.Lock()
	s.data = v
	s.mu.Unlock()
	if k := s.nsp.keeper; k != nil {
		k.Changed(s.member())
	}
	if s.connected.Load() {
		s.observed((*Observer).onDataChanged)
	}
}

// ScanData scans the data of the socket into dst, whether it was set on this server or restored by recovery. Without
// data dst is left as it is.
//
// Node: socket.io/lib/socket.ts data
func (s *Socket) ScanData(dst any) error {
	v := s.Data()
	if v == nil {
		return nil
	}
	return parser.Value(v).Scan(dst)
}

// Join puts the socket into rooms: into all, or with an error into none. Errors: ErrTooManyRooms, ErrRoomName,
// ErrClosed.
//
// Node: socket.io/lib/socket.ts join
func (s *Socket) Join(rooms ...string) error {
	for _, r := range rooms {
		if len(r) > maxRoomName {
			return ErrRoomName
		}
	}
	err := s.nsp.index.Join(s.member(), rooms...)
	if errors.Is(err, adapter.ErrGone) {
		return ErrClosed
	}
	return err
}

// Leave takes the socket out of rooms. Its own room, which is named after its id, cannot be left.
//
// Node: socket.io/lib/socket.ts leave
func (s *Socket) Leave(rooms ...string) error {
	s.nsp.index.Leave(s.member(), rooms...)
	return nil
}

// Rooms gives the rooms of the socket, its own first.
//
// Node: socket.io/lib/socket.ts rooms
func (s *Socket) Rooms() []string { return s.nsp.index.Rooms(s.member()) }

// On adds a handler for an event of this socket; it comes after those of the namespace.
//
// Node: socket.io/lib/socket.ts on
func (s *Socket) On(event string, h Handler) (off func()) {
	return s.extra().listeners.AddOn(event, h)
}

// OnAny adds a handler for every event of this socket. It comes before the event middleware.
//
// Node: socket.io/lib/socket.ts onAny
func (s *Socket) OnAny(h Handler) (off func()) { return s.extra().listeners.AddAny(h) }

// UseEvent wraps the handlers of this socket; it comes after the middleware of the namespace. f is called for
// each event with what comes next.
//
// Node: socket.io/lib/socket.ts use
func (s *Socket) UseEvent(f func(next Handler) Handler) { s.extra().listeners.AddUse(f) }

// OnAnyOutgoing adds a function that is told of each event that is sent to this socket: of an emit to it alone
// by the goroutine that emits, of a broadcast by the worker of the socket.
//
// Node: socket.io/lib/socket.ts onAnyOutgoing
func (s *Socket) OnAnyOutgoing(f func(event string, args []any)) (off func()) {
	return s.extra().outgoing.Add(f)
}

// OnDisconnecting adds a function that is called when the socket has ended, before it leaves its rooms: after
// the handlers of the events that came before.
//
// Node: the disconnecting event
func (s *Socket) OnDisconnecting(f func(r Reason)) { s.extra().disconnecting.Add(f) }

// OnDisconnect adds a function that is called when the socket has left its rooms.
//
// Node: the disconnect event
func (s *Socket) OnDisconnect(f func(r Reason)) { s.extra().disconnected.Add(f) }

// Buffered gives the bytes that wait to be sent to the client, of all its namespaces.
func (s *Socket) Buffered() int {
	n, _ := s.conn.eng.Buffered()
	return n
}

// Transport is the current transport: "polling" or "websocket".
//
// Node: socket.conn.transport.name
func (s *Socket) Transport() string { return s.conn.eng.Transport() }

// Disconnect ends the socket with ReasonServerDisconnect, and with closeConn the other sockets of the client too
// and the connection. Events that wait for their handlers are dropped. It does not wait for handlers. Where broadcasts
// made before are still to be delivered here, as with redisadapter.Streams and recovery, it comes after them.
//
// Node: socket.io/lib/socket.ts disconnect
func (s *Socket) Disconnect(closeConn bool) error {
	t := &disconnectTask{s, closeConn}
	if q := s.nsp.seq; q != nil && q.After(func() { s.nsp.srv.pool.Go(t) }) {
		return nil
	}
	t.Run()
	return nil
}

// disconnectTask is a call of Disconnect.
type disconnectTask struct {
	s         *Socket
	closeConn bool
}

// Run implements ring.Task.
func (t *disconnectTask) Run() {
	if t.closeConn {
		t.s.conn.disconnect()
		return
	}
	t.s.conn.leave(t.s)
	t.s.bye()
}

// bye tells the client and ends the socket.
func (s *Socket) bye() {
	if s.gone.Load() {
		return
	}
	s.mu.Lock()
	early := s.joined && !s.connected.Load() // it is in the index, and about to be welcomed
	s.dismissed = early
	s.mu.Unlock()
	if !early {
		_ = s.sendDisconnect()
	}
	s.end(ReasonServerDisconnect)
}

// sendDisconnect tells the client that the socket has ended. An error means that the connection has too.
func (s *Socket) sendDisconnect() error {
	return s.conn.send(&parser.Packet{Type: parser.Disconnect, Namespace: s.nsp.name}, true)
}

// attrs are what log lines tell of the socket.
func (s *Socket) attrs() []slog.Attr {
	id := s.id
	if s.conn.v4 {
		sum := sha256.Sum256([]byte(id))
		id = hex.EncodeToString(sum[:8])
	}
	return []slog.Attr{
		slog.String("socket", id), slog.String("nsp", clip(s.nsp.name)), slog.String("transport", s.conn.eng.Transport()),
	}
}

// acker is a Socket as a message sees it.
type acker Socket

var _ event.Acker = (*acker)(nil)

// SendAck implements event.Acker.
func (a *acker) SendAck(id uint64, args []any) error {
	s := (*Socket)(a)
	if s.gone.Load() {
		return ErrClosed
	}
	o := outgoings.Get().(*outgoing) //nolint:errcheck // of our own pool
	defer o.free()
	o.packet = parser.Packet{Type: parser.Ack, Namespace: s.nsp.name, ID: id, HasID: true, Args: event.AppendArgs(o.args[:0], args)}
	frames, err := s.nsp.srv.cfg.Parser.Encode(&o.packet, s.conn.protocol())
	if err != nil {
		return err
	}
	return s.inTurn(frames, engineio.SendOptions{}, &s.conn.counts().acksOut)
}
