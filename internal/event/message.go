package event

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/sockeye-io/sockeye/parser"
)

// ErrAcked is returned by the second Ack of a message.
//
// Protocol: socket.io v5, "Acknowledgement"
var ErrAcked = errors.New("event: already acknowledged")

// Acker sends acknowledgements to the peer of a message.
type Acker interface {
	SendAck(id uint64, args []any) error
}

// Message is one incoming event. Its arguments are decoded when Scan asks for them. It may be kept after the
// handler has returned, and its methods are safe for concurrent use.
//
// Protocol: socket.io v5, "Sending and receiving data"
type Message struct {
	Event string // the name of the event

	args  []parser.Arg
	acker Acker
	id    uint64
	acked atomic.Bool
}

// Init fills m, which must be zero. a is nil where no acknowledgement is wanted. args must not change afterwards.
func (m *Message) Init(event string, args []parser.Arg, a Acker, id uint64) {
	m.Event, m.args, m.acker, m.id = event, args, a, id
}

// Args gives the arguments, which must not be changed.
func (m *Message) Args() []parser.Arg { return m.args }

// Scan decodes the arguments into what dst point to, in order. A nil dst skips its argument, and one that is a
// pointer to a struct which embeds [Args] takes as many arguments as the struct has exported fields.
// Arguments beyond dst are ignored; a dst without an argument is left as it is.
func (m *Message) Scan(dst ...any) error {
	if err := scan(m.args, dst); err != nil {
		return fmt.Errorf("event: scan %q: %w", clip(m.Event), err)
	}
	return nil
}

// WantsAck tells whether the peer asked for an acknowledgement and has not been sent one.
func (m *Message) WantsAck() bool { return m.acker != nil && !m.acked.Load() }

// Ack sends the acknowledgement. It may be called once, also after the handler has returned, and does nothing
// where the peer asked for none. Errors: [ErrAcked], and those of an emit.
//
// Protocol: socket.io v5, "Acknowledgement"
func (m *Message) Ack(args ...any) error {
	if m.acker == nil {
		return nil
	}
	if m.acked.Swap(true) {
		return ErrAcked
	}
	return m.acker.SendAck(m.id, args)
}

// fail answers with the data of err if it is meant for the peer, and gives back what is left to report.
func (m *Message) fail(err error) error {
	var pe *PeerError
	if !errors.As(err, &pe) {
		return err
	}
	if !m.WantsAck() {
		return nil
	}
	return m.Ack(pe.Data)
}

// PeerError is an error that the application wants its peer to see: Data is the argument of the
// acknowledgement that a [Call] handler which returns it sends.
//
// Protocol: socket.io v5, "Acknowledgement"
type PeerError struct{ Data any }

// Error describes the error without its data.
func (e *PeerError) Error() string { return "event: refused by the handler" }

// clip bounds what a peer can make an error text long.
func clip(s string) string {
	const limit = 128
	if len(s) > limit {
		return s[:limit]
	}
	return s
}
