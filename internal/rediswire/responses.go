package rediswire

import (
	"strings"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/parser"
)

// The types of responses. Those to the older requests carry none.
const (
	responseServerSide = 6
	responseCount      = 8
	responseAck        = 9
)

// AppendSocketsResponse answers RequestSockets.
func AppendSocketsResponse(dst []byte, r *Request, ids []string) []byte {
	w := response(dst, r)
	if r.Legacy {
		w.key("clients")
	} else {
		w.key("sockets")
	}
	w.strs(ids)
	w.endObject()
	return w.b
}

// AppendRoomsResponse answers RequestAllRooms and RequestClientRooms.
func AppendRoomsResponse(dst []byte, r *Request, rooms []string) []byte {
	w := response(dst, r)
	w.key("rooms")
	w.strs(rooms)
	w.endObject()
	return w.b
}

// AppendDoneResponse answers the old form of RequestJoin, RequestLeave and RequestDisconnect.
func AppendDoneResponse(dst []byte, r *Request) []byte {
	w := response(dst, r)
	w.endObject()
	return w.b
}

// AppendCustomResponse answers RequestCustom, which asks for what this server does not have.
func AppendCustomResponse(dst []byte, r *Request) []byte {
	w := response(dst, r)
	w.key("data")
	w.b = append(w.b, "null}"...)
	return w.b
}

// AppendFetchResponse answers RequestFetch. What cannot be written of a socket is left out of it: peers need the
// answer of every server.
func AppendFetchResponse(dst []byte, r *Request, sockets []adapter.Remote) []byte {
	w := response(dst, r)
	w.key("sockets")
	w.remotes(sockets)
	w.endObject()
	return w.b
}

// AppendServerSideResponse answers RequestServerSide with the first of args, if any.
func AppendServerSideResponse(dst []byte, id string, args []parser.Arg) ([]byte, error) {
	w := typedResponse(dst, responseServerSide, id)
	if len(args) > 0 && !args[0].IsZero() {
		w.key("data")
		if err := w.arg(args[0]); err != nil {
			return nil, err
		}
	}
	w.endObject()
	return w.b, nil
}

// AppendCountResponse answers RequestBroadcast at once: so many sockets will acknowledge.
func AppendCountResponse(dst []byte, id string, count int) []byte {
	w := typedResponse(dst, responseCount, id)
	w.key("clientCount")
	w.integer(int64(count))
	w.endObject()
	return w.b
}

// AppendAckResponse answers RequestBroadcast with the first argument of one socket's acknowledgement.
func AppendAckResponse(dst []byte, id string, args []parser.Arg) ([]byte, error) {
	some := len(args) > 0 && !args[0].IsZero()
	w := writer{b: dst}
	w.object(2 + count(some))
	w.key("type")
	w.integer(responseAck)
	w.key("requestId")
	w.str(id)
	if some {
		w.key("packet")
		if err := w.arg(args[0]); err != nil {
			return nil, err
		}
	}
	return w.b, nil
}

// response begins an answer to one of the older requests.
func response(dst []byte, r *Request) writer {
	w := textWriter(dst)
	w.object(0)
	if r.Legacy {
		w.key("requestid")
	} else {
		w.key("requestId")
	}
	w.str(r.ID)
	return w
}

func typedResponse(dst []byte, kind int64, id string) writer {
	w := textWriter(dst)
	w.object(0)
	w.key("type")
	w.integer(kind)
	w.key("requestId")
	w.str(id)
	return w
}

// ResponseKind says which question a response belongs to.
type ResponseKind uint8

// The kinds of responses.
const (
	ResponseOther      ResponseKind = iota // to a request up to RequestFetch
	ResponseServerSide                     // the answer of one server
	ResponseCount                          // how many sockets will acknowledge
	ResponseAck                            // one acknowledgement
)

// Response is an answer of one server. Only its kind, id and count have been read.
type Response struct {
	Kind  ResponseKind
	ID    string
	Count int // ResponseCount

	args           []parser.Arg
	sockets, rooms value
}

// ParseResponse reads what came on a response channel. The result may refer to b.
func ParseResponse(b []byte) (Response, error) {
	var r Response
	v, err := checked(b)
	if err == nil {
		err = r.read(v)
	}
	return r, known("response", err)
}

func (r *Response) read(v value) (err error) {
	c, ok := v.object()
	if !ok {
		return errKind
	}
	var id, kind, data, packet, number value
	for key, v, ok := c.field(); ok; key, v, ok = c.field() {
		switch string(key) {
		case "requestId":
			id = v
		case "type":
			kind = v
		case "data":
			data = v
		case "packet":
			packet = v
		case "clientCount":
			number = v
		case "sockets":
			r.sockets = v
		case "rooms":
			r.rooms = v
		}
	}
	if r.ID, err = id.optional("requestId"); err != nil {
		return err
	}
	t, _ := kind.integer()
	switch t {
	case responseServerSide:
		r.Kind, r.args = ResponseServerSide, data.answer()
	case responseCount:
		r.Kind = ResponseCount
		r.Count, err = readCount(number)
	case responseAck:
		r.Kind, r.args = ResponseAck, packet.answer()
	default:
	}
	return err
}

// PeekResponseID gives the id of a response that starts as all servers write it, so that an answer to another server
// need not be read.
func PeekResponseID(payload string) (id string, ok bool) {
	for _, start := range []string{
		`{"requestId":"`, `{"type":8,"requestId":"`, `{"type":6,"requestId":"`, "\x83\xa4type\x09\xa9requestId\xa6",
	} {
		rest, found := strings.CutPrefix(payload, start)
		if !found || len(rest) < 7 {
			continue
		}
		return rest[:6], PlainUID(rest[:6]) && (start[0] != '{' || rest[6] == '"')
	}
	return "", false
}

// PlainUID tells whether s is an id as servers make them, of letters, digits, - and _, so that it may be a part of
// a channel's name.
func PlainUID(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return len(s) > 0 && len(s) <= 64
}

// Args gives what a ResponseServerSide or ResponseAck carries: at most one argument.
func (r *Response) Args() []parser.Arg { return r.args }

// Remotes reads the answer to RequestFetch. With an error it gives those sockets that could be read; ok tells
// whether it is such an answer at all.
func (r *Response) Remotes() (sockets []adapter.Remote, ok bool, err error) {
	if r.sockets.missing() {
		return nil, false, malformed("response without sockets", nil)
	}
	return readRemotes(r.sockets)
}

// Names reads the answer to RequestSockets ("sockets") or RequestAllRooms ("rooms").
func (r *Response) Names(key string) ([]string, error) {
	v := r.rooms
	if key == "sockets" {
		v = r.sockets
	}
	if v.missing() {
		return nil, malformed("response without "+key, nil)
	}
	names, _, err := v.names(key)
	return names, known(key, err)
}
