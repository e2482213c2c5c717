package rediswire

import (
	"encoding/binary"
	"errors"

	"github.com/tinylib/msgp/msgp"

	"github.com/sockeye-io/sockeye/internal/js"
	"github.com/sockeye-io/sockeye/internal/mpack"
)

var errMsgpackTail = errors.New("rediswire: bytes after the MessagePack value")

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
