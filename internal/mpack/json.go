package mpack

import (
	"strconv"

	"github.com/sockeye-io/sockeye/internal/js"
)

// BytesWriter says what stands for bytes in JSON.
type BytesWriter interface {
	// AppendBytes appends it to dst, which is the JSON so far.
	AppendBytes(dst, data []byte) []byte
}

// AppendJSON appends what JSON.stringify makes of the value at the beginning of b, once notepack has read it: keys whose
// value is undefined are left out, and an extension of an unknown type is an array of the type and its bytes.
// Strings are made valid UTF-8. Nesting ends at [MaxDepth], and keys are strings or numbers. With an error out has what
// was appended before it.
func AppendJSON(dst, b []byte, bytes BytesWriter) (out, rest []byte, err error) {
	w := jsonWriter{buf: dst, bytes: bytes}
	rest, err = w.value(b, 0)
	return w.buf, rest, err
}

type jsonWriter struct {
	buf   []byte
	bytes BytesWriter
}

// value appends the value at the beginning of b. Its recursion ends at MaxDepth.
func (w *jsonWriter) value(b []byte, depth int) (rest []byte, err error) {
	t, rest, err := Read(b)
	if err != nil {
		return nil, err
	}
	switch t.Kind {
	case Nil:
		w.buf = append(w.buf, "null"...)
	case Bool:
		w.buf = strconv.AppendBool(w.buf, t.Bool)
	case Uint:
		w.buf = strconv.AppendUint(w.buf, t.U, 10)
	case Int:
		w.buf = strconv.AppendInt(w.buf, t.I, 10)
	case Float:
		w.buf = js.AppendNumber(w.buf, t.F, 64)
	case Str:
		w.buf = js.AppendString(w.buf, t.Data)
	case Bin:
		w.buf = w.bytes.AppendBytes(w.buf, t.Data)
	case Ext:
		w.ext(&t)
	case Array:
		return w.array(t.Len, rest, depth+1)
	case Map:
		return w.mapping(t.Len, rest, depth+1)
	}
	return rest, nil
}

func (w *jsonWriter) ext(t *Token) {
	if ms, ok := t.Millis(); ok {
		w.buf = js.AppendDate(w.buf, ms)
		return
	}
	switch {
	case t.Undefined():
		w.buf = append(w.buf, "null"...)
	case t.Ext == 0:
		w.buf = w.bytes.AppendBytes(w.buf, t.Data)
	default:
		w.buf = append(strconv.AppendInt(append(w.buf, '['), int64(t.Ext), 10), ',')
		w.buf = append(w.bytes.AppendBytes(w.buf, t.Data), ']')
	}
}

func (w *jsonWriter) array(n int, b []byte, depth int) (rest []byte, err error) {
	if depth > MaxDepth {
		return nil, ErrDepth
	}
	w.buf = append(w.buf, '[')
	for i := range n {
		if i > 0 {
			w.buf = append(w.buf, ',')
		}
		if b, err = w.value(b, depth); err != nil {
			return nil, err
		}
	}
	w.buf = append(w.buf, ']')
	return b, nil
}

func (w *jsonWriter) mapping(n int, b []byte, depth int) (rest []byte, err error) {
	if depth > MaxDepth {
		return nil, ErrDepth
	}
	w.buf = append(w.buf, '{')
	comma := false
	for range n {
		before := len(w.buf)
		if comma {
			w.buf = append(w.buf, ',')
		}
		if b, err = w.key(b); err != nil {
			return nil, err
		}
		if t, after, err := Read(b); err == nil && t.Undefined() {
			b, w.buf = after, w.buf[:before]
			continue
		}
		if b, err = w.value(b, depth); err != nil {
			return nil, err
		}
		comma = true
	}
	w.buf = append(w.buf, '}')
	return b, nil
}

// key appends a key and its colon.
func (w *jsonWriter) key(b []byte) (rest []byte, err error) {
	t, rest, err := Read(b)
	if err != nil {
		return nil, err
	}
	if t.Kind == Str {
		w.buf = js.AppendString(w.buf, t.Data)
	} else {
		s, ok := t.Text()
		if !ok {
			return nil, ErrSyntax
		}
		w.buf = append(append(append(w.buf, '"'), s...), '"')
	}
	w.buf = append(w.buf, ':')
	return rest, nil
}
