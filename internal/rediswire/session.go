package rediswire

import (
	"encoding/base64"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/parser"
)

// The values of the key "form", which tells of Data that is no object: Node peers rely on one.
const (
	formNone    = "none"
	formWrapped = "wrapped"
)

// Session is a session as it is stored.
type Session struct {
	adapter.Session

	Turn    string // of who has it, and another one each time that it is restored; "" where a Node server stored it
	Pending bool   // it is being restored
}

// AppendSession appends what is stored for a socket that lost its connection. Node peers read it, and ignore the
// namespace and the turn. The error is that of Data.
//
// Node: @socket.io/redis-streams-adapter/lib/adapter.ts persistSession.
func AppendSession(dst []byte, s *Session) ([]byte, error) {
	w := writer{dates: true}
	data, form, err := sessionData(s.Data)
	if err != nil {
		return nil, err
	}
	w.object(5 + count(form != "") + count(s.Turn != "") + count(s.Pending))
	w.key("sid")
	w.str(s.ID)
	w.key("pid")
	w.str(s.PID)
	w.key("rooms")
	w.strs(s.Rooms)
	w.key("data")
	w.b = append(w.b, data...)
	w.key("nsp")
	w.str(s.Namespace)
	if form != "" {
		w.key("form")
		w.str(form)
	}
	if s.Turn != "" {
		w.key("turn")
		w.str(s.Turn)
	}
	if s.Pending {
		w.key("pending")
		w.boolean(true)
	}
	return base64.StdEncoding.AppendEncode(dst, w.b), nil
}

// sessionData makes an object of Data.
func sessionData(a parser.Arg) (data []byte, form string, err error) {
	w := writer{dates: true}
	if a.IsZero() {
		w.object(0)
		return w.b, formNone, nil
	}
	if err := w.arg(a); err != nil {
		return nil, "", err
	}
	if _, ok := (value{b: w.b}).object(); ok {
		return w.b, "", nil
	}
	wrapped := writer{}
	wrapped.object(1)
	wrapped.key("value")
	return append(wrapped.b, w.b...), formWrapped, nil
}

// ParseSession reads what was stored. The namespace is "" where a Node server stored it. The error wraps ErrMalformed.
func ParseSession(b string) (Session, error) {
	var s Session
	raw, err := base64.StdEncoding.DecodeString(b)
	if err != nil {
		return s, malformed("session", err)
	}
	if isJSON(raw) {
		return s, malformed("session", errKind)
	}
	v, err := checked(raw)
	if err != nil {
		return s, malformed("session", err)
	}
	if s, err = readSession(v); err != nil {
		return s, malformed("session", err)
	}
	return s, nil
}

func readSession(v value) (s Session, err error) {
	c, ok := v.object()
	if !ok {
		return s, errKind
	}
	var data value
	var form string
	for key, v, ok := c.field(); ok && err == nil; key, v, ok = c.field() {
		switch string(key) {
		case "sid":
			s.ID, err = v.optional("sid")
		case "pid":
			s.PID, err = v.optional("pid")
		case "rooms":
			s.Rooms, _, err = v.names("rooms")
		case "nsp":
			s.Namespace, err = v.optional("nsp")
		case "form":
			form, err = v.optional("form")
		case "turn":
			s.Turn, err = v.optional("turn")
		case "pending":
			s.Pending = true
		case "data":
			data = v
		}
	}
	if err == nil && (s.ID == "" || s.PID == "") {
		err = field("sid or pid", errKind)
	}
	if err != nil {
		return s, err
	}
	switch form {
	case formNone:
	case formWrapped:
		s.Data, err = unwrapped(data)
	default:
		s.Data = data.optionalArg()
	}
	return s, err
}

func unwrapped(data value) (parser.Arg, error) {
	c, ok := data.object()
	if !ok {
		return parser.Arg{}, field("data", errKind)
	}
	_, v, ok := c.field()
	if !ok {
		return parser.Arg{}, field("data", errKind)
	}
	return v.arg(), nil
}
