// Package ws has the pieces of a WebSocket endpoint (RFC 6455, RFC 7692): a parser that is fed with
// bytes, frames to be written, the opening handshake of both sides, and compression without context.
//
// Not in this package: connections, goroutines, queues. See internal/netpoll and engineio.
package ws

import "strconv"

// Op is the opcode of a frame.
type Op byte

// The opcodes. Protocol: RFC 6455, 5.2.
const (
	Continuation Op = 0
	Text         Op = 1
	Binary       Op = 2
	Close        Op = 8
	Ping         Op = 9
	Pong         Op = 10
)

// Status codes of a close frame. Protocol: RFC 6455, 7.4.1.
const (
	CodeNormal      uint16 = 1000
	CodeGoingAway   uint16 = 1001
	CodeProtocol    uint16 = 1002
	CodeUnsupported uint16 = 1003
	CodeNoStatus    uint16 = 1005 // never on the wire: a close frame without payload
	CodeInvalidData uint16 = 1007
	CodePolicy      uint16 = 1008
	CodeTooBig      uint16 = 1009
	CodeInternal    uint16 = 1011
)

// MaxControl is the greatest payload of a control frame, in bytes.
const MaxControl = 125

// Error is a violation of the protocol by the peer. Code is what the close frame that answers it
// should carry.
type Error struct {
	Code uint16
	Text string
}

func (e *Error) Error() string {
	return "ws: " + e.Text + " (" + strconv.Itoa(int(e.Code)) + ")"
}

// validCode tells whether a close frame may carry the code. Protocol: RFC 6455, 7.4.
func validCode(code uint16) bool {
	switch {
	case code >= 3000 && code <= 4999:
		return true
	case code < 1000 || code > 1014:
		return false
	}
	return code != 1004 && code != 1005 && code != 1006
}
