package parser

import (
	"strconv"

	"github.com/sockeye-io/sockeye/internal/js"
	"github.com/sockeye-io/sockeye/internal/mpack"
)

// maxMsgpackDepth bounds the nesting of what other servers send.
const maxMsgpackDepth = 512

// msgpackBytes gives the content of b if it is one binary value.
func msgpackBytes(b []byte) ([]byte, bool) {
	t, rest, err := mpack.Read(b)
	if err != nil || len(rest) > 0 || !isMsgpackBytes(&t) {
		return nil, false
	}
	return t.Data, true
}

// isMsgpackBytes tells whether t is binary: notepack 2 writes extension 0 for an ArrayBuffer.
func isMsgpackBytes(t *mpack.Token) bool {
	return t.Kind == mpack.Bin || t.Kind == mpack.Ext && t.Ext == 0 && !t.Undefined() && !t.Date()
}

func msgpackHasBinary(b []byte) bool {
	rest, binary, err := mpack.Skip(b, maxMsgpackDepth)
	return err == nil && len(rest) == 0 && binary
}

// msgpackArg appends the JSON of the one value in b.
func (e *encoder) msgpackArg(b []byte) error {
	rest, err := e.msgpack(b, 0)
	if err != nil || len(rest) > 0 {
		return ErrArg
	}
	return nil
}

// msgpack appends the JSON of the value at the beginning of b. Its recursion ends at maxMsgpackDepth.
func (e *encoder) msgpack(b []byte, depth int) (rest []byte, err error) {
	t, rest, err := mpack.Read(b)
	if err != nil {
		return nil, err
	}
	switch t.Kind {
	case mpack.Nil:
		e.buf = append(e.buf, "null"...)
	case mpack.Bool:
		e.buf = strconv.AppendBool(e.buf, t.Bool)
	case mpack.Uint:
		e.buf = strconv.AppendUint(e.buf, t.U, 10)
	case mpack.Int:
		e.buf = strconv.AppendInt(e.buf, t.I, 10)
	case mpack.Float:
		e.buf = js.AppendNumber(e.buf, t.F, 64)
	case mpack.Str:
		e.buf = js.AppendString(e.buf, t.Data)
	case mpack.Bin:
		e.bytes(t.Data)
	case mpack.Ext:
		e.msgpackExt(&t)
	case mpack.Array:
		return e.msgpackArray(t.Len, rest, depth+1)
	case mpack.Map:
		return e.msgpackMap(t.Len, rest, depth+1)
	}
	return rest, nil
}

func (e *encoder) msgpackExt(t *mpack.Token) {
	if ms, ok := t.Millis(); ok {
		e.buf = js.AppendDate(e.buf, ms)
		return
	}
	switch {
	case t.Undefined():
		e.buf = append(e.buf, "null"...)
	case t.Ext == 0:
		e.bytes(t.Data)
	default: // as notepack gives it to an application
		e.buf = append(strconv.AppendInt(append(e.buf, '['), int64(t.Ext), 10), ',')
		e.bytes(t.Data)
		e.buf = append(e.buf, ']')
	}
}

func (e *encoder) msgpackArray(n int, b []byte, depth int) (rest []byte, err error) {
	if depth > maxMsgpackDepth {
		return nil, mpack.ErrDepth
	}
	e.buf = append(e.buf, '[')
	for i := range n {
		if i > 0 {
			e.buf = append(e.buf, ',')
		}
		if b, err = e.msgpack(b, depth); err != nil {
			return nil, err
		}
	}
	e.buf = append(e.buf, ']')
	return b, nil
}

// msgpackMap leaves out keys whose value is undefined, as JavaScript does.
func (e *encoder) msgpackMap(n int, b []byte, depth int) (rest []byte, err error) {
	if depth > maxMsgpackDepth {
		return nil, mpack.ErrDepth
	}
	e.buf = append(e.buf, '{')
	comma := false
	for range n {
		before := len(e.buf)
		if comma {
			e.buf = append(e.buf, ',')
		}
		if b, err = e.msgpackKey(b); err != nil {
			return nil, err
		}
		if t, after, err := mpack.Read(b); err == nil && t.Undefined() {
			b, e.buf = after, e.buf[:before]
			continue
		}
		if b, err = e.msgpack(b, depth); err != nil {
			return nil, err
		}
		comma = true
	}
	e.buf = append(e.buf, '}')
	return b, nil
}

// msgpackKey appends a key, which is a string or a number, and its colon.
func (e *encoder) msgpackKey(b []byte) (rest []byte, err error) {
	t, rest, err := mpack.Read(b)
	if err != nil {
		return nil, err
	}
	switch t.Kind {
	case mpack.Str:
		e.buf = js.AppendString(e.buf, t.Data)
	case mpack.Uint:
		e.buf = append(strconv.AppendUint(append(e.buf, '"'), t.U, 10), '"')
	case mpack.Int:
		e.buf = append(strconv.AppendInt(append(e.buf, '"'), t.I, 10), '"')
	default:
		return nil, mpack.ErrSyntax
	}
	e.buf = append(e.buf, ':')
	return rest, nil
}
