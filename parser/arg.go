package parser

import "github.com/sockeye-io/sockeye/internal/jsonscan"

// Arg is one argument of a packet: as it came from a peer (JSON with its attachments, MessagePack, or
// bytes), or a Go value that is still to be encoded. The zero Arg is an absent one. Args are immutable
// and safe for concurrent use.
type Arg struct {
	kind argKind
	raw  []byte  // JSON text, MessagePack, or the bytes themselves
	src  *source // what came with the packet; may be nil
	v    any
}

type argKind uint8

const (
	argNone    argKind = iota
	argJSON            // valid JSON
	argRawJSON         // JSON that has not been checked
	argMsgpack         // MessagePack that has not been checked
	argBytes
	argValue
)

// source is what the arguments of a packet share.
type source struct {
	bin   [][]byte // the attachments of the packet, to which placeholders in JSON refer
	codec Codec
	ph    []jsonscan.Placeholder // those of the JSON; nil if everything that looks like one is one
}

func (a Arg) bin() [][]byte {
	if a.src == nil {
		return nil
	}
	return a.src.bin
}

func (a Arg) codec() Codec {
	if a.src == nil {
		return nil
	}
	return a.src.codec
}

// Value returns the argument that v is encoded to, by the rules of encoding/json but for byte slices, which
// become binary wherever they are in v. v is not copied: it must not change as long as the Arg is used.
// An Arg is returned as it is.
func Value(v any) Arg {
	if a, ok := v.(Arg); ok {
		return a
	}
	return Arg{kind: argValue, v: v}
}

// RawJSON returns the argument whose JSON text is b. b must not change afterwards. It is checked when it is
// encoded or scanned. Objects in it that look like placeholders of attachments are sent as they are; in a
// packet with attachments its receiver takes them for such, as it does with Node.
func RawJSON(b []byte) Arg { return Arg{kind: argRawJSON, raw: b} }

// RawMsgpack returns the argument whose MessagePack encoding is b. b must not change afterwards. It is checked
// when it is encoded or scanned, with nesting of arrays and maps bounded at 512. Understood are the
// extensions of the libraries that Node peers use: -1 (timestamp) and 0 (undefined, date, buffer).
func RawMsgpack(b []byte) Arg { return Arg{kind: argMsgpack, raw: b} }

// Bytes returns the binary argument b. b must not change afterwards.
func Bytes(b []byte) Arg { return Arg{kind: argBytes, raw: b} }

// IsZero tells whether the argument is absent.
func (a Arg) IsZero() bool { return a.kind == argNone }

// IsBinary tells whether the argument as a whole is binary.
func (a Arg) IsBinary() bool {
	switch a.kind {
	case argBytes:
		return true
	case argJSON:
		ph := a.placeholders(nil)
		return len(ph) == 1 && ph[0].Start == 0 && ph[0].End == len(a.raw)
	case argMsgpack:
		_, ok := msgpackBytes(a.raw)
		return ok
	case argValue:
		b, ok := a.v.([]byte)
		return ok && b != nil
	default:
		return false
	}
}

// HasBinary tells whether the argument is or contains binary. It is false for one that cannot be encoded.
func (a Arg) HasBinary() bool {
	switch a.kind {
	case argBytes:
		return true
	case argJSON:
		return a.bin() != nil
	case argMsgpack:
		return msgpackHasBinary(a.raw)
	case argValue:
		if !mayHoldBytes(a.v) {
			return false
		}
		e := newEncoder(a.codec())
		defer e.free()
		return e.value(a.v) == nil && len(e.att) > 0
	default:
		return false
	}
}

// AppendJSON appends the JSON text of the argument to dst; "null" for an absent one.
// It fails with [ErrBinary] if there is binary in it.
func (a Arg) AppendJSON(dst []byte) ([]byte, error) {
	e := newEncoder(a.codec())
	defer e.free()
	if err := e.arg(a); err != nil {
		return dst, err
	}
	if len(e.att) > 0 {
		return dst, ErrBinary
	}
	return append(dst, e.buf...), nil
}

// AppendMsgpack appends the MessagePack encoding of the argument to dst, as Node's notepack would write it; nil
// for an absent one. Dates and buffers of [RawMsgpack] are written as every version of notepack reads them.
//
// Differs from Node: integral numbers beyond 64 bits stay floating-point numbers (notepack makes 0 of them).
func (a Arg) AppendMsgpack(dst []byte) ([]byte, error) { return appendMsgpack(dst, a) }

// MarshalJSON is [Arg.AppendJSON], so that an Arg can be a part of a value. In values that are emitted binary
// in it is kept.
func (a Arg) MarshalJSON() ([]byte, error) { return a.AppendJSON(nil) }

// UnmarshalJSON makes a an argument of a copy of the JSON text b.
func (a *Arg) UnmarshalJSON(b []byte) error {
	*a = RawJSON(append([]byte(nil), b...))
	return nil
}
