// Package eio has the encodings of Engine.IO, protocols 4 and 3: packets, WebSocket messages, polling
// payloads, JSONP and the handshake.
//
// Not in this package: transports, connections, limits (package engineio) and the framing of WebTransport.
package eio

import "errors"

// Type is the type of a packet.
type Type byte

// The types. Their digit on the wire is '0' + Type.
const (
	Open Type = iota
	Close
	Ping
	Pong
	Message
	Upgrade
	Noop

	// None is what protocol 3 gives to a binary packet with an unknown type byte. It is to be ignored.
	None Type = 255
)

// String gives the protocol's word.
func (t Type) String() string {
	names := [...]string{"open", "close", "ping", "pong", "message", "upgrade", "noop"}
	if int(t) < len(names) {
		return names[t]
	}
	return "none"
}

// Packet is one packet.
type Packet struct {
	Type   Type
	Binary bool
	Data   []byte
}

// ErrMalformed is an undecodable packet or payload: the session closes with "parse error".
var ErrMalformed = errors.New("eio: malformed packet")

// ErrInvalidUTF8 is a text payload that is not UTF-8. It wraps ErrMalformed.
//
// Differs from Node: refused, not replaced by U+FFFD.
var ErrInvalidUTF8 error = utf8Error{}

type utf8Error struct{}

func (utf8Error) Error() string { return "eio: text is not valid UTF-8" }
func (utf8Error) Unwrap() error { return ErrMalformed }

// ParseText decodes the text of one WebSocket text message, or one packet of a text payload. p.Data points into
// data; base64 is decoded in place, so that data is overwritten. The text is taken to be valid UTF-8.
// Errors: ErrMalformed.
//
// Protocol: engine.io v4 and v3, "Packet encoding".
func ParseText(protocol int, data []byte) (Packet, error) {
	if len(data) == 0 {
		return Packet{}, ErrMalformed
	}
	if data[0] != 'b' {
		t := Type(data[0] - '0')
		if t > Noop {
			return Packet{}, ErrMalformed
		}
		return Packet{Type: t, Data: data[1:]}, nil
	}
	data = data[1:]
	if protocol != 3 {
		return Packet{Type: Message, Binary: true, Data: decodeBase64(data)}, nil
	}
	if len(data) == 0 {
		return Packet{Type: None, Binary: true}, nil
	}
	return Packet{Type: knownType(data[0] - '0'), Binary: true, Data: decodeBase64(data[1:])}, nil
}

// ParseBinary decodes one WebSocket binary message, or one binary packet of a protocol 3 payload. p.Data points into
// data. There is no malformed one: in protocol 4 it is always a message, in protocol 3 an unknown type byte gives None.
//
// Protocol: engine.io v4 and v3, "Packet encoding".
func ParseBinary(protocol int, data []byte) Packet {
	if protocol != 3 {
		return Packet{Type: Message, Binary: true, Data: data}
	}
	if len(data) == 0 {
		return Packet{Type: None, Binary: true}
	}
	return Packet{Type: knownType(data[0]), Binary: true, Data: data[1:]}
}

func knownType(b byte) Type {
	if Type(b) > Noop {
		return None
	}
	return Type(b)
}

// AppendText appends p as one text packet: of a text payload or of a WebSocket text message. Binary data is base64.
//
// Protocol: engine.io v4 and v3, "Packet encoding".
func AppendText(dst []byte, protocol int, p Packet) []byte {
	if !p.Binary {
		dst = append(dst, '0'+byte(p.Type))
		return append(dst, p.Data...)
	}
	dst = append(dst, 'b')
	if protocol == 3 {
		dst = append(dst, '0'+byte(p.Type))
	}
	return appendBase64(dst, p.Data)
}

// LenText is the length in bytes of what AppendText appends.
func LenText(protocol int, p Packet) int {
	if !p.Binary {
		return 1 + len(p.Data)
	}
	n := 1 + lenBase64(len(p.Data))
	if protocol == 3 {
		n++
	}
	return n
}

// AppendBinary appends a binary p as one WebSocket binary message: the bare data in protocol 4, behind a
// type byte in protocol 3.
//
// Protocol: engine.io v4 and v3, "Packet encoding".
func AppendBinary(dst []byte, protocol int, p Packet) []byte {
	if protocol == 3 {
		dst = append(dst, byte(p.Type))
	}
	return append(dst, p.Data...)
}
