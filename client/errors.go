package client

import (
	"errors"
	"fmt"

	"github.com/sockeye-io/sockeye/engineio"
	"github.com/sockeye-io/sockeye/internal/event"
	"github.com/sockeye-io/sockeye/parser"
)

// Errors of this package, to be tested for with errors.Is.
var (
	// ErrClosed is returned by what needs a Manager that is not closed, or a socket that is connected.
	ErrClosed = errors.New("client: closed")

	// ErrQueueFull is returned by an emit that finds Config.Queue full. The event is not sent.
	ErrQueueFull = errors.New("client: queue full")

	// ErrReservedEvent is returned by an emit of an event whose name only the protocol may use.
	//
	// Node: socket.io-client/lib/socket.ts RESERVED_EVENTS
	ErrReservedEvent = errors.New("client: reserved event name")

	// ErrTooManyAcks is returned by an emit that would have more than 10,000 acknowledgements of a socket pending.
	ErrTooManyAcks = errors.New("client: too many pending acknowledgements")

	// ErrReconnectFailed says that Reconnect.Attempts were made without success. What went wrong last is wrapped too.
	//
	// Node: the reconnect_failed event
	ErrReconnectFailed = errors.New("client: reconnection failed")

	// ErrOldServer is told to OnConnectError when the server is one of 2.x: see Config.EIO3.
	ErrOldServer = errors.New("client: the server is one of Socket.IO 2: see Config.EIO3")

	// ErrAcked is returned by the second Ack of a message.
	ErrAcked = event.ErrAcked

	errTooEarly = errors.New("client: too many events before the answer to CONNECT")
)

// Reason is why a socket disconnected, in the words of Socket.IO. As an error it is the cause of the context of
// handlers and matches [ErrClosed].
//
// Node: socket.io-client/lib/socket.ts DisconnectReason
type Reason string //nolint:errname // Node's word; it is an error by the way

// The reasons. After the first two a socket is not connected again by itself.
//
//nolint:errname // see Reason
const (
	ReasonServerDisconnect Reason = "io server disconnect"
	ReasonClientDisconnect Reason = "io client disconnect"
	ReasonForcedClose             = Reason(engineio.ReasonForcedClose)
	ReasonTransportClose          = Reason(engineio.ReasonTransportClose)
	ReasonTransportError          = Reason(engineio.ReasonTransportError)
	ReasonPingTimeout             = Reason(engineio.ReasonPingTimeout)
	ReasonParseError              = Reason(engineio.ReasonParseError)
)

// Error makes a reason an error.
func (r Reason) Error() string { return "client: disconnected: " + string(r) }

// Is tells that a reason is an ErrClosed too.
func (r Reason) Is(target error) bool { return target == ErrClosed }

// ConnectError is the server's refusal of a namespace. The socket does not try again by itself; see Socket.Open.
//
// Protocol: socket.io v5, "Connection to a namespace"
type ConnectError struct {
	Message string
	Data    parser.Arg // what the server's error carries; absent (IsZero) if nothing
}

// Error is the message of the server, bounded in length.
func (e *ConnectError) Error() string { return "client: refused: " + clip(e.Message) }

// AuthError wraps an error of Config.AuthFunc, or that its value cannot be encoded. The socket does not try again by
// itself; see Socket.Open.
//
// Differs from Node: a function there cannot say that it failed.
type AuthError struct{ Err error }

// Error describes the error.
func (e *AuthError) Error() string { return "client: auth: " + e.Err.Error() }

// Unwrap gives the error of the function.
func (e *AuthError) Unwrap() error { return e.Err }

// PanicError reports a panic in a function of the application.
type PanicError struct {
	In    string // what was called: "handler", "connect listener", ...
	Value any    // what the function panicked with
	Stack []byte // of the goroutine
}

// Error describes the panic without its stack.
func (e *PanicError) Error() string { return fmt.Sprintf("client: panic in %s: %v", e.In, e.Value) }

// EventError wraps the error of a handler, or why an event was given up after all tries, with its name.
type EventError struct {
	Event string
	Err   error
}

// Error names the event.
func (e *EventError) Error() string { return fmt.Sprintf("client: event %q: %v", clip(e.Event), e.Err) }

// Unwrap gives the error.
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
	return fmt.Errorf("client: send: %w", err)
}

// clip bounds what a peer can make an error text long.
func clip(s string) string {
	const limit = 128
	if len(s) > limit {
		return s[:limit]
	}
	return s
}
