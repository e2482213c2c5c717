package rediswire

import (
	"errors"
	"fmt"
	"time"

	"github.com/tinylib/msgp/msgp"

	"github.com/sockeye-io/sockeye/adapter"
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

	packet value
}

// AppendBroadcast writes what is published on the broadcast channels.
//
// Node: @socket.io/redis-adapter/lib/index.ts broadcast.
func AppendBroadcast(dst []byte, uid string, p *parser.Packet, t Target) ([]byte, error) {
	w := writer{b: msgp.AppendArrayHeader(dst, 3)}
	w.str(uid)
	if err := w.packet(p, true); err != nil {
		return nil, err
	}
	w.target(&t, targetServer)
	return w.b, nil
}

// ParseBroadcast reads what came on a broadcast channel. The result refers to b.
func ParseBroadcast(b []byte) (Broadcast, error) {
	var m Broadcast
	v, err := checked(b)
	if err != nil {
		return m, malformed("broadcast", err)
	}
	c, ok := v.array()
	if !ok {
		return m, malformed("broadcast", errKind)
	}
	uid, _ := c.next()
	if m.UID, ok = uid.str(); !ok {
		return m, malformed("uid", errKind)
	}
	m.packet, _ = c.next()
	opts, _ := c.next()
	if m.Target, err = readTarget(opts); err != nil {
		return Broadcast{}, malformed("options", err)
	}
	return m, nil
}

// Packet reads the packet, whose arguments stay as they are and refer to the message. It must be of namespace.
func (m *Broadcast) Packet(namespace string) (parser.Packet, error) {
	p, err := readPacket(m.packet, namespace)
	return p, known("packet", err)
}

func checkEvent(event string) error {
	if parser.Reserved(event) {
		return fmt.Errorf("%w: %q", ErrReserved, event)
	}
	return nil
}

const maxTimeout = 24 * time.Hour

// timeout bounds what a peer said, in milliseconds.
func timeout(ms int64) time.Duration {
	return time.Duration(min(max(ms, 0), maxTimeout.Milliseconds())) * time.Millisecond
}

func malformed(what string, err error) error {
	if err == nil {
		return fmt.Errorf("%w: %s", ErrMalformed, what)
	}
	return fmt.Errorf("%w: %s: %w", ErrMalformed, what, err)
}

// known makes every error of reading one of those that callers tell apart.
func known(what string, err error) error {
	if err == nil || errors.Is(err, ErrMalformed) || errors.Is(err, ErrReserved) || errors.Is(err, ErrElsewhere) {
		return err
	}
	return malformed(what, err)
}

func field(key string, err error) error { return fmt.Errorf("%s: %w", key, err) }
