package redisadapter

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/rediswire"
	"github.com/sockeye-io/sockeye/parser"
)

// messages is what the sharded adapter and that of streams have in common: the messages, and the channels that questions
// and answers take.
type messages struct {
	*asker

	uid      string
	format   rediswire.Format
	channels rediswire.ShardChannels
	own      [2]string // how messages of this server end, as JSON and as MessagePack
}

// hexID makes ids of servers and questions: 16 hexadecimal digits.
//
// Node: socket.io-adapter/lib/cluster-adapter.ts randomId.
func hexID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // it never fails
	return hex.EncodeToString(b[:])
}

// newMessages makes those of a namespace, which are not open yet.
func newMessages(b *bus, h adapter.Host, prefix string, f rediswire.Format) (*messages, error) {
	m := &messages{asker: newAsker(b, h, hexID), uid: hexID(), format: f}
	var err error
	if m.channels, err = rediswire.NewShardChannels(prefix, m.name, m.uid); err != nil {
		return nil, fmt.Errorf("redisadapter: open: %w", err)
	}
	m.common = m.channels.Common
	m.own = rediswire.OwnSuffixes(m.uid, m.name)
	return m, nil
}

// open makes the namespace known to the bus, which calls shut when it is closed, and listens on the common channel and that
// of answers. It waits until Redis has confirmed that, but not while Redis is away.
func (m *messages) open(shut func() error) error {
	m.l = m.b.listener(m.host, shut)
	if err := m.l.open(); err != nil {
		return err
	}
	m.l.add(m.receive, m.channels.Common, m.channels.Own)
	m.join(m.uid)
	if err := m.l.opened(); err != nil {
		return errors.Join(err, shut())
	}
	m.enter()
	return nil
}

// encode makes a message of this server.
func (m *messages) encode(x *rediswire.Message) ([]byte, error) {
	if err := checkRooms(x.Target, x.Rooms); err != nil {
		return nil, err
	}
	x.UID, x.Namespace = m.uid, m.name
	b, err := rediswire.AppendMessage(make([]byte, 0, usualMessage), x, m.format)
	if err != nil {
		return nil, fmt.Errorf("redisadapter: message: %w", err)
	}
	return b, nil
}

// BroadcastWithAck delivers p here and elsewhere and collects the acknowledgements. Of sockets of other servers it
// gets the first argument and the server, but no id. While Redis is unavailable it asks this server's sockets and returns
// an *Incomplete.
func (m *messages) BroadcastWithAck(
	ctx context.Context, p *parser.Packet, o adapter.Options, each func(adapter.Answer),
) error {
	return m.broadcastWithAck(ctx, p, o, each, func(id string) ([]byte, error) {
		t := rediswire.Target{Options: o, Timeout: remaining(ctx)}
		return m.encode(&rediswire.Message{Type: rediswire.MessageBroadcast, RequestID: id, Packet: *p, Target: t})
	})
}

// Fetch describes the sockets that o selects, those of this server first.
func (m *messages) Fetch(ctx context.Context, o adapter.Options) ([]adapter.Remote, error) {
	return m.fetch(ctx, o, func(id string) ([]byte, error) {
		return m.encode(&rediswire.Message{Type: rediswire.MessageFetch, RequestID: id, Target: rediswire.Target{Options: o}})
	})
}

// Count counts the sockets that o selects. Where all servers are of this implementation none is described for that.
func (m *messages) Count(ctx context.Context, o adapter.Options) (int, error) {
	return m.count(ctx, o, m.Fetch)
}

// Rooms implements adapter.RoomLister; like Count.
func (m *messages) Rooms(ctx context.Context, o adapter.Options) (map[string]int, error) {
	return m.rooms(ctx, o, m.Fetch)
}

// ServerSide tells the other servers of an event.
func (m *messages) ServerSide(ctx context.Context, p *parser.Packet, each func(adapter.Answer)) error {
	return m.serverSide(ctx, each, func(id string) ([]byte, error) {
		return m.encode(&rediswire.Message{Type: rediswire.MessageServerSide, RequestID: id, Packet: *p})
	})
}

// order is the message for a command; ok is false for one that orders nothing.
func order(c adapter.Command, o adapter.Options) (x rediswire.Message, ok bool) {
	x = rediswire.Message{Target: rediswire.Target{Options: o}}
	switch {
	case c.Disconnect:
		x.Type, x.Close = rediswire.MessageDisconnect, c.CloseConn
	case len(c.Join) > 0:
		x.Type, x.Rooms = rediswire.MessageJoin, c.Join
	case len(c.Leave) > 0:
		x.Type, x.Rooms = rediswire.MessageLeave, c.Leave
	default:
		return x, false
	}
	return x, true
}

// commandOf is the command of a message.
func commandOf(x *rediswire.Message) adapter.Command {
	switch x.Type {
	case rediswire.MessageJoin:
		return adapter.Command{Join: x.Rooms}
	case rediswire.MessageLeave:
		return adapter.Command{Leave: x.Rooms}
	default:
		return adapter.Command{Disconnect: true, CloseConn: x.Close}
	}
}

// receive handles what came on one of the channels.
func (m *messages) receive(_, payload string) {
	if m.closed.Load() {
		return
	}
	for _, tail := range m.own {
		if strings.HasSuffix(payload, tail) {
			return
		}
	}
	x, err := rediswire.ParseMessage([]byte(payload))
	kind := faultOf(x.Type)
	if err == nil {
		err = m.handle(&x)
	} else if x.UID != m.uid && x.Namespace == m.name && x.Type == rediswire.MessageBroadcast && x.RequestID != "" {
		m.respond(&x, &rediswire.Message{Type: rediswire.MessageCount}) // or the peer waits for us in vain
	}
	if err != nil && !errors.Is(err, rediswire.ErrElsewhere) {
		m.l.malformed(kind, err)
	}
}

func faultOf(t rediswire.MessageType) faultKind {
	switch t {
	case rediswire.MessageBroadcast:
		return faultBroadcast
	case rediswire.MessageFetchResponse, rediswire.MessageServerSideResponse, rediswire.MessageCount, rediswire.MessageAck:
		return faultResponse
	default:
		return faultRequest
	}
}

// handle does what a message of another server says.
func (m *messages) handle(x *rediswire.Message) error {
	switch x.Type {
	case rediswire.MessageFetchResponse, rediswire.MessageServerSideResponse, rediswire.MessageCount, rediswire.MessageAck:
		if x.UID == m.uid {
			return nil
		}
		return m.onResponse(x) // its namespace does not matter: the id of the question tells
	default:
	}
	if x.UID == m.uid || x.Namespace != m.name {
		return nil
	}
	switch x.Type {
	case rediswire.MessageBroadcast:
		return m.onBroadcast(x)
	case rediswire.MessageJoin, rediswire.MessageLeave, rediswire.MessageDisconnect:
		m.b.count.received.Add(1)
		return m.obey(commandOf(x), x.Target)
	case rediswire.MessageFetch:
		m.respond(x, &rediswire.Message{Type: rediswire.MessageFetchResponse, Sockets: m.selected(x.Target)})
	case rediswire.MessageServerSide:
		m.onServerSide(x)
	default: // heartbeats and the like, which are not for these adapters
		return nil
	}
	m.b.count.received.Add(1)
	return nil
}

// onBroadcast delivers to sockets here. Where the rooms concern nobody here, no argument is decoded.
func (m *messages) onBroadcast(x *rediswire.Message) error {
	x.Packet.Namespace = m.name // it may be missing
	if x.RequestID != "" {
		return m.onBroadcastWithAck(x)
	}
	if x.Target.Nobody || !m.anyRoom(x.Target.Rooms) {
		return nil
	}
	m.b.count.received.Add(1)
	_, err := m.Deliver(&x.Packet, x.Target.Options)
	return err
}

// onBroadcastWithAck delivers here, tells how many sockets are asked, and passes on each acknowledgement.
func (m *messages) onBroadcastWithAck(x *rediswire.Message) error {
	m.b.count.received.Add(1)
	to := rediswire.Message{UID: x.UID, RequestID: x.RequestID} // not the arguments
	counted := func(n int) { m.respond(&to, &rediswire.Message{Type: rediswire.MessageCount, Count: n}) }
	if x.Target.Nobody {
		counted(0)
		return nil
	}
	err := m.askHere(x.UID+" "+x.RequestID, x.Target.Timeout, &x.Packet, x.Target.Options, counted,
		func(args []parser.Arg) { m.respond(&to, &rediswire.Message{Type: rediswire.MessageAck, Args: args}) })
	if err != nil {
		counted(0)
	}
	return err
}

// onServerSide tells the namespace's listeners.
func (m *messages) onServerSide(x *rediswire.Message) {
	var answer func(args []parser.Arg)
	if x.RequestID != "" {
		to := rediswire.Message{UID: x.UID, RequestID: x.RequestID}
		answer = m.once(func(args []parser.Arg) {
			m.respond(&to, &rediswire.Message{Type: rediswire.MessageServerSideResponse, Args: args})
		})
	}
	m.host.ServerSide(x.Packet.Event, x.Packet.Args, answer)
}

// respond answers a question where the asking server hears it. An answer that cannot be said is sent without arguments,
// so that nobody waits for it.
func (m *messages) respond(to, x *rediswire.Message) {
	if !rediswire.PlainUID(to.UID) {
		m.l.malformed(faultRequest, fmt.Errorf("%w: uid", rediswire.ErrMalformed))
		return
	}
	x.RequestID = to.RequestID
	payload, err := m.encode(x)
	if err != nil {
		m.l.fault(faultAnswer, err)
		if x.Args == nil {
			return
		}
		x.Args = nil
		if payload, err = m.encode(x); err != nil {
			return
		}
	}
	m.b.send(m.channels.Response(to.UID), payload)
}

// onResponse takes an answer, if it is for a question of this server.
func (m *messages) onResponse(x *rediswire.Message) error {
	w := wantSockets
	switch x.Type {
	case rediswire.MessageCount, rediswire.MessageAck:
		w = wantAcks
	case rediswire.MessageServerSideResponse:
		w = wantAnswers
	default:
	}
	q, err := m.answered(x.RequestID, w)
	if q == nil {
		return err
	}
	switch x.Type {
	case rediswire.MessageCount:
		q.Heard(x.UID, x.Count)
	case rediswire.MessageAck:
		q.SocketAnswer(adapter.Answer{Server: x.UID, Args: x.Args})
	case rediswire.MessageServerSideResponse:
		q.ServerAnswer(adapter.Answer{Server: x.UID, Args: x.Args})
	default:
		for i := range x.Sockets {
			x.Sockets[i].Server = x.UID
		}
		q.Remotes(x.UID, x.Sockets)
	}
	return nil
}
