package eio

import (
	"bytes"
	"slices"
	"strconv"
	"unicode/utf8"
)

// Format is how a polling payload is encoded.
type Format uint8

// The formats.
const (
	V4       Format = iota // packets separated by U+001E
	V3Text                 // <length in UTF-16 units>:<packet>
	V3Binary               // <0 or 1><length, a byte for each digit><255><packet>
)

// EmptyV3 is the payload without packets of protocol 3.
const EmptyV3 = "0:"

// separator stands between the packets of protocol 4.
const separator = 0x1e

// Decoder gives the packets of one payload, one by one:
//
//	d := eio.NewDecoder(eio.V4, body)
//	for d.Next() {
//		use(d.Packet)
//	}
//	if d.Err() != nil { … the packets before the malformed one count … }
//
// It allocates nothing. It is for one goroutine.
type Decoder struct {
	// Packet is what Next found. Its Data points into the body.
	Packet Packet

	rest   []byte
	err    error
	format Format
	begun  bool
	done   bool // nothing follows what was found
}

// NewDecoder returns a decoder of body, which belongs to it: base64 is decoded in place.
func NewDecoder(f Format, body []byte) Decoder { return Decoder{rest: body, format: f} }

// Err is nil, ErrMalformed or ErrInvalidUTF8 once Next was false.
func (d *Decoder) Err() error { return d.err }

// Next finds the next packet; it is false at the end and at the first malformed packet.
//
// Protocol: engine.io v4 and v3, "Payload encoding".
func (d *Decoder) Next() bool {
	d.Packet = Packet{}
	if d.done {
		return false
	}
	var ok bool
	switch d.format {
	case V4:
		ok = d.nextV4()
	case V3Text:
		ok = d.nextV3Text()
	case V3Binary:
		ok = d.nextV3Binary()
	}
	d.begun = true
	d.done = d.done || !ok
	return ok
}

func (d *Decoder) fail(err error) bool {
	d.err = err
	return false
}

func (d *Decoder) text(protocol int, raw []byte) bool {
	if !utf8.Valid(raw) {
		return d.fail(ErrInvalidUTF8)
	}
	p, err := ParseText(protocol, raw)
	if err != nil {
		return d.fail(err)
	}
	d.Packet = p
	return true
}

func (d *Decoder) nextV4() bool {
	raw, rest, more := bytes.Cut(d.rest, []byte{separator})
	d.rest, d.done = rest, !more
	return d.text(4, slices.Clip(raw))
}

// nextV3Text skips packets of length 0, as Node does.
func (d *Decoder) nextV3Text() bool {
	if len(d.rest) == 0 && !d.begun {
		return d.fail(ErrMalformed) // nothing at all is not the empty payload
	}
	for len(d.rest) > 0 {
		digits, rest, found := bytes.Cut(d.rest, []byte{':'})
		n, ok := jsNumber(digits)
		if !found || !ok || n > len(rest) {
			return d.fail(ErrMalformed)
		}
		size, err := cutUTF16(rest, n)
		if err != nil {
			return d.fail(err)
		}
		d.rest = rest[size:]
		if size > 0 {
			return d.text(3, rest[:size:size])
		}
	}
	return false
}

// cutUTF16 gives the length in bytes of the first n UTF-16 code units of s.
func cutUTF16(s []byte, n int) (size int, err error) {
	for n > 0 && size < len(s) {
		if s[size] < utf8.RuneSelf {
			size++
			n--
			continue
		}
		r, w := utf8.DecodeRune(s[size:])
		if r == utf8.RuneError && w == 1 {
			return 0, ErrInvalidUTF8
		}
		size += w
		n -= units(w)
	}
	if n != 0 { // too short, or the end is within a surrogate pair
		return 0, ErrMalformed
	}
	return size, nil
}

// units is how many UTF-16 code units a rune of w UTF-8 bytes has.
func units(w int) int {
	if w == 4 {
		return 2
	}
	return 1
}

func lenUTF16(s []byte) (n int) {
	for i := 0; i < len(s); {
		if s[i] < utf8.RuneSelf {
			i++
			n++
			continue
		}
		_, w := utf8.DecodeRune(s[i:])
		i += w
		n += units(w)
	}
	return n
}

// nextV3Binary delivers a packet that ends early as it is, as Node does.
func (d *Decoder) nextV3Binary() bool {
	if len(d.rest) == 0 {
		return false
	}
	kind := d.rest[0]
	i, n := 1, 0
	for ; i < len(d.rest) && d.rest[i] != 255; i++ {
		if d.rest[i] > 9 {
			return d.fail(ErrMalformed)
		}
		if n = n*10 + int(d.rest[i]); n > maxLength {
			return d.fail(ErrMalformed)
		}
	}
	if i == 1 || i == len(d.rest) {
		return d.fail(ErrMalformed)
	}
	body := d.rest[i+1:]
	n = min(n, len(body))
	d.rest = body[n:]
	if kind == 0 {
		return d.text(3, body[:n:n])
	}
	d.Packet = ParseBinary(3, body[:n:n])
	return true
}

// maxLength is above every length that a body in memory can have, and far from overflow.
const maxLength = 1 << 40

// AppendV4 appends p to a payload of protocol 4. dst must hold nothing but the payload: unless it is empty, the
// separator goes before p.
func AppendV4(dst []byte, p Packet) []byte {
	if len(dst) > 0 {
		dst = append(dst, separator)
	}
	return AppendText(dst, 4, p)
}

// AppendV3Text appends p to a text payload of protocol 3, binary data as base64.
func AppendV3Text(dst []byte, p Packet) []byte {
	n := LenText(3, p)
	if !p.Binary {
		n = 1 + lenUTF16(p.Data)
	}
	dst = strconv.AppendInt(dst, int64(n), 10)
	dst = append(dst, ':')
	return AppendText(dst, 3, p)
}

// AppendV3Binary appends p to a binary payload of protocol 3. Node uses this form, for the text packets too, when a
// packet of the payload is binary and the peer can take it.
func AppendV3Binary(dst []byte, p Packet) []byte {
	kind := byte(0)
	if p.Binary {
		kind = 1
	}
	dst = append(dst, kind)
	digits := len(dst)
	dst = strconv.AppendInt(dst, int64(1+len(p.Data)), 10)
	for i := digits; i < len(dst); i++ {
		dst[i] -= '0'
	}
	dst = append(dst, 255)
	if p.Binary {
		return AppendBinary(dst, 3, p)
	}
	return AppendText(dst, 3, p)
}

// Append appends p to a payload of format f, as AppendV4, AppendV3Text and AppendV3Binary do.
func Append(dst []byte, f Format, p Packet) []byte {
	switch f {
	case V3Text:
		return AppendV3Text(dst, p)
	case V3Binary:
		return AppendV3Binary(dst, p)
	default:
		return AppendV4(dst, p)
	}
}
