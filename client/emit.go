package client

import (
	"context"
	"errors"
	"slices"

	"github.com/sockeye-io/sockeye/engineio"
	"github.com/sockeye-io/sockeye/internal/event"
	"github.com/sockeye-io/sockeye/parser"
)

// maxAcks bounds the pending acknowledgements of a socket.
const maxAcks = 10_000

var sendPlain = engineio.SendOptions{}

// outbound is an event, encoded.
type outbound struct {
	frames []*engineio.Prepared
	bytes  int
	id     uint64
	acked  bool // wants an acknowledgement
	plain  bool // not to be compressed
}

// forced is how an event is sent beyond the bounds of the queue.
func (o *outbound) forced() engineio.SendOptions {
	return engineio.SendOptions{Force: true, NoCompress: o.plain}
}

// Emit sends an event. It never blocks. While the socket is not connected the event is kept, within Config.Queue, and
// sent when it is. Byte slices, wherever they are in args, are sent as binary.
// Errors: ErrQueueFull, ErrReservedEvent, ErrClosed once the Manager is closed, and those of encoding.
//
// Protocol: socket.io v5, "Sending and receiving data"
func (s *Socket) Emit(event string, args ...any) error { return Sender{s: s}.Emit(event, args...) }

// EmitContext is Emit that waits until there is room in the queue. Further errors: the cause of ctx.
//
// Differs from Node: emits never wait there.
func (s *Socket) EmitContext(ctx context.Context, event string, args ...any) error {
	return Sender{s: s}.EmitContext(ctx, event, args...)
}

// Volatile gives a Sender whose events are dropped unless the socket is connected and the transport can take them at
// once.
//
// Node: socket.io-client/lib/socket.ts volatile
func (s *Socket) Volatile() Sender { return Sender{s: s, volatile: true} }

// Compress gives a Sender whose events are compressed, where Config.PerMessageDeflate is set, or not.
//
// Node: socket.io-client/lib/socket.ts compress
func (s *Socket) Compress(on bool) Sender { return Sender{s: s}.Compress(on) }

// Sender is a socket with flags set. It is an immutable value.
//
// Node: socket.io-client/lib/socket.ts flags
type Sender struct {
	s        *Socket
	volatile bool
	plain    bool
}

// Volatile is Socket.Volatile beside the flags that are set already.
//
// Node: socket.io-client/lib/socket.ts volatile
func (d Sender) Volatile() Sender {
	d.volatile = true
	return d
}

// Compress is Socket.Compress beside the flags that are set already.
//
// Node: socket.io-client/lib/socket.ts compress
func (d Sender) Compress(on bool) Sender {
	d.plain = !on
	return d
}

// Emit is Socket.Emit with the flags. A volatile event that is dropped is no error.
//
// Protocol: socket.io v5, "Sending and receiving data"
func (d Sender) Emit(event string, args ...any) error {
	_, err := d.emit(event, args)
	return err
}

// EmitContext is Socket.EmitContext with the flags.
//
// Differs from Node: emits never wait there.
func (d Sender) EmitContext(ctx context.Context, event string, args ...any) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	try, err := d.emit(event, args)
	for errors.Is(err, ErrQueueFull) {
		r := d.s.room() // before the next try, so that nothing becomes free unseen after it
		if err = try(); errors.Is(err, ErrQueueFull) {
			if err := r.wait(ctx); err != nil {
				return err
			}
		}
	}
	return err
}

// emit sends an event. try is to do so again where the queue was full.
func (d Sender) emit(name string, args []any) (try func() error, err error) {
	s := d.s
	if parser.Reserved(name) {
		return nil, ErrReservedEvent
	}
	s.tellOutgoing(name, args)
	if s.m.cfg.Retries > 0 && !d.volatile {
		r, err := s.reliable(name, args)
		if err != nil {
			return nil, err
		}
		r.plain = d.plain
		try = func() error { return s.enqueue(r) }
		return try, try()
	}
	o, err := s.encode(name, args, false)
	if err != nil {
		return nil, err
	}
	o.plain = d.plain
	try = func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.put(o, d.volatile)
	}
	return try, try()
}

// tellOutgoing calls the functions of OnAnyOutgoing.
func (s *Socket) tellOutgoing(name string, args []any) {
	tell(s.m, "outgoing listener", &s.outgoing, func(f func(string, []any)) { f(name, args) })
}

// encode makes the messages of an event.
func (s *Socket) encode(name string, args []any, acked bool) (*outbound, error) {
	o := &outbound{acked: acked}
	if acked {
		o.id = s.ids.Add(1) - 1
	}
	var err error
	o.frames, o.bytes, err = s.m.encode(&parser.Packet{
		Type: parser.Event, Namespace: s.name, ID: o.id, HasID: acked, Event: name, Args: event.AppendArgs(nil, args),
	})
	return o, err
}

// put sends an event, or keeps it for the next connection. s.mu is held.
//
// Differs from Node: a volatile event is not kept.
func (s *Socket) put(o *outbound, volatile bool) error {
	if s.m.ctx.Err() != nil {
		return ErrClosed
	}
	if s.sess != nil {
		err := s.link.conn.SendPrepared(engineio.SendOptions{Volatile: volatile, NoCompress: o.plain}, o.frames...)
		if volatile || !errors.Is(err, engineio.ErrClosed) { // else the socket will be told soon
			if err = sendError(err); volatile && errors.Is(err, ErrClosed) {
				return nil
			}
			return err
		}
	}
	if volatile {
		return nil
	}
	q := &s.m.cfg.Queue
	if n := len(s.buffer); n > 0 && (n >= q.MaxPackets || s.bytes+o.bytes > q.MaxBytes) {
		return ErrQueueFull
	}
	s.buffer = append(s.buffer, o)
	s.bytes += o.bytes
	return nil
}

// flush sends what was kept, beyond the bounds of the connection's queue. s.mu is held, the socket is connected.
func (s *Socket) flush() {
	for len(s.buffer) > 0 {
		o := s.buffer[0]
		if err := s.link.conn.SendPrepared(o.forced(), o.frames...); err != nil {
			return // it has ended: the rest is for the next one
		}
		s.bytes -= o.bytes
		s.buffer[0] = nil
		s.buffer = s.buffer[1:]
	}
	s.buffer = nil
	s.drain()
}

// room is how to wait for room in the queue of a socket.
type room struct {
	s       *Socket
	changed <-chan struct{}
	conn    *engineio.Conn // nil where the queue is not that of the connection
}

func (s *Socket) room() room {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := room{s: s, changed: s.change()}
	if s.sess != nil && s.m.cfg.Retries == 0 {
		r.conn = s.link.conn
	}
	return r
}

// wait waits until there may be room that was not there when r was made.
func (r room) wait(ctx context.Context) error {
	if r.conn != nil {
		bytes, _ := r.conn.Buffered()
		err := r.conn.WaitBuffered(ctx, bytes/2)
		if !errors.Is(err, engineio.ErrClosed) {
			return err
		}
	}
	select {
	case <-r.changed:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-r.s.m.ctx.Done():
		return ErrClosed
	}
}

// sink waits for an acknowledgement. Its methods must not block and are called without locks.
type sink interface {
	answered(args []parser.Arg)
	ended(reason Reason)
}

// asker is an EmitWithAck.
type asker chan result

type result struct {
	args []parser.Arg
	err  error
}

func (a asker) answered(args []parser.Arg) { a <- result{args: args} } // of one element, sent once
func (a asker) ended(r Reason)             { a <- result{err: r} }

// EmitWithAck sends an event and waits for its acknowledgement, at most until ctx ends or, where it has no deadline,
// for Config.AckTimeout. While the socket is not connected the event is kept as by Emit; it is not sent any more when
// the wait is over. With Config.Retries only ctx bounds the wait as a whole. It may be called by a handler of the same
// socket. Errors: those of Emit, ErrTooManyAcks, and *[AckError].
//
// Protocol: socket.io v5, "Acknowledgement"
func (s *Socket) EmitWithAck(ctx context.Context, event string, args ...any) (Reply, error) {
	a, err := s.Ask(event, args...)
	if err != nil {
		return Reply{}, err
	}
	if _, bounded := ctx.Deadline(); !bounded && s.m.cfg.AckTimeout > 0 && s.m.cfg.Retries == 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.m.cfg.AckTimeout)
		defer cancel()
	}
	return a.Wait(ctx)
}

func newReply(s *Socket, args []parser.Arg) Reply { return event.NewReply(s.ID(), "", args) }

// sendAsking sends an event whose acknowledgement goes to a. forget ends the wait; it is false when a is told of the end
// at this moment.
func (s *Socket) sendAsking(name string, args []any, a asker) (forget func() (mine bool), err error) {
	if s.m.cfg.Retries > 0 {
		r, err := s.reliable(name, args)
		if err != nil {
			return nil, err
		}
		r.asker = a
		return func() bool { return s.giveUp(r) }, s.enqueue(r)
	}
	o, err := s.encode(name, args, true)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.acks) >= maxAcks {
		return nil, ErrTooManyAcks
	}
	if err := s.put(o, false); err != nil {
		return nil, err
	}
	s.expect(o.id, a)
	return func() bool { return s.forget(o) }, nil
}

// expect registers who waits for an acknowledgement. s.mu is held.
func (s *Socket) expect(id uint64, k sink) {
	if s.acks == nil {
		s.acks = make(map[uint64]sink)
	}
	s.acks[id] = k
}

// forget ends the wait for an acknowledgement. It is false when it has ended already: who took it out of s.acks tells.
func (s *Socket) forget(o *outbound) (mine bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, mine = s.acks[o.id]
	delete(s.acks, o.id)
	if i := slices.Index(s.buffer, o); i >= 0 {
		s.buffer = slices.Delete(s.buffer, i, i+1)
		s.bytes -= o.bytes
		s.notify()
	}
	return mine
}

// acknowledged is an ACK. One that nobody waits for (any more) is ignored.
func (s *Socket) acknowledged(l *link, p *parser.Packet) {
	s.mu.Lock()
	k := s.acks[p.ID]
	if k == nil || s.link != l || !p.HasID {
		s.mu.Unlock()
		return
	}
	delete(s.acks, p.ID)
	s.mu.Unlock()
	k.answered(p.Args)
}

// failSent takes those who wait for acknowledgements of events that were sent. s.mu is held.
//
// Node: socket.io-client/lib/socket.ts _clearAcks
func (s *Socket) failSent() []sink {
	kept := make(map[uint64]sink)
	for _, o := range s.buffer {
		if k := s.acks[o.id]; o.acked && k != nil {
			kept[o.id] = k
			delete(s.acks, o.id)
		}
	}
	sinks := make([]sink, 0, len(s.acks))
	for _, k := range s.acks {
		sinks = append(sinks, k)
	}
	s.acks = kept
	return sinks
}
