package emitter

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/rediswire"
	"github.com/sockeye-io/sockeye/redisadapter"
)

// messages is what the formats of the sharded adapter and of that of streams have in common: questions and answers.
type messages struct {
	out    *redisadapter.Outlet
	prefix string
	uid    string
	form   rediswire.Format
}

// newUID makes an id as servers have them: 16 hexadecimal digits.
//
// Node: socket.io-adapter/lib/cluster-adapter.ts randomId
func newUID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // it never fails
	return hex.EncodeToString(b[:])
}

func (f *messages) open(name string) *namespace {
	c, err := rediswire.NewShardChannels(f.prefix, name, f.uid)
	if err != nil {
		return &namespace{name: name, bad: fmt.Errorf("emitter: %w", err)}
	}
	return &namespace{name: name, all: c.Common, orders: c.Common, answers: []string{c.Own}}
}

func (f *messages) mayAsk(context.Context, *namespace) error { return nil }

func (f *messages) request(q *question) ([]byte, error) {
	m := rediswire.Message{
		UID: f.uid, Namespace: q.nsp.name, RequestID: q.id, Target: rediswire.Target{Options: q.options, Timeout: q.timeout},
	}
	if q.packet != nil {
		m.Packet = *q.packet
	}
	switch q.kind {
	case acks:
		m.Type = rediswire.MessageBroadcast
	case sockets:
		m.Type = rediswire.MessageFetch
	default:
		m.Type = rediswire.MessageServerSide
	}
	return rediswire.AppendMessage(nil, &m, f.form)
}

// mine knows nothing: only answers for this process come by its channel.
func (f *messages) mine(string) (string, bool) { return "", false }

func (f *messages) read(payload string) (answer, error) {
	m, err := rediswire.ParseMessage([]byte(payload))
	a := answer{id: m.RequestID, server: m.UID}
	switch m.Type {
	case rediswire.MessageCount:
		a.kind, a.counted, a.count = acks, true, m.Count
	case rediswire.MessageAck:
		a.kind, a.args = acks, m.Args
	case rediswire.MessageServerSideResponse:
		a.kind, a.args = serverSide, m.Args
	case rediswire.MessageFetchResponse:
		a.kind, a.sockets = sockets, m.Sockets
		return a, err // those that could be read are as good as ever
	default:
		if err == nil {
			err = fmt.Errorf("%w: no answer", rediswire.ErrMalformed)
		}
	}
	if err != nil {
		return answer{}, err
	}
	return a, nil
}

// order is the message for a command.
func order(nsp string, c adapter.Command, o adapter.Options) *rediswire.Message {
	// Official servers read no flags here, and their emitters write none.
	o.Flags = adapter.Flags{}
	m := &rediswire.Message{UID: rediswire.UIDEmitter, Namespace: nsp, Target: rediswire.Target{Options: o}}
	switch {
	case c.Disconnect:
		m.Type, m.Close = rediswire.MessageDisconnect, c.CloseConn
	case len(c.Join) > 0:
		m.Type, m.Rooms = rediswire.MessageJoin, c.Join
	default:
		m.Type, m.Rooms = rediswire.MessageLeave, c.Leave
	}
	return m
}
