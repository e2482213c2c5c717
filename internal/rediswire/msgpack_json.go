package rediswire

import (
	"strconv"

	"github.com/sockeye-io/sockeye/internal/js"
)

// appendJSONValue writes the value at the start of src, whose whole was checked, as JavaScript's JSON.stringify
// would: binary in the form of a Buffer.
func appendJSONValue(dst, src []byte) (out []byte, n int) {
	h, err := parseHead(src)
	if err != nil { // cannot be: it was checked
		return append(dst, "null"...), len(src)
	}
	n = h.size
	switch h.kind {
	case kindNil:
		return append(dst, "null"...), n
	case kindBool:
		return strconv.AppendBool(dst, h.u == 1), n
	case kindUint:
		return strconv.AppendUint(dst, h.u, 10), n
	case kindInt:
		return strconv.AppendInt(dst, h.i, 10), n
	case kindFloat:
		return js.AppendNumber(dst, h.f, 64), n
	case kindString:
		return js.AppendString(dst, src[n:n+h.n]), n + h.n
	case kindBinary:
		return appendJSONBuffer(dst, src[n:n+h.n]), n + h.n
	case kindExt:
		return appendJSONExt(dst, src, h), n + h.n
	case kindArray:
		dst = append(dst, '[')
		for i := range h.n {
			if i > 0 {
				dst = append(dst, ',')
			}
			var m int
			dst, m = appendJSONValue(dst, src[n:])
			n += m
		}
		return append(dst, ']'), n
	default:
		return appendJSONMap(dst, src, h)
	}
}

func appendJSONMap(dst, src []byte, h head) (out []byte, n int) {
	n = h.size
	dst = append(dst, '{')
	empty := true
	for range h.n {
		key, ok := text(src[n:])
		m, _, _ := valueLen(src[n:]) // it was checked, and is short if it is text
		n += m
		mark := len(dst)
		if !empty {
			dst = append(dst, ',')
		}
		dst = append(js.AppendString(dst, key), ':')
		skip := !ok || undefined(src[n:min(n+3, len(src))])
		dst, m = appendJSONValue(dst, src[n:])
		n += m
		if skip {
			dst = dst[:mark]
			continue
		}
		empty = false
	}
	return append(dst, '}'), n
}

func appendJSONExt(dst, src []byte, h head) []byte {
	if undefined(src[:h.size+h.n]) {
		return append(dst, "null"...)
	}
	if t, ok := extDate(src, h); ok {
		return js.AppendString(dst, t.UTC().Format(isoMillis))
	}
	return appendJSONBuffer(dst, src[h.size:h.size+h.n])
}

func appendJSONBuffer(dst, p []byte) []byte {
	dst = append(dst, `{"type":"Buffer","data":[`...)
	for i, c := range p {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendUint(dst, uint64(c), 10)
	}
	return append(dst, "]}"...)
}
