// Package mpack reads MessagePack without trusting it: no length is believed before the bytes are there, and
// nesting is bounded.
//
// Not in this package: writing, and which extensions a peer understands.
package mpack

import (
	"encoding/binary"
	"errors"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/sockeye-io/sockeye/internal/js"
)

// MaxDepth is the deepest nesting of arrays and maps that servers accept of each other. Node's decoder recurses, so
// that something deeper could end a peer.
const MaxDepth = 512

// Errors of this package.
var (
	ErrSyntax = errors.New("mpack: malformed MessagePack")
	ErrDepth  = errors.New("mpack: nested too deeply")
	ErrUTF8   = errors.New("mpack: string that is not UTF-8")
)

// Kind is what a token is.
type Kind uint8

// The kinds. A token of kind Array or Map is followed by its elements.
const (
	Nil Kind = iota
	Bool
	Uint  // in U
	Int   // negative, in I
	Float // in F
	Str   // in Data
	Bin   // in Data
	Ext   // in Data and Ext
	Array // Len elements follow
	Map   // Len keys and values follow
)

// Token is one value, or the head of an array or map.
type Token struct {
	Kind  Kind
	Bool  bool
	Fixed bool // the Ext is written with one of the first bytes that tell its length
	Ext   int8
	Len   int
	U     uint64
	I     int64
	F     float64
	Data  []byte // aliases the input
}

// Read reads the token at the beginning of b. An array or map is only accepted if b could hold it.
func Read(b []byte) (t Token, rest []byte, err error) {
	if len(b) == 0 {
		return t, nil, ErrSyntax
	}
	c := b[0]
	b = b[1:]
	switch {
	case c < 0x80:
		return Token{Kind: Uint, U: uint64(c)}, b, nil
	case c < 0x90:
		return container(Map, uint64(c&15), b)
	case c < 0xa0:
		return container(Array, uint64(c&15), b)
	case c < 0xc0:
		return data(Token{Kind: Str}, uint64(c&31), b)
	case c >= 0xe0:
		return Token{Kind: Int, I: int64(int8(c))}, b, nil
	}
	switch c {
	case 0xc0:
		return Token{Kind: Nil}, b, nil
	case 0xc2, 0xc3:
		return Token{Kind: Bool, Bool: c == 0xc3}, b, nil
	}
	return long(c, b)
}

// long reads the tokens whose first byte c does not say everything.
func long(c byte, b []byte) (t Token, rest []byte, err error) {
	size := sizes[c-0xc0]
	if size == 0 || len(b) < int(size) {
		return t, nil, ErrSyntax
	}
	n := number(b[:size])
	b = b[size:]
	switch c {
	case 0xc4, 0xc5, 0xc6:
		return data(Token{Kind: Bin}, n, b)
	case 0xc7, 0xc8, 0xc9:
		return ext(n, b)
	case 0xca:
		return Token{Kind: Float, F: float64(math.Float32frombits(uint32(n)))}, b, nil
	case 0xcb:
		return Token{Kind: Float, F: math.Float64frombits(n)}, b, nil
	case 0xcc, 0xcd, 0xce, 0xcf:
		return Token{Kind: Uint, U: n}, b, nil
	case 0xd0, 0xd1, 0xd2, 0xd3:
		shift := 64 - 8*uint(size)
		if i := int64(n<<shift) >> shift; i < 0 {
			return Token{Kind: Int, I: i}, b, nil
		}
		return Token{Kind: Uint, U: n}, b, nil
	case 0xd4, 0xd5, 0xd6, 0xd7, 0xd8:
		return data(Token{Kind: Ext, Ext: int8(n), Fixed: true}, 1<<(c-0xd4), b)
	case 0xd9, 0xda, 0xdb:
		return data(Token{Kind: Str}, n, b)
	case 0xdc, 0xdd:
		return container(Array, n, b)
	}
	return container(Map, n, b) // 0xde, 0xdf
}

// sizes gives for the first bytes 0xc0...0xdf how many bytes of number follow; of a fixext it is the type.
var sizes = [32]uint8{
	0, 0, 0, 0, 1, 2, 4, 1, 2, 4, 4, 8, 1, 2, 4, 8,
	1, 2, 4, 8, 1, 1, 1, 1, 1, 1, 2, 4, 2, 4, 2, 4,
}

func number(b []byte) uint64 {
	switch len(b) {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(binary.BigEndian.Uint16(b))
	case 4:
		return uint64(binary.BigEndian.Uint32(b))
	}
	return binary.BigEndian.Uint64(b)
}

func data(t Token, n uint64, b []byte) (Token, []byte, error) {
	if n > uint64(len(b)) {
		return Token{}, nil, ErrSyntax
	}
	t.Data = b[:n:n]
	return t, b[n:], nil
}

func ext(n uint64, b []byte) (Token, []byte, error) {
	if len(b) == 0 {
		return Token{}, nil, ErrSyntax
	}
	return data(Token{Kind: Ext, Ext: int8(b[0])}, n, b[1:])
}

func container(k Kind, n uint64, b []byte) (Token, []byte, error) {
	least := n // each element has at least one byte
	if k == Map {
		least *= 2
	}
	if least > uint64(len(b)) {
		return Token{}, nil, ErrSyntax
	}
	return Token{Kind: k, Len: int(n)}, b, nil
}

// Skip reads the value at the beginning of b. depth bounds the nesting of arrays and maps. binary tells whether
// bytes occur in it: a Bin, or an Ext that is neither a date nor undefined.
func Skip(b []byte, depth int) (rest []byte, binary bool, err error) {
	rest, f, err := walk(b, depth, false)
	return rest, f.binary, err
}

// Check is [Skip] for what comes from other servers or goes to them: nesting ends at [MaxDepth], and strings must be
// UTF-8. ext tells whether an Ext occurs.
func Check(b []byte) (rest []byte, ext bool, err error) { return CheckDepth(b, MaxDepth) }

// CheckDepth is [Check] with another bound of the nesting.
func CheckDepth(b []byte, depth int) (rest []byte, ext bool, err error) {
	rest, f, err := walk(b, depth, true)
	return rest, f.ext, err
}

// Len gives the length of the value at the beginning of b, which must have been checked.
func Len(b []byte) int {
	i := 0
	for left := 1; left > 0; left-- {
		c := b[i]
		i++
		switch {
		case c < 0x80 || c >= 0xe0:
		case c < 0x90:
			left += 2 * int(c&15)
		case c < 0xa0:
			left += int(c & 15)
		case c < 0xc0:
			i += int(c & 31)
		default:
			size, elements := longLen(c, b[i:])
			i += size
			left += elements
		}
	}
	return i
}

// longLen gives how many bytes and values follow a first byte c that does not say everything.
func longLen(c byte, b []byte) (size, elements int) {
	size = int(sizes[c-0xc0])
	switch {
	case c >= 0xde:
		return size, 2 * int(number(b[:size]))
	case c >= 0xdc:
		return size, int(number(b[:size]))
	case c >= 0xd4 && c <= 0xd8:
		return size + 1<<(c-0xd4), 0
	case c >= 0xc4 && c <= 0xc6 || c >= 0xd9:
		return size + int(number(b[:size])), 0
	case c >= 0xc7 && c <= 0xc9:
		return size + 1 + int(number(b[:size])), 0
	}
	return size, 0
}

// found is what occurs in a value.
type found struct{ binary, ext bool }

func (f *found) note(t *Token, text bool) error {
	switch t.Kind {
	case Str:
		if text && !utf8.Valid(t.Data) {
			return ErrUTF8
		}
	case Bin:
		f.binary = true
	case Ext:
		f.ext = true
		f.binary = f.binary || !t.Undefined() && !t.Date()
	default:
	}
	return nil
}

// walk reads the value at the beginning of b; with text its strings must be UTF-8.
func walk(b []byte, depth int, text bool) (rest []byte, f found, err error) {
	t, b, err := Read(b)
	if err != nil {
		return nil, f, err
	}
	if t.Kind < Array {
		return b, f, f.note(&t, text)
	}
	if depth < 1 {
		return nil, f, ErrDepth
	}
	return walkElements(b, t.elements(), depth, text)
}

// walkElements reads n values without recursion.
func walkElements(b []byte, n, depth int, text bool) (rest []byte, f found, err error) {
	var room [64]int
	left := append(room[:0], n) // how many values are missing, for each open container
	for {
		top := len(left) - 1
		if left[top] == 0 {
			if top == 0 {
				return b, f, nil
			}
			left = left[:top]
			continue
		}
		left[top]--
		var t Token
		if t, b, err = Read(b); err != nil {
			return nil, f, err
		}
		if t.Kind < Array {
			if err := f.note(&t, text); err != nil {
				return nil, f, err
			}
			continue
		}
		if len(left) == depth {
			return nil, f, ErrDepth
		}
		left = append(left, t.elements())
	}
}

// elements counts the values that follow an Array or Map.
func (t *Token) elements() int {
	if t.Kind == Map {
		return 2 * t.Len
	}
	return t.Len
}

// Integer gives a number without fraction, however it is written; ok is false beyond 64 bits, and for a Float beyond
// the integers that JavaScript can tell apart.
func (t *Token) Integer() (i int64, ok bool) {
	switch t.Kind {
	case Uint:
		return int64(t.U), t.U <= math.MaxInt64
	case Int:
		return t.I, true
	case Float:
		if t.F == math.Trunc(t.F) && math.Abs(t.F) < 1<<53 {
			return int64(t.F), true
		}
	default:
	}
	return 0, false
}

// Text gives a string, or a number as JavaScript makes a name of it.
func (t *Token) Text() (s string, ok bool) {
	switch t.Kind {
	case Str:
		return string(t.Data), true
	case Uint:
		return strconv.FormatUint(t.U, 10), true
	case Int:
		return strconv.FormatInt(t.I, 10), true
	case Float:
		return js.NumberText(t.F), true
	default:
		return "", false
	}
}

// Undefined tells whether t is JavaScript's undefined, as notepack 2 writes it.
func (t *Token) Undefined() bool { return t.Kind == Ext && t.Fixed && t.Ext == 0 && len(t.Data) == 1 }

// Date tells whether t is a date: a timestamp, or what notepack 2 writes.
func (t *Token) Date() bool {
	_, ok := t.Millis()
	return ok
}

// Millis gives a date in milliseconds since the Unix epoch.
func (t *Token) Millis() (ms int64, ok bool) {
	if t.Kind != Ext {
		return 0, false
	}
	d := t.Data
	if t.Ext == 0 && t.Fixed && len(d) == 8 {
		return int64(binary.BigEndian.Uint64(d)), true
	}
	if t.Ext != -1 {
		return 0, false
	}
	var sec int64
	var nsec uint32
	switch len(d) {
	case 4:
		sec = int64(binary.BigEndian.Uint32(d))
	case 8:
		n := binary.BigEndian.Uint64(d)
		nsec, sec = uint32(n>>34), int64(n&(1<<34-1))
	case 12:
		nsec, sec = binary.BigEndian.Uint32(d), int64(binary.BigEndian.Uint64(d[4:]))
	default:
		return 0, false
	}
	const most = 1 << 50 // seconds beyond are no date of JavaScript's and could overflow
	if sec > most || sec < -most {
		return math.MaxInt64, true
	}
	return sec*1000 + int64(nsec/1e6), true
}
