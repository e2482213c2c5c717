package parser

import (
	"encoding/binary"
	"maps"
	"math"
	"slices"
	"strconv"

	"github.com/tinylib/msgp/msgp"

	"github.com/sockeye-io/sockeye/internal/jsonscan"
	"github.com/sockeye-io/sockeye/internal/mpack"
)

// appendMsgpack appends the MessagePack encoding of a.
func appendMsgpack(dst []byte, a Arg) ([]byte, error) {
	switch a.kind {
	case argJSON:
		return appendMsgpackJSON(dst, a.raw, a.bin(), a.placeholders(nil)), nil
	case argRawJSON:
		if _, err := jsonscan.Value(a.raw, jsonscan.MaxDepth); err != nil {
			return dst, ErrArg
		}
		return appendMsgpackJSON(dst, a.raw, nil, nil), nil
	case argMsgpack:
		return appendMsgpackRaw(dst, a.raw)
	case argBytes:
		return msgp.AppendBytes(dst, a.raw), nil
	case argValue:
		return appendMsgpackGo(dst, a.v, a.codec(), 0)
	default:
		return msgp.AppendNil(dst), nil
	}
}

// appendMsgpackGo appends a Go value. What is none of Go's basic types goes by way of JSON, so that the rules of
// encoding/json hold for it.
func appendMsgpackGo(dst []byte, v any, c Codec, depth int) ([]byte, error) {
	if depth > maxValueDepth {
		return dst, errDeepValue
	}
	switch v := v.(type) {
	case nil:
		return msgp.AppendNil(dst), nil
	case string:
		return appendMsgpackString(dst, v), nil
	case bool:
		return msgp.AppendBool(dst, v), nil
	case int:
		return appendMsgpackInt(dst, int64(v)), nil
	case int64:
		return appendMsgpackInt(dst, v), nil
	case uint64:
		return msgp.AppendUint64(dst, v), nil
	case float64:
		return appendMsgpackFloat(dst, v), nil
	case []byte:
		if v != nil {
			return msgp.AppendBytes(dst, v), nil
		}
	case Arg:
		if v.kind == argValue {
			return appendMsgpackGo(dst, v.v, c, depth+1)
		}
		return appendMsgpack(dst, v)
	case []any:
		if v != nil {
			return appendMsgpackSlice(dst, v, c, depth+1)
		}
	case map[string]any:
		if v != nil {
			return appendMsgpackMap(dst, v, c, depth+1)
		}
	}
	e := newEncoder(c)
	defer e.free()
	if err := e.value(v); err != nil {
		return dst, err
	}
	ph := Arg{raw: e.buf, src: &source{bin: e.att}}.placeholders(nil)
	return appendMsgpackJSON(dst, e.buf, e.att, ph), nil
}

func appendMsgpackSlice(dst []byte, s []any, c Codec, depth int) (out []byte, err error) {
	dst = msgp.AppendArrayHeader(dst, uint32(len(s)))
	for _, v := range s {
		if dst, err = appendMsgpackGo(dst, v, c, depth); err != nil {
			return dst, err
		}
	}
	return dst, nil
}

func appendMsgpackMap(dst []byte, m map[string]any, c Codec, depth int) (out []byte, err error) {
	dst = msgp.AppendMapHeader(dst, uint32(len(m)))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if dst, err = appendMsgpackGo(appendMsgpackString(dst, k), m[k], c, depth); err != nil {
			return dst, err
		}
	}
	return dst, nil
}

// appendMsgpackString makes valid UTF-8 of s.
func appendMsgpackString(dst []byte, s string) []byte {
	if jsonscan.Plain(s) == len(s) {
		return msgp.AppendString(dst, s)
	}
	return msgp.AppendString(dst, string([]rune(s)))
}

func appendMsgpackInt(dst []byte, i int64) []byte {
	if i >= 0 {
		return msgp.AppendUint64(dst, uint64(i))
	}
	return msgp.AppendInt64(dst, i)
}

func appendMsgpackFloat(dst []byte, f float64) []byte {
	if math.IsNaN(f) {
		return binary.BigEndian.AppendUint64(append(dst, 0xcb), 0x7ff8_0000_0000_0000) // the one of JavaScript
	}
	if f == math.Trunc(f) {
		switch {
		case f >= 0 && f < 1<<64:
			return msgp.AppendUint64(dst, uint64(f))
		case f < 0 && f >= -1<<63:
			return msgp.AppendInt64(dst, int64(f))
		}
	}
	return msgp.AppendFloat64(dst, f)
}

// appendMsgpackNumber appends a number of JSON.
func appendMsgpackNumber(dst, lit []byte) []byte {
	if i, err := strconv.ParseInt(string(lit), 10, 64); err == nil {
		return appendMsgpackInt(dst, i)
	}
	if u, err := strconv.ParseUint(string(lit), 10, 64); err == nil {
		return msgp.AppendUint64(dst, u)
	}
	f, _ := strconv.ParseFloat(string(lit), 64) // beyond the range it is infinite, as in JavaScript
	return appendMsgpackFloat(dst, f)
}

// appendMsgpackRaw appends b if it is one value, in the words that every notepack and so every client and
// every server of the classic adapter understands: bytes as such and not as extension 0, dates as extension 0
// and not as timestamps, which old ones take for arrays.
func appendMsgpackRaw(dst, b []byte) ([]byte, error) {
	if rest, _, err := mpack.Skip(b, mpack.MaxDepth); err != nil || len(rest) > 0 {
		return dst, ErrArg
	}
	for len(b) > 0 {
		t, rest, err := mpack.Read(b)
		if err != nil {
			return dst, ErrArg
		}
		if ms, ok := t.Millis(); ok {
			dst = binary.BigEndian.AppendUint64(append(dst, 0xd7, 0), uint64(ms))
		} else if isMsgpackBytes(&t) {
			dst = msgp.AppendBytes(dst, t.Data)
		} else {
			dst = append(dst, b[:len(b)-len(rest)]...)
		}
		b = rest
	}
	return dst, nil
}

// appendMsgpackJSON appends raw, which is valid JSON, with bin in the place of the placeholders ph. The lengths
// of arrays and maps stand at their heads, so it goes through raw twice.
func appendMsgpackJSON(dst, raw []byte, bin [][]byte, ph []jsonscan.Placeholder) []byte {
	var room [16]int
	lens := jsonscan.Lengths(room[:0], raw, ph)
	for i := 0; i < len(raw); {
		if len(ph) > 0 && i == ph[0].Start {
			dst = msgp.AppendBytes(dst, bin[ph[0].Num])
			i, ph = ph[0].End, ph[1:]
			continue
		}
		end := i + 1
		switch raw[i] {
		case ' ', '\t', '\r', '\n', ',', ':', ']', '}':
		case '[':
			dst, lens = msgp.AppendArrayHeader(dst, uint32(lens[0])), lens[1:]
		case '{':
			dst, lens = msgp.AppendMapHeader(dst, uint32(lens[0])), lens[1:]
		default:
			end = jsonscan.ScalarEnd(raw, i)
			dst = appendMsgpackScalar(dst, raw[i:end])
		}
		i = end
	}
	return dst
}

func appendMsgpackScalar(dst, lit []byte) []byte {
	switch lit[0] {
	case '"':
		return msgp.AppendStringFromBytes(dst, jsonscan.Unquoted(lit))
	case 't', 'f':
		return msgp.AppendBool(dst, lit[0] == 't')
	case 'n':
		return msgp.AppendNil(dst)
	}
	return appendMsgpackNumber(dst, lit)
}
