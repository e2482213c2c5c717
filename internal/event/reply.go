package event

import (
	"fmt"

	"github.com/sockeye-io/sockeye/parser"
)

// Reply is one acknowledgement.
//
// Protocol: socket.io v5, "Acknowledgement"
type Reply struct {
	Socket string // id of the socket; "" where a Node server did not say
	Server string // id of the server, of server-side emits; "" where it is not known

	args []parser.Arg
}

// NewReply makes a reply with those arguments, which must not change afterwards.
func NewReply(socket, server string, args []parser.Arg) Reply {
	return Reply{Socket: socket, Server: server, args: args}
}

// Args gives the arguments, which must not be changed.
func (r Reply) Args() []parser.Arg { return r.args }

// Scan decodes the arguments into what dst point to, by the rules of [Message.Scan].
func (r Reply) Scan(dst ...any) error {
	if err := scan(r.args, dst); err != nil {
		return fmt.Errorf("event: scan reply: %w", err)
	}
	return nil
}

// Replies are the acknowledgements of several sockets or servers, in the order of their arrival.
//
// Protocol: socket.io v5, "Acknowledgement"
type Replies []Reply

// AckError reports who did not answer in time. It wraps the reason: context.DeadlineExceeded for a timeout,
// the cause of a context that was canceled, or the reason of a disconnect. Of sockets on Node servers only the
// numbers are known.
//
// Protocol: socket.io v5, "Acknowledgement"
type AckError struct {
	Expected, Received int      // numbers of answers
	MissingSockets     []string // ids of sockets that did not answer
	MissingServers     []string // ids of servers that did not answer, or were gone before their sockets did
	SilentServers      int      // further servers that did not answer and whose ids are not known, such as Node's
	Err                error
}

// Error describes what is missing in numbers.
func (e *AckError) Error() string {
	if n := len(e.MissingServers) + e.SilentServers; n > 0 {
		return fmt.Sprintf("event: %d of %d acknowledgements, %d servers silent: %v", e.Received, e.Expected, n, e.Err)
	}
	return fmt.Sprintf("event: %d of %d acknowledgements: %v", e.Received, e.Expected, e.Err)
}

// Unwrap gives the reason.
func (e *AckError) Unwrap() error { return e.Err }
