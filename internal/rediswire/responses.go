package rediswire

import (
	"strconv"
	"strings"

	"github.com/tinylib/msgp/msgp"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/js"
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
	key := "sockets"
	if r.Legacy {
		key = "clients"
	}
	dst = appendResponseID(append(dst, '{'), r)
	return append(appendJSONStrings(appendKey(dst, key), ids), '}')
}

// AppendRoomsResponse answers RequestAllRooms and RequestClientRooms.
func AppendRoomsResponse(dst []byte, r *Request, rooms []string) []byte {
	dst = appendResponseID(append(dst, '{'), r)
	return append(appendJSONStrings(appendKey(dst, "rooms"), rooms), '}')
}

// AppendDoneResponse answers the old form of RequestJoin, RequestLeave and RequestDisconnect.
func AppendDoneResponse(dst []byte, r *Request) []byte {
	return append(appendResponseID(append(dst, '{'), r), '}')
}

// AppendCustomResponse answers RequestCustom, which asks for what this server does not have.
func AppendCustomResponse(dst []byte, r *Request) []byte {
	dst = appendResponseID(append(dst, '{'), r)
	return append(append(appendKey(dst, "data"), "null"...), '}')
}

// AppendFetchResponse answers RequestFetch. What cannot be written of a socket is left out of it: peers need the
// answer of every server.
func AppendFetchResponse(dst []byte, r *Request, sockets []adapter.Remote) []byte {
	dst = appendResponseID(append(dst, '{'), r)
	w := writer{b: appendKey(dst, "sockets"), json: true, text: true}
	w.remotes(sockets)
	return append(w.b, '}')
}

// AppendServerSideResponse answers RequestServerSide with the first of args, if any.
func AppendServerSideResponse(dst []byte, id string, args []parser.Arg) ([]byte, error) {
	dst = append(dst, `{"type":6`...)
	dst = js.AppendString(appendKey(dst, "requestId"), id)
	if len(args) > 0 && !args[0].IsZero() {
		var err error
		if dst, err = appendJSONArg(appendKey(dst, "data"), args[0]); err != nil {
			return nil, err
		}
	}
	return append(dst, '}'), nil
}

// AppendCountResponse answers RequestBroadcast at once: so many sockets will acknowledge.
func AppendCountResponse(dst []byte, id string, count int) []byte {
	dst = append(dst, `{"type":8`...)
	dst = js.AppendString(appendKey(dst, "requestId"), id)
	return append(strconv.AppendInt(appendKey(dst, "clientCount"), int64(count), 10), '}')
}

// AppendAckResponse answers RequestBroadcast with the first argument of one socket's acknowledgement.
func AppendAckResponse(dst []byte, id string, args []parser.Arg) ([]byte, error) {
	some := len(args) > 0 && !args[0].IsZero()
	n := uint32(2)
	if some {
		n++
	}
	dst = msgp.AppendMapHeader(dst, n)
	dst = msgp.AppendUint64(msgp.AppendString(dst, "type"), responseAck)
	dst = msgp.AppendString(msgp.AppendString(dst, "requestId"), id)
	if !some {
		return dst, nil
	}
	return appendMsgpackArg(msgp.AppendString(dst, "packet"), args[0])
}

func appendResponseID(dst []byte, r *Request) []byte {
	key := "requestId"
	if r.Legacy {
		key = "requestid"
	}
	return js.AppendString(appendKey(dst, key), r.ID)
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

	body object
	args []parser.Arg
}

// ParseResponse reads what came on a response channel. The result may refer to b.
func ParseResponse(b []byte) (Response, error) {
	if len(b) > 0 && b[0] == '{' {
		r, err := parseJSONResponse(validText(b))
		if err != nil {
			return r, malformed("response", err)
		}
		return r, nil
	}
	return parseAckResponse(b)
}

func parseJSONResponse(b []byte) (Response, error) {
	o, err := parseObject(b)
	if err != nil {
		return Response{}, err
	}
	r := Response{body: o}
	if r.ID, err = o.str("requestId"); err != nil {
		return r, err
	}
	t, _ := o.integer("type")
	switch t {
	case responseServerSide:
		r.Kind = ResponseServerSide
		r.args = o.arg("data")
	case responseCount:
		r.Kind = ResponseCount
		n, ok := o.integer("clientCount")
		if !ok || n < 0 || n > 1<<31-1 {
			return r, field("clientCount", errJSONKind)
		}
		r.Count = int(n)
	case responseAck:
		r.Kind = ResponseAck
		r.args = o.arg("packet")
	default:
	}
	return r, nil
}

// arg gives the value of key as the only argument, none if the key is missing.
func (o object) arg(key string) []parser.Arg {
	v, ok := o[key]
	if !ok {
		return nil
	}
	return []parser.Arg{parser.RawJSON(v)}
}

func parseAckResponse(b []byte) (Response, error) {
	r := Response{Kind: ResponseAck}
	typed := false
	rest, err := mapFields(b, func(key, value []byte) error {
		switch string(key) {
		case "type":
			t, ok := integer(value)
			typed = ok && t == responseAck
		case "requestId":
			r.ID, _ = text(value)
		case "packet":
			r.args = nil
			if v := read(value); !v.Undefined() {
				r.args = []parser.Arg{parser.RawMsgpack(value)}
			}
		}
		return nil
	})
	switch {
	case err != nil:
		return r, malformed("response", err)
	case len(rest) > 0:
		return r, malformed("response", errMsgpackTail)
	case !typed:
		return r, malformed("response type", nil)
	}
	return r, nil
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
	if r.body.absent("sockets") {
		return nil, false, malformed("response without sockets", nil)
	}
	return readRemotes(value{r.body["sockets"], true})
}

// Names reads the answer to RequestSockets ("sockets") or RequestAllRooms ("rooms").
func (r *Response) Names(key string) ([]string, error) {
	if r.body.absent(key) {
		return nil, malformed("response without "+key, nil)
	}
	names, _, err := r.body.names(key)
	if err != nil {
		return nil, malformed(key, err)
	}
	return names, nil
}
