// Package adapter holds what a namespace needs to find its sockets by room, on one server and in a
// cluster: the room index, the adapter that keeps everything in memory, and the contract for those
// that speak to other servers.
//
// Not in this package: connections and packets' encodings (parser), the wire formats of Redis
// (redisadapter).
package adapter

import (
	"context"
	"fmt"

	"github.com/sockeye-io/sockeye/parser"
)

// Cluster makes the adapters of a server. It is started with the server and closed with it.
type Cluster interface {
	// Start connects. A store that cannot be reached before ctx ends is an error.
	Start(ctx context.Context) error

	// Open makes the adapter of one namespace; ErrOpen if there is one of that name. When it returns, what other
	// servers send reaches it.
	Open(h Host) (Adapter, error)

	// Health is nil, or what is degraded.
	Health() error

	Close() error
}

// Adapter carries what one namespace says to its sockets, here and on the other servers. Its methods
// are safe for concurrent use.
type Adapter interface {
	// Broadcast delivers p to the sockets that o selects. Local delivery is done when it returns and
	// does not wait for other servers. The context bounds the hand-over to the cluster's store: with
	// context.Background() nothing is waited for and errors of the store go to Health.
	Broadcast(ctx context.Context, p *parser.Packet, o Options) error

	// BroadcastWithAck delivers p, which has no ID yet, to the sockets that o selects and calls each
	// for every acknowledgement, one call at a time. It returns when all have answered, or with an
	// *Incomplete when ctx ends.
	BroadcastWithAck(ctx context.Context, p *parser.Packet, o Options, each func(Answer)) error

	// Fetch describes the sockets that o selects, those of this server first. When ctx ends it returns
	// what came with an *Incomplete.
	Fetch(ctx context.Context, o Options) ([]Remote, error)

	// Count counts the sockets that o selects; like Fetch.
	Count(ctx context.Context, o Options) (int, error)

	// Command makes the sockets that o selects join, leave or disconnect. Those of this server have done so
	// when it returns.
	Command(ctx context.Context, c Command, o Options) error

	// ServerSide sends p to the other servers. With each, it waits for one answer of every one of them,
	// calls each for every answer, one call at a time, and returns with an *Incomplete when ctx ends.
	ServerSide(ctx context.Context, p *parser.Packet, each func(Answer)) error

	Close() error
}

// Host is the namespace of an adapter. Its methods are safe for concurrent use and do not block.
type Host interface {
	// Name is the name of the namespace.
	Name() string

	// Index finds the sockets of this server.
	Index() *Index

	// Prepare encodes p once, for Delivery to any number of members. With ack, each delivery expects
	// an acknowledgement under one new ID, and ack is called once for each member that answers; stop
	// makes the host forget the ID.
	Prepare(p *parser.Packet, f Flags, ack func(m Member, args []parser.Arg)) (d Delivery, stop func(), err error)

	// Describe is what other servers learn of a member.
	Describe(m Member) Remote

	// Command makes m join, leave or disconnect.
	Command(m Member, c Command)

	// ServerSide tells the namespace's listeners of an event from another server. answer is nil where no
	// answer is wanted, and may be called once, at any time.
	ServerSide(event string, args []parser.Arg, answer func(args []parser.Arg))

	// Fault reports something odd that the adapter met and survived: a malformed message, a gap.
	Fault(err error)
}

// Delivery is one encoded packet.
type Delivery interface {
	// Deliver queues the packet for m. It never blocks and allocates nothing per member in the common case.
	// It may remove m from the index and persist its session, where its queue is full, but must not call other
	// methods of the adapter, nor anything that may: with recovery on it is called under the adapter's lock.
	Deliver(m Member)
}

// Member is a socket as its adapter sees it.
type Member interface {
	// ID is unique in a namespace. It must not change while the index knows the member: who takes over the id of
	// a restored session is removed before and added again.
	ID() string
}

// Options select sockets: those in any of Rooms, or all where there is none, but those in any of Except.
// A socket is in a room of its own id. They must not change after they are given.
type Options struct {
	Rooms, Except []string
	Flags         Flags
}

// Flags modify a broadcast.
type Flags struct {
	Volatile   bool // drop for sockets that are not writable at the moment
	NoCompress bool
	Local      bool // only the sockets of this server
	Single     bool // with acknowledgement: one socket is meant (Node: expectSingleResponse)
}

// Command is an order to sockets: exactly one field is set.
type Command struct {
	Join, Leave []string
	Disconnect  bool
	CloseConn   bool // with Disconnect: the connection too, not only the namespace
}

// Answer is one answer to a question that went to several sockets or servers.
type Answer struct {
	Server string // id of the server; "" where it did not say
	Socket string // id of the socket; "" where its server did not say, and for answers of servers
	Args   []parser.Arg
}

// Remote describes a socket on any server.
type Remote struct {
	ID        string
	Handshake Handshake
	Rooms     []string
	Data      parser.Arg // zero where there is none
	Server    string     // id of its server; "" where unknown
}

// Handshake is what the cluster knows of a socket's handshake. Node: socket.io/lib/socket-types.ts Handshake.
type Handshake struct {
	Headers map[string][]string
	Query   map[string]string
	Auth    parser.Arg
	Address string
	URL     string
	Issued  int64  // milliseconds since the Unix epoch
	Time    string // as JavaScript prints a date
	Secure  bool
	XDomain bool
}

// Incomplete tells that a question was not answered by all in time. Of a broadcast with acknowledgement,
// Expected counts the sockets of the servers that said how many they asked.
//
//nolint:errname // it reads as what it tells
type Incomplete struct {
	Expected, Received int
	MissingSockets     []string // of this server, in order
	MissingServers     []string // ids of those that did not answer, or left before their sockets did, where known; in order
	SilentServers      int      // further servers that did not answer, and whose ids are not known

	// Err is why it stopped waiting: the cause of the context, ErrClosed, ErrSocketLeft or ErrServerLeft.
	Err error
}

// Error gives the numbers and the reason.
func (e *Incomplete) Error() string {
	servers := ""
	if n := len(e.MissingServers) + e.SilentServers; n > 0 {
		servers = fmt.Sprintf(", %d servers silent", n)
	}
	return fmt.Sprintf("adapter: %d of %d answers received%s: %v", e.Received, e.Expected, servers, e.Err)
}

// Unwrap gives Err.
func (e *Incomplete) Unwrap() error { return e.Err }
