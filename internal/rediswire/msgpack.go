package rediswire

import (
	"encoding/binary"
	"errors"

	"github.com/tinylib/msgp/msgp"

	"github.com/sockeye-io/sockeye/internal/js"
	"github.com/sockeye-io/sockeye/internal/mpack"
)

var (
	errMsgpackTail = errors.New("rediswire: bytes after the MessagePack value")
	errMsgpackKind = errors.New("rediswire: MessagePack value of another type than wanted")
)

// next splits the value at the beginning of b off, and checks it to the last string.
func next(b []byte) (value, rest []byte, err error) {
	if rest, _, err = mpack.Check(b); err != nil {
		return nil, nil, err
	}
	n := len(b) - len(rest)
	return b[:n:n], rest, nil
}

// mapFields calls f for every entry of the map at the start of b that has a string as its key, and gives what
// follows the map. Every value is checked; f gets it whole.
func mapFields(b []byte, f func(key, value []byte) error) (rest []byte, err error) {
	t, b, err := mpack.Read(b)
	if err != nil {
		return nil, err
	}
	if t.Kind != mpack.Map {
		return nil, errMsgpackKind
	}
	for range t.Len {
		var key, value []byte
		if key, b, err = next(b); err != nil {
			return nil, err
		}
		if value, b, err = next(b); err != nil {
			return nil, err
		}
		if k := read(key); k.Kind == mpack.Str {
			if err := f(k.Data, value); err != nil {
				return nil, err
			}
		}
	}
	return b, nil
}

// arrayElements splits a value, which must be an array and nothing else.
func arrayElements(b []byte) ([][]byte, error) {
	t, b, err := mpack.Read(b)
	if err != nil {
		return nil, err
	}
	if t.Kind != mpack.Array {
		return nil, errMsgpackKind
	}
	elements := make([][]byte, 0, min(t.Len, 64))
	for range t.Len {
		var e []byte
		if e, b, err = next(b); err != nil {
			return nil, err
		}
		elements = append(elements, e)
	}
	if len(b) > 0 {
		return nil, errMsgpackTail
	}
	return elements, nil
}

// read gives the first token of a value that was checked.
func read(value []byte) mpack.Token {
	t, _, _ := mpack.Read(value)
	return t
}

// text gives a string or a number, as JavaScript prints it, of a value that was checked.
func text(value []byte) (string, bool) {
	t := read(value)
	return t.Text()
}

// integer gives a number without a fraction of a value that was checked.
func integer(value []byte) (int64, bool) {
	t := read(value)
	return t.Integer()
}

// nothing tells whether a value that was checked is nil, or undefined as the older Node adapters write it.
func nothing(value []byte) bool {
	t := read(value)
	return t.Kind == mpack.Nil || t.Undefined()
}

// appendPlain copies values that were checked without extension types, which not every generation of peers
// understands: dates become strings, undefined and dates that JavaScript does not have become nil, the rest binary.
// With dates they become timestamps.
func appendPlain(dst, src []byte, dates bool) []byte {
	for len(src) > 0 {
		t, rest, err := mpack.Read(src)
		if err != nil {
			return dst // cannot be: they were checked
		}
		if t.Kind == mpack.Ext {
			dst = appendPlainExt(dst, &t, dates)
		} else {
			dst = append(dst, src[:len(src)-len(rest)]...)
		}
		src = rest
	}
	return dst
}

func appendPlainExt(dst []byte, t *mpack.Token, dates bool) []byte {
	ms, date := t.Millis()
	if !date && !t.Undefined() {
		return msgp.AppendBytes(dst, t.Data)
	}
	var room [32]byte
	iso, ok := js.AppendISO(room[:0], ms)
	switch {
	case !date || !ok:
		return msgp.AppendNil(dst)
	case dates:
		return appendTimestamp(dst, ms)
	default:
		return msgp.AppendStringFromBytes(dst, iso)
	}
}

// appendTimestamp writes a date in the shortest form, as the libraries of Node peers do.
//
// Protocol: MessagePack, "Timestamp extension type".
func appendTimestamp(dst []byte, ms int64) []byte {
	sec, rest := ms/1000, ms%1000
	if rest < 0 {
		sec, rest = sec-1, rest+1000
	}
	nsec := uint64(rest) * 1e6
	switch {
	case nsec == 0 && sec >= 0 && sec < 1<<32:
		return binary.BigEndian.AppendUint32(append(dst, 0xd6, 0xff), uint32(sec))
	case sec >= 0 && sec < 1<<34:
		return binary.BigEndian.AppendUint64(append(dst, 0xd7, 0xff), nsec<<34|uint64(sec))
	default:
		dst = binary.BigEndian.AppendUint32(append(dst, 0xc7, 12, 0xff), uint32(nsec))
		return binary.BigEndian.AppendUint64(dst, uint64(sec))
	}
}
