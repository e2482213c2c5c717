package sockeye

import (
	"context"
	"sync"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/engineio"
	"github.com/sockeye-io/sockeye/parser"
)

// host is a Namespace as its adapter sees it.
type host Namespace

var _ adapter.Host = (*host)(nil)

// Name implements adapter.Host.
func (h *host) Name() string { return h.name }

// Index implements adapter.Host.
func (h *host) Index() *adapter.Index { return h.index }

// Prepare implements adapter.Host. The packet is encoded here, so that Deliver, which is called under the
// index's lock, runs no function of the application.
func (h *host) Prepare(
	p *parser.Packet, f adapter.Flags, ack func(m adapter.Member, args []parser.Arg),
) (adapter.Delivery, func(), error) {
	d := &delivery{packet: *p, o: engineio.SendOptions{Volatile: f.Volatile, NoCompress: f.NoCompress}}
	d.packet.Namespace = h.name
	d.count = h.srv.counters.broadcastCounts()
	d.watched = h.srv.watchesSent()
	stop := func() {}
	if ack != nil {
		d.packet.ID, d.packet.HasID = h.ackID.Add(1)-1, true
		d.sink = &question{ack}
		stop = d.stop
	}
	if err := d.encode(h.srv); err != nil {
		return nil, nil, err
	}
	return d, stop, nil
}

// delivery is one encoded packet.
type delivery struct {
	packet parser.Packet
	o      engineio.SendOptions
	v5, v4 []*engineio.Prepared
	sink   ackSink // nil without acknowledgement
	count  *countShard

	watched bool // whether somebody observes what is sent

	mu    sync.Mutex
	asked []*Socket // with acknowledgement: those that have it pending
}

func (d *delivery) encode(s *Server) error {
	f, err := s.cfg.Parser.Encode(&d.packet, 5)
	if err != nil {
		return err
	}
	d.v5 = prepare(f)
	if !s.cfg.AllowEIO3 {
		return nil
	}
	if s.sameCodec {
		d.v4 = d.v5
		return nil
	}
	if f, err = s.cfg.Parser.Encode(&d.packet, 4); err != nil {
		return err
	}
	d.v4 = prepare(f)
	return nil
}

// Deliver implements adapter.Delivery. A queue that is full has closed the connection, or what its policy says.
func (d *delivery) Deliver(m adapter.Member) {
	s := socketOf(m)
	if s.gone.Load() {
		return
	}
	if d.sink != nil && !d.ask(s) {
		return
	}
	if !s.connected.Load() && s.hold(d) {
		return
	}
	d.send(s)
	if e := s.more.Load(); d.watched || e != nil && len(e.outgoing.All()) > 0 {
		s.pushOutgoing(&d.packet)
	}
}

func (d *delivery) send(s *Socket) {
	ps := d.v5
	if s.conn.v4 {
		ps = d.v4
	}
	if s.conn.eng.SendPrepared(d.o, ps...) == nil { // the connection itself sees to errors
		d.count.eventsOut.Add(1)
	}
}

// maxHeld bounds what is held for one socket, which is in the index for a moment before its client is told.
const maxHeld = 1024

// hold keeps a delivery until the client has been told that it is connected. It is false if it has been.
func (s *Socket) hold(d *delivery) bool {
	e := s.extra()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.connected.Load() {
		return false
	}
	if len(e.held) < maxHeld && !d.o.Volatile {
		e.held = append(e.held, d)
	}
	return true
}

// ask makes s expect the acknowledgement. A socket with too many pending ones is not asked.
func (d *delivery) ask(s *Socket) bool {
	if s.expect(d.packet.ID, d.sink) != nil {
		return false
	}
	d.mu.Lock()
	d.asked = append(d.asked, s)
	d.mu.Unlock()
	return true
}

// stop forgets what is still pending.
func (d *delivery) stop() {
	d.mu.Lock()
	asked := d.asked
	d.asked = nil
	d.mu.Unlock()
	for _, s := range asked {
		s.take(d.packet.ID)
	}
}

// Describe implements adapter.Host.
func (h *host) Describe(m adapter.Member) adapter.Remote {
	s := socketOf(m)
	return adapter.Remote{ID: s.id, Handshake: s.Handshake().wire(), Rooms: s.Rooms(), Data: s.describe()}
}

// Command implements adapter.Host.
func (h *host) Command(m adapter.Member, c adapter.Command) {
	s := socketOf(m)
	var err error
	switch {
	case c.Disconnect:
		err = s.Disconnect(c.CloseConn)
	case len(c.Leave) > 0:
		err = s.Leave(c.Leave...)
	default:
		err = s.Join(c.Join...)
	}
	if err != nil && !s.gone.Load() {
		h.srv.report((*socketContext)(s), err)
	}
}

// Fault implements adapter.Host.
func (h *host) Fault(err error) { h.srv.report(context.Background(), err) }

// failedAdapter is that of a namespace which could not be opened.
type failedAdapter struct{ err error }

var _ adapter.Adapter = failedAdapter{}

func (a failedAdapter) Broadcast(context.Context, *parser.Packet, adapter.Options) error {
	return a.err
}

func (a failedAdapter) BroadcastWithAck(
	context.Context, *parser.Packet, adapter.Options, func(adapter.Answer),
) error {
	return a.err
}

func (a failedAdapter) Fetch(context.Context, adapter.Options) ([]adapter.Remote, error) {
	return nil, a.err
}

func (a failedAdapter) Count(context.Context, adapter.Options) (int, error) { return 0, a.err }

func (a failedAdapter) Command(context.Context, adapter.Command, adapter.Options) error { return a.err }

func (a failedAdapter) ServerSide(context.Context, *parser.Packet, func(adapter.Answer)) error {
	return a.err
}

func (a failedAdapter) Close() error { return nil }
