package parser

// Arg is one argument of a packet: as it came from a peer (JSON with its attachments, MessagePack, or
// bytes), or a Go value that is still to be encoded. The zero Arg is an absent one. Args are immutable.
type Arg struct {
	kind argKind
	raw  []byte   // JSON text, MessagePack, or the bytes themselves
	bin  [][]byte // the attachments of the packet, to which placeholders in JSON refer
	v    any
}

type argKind uint8

const (
	argNone argKind = iota
	argJSON
	argMsgpack
	argBytes
	argValue
)
