package rediswire

import (
	"errors"
	"fmt"
	"time"

	"github.com/tinylib/msgp/msgp"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/mpack"
	"github.com/sockeye-io/sockeye/parser"
)

var (
	// ErrMalformed is wrapped by the error for every message that cannot be read.
	ErrMalformed = errors.New("rediswire: malformed message")

	// ErrElsewhere is the error for a packet of another namespace, whose channel may have a name that fits. It is
	// to be ignored.
	ErrElsewhere = errors.New("rediswire: packet of another namespace")

	// ErrReserved is wrapped by the error for an event name that must not be emitted.
	ErrReserved = errors.New("rediswire: reserved event name")
)

// Target says which sockets a message is for, as it travels.
type Target struct {
	adapter.Options

	// Timeout is how long acknowledgements are waited for; 0 where nothing was said.
	Timeout time.Duration

	// Nobody is set on reading where rooms are named but none of them can be a room here, such as null. The
	// Options would select everybody then.
	Nobody bool
}

// Broadcast is a packet for the sockets of one namespace. Only what decides who gets it has been read.
type Broadcast struct {
	UID    string // of the sender; "emitter" where it is no server
	Target Target

	packet []byte
}

// AppendBroadcast writes what is published on the broadcast channels.
//
// Node: @socket.io/redis-adapter/lib/index.ts broadcast.
func AppendBroadcast(dst []byte, uid string, p *parser.Packet, t Target) ([]byte, error) {
	dst = msgp.AppendArrayHeader(dst, 3)
	dst = msgp.AppendString(dst, uid)
	dst, err := appendPacket(dst, p)
	if err != nil {
		return nil, err
	}
	return appendTarget(dst, t), nil
}

// ParseBroadcast reads what came on a broadcast channel. The result refers to b.
func ParseBroadcast(b []byte) (Broadcast, error) {
	parts, err := arrayElements(b)
	if err != nil {
		return Broadcast{}, malformed("broadcast", err)
	}
	if len(parts) < 3 {
		return Broadcast{}, malformed("broadcast of too few parts", nil)
	}
	var m Broadcast
	uid := read(parts[0])
	if uid.Kind != mpack.Str {
		return Broadcast{}, malformed("uid", errMsgpackKind)
	}
	m.UID = string(uid.Data)
	m.packet = parts[1]
	if m.Target, err = parseTarget(parts[2]); err != nil {
		return Broadcast{}, malformed("options", err)
	}
	return m, nil
}

// Packet reads the packet, whose arguments stay as they are and refer to the message. It must be of namespace.
func (m *Broadcast) Packet(namespace string) (parser.Packet, error) {
	return parsePacket(m.packet, namespace)
}

func appendPacket(dst []byte, p *parser.Packet) ([]byte, error) {
	if err := checkEvent(p.Event); err != nil {
		return nil, err
	}
	dst = msgp.AppendMapHeader(dst, 3)
	dst = msgp.AppendString(dst, "type")
	dst = msgp.AppendUint64(dst, uint64(parser.Event))
	dst = msgp.AppendString(dst, "data")
	dst = msgp.AppendArrayHeader(dst, uint32(len(p.Args)+1))
	dst = msgp.AppendString(dst, p.Event)
	var err error
	for _, a := range p.Args {
		if dst, err = appendMsgpackArg(dst, a); err != nil {
			return nil, err
		}
	}
	dst = msgp.AppendString(dst, "nsp")
	return msgp.AppendString(dst, p.Namespace), nil
}

func checkEvent(event string) error {
	if parser.Reserved(event) {
		return fmt.Errorf("%w: %q", ErrReserved, event)
	}
	return nil
}

// appendMsgpackArg writes one argument and makes sure that it is one value that peers can read.
func appendMsgpackArg(dst []byte, a parser.Arg) ([]byte, error) {
	start := len(dst)
	dst, err := a.AppendMsgpack(dst)
	if err != nil {
		return nil, fmt.Errorf("rediswire: argument: %w", err)
	}
	rest, ext, err := mpack.Check(dst[start:])
	if err == nil && len(rest) > 0 {
		err = errMsgpackTail
	}
	if err != nil {
		return nil, fmt.Errorf("rediswire: argument: %w", err)
	}
	if ext {
		dst = append(dst[:start], appendPlain(nil, dst[start:], false)...)
	}
	return dst, nil
}

// appendTarget writes only the flags that are set: peers hand on what they find.
func appendTarget(dst []byte, t Target) []byte {
	dst = msgp.AppendMapHeader(dst, 3)
	dst = msgp.AppendString(dst, "rooms")
	dst = appendStrings(dst, t.Rooms)
	dst = msgp.AppendString(dst, "except")
	dst = appendStrings(dst, t.Except)
	dst = msgp.AppendString(dst, "flags")

	n := uint32(0)
	for _, set := range []bool{t.Flags.Single, t.Flags.Volatile, t.Flags.NoCompress, t.Timeout > 0} {
		if set {
			n++
		}
	}
	dst = msgp.AppendMapHeader(dst, n)
	if t.Flags.Single {
		dst = msgp.AppendBool(msgp.AppendString(dst, "expectSingleResponse"), true)
	}
	if t.Flags.Volatile {
		dst = msgp.AppendBool(msgp.AppendString(dst, "volatile"), true)
	}
	if t.Flags.NoCompress {
		dst = msgp.AppendBool(msgp.AppendString(dst, "compress"), false)
	}
	if t.Timeout > 0 {
		dst = msgp.AppendUint64(msgp.AppendString(dst, "timeout"), uint64(max(t.Timeout.Milliseconds(), 1)))
	}
	return dst
}

func appendStrings(dst []byte, list []string) []byte {
	dst = msgp.AppendArrayHeader(dst, uint32(len(list)))
	for _, s := range list {
		dst = msgp.AppendString(dst, s)
	}
	return dst
}

func parseTarget(b []byte) (Target, error) {
	var t Target
	_, err := mapFields(b, func(key, value []byte) (err error) {
		switch string(key) {
		case "rooms":
			t.Rooms, t.Nobody, err = parseNames(value)
		case "except":
			t.Except, _, err = parseNames(value)
		case "flags":
			err = parseFlags(value, &t)
		}
		return err
	})
	return t, err
}

// parseNames reads rooms, which may be numbers. none tells that there were some, but none of those.
func parseNames(b []byte) (names []string, none bool, err error) {
	if nothing(b) {
		return nil, false, nil
	}
	elements, err := arrayElements(b)
	if err != nil {
		return nil, false, err
	}
	for _, e := range elements {
		if s, ok := text(e); ok {
			names = append(names, s)
		}
	}
	return names, len(elements) > 0 && len(names) == 0, nil
}

func parseFlags(b []byte, t *Target) error {
	if nothing(b) {
		return nil
	}
	_, err := mapFields(b, func(key, value []byte) error {
		v := read(value)
		set := v.Kind == mpack.Bool && v.Bool
		switch string(key) {
		case "volatile":
			t.Flags.Volatile = set
		case "compress":
			t.Flags.NoCompress = v.Kind == mpack.Bool && !v.Bool
		case "expectSingleResponse":
			t.Flags.Single = set
		case "timeout":
			ms, _ := v.Integer()
			t.Timeout = timeout(ms)
		}
		return nil
	})
	return err
}

const maxTimeout = 24 * time.Hour

// timeout bounds what a peer said, in milliseconds.
func timeout(ms int64) time.Duration {
	return time.Duration(min(max(ms, 0), maxTimeout.Milliseconds())) * time.Millisecond
}

// parsePacket reads an EVENT of namespace. The type of binary events, which the servers of 2.x write, is one too.
func parsePacket(b []byte, namespace string) (parser.Packet, error) {
	p := parser.Packet{Type: parser.Event, Namespace: "/"}
	var typed bool
	var data [][]byte
	_, err := mapFields(b, func(key, value []byte) (err error) {
		switch string(key) {
		case "type":
			n, ok := integer(value)
			typed = ok && (n == int64(parser.Event) || n == int64(parser.BinaryEvent))
		case "nsp":
			nsp := read(value)
			if nsp.Kind != mpack.Str {
				return errMsgpackKind
			}
			p.Namespace = string(nsp.Data)
		case "data":
			data, err = arrayElements(value)
		}
		return err
	})
	if err != nil {
		return p, malformed("packet", err)
	}
	if !typed {
		return p, malformed("packet type", nil)
	}
	if p.Namespace != namespace {
		return p, ErrElsewhere
	}
	if len(data) == 0 {
		return p, malformed("packet without data", nil)
	}
	event, ok := text(data[0])
	if !ok {
		return p, malformed("event name", nil)
	}
	if err := checkEvent(event); err != nil {
		return p, err
	}
	p.Event = event
	if len(data) > 1 {
		p.Args = make([]parser.Arg, len(data)-1)
		for i, v := range data[1:] {
			p.Args[i] = parser.RawMsgpack(v)
		}
	}
	return p, nil
}

func malformed(what string, err error) error {
	if err == nil {
		return fmt.Errorf("%w: %s", ErrMalformed, what)
	}
	return fmt.Errorf("%w: %s: %w", ErrMalformed, what, err)
}
