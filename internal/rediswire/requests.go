package rediswire

import (
	"fmt"

	"github.com/sockeye-io/sockeye/parser"
)

var errRequestType = fmt.Errorf("%w: request type", ErrMalformed)

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
		return nil, fmt.Errorf("%w: request type %d", ErrMessage, r.Type)
	default:
	}
	w := textWriter(dst)
	w.object(0)
	if r.UID != "" {
		w.key("uid")
		w.str(r.UID)
	}
	w.requestID(r.ID)
	w.key("type")
	w.integer(int64(r.Type))
	switch r.Type {
	case RequestSockets:
		w.key("rooms")
		w.strs(r.Target.Rooms)
	case RequestJoin, RequestLeave:
		w.opts(&r.Target, targetPlain)
		w.key("rooms")
		w.strs(r.Rooms)
	case RequestDisconnect:
		w.opts(&r.Target, targetPlain)
		w.key("close")
		w.boolean(r.Close)
	case RequestFetch:
		w.opts(&r.Target, targetPlain)
	case RequestServerSide:
		w.key("data")
		if err := w.event(&r.Packet); err != nil {
			return nil, err
		}
	default:
	}
	w.endObject()
	return w.b, nil
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
	w := writer{b: dst}
	w.object(5)
	w.key("uid")
	w.str(r.UID)
	w.key("requestId")
	w.str(r.ID)
	w.key("type")
	w.integer(int64(RequestBroadcast))
	w.key("packet")
	if err := w.packet(&r.Packet, true); err != nil {
		return nil, err
	}
	w.opts(&r.Target, targetServer)
	return w.b, nil
}

// ParseRequest reads what came on the request channel of namespace. The result may refer to b. With an error it has what
// was read of the type, the sender and the id.
func ParseRequest(b []byte, namespace string) (Request, error) {
	var r Request
	v, err := checked(b)
	if err == nil {
		err = r.read(v, namespace)
	}
	return r, known("request", err)
}

// requestFields has the fields of all types.
type requestFields struct {
	uid, id, legacyID, kind, opts, rooms, socket, room, closing, data, packet value
}

func (r *Request) read(v value, namespace string) (err error) {
	c, ok := v.object()
	if !ok {
		return errKind
	}
	var f requestFields
	for key, v, ok := c.field(); ok; key, v, ok = c.field() {
		if dst := f.find(key); dst != nil {
			*dst = v
		}
	}
	if r.UID, err = f.uid.optional("uid"); err != nil {
		return err
	}
	if r.ID, err = f.id.optional("requestId"); err != nil {
		return err
	}
	n, ok := f.kind.integer()
	if !ok || n < 0 || n > int64(RequestBroadcast) {
		return errRequestType
	}
	r.Type = RequestType(n)
	if r.ID == "" && !f.legacyID.missing() {
		if n >= int64(len(legacyTypes)) {
			return errRequestType
		}
		r.Legacy, r.Type = true, legacyTypes[n]
		if r.ID, err = f.legacyID.optional("requestid"); err != nil {
			return err
		}
	}
	return r.readBody(&f, namespace)
}

func (f *requestFields) find(key []byte) *value {
	switch string(key) {
	case "uid":
		return &f.uid
	case "requestId":
		return &f.id
	case "requestid":
		return &f.legacyID
	case "type":
		return &f.kind
	case "opts":
		return &f.opts
	case "rooms":
		return &f.rooms
	case "sid":
		return &f.socket
	case "room":
		return &f.room
	case "close":
		return &f.closing
	case "data":
		return &f.data
	case "packet":
		return &f.packet
	}
	return nil
}

func (r *Request) readBody(f *requestFields, namespace string) (err error) {
	switch r.Type {
	case RequestSockets:
		r.Target.Rooms, r.Target.Nobody, err = f.rooms.names("rooms")
		return err
	case RequestAllRooms, RequestCustom:
		return nil
	case RequestClientRooms:
		return r.readSocket(f)
	case RequestJoin, RequestLeave:
		return r.readRooms(f)
	case RequestDisconnect:
		r.Close = f.closing.is(true)
		if r.old(f) {
			return r.readSocket(f)
		}
		r.Target, err = readTarget(f.opts)
		return err
	case RequestFetch:
		r.Target, err = readTarget(f.opts)
		return err
	case RequestServerSide:
		if err = readEvent(f.data, &r.Packet); err != nil {
			return err
		}
		return CheckServerSide(r.Packet.Event)
	default:
		if r.ID == "" {
			return field("requestId", errKind)
		}
		if r.Target, err = readTarget(f.opts); err != nil {
			return err
		}
		r.Packet, err = readPacket(f.packet, namespace)
		return err
	}
}

// old tells whether the request names a socket instead of options, as older servers do.
func (r *Request) old(f *requestFields) bool { return r.Legacy || f.opts.missing() }

func (r *Request) readSocket(f *requestFields) (err error) {
	if r.Socket, err = f.socket.optional("sid"); err == nil && r.Socket == "" {
		err = field("sid", errKind)
	}
	return err
}

func (r *Request) readRooms(f *requestFields) (err error) {
	if r.old(f) {
		room, ok := f.room.text()
		if !ok {
			return field("room", errKind)
		}
		r.Rooms = []string{room}
		return r.readSocket(f)
	}
	if r.Target, err = readTarget(f.opts); err != nil {
		return err
	}
	if f.rooms.missing() {
		return field("rooms", errKind)
	}
	r.Rooms, _, err = f.rooms.names("rooms")
	return err
}
