package rediswire

import (
	"bytes"
	"errors"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/sockeye-io/sockeye/internal/js"
	"github.com/sockeye-io/sockeye/internal/jsonscan"
	"github.com/sockeye-io/sockeye/internal/mpack"
	"github.com/sockeye-io/sockeye/parser"
)

// maxDepth bounds the nesting of a message: that of its arguments, and what is around them.
const maxDepth = mpack.MaxDepth + 8

// errKind is the error for a field of another type than wanted.
var errKind = errors.New("rediswire: value of another type than wanted")

// value is a JSON or MessagePack value that was checked to its last string, so that reading it cannot fail. It refers to
// the message that it is a part of. The zero value stands for a field that is not there.
type value struct {
	b    []byte // without blanks around
	json bool
}

// isJSON tells whether a message is JSON, by its first byte as the Node adapters do.
func isJSON(b []byte) bool { return len(b) > 0 && b[0] == '{' }

// checked makes a value of a message.
func checked(b []byte) (value, error) {
	if isJSON(b) {
		_, err := jsonscan.Value(b, maxDepth)
		if err != nil && !utf8.Valid(b) { // JavaScript replaces what is not UTF-8 on reading
			b = bytes.ToValidUTF8(b, []byte("\ufffd"))
			_, err = jsonscan.Value(b, maxDepth)
		}
		return value{trimmed(b), true}, err
	}
	rest, _, err := mpack.CheckDepth(b, maxDepth)
	if err == nil && len(rest) > 0 {
		err = errMsgpackTail
	}
	return value{b: b}, err
}

// trimmed takes the blanks after JSON away.
func trimmed(b []byte) []byte {
	for n := len(b); n > 0; n-- {
		switch b[n-1] {
		case ' ', '\t', '\r', '\n':
		default:
			return b[:n:n]
		}
	}
	return nil
}

// token is the head of a MessagePack value.
func (v value) token() mpack.Token {
	t, _, _ := mpack.Read(v.b) // it was checked
	return t
}

// missing tells whether a field is not there, null or undefined.
func (v value) missing() bool {
	switch {
	case len(v.b) == 0:
		return true
	case v.json:
		return v.b[0] == 'n'
	}
	t := v.token()
	return t.Kind == mpack.Nil || t.Undefined()
}

// str gives a string; ok is false for everything else.
func (v value) str() (s string, ok bool) {
	if len(v.b) == 0 {
		return "", false
	}
	if v.json {
		if v.b[0] != '"' {
			return "", false
		}
		return string(jsonscan.Unquoted(v.b)), true
	}
	t := v.token()
	return string(t.Data), t.Kind == mpack.Str
}

// optional gives a string; "" if it is missing.
func (v value) optional(key string) (string, error) {
	if v.missing() {
		return "", nil
	}
	s, ok := v.str()
	if !ok {
		return "", field(key, errKind)
	}
	return s, nil
}

// text gives a string, or a number as JavaScript prints it.
func (v value) text() (s string, ok bool) {
	if !v.json {
		if len(v.b) == 0 {
			return "", false
		}
		t := v.token()
		return t.Text()
	}
	if s, ok = v.str(); ok {
		return s, true
	}
	f, ok := v.number()
	if !ok {
		return "", false
	}
	return js.NumberText(f), true
}

// number gives a number of JSON, which is infinite beyond the range of JavaScript's.
func (v value) number() (float64, bool) {
	if len(v.b) == 0 || v.b[0] != '-' && (v.b[0] < '0' || v.b[0] > '9') {
		return 0, false
	}
	f, _ := strconv.ParseFloat(string(v.b), 64)
	return f, true
}

// integer gives a number without fraction; ok is false for everything else.
func (v value) integer() (n int64, ok bool) {
	if !v.json {
		if len(v.b) == 0 {
			return 0, false
		}
		t := v.token()
		return t.Integer()
	}
	if len(v.b) == 1 && v.b[0] >= '0' && v.b[0] <= '9' {
		return int64(v.b[0] - '0'), true
	}
	f, ok := v.number()
	if !ok || f != math.Trunc(f) || math.Abs(f) >= 1<<53 {
		return 0, false
	}
	return int64(f), true
}

// is tells whether it is that boolean.
func (v value) is(b bool) bool {
	if v.json {
		return string(v.b) == strconv.FormatBool(b)
	}
	if len(v.b) == 0 {
		return false
	}
	t := v.token()
	return t.Kind == mpack.Bool && t.Bool == b
}

// arg gives the value as an argument, undecoded.
func (v value) arg() parser.Arg {
	if v.json {
		return parser.RawJSON(v.b)
	}
	return parser.RawMsgpack(v.b)
}

// optionalArg gives the value as an argument; the absent one if it is missing.
func (v value) optionalArg() parser.Arg {
	if v.missing() {
		return parser.Arg{}
	}
	return v.arg()
}

// names gives an array of strings and numbers, none if it is missing. none tells that there were some elements, but
// none of those.
func (v value) names(key string) (names []string, none bool, err error) {
	if v.missing() {
		return nil, false, nil
	}
	c, ok := v.array()
	if !ok {
		return nil, false, field(key, errKind)
	}
	some := false
	for e, ok := c.next(); ok; e, ok = c.next() {
		some = true
		if s, ok := e.text(); ok {
			names = append(names, s)
		}
	}
	return names, some && len(names) == 0, nil
}

// cursor goes through the elements of an array or the fields of an object.
type cursor struct {
	b    []byte // what is left
	left int    // of MessagePack: elements or fields
	json bool
}

// array begins with the elements of an array; ok is false for everything else.
func (v value) array() (c cursor, ok bool) { return v.open('[', mpack.Array) }

// object begins with the fields of an object; ok is false for everything else.
func (v value) object() (c cursor, ok bool) { return v.open('{', mpack.Map) }

func (v value) open(first byte, kind mpack.Kind) (c cursor, ok bool) {
	if len(v.b) == 0 {
		return c, false
	}
	if v.json {
		return cursor{b: v.b[1:], json: true}, v.b[0] == first
	}
	t, rest, _ := mpack.Read(v.b)
	return cursor{b: rest, left: t.Len}, t.Kind == kind
}

// next gives the next element of an array.
func (c *cursor) next() (v value, ok bool) {
	if c.json {
		c.blanks()
		if c.b[0] == ']' {
			return value{}, false
		}
		return c.take(jsonEnd(c.b)), true
	}
	if c.left == 0 {
		return value{}, false
	}
	c.left--
	return c.value(), true
}

// field gives the next field of an object whose key is a string.
func (c *cursor) field() (key []byte, v value, ok bool) {
	if c.json {
		c.blanks()
		if c.b[0] == '}' {
			return nil, value{}, false
		}
		k := c.take(jsonscan.ScalarEnd(c.b, 0))
		c.blanks()
		return jsonscan.Unquoted(k.b), c.take(jsonEnd(c.b)), true
	}
	for c.left > 0 {
		c.left--
		k, v := c.value(), c.value()
		if k.b[0]&^0x1f == 0xa0 { // a short string
			return k.b[1:], v, true
		}
		if t := k.token(); t.Kind == mpack.Str {
			return t.Data, v, true
		}
	}
	return nil, value{}, false
}

// blanks goes to what is neither a blank nor a separator.
func (c *cursor) blanks() {
	for {
		switch c.b[0] {
		case ' ', '\t', '\r', '\n', ',', ':':
			c.b = c.b[1:]
		default:
			return
		}
	}
}

func (c *cursor) take(n int) value {
	v := value{c.b[:n:n], c.json}
	c.b = c.b[n:]
	return v
}

// value takes a value of MessagePack.
func (c *cursor) value() value { return c.take(mpack.Len(c.b)) }

// jsonEnd gives the end of the value at the beginning of b, which is valid JSON up to there.
func jsonEnd(b []byte) int {
	if b[0] != '{' && b[0] != '[' {
		return jsonscan.ScalarEnd(b, 0)
	}
	depth := 0
	for i := 0; i < len(b); {
		switch b[i] {
		case '"':
			i = jsonscan.ScalarEnd(b, i)
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
		i++
	}
	return len(b)
}

// answer gives the value as the only argument of an answer, none if it is not there or undefined.
func (v value) answer() []parser.Arg {
	if len(v.b) == 0 {
		return nil
	}
	if !v.json {
		if t := v.token(); t.Undefined() {
			return nil
		}
	}
	return []parser.Arg{v.arg()}
}
