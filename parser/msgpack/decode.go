package msgpack

import (
	"fmt"
	"math"
	"unicode/utf8"

	"github.com/sockeye-io/sockeye/internal/jsonscan"
	"github.com/sockeye-io/sockeye/internal/mpack"
	"github.com/sockeye-io/sockeye/parser"
)

var (
	errSyntax    = invalid("malformed MessagePack")
	errKind      = invalid("neither a map nor JSON")
	errType      = invalid("invalid packet type")
	errNamespace = invalid("invalid namespace")
	errPayload   = invalid("invalid payload")
	errCount     = invalid("too many arguments")
	errID        = invalid("invalid packet id")
	errReserved  = invalid("reserved event name")
)

func invalid(why string) error { return fmt.Errorf("%w: %s", parser.ErrInvalid, why) }

// NewDecoder implements [parser.Parser].
func (codec) NewDecoder(l parser.Limits, protocol int) parser.Decoder {
	return &decoder{limits: l.WithDefaults(), protocol: protocol}
}

type decoder struct {
	limits   parser.Limits
	protocol int
	err      error
}

// Pending implements [parser.Decoder]: a packet is always one message.
func (d *decoder) Pending() bool { return false }

// Add implements [parser.Decoder].
func (d *decoder) Add(p *parser.Packet, data []byte, binary bool) (done bool, err error) {
	if d.err != nil {
		return false, d.err
	}
	switch {
	case binary:
		d.err = d.binary(p, data)
	case d.protocol == 4:
		d.err = d.text(p, data)
	default:
		d.err = errKind
	}
	return d.err == nil, d.err
}

// fields are the members of a packet that matter, as spans of the message; nil where absent.
type fields struct {
	typ, nsp, id, data []byte
}

func (d *decoder) binary(p *parser.Packet, in []byte) error {
	f, err := d.fields(append([]byte(nil), in...))
	if err != nil {
		return err
	}
	t, _, _ := mpack.Read(f.typ) // a missing one gives nil
	last := int64(parser.ConnectError)
	if d.protocol == 4 {
		last = int64(parser.BinaryAck)
	}
	n, ok := t.Integer()
	if f.typ == nil || !ok || n < 0 || n > last {
		return errType
	}
	*p = parser.Packet{Type: parser.Type(n)}
	if p.Type >= parser.BinaryEvent {
		p.Type -= parser.BinaryEvent - parser.Event
	}
	if t, _, _ = mpack.Read(f.nsp); t.Kind != mpack.Str {
		return errNamespace
	}
	if p.Namespace, err = namespaceOf(t.Data); err != nil {
		return err
	}
	if f.id != nil {
		t, _, _ = mpack.Read(f.id)
		id, ok := t.Integer()
		if !ok || id < 0 || id > parser.MaxID {
			return errID
		}
		p.ID, p.HasID = uint64(id), true
	}
	return d.payload(p, f.data)
}

// fields finds the members of the packet in b. Extensions that mean undefined make a member absent.
func (d *decoder) fields(b []byte) (f fields, err error) {
	t, b, err := mpack.Read(b)
	if err != nil {
		return f, errSyntax
	}
	if t.Kind != mpack.Map {
		return f, errType
	}
	for range t.Len {
		var key mpack.Token
		if key, b, err = mpack.Read(b); err != nil {
			return f, errSyntax
		}
		if key.Kind != mpack.Str {
			return f, errSyntax
		}
		rest, _, err := mpack.Skip(b, d.limits.Depth)
		if err != nil {
			return f, errSyntax
		}
		value := b[: len(b)-len(rest) : len(b)-len(rest)]
		if t, _, _ := mpack.Read(value); t.Undefined() {
			value = nil
		}
		b = rest
		switch string(key.Data) {
		case "type":
			f.typ = value
		case "nsp":
			f.nsp = value
		case "id":
			f.id = value
		case "data":
			f.data = value
		}
	}
	if len(b) > 0 {
		return f, errSyntax
	}
	return f, nil
}

func namespaceOf(b []byte) (string, error) {
	if len(b) == 0 || b[0] != '/' || len(b) > 16*parser.MaxNamespace || !utf8.Valid(b) {
		return "", errNamespace
	}
	if string(b) == "/" {
		return "/", nil
	}
	return string(b), nil
}

func (d *decoder) payload(p *parser.Packet, data []byte) error {
	t, rest, _ := mpack.Read(data)
	switch p.Type {
	case parser.Event, parser.Ack:
		if data == nil || t.Kind != mpack.Array {
			return errPayload
		}
		if t.Len > d.limits.Args {
			return errCount
		}
		return args(p, t.Len, rest)
	case parser.Connect:
		if data != nil && (t.Kind != mpack.Map || d.protocol == 4) {
			return errPayload
		}
	case parser.ConnectError:
		if t.Kind != mpack.Str && (t.Kind != mpack.Map || d.protocol == 4) {
			return errPayload
		}
	default:
		if data != nil {
			return errPayload
		}
	}
	if data != nil {
		p.Data = parser.RawMsgpack(data)
	}
	return nil
}

// args reads the n elements in b, whose syntax has been checked.
func args(p *parser.Packet, n int, b []byte) (err error) {
	if p.Type == parser.Event {
		if n == 0 {
			p.Empty = true
			return nil
		}
		t, rest, _ := mpack.Read(b)
		if p.Event, err = name(&t); err != nil {
			return err
		}
		n, b = n-1, rest
	}
	if n == 0 {
		return nil
	}
	p.Args = make([]parser.Arg, n)
	for i := range p.Args {
		rest, _, err := mpack.Skip(b, jsonscan.MaxDepth)
		if err != nil {
			return errSyntax
		}
		end := len(b) - len(rest)
		p.Args[i] = parser.RawMsgpack(b[:end:end])
		b = rest
	}
	return nil
}

// name gives the name of an event: a string, or a number as JavaScript writes it.
func name(t *mpack.Token) (string, error) {
	s, ok := t.Text()
	if !ok || !utf8.ValidString(s) {
		return "", errPayload
	}
	if parser.Reserved(s) {
		return "", errReserved
	}
	return s, nil
}

// text reads the JSON of a packet without event.
func (d *decoder) text(p *parser.Packet, in []byte) error {
	if _, err := jsonscan.Value(in, d.limits.Depth); err != nil {
		return errSyntax
	}
	var f map[string]parser.Arg
	if err := parser.RawJSON(append([]byte(nil), in...)).Scan(&f); err != nil {
		return errType
	}
	typ, err := f["type"].Any()
	n, ok := typ.(float64)
	if err != nil || !ok || n < 0 || n > float64(parser.BinaryAck) || n != math.Trunc(n) {
		return errType
	}
	nsp, err := f["nsp"].Any()
	ns, ok := nsp.(string)
	if err != nil || !ok {
		return errNamespace
	}
	*p = parser.Packet{Type: parser.Type(n), Namespace: ns}
	switch p.Type {
	case parser.Connect, parser.Disconnect:
		if !f["data"].IsZero() {
			return errPayload
		}
	case parser.ConnectError:
		var s string
		if v, err := f["data"].Any(); err != nil {
			return errPayload
		} else if s, ok = v.(string); !ok {
			return errPayload
		}
		p.Data = parser.Value(s)
	default: // no client writes events as text
		return errType
	}
	p.Namespace, err = namespaceOf([]byte(p.Namespace))
	return err
}
