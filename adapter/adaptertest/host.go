package adaptertest

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/parser"
)

// Host is a namespace of one server whose sockets record what is delivered to them. It is safe for concurrent
// use.
type Host struct {
	name  string
	index *adapter.Index
	work  sync.WaitGroup // answers under way

	mu        sync.Mutex
	faults    []error
	events    []Received
	listeners map[string]func(args []any) (answer []parser.Arg, ok bool)
	rooms     []adapter.RoomEvent
}

// Received is an event that arrived, its arguments as plain Go values.
type Received struct {
	Event string
	Args  []any
	Flags adapter.Flags
}

// NewHost returns a namespace without sockets. The test waits for the answers that its sockets give.
func NewHost(tb testing.TB, name string) *Host {
	tb.Helper()
	h := &Host{name: name, listeners: map[string]func([]any) ([]parser.Arg, bool){}}
	h.index = adapter.NewIndex(-1, func(e adapter.RoomEvent) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.rooms = append(h.rooms, e)
	})
	tb.Cleanup(h.work.Wait)
	return h
}

// Socket is a member that records.
type Socket struct {
	host *Host
	id   string

	mu        sync.Mutex
	handshake adapter.Handshake
	data      any
	got       []Received
	answer    func(args []any) []parser.Arg
	orders    []adapter.Command
}

// ID implements adapter.Member.
func (s *Socket) ID() string { return s.id }

// Connect adds a socket to the namespace.
func (h *Host) Connect(tb testing.TB, id string, rooms ...string) *Socket {
	tb.Helper()
	s := &Socket{host: h, id: id}
	h.index.Add(s)
	if err := h.index.Join(s, rooms...); err != nil {
		tb.Fatal(err)
	}
	return s
}

// Disconnect removes the socket.
func (s *Socket) Disconnect() { s.host.index.Remove(s) }

// Answer makes the socket answer what asks for it. Without it, it stays silent.
func (s *Socket) Answer(f func(args []any) []parser.Arg) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = f
}

// Got gives the events delivered so far but those of barriers.
func (s *Socket) Got() []Received {
	s.mu.Lock()
	defer s.mu.Unlock()
	got := slices.Clone(s.got)
	return slices.DeleteFunc(got, func(r Received) bool { return strings.HasPrefix(r.Event, barrierEvent) })
}

// Has tells whether an event was delivered.
func (s *Socket) Has(event string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.got, func(r Received) bool { return r.Event == event })
}

// Orders gives the commands obeyed so far but those of barriers.
func (s *Socket) Orders() []adapter.Command {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.orders), func(c adapter.Command) bool {
		return len(c.Join) == 1 && strings.HasPrefix(c.Join[0], barrierEvent)
	})
}

// InRoom tells whether the socket is in room.
func (s *Socket) InRoom(room string) bool { return slices.Contains(s.host.index.Rooms(s), room) }

// Rooms gives the rooms of the socket but its own, those of barriers left out, sorted.
func (s *Socket) Rooms() []string {
	rooms := slices.DeleteFunc(s.host.index.Rooms(s), func(r string) bool {
		return r == s.id || strings.HasPrefix(r, barrierEvent)
	})
	slices.Sort(rooms)
	return rooms
}

func (s *Socket) deliver(d *delivery) {
	s.mu.Lock()
	s.got = append(s.got, d.what)
	answer := s.answer
	s.mu.Unlock()
	if d.ack == nil || answer == nil {
		return
	}
	s.host.work.Go(func() { // answers come from another goroutine, as those of connections do
		d.answered(s, answer(d.what.Args))
	})
}

// delivery implements adapter.Delivery.
type delivery struct {
	what Received
	ack  func(m adapter.Member, args []parser.Arg)

	mu      sync.Mutex
	stopped bool
	done    map[*Socket]bool
}

// Deliver implements adapter.Delivery.
func (d *delivery) Deliver(m adapter.Member) { m.(*Socket).deliver(d) }

func (d *delivery) answered(s *Socket, args []parser.Arg) {
	d.mu.Lock()
	late := d.stopped || d.done[s]
	d.done[s] = true
	d.mu.Unlock()
	if !late {
		d.ack(s, args)
	}
}

// Name implements adapter.Host.
func (h *Host) Name() string { return h.name }

// Index implements adapter.Host.
func (h *Host) Index() *adapter.Index { return h.index }

// Prepare implements adapter.Host.
func (h *Host) Prepare(
	p *parser.Packet, f adapter.Flags, ack func(adapter.Member, []parser.Arg),
) (adapter.Delivery, func(), error) {
	args, err := plain(p.Args)
	if err != nil {
		return nil, nil, err
	}
	d := &delivery{what: Received{p.Event, args, f}, ack: ack, done: map[*Socket]bool{}}
	return d, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.stopped = true
	}, nil
}

// Describe implements adapter.Host.
func (h *Host) Describe(m adapter.Member) adapter.Remote {
	s := m.(*Socket)
	s.mu.Lock()
	defer s.mu.Unlock()
	r := adapter.Remote{ID: s.id, Handshake: s.handshake, Rooms: h.index.Rooms(m)}
	if s.data != nil {
		r.Data = parser.Value(s.data)
	}
	return r
}

// Command implements adapter.Host.
func (h *Host) Command(m adapter.Member, c adapter.Command) {
	s := m.(*Socket)
	s.mu.Lock()
	s.orders = append(s.orders, c)
	s.mu.Unlock()
	switch {
	case c.Disconnect:
		h.index.Remove(m)
	case len(c.Join) > 0:
		_ = h.index.Join(m, c.Join...) // the index has no bound
	default:
		h.index.Leave(m, c.Leave...)
	}
}

// Listen makes the namespace take an event of other servers, and answer where ok.
func (h *Host) Listen(event string, f func(args []any) (answer []parser.Arg, ok bool)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.listeners[event] = f
}

// ServerSide implements adapter.Host.
func (h *Host) ServerSide(event string, args []parser.Arg, answer func(args []parser.Arg)) {
	values, err := plain(args)
	if err != nil {
		h.Fault(err)
		return
	}
	h.mu.Lock()
	h.events = append(h.events, Received{Event: event, Args: values})
	f := h.listeners[event]
	h.mu.Unlock()
	if f == nil {
		return
	}
	if reply, ok := f(values); ok && answer != nil {
		h.work.Go(func() { answer(reply) })
	}
}

// Events gives the events of other servers so far.
func (h *Host) Events() []Received {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.events)
}

// Fault implements adapter.Host.
func (h *Host) Fault(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.faults = append(h.faults, err)
}

// Faults gives what was reported by Fault.
func (h *Host) Faults() []error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.faults)
}

// RoomEvents gives the events of the index so far.
func (h *Host) RoomEvents() []adapter.RoomEvent {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.rooms)
}

// plain gives the values of arguments.
func plain(args []parser.Arg) ([]any, error) {
	values := make([]any, len(args))
	for i, a := range args {
		v, err := a.Any()
		if err != nil {
			return nil, err
		}
		values[i] = v
	}
	return values, nil
}

// values gives arguments for plain values.
func values(vs ...any) []parser.Arg {
	args := make([]parser.Arg, len(vs))
	for i, v := range vs {
		args[i] = parser.Value(v)
	}
	return args
}
