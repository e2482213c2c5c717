package rediswire

import (
	"errors"
	"fmt"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/parser"
)

// MessageType says what a Message is.
//
// Node: socket.io-adapter/lib/cluster-adapter.ts MessageType.
type MessageType uint8

// The types of messages. Heartbeats and MessageClose are known to older adapters of streams alone, and only read.
const (
	MessageInitialHeartbeat MessageType = 1 + iota
	MessageHeartbeat
	MessageBroadcast
	MessageJoin
	MessageLeave
	MessageDisconnect
	MessageFetch
	MessageFetchResponse
	MessageServerSide
	MessageServerSideResponse
	MessageCount
	MessageAck
	MessageClose
)

// ErrMessage is wrapped by the error for a Message that must not be written: it lacks what peers rely on, or its type is
// not for where it would go.
var ErrMessage = errors.New("rediswire: message that cannot be written")

// Message is what the servers of the sharded adapter and of that of streams say to each other.
//
// Node: socket.io-adapter/lib/cluster-adapter.ts ClusterMessage, ClusterResponse.
type Message struct {
	Type      MessageType
	UID       string // of the sender: letters, digits, - and _; "" only in what was read and did not say
	Namespace string // "" only in what was read and did not say
	RequestID string // "" where no answer is wanted

	Target  Target           // MessageBroadcast to MessageFetch
	Packet  parser.Packet    // MessageBroadcast; MessageServerSide (Event and Args alone)
	Asks    bool             // MessageBroadcast that was read: its packet has an id, for its server alone
	Args    []parser.Arg     // MessageServerSideResponse, MessageAck: the answer, of which the first is written
	Rooms   []string         // MessageJoin, MessageLeave
	Close   bool             // MessageDisconnect: the connection too
	Count   int              // MessageCount
	Sockets []adapter.Remote // MessageFetchResponse
}

// Format says how a Message is encoded.
type Format uint8

// The formats.
const (
	// FormatAuto is JSON, but MessagePack where there is binary in the arguments.
	FormatAuto Format = iota

	// FormatMsgpack is MessagePack, as the adapter of streams wants requests and their answers.
	FormatMsgpack
)

// AppendMessage appends a message to dst. The error wraps ErrMessage, ErrReserved, or is that of an argument.
//
// Node: @socket.io/redis-adapter/lib/sharded-adapter.ts encode.
func AppendMessage(dst []byte, m *Message, f Format) ([]byte, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	w := writer{b: dst, json: f == FormatAuto, dates: true}
	err := w.message(m)
	if w.binary {
		w = writer{b: w.b[:len(dst)], dates: true}
		err = w.message(m)
	}
	if err != nil {
		return nil, err
	}
	return w.b, nil
}

// check refuses what peers cannot bear.
func (m *Message) check() error {
	var err error
	switch m.Type {
	case MessageBroadcast, MessageJoin, MessageLeave, MessageDisconnect:
	case MessageServerSide:
		err = CheckServerSide(m.Packet.Event)
	case MessageFetch, MessageFetchResponse, MessageServerSideResponse, MessageAck, MessageCount:
		if m.RequestID == "" || m.Count < 0 {
			return fmt.Errorf("%w: type %d without request", ErrMessage, m.Type)
		}
	default:
		return fmt.Errorf("%w: type %d", ErrMessage, m.Type)
	}
	if err == nil && m.Target.Nobody {
		err = fmt.Errorf("%w: to nobody", ErrMessage) // it would go to everybody
	}
	if err == nil && (!PlainUID(m.UID) || m.Namespace == "") {
		err = fmt.Errorf("%w: without sender or namespace", ErrMessage)
	}
	return err
}

func (w *writer) message(m *Message) error {
	w.object(4)
	w.key("type")
	w.integer(int64(m.Type))
	w.key("data")
	if err := w.messageData(m, false); err != nil {
		return err
	}
	w.key("uid")
	w.str(m.UID)
	w.key("nsp")
	w.str(m.Namespace)
	w.endObject()
	return nil
}

// messageData writes what depends on the type; emitter as the emitter for streams does.
func (w *writer) messageData(m *Message, emitter bool) error {
	switch m.Type {
	case MessageBroadcast:
		return w.broadcastData(m, emitter)
	case MessageJoin, MessageLeave:
		w.object(2)
		w.opts(&m.Target, targetServer)
		w.key("rooms")
		w.strs(m.Rooms)
	case MessageDisconnect:
		w.object(2)
		w.opts(&m.Target, targetServer)
		w.key("close")
		w.boolean(m.Close)
	case MessageFetch:
		w.object(2)
		w.opts(&m.Target, targetServer)
		w.requestID(m.RequestID)
	case MessageFetchResponse:
		w.object(2)
		w.requestID(m.RequestID)
		w.key("sockets")
		w.remotes(m.Sockets)
		if w.binary {
			return parser.ErrBinary
		}
	case MessageServerSide:
		w.object(1 + count(m.RequestID != ""))
		w.requestID(m.RequestID)
		w.key("packet")
		if err := w.event(&m.Packet); err != nil {
			return err
		}
	case MessageCount:
		w.object(2)
		w.requestID(m.RequestID)
		w.key("clientCount")
		w.integer(int64(m.Count))
	default: // MessageServerSideResponse, MessageAck
		some := len(m.Args) > 0 && !m.Args[0].IsZero()
		w.object(1 + count(some))
		w.requestID(m.RequestID)
		if some {
			w.key("packet")
			if err := w.arg(m.Args[0]); err != nil {
				return err
			}
		}
	}
	w.endObject()
	return nil
}

func (w *writer) broadcastData(m *Message, emitter bool) error {
	w.object(2 + count(m.RequestID != ""))
	w.key("packet")
	p := m.Packet
	p.Namespace = m.Namespace
	if err := w.packet(&p, emitter); err != nil {
		return err
	}
	w.requestID(m.RequestID)
	form := targetServer
	if emitter {
		form = targetEmitter
	}
	w.opts(&m.Target, form)
	w.endObject()
	return nil
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

// OwnSuffixes gives how the messages of a server end, in both forms. They come back to it, and need not be read.
func OwnSuffixes(uid, namespace string) [2]string {
	var ends [2]string
	for i := range ends {
		w := writer{json: i == 0}
		w.object(0)
		start := len(w.b)
		w.key("uid")
		w.str(uid)
		w.key("nsp")
		w.str(namespace)
		w.endObject()
		ends[i] = string(w.b[start:])
	}
	return ends
}
