package rediswire

import (
	"fmt"

	"github.com/tinylib/msgp/msgp"

	"github.com/sockeye-io/sockeye/parser"
)

// AppendEmitterBroadcast writes what a process that is no server publishes on the broadcast channels of the classic
// adapter. With legacy it is what servers of Socket.IO 2 know: no key for rooms that are excluded, where there are none.
//
// Node: @socket.io/redis-emitter/lib/index.ts emit; socket.io-emitter/index.js emit.
func AppendEmitterBroadcast(dst []byte, p *parser.Packet, t *Target, legacy bool) ([]byte, error) {
	w := writer{b: msgp.AppendArrayHeader(dst, 3)}
	w.str(UIDEmitter)
	if err := w.packet(p, true); err != nil {
		return nil, err
	}
	form := targetEmitter
	if legacy && len(t.Except) == 0 {
		form = targetLegacy
	}
	w.target(t, form)
	return w.b, nil
}

// AppendEmitterRequest writes an order or an event for servers of the classic adapter that comes from none of them: r.UID
// is not looked at. Requests that are answered need a uid of their own, and [AppendRequest].
//
// Node: @socket.io/redis-emitter/lib/index.ts socketsJoin, socketsLeave, disconnectSockets, serverSideEmit.
func AppendEmitterRequest(dst []byte, r *Request) ([]byte, error) {
	own := *r
	switch {
	case r.ID != "":
		return nil, fmt.Errorf("%w: request of an emitter that wants an answer", ErrMessage)
	case r.Type == RequestJoin || r.Type == RequestLeave || r.Type == RequestDisconnect:
		own.UID = ""
	case r.Type == RequestServerSide:
		own.UID = UIDEmitter
	default:
		return nil, fmt.Errorf("%w: request type %d of an emitter", ErrMessage, r.Type)
	}
	return AppendRequest(dst, &own)
}

// EmitterFields is [EntryFields] for an entry that comes from none of the servers: m.UID is not looked at.
//
// Node: @socket.io/redis-streams-emitter/lib/index.ts.
func EmitterFields(m *Message, plaintext bool) ([]string, error) {
	own := *m
	own.UID = UIDEmitter
	return entryFields(&own, plaintext, true)
}
