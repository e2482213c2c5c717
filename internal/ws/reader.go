package ws

import (
	"encoding/binary"
	"math"
	"sync"
	"unicode/utf8"
)

// defaultFragments is what ReaderConfig.MaxFragments is when it is zero.
const defaultFragments = 131072

// keptBuffer is the greatest buffer, in bytes, that goes back to a pool.
const keptBuffer = 64 << 10

// ReaderConfig is shared by any number of readers. It must not be changed while in use.
type ReaderConfig struct {
	MaxMessage   int64 // greatest message in bytes, after inflating; with 0 only empty ones pass
	MaxFragments int   // greatest number of frames of a message; 0 = 131,072
	Client       bool  // of a client: frames must not be masked. Else they must be
	Deflate      bool  // permessage-deflate without context takeover was agreed
}

// Sink takes what a [Reader] finds. The payload is valid during the call and may be changed.
// An error stops the reader and is returned by its Feed.
type Sink interface {
	// Message is given each complete message: Text or Binary. Text is valid UTF-8.
	Message(op Op, payload []byte) error

	// Control is given each Close, Ping and Pong; the payload of a Close is valid, see [ParseClose].
	Control(op Op, payload []byte) error
}

// Reader parses the frames of one connection. Between messages it holds no memory beside itself.
// It is not safe for concurrent use.
type Reader struct {
	cfg  *ReaderConfig
	part *part // nil between messages
	done bool  // after an error or a close frame
}

// part is what is kept of a frame or message that is incomplete.
type part struct {
	head  [MaxHeader]byte
	nhead int // bytes of an incomplete header in head

	inFrame  bool // payload of frame is to come
	frame    header
	left     int // bytes of it that are to come
	control  [MaxControl]byte
	ncontrol int

	inMessage bool // the first frame of a message was begun
	op        Op
	deflated  bool
	frames    int
	buf       []byte
}

// header is the header of a frame. The length is known to be within the limits.
type header struct {
	op     Op
	fin    bool
	rsv1   bool
	key    uint32
	length int
}

var partPool = sync.Pool{New: func() any { return new(part) }}

// The violations that are found while parsing.
var (
	errRSV         = &Error{CodeProtocol, "reserved bit set"}
	errOpcode      = &Error{CodeProtocol, "invalid opcode"}
	errUnfinished  = &Error{CodeProtocol, "message begun within a message"}
	errNothingOpen = &Error{CodeProtocol, "continuation without a message"}
	errFragmented  = &Error{CodeProtocol, "fragmented control frame"}
	errLongControl = &Error{CodeProtocol, "invalid length of a control frame"}
	errUnmasked    = &Error{CodeProtocol, "frame not masked"}
	errMasked      = &Error{CodeProtocol, "frame masked"}
	errLength      = &Error{CodeProtocol, "invalid length"}
	errTooBig      = &Error{CodeTooBig, "message too big"}
	errFragments   = &Error{CodePolicy, "too many fragments"}
	errUTF8        = &Error{CodeInvalidData, "invalid UTF-8"}
	errCloseCode   = &Error{CodeProtocol, "invalid close code"}
	errCompressed  = &Error{CodeInvalidData, "invalid compressed data"}
)

// NewReader returns a reader; it may be copied as long as it was not fed.
func NewReader(cfg *ReaderConfig) Reader { return Reader{cfg: cfg} }

// Feed parses p, which are the next bytes of the connection in any portion, and calls s for what they
// complete. p may be changed during the call and is not kept. Errors are *[Error] for what the peer did
// wrong, and those of s; after an error and after a close frame everything that is fed is ignored.
//
// Protocol: RFC 6455, 5; RFC 7692, 7.2.2.
func (r *Reader) Feed(p []byte, s Sink) error {
	for len(p) > 0 && !r.done {
		n, err := r.step(p, s)
		if err != nil {
			r.Release()
			return err
		}
		p = p[n:]
	}
	if r.done {
		r.Release()
	}
	return nil
}

// Release gives the memory of an incomplete message back. The reader ignores what it is fed later. It must
// not be called during Feed.
func (r *Reader) Release() {
	r.done = true
	if r.part != nil {
		r.part.free()
		r.part = nil
	}
}

// step takes a header with what there is of its payload, or more of either, and says how much that was.
func (r *Reader) step(p []byte, s Sink) (int, error) {
	if r.part != nil && r.part.inFrame {
		return r.payload(p, s)
	}
	h, n, err := r.header(p)
	if err != nil {
		return 0, err
	}
	if n < 0 {
		return len(p), nil // the header is incomplete, and kept
	}
	if !isControl(h.op) {
		if err := r.begin(h); err != nil {
			return 0, err
		}
	}
	end := n + h.length
	if end <= len(p) && (isControl(h.op) || h.fin && (r.part == nil || !r.part.inMessage)) {
		payload := p[n:end:end]
		if !r.cfg.Client {
			mask(payload, h.key)
		}
		if isControl(h.op) {
			return end, r.control(h.op, payload, s)
		}
		return end, r.message(h.op, h.rsv1, payload, s)
	}
	q := r.keep()
	q.inFrame, q.frame, q.left, q.ncontrol = true, h, h.length, 0
	if !isControl(h.op) && !q.inMessage {
		q.inMessage, q.op, q.deflated, q.frames = true, h.op, h.rsv1, 1
	}
	m, err := r.payload(p[n:], s)
	return n + m, err
}

// header parses a header at the start of p, or one that began earlier. n is how much of p it took; -1
// when it is incomplete and all of p was kept.
func (r *Reader) header(p []byte) (h header, n int, err error) {
	q := r.part
	if q == nil || q.nhead == 0 {
		h, n, err = r.parseHeader(p)
		if err != nil || n > 0 {
			return h, n, err
		}
		q = r.keep()
		q.nhead = copy(q.head[:], p)
		return h, -1, nil
	}
	had := q.nhead
	have := had + copy(q.head[had:], p)
	h, n, err = r.parseHeader(q.head[:have])
	if err != nil {
		return h, 0, err
	}
	if n == 0 {
		q.nhead = have
		return h, -1, nil
	}
	q.nhead = 0
	if !q.inMessage && !q.inFrame {
		r.part = nil // nothing else is kept
		q.free()
	}
	return h, n - had, nil
}

// parseHeader gives the length of the header, or 0 when b ends before it does. It complains as early
// as it can, so that no peer waits for more than it has to.
func (r *Reader) parseHeader(b []byte) (h header, n int, err error) {
	if len(b) < 2 {
		return h, 0, nil
	}
	h = header{op: Op(b[0] & 0x0f), fin: b[0]&bitFin != 0, rsv1: b[0]&bitRSV1 != 0}
	if err := r.checkBits(h, b[0], b[1]); err != nil {
		return h, 0, err
	}
	length, n := uint64(b[1]&0x7f), 2
	switch length {
	case 126:
		if len(b) < 4 {
			return h, 0, nil
		}
		length, n = uint64(binary.BigEndian.Uint16(b[2:])), 4
	case 127:
		if len(b) < 10 {
			return h, 0, nil
		}
		length, n = binary.BigEndian.Uint64(b[2:]), 10
		if length > math.MaxInt64 {
			return h, 0, errLength
		}
	}
	if !isControl(h.op) && length > r.room(h) {
		return h, 0, errTooBig
	}
	h.length = int(length) // not above room, which is an int
	if r.cfg.Client {
		return h, n, nil
	}
	if len(b) < n+4 {
		return h, 0, nil
	}
	h.key = binary.LittleEndian.Uint32(b[n:])
	return h, n + 4, nil
}

// checkBits checks the first two bytes of a header.
func (r *Reader) checkBits(h header, b0, b1 byte) error {
	inMessage := r.part != nil && r.part.inMessage
	switch {
	case b0&0x30 != 0, h.rsv1 && !r.cfg.Deflate:
		return errRSV
	case h.op == Continuation && h.rsv1, isControl(h.op) && h.rsv1:
		return errRSV
	case h.op == Continuation && !inMessage:
		return errNothingOpen
	case (h.op == Text || h.op == Binary) && inMessage:
		return errUnfinished
	case h.op > Pong, h.op > Binary && h.op < Close:
		return errOpcode
	case isControl(h.op) && !h.fin:
		return errFragmented
	case isControl(h.op) && b1&0x7f > MaxControl, h.op == Close && b1&0x7f == 1:
		return errLongControl
	case b1&bitMask == 0 && !r.cfg.Client:
		return errUnmasked
	case b1&bitMask != 0 && r.cfg.Client:
		return errMasked
	}
	return nil
}

// room is how many bytes the message may still grow. A compressed one may be a little longer than what is
// in it, because deflate stores what it cannot compress.
func (r *Reader) room(h header) uint64 {
	limit, have, deflated := r.cfg.MaxMessage, 0, h.rsv1
	if q := r.part; q != nil && q.inMessage {
		have, deflated = len(q.buf), q.deflated
	}
	limit = min(max(limit, 0), math.MaxInt-1)
	if deflated {
		limit += min(limit>>10+64, math.MaxInt-1-limit)
	}
	return uint64(max(limit-int64(have), 0)) // not negative
}

// begin counts a frame of a message.
func (r *Reader) begin(h header) error {
	q := r.part
	if h.op != Continuation || q == nil {
		return nil
	}
	limit := r.cfg.MaxFragments
	if limit <= 0 {
		limit = defaultFragments
	}
	if q.frames >= limit {
		return errFragments
	}
	q.frames++
	return nil
}

// payload takes the next bytes of a payload of which not all was there at once.
func (r *Reader) payload(p []byte, s Sink) (int, error) {
	q := r.part
	n := min(q.left, len(p))
	piece := p[:n]
	if !r.cfg.Client {
		q.frame.key = mask(piece, q.frame.key)
	}
	q.left -= n
	if isControl(q.frame.op) {
		q.ncontrol += copy(q.control[q.ncontrol:], piece)
		if q.left > 0 {
			return n, nil
		}
		q.inFrame = false
		if q.inMessage {
			return n, r.control(q.frame.op, q.control[:q.ncontrol], s)
		}
		r.part = nil
		err := r.control(q.frame.op, q.control[:q.ncontrol], s)
		q.free()
		return n, err
	}
	q.append(piece)
	if q.left > 0 {
		return n, nil
	}
	q.inFrame = false
	if !q.frame.fin {
		return n, nil
	}
	r.part = nil
	err := r.message(q.op, q.deflated, q.buf, s)
	q.free()
	return n, err
}

// append adds to the message. The buffer grows with what has come, not with what was announced.
func (q *part) append(p []byte) {
	need := len(q.buf) + len(p)
	if need > cap(q.buf) {
		size := max(2*cap(q.buf), need, 512)
		if q.frame.fin {
			size = max(min(size, need+q.left), need)
		}
		buf := make([]byte, len(q.buf), size)
		copy(buf, q.buf)
		q.buf = buf
	}
	q.buf = append(q.buf, p...)
}

func (r *Reader) message(op Op, deflated bool, payload []byte, s Sink) error {
	if deflated {
		return r.inflated(op, payload, s)
	}
	if op == Text && !utf8.Valid(payload) {
		return errUTF8
	}
	return s.Message(op, payload)
}

func (r *Reader) inflated(op Op, payload []byte, s Sink) error {
	z := getInflater()
	defer z.free()
	plain, err := z.inflate(payload, r.cfg.MaxMessage)
	if err != nil {
		return err
	}
	return r.message(op, false, plain, s)
}

func (r *Reader) control(op Op, payload []byte, s Sink) error {
	if op == Close {
		r.done = true
		if code, reason := ParseClose(payload); len(payload) > 0 {
			if !validCode(code) {
				return errCloseCode
			}
			if !utf8.Valid(reason) {
				return errUTF8
			}
		}
	}
	return s.Control(op, payload)
}

// keep gives the part, taking one from the pool when there is none.
func (r *Reader) keep() *part {
	if r.part == nil {
		r.part = partPool.Get().(*part) //nolint:errcheck // nothing else is put
	}
	return r.part
}

// free gives q back to the pool.
func (q *part) free() {
	buf := q.buf[:0]
	if cap(buf) > keptBuffer {
		buf = nil
	}
	*q = part{buf: buf}
	partPool.Put(q)
}

func isControl(op Op) bool { return op >= Close }
