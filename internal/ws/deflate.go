package ws

import (
	"errors"
	"io"
	"math"
	"sync"

	"github.com/klauspost/compress/flate"
)

// A sender cuts the end of an empty stored block off each message. deflateTail puts it back and adds an empty
// final block, so that the reader of the stream finds its end.
const deflateTail = "\x00\x00\xff\xff\x01\x00\x00\xff\xff"

// inflater inflates one message at a time.
type inflater struct {
	stream io.ReadCloser
	src    source
	out    []byte
}

// source is a message with the tail. It is an io.ByteReader, so that the stream needs no buffer of its own.
type source struct {
	data []byte
	tail string
}

func (s *source) Read(p []byte) (int, error) {
	n := copy(p, s.data)
	s.data = s.data[n:]
	m := copy(p[n:], s.tail)
	s.tail = s.tail[m:]
	if n+m == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n + m, nil
}

func (s *source) ReadByte() (byte, error) {
	if len(s.data) > 0 {
		b := s.data[0]
		s.data = s.data[1:]
		return b, nil
	}
	if len(s.tail) > 0 {
		b := s.tail[0]
		s.tail = s.tail[1:]
		return b, nil
	}
	return 0, io.EOF
}

var inflaterPool = sync.Pool{New: func() any { return new(inflater) }}

func getInflater() *inflater {
	return inflaterPool.Get().(*inflater) //nolint:errcheck // nothing else is put
}

func (z *inflater) free() {
	z.src = source{}
	z.out = z.out[:0]
	if cap(z.out) > keptBuffer {
		z.out = nil
	}
	inflaterPool.Put(z)
}

// inflate gives the inflated message, valid until free. It stops as soon as there are more than limit bytes.
func (z *inflater) inflate(data []byte, limit int64) ([]byte, error) {
	z.src = source{data, deflateTail}
	if z.stream == nil {
		z.stream = flate.NewReader(&z.src)
	} else if err := z.stream.(flate.Resetter).Reset(&z.src, nil); err != nil { //nolint:errcheck // every reader of flate is one
		return nil, errCompressed
	}
	most := int(min(max(limit, 0), math.MaxInt-1)) + 1 // one more byte shows that there is too much
	out := z.out[:0]
	for {
		if len(out) == cap(out) {
			out = grow(out, most)
		}
		n, err := z.stream.Read(out[len(out):min(cap(out), most)])
		out = out[:len(out)+n]
		z.out = out
		switch {
		case len(out) >= most:
			return nil, errTooBig
		case err == nil:
		case errors.Is(err, io.EOF):
			return out, nil
		default:
			return nil, errCompressed
		}
	}
}

// grow doubles the room of b, up to most bytes.
func grow(b []byte, most int) []byte {
	size := max(2*cap(b), 4096)
	if size > most-most/4 {
		size = most // else the last step would be a small one
	}
	bigger := make([]byte, len(b), size)
	copy(bigger, b)
	return bigger
}

// deflater compresses one message at a time.
type deflater struct {
	w   *flate.Writer
	dst []byte
}

func (d *deflater) Write(p []byte) (int, error) {
	d.dst = append(d.dst, p...)
	return len(p), nil
}

var deflaterPool = sync.Pool{New: func() any { return new(deflater) }}

// AppendDeflated appends payload compressed as one message without context: to be sent with RSV1.
// It is safe for concurrent use.
//
// Protocol: RFC 7692, 7.2.1.
func AppendDeflated(dst, payload []byte) []byte {
	d := deflaterPool.Get().(*deflater) //nolint:errcheck // nothing else is put
	d.dst = dst
	if d.w == nil {
		d.w, _ = flate.NewWriter(d, flate.BestSpeed) // the level is valid
	} else {
		d.w.Reset(d)
	}
	_, _ = d.w.Write(payload) // d takes everything
	_ = d.w.Flush()           // as above
	dst = d.dst[:len(d.dst)-4]
	d.dst = nil
	deflaterPool.Put(d)
	return dst
}
