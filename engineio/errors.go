package engineio

import (
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
)

// ErrTooManyConnections is for Config.AllowRequest: the handshake is answered with status 503.
var ErrTooManyConnections = errors.New("engineio: too many connections")

// Errors of Send.
var (
	ErrClosed    = errors.New("engineio: connection closed")
	ErrQueueFull = errors.New("engineio: send queue full")
	ErrDropped   = errors.New("engineio: volatile message dropped")
)

// What OnClose is told beside the reason.
var (
	errOverlap        = errors.New("engineio: overlap from client")
	errPollGone       = errors.New("engineio: poll closed prematurely")
	errPostGone       = errors.New("engineio: data request closed prematurely")
	errInvalidContent = errors.New("engineio: invalid content")
	errHeartbeat      = errors.New("engineio: invalid heartbeat direction")
	errControlFlood   = errors.New("engineio: too many control packets")
	errServerClosed   = errors.New("engineio: server closed")
)

// The codes of a refused request. Protocol: engine.io, "connection_error".
const (
	CodeTransportUnknown   = 0
	CodeSessionUnknown     = 1
	CodeBadHandshakeMethod = 2
	CodeBadRequest         = 3
	CodeForbidden          = 4
	CodeUnsupportedVersion = 5
)

// codeMessage is what a refused client reads.
func codeMessage(code int) string {
	return [...]string{
		"Transport unknown", "Session ID unknown", "Bad handshake method", "Bad request", "Forbidden",
		"Unsupported protocol version",
	}[code]
}

// ConnectionError is a refused request.
//
// Node: the connection_error event of engine.io
type ConnectionError struct {
	Request *http.Request
	Code    int               // such as CodeForbidden
	Message string            // that of the code
	Context map[string]string // details, which the client does not get; may be nil
}

// Error is the message.
func (e *ConnectionError) Error() string { return "engineio: " + e.Message }

// PanicError is a panic in a callback that was survived. Hooks.Fault is told of it.
type PanicError struct {
	Where string // the callback
	Value any    // what was given to panic
	Stack []byte
}

func newPanicError(where string, value any) *PanicError {
	return &PanicError{Where: where, Value: value, Stack: debug.Stack()}
}

// Error describes the panic without its stack.
func (e *PanicError) Error() string {
	return fmt.Sprintf("engineio: panic in %s: %v", e.Where, e.Value)
}

// Unwrap gives the value of the panic if that was an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error) // nil is the answer for other values
	return err
}
