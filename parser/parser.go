// Package parser turns Socket.IO packets into messages of an engine connection and back. The default
// codec is the JSON one of protocol revision 5, which is the same grammar as revision 4 of the 2.x
// clients; parser/msgpack is the codec of socket.io-msgpack-parser.
//
// Not in this package: connections, namespaces, acknowledgements in flight. It only knows bytes.
package parser

// Type is the type of a packet. Protocol: socket.io v5, "Packet types".
type Type uint8

// The packet types. A decoder gives Event and Ack for their binary forms too; an encoder chooses the
// binary form by itself.
const (
	Connect Type = iota
	Disconnect
	Event
	Ack
	ConnectError
	BinaryEvent
	BinaryAck
)

// MaxID is the largest acknowledgement id that a decoder accepts: the largest integer that JavaScript
// holds exactly.
const MaxID = 1<<53 - 1

// Packet is one Socket.IO packet.
type Packet struct {
	Type      Type
	Namespace string // "/" for the main one; a decoder never leaves it empty
	ID        uint64 // acknowledgement id, where HasID is set
	HasID     bool
	Empty     bool   // decoded only: an EVENT or ACK that came without any payload
	Event     string // the event name, of an EVENT
	Args      []Arg  // arguments of an EVENT after its name, or of an ACK
	Data      Arg    // the payload of CONNECT and CONNECT_ERROR; the zero Arg if there is none
}

// Parser is a codec. It is safe for concurrent use.
type Parser interface {
	// NewDecoder returns the decoder of one connection. protocol is the Socket.IO protocol revision of
	// the peer, 5 or 4.
	NewDecoder(l Limits, protocol int) Decoder

	// Encode gives the messages of p for a peer of that protocol revision. It holds on to no byte of p's
	// arguments but their attachments.
	Encode(p *Packet, protocol int) (Frames, error)
}

// Decoder reads the messages of one connection. It is not safe for concurrent use.
type Decoder interface {
	// Add reads one message, which it does not keep. done tells that *p was filled; it is false while
	// attachments are pending, and then the same *p must not be expected back: the decoder fills the one
	// of the last call. After an error the decoder is of no further use and the connection must be closed.
	Add(p *Packet, data []byte, binary bool) (done bool, err error)

	// Pending tells whether attachments of a packet are missing.
	Pending() bool
}

// Frames are the messages of one packet, in order: its head, then its attachments, which are binary.
type Frames struct {
	Head        []byte
	Binary      bool // whether Head is a binary message
	Attachments [][]byte
}

// Limits bound what a decoder accepts. A zero field means its default, a negative one no limit.
type Limits struct {
	Attachments int // for one packet; default 10
	Depth       int // nesting of arrays and objects; default 64
	Args        int // elements of the payload of one EVENT or ACK, the event's name among them; default 1,024
	Bytes       int // sum of the attachments of one packet, in bytes; default 1,000,000
}
