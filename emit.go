package sockeye

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/engineio"
	"github.com/sockeye-io/sockeye/internal/event"
	"github.com/sockeye-io/sockeye/parser"
)

// outgoing is a packet on its way to the encoder.
type outgoing struct {
	packet parser.Packet
	args   [4]parser.Arg
}

var outgoings = sync.Pool{New: func() any { return new(outgoing) }}

func (o *outgoing) free() {
	*o = outgoing{}
	outgoings.Put(o)
}

// checkEvent refuses the names that only the protocol may use.
func checkEvent(event string) error {
	if parser.Reserved(event) {
		return ErrReservedEvent
	}
	return nil
}

func newReply(socket string, args []parser.Arg) Reply { return event.NewReply(socket, "", args) }

func replyOf(a adapter.Answer) Reply { return event.NewReply(a.Socket, a.Server, a.Args) }

// Emit sends an event to the client. It never blocks. Byte slices, wherever they are in args, are sent as binary.
// Errors: ErrClosed, ErrQueueFull, ErrReservedEvent, and those of encoding.
//
// Protocol: socket.io v5, "Sending and receiving data"
func (s *Socket) Emit(event string, args ...any) error {
	return Sender{s: s}.Emit(event, args...)
}

// EmitContext is Emit that waits until there is room in the queue of the connection, each of several at the same time in
// its turn. Further errors: the cause of ctx. ErrQueueFull is left to where, with Config.Recovery, other emits take the
// room in the same moment. It must not be called by hooks of the transport.
//
// Differs from Node: emits never wait there.
func (s *Socket) EmitContext(ctx context.Context, event string, args ...any) error {
	return Sender{s: s}.EmitContext(ctx, event, args...)
}

// Volatile gives a Sender whose events are dropped unless the transport can take them at once.
//
// Node: socket.io/lib/socket.ts volatile
func (s *Socket) Volatile() Sender { return Sender{s: s}.Volatile() }

// Compress gives a Sender whose events are compressed, where that is switched on, or not.
//
// Node: socket.io/lib/socket.ts compress
func (s *Socket) Compress(on bool) Sender { return Sender{s: s}.Compress(on) }

// Sender is a socket with flags set. It is an immutable value.
//
// Node: socket.io/lib/socket.ts flags
type Sender struct {
	s     *Socket
	flags adapter.Flags
}

// Volatile drops events unless the transport can take them at once.
//
// Node: socket.io/lib/socket.ts volatile
func (d Sender) Volatile() Sender {
	d.flags.Volatile = true
	return d
}

// Compress tells whether events are compressed, where compression is switched on.
//
// Node: socket.io/lib/socket.ts compress
func (d Sender) Compress(on bool) Sender {
	d.flags.NoCompress = !on
	return d
}

// Emit is Socket.Emit with the flags. A volatile event that is dropped is no error.
//
// Protocol: socket.io v5, "Sending and receiving data"
func (d Sender) Emit(event string, args ...any) error { return d.send(event, args, false) }

// EmitContext is Socket.EmitContext with the flags.
//
// Differs from Node: emits never wait there.
func (d Sender) EmitContext(ctx context.Context, event string, args ...any) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if d.flags.Volatile {
		return d.Emit(event, args...)
	}
	c := d.s.conn
	leave, err := c.turn(ctx)
	if err != nil {
		return err
	}
	defer leave()
	size := 0
	if d.s.kept(false, d.flags) { // the adapter sends it, within the bounds
		if size, err = d.s.size(event, args); err != nil {
			return err
		}
	}
	switch err := c.eng.WaitRoom(ctx, size); {
	case errors.Is(err, engineio.ErrClosed):
		return ErrClosed
	case err != nil:
		return err
	}
	return d.send(event, args, true)
}

// send emits. With force the bounds of the queue do not hold.
func (d Sender) send(event string, args []any, force bool) error {
	if err := checkEvent(event); err != nil {
		return err
	}
	if d.s.gone.Load() {
		return ErrClosed
	}
	if !d.s.kept(false, d.flags) { // else it is told as broadcasts are
		d.s.outgoing(event, args)
	}
	return d.s.emit(event, args, emission{flags: d.flags, force: force})
}

// turn waits until no other EmitContext waits for room: what is free for one of them is not for all.
func (c *conn) turn(ctx context.Context) (leave func(), err error) {
	c.mu.Lock()
	if c.turns == nil {
		c.turns = make(chan struct{}, 1)
	}
	turns := c.turns
	c.mu.Unlock()
	select {
	case turns <- struct{}{}:
		return func() { <-turns }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// offsetSize is more than what an adapter adds to an event that it keeps, in bytes.
const offsetSize = 64

// size is how many bytes an event has in the queue, at most.
func (s *Socket) size(name string, args []any) (int, error) {
	frames, err := s.nsp.srv.cfg.Parser.Encode(&parser.Packet{
		Type: parser.Event, Namespace: s.nsp.name, Event: name, Args: event.AppendArgs(nil, args),
	}, s.conn.protocol())
	n := len(frames.Head) + offsetSize
	for _, b := range frames.Attachments {
		n += len(b)
	}
	return n, err
}

// kept tells whether the adapter keeps an event for recovery, and so sends it.
func (s *Socket) kept(ack bool, f adapter.Flags) bool {
	return s.nsp.srv.cfg.Recovery != nil && !ack && !f.Volatile && s.connected.Load()
}

// emission is how an event is sent.
type emission struct {
	flags adapter.Flags
	id    uint64
	ack   bool // id is that of an acknowledgement
	force bool // beyond the bounds of the queue
}

// emit encodes and queues an event for the client.
func (s *Socket) emit(name string, args []any, e emission) error {
	if s.kept(e.ack, e.flags) {
		// The adapter keeps it and adds the offset, as it does with broadcasts. Where it keeps it in a store, that
		// is no matter of this server alone.
		p := &parser.Packet{Type: parser.Event, Namespace: s.nsp.name, Event: name, Args: event.AppendArgs(nil, args)}
		return s.nsp.adapter.Broadcast(quiet, p, adapter.Options{Rooms: []string{s.id}, Flags: e.flags})
	}
	o := outgoings.Get().(*outgoing) //nolint:errcheck // of our own pool
	defer o.free()
	o.packet = parser.Packet{
		Type: parser.Event, Namespace: s.nsp.name, Event: name, ID: e.id, HasID: e.ack, Args: event.AppendArgs(o.args[:0], args),
	}
	frames, err := s.nsp.srv.cfg.Parser.Encode(&o.packet, s.conn.protocol())
	if err != nil {
		return err
	}
	send := engineio.SendOptions{Volatile: e.flags.Volatile, NoCompress: e.flags.NoCompress, Force: e.force}
	return s.inTurn(frames, send, &s.conn.counts().eventsOut)
}

// inTurn sends what is not a broadcast after the broadcasts that were made before, and counts it.
func (s *Socket) inTurn(frames parser.Frames, o engineio.SendOptions, sent *atomic.Uint64) error {
	if q := s.nsp.seq; q != nil && q.After(func() { _ = s.conn.sendCounted(frames, o, sent) }) {
		return nil // an error means that the connection ends
	}
	return s.conn.sendCounted(frames, o, sent)
}

// quiet is the context of emits that wait for nothing.
var quiet = context.Background()
