package rediswire

import (
	"strconv"

	"github.com/sockeye-io/sockeye/internal/js"
)

// bufferForm writes bytes as JSON.stringify writes a Buffer.
type bufferForm struct{}

// AppendBytes implements [mpack.BytesWriter].
func (bufferForm) AppendBytes(dst, data []byte) []byte {
	dst = append(dst, `{"type":"Buffer","data":[`...)
	for i, c := range data {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendUint(dst, uint64(c), 10)
	}
	return append(dst, "]}"...)
}

// appendKey starts an entry of an object, which is open.
func appendKey(dst []byte, key string) []byte {
	if dst[len(dst)-1] != '{' {
		dst = append(dst, ',')
	}
	return append(append(append(dst, '"'), key...), '"', ':')
}

// appendNameKey starts an entry whose key needs quoting.
func appendNameKey(dst []byte, key string) []byte {
	if dst[len(dst)-1] != '{' {
		dst = append(dst, ',')
	}
	return append(js.AppendString(dst, key), ':')
}
