package parser

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"sync"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/sockeye-io/sockeye/internal/js"
	"github.com/sockeye-io/sockeye/internal/jsonscan"
)

// maxValueDepth bounds the nesting of Go values, so that a cycle is an error.
const maxValueDepth = 1000

// encoder makes JSON text with attachments.
type encoder struct {
	buf   []byte
	att   [][]byte
	own   []jsonscan.Placeholder // where they are in buf, unless a part of it came from the library
	codec Codec
	depth int

	std   *json.Encoder // writes to out; made when first needed
	out   bytes.Buffer
	mixed jsonv2.Options // by which a library hands bytes to us; made when first needed
	ph    []jsonscan.Placeholder
	keys  []string
}

var encoders = sync.Pool{New: func() any { return new(encoder) }}

func newEncoder(c Codec) *encoder {
	e, ok := encoders.Get().(*encoder)
	if !ok { // the pool holds nothing else
		e = new(encoder)
	}
	e.codec = c
	return e
}

// free gives e back. Nothing of e.buf may be used afterwards.
func (e *encoder) free() {
	const most = 64 << 10
	if cap(e.buf) > most || e.out.Cap() > most || cap(e.att) > 64 || cap(e.ph) > 64 || cap(e.keys) > 256 {
		return
	}
	clear(e.att)
	clear(e.keys[:cap(e.keys)])
	e.buf, e.att, e.own, e.codec, e.depth = e.buf[:0], e.att[:0], e.own[:0], nil, 0
	e.out.Reset()
	encoders.Put(e)
}

// arg appends the JSON of a.
func (e *encoder) arg(a Arg) error {
	switch a.kind {
	case argJSON:
		e.json(a)
		return nil
	case argRawJSON:
		if _, err := jsonscan.Value(a.raw, jsonscan.MaxDepth); err != nil {
			return ErrArg
		}
		e.buf = append(e.buf, a.raw...)
		return nil
	case argMsgpack:
		return e.msgpackArg(a.raw)
	case argBytes:
		e.bytes(a.raw)
		return nil
	case argValue:
		return e.value(a.v)
	default:
		e.buf = append(e.buf, "null"...)
		return nil
	}
}

// json appends JSON from a decoder, whose placeholders get the numbers that they have in this packet.
func (e *encoder) json(a Arg) {
	bin := a.bin()
	if bin == nil {
		e.buf = append(e.buf, a.raw...)
		return
	}
	e.ph = a.placeholders(e.ph[:0])
	last := 0
	for _, h := range e.ph {
		e.buf = append(e.buf, a.raw[last:h.Start]...)
		e.bytes(bin[h.Num])
		last = h.End
	}
	e.buf = append(e.buf, a.raw[last:]...)
}

// placeholders appends those placeholders of JSON from a decoder that stand for attachments.
func (a Arg) placeholders(dst []jsonscan.Placeholder) []jsonscan.Placeholder {
	if a.bin() == nil {
		return dst
	}
	if a.src.ph != nil {
		return append(dst, a.src.ph...)
	}
	n := len(dst)
	dst = jsonscan.Placeholders(dst, a.raw)
	kept := dst[:n]
	for _, h := range dst[n:] {
		if h.Num >= 0 && h.Num < len(a.src.bin) {
			kept = append(kept, h)
		}
	}
	return kept
}

// bytes appends a placeholder for b.
func (e *encoder) bytes(b []byte) { e.buf = e.AppendBytes(e.buf, b) }

// AppendBytes implements [mpack.BytesWriter] with placeholders.
func (e *encoder) AppendBytes(dst, b []byte) []byte {
	h := jsonscan.Placeholder{Num: len(e.att)}
	h.Start = len(dst)
	dst = append(dst, `{"_placeholder":true,"num":`...)
	dst = append(strconv.AppendInt(dst, int64(h.Num), 10), '}')
	h.End = len(dst)
	e.own = append(e.own, h)
	e.att = append(e.att, b)
	return dst
}

// value appends the JSON of a Go value.
func (e *encoder) value(v any) error {
	switch v := v.(type) {
	case nil:
		e.buf = append(e.buf, "null"...)
	case string:
		e.buf = js.AppendString(e.buf, v)
	case bool:
		e.buf = strconv.AppendBool(e.buf, v)
	case int:
		e.buf = strconv.AppendInt(e.buf, int64(v), 10)
	case int64:
		e.buf = strconv.AppendInt(e.buf, v, 10)
	case int32:
		e.buf = strconv.AppendInt(e.buf, int64(v), 10)
	case uint64:
		e.buf = strconv.AppendUint(e.buf, v, 10)
	case uint32:
		e.buf = strconv.AppendUint(e.buf, uint64(v), 10)
	case uint:
		e.buf = strconv.AppendUint(e.buf, uint64(v), 10)
	case float64:
		e.buf = js.AppendNumber(e.buf, v, 64)
	case float32:
		e.buf = js.AppendNumber(e.buf, float64(v), 32)
	case []byte:
		if v == nil {
			e.buf = append(e.buf, "null"...)
			return nil
		}
		e.bytes(v)
	case Arg:
		return e.deeper(func() error { return e.arg(v) })
	case json.RawMessage:
		if v == nil {
			v = json.RawMessage("null")
		}
		return e.arg(RawJSON(v))
	case []any:
		return e.deeper(func() error { return e.slice(v) })
	case map[string]any:
		return e.deeper(func() error { return e.mapping(v) })
	case []string:
		if v == nil {
			e.buf = append(e.buf, "null"...)
			return nil
		}
		e.buf = append(e.buf, '[')
		for i, s := range v {
			if i > 0 {
				e.buf = append(e.buf, ',')
			}
			e.buf = js.AppendString(e.buf, s)
		}
		e.buf = append(e.buf, ']')
	default:
		return e.reflected(v)
	}
	return nil
}

func (e *encoder) deeper(f func() error) error {
	if e.depth == maxValueDepth {
		return errDeepValue
	}
	e.depth++
	err := f()
	e.depth--
	return err
}

func (e *encoder) slice(s []any) error {
	if s == nil {
		e.buf = append(e.buf, "null"...)
		return nil
	}
	e.buf = append(e.buf, '[')
	for i, v := range s {
		if i > 0 {
			e.buf = append(e.buf, ',')
		}
		if err := e.value(v); err != nil {
			return err
		}
	}
	e.buf = append(e.buf, ']')
	return nil
}

// mapping appends the keys in order, as encoding/json does.
func (e *encoder) mapping(m map[string]any) error {
	if m == nil {
		e.buf = append(e.buf, "null"...)
		return nil
	}
	from := len(e.keys)
	for k := range m {
		e.keys = append(e.keys, k)
	}
	n := len(e.keys)
	slices.Sort(e.keys[from:n])
	e.buf = append(e.buf, '{')
	for i := from; i < n; i++ {
		if i > from {
			e.buf = append(e.buf, ',')
		}
		k := e.keys[i]
		e.buf = append(js.AppendString(e.buf, k), ':')
		if err := e.value(m[k]); err != nil {
			return err
		}
	}
	e.keys = e.keys[:from]
	e.buf = append(e.buf, '}')
	return nil
}
