package main

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/sockeye-io/sockeye/internal/eio"
	"github.com/sockeye-io/sockeye/parser"
)

// message says what one message means.
func (d *decoder) message(b []byte, kind string) {
	how := ""
	if kind == "" {
		if kind = guess(b, d.pending > 0); kind != "" {
			how = "; guessed"
		}
	}
	d.begin(kind, len(b), how)
	d.b = b
	defer d.flush()
	switch kind {
	case kindEIO:
		d.frame()
	case kindSIO:
		d.packet(0)
	case kindPolling:
		d.payload()
	case kindClassic:
		d.classic()
	case kindRequest:
		d.request()
	case kindResponse:
		d.response()
	case kindSharded:
		d.sharded()
	case kindStream:
		d.stream()
	case kindControl:
		d.control()
	default:
		d.wrong(0, "this begins like none of the kinds: %s", strings.Join(kinds(), ", "))
	}
}

// frame takes a WebSocket message, of which it is not known whether it is text or binary.
func (d *decoder) frame() {
	if !d.binary() {
		d.enginePacket(0, len(d.b))
		return
	}
	if d.protocol == 3 && len(d.b) > 0 {
		p := eio.ParseBinary(3, d.b)
		d.line(0, 0, d.b[:1], "Engine.IO packet of bytes: "+p.Type.String())
		d.attachment(1, len(d.b))
		return
	}
	d.line(0, 0, nil, "Engine.IO message of bytes")
	d.bytes(0, len(d.b))
}

// binary tells whether the message at hand is bytes: a text is no MessagePack, and attachments are no text.
func (d *decoder) binary() bool {
	return d.pending > 0 && !isFrame(d.b) || !utf8.Valid(d.b) || len(d.b) > 0 && d.b[0] < ' '
}

// isFrame tells whether b is a text of Engine.IO, rather than an attachment that is text by chance.
func isFrame(b []byte) bool {
	return len(b) > 0 && (b[0] == 'b' || b[0] >= '0' && b[0] <= '6' && (len(b) == 1 || b[0] == '4' && b[1] >= '0' && b[1] <= '6'))
}

// bytes takes a message of bytes: an attachment, or a packet in MessagePack.
func (d *decoder) bytes(from, to int) {
	if d.pending == 0 && from < to && d.b[from]&0xf0 == 0x80 {
		n, f := msgpackTree(d.b[:to], from)
		d.whole(&n, f, msgpackPacketScheme())
		return
	}
	d.attachment(from, to)
}

func (d *decoder) attachment(from, to int) {
	what := "attachment, " + bytesOf(to-from)
	first := d.messages == 1 && d.pending == 0 && !d.packets
	if first {
		what += ", of a packet before the input"
	}
	d.line(from, 1, d.b[from:to], what)
	switch {
	case d.pending > 0:
		d.pending--
	case !first:
		d.wrong(from, "no packet before this waits for an attachment")
	}
}

// enginePacket takes the text of an Engine.IO packet.
func (d *decoder) enginePacket(from, to int) {
	if from == to {
		d.wrong(from, "an Engine.IO packet is empty")
		return
	}
	c := d.b[from]
	if c == 'b' {
		d.base64Packet(from, to)
		return
	}
	t := eio.Type(c - '0')
	if c < '0' || t > eio.Noop {
		d.wrong(from, "%s is no type of an Engine.IO packet, which are 0 to 6", d.character(from))
		return
	}
	d.line(from, 0, d.b[from:from+1], "Engine.IO packet: "+t.String())
	from++
	switch {
	case t == eio.Message && from == to:
		d.line(from, 1, nil, "an empty text")
	case t == eio.Message:
		d.packetText(from, to)
	case t == eio.Open:
		n, f := jsonTree(d.b[:to], from)
		d.whole(&n, f, handshakeScheme())
	case from < to:
		d.line(from, 1, d.b[from:to], "data: "+quoted(cut(string(d.b[from:to]), valueSize)))
	}
}

// base64Packet takes bytes where only text can be.
func (d *decoder) base64Packet(from, to int) {
	d.line(from, 0, d.b[from:from+1], "Engine.IO message of bytes, in base64")
	from++
	if d.protocol == 3 && from < to {
		d.line(from, 1, d.b[from:from+1], "type of the packet: "+eio.Type(d.b[from]-'0').String())
		from++
	}
	for i := from; i < to; i++ {
		if c := d.b[i]; !strings.ContainsRune("+/-_=", rune(c)) && (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') {
			d.wrong(i, "this is not base64")
			return
		}
	}
	p, err := eio.ParseText(4, append([]byte{'b'}, d.b[from:to]...)) // it decodes in place
	if err != nil {
		d.wrong(from, "this is not base64")
		return
	}
	d.inner(p.Data, "what is encoded there", func() { d.bytes(0, len(p.Data)) })
}

// packet takes a Socket.IO packet from there to the end, which may be bytes.
func (d *decoder) packet(from int) {
	if d.pending > 0 || len(d.b) > from && d.b[from]&0xf0 == 0x80 {
		d.bytes(from, len(d.b))
		return
	}
	d.packetText(from, len(d.b))
}

// packetText takes the text of a Socket.IO packet: type, number of attachments, namespace, id, payload.
func (d *decoder) packetText(from, to int) {
	if from == to {
		d.wrong(from, "a Socket.IO packet is empty")
		return
	}
	b := d.b[:to]
	t := parser.Type(b[from] - '0')
	if b[from] < '0' || t > parser.BinaryAck {
		d.wrong(from, "%s is no type of a Socket.IO packet, which are 0 to 6", d.character(from))
		return
	}
	if d.pending > 0 {
		d.wrong(from, "attachments of the packet before that are missing: %d", d.pending)
		d.pending = 0
	}
	d.line(from, 0, b[from:from+1], "Socket.IO packet: "+packetTypes[t])
	i := from + 1
	attachments := 0
	if t == parser.BinaryEvent || t == parser.BinaryAck {
		end := digitsEnd(b, i)
		n, err := strconv.Atoi(string(b[i:end]))
		if err != nil || end == to || b[end] != '-' {
			d.wrong(i, "a binary packet says here how many attachments follow, and a -")
			return
		}
		d.line(i, 1, b[i:end+1], fmt.Sprintf("attachments that follow: %d", n))
		attachments, i = n, end+1
	}
	i = d.packetNamespace(b, i)
	if end := digitsEnd(b, i); end > i {
		d.line(i, 1, b[i:end], "acknowledgement id")
		i = end
	}
	if i < to && !d.packetData(b, i, t) {
		return
	}
	d.checkPacket(b[from:], from)
	d.pending, d.packets = attachments, true
}

// character shows the one that begins there.
func (d *decoder) character(at int) string {
	_, size := utf8.DecodeRune(d.b[at:])
	return quoted(string(d.b[at : at+size]))
}

func digitsEnd(b []byte, i int) int {
	for i < len(b) && b[i] >= '0' && b[i] <= '9' {
		i++
	}
	return i
}

func (d *decoder) packetNamespace(b []byte, i int) (next int) {
	if i == len(b) || b[i] != '/' {
		return i
	}
	end, next := len(b), len(b)
	if at := bytes.IndexByte(b[i:], ','); at >= 0 {
		end, next = i+at, i+at+1
	}
	d.line(i, 1, b[i:next], "namespace "+quoted(string(b[i:end])))
	return next
}

func (d *decoder) packetData(b []byte, i int, t parser.Type) bool {
	var s scheme
	switch t {
	case parser.Connect:
		s = scheme{
			"": object("payload"), "sid": text("id of the socket, from the server"),
			"pid": text("private id, for recovery"), "offset": text("last offset that the client has"),
		}
	case parser.ConnectError:
		s = scheme{"": anything("payload"), "message": anything("message"), "data": anything("data of the error")}
	case parser.Ack, parser.BinaryAck:
		s = scheme{"": list("payload"), "*": anything("argument")}
	default:
		s = eventScheme("payload")
	}
	n, f := jsonTree(b, i)
	return d.whole(&n, f, s)
}

// checkPacket asks the decoder of the server.
func (d *decoder) checkPacket(b []byte, at int) {
	if d.faulty {
		return
	}
	protocol := 5
	if d.protocol == 3 {
		protocol = 4
	}
	var p parser.Packet
	dec := parser.JSON().NewDecoder(parser.Limits{Attachments: -1, Depth: -1, Args: -1, Bytes: -1}, protocol)
	if _, err := dec.Add(&p, bytes.Clone(b), false); err != nil {
		d.wrong(at, "servers refuse this packet: %s", strings.TrimPrefix(err.Error(), "parser: "))
	}
}

// payload takes the body of a polling request.
func (d *decoder) payload() {
	switch b := d.b; {
	case len(b) > 0 && b[0] < 2:
		d.payloadBinary()
	case d.protocol == 3 || isPayloadV3(b):
		d.payloadText()
	default:
		for from := 0; ; {
			to := len(b)
			at := bytes.IndexByte(b[from:], 0x1e)
			if at >= 0 {
				to = from + at
			}
			if bad := invalidUTF8(b[from:to]); bad >= 0 {
				d.wrong(from+bad, "this is not UTF-8")
				return
			}
			d.enginePacket(from, to)
			if at < 0 || d.faulty {
				return
			}
			d.line(to, 0, b[to:to+1], "separator")
			from = to + 1
		}
	}
}

// isPayloadV3 tells whether b begins as a text payload of protocol 3: a length, a colon and a type.
func isPayloadV3(b []byte) bool {
	i := digitsEnd(b, 0)
	return i > 0 && i < len(b) && b[i] == ':'
}

// payloadText takes a payload of protocol 3, whose lengths are in UTF-16 units.
func (d *decoder) payloadText() {
	for i := 0; i < len(d.b); {
		end := digitsEnd(d.b, i)
		n, err := strconv.Atoi(string(d.b[i:end]))
		if err != nil || end == len(d.b) || d.b[end] != ':' {
			d.wrong(i, "the length of a packet and a colon should be here")
			return
		}
		d.line(i, 0, d.b[i:end+1], fmt.Sprintf("length of the packet: %d UTF-16 units", n))
		from := end + 1
		to := from
		for n > 0 && to < len(d.b) {
			r, size := utf8.DecodeRune(d.b[to:])
			if r == utf8.RuneError && size == 1 {
				d.wrong(to, "this is not UTF-8")
				return
			}
			to += size
			n--
			if r > math.MaxUint16 {
				n--
			}
		}
		if n != 0 {
			d.wrong(i, "the packet does not have the length that is said here")
			return
		}
		if from < to {
			d.inProtocol3(func() { d.enginePacket(from, to) })
		}
		if d.faulty {
			return
		}
		i = to
	}
}

// payloadBinary takes a binary payload of protocol 3.
func (d *decoder) payloadBinary() {
	for i := 0; i < len(d.b); {
		n, end := 0, i+1
		for ; end < len(d.b) && d.b[end] <= 9 && n < maxInput; end++ {
			n = 10*n + int(d.b[end])
		}
		if d.b[i] > 1 || end == i+1 || end == len(d.b) || d.b[end] != 255 {
			d.wrong(i, "0 for text or 1 for bytes, the digits of the length as a byte each, and 255 should be here")
			return
		}
		kind := [...]string{"text", "bytes"}[d.b[i]]
		d.line(i, 0, d.b[i:end+1], "packet of "+kind+", "+bytesOf(n))
		from := end + 1
		if n == 0 || n > len(d.b)-from {
			d.wrong(i, "the packet does not have the length that is said here")
			return
		}
		d.inProtocol3(func() {
			if kind == "text" {
				d.enginePacket(from, from+n)
				return
			}
			d.line(from, 0, d.b[from:from+1], "Engine.IO packet of bytes: "+eio.ParseBinary(3, d.b[from:from+n]).Type.String())
			d.attachment(from+1, from+n)
		})
		if d.faulty {
			return
		}
		i = from + n
	}
}

func (d *decoder) inProtocol3(f func()) {
	protocol := d.protocol
	d.protocol = 3
	f()
	d.protocol = protocol
}
