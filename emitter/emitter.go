package emitter

import (
	"context"
	"errors"
	"strings"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/event"
	"github.com/sockeye-io/sockeye/redisadapter"
)

// Errors of this package, to be tested for with errors.Is. While Redis does not accept messages, or the answers
// cannot come, errors wrap redisadapter.ErrUnavailable; where an emit that waits was dropped from the full queue, it is
// redisadapter.ErrDropped.
var (
	// ErrClosed is returned by methods of an emitter that was closed. It is that of redisadapter.
	ErrClosed = redisadapter.ErrClosed

	// ErrReservedEvent is returned for an event whose name only the protocol may use.
	//
	// Node: @socket.io/redis-emitter/lib/index.ts RESERVED_EVENTS
	ErrReservedEvent = errors.New("emitter: reserved event name")

	// ErrRoomName is returned by a Join of a room whose name is longer than 512 bytes.
	ErrRoomName = errors.New("emitter: room name too long")

	// ErrNamespaceName is returned for a namespace that no client could name: one longer than 256 bytes, or with
	// a comma or a control character in it.
	ErrNamespaceName = errors.New("emitter: invalid namespace name")
)

const (
	maxRoomName      = 512
	maxNamespaceName = 256
)

// Reply is one acknowledgement, or the answer of one server.
//
// Protocol: socket.io v5, "Acknowledgement"
type Reply = event.Reply

// Replies are the acknowledgements of several sockets, or the answers of several servers, in the order of their
// arrival.
//
// Protocol: socket.io v5, "Acknowledgement"
type Replies = event.Replies

// AckError reports who did not answer in time.
//
// Protocol: socket.io v5, "Acknowledgement"
type AckError = event.AckError

// Args is to be embedded in a struct: it makes the exported fields positional arguments.
//
// Protocol: socket.io v5, "Sending and receiving data"
type Args = event.Args

// Event is the name of an event that carries a T as its first argument, or, where T is a struct that embeds [Args], the
// fields of T as its arguments.
//
// Protocol: socket.io v5, "Sending and receiving data"
type Event[T any] = event.Event[T]

// Call is the name of an event that is answered: it carries a Req and is acknowledged with a Res.
//
// Protocol: socket.io v5, "Acknowledgement"
type Call[Req, Res any] = event.Call[Req, Res]

// Emitter speaks to one namespace: the main one at first, others by Of. All that come of one share its queue and its
// connections, and closing any of them closes all. Its methods are safe for concurrent use.
//
// Node: @socket.io/redis-emitter/lib/index.ts Emitter
type Emitter struct {
	c   *core
	all Broadcast
}

var (
	_ event.Target = (*Emitter)(nil)
	_ event.Target = Broadcast{}
	_ event.Target = (*RemoteSocket)(nil)
	_ event.Caller = (*RemoteSocket)(nil)
)

func newEmitter(c *core) *Emitter {
	return &Emitter{c: c, all: Broadcast{c: c, nsp: c.format.open("/")}}
}

// Of gives an emitter for a namespace, whose name may be given without its slash. An invalid name is
// ErrNamespaceName of every method. It is best kept where much is emitted.
//
// Differs from Node: the slash is added in all three formats.
//
// Node: @socket.io/redis-emitter/lib/index.ts of
func (e *Emitter) Of(nsp string) *Emitter {
	if !strings.HasPrefix(nsp, "/") {
		nsp = "/" + nsp
	}
	if len(nsp) > maxNamespaceName || strings.ContainsFunc(nsp, func(r rune) bool { return r < ' ' || r == 0x7f || r == ',' }) {
		return &Emitter{c: e.c, all: Broadcast{c: e.c, nsp: &namespace{name: nsp, bad: ErrNamespaceName}}}
	}
	return &Emitter{c: e.c, all: Broadcast{c: e.c, nsp: e.c.format.open(nsp)}}
}

// Name is the name of the namespace.
func (e *Emitter) Name() string { return e.all.nsp.name }

// All selects every socket of the namespace.
//
// Node: @socket.io/redis-emitter/lib/index.ts BroadcastOperator
func (e *Emitter) All() Broadcast { return e.all }

// To selects the sockets in any of rooms.
//
// Node: @socket.io/redis-emitter/lib/index.ts to
func (e *Emitter) To(rooms ...string) Broadcast { return e.all.To(rooms...) }

// Except selects the sockets that are in none of rooms.
//
// Node: @socket.io/redis-emitter/lib/index.ts except
func (e *Emitter) Except(rooms ...string) Broadcast { return e.all.Except(rooms...) }

// Volatile selects every socket, for events that are dropped where the transport cannot take them at once.
//
// Node: @socket.io/redis-emitter/lib/index.ts volatile
func (e *Emitter) Volatile() Broadcast { return e.all.Volatile() }

// Compress selects every socket, for events that are compressed, where that is switched on, or not.
//
// Node: @socket.io/redis-emitter/lib/index.ts compress
func (e *Emitter) Compress(on bool) Broadcast { return e.all.Compress(on) }

// Emit sends an event to every socket of the namespace; see Broadcast.Emit.
//
// Node: @socket.io/redis-emitter/lib/index.ts emit
func (e *Emitter) Emit(event string, args ...any) error { return e.all.Emit(event, args...) }

// EmitContext is Emit that waits until Redis has accepted the event.
//
// Node: @socket.io/redis-emitter/lib/index.ts emit
func (e *Emitter) EmitContext(ctx context.Context, event string, args ...any) error {
	return e.all.EmitContext(ctx, event, args...)
}

// EmitWithAck sends an event to every socket of the namespace and gives their acknowledgements; see
// Broadcast.EmitWithAck.
//
// Differs from Node: its emitters cannot ask.
func (e *Emitter) EmitWithAck(ctx context.Context, event string, args ...any) (Replies, error) {
	return e.all.EmitWithAck(ctx, event, args...)
}

// FetchSockets describes every socket of the namespace; see Broadcast.FetchSockets.
//
// Differs from Node: its emitters cannot ask.
func (e *Emitter) FetchSockets(ctx context.Context) ([]*RemoteSocket, error) {
	return e.all.FetchSockets(ctx)
}

// Count counts the sockets of the namespace; see Broadcast.Count.
//
// Differs from Node: there is no such method.
func (e *Emitter) Count(ctx context.Context) (int, error) { return e.all.Count(ctx) }

// Join puts every socket of the namespace into rooms; see Broadcast.Join.
//
// Node: @socket.io/redis-emitter/lib/index.ts socketsJoin
func (e *Emitter) Join(ctx context.Context, rooms ...string) error { return e.all.Join(ctx, rooms...) }

// Leave takes every socket of the namespace out of rooms; see Broadcast.Leave.
//
// Node: @socket.io/redis-emitter/lib/index.ts socketsLeave
func (e *Emitter) Leave(ctx context.Context, rooms ...string) error {
	return e.all.Leave(ctx, rooms...)
}

// Disconnect disconnects every socket of the namespace; see Broadcast.Disconnect.
//
// Node: @socket.io/redis-emitter/lib/index.ts disconnectSockets
func (e *Emitter) Disconnect(ctx context.Context, closeConn bool) error {
	return e.all.Disconnect(ctx, closeConn)
}

// ServerSideEmit sends an event to the servers themselves. It waits until Redis has accepted it, if ctx can end, and
// not for the servers. Errors: ErrReservedEvent, and those of Broadcast.EmitContext.
//
// Node: @socket.io/redis-emitter/lib/index.ts serverSideEmit
func (e *Emitter) ServerSideEmit(ctx context.Context, event string, args ...any) error {
	if err := e.all.serverSide(event); err != nil {
		return err
	}
	return e.c.format.serverSide(ctx, e.all.nsp, e.all.packet(event, args))
}

// ServerSideEmitWithAck sends an event to the servers themselves and gives the answer of each: of Node servers, and in
// the format of PubSub of all, the first argument. It waits at most until ctx ends or, where that has no deadline, for
// RequestsTimeout; then the replies that arrived come with an *AckError. A server without a listener does not answer.
//
// Differs from Node: its emitters cannot ask.
func (e *Emitter) ServerSideEmitWithAck(ctx context.Context, event string, args ...any) (Replies, error) {
	if err := e.all.serverSide(event); err != nil {
		return nil, err
	}
	var replies Replies
	q := question{kind: serverSide, packet: e.all.packet(event, args), nsp: e.all.nsp}
	err := e.c.askServers(ctx, &q, func(r adapter.Response) {
		replies = append(replies, newReply(r.Answer))
	})
	return replies, ackError(err)
}

// Health is nil, or an error that wraps redisadapter.ErrUnavailable while Redis does not accept messages or answers
// cannot come, or ErrClosed. An emitter that has published nothing yet knows of no fault.
func (e *Emitter) Health() error {
	if err := e.c.out.Health(); err != nil {
		return err
	}
	return e.c.format.accepting()
}

// Stats counts what was done so far, for all namespaces.
func (e *Emitter) Stats() redisadapter.Stats { return e.c.out.Stats() }

// Close publishes what is queued, within a second, ends what waits, and closes the driver. It may be called more than
// once.
func (e *Emitter) Close() error { return e.c.close() }

func newReply(a adapter.Answer) Reply { return event.NewReply(a.Socket, a.Server, a.Args) }

// ackError turns what the table of questions says into an AckError.
func ackError(err error) error {
	var inc *adapter.Incomplete
	if !errors.As(err, &inc) {
		return err
	}
	return &AckError{
		Expected: inc.Expected, Received: inc.Received,
		MissingSockets: inc.MissingSockets, MissingServers: inc.MissingServers, SilentServers: inc.SilentServers,
		Err: inc.Err,
	}
}
