package ws

import (
	"encoding/binary"
	"unicode/utf8"
)

// Bits of the first two bytes of a frame.
const (
	bitFin  = 0x80
	bitRSV1 = 0x40
	bitMask = 0x80
)

// MaxHeader is the greatest length of a frame header, in bytes.
const MaxHeader = 14

// AppendHeader appends the header of a final frame of a server: unmasked, with the given length of the
// payload. rsv1 says that the payload is compressed (see [AppendDeflated]).
//
// Protocol: RFC 6455, 5.2.
func AppendHeader(dst []byte, op Op, rsv1 bool, length int) []byte {
	return appendHeader(dst, op, rsv1, 0, length)
}

func appendHeader(dst []byte, op Op, rsv1 bool, mask byte, length int) []byte {
	b0 := byte(op) | bitFin
	if rsv1 {
		b0 |= bitRSV1
	}
	switch {
	case length <= 125:
		return append(dst, b0, mask|byte(length))
	case length <= 0xffff:
		return append(dst, b0, mask|126, byte(length>>8), byte(length))
	}
	dst = append(dst, b0, mask|127)
	return binary.BigEndian.AppendUint64(dst, uint64(length))
}

// AppendFrame appends a final frame of a server.
//
// Protocol: RFC 6455, 5.2.
func AppendFrame(dst []byte, op Op, payload []byte) []byte {
	return append(AppendHeader(dst, op, false, len(payload)), payload...)
}

// AppendMasked appends a final frame of a client, whose payload is masked with key. payload is not
// changed.
//
// Protocol: RFC 6455, 5.3.
func AppendMasked(dst []byte, op Op, rsv1 bool, key [4]byte, payload []byte) []byte {
	dst = appendHeader(dst, op, rsv1, bitMask, len(payload))
	dst = append(dst, key[:]...)
	start := len(dst)
	dst = append(dst, payload...)
	mask(dst[start:], binary.LittleEndian.Uint32(key[:]))
	return dst
}

// AppendClose appends a close frame of a server. The reason is cut at 123 bytes, between characters, and invalid
// UTF-8 ends it. [CodeNoStatus] gives a close frame without payload.
//
// Protocol: RFC 6455, 5.5.1.
func AppendClose(dst []byte, code uint16, reason string) []byte {
	if code == CodeNoStatus {
		return AppendHeader(dst, Close, false, 0)
	}
	reason = cutReason(reason)
	dst = AppendHeader(dst, Close, false, 2+len(reason))
	dst = binary.BigEndian.AppendUint16(dst, code)
	return append(dst, reason...)
}

// ClosePayload is the payload of a close frame, for [AppendMasked]; see [AppendClose].
func ClosePayload(code uint16, reason string) []byte {
	return AppendClose(nil, code, reason)[2:]
}

func cutReason(s string) string {
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if i+n > MaxControl-2 || r == utf8.RuneError && n == 1 {
			return s[:i]
		}
		i += n
	}
	return s
}

// ParseClose splits the payload of a close frame that a [Reader] gave. Without payload the code is
// [CodeNoStatus].
func ParseClose(payload []byte) (code uint16, reason []byte) {
	if len(payload) < 2 {
		return CodeNoStatus, nil
	}
	return binary.BigEndian.Uint16(payload), payload[2:]
}

// mask masks or unmasks p, which begins at the first byte of the key, and returns the key for the byte
// after p. key is little endian: its lowest byte is for the first byte of p.
func mask(p []byte, key uint32) uint32 {
	wide := uint64(key)<<32 | uint64(key)
	for len(p) >= 32 {
		binary.LittleEndian.PutUint64(p, binary.LittleEndian.Uint64(p)^wide)
		binary.LittleEndian.PutUint64(p[8:], binary.LittleEndian.Uint64(p[8:])^wide)
		binary.LittleEndian.PutUint64(p[16:], binary.LittleEndian.Uint64(p[16:])^wide)
		binary.LittleEndian.PutUint64(p[24:], binary.LittleEndian.Uint64(p[24:])^wide)
		p = p[32:]
	}
	for len(p) >= 8 {
		binary.LittleEndian.PutUint64(p, binary.LittleEndian.Uint64(p)^wide)
		p = p[8:]
	}
	for i := range p {
		p[i] ^= byte(key)
		key = key>>8 | key<<24
	}
	return key
}
