package parser

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/sockeye-io/sockeye/internal/js"
	"github.com/sockeye-io/sockeye/internal/jsonscan"
)

// Codec makes JSON of Go values and back, for those that hold no binary.
type Codec interface {
	Marshal(v any) ([]byte, error)
	Unmarshal(data []byte, v any) error
}

// JSON returns the default codec. It is for peers of both protocol revisions.
//
// Differs from Node: ids, attachment counts and the index of a placeholder are plain digits only (Node takes
// whatever JavaScript converts to a number, blanks included); ids end at [MaxID]; an empty message, one that
// begins with a blank, and invalid UTF-8 are errors; so is a binary packet without payload at once, and not
// only after its attachments. Peers of revision 4 are read by the rules of revision 5, as a Node server of
// today does, but that CONNECT_ERROR may hold any value.
//
// Protocol: socket.io v5, "Packet encoding"
func JSON() Parser { return &jsonParser{} }

// JSONWith is [JSON] with another encoder and decoder of Go values. Values that hold binary do not use it, and
// values of Go's basic types do not need it.
func JSONWith(c Codec) Parser {
	return &jsonParser{codec: c, src: &source{codec: c}}
}

type jsonParser struct {
	codec Codec
	src   *source // nil without a codec
}

// Reserved tells whether event is a name that peers must not send.
//
// Protocol: socket.io v5, "Sending and receiving data"
func Reserved(event string) bool {
	switch event {
	case "connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener":
		return true
	}
	return false
}

// Encode implements [Parser]. The arguments say whether the packet gets a binary form; BinaryEvent and BinaryAck are
// taken for Event and Ack, so that what an old server sends to the cluster does no harm.
func (j *jsonParser) Encode(p *Packet, protocol int) (Frames, error) {
	e := newEncoder(j.codec)
	defer e.free()
	t := p.Type.text()
	if err := e.packet(p, t); err != nil {
		return Frames{}, err
	}
	var room [24]byte
	head := append(room[:0], '0'+byte(t))
	var att [][]byte
	if n := len(e.att); n > 0 {
		if err := e.checkPlaceholders(p); err != nil {
			return Frames{}, err
		}
		head[0] += byte(BinaryEvent - Event)
		head = append(strconv.AppendInt(head, int64(n), 10), '-')
		att = append(att, e.att...)
	}
	out := make([]byte, len(head)+len(e.buf))
	copy(out[copy(out, head):], e.buf)
	return Frames{Head: out, Attachments: att}, nil
}

// text gives the type without regard to binary.
func (t Type) text() Type {
	if t == BinaryEvent || t == BinaryAck {
		return t - (BinaryEvent - Event)
	}
	return t
}

// checkPlaceholders refuses objects of an application's own that look like placeholders of attachments that do not
// exist: every receiver would close its connection.
func (e *encoder) checkPlaceholders(p *Packet) error {
	from := 0
	if p.Namespace != "/" {
		from = len(p.Namespace)
	}
	from += bytes.IndexByte(e.buf[from:], '[')
	e.ph = jsonscan.Placeholders(e.ph[:0], e.buf[from:])
	for _, h := range e.ph {
		if h.Num < 0 || h.Num >= len(e.att) {
			return ErrPlaceholder
		}
	}
	return nil
}

// packet appends what follows the type and the number of attachments.
func (e *encoder) packet(p *Packet, t Type) error {
	if p.Namespace != "/" && p.Namespace != "" {
		if p.Namespace[0] != '/' || strings.IndexByte(p.Namespace, ',') >= 0 {
			return ErrNamespace
		}
		e.buf = append(append(e.buf, p.Namespace...), ',')
	}
	if p.HasID {
		e.buf = strconv.AppendUint(e.buf, p.ID, 10)
	}
	switch t {
	case Event, Ack:
		return e.args(p, t == Event)
	case Connect, ConnectError:
		if p.Data.IsZero() {
			return nil
		}
		if err := e.arg(p.Data); err != nil {
			return err
		}
		if len(e.att) > 0 {
			return ErrBinary
		}
		return nil
	case Disconnect:
		return nil
	default:
		return errPacketType
	}
}

func (e *encoder) args(p *Packet, event bool) error {
	e.buf = append(e.buf, '[')
	comma := event
	if event {
		e.buf = js.AppendString(e.buf, p.Event)
	}
	for i := range p.Args {
		if comma {
			e.buf = append(e.buf, ',')
		}
		comma = true
		if err := e.arg(p.Args[i]); err != nil {
			return err
		}
	}
	e.buf = append(e.buf, ']')
	return nil
}
