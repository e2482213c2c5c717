// Package msgpack is the codec of socket.io-msgpack-parser: version 3 for peers of protocol revision 5, version
// 2.2 for those of revision 4.
//
// Not in this package: MessagePack itself, which package parser has for the sake of its arguments.
package msgpack

import (
	"github.com/tinylib/msgp/msgp"

	"github.com/sockeye-io/sockeye/parser"
)

// New returns the codec. Each packet is one MessagePack map in a binary message; for peers of revision 4 those
// that carry no event are JSON text.
//
// Differs from Node: negative ids, ids above [parser.MaxID], reserved event names and names that are neither a string
// nor a number are refused; so are names that are not UTF-8, and namespaces that do not begin with a slash.
//
// Node: socket.io-msgpack-parser/lib/index.ts
func New() parser.Parser { return codec{} }

type codec struct{}

// Encode implements [parser.Parser].
//
// Like the JSON codec it takes BinaryEvent and BinaryAck for Event and Ack.
func (codec) Encode(p *parser.Packet, protocol int) (parser.Frames, error) {
	switch p.Type {
	case parser.Event, parser.Ack:
	case parser.BinaryEvent, parser.BinaryAck:
		plain := *p
		plain.Type -= parser.BinaryEvent - parser.Event
		p = &plain
	case parser.Connect, parser.Disconnect, parser.ConnectError:
		if protocol == 4 {
			return encodeText(p)
		}
	default:
		return parser.Frames{}, errType
	}
	data := p.Type == parser.Event || p.Type == parser.Ack || p.Type != parser.Disconnect && !p.Data.IsZero()
	members := uint32(2)
	if p.HasID {
		members++
	}
	if data {
		members++
	}
	b := msgp.AppendMapHeader(make([]byte, 0, 64), members)
	ack := p.Type == parser.Ack // Node writes the keys in this order
	if ack {
		b = appendID(b, p)
	}
	b = append(msgp.AppendString(b, "type"), byte(p.Type))
	kind := len(b) - 1
	if !ack {
		b = appendID(b, p)
	}
	if data {
		var err error
		var binary bool
		if b, binary, err = appendData(msgp.AppendString(b, "data"), p, protocol); err != nil {
			return parser.Frames{}, err
		}
		if binary {
			b[kind] += byte(parser.BinaryEvent - parser.Event)
		}
	}
	b = msgp.AppendString(b, "nsp")
	return parser.Frames{Head: msgp.AppendString(b, namespace(p)), Binary: true}, nil
}

func namespace(p *parser.Packet) string {
	if p.Namespace == "" {
		return "/"
	}
	return p.Namespace
}

func appendID(b []byte, p *parser.Packet) []byte {
	if !p.HasID {
		return b
	}
	return msgp.AppendUint64(msgp.AppendString(b, "id"), p.ID)
}

// appendData appends the payload. binary tells that the packet must have a binary type, which only revision 4
// has in this codec.
func appendData(b []byte, p *parser.Packet, protocol int) (out []byte, binary bool, err error) {
	if p.Type != parser.Event && p.Type != parser.Ack {
		b, err = p.Data.AppendMsgpack(b)
		return b, false, err
	}
	n := uint32(len(p.Args))
	if p.Type == parser.Event {
		b = msgp.AppendString(msgp.AppendArrayHeader(b, n+1), p.Event)
	} else {
		b = msgp.AppendArrayHeader(b, n)
	}
	for i := range p.Args {
		if b, err = p.Args[i].AppendMsgpack(b); err != nil {
			return nil, false, err
		}
		binary = binary || protocol == 4 && p.Args[i].HasBinary()
	}
	return b, binary, nil
}

// encodeText makes the JSON of a packet without event.
func encodeText(p *parser.Packet) (parser.Frames, error) {
	b := append(make([]byte, 0, 64), `{"type":`...)
	b = append(b, '0'+byte(p.Type))
	var err error
	if !p.Data.IsZero() && p.Type != parser.Disconnect {
		if b, err = p.Data.AppendJSON(append(b, `,"data":`...)); err != nil {
			return parser.Frames{}, err
		}
	}
	if b, err = parser.Value(namespace(p)).AppendJSON(append(b, `,"nsp":`...)); err != nil {
		return parser.Frames{}, err
	}
	return parser.Frames{Head: append(b, '}')}, nil
}
