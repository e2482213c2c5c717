package parser

import (
	"bytes"
	"unicode/utf8"
	"unsafe"

	"github.com/sockeye-io/sockeye/internal/jsonscan"
)

// The defaults of [Limits].
const (
	DefaultAttachments = 10
	DefaultDepth       = 64
	DefaultArgs        = 1024
	DefaultBytes       = 1_000_000
)

// MaxNamespace is how long the name of a namespace should be at most, in bytes. A decoder refuses names that
// are longer than 16 times that; who creates namespaces checks the rest.
const MaxNamespace = 256

// WithDefaults gives l with its zero fields replaced by the defaults, and negative ones by the largest int.
func (l Limits) WithDefaults() Limits {
	l.Attachments = limit(l.Attachments, DefaultAttachments)
	l.Depth = limit(l.Depth, DefaultDepth)
	l.Args = limit(l.Args, DefaultArgs)
	l.Bytes = limit(l.Bytes, DefaultBytes)
	return l
}

func limit(n, def int) int {
	switch {
	case n == 0:
		return def
	case n < 0:
		return int(^uint(0) >> 1)
	}
	return n
}

// NewDecoder implements [Parser].
func (j *jsonParser) NewDecoder(l Limits, protocol int) Decoder {
	return &jsonDecoder{limits: l.WithDefaults(), protocol: protocol, src: j.src}
}

type jsonDecoder struct {
	limits   Limits
	protocol int
	src      *source
	last     string    // the last namespace other than "/", so that it is not made again for each packet
	wait     *assembly // the packet whose attachments are missing
	err      error     // the first error, which is final
}

// assembly is a binary packet whose attachments are on their way.
type assembly struct {
	packet Packet
	want   int
	bytes  int
	marked bool // placeholders occur
	bin    [][]byte
}

// Pending implements [Decoder].
func (d *jsonDecoder) Pending() bool { return d.wait != nil }

// Add implements [Decoder].
func (d *jsonDecoder) Add(p *Packet, data []byte, binary bool) (done bool, err error) {
	if d.err != nil {
		return false, d.err
	}
	if binary {
		done, err = d.attachment(p, data)
	} else {
		done, err = d.text(p, data)
	}
	if err != nil {
		d.err, d.wait = err, nil
	}
	return done, err
}

func (d *jsonDecoder) text(p *Packet, data []byte) (bool, error) {
	if d.wait != nil {
		return false, errText
	}
	if len(data) == 0 {
		return false, errEmpty
	}
	t := Type(data[0] - '0')
	if t > BinaryAck {
		return false, errType
	}
	rest := data[1:]
	want := 0
	if t >= BinaryEvent {
		var err error
		if want, rest, err = attachments(rest, d.limits.Attachments); err != nil {
			return false, err
		}
		t = t.text()
	}
	*p = Packet{Type: t, Namespace: "/"}
	var err error
	if len(rest) > 0 && rest[0] == '/' {
		if p.Namespace, rest, err = d.namespace(rest); err != nil {
			return false, err
		}
	}
	if rest, err = p.readID(rest); err != nil {
		return false, err
	}
	marked, err := d.payload(p, rest)
	if err != nil || want == 0 {
		return err == nil, err
	}
	if p.Empty {
		return false, errPayload
	}
	d.wait = &assembly{packet: *p, want: want, marked: marked}
	*p = Packet{}
	return false, nil
}

// attachments reads the number of attachments and the dash after it.
func attachments(b []byte, limit int) (n int, rest []byte, err error) {
	i := 0
	for ; i < len(b) && '0' <= b[i] && b[i] <= '9'; i++ {
		if n = n*10 + int(b[i]-'0'); n > limit {
			return 0, nil, errTooMany
		}
		if n > 1<<24 {
			return 0, nil, errTooMany
		}
	}
	if n == 0 || i == len(b) || b[i] != '-' {
		return 0, nil, errAttachments
	}
	return n, b[i+1:], nil
}

// namespace reads a name up to the first comma or the end.
func (d *jsonDecoder) namespace(b []byte) (name string, rest []byte, err error) {
	n, after := len(b), len(b)
	if i := bytes.IndexByte(b, ','); i >= 0 {
		n, after = i, i+1
	}
	name, rest = "/", b[after:]
	switch {
	case n == 1:
		return name, rest, nil
	case string(b[:n]) == d.last:
		return d.last, rest, nil
	case n > 16*MaxNamespace || !utf8.Valid(b[:n]):
		return "", nil, errNamespace
	}
	d.last = string(b[:n])
	return d.last, rest, nil
}

func (p *Packet) readID(b []byte) (rest []byte, err error) {
	i := 0
	for ; i < len(b) && '0' <= b[i] && b[i] <= '9'; i++ {
		if p.ID = p.ID*10 + uint64(b[i]-'0'); p.ID > MaxID {
			return nil, errID
		}
	}
	p.HasID = i > 0
	return b[i:], nil
}

// payload reads the JSON of a packet.
func (d *jsonDecoder) payload(p *Packet, b []byte) (marked bool, err error) {
	if len(b) == 0 {
		p.Empty = p.Type == Event || p.Type == Ack
		return false, nil
	}
	switch p.Type {
	case Event, Ack:
		return d.args(p, b)
	case Connect:
		if b[0] != '{' {
			return false, errPayload
		}
	case ConnectError:
		if b[0] != '{' && b[0] != '"' && d.protocol != 4 {
			return false, errPayload
		}
	default:
		return false, errPayload
	}
	if _, err := jsonscan.Value(b, d.limits.Depth); err != nil {
		return false, errPayload
	}
	p.Data = Arg{kind: argJSON, raw: append([]byte(nil), bytes.TrimRight(b, " \t\r\n")...), src: d.src}
	return false, nil
}

func (d *jsonDecoder) args(p *Packet, b []byte) (marked bool, err error) {
	var room [8]jsonscan.Span
	if b[0] != '[' {
		return false, errPayload
	}
	elems, marked, err := jsonscan.Array(room[:0], b, d.limits.Depth, d.limits.Args)
	if err != nil {
		return false, errPayload
	}
	skip := 0
	if p.Type == Event {
		if len(elems) == 0 || !isName(b[elems[0].Start]) {
			return false, errPayload
		}
		skip = 1
	}
	text := append([]byte(nil), b...)
	if p.Type == Event {
		p.Event = eventName(text[elems[0].Start:elems[0].End])
		if Reserved(p.Event) {
			return false, errReserved
		}
	}
	if elems = elems[skip:]; len(elems) > 0 {
		p.Args = make([]Arg, len(elems))
		for i, s := range elems {
			a := &p.Args[i]
			a.kind, a.raw, a.src = argJSON, text[s.Start:s.End:s.End], d.src
		}
	}
	return marked, nil
}

// isName tells whether a JSON value that begins with c can be the name of an event: a string or a number.
func isName(c byte) bool { return c == '"' || c == '-' || '0' <= c && c <= '9' }

// eventName gives the name of an event, which aliases lit where it can: nobody writes to the text of a packet.
func eventName(lit []byte) string {
	if lit[0] == '"' {
		lit = jsonscan.Unquoted(lit)
	}
	return unsafe.String(unsafe.SliceData(lit), len(lit))
}

func (d *jsonDecoder) attachment(p *Packet, data []byte) (bool, error) {
	w := d.wait
	if w == nil {
		return false, errUnexpected
	}
	if w.bytes += len(data); w.bytes > d.limits.Bytes {
		return false, errTooLarge
	}
	w.bin = append(w.bin, append(make([]byte, 0, len(data)), data...))
	if len(w.bin) < w.want {
		return false, nil
	}
	if w.marked {
		if err := w.resolve(d.src); err != nil {
			return false, err
		}
	}
	*p, d.wait = w.packet, nil
	return true, nil
}

// resolve checks the placeholders and gives the attachments to the arguments that have some.
func (w *assembly) resolve(from *source) error {
	src := &source{bin: w.bin}
	if from != nil {
		src.codec = from.codec
	}
	var room [4]jsonscan.Placeholder
	for i := range w.packet.Args {
		a := &w.packet.Args[i]
		ph := jsonscan.Placeholders(room[:0], a.raw)
		for _, h := range ph {
			if h.Num < 0 || h.Num >= len(w.bin) {
				return errPlaceholder
			}
		}
		if len(ph) > 0 {
			a.src = src
		}
	}
	return nil
}
