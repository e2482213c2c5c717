package rediswire

import (
	"errors"
	"fmt"
	"slices"

	"github.com/tinylib/msgp/msgp"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/mpack"
)

// ControlKind tells what a Control is.
type ControlKind uint8

// The kinds of Control, and the fields that they have beside Server.
const (
	ControlAlive  ControlKind = 1 // Serial: the server is there
	ControlHello  ControlKind = 2 // Serial, All, Members: it has opened these namespaces, and asks who else has them
	ControlHere   ControlKind = 3 // Serial, All, Members: the answer; a member without UID is a namespace that is not open
	ControlBye    ControlKind = 4 // Serial, Members: it has closed these namespaces
	ControlLeave  ControlKind = 5 // it ends
	ControlAsk    ControlKind = 6 // UID, Namespace, RequestID, What, Rooms, Except: a question of that member
	ControlTell   ControlKind = 7 // UID, Namespace, RequestID, Last, Count, Sizes: the answer of that member, or a part of it
	ControlAnswer ControlKind = 8 // UID, Namespace, Payload: what that member answers in the classic adapter's form
)

// What is what a ControlAsk asks for.
type What uint8

// What can be asked for.
const (
	AskCount What = 1 // how many sockets are selected
	AskRooms What = 2 // in which rooms they are, and how many of them in each
)

// Control is a message that only servers of this implementation send each other, on channels of their own.
type Control struct {
	Kind      ControlKind
	Server    string // id of the server, which all its namespaces share
	Serial    uint64 // number of the last change of what the server has open
	All       bool   // Hello: which of these are open is asked, not only told; Here: the answer to that
	Members   []ControlMember
	UID       string // of the member that asks or answers
	Namespace string
	RequestID string
	What      What
	Rooms     []string
	Except    []string
	Last      bool
	Count     int
	Sizes     []RoomSize
	Payload   []byte
}

// ControlMember is a server in a namespace.
type ControlMember struct{ Namespace, UID string }

// RoomSize is a room and the number of sockets in it.
type RoomSize struct {
	Room    string
	Sockets int
}

const controlVersion = 1

// ErrControlVersion is the error for a Control of a version that is not known here.
var ErrControlVersion = errors.New("rediswire: control message of another version")

// ControlChannels are the names for Controls. They are under no name that the official adapters subscribe to or count.
type ControlChannels struct {
	Common string // all servers, whatever their namespaces
	Own    string // the server of that id alone
	prefix string
}

// NewControlChannels names the channels of a server. key is the prefix of the adapter's channels.
func NewControlChannels(key, server string) ControlChannels {
	// No namespace is named "" or begins with #.
	c := ControlChannels{prefix: key + "-sockeye#", Common: key + "-sockeye##"}
	c.Own = c.OwnOf(server)
	return c
}

// OwnOf names the channel of another server.
func (c *ControlChannels) OwnOf(server string) string { return c.Common + server + "#" }

// Namespace names the channel of the servers that have a namespace.
func (c *ControlChannels) Namespace(name string) string { return c.prefix + name + "#" }

// AppendControl appends the message.
func AppendControl(dst []byte, c *Control) []byte {
	array := func(n uint32) {
		dst = msgp.AppendArrayHeader(dst, n+3)
		dst = msgp.AppendInt(dst, controlVersion)
		dst = msgp.AppendInt(dst, int(c.Kind))
		dst = msgp.AppendString(dst, c.Server)
	}
	from := func() {
		for _, s := range [...]string{c.UID, c.Namespace} {
			dst = msgp.AppendString(dst, s)
		}
	}
	switch c.Kind {
	case ControlAlive:
		array(1)
		dst = msgp.AppendUint64(dst, c.Serial)
	case ControlHello, ControlHere:
		array(3)
		dst = msgp.AppendUint64(dst, c.Serial)
		dst = msgp.AppendBool(dst, c.All)
		dst = appendMembers(dst, c.Members)
	case ControlBye:
		array(2)
		dst = msgp.AppendUint64(dst, c.Serial)
		dst = appendMembers(dst, c.Members)
	case ControlLeave:
		array(0)
	case ControlAsk:
		array(6)
		from()
		dst = msgp.AppendString(dst, c.RequestID)
		dst = msgp.AppendInt(dst, int(c.What))
		dst = appendNames(dst, c.Rooms)
		dst = appendNames(dst, c.Except)
	case ControlTell:
		array(6)
		from()
		dst = msgp.AppendString(dst, c.RequestID)
		dst = msgp.AppendBool(dst, c.Last)
		dst = msgp.AppendInt(dst, c.Count)
		dst = msgp.AppendArrayHeader(dst, uint32(2*len(c.Sizes)))
		for _, r := range c.Sizes {
			dst = msgp.AppendString(dst, r.Room)
			dst = msgp.AppendInt(dst, r.Sockets)
		}
	case ControlAnswer:
		array(3)
		from()
		dst = msgp.AppendBytes(dst, c.Payload)
	}
	return dst
}

func appendMembers(dst []byte, list []ControlMember) []byte {
	dst = msgp.AppendArrayHeader(dst, uint32(2*len(list)))
	for _, m := range list {
		dst = msgp.AppendString(dst, m.Namespace)
		dst = msgp.AppendString(dst, m.UID)
	}
	return dst
}

func appendNames(dst []byte, list []string) []byte {
	dst = msgp.AppendArrayHeader(dst, uint32(len(list)))
	for _, s := range list {
		dst = msgp.AppendString(dst, s)
	}
	return dst
}

// ParseControl reads a message. Payload refers to b. The error wraps ErrMalformed, or is ErrControlVersion.
func ParseControl(b []byte) (Control, error) {
	r := controlReader{b: b}
	n := r.array()
	version := r.number()
	if r.err == nil && version != controlVersion {
		return Control{}, ErrControlVersion
	}
	c := Control{Kind: ControlKind(min(r.number(), 255))}
	c.Server = r.id(false)
	want, ok := controlFields[c.Kind]
	if r.err == nil && (!ok || n != want+3) {
		r.fail()
	}
	r.fields(&c)
	if r.err == nil && len(r.b) > 0 {
		r.fail()
	}
	if r.err != nil {
		return Control{}, fmt.Errorf("%w: control message: %w", ErrMalformed, r.err)
	}
	return c, nil
}

var controlFields = map[ControlKind]int{
	ControlAlive: 1, ControlHello: 3, ControlHere: 3, ControlBye: 2, ControlLeave: 0,
	ControlAsk: 6, ControlTell: 6, ControlAnswer: 3,
}

// controlReader reads one message. After the first error it gives zero values.
type controlReader struct {
	b   []byte
	err error
}

var errControl = errors.New("field of another type than wanted")

func (r *controlReader) fail() {
	if r.err == nil {
		r.err = errControl
	}
}

func (r *controlReader) fields(c *Control) {
	switch c.Kind {
	case ControlAlive:
		c.Serial = r.number()
	case ControlHello, ControlHere:
		c.Serial, c.All = r.number(), r.boolean()
		c.Members = r.members(c.Kind == ControlHere)
	case ControlBye:
		c.Serial = r.number()
		c.Members = r.members(false)
	case ControlAsk:
		c.UID, c.Namespace, c.RequestID = r.id(false), r.text(), r.id(false)
		c.What = What(min(r.number(), 255))
		c.Rooms, c.Except = r.names(), r.names()
		if c.What != AskCount && c.What != AskRooms {
			r.fail()
		}
	case ControlTell:
		c.UID, c.Namespace, c.RequestID = r.id(false), r.text(), r.id(false)
		c.Last, c.Count, c.Sizes = r.boolean(), r.count(), r.sizes()
	case ControlAnswer:
		c.UID, c.Namespace = r.id(false), r.text()
		if t := r.next(mpack.Bin); r.err == nil {
			c.Payload = t.Data
		}
	default:
	}
}

func (r *controlReader) next(k mpack.Kind) mpack.Token {
	if r.err != nil {
		return mpack.Token{}
	}
	t, rest, err := mpack.Read(r.b)
	if err != nil {
		r.err = err
		return mpack.Token{}
	}
	if t.Kind != k {
		r.fail()
		return mpack.Token{}
	}
	r.b = rest
	return t
}

func (r *controlReader) array() int     { return r.next(mpack.Array).Len }
func (r *controlReader) number() uint64 { return r.next(mpack.Uint).U }
func (r *controlReader) boolean() bool  { return r.next(mpack.Bool).Bool }
func (r *controlReader) text() string   { return string(r.next(mpack.Str).Data) }

func (r *controlReader) count() int {
	n := r.number()
	if n > 1<<31 {
		r.fail()
		return 0
	}
	return int(n)
}

// id reads an id, which may be part of a channel's name.
func (r *controlReader) id(empty bool) string {
	s := r.text()
	if r.err == nil && (s != "" || !empty) && !PlainUID(s) {
		r.fail()
		return ""
	}
	return s
}

func (r *controlReader) names() []string {
	n := r.array()
	if n == 0 {
		return nil
	}
	list := make([]string, 0, min(n, 64))
	for range n {
		list = append(list, r.text())
		if r.err != nil {
			return nil
		}
	}
	return list
}

// pairs reads the length of a list of pairs.
func (r *controlReader) pairs() int {
	n := r.array()
	if n%2 != 0 {
		r.fail()
		return 0
	}
	return n / 2
}

func (r *controlReader) members(absent bool) []ControlMember {
	var list []ControlMember
	for range r.pairs() {
		list = append(list, ControlMember{r.text(), r.id(absent)})
		if r.err != nil {
			return nil
		}
	}
	return list
}

func (r *controlReader) sizes() []RoomSize {
	var list []RoomSize
	for range r.pairs() {
		list = append(list, RoomSize{r.text(), r.count()})
		if r.err != nil {
			return nil
		}
	}
	return list
}

// Options are what the question selects.
func (c *Control) Options() adapter.Options {
	return adapter.Options{Rooms: slices.Clip(c.Rooms), Except: slices.Clip(c.Except)}
}
