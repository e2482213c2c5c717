package engineio

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
)

// maxPooled is the greatest buffer that goes back to the pool.
const maxPooled = 64 << 10

var buffers = sync.Pool{New: func() any { return new(make([]byte, 0, 2048)) }}

func getBuffer() *[]byte {
	b, _ := buffers.Get().(*[]byte) // the pool holds nothing else
	return b
}

func putBuffer(b *[]byte) {
	if cap(*b) <= maxPooled {
		*b = (*b)[:0]
		buffers.Put(b)
	}
}

// A compressor is one of the writers of klauspost/compress.
type compressor interface {
	io.WriteCloser
	Reset(w io.Writer)
}

var (
	gzips = sync.Pool{New: func() any { return newCompressor(gzip.NewWriterLevel(io.Discard, gzip.BestSpeed)) }}
	zlibs = sync.Pool{New: func() any { return newCompressor(zlib.NewWriterLevel(io.Discard, zlib.BestSpeed)) }}
)

// newCompressor drops the error, which is for unknown levels only.
func newCompressor[T compressor](w T, _ error) compressor { return w }

var (
	encodedGzip    = []string{"gzip"}
	encodedDeflate = []string{"deflate"}
	varyEncoding   = []string{"Accept-Encoding"}
)

// compressBody compresses the body of an answer if the client can take it, and sets the headers.
//
// Differs from Node: the length is sent, since the whole body is there.
func compressBody(h http.Header, r *http.Request, body []byte) []byte {
	pool, encoding := &gzips, encodedGzip
	switch acceptedEncoding(r.Header["Accept-Encoding"]) {
	case "gzip":
	case "deflate":
		pool, encoding = &zlibs, encodedDeflate
	default:
		return body
	}
	var out bytes.Buffer
	out.Grow(len(body)/2 + 64)
	c, _ := pool.Get().(compressor) // the pool holds nothing else
	c.Reset(&out)
	_, err := c.Write(body)
	if err = firstError(err, c.Close()); err != nil { // a buffer takes everything
		return body
	}
	pool.Put(c)
	h["Content-Encoding"] = encoding
	if vary := h["Vary"]; len(vary) == 0 {
		h["Vary"] = varyEncoding
	} else {
		h["Vary"] = []string{strings.Join(vary, ", ") + ", Accept-Encoding"}
	}
	return out.Bytes()
}

func firstError(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// acceptedEncoding is "gzip", which goes first, "deflate" or "".
func acceptedEncoding(lists []string) string {
	gzipOK, deflateOK, otherOK, gzipSaid, deflateSaid := false, false, false, false, false
	for _, list := range lists {
		for item := range strings.SplitSeq(list, ",") {
			name, params, _ := strings.Cut(item, ";")
			ok := quality(params) > 0
			switch strings.ToLower(strings.TrimSpace(name)) {
			case "gzip":
				gzipOK, gzipSaid = ok, true
			case "deflate":
				deflateOK, deflateSaid = ok, true
			case "*":
				otherOK = ok
			}
		}
	}
	switch {
	case gzipOK || !gzipSaid && otherOK:
		return "gzip"
	case deflateOK || !deflateSaid && otherOK:
		return "deflate"
	}
	return ""
}

// quality reads q of the parameters of an item; 1 when it is not there.
func quality(params string) float64 {
	for param := range strings.SplitSeq(params, ";") {
		k, v, _ := strings.Cut(param, "=")
		if strings.EqualFold(strings.TrimSpace(k), "q") {
			q, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
			if err != nil {
				return 0
			}
			return q
		}
	}
	return 1
}
