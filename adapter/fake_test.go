package adapter

import (
	"sync"
	"testing"

	"github.com/sockeye-io/sockeye/parser"
)

// fakeHost is a namespace whose deliveries go to a function.
type fakeHost struct {
	name    string
	index   *Index
	deliver func(p *parser.Packet, m Member)

	mu      sync.Mutex
	acks    []func(m Member, args []parser.Arg) // of the packets that asked for it
	stopped int
	orders  []string
}

func newHost(name string) *fakeHost {
	return &fakeHost{name: name, index: NewIndex(0, nil), deliver: func(*parser.Packet, Member) {}}
}

type fakeDelivery struct {
	h *fakeHost
	p *parser.Packet
}

func (d fakeDelivery) Deliver(m Member) { d.h.deliver(d.p, m) }

func (h *fakeHost) Name() string  { return h.name }
func (h *fakeHost) Index() *Index { return h.index }
func (h *fakeHost) Fault(error)   {}

func (h *fakeHost) Prepare(p *parser.Packet, _ Flags, ack func(Member, []parser.Arg)) (Delivery, func(), error) {
	for _, a := range p.Args {
		if _, err := a.Any(); err != nil {
			return nil, nil, err
		}
	}
	if ack == nil {
		return fakeDelivery{h, p}, nil, nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.acks = append(h.acks, ack)
	return fakeDelivery{h, p}, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.stopped++
	}, nil
}

func (h *fakeHost) Describe(m Member) Remote { return Remote{ID: m.ID(), Rooms: h.index.Rooms(m)} }

func (h *fakeHost) Command(m Member, _ Command) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.orders = append(h.orders, m.ID())
}

func (h *fakeHost) ServerSide(string, []parser.Arg, func([]parser.Arg)) {}

// ack answers the question that was asked i-th.
func (h *fakeHost) ack(i int, m Member, args ...any) {
	h.mu.Lock()
	f := h.acks[i]
	h.mu.Unlock()
	f(m, argsOf(args...))
}

func argsOf(vs ...any) []parser.Arg {
	args := make([]parser.Arg, len(vs))
	for i, v := range vs {
		args[i] = parser.Value(v)
	}
	return args
}

func event(name string, vs ...any) *parser.Packet {
	return &parser.Packet{Type: parser.Event, Namespace: "/", Event: name, Args: argsOf(vs...)}
}

// text is an argument that must be a string.
func text(tb testing.TB, a parser.Arg) string {
	tb.Helper()
	var s string
	if err := a.Scan(&s); err != nil {
		tb.Errorf("argument: %v", err)
	}
	return s
}
