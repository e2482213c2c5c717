package rediswire

import (
	"errors"
	"fmt"

	"github.com/tinylib/msgp/msgp"

	"github.com/sockeye-io/sockeye/internal/js"
	"github.com/sockeye-io/sockeye/parser"
)

// RequestType says what a server asks of the others.
//
// Node: @socket.io/redis-adapter/lib/index.ts RequestType.
type RequestType uint8

// The types of requests. Those from RequestClientRooms on have no number: only socket.io-redis 5, around
// servers of Socket.IO 2, asks for them.
const (
	RequestSockets RequestType = iota
	RequestAllRooms
	RequestJoin
	RequestLeave
	RequestDisconnect
	RequestFetch
	RequestServerSide
	RequestBroadcast
	RequestClientRooms
	RequestCustom
)

// legacyTypes gives the meaning of the numbers in requests of socket.io-redis 5.
var legacyTypes = [...]RequestType{
	RequestSockets, RequestClientRooms, RequestAllRooms, RequestJoin, RequestLeave, RequestCustom, RequestDisconnect,
}

// Request is a question or an order to the other servers of a namespace.
type Request struct {
	Type RequestType
	UID  string // of the asking server; "" where it did not say
	ID   string // "" where no answer is wanted

	// Legacy is set for requests of socket.io-redis 5, which names the id differently and wants its answers so.
	Legacy bool

	Target Target   // which sockets; not set where Socket is
	Socket string   // the only socket, in the old form of RequestJoin, RequestLeave and RequestDisconnect
	Rooms  []string // to join or leave
	Close  bool     // RequestDisconnect: the connection too

	Packet parser.Packet // RequestBroadcast, RequestServerSide (Event and Args alone)
}

// AppendRequest writes a request. Old forms are not written. An empty UID is left out of JSON.
//
// Node: @socket.io/redis-adapter/lib/index.ts fetchSockets, addSockets, serverSideEmit, broadcastWithAck.
func AppendRequest(dst []byte, r *Request) ([]byte, error) {
	switch r.Type {
	case RequestBroadcast:
		return appendBroadcastRequest(dst, r)
	case RequestServerSide:
		if err := CheckServerSide(r.Packet.Event); err != nil {
			return nil, err
		}
	case RequestClientRooms, RequestCustom:
		return nil, fmt.Errorf("rediswire: request type %d cannot be written", r.Type)
	default:
	}
	dst = append(dst, '{')
	if r.UID != "" {
		dst = js.AppendString(appendKey(dst, "uid"), r.UID)
	}
	if r.ID != "" {
		dst = js.AppendString(appendKey(dst, "requestId"), r.ID)
	}
	dst = append(appendKey(dst, "type"), '0'+byte(r.Type))
	switch r.Type {
	case RequestSockets:
		dst = appendJSONStrings(appendKey(dst, "rooms"), r.Target.Rooms)
	case RequestJoin, RequestLeave:
		dst = appendJSONTarget(appendKey(dst, "opts"), r.Target)
		dst = appendJSONStrings(appendKey(dst, "rooms"), r.Rooms)
	case RequestDisconnect:
		dst = appendJSONTarget(appendKey(dst, "opts"), r.Target)
		dst = appendBool(appendKey(dst, "close"), r.Close)
	case RequestFetch:
		dst = appendJSONTarget(appendKey(dst, "opts"), r.Target)
	case RequestServerSide:
		dst = js.AppendString(append(appendKey(dst, "data"), '['), r.Packet.Event)
		var err error
		for _, a := range r.Packet.Args {
			if dst, err = appendJSONArg(append(dst, ','), a); err != nil {
				return nil, err
			}
		}
		dst = append(dst, ']')
	default:
	}
	return append(dst, '}'), nil
}

// CheckServerSide refuses the event names that servers keep for themselves.
//
// Node: socket.io/lib/namespace.ts RESERVED_EVENTS.
func CheckServerSide(event string) error {
	switch event {
	case "connect", "connection", "new_namespace":
		return fmt.Errorf("%w: %q", ErrReserved, event)
	default:
		return nil
	}
}

func appendBroadcastRequest(dst []byte, r *Request) ([]byte, error) {
	dst = msgp.AppendMapHeader(dst, 5)
	dst = msgp.AppendString(msgp.AppendString(dst, "uid"), r.UID)
	dst = msgp.AppendString(msgp.AppendString(dst, "requestId"), r.ID)
	dst = msgp.AppendUint64(msgp.AppendString(dst, "type"), uint64(RequestBroadcast))
	dst, err := appendPacket(msgp.AppendString(dst, "packet"), &r.Packet)
	if err != nil {
		return nil, err
	}
	return appendTarget(msgp.AppendString(dst, "opts"), r.Target), nil
}

func appendJSONTarget(dst []byte, t Target) []byte {
	dst = append(dst, '{')
	dst = appendJSONStrings(appendKey(dst, "rooms"), t.Rooms)
	dst = appendJSONStrings(appendKey(dst, "except"), t.Except)
	return append(dst, '}')
}

func appendBool(dst []byte, b bool) []byte {
	if b {
		return append(dst, "true"...)
	}
	return append(dst, "false"...)
}

// ParseRequest reads what came on the request channel of namespace. The result may refer to b.
func ParseRequest(b []byte, namespace string) (Request, error) {
	if len(b) > 0 && b[0] == '{' {
		r, err := parseJSONRequest(validText(b), namespace)
		if err != nil && !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrReserved) && !errors.Is(err, ErrElsewhere) {
			err = malformed("request", err)
		}
		return r, err
	}
	return parseBroadcastRequest(b, namespace)
}

func parseJSONRequest(b []byte, namespace string) (Request, error) {
	o, err := parseObject(b)
	if err != nil {
		return Request{}, err
	}
	var r Request
	if r.UID, err = o.str("uid"); err != nil {
		return r, err
	}
	if r.ID, err = o.str("requestId"); err != nil {
		return r, err
	}
	n, ok := o.integer("type")
	if !ok || n < 0 || n > int64(RequestBroadcast) {
		return r, malformed("request type", nil)
	}
	r.Type = RequestType(n)
	if r.ID == "" && !o.absent("requestid") {
		if n >= int64(len(legacyTypes)) {
			return r, malformed("request type", nil)
		}
		r.Legacy, r.Type = true, legacyTypes[n]
		if r.ID, err = o.str("requestid"); err != nil {
			return r, err
		}
	}
	return r, r.readBody(o, namespace)
}

func (r *Request) readBody(o object, namespace string) (err error) {
	switch r.Type {
	case RequestSockets:
		r.Target.Rooms, r.Target.Nobody, err = o.names("rooms")
		return err
	case RequestAllRooms, RequestCustom:
		return nil
	case RequestClientRooms:
		return r.readSocket(o)
	case RequestJoin, RequestLeave:
		return r.readRooms(o)
	case RequestDisconnect:
		r.Close = o.truth("close")
		if r.old(o) {
			return r.readSocket(o)
		}
		r.Target, err = o.target()
		return err
	case RequestFetch:
		r.Target, err = o.target()
		return err
	case RequestServerSide:
		if r.Packet.Event, r.Packet.Args, err = o.event("data"); err != nil {
			return err
		}
		return CheckServerSide(r.Packet.Event)
	default:
		if r.Target, err = o.target(); err != nil {
			return err
		}
		return r.readJSONPacket(o, namespace)
	}
}

// old tells whether the request names a socket instead of options, as older servers do.
func (r *Request) old(o object) bool { return r.Legacy || o.absent("opts") }

func (r *Request) readSocket(o object) (err error) {
	if r.Socket, err = o.str("sid"); err == nil && r.Socket == "" {
		err = field("sid", errJSONKind)
	}
	return err
}

func (r *Request) readRooms(o object) (err error) {
	if r.old(o) {
		room, ok := jsonText(o["room"])
		if !ok {
			return field("room", errJSONKind)
		}
		r.Rooms = []string{room}
		return r.readSocket(o)
	}
	if r.Target, err = o.target(); err != nil {
		return err
	}
	if o.absent("rooms") {
		return field("rooms", errJSONKind)
	}
	r.Rooms, _, err = o.names("rooms")
	return err
}

func (r *Request) readJSONPacket(o object, namespace string) error {
	if r.ID == "" {
		return field("requestId", errJSONKind)
	}
	p, err := parseObject(o["packet"])
	if err != nil {
		return field("packet", err)
	}
	n, ok := p.integer("type")
	if !ok || n != int64(parser.Event) && n != int64(parser.BinaryEvent) {
		return field("packet type", errJSONKind)
	}
	name := "/"
	if !p.absent("nsp") {
		if name, err = p.str("nsp"); err != nil {
			return err
		}
	}
	if name != namespace {
		return ErrElsewhere
	}
	r.Packet = parser.Packet{Type: parser.Event, Namespace: namespace}
	if r.Packet.Event, r.Packet.Args, err = p.event("data"); err != nil {
		return err
	}
	return checkEvent(r.Packet.Event)
}

func parseBroadcastRequest(b []byte, namespace string) (Request, error) {
	r := Request{Type: RequestBroadcast}
	var packet, opts []byte
	typed := false
	rest, err := mapFields(b, func(key, value []byte) error {
		switch string(key) {
		case "uid":
			r.UID, _ = text(value)
		case "requestId":
			r.ID, _ = text(value)
		case "type":
			t, ok := integer(value)
			typed = ok && t == int64(RequestBroadcast)
		case "packet":
			packet = value
		case "opts":
			opts = value
		}
		return nil
	})
	switch {
	case err != nil:
		return r, malformed("request", err)
	case len(rest) > 0:
		return r, malformed("request", errMsgpackTail)
	case !typed:
		return r, malformed("request type", nil)
	case r.ID == "" || packet == nil || opts == nil:
		return r, malformed("request without id, packet or options", nil)
	}
	if r.Target, err = parseTarget(opts); err != nil {
		return r, malformed("options", err)
	}
	r.Packet, err = parsePacket(packet, namespace)
	return r, err
}
