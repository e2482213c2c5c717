package rediswire

import (
	"fmt"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/parser"
)

// Bounds of what is read: a short message must not take a large multiple of its size.
const (
	maxArgs      = 1 << 16
	maxRequestID = 128
)

var errMessageType = fmt.Errorf("%w: unknown type of message", ErrMalformed)

// ParseMessage reads what came on a channel, in either form. The arguments refer to b and are not decoded. With an error,
// which wraps ErrMalformed or ErrReserved, the message has what was read of its type, sender, namespace and request, so
// that a peer need not wait in vain, and the sockets that could be read.
func ParseMessage(b []byte) (Message, error) {
	var m Message
	v, err := checked(b)
	if err != nil {
		return m, malformed("message", err)
	}
	c, ok := v.object()
	if !ok {
		return m, malformed("message", errKind)
	}
	var kind, uid, nsp, data value
	for key, v, ok := c.field(); ok; key, v, ok = c.field() {
		switch string(key) {
		case "type":
			kind = v
		case "uid":
			uid = v
		case "nsp":
			nsp = v
		case "data":
			data = v
		}
	}
	n, ok := kind.integer()
	if !ok || n < int64(MessageInitialHeartbeat) || n > int64(MessageClose) {
		return m, errMessageType
	}
	m.Type = MessageType(n)
	if m.UID, err = uid.optional("uid"); err != nil {
		return m, malformed("message", err)
	}
	if m.Namespace, err = nsp.optional("nsp"); err != nil {
		return m, malformed("message", err)
	}
	return m, m.read(data)
}

// read reads what depends on the type.
func (m *Message) read(data value) error {
	if m.UID != "" && !PlainUID(m.UID) {
		m.UID = ""
		return malformed("sender of message", errKind)
	}
	if m.Type == MessageInitialHeartbeat || m.Type == MessageHeartbeat || m.Type == MessageClose {
		return nil
	}
	d, err := readMessageData(data)
	m.RequestID = d.requestID
	if err == nil {
		err = m.readData(&d)
	}
	return known("message", err)
}

// messageData has the fields of all types.
type messageData struct {
	requestID                                    string
	packet, opts, rooms, closing, sockets, count value
}

func readMessageData(v value) (d messageData, err error) {
	c, ok := v.object()
	if !ok {
		return d, field("data", errKind)
	}
	for key, v, ok := c.field(); ok; key, v, ok = c.field() {
		switch string(key) {
		case "requestId":
			d.requestID, err = v.optional("requestId")
			if len(d.requestID) > maxRequestID {
				d.requestID, err = "", field("requestId", errKind)
			}
		case "packet":
			d.packet = v
		case "opts":
			d.opts = v
		case "rooms":
			d.rooms = v
		case "close":
			d.closing = v
		case "sockets":
			d.sockets = v
		case "clientCount":
			d.count = v
		}
	}
	return d, err
}

func (m *Message) readData(d *messageData) (err error) {
	switch m.Type {
	case MessageBroadcast, MessageServerSide:
	case MessageJoin, MessageLeave, MessageDisconnect:
		m.RequestID = "" // they are not answered
	default:
		if m.RequestID == "" {
			return field("requestId", errKind)
		}
	}
	if m.Type <= MessageFetch {
		if m.Target, err = readTarget(d.opts); err != nil {
			return err
		}
	}
	switch m.Type {
	case MessageBroadcast:
		m.Packet, err = readPacket(d.packet, "")
		m.Packet.Namespace = m.Namespace
		m.Asks = hasID(d.packet)
	case MessageJoin, MessageLeave:
		if d.rooms.missing() {
			return field("rooms", errKind)
		}
		m.Rooms, _, err = d.rooms.names("rooms")
	case MessageDisconnect:
		m.Close = d.closing.is(true)
	case MessageFetch:
	case MessageFetchResponse:
		m.Sockets, _, err = readRemotes(d.sockets)
	case MessageServerSide:
		m.Packet.Type = parser.Event
		if err = readEvent(d.packet, &m.Packet); err == nil {
			err = CheckServerSide(m.Packet.Event)
		}
	case MessageCount:
		m.Count, err = readCount(d.count)
	default: // MessageServerSideResponse, MessageAck
		m.Args = d.packet.answer()
	}
	return err
}

// readTarget reads options, which must be there.
func readTarget(v value) (t Target, err error) {
	c, ok := v.object()
	if !ok {
		return t, field("opts", errKind)
	}
	for key, v, ok := c.field(); ok && err == nil; key, v, ok = c.field() {
		switch string(key) {
		case "rooms":
			t.Rooms, t.Nobody, err = v.names("rooms")
		case "except":
			t.Except, _, err = v.names("except")
		case "flags":
			err = readFlags(v, &t)
		}
	}
	return t, err
}

func readFlags(v value, t *Target) error {
	t.Flags, t.Timeout = adapter.Flags{}, 0
	if v.missing() {
		return nil
	}
	c, ok := v.object()
	if !ok {
		return field("flags", errKind)
	}
	for key, v, ok := c.field(); ok; key, v, ok = c.field() {
		switch string(key) {
		case "volatile":
			t.Flags.Volatile = v.is(true)
		case "compress":
			t.Flags.NoCompress = v.is(false)
		case "expectSingleResponse":
			t.Flags.Single = v.is(true)
		case "timeout":
			ms, _ := v.integer()
			t.Timeout = timeout(ms)
		}
	}
	return nil
}

// readPacket reads an EVENT of namespace, or of any where that is "". The type of binary events, which the servers of 2.x write, is one too.
func readPacket(v value, namespace string) (p parser.Packet, err error) {
	p = parser.Packet{Type: parser.Event, Namespace: "/"}
	c, ok := v.object()
	if !ok {
		return p, field("packet", errKind)
	}
	var data value
	typed := false
	for key, v, ok := c.field(); ok; key, v, ok = c.field() {
		switch string(key) {
		case "type":
			n, ok := v.integer()
			typed = ok && (n == int64(parser.Event) || n == int64(parser.BinaryEvent))
		case "nsp":
			if p.Namespace, ok = v.str(); !ok {
				return p, field("nsp", errKind)
			}
		case "data":
			data = v
		}
	}
	if !typed {
		return p, field("packet type", errKind)
	}
	if namespace != "" && p.Namespace != namespace {
		return p, ErrElsewhere
	}
	if err := readEvent(data, &p); err != nil {
		return p, err
	}
	return p, checkEvent(p.Event)
}

// hasID tells whether a packet asks for an acknowledgement.
func hasID(packet value) bool {
	c, ok := packet.object()
	if !ok {
		return false
	}
	for key, v, ok := c.field(); ok; key, v, ok = c.field() {
		if string(key) == "id" && !v.missing() {
			return true
		}
	}
	return false
}

// readEvent reads the name of an event and its arguments, which stay as they are.
func readEvent(v value, p *parser.Packet) error {
	c, ok := v.array()
	if !ok {
		return field("packet data", errKind)
	}
	name, _ := c.next()
	if p.Event, ok = name.text(); !ok {
		return field("event name", errKind)
	}
	n := 0
	for all := c; ; n++ {
		if _, ok := all.next(); !ok {
			break
		}
	}
	if n == 0 {
		return nil
	}
	if n > maxArgs {
		return field("arguments", errKind)
	}
	p.Args = make([]parser.Arg, 0, n)
	for a, ok := c.next(); ok; a, ok = c.next() {
		p.Args = append(p.Args, a.arg())
	}
	return nil
}

func readCount(v value) (int, error) {
	n, ok := v.integer()
	if !ok || n < 0 || n > 1<<31-1 {
		return 0, field("clientCount", errKind)
	}
	return int(n), nil
}
