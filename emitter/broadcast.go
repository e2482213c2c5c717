package emitter

import (
	"context"
	"slices"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/event"
	"github.com/sockeye-io/sockeye/parser"
)

// Broadcast selects sockets of a namespace, on all servers of the cluster, to send them an event or an order. It
// is an immutable value: each method gives a new one.
//
// Node: @socket.io/redis-emitter/lib/index.ts BroadcastOperator
type Broadcast struct {
	c             *core
	nsp           *namespace
	rooms, except []string
	flags         adapter.Flags
}

// To selects the sockets in any of rooms, added to those selected before. Without any room at all every
// socket is selected. A socket is in a room of its own id.
//
// Node: @socket.io/redis-emitter/lib/index.ts to
func (b Broadcast) To(rooms ...string) Broadcast {
	b.rooms = slices.Concat(b.rooms, rooms)
	return b
}

// Except leaves out the sockets in any of rooms. Servers around Socket.IO 2 know ids of sockets here, and no rooms.
//
// Node: @socket.io/redis-emitter/lib/index.ts except
func (b Broadcast) Except(rooms ...string) Broadcast {
	b.except = slices.Concat(b.except, rooms)
	return b
}

// Volatile drops the event for sockets whose transport cannot take it at once, and for all while Redis is known to be
// unavailable.
//
// Node: @socket.io/redis-emitter/lib/index.ts volatile
func (b Broadcast) Volatile() Broadcast {
	b.flags.Volatile = true
	return b
}

// Compress tells whether the event is compressed, where compression is switched on.
//
// Node: @socket.io/redis-emitter/lib/index.ts compress
func (b Broadcast) Compress(on bool) Broadcast {
	b.flags.NoCompress = !on
	return b
}

// Emit sends an event to the selected sockets. It never blocks: the event is queued, and published in order. While Redis
// is away the queue keeps it; where that is full the oldest are dropped and counted. Byte slices, wherever they are in
// args, are sent as binary. Errors: ErrReservedEvent, ErrNamespaceName, ErrClosed, and those of encoding.
//
// Node: @socket.io/redis-emitter/lib/index.ts emit
func (b Broadcast) Emit(event string, args ...any) error {
	return b.EmitContext(context.Background(), event, args...)
}

// EmitContext is Emit that waits until Redis has accepted the event, if ctx can end. Whether a server was there to get
// it is not known. Further errors: the cause of ctx, after which the event may still be published;
// redisadapter.ErrDropped; those that wrap redisadapter.ErrUnavailable.
//
// Node: @socket.io/redis-emitter/lib/index.ts emit
func (b Broadcast) EmitContext(ctx context.Context, event string, args ...any) error {
	if err := b.check(event); err != nil {
		return err
	}
	if b.flags.Volatile && b.c.away() {
		b.c.out.Skip()
		return nil
	}
	return b.c.format.broadcast(ctx, b.nsp, b.packet(event, args), b.options())
}

// EmitWithAck sends an event to the selected sockets and gives their acknowledgements, in the order of their
// arrival. It waits at most until ctx ends or, where that has no deadline, for RequestsTimeout. With an *AckError come
// the replies that arrived. Of sockets on Node servers only the first argument of each comes. Further errors are
// those of EmitContext.
//
// Differs from Node: its emitters cannot ask.
func (b Broadcast) EmitWithAck(ctx context.Context, event string, args ...any) (Replies, error) {
	if err := b.check(event); err != nil {
		return nil, err
	}
	var replies Replies
	q := question{kind: acks, nsp: b.nsp, packet: b.packet(event, args), options: b.options()}
	err := b.c.askSockets(ctx, &q, func(r adapter.Response) {
		replies = append(replies, newReply(r.Answer))
	})
	return replies, ackError(err)
}

// FetchSockets describes the selected sockets. It waits at most until ctx ends or, where that has no deadline, for
// RequestsTimeout. When not all servers have answered until then, it gives what came with an *adapter.Incomplete.
// Further errors: ErrNamespaceName, ErrClosed, and those that wrap redisadapter.ErrUnavailable.
//
// Differs from Node: its emitters cannot ask.
func (b Broadcast) FetchSockets(ctx context.Context) ([]*RemoteSocket, error) {
	sockets := []*RemoteSocket{}
	err := b.fetch(ctx, func(found []adapter.Remote) {
		for i := range found {
			sockets = append(sockets, newRemote(b, &found[i]))
		}
	})
	return sockets, err
}

// Count counts the selected sockets. Errors are those of FetchSockets.
//
// Differs from Node: there is no such method.
func (b Broadcast) Count(ctx context.Context) (int, error) {
	n := 0
	err := b.fetch(ctx, func(found []adapter.Remote) { n += len(found) })
	return n, err
}

func (b Broadcast) fetch(ctx context.Context, each func([]adapter.Remote)) error {
	if b.nsp.bad != nil {
		return b.nsp.bad
	}
	q := question{kind: sockets, nsp: b.nsp, options: b.options()}
	return b.c.askServers(ctx, &q, func(r adapter.Response) { each(r.Remotes) })
}

// Join puts the selected sockets into rooms. It waits until Redis has accepted that, if ctx can end, and not for the
// servers. Errors: ErrRoomName, and those of EmitContext.
//
// Node: @socket.io/redis-emitter/lib/index.ts socketsJoin
func (b Broadcast) Join(ctx context.Context, rooms ...string) error {
	for _, r := range rooms {
		if len(r) > maxRoomName {
			return ErrRoomName
		}
	}
	return b.command(ctx, adapter.Command{Join: rooms}, len(rooms))
}

// Leave takes the selected sockets out of rooms; see Join.
//
// Node: @socket.io/redis-emitter/lib/index.ts socketsLeave
func (b Broadcast) Leave(ctx context.Context, rooms ...string) error {
	return b.command(ctx, adapter.Command{Leave: rooms}, len(rooms))
}

// Disconnect disconnects the selected sockets, with closeConn their connections too; see Join.
//
// Node: @socket.io/redis-emitter/lib/index.ts disconnectSockets
func (b Broadcast) Disconnect(ctx context.Context, closeConn bool) error {
	return b.command(ctx, adapter.Command{Disconnect: true, CloseConn: closeConn}, 1)
}

func (b Broadcast) command(ctx context.Context, c adapter.Command, rooms int) error {
	switch {
	case b.nsp.bad != nil:
		return b.nsp.bad
	case rooms == 0:
		return nil
	}
	return b.c.format.command(ctx, b.nsp, c, b.options())
}

// check refuses what no server would take.
func (b Broadcast) check(event string) error {
	if parser.Reserved(event) {
		return ErrReservedEvent
	}
	return b.nsp.bad
}

// serverSide refuses the names of events that servers keep for themselves.
//
// Node: socket.io/lib/namespace.ts RESERVED_EVENTS
func (b Broadcast) serverSide(event string) error {
	switch event {
	case "connect", "connection", "new_namespace":
		return ErrReservedEvent
	}
	return b.nsp.bad
}

func (b Broadcast) packet(name string, args []any) *parser.Packet {
	return &parser.Packet{
		Type: parser.Event, Namespace: b.nsp.name, Event: name,
		Args: event.AppendArgs(make([]parser.Arg, 0, len(args)), args),
	}
}

func (b Broadcast) options() adapter.Options {
	return adapter.Options{Rooms: b.rooms, Except: b.except, Flags: b.flags}
}
