package adapter

import (
	"context"
	"errors"
	"time"

	"github.com/sockeye-io/sockeye/parser"
)

// ErrNotRecoverable is returned by Restore where the session is unknown or not everything since the offset is
// there.
var ErrNotRecoverable = errors.New("adapter: session cannot be recovered")

// RecoveryCluster is what a Cluster may implement to tell that its adapters can do connection state recovery. Where
// recovery is enabled they implement Recoverer.
type RecoveryCluster interface {
	Cluster

	// Recoverable tells whether EnableRecovery can succeed.
	Recoverable() bool

	// EnableRecovery switches recovery on. It must be called before Start and Open.
	EnableRecovery(o RecoveryOptions) error
}

// RecoveryOptions bound what is kept for recovery, for each namespace. A zero field means its default, a negative
// bound none.
type RecoveryOptions struct {
	// MaxDisconnection is how long a session can be recovered, and how long packets are kept; default 2 min.
	MaxDisconnection time.Duration

	// MaxSessions bounds the sessions that wait for their clients; default 100,000. The oldest makes room.
	MaxSessions int

	// MaxPackets and MaxBytes bound the packets that are kept; default 100,000 packets and 64 MiB of encoded
	// arguments. The oldest make room; who would need them is not recovered.
	MaxPackets int
	MaxBytes   int

	// OwnSessions refuses sessions that do not tell their namespace, which servers of other makes keep. It is to be set
	// where no middleware sees who comes back.
	OwnSessions bool
}

// Session is what is kept of a socket that lost its connection.
type Session struct {
	ID        string   // of the socket
	PID       string   // the client's secret: 20 characters of A-Za-z0-9_-
	Namespace string   // "" in one that a server of another make kept
	Rooms     []string // with or without its own
	Data      parser.Arg
}

// Recoverer is implemented by adapters that keep packets and sessions. Such an adapter adds an offset, which
// is a further string argument, to each EVENT that Broadcast delivers, but for volatile ones and those with an
// id. It is safe for concurrent use.
// Protocol: socket.io v5, connection state recovery.
type Recoverer interface {
	// Persist keeps the session of a socket that ended for a reason that recovery covers. One whose PID is
	// malformed is not kept. It neither blocks nor calls back.
	Persist(s Session)

	// Restore finds what a client with that pid missed since offset, and calls resume with broadcasts held back:
	// when resume has added the member to the index and queued everything, nothing is lost or doubled between the
	// missed packets and the first live one. resume must not call the adapter; the index's events come
	// after it. The packets must not be changed. A session is restored once: it is forgotten when resume returns
	// nil, unless a SessionKeeper has it go on. With an error of resume, which Restore returns, it is kept.
	//
	// The error is ErrNotRecoverable where the session is unknown, too old or of another namespace, or where the
	// offset is unknown or packets since then are not kept any more; resume is not called then.
	Restore(ctx context.Context, pid, offset string, resume func(s Session, missed []*parser.Packet) error) error
}

func (o RecoveryOptions) withDefaults() RecoveryOptions {
	if o.MaxDisconnection <= 0 {
		o.MaxDisconnection = 2 * time.Minute
	}
	o.MaxSessions = bound(o.MaxSessions, 100_000)
	o.MaxPackets = bound(o.MaxPackets, 100_000)
	o.MaxBytes = bound(o.MaxBytes, 64<<20)
	return o
}

func bound(n, def int) int {
	if n == 0 {
		return def
	}
	if n < 0 {
		return int(^uint(0) >> 1)
	}
	return n
}

// SessionKeeper is implemented by a Recoverer that keeps sessions outside the process also while their sockets are
// connected, so that they outlive it. Its methods neither block nor call back before they return.
type SessionKeeper interface {
	Recoverer

	// Track keeps the session of a member that is in the index now, and writes it again when its rooms change. snapshot
	// gives the session as it is, also after the member has ended, and is called from another goroutine.
	Track(m Member, snapshot func() Session)

	// Changed makes the session of a member be written again: its data has changed.
	Changed(m Member)

	// Untrack ends that, before the member leaves the index. Where last is nil the session is forgotten, otherwise
	// it is what is kept.
	Untrack(m Member, last *Session)
}

// Sequencer is implemented by an adapter whose broadcasts may be delivered a little after Broadcast has returned.
type Sequencer interface {
	// After calls f when everything is delivered that was broadcast before, and returns true; false where nothing waits,
	// and then it does not call it. f must not block nor call the adapter.
	After(f func()) bool
}

// ValidPID tells whether s has the form of a pid.
func ValidPID(s string) bool { return validPID(s) }

// Bounded gives o with the defaults in place of what is not set.
func (o RecoveryOptions) Bounded() RecoveryOptions { return o.withDefaults() }

// validPID tells whether s has the form of a pid.
func validPID(s string) bool {
	if len(s) != 20 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if c != '_' && c != '-' && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}
