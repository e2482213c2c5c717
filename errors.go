package sockeye

import (
	"errors"
	"fmt"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/engineio"
	"github.com/sockeye-io/sockeye/internal/event"
)

// Errors of this package, to be tested for with errors.Is.
var (
	// ErrClosed is returned by what needs a connected socket or an open server.
	ErrClosed = errors.New("sockeye: closed")

	// ErrQueueFull is returned by an emit to a client that does not read fast enough: see SendQueue.
	ErrQueueFull = errors.New("sockeye: send queue full")

	// ErrReservedEvent is returned by an emit of an event whose name only the protocol may use.
	//
	// Node: socket.io/lib/socket-types.ts RESERVED_EVENTS
	ErrReservedEvent = errors.New("sockeye: reserved event name")

	// ErrTooManyAcks is returned by an emit that would have more than Limits.Acks acknowledgements pending.
	ErrTooManyAcks = errors.New("sockeye: too many pending acknowledgements")

	// ErrTooManyRooms is returned by a Join beyond Limits.Rooms.
	ErrTooManyRooms = adapter.ErrTooManyRooms

	// ErrServerLeft is wrapped by the error of a question to the cluster where all have answered but servers that are gone:
	// they were not heard of for 3 to 4 s. Servers of other implementations are waited for to the end.
	ErrServerLeft = adapter.ErrServerLeft

	// ErrRoomName is returned by a Join of a room whose name is longer than 512 bytes.
	ErrRoomName = errors.New("sockeye: room name too long")

	// ErrNamespaceName is reported for a namespace that no client could name: one longer than 256 bytes, or with
	// a comma or a control character in it.
	ErrNamespaceName = errors.New("sockeye: invalid namespace name")

	// ErrAcked is returned by the second Ack of a message.
	ErrAcked = event.ErrAcked
)

// Reason is why a socket disconnected, in the words of Socket.IO. As an error it is the cause of the socket's
// context and matches [ErrClosed].
//
// Node: socket.io/lib/socket-types.ts DisconnectReason
type Reason string //nolint:errname // Node's word; it is an error by the way

// The reasons.
//
//nolint:errname // see Reason
const (
	ReasonClientDisconnect  Reason = "client namespace disconnect"
	ReasonServerDisconnect  Reason = "server namespace disconnect"
	ReasonShuttingDown      Reason = "server shutting down"
	ReasonForcedServerClose Reason = "forced server close"
	ReasonForcedClose              = Reason(engineio.ReasonForcedClose)
	ReasonTransportClose           = Reason(engineio.ReasonTransportClose)
	ReasonTransportError           = Reason(engineio.ReasonTransportError)
	ReasonPingTimeout              = Reason(engineio.ReasonPingTimeout)
	ReasonParseError               = Reason(engineio.ReasonParseError)
)

// Error makes a reason an error.
func (r Reason) Error() string { return "sockeye: disconnected: " + string(r) }

// Is tells that a reason is an ErrClosed too.
func (r Reason) Is(target error) bool { return target == ErrClosed }

// recoverable tells whether a socket that ended so may come back.
func (r Reason) recoverable() bool {
	switch r {
	case ReasonTransportError, ReasonTransportClose, ReasonForcedClose, ReasonPingTimeout,
		ReasonShuttingDown, ReasonForcedServerClose:
		return true
	case ReasonClientDisconnect, ReasonServerDisconnect, ReasonParseError:
	}
	return false
}

// ConnectError is what a connection middleware returns to tell the client why it is refused: the client's
// connect_error event has Message, and Data unless that is nil.
//
// Protocol: socket.io v5, "Connection to a namespace"
type ConnectError struct {
	Message string
	Data    any
}

// Error is the message.
func (e *ConnectError) Error() string { return e.Message }

// PanicError reports a panic in a function of the application.
type PanicError struct {
	In    string // what was called: "handler", "middleware", …
	Value any    // what the function panicked with
	Stack []byte // of the goroutine
}

// Error describes the panic without its stack.
func (e *PanicError) Error() string { return fmt.Sprintf("sockeye: panic in %s: %v", e.In, e.Value) }

// EventError wraps the error of a handler with the name of its event.
type EventError struct {
	Event string
	Err   error
}

// Error names the event.
func (e *EventError) Error() string {
	return fmt.Sprintf("sockeye: event %q: %v", clip(e.Event), e.Err)
}

// Unwrap gives the error of the handler.
func (e *EventError) Unwrap() error { return e.Err }

// sendError turns an error of the engine into ours.
func sendError(err error) error {
	switch {
	case err == nil, errors.Is(err, engineio.ErrDropped):
		return nil
	case errors.Is(err, engineio.ErrClosed):
		return ErrClosed
	case errors.Is(err, engineio.ErrQueueFull):
		return ErrQueueFull
	}
	return fmt.Errorf("sockeye: send: %w", err)
}

// clip bounds what a peer can make a log attribute or error text long.
func clip(s string) string {
	const limit = 128
	if len(s) > limit {
		return s[:limit]
	}
	return s
}
