package sockeye

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
// Node: socket.io/lib/broadcast-operator.ts BroadcastOperator
type Broadcast struct {
	nsp           *Namespace
	rooms, except []string
	flags         adapter.Flags
}

// To selects the sockets in any of rooms, added to those selected before. Without any room at all every
// socket is selected. A socket is in a room of its own id.
//
// Node: socket.io/lib/broadcast-operator.ts to
func (b Broadcast) To(rooms ...string) Broadcast {
	b.rooms = slices.Concat(b.rooms, rooms)
	return b
}

// Except leaves out the sockets in any of rooms.
//
// Node: socket.io/lib/broadcast-operator.ts except
func (b Broadcast) Except(rooms ...string) Broadcast {
	b.except = slices.Concat(b.except, rooms)
	return b
}

// Volatile drops the event for sockets whose transport cannot take it at once.
//
// Node: socket.io/lib/broadcast-operator.ts volatile
func (b Broadcast) Volatile() Broadcast {
	b.flags.Volatile = true
	return b
}

// Local selects sockets of this server only.
//
// Node: socket.io/lib/broadcast-operator.ts local
func (b Broadcast) Local() Broadcast {
	b.flags.Local = true
	return b
}

// Compress tells whether the event is compressed, where compression is switched on.
//
// Node: socket.io/lib/broadcast-operator.ts compress
func (b Broadcast) Compress(on bool) Broadcast {
	b.flags.NoCompress = !on
	return b
}

// Emit sends an event to the selected sockets. Those of this server have it queued when it returns; a client
// that does not read is no error here. It does not wait for other servers; their state is told by
// Server.Health. Errors: ErrReservedEvent, those of encoding, and of a closed adapter.
//
// Node: socket.io/lib/broadcast-operator.ts emit
func (b Broadcast) Emit(event string, args ...any) error {
	return b.EmitContext(quiet, event, args...)
}

// EmitContext is Emit that waits until the adapter has accepted the event.
//
// Node: socket.io/lib/broadcast-operator.ts emit
func (b Broadcast) EmitContext(ctx context.Context, event string, args ...any) error {
	if err := checkEvent(event); err != nil {
		return err
	}
	if b.nsp.srv.watchers.Load() == nil {
		return b.nsp.adapter.Broadcast(ctx, b.packet(event, args), b.options())
	}
	done := b.nsp.broadcasting(ctx, event)
	err := b.nsp.adapter.Broadcast(ctx, b.packet(event, args), b.options())
	done.end(ctx, b.nsp.srv, err)
	return err
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

// FetchSockets describes the selected sockets. When ctx ends, or where it has no deadline the adapter's timeout, before
// all servers have answered, or one of them is gone, it gives what came with an *adapter.Incomplete, which names who is
// missing.
//
// Node: socket.io/lib/broadcast-operator.ts fetchSockets
func (b Broadcast) FetchSockets(ctx context.Context) ([]*RemoteSocket, error) {
	found, err := b.nsp.adapter.Fetch(ctx, b.options())
	sockets := make([]*RemoteSocket, len(found))
	for i := range found {
		sockets[i] = newRemote(b.nsp, &found[i])
	}
	return sockets, err
}

// Count counts the selected sockets, as cheaply as the adapter can: with Redis and no Node server only numbers travel.
// Errors are those of FetchSockets.
//
// Differs from Node: there is no such method.
func (b Broadcast) Count(ctx context.Context) (int, error) {
	return b.nsp.adapter.Count(ctx, b.options())
}

// Rooms gives the rooms that the selected sockets have joined, on all servers, and how many of these sockets are in each.
// Only names and numbers travel where Count needs only numbers. Errors are those of FetchSockets, with what came.
//
// Differs from Node: there the adapter's allRooms gives names alone, those of the sockets' ids among them, which are left
// out here.
//
// Node: socket.io-adapter/lib/in-memory-adapter.ts rooms
func (b Broadcast) Rooms(ctx context.Context) (map[string]int, error) {
	if b.nsp.lister != nil {
		return b.nsp.lister.Rooms(ctx, b.options())
	}
	sockets, err := b.nsp.adapter.Fetch(ctx, b.options())
	return adapter.SizesOf(sockets), err
}

// Join puts the selected sockets into rooms. Those of this server are in when it returns; one that would be in
// too many rooms is reported to the error hook of its server.
//
// Node: socket.io/lib/broadcast-operator.ts socketsJoin
func (b Broadcast) Join(ctx context.Context, rooms ...string) error {
	for _, r := range rooms {
		if len(r) > maxRoomName {
			return ErrRoomName
		}
	}
	return b.command(ctx, adapter.Command{Join: rooms}, len(rooms))
}

// Leave takes the selected sockets out of rooms.
//
// Node: socket.io/lib/broadcast-operator.ts socketsLeave
func (b Broadcast) Leave(ctx context.Context, rooms ...string) error {
	return b.command(ctx, adapter.Command{Leave: rooms}, len(rooms))
}

func (b Broadcast) command(ctx context.Context, c adapter.Command, rooms int) error {
	if rooms == 0 {
		return nil
	}
	return b.nsp.adapter.Command(ctx, c, b.options())
}

// Disconnect disconnects the selected sockets, with closeConn their connections too.
//
// Node: socket.io/lib/broadcast-operator.ts disconnectSockets
func (b Broadcast) Disconnect(ctx context.Context, closeConn bool) error {
	return b.nsp.adapter.Command(ctx, adapter.Command{Disconnect: true, CloseConn: closeConn}, b.options())
}

// Broadcast selects every socket of the namespace but this one.
//
// Node: socket.io/lib/socket.ts broadcast
func (s *Socket) Broadcast() Broadcast {
	return Broadcast{nsp: s.nsp, except: []string{s.id}}
}

// To selects the sockets in any of rooms but this one.
//
// Node: socket.io/lib/socket.ts to
func (s *Socket) To(rooms ...string) Broadcast { return s.Broadcast().To(rooms...) }

// Except selects the sockets that are in none of rooms but this one.
//
// Node: socket.io/lib/socket.ts except
func (s *Socket) Except(rooms ...string) Broadcast { return s.Broadcast().Except(rooms...) }
