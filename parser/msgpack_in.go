package parser

import "github.com/sockeye-io/sockeye/internal/mpack"

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
	rest, binary, err := mpack.Skip(b, mpack.MaxDepth)
	return err == nil && len(rest) == 0 && binary
}

// msgpackArg appends the JSON of the one value in b.
func (e *encoder) msgpackArg(b []byte) error {
	buf, rest, err := mpack.AppendJSON(e.buf, b, e)
	e.buf = buf
	if err != nil || len(rest) > 0 {
		return ErrArg
	}
	return nil
}
