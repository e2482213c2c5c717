package rediswire

import (
	"encoding/binary"
	"errors"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/tinylib/msgp/msgp"

	"github.com/sockeye-io/sockeye/internal/js"
)

// MaxDepth is the deepest nesting of arrays and maps that is read or written. Node's decoder recurses,
// so that something deeper could end a peer.
const MaxDepth = 512

var (
	errMsgpackShort = errors.New("rediswire: MessagePack ends early")
	errMsgpackDepth = errors.New("rediswire: MessagePack is nested too deep")
	errMsgpackByte  = errors.New("rediswire: byte that MessagePack never uses")
	errMsgpackUTF8  = errors.New("rediswire: MessagePack string is not UTF-8")
	errMsgpackTail  = errors.New("rediswire: bytes after the MessagePack value")
	errMsgpackKind  = errors.New("rediswire: MessagePack value of another type than wanted")
)

type kind uint8

const (
	kindNil kind = iota
	kindBool
	kindUint
	kindInt
	kindFloat
	kindString
	kindBinary
	kindArray
	kindMap
	kindExt
)

// head is the first part of a MessagePack value: all of it for scalars, the length for the others.
type head struct {
	kind kind
	size int     // bytes of the head
	n    int     // bytes of content, or elements (pairs, of a map)
	u    uint64  // kindUint, kindBool
	i    int64   // kindInt
	f    float64 // kindFloat
	ext  int8
}

// parseHead reads the head of the value at the start of b. Lengths are checked against what is left of b.
func parseHead(b []byte) (head, error) {
	if len(b) == 0 {
		return head{}, errMsgpackShort
	}
	h := fixHead(b[0])
	if h.size == 0 {
		var err error
		if h, err = longHead(b); err != nil {
			return head{}, err
		}
	}
	room := len(b) - h.size
	switch h.kind {
	case kindString, kindBinary, kindExt, kindArray:
		if h.n > room {
			return head{}, errMsgpackShort
		}
	case kindMap:
		if h.n > room/2 {
			return head{}, errMsgpackShort
		}
	default:
	}
	return h, nil
}

// fixHead reads the forms of a single byte; size is 0 if c starts a longer one.
func fixHead(c byte) head {
	switch {
	case c <= 0x7f:
		return head{kind: kindUint, size: 1, u: uint64(c)}
	case c <= 0x8f:
		return head{kind: kindMap, size: 1, n: int(c & 0x0f)}
	case c <= 0x9f:
		return head{kind: kindArray, size: 1, n: int(c & 0x0f)}
	case c <= 0xbf:
		return head{kind: kindString, size: 1, n: int(c & 0x1f)}
	case c == 0xc0:
		return head{kind: kindNil, size: 1}
	case c == 0xc2, c == 0xc3:
		return head{kind: kindBool, size: 1, u: uint64(c & 1)}
	case c >= 0xe0:
		return head{kind: kindInt, size: 1, i: int64(int8(c))}
	default:
		return head{}
	}
}

// longWidth gives the bytes of the number that follows each first byte from 0xc4 to 0xdf.
var longWidth = [...]uint8{
	1, 2, 4, // bin
	1, 2, 4, // ext
	4, 8, // float
	1, 2, 4, 8, // uint
	1, 2, 4, 8, // int
	0, 0, 0, 0, 0, // fixext
	1, 2, 4, // str
	2, 4, // array
	2, 4, // map
}

func longHead(b []byte) (head, error) {
	c := b[0]
	if c < 0xc4 {
		return head{}, errMsgpackByte
	}
	w := int(longWidth[c-0xc4])
	if len(b) < 1+w {
		return head{}, errMsgpackShort
	}
	u := bigEndian(b[1 : 1+w])
	h := head{size: 1 + w}
	if sized := c <= 0xc9 || c >= 0xd9; sized && u > math.MaxInt32 {
		return head{}, errMsgpackShort // and int may have 32 bits
	}
	switch {
	case c <= 0xc6:
		h.kind, h.n = kindBinary, int(u)
	case c <= 0xc9:
		h.kind, h.n = kindExt, int(u)
	case c == 0xca:
		h.kind, h.f = kindFloat, float64(math.Float32frombits(uint32(u)))
	case c == 0xcb:
		h.kind, h.f = kindFloat, math.Float64frombits(u)
	case c <= 0xcf:
		h.kind, h.u = kindUint, u
	case c <= 0xd3:
		shift := 64 - 8*w
		h.kind, h.i = kindInt, int64(u<<shift)>>shift
	case c <= 0xd8:
		h.kind, h.n = kindExt, 1<<(c-0xd4)
	case c <= 0xdb:
		h.kind, h.n = kindString, int(u)
	case c <= 0xdd:
		h.kind, h.n = kindArray, int(u)
	default:
		h.kind, h.n = kindMap, int(u)
	}
	if h.kind == kindExt {
		if len(b) <= h.size {
			return head{}, errMsgpackShort
		}
		h.ext = int8(b[h.size])
		h.size++
	}
	return h, nil
}

func bigEndian(b []byte) uint64 {
	switch len(b) {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(binary.BigEndian.Uint16(b))
	case 4:
		return uint64(binary.BigEndian.Uint32(b))
	case 8:
		return binary.BigEndian.Uint64(b)
	default:
		return 0
	}
}

// valueLen checks the whole value at the start of b, to the last string, and gives its length in bytes. ext
// tells whether it holds an extension type.
func valueLen(b []byte) (n int, ext bool, err error) {
	return walk(b, MaxDepth)
}

func walk(b []byte, depth int) (n int, ext bool, err error) {
	h, err := parseHead(b)
	if err != nil {
		return 0, false, err
	}
	switch h.kind {
	case kindString:
		if !utf8.Valid(b[h.size : h.size+h.n]) {
			return 0, false, errMsgpackUTF8
		}
		return h.size + h.n, false, nil
	case kindBinary:
		return h.size + h.n, false, nil
	case kindExt:
		return h.size + h.n, true, nil
	case kindArray, kindMap:
		if depth == 0 {
			return 0, false, errMsgpackDepth
		}
		n = h.size
		for range h.elements() {
			m, x, err := walk(b[n:], depth-1)
			if err != nil {
				return 0, false, err
			}
			n += m
			ext = ext || x
		}
		return n, ext, nil
	default:
		return h.size, false, nil
	}
}

// elements counts the values inside an array or map.
func (h head) elements() int {
	if h.kind == kindMap {
		return 2 * h.n
	}
	return h.n
}

// mapFields calls f for every entry of the map at the start of b that has a string as its key, and gives the
// length of the map. Every value is checked; f gets it whole.
func mapFields(b []byte, f func(key string, value []byte) error) (int, error) {
	h, err := parseHead(b)
	if err != nil {
		return 0, err
	}
	if h.kind != kindMap {
		return 0, errMsgpackKind
	}
	n := h.size
	for range h.n {
		k, err := parseHead(b[n:])
		if err != nil {
			return 0, err
		}
		kl, _, err := valueLen(b[n:])
		if err != nil {
			return 0, err
		}
		key := b[n+k.size : n+kl]
		n += kl
		vl, _, err := valueLen(b[n:])
		if err != nil {
			return 0, err
		}
		if k.kind == kindString {
			if err := f(string(key), b[n:n+vl]); err != nil {
				return 0, err
			}
		}
		n += vl
	}
	return n, nil
}

// arrayElements splits a value, which must be an array and nothing else.
func arrayElements(b []byte) ([][]byte, error) {
	h, err := parseHead(b)
	if err != nil {
		return nil, err
	}
	if h.kind != kindArray {
		return nil, errMsgpackKind
	}
	elements := make([][]byte, 0, min(h.n, 64))
	n := h.size
	for range h.n {
		l, _, err := valueLen(b[n:])
		if err != nil {
			return nil, err
		}
		elements = append(elements, b[n:n+l:n+l])
		n += l
	}
	if n != len(b) {
		return nil, errMsgpackTail
	}
	return elements, nil
}

// text gives a string or a number, as JavaScript prints it.
func text(b []byte) (string, bool) {
	h, err := parseHead(b)
	if err != nil {
		return "", false
	}
	switch h.kind {
	case kindString:
		return string(b[h.size : h.size+h.n]), true
	case kindUint:
		return strconv.FormatUint(h.u, 10), true
	case kindInt:
		return strconv.FormatInt(h.i, 10), true
	case kindFloat:
		return js.NumberText(h.f), true
	default:
		return "", false
	}
}

// integer gives a number without a fraction.
func integer(b []byte) (int64, bool) {
	h, err := parseHead(b)
	if err != nil {
		return 0, false
	}
	switch {
	case h.kind == kindUint && h.u <= math.MaxInt64:
		return int64(h.u), true
	case h.kind == kindInt:
		return h.i, true
	case h.kind == kindFloat && h.f == math.Trunc(h.f) && math.Abs(h.f) < 1<<53:
		return int64(h.f), true
	default:
		return 0, false
	}
}

func isNil(b []byte) bool { return len(b) == 1 && b[0] == 0xc0 }

// undefined tells whether b is how the older Node adapters write undefined.
func undefined(b []byte) bool {
	return len(b) == 3 && b[0] == 0xd4 && b[1] == 0 && b[2] == 0
}

// extDate reads the two forms of a date: the timestamp extension, and the one of the older Node adapters.
func extDate(b []byte, h head) (time.Time, bool) {
	p := b[h.size : h.size+h.n]
	switch {
	case h.ext == 0 && b[0] == 0xd7:
		return time.UnixMilli(int64(binary.BigEndian.Uint64(p))), true
	case h.ext == -1 && h.n == 4:
		return time.Unix(int64(binary.BigEndian.Uint32(p)), 0), true
	case h.ext == -1 && h.n == 8:
		u := binary.BigEndian.Uint64(p)
		return time.Unix(int64(u&(1<<34-1)), int64(u>>34)), true
	case h.ext == -1 && h.n == 12:
		return time.Unix(int64(binary.BigEndian.Uint64(p[4:])), int64(binary.BigEndian.Uint32(p))), true
	default:
		return time.Time{}, false
	}
}

const isoMillis = "2006-01-02T15:04:05.000Z"

// appendPlain copies the value at the start of src, whose whole was checked, without extension types, which not
// every generation of peers understands: dates become strings, undefined becomes nil, the rest binary.
func appendPlain(dst, src []byte) (out []byte, n int) {
	h, err := parseHead(src)
	if err != nil { // cannot be: it was checked
		return msgp.AppendNil(dst), len(src)
	}
	switch h.kind {
	case kindArray, kindMap:
		dst = append(dst, src[:h.size]...)
		n = h.size
		for range h.elements() {
			var m int
			dst, m = appendPlain(dst, src[n:])
			n += m
		}
		return dst, n
	case kindExt:
		n = h.size + h.n
		if undefined(src[:n]) {
			return msgp.AppendNil(dst), n
		}
		if t, ok := extDate(src, h); ok {
			return msgp.AppendString(dst, t.UTC().Format(isoMillis)), n
		}
		return msgp.AppendBytes(dst, src[h.size:n]), n
	case kindString, kindBinary:
		n = h.size + h.n
		return append(dst, src[:n]...), n
	default:
		return append(dst, src[:h.size]...), h.size
	}
}
