package emitter

import (
	"context"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/parser"
)

// RemoteSocket describes a socket on a server of the cluster, as it was when it was fetched.
//
// Node: socket.io/lib/broadcast-operator.ts RemoteSocket
type RemoteSocket struct {
	ID        string
	Handshake adapter.Handshake
	Rooms     []string   // its own among them
	Data      parser.Arg // the zero Arg where there is none
	Server    string     // id of its server; "" where unknown

	self Broadcast
}

func newRemote(b Broadcast, r *adapter.Remote) *RemoteSocket {
	return &RemoteSocket{
		ID: r.ID, Handshake: r.Handshake, Rooms: r.Rooms, Data: r.Data, Server: r.Server,
		self: Broadcast{c: b.c, nsp: b.nsp, rooms: []string{r.ID}},
	}
}

// Emit sends an event to the socket; see Broadcast.Emit.
//
// Node: socket.io/lib/broadcast-operator.ts emit
func (r *RemoteSocket) Emit(event string, args ...any) error { return r.self.Emit(event, args...) }

// EmitContext is Emit that waits until Redis has accepted the event.
//
// Node: socket.io/lib/broadcast-operator.ts emit
func (r *RemoteSocket) EmitContext(ctx context.Context, event string, args ...any) error {
	return r.self.EmitContext(ctx, event, args...)
}

// EmitWithAck sends an event to the socket and waits for its acknowledgement; see Broadcast.EmitWithAck.
//
// Node: socket.io/lib/broadcast-operator.ts emitWithAck
func (r *RemoteSocket) EmitWithAck(ctx context.Context, event string, args ...any) (Reply, error) {
	one := r.self
	one.flags.Single = true
	replies, err := one.EmitWithAck(ctx, event, args...)
	if err == nil && len(replies) == 0 {
		err = &AckError{Expected: 1, MissingSockets: []string{r.ID}, Err: adapter.ErrSocketLeft}
	}
	if err != nil {
		return Reply{}, err
	}
	return replies[0], nil
}

// Join puts the socket into rooms; see Broadcast.Join.
//
// Node: socket.io/lib/broadcast-operator.ts join
func (r *RemoteSocket) Join(ctx context.Context, rooms ...string) error {
	return r.self.Join(ctx, rooms...)
}

// Leave takes the socket out of rooms; see Broadcast.Join.
//
// Node: socket.io/lib/broadcast-operator.ts leave
func (r *RemoteSocket) Leave(ctx context.Context, rooms ...string) error {
	return r.self.Leave(ctx, rooms...)
}

// Disconnect disconnects the socket, with closeConn its connection too; see Broadcast.Join.
//
// Node: socket.io/lib/broadcast-operator.ts disconnect
func (r *RemoteSocket) Disconnect(ctx context.Context, closeConn bool) error {
	return r.self.Disconnect(ctx, closeConn)
}
