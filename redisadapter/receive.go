package redisadapter

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/rediswire"
	"github.com/sockeye-io/sockeye/parser"
)

// ownPrefixes gives how the messages of a server start: broadcasts and both kinds of requests. They come back to
// it, and need not be read.
func ownPrefixes(uid string) [3]string {
	u := string([]byte{0xa0 | byte(len(uid))}) + uid // a short MessagePack string
	return [3]string{"\x93" + u, "\x85\xa3uid" + u, `{"uid":"` + uid + `"`}
}

// receive is what handles the messages of a topic.
func (a *pubsub) receive(kind faultKind, handle func(channel, payload string) error) func(channel, payload string) {
	return func(channel, payload string) {
		if a.closed.Load() {
			return
		}
		for _, prefix := range a.own {
			if strings.HasPrefix(payload, prefix) {
				return
			}
		}
		if err := handle(channel, payload); err != nil && !errors.Is(err, rediswire.ErrElsewhere) {
			a.l.malformed(kind, err)
		}
	}
}

// onBroadcast delivers to sockets here. Where the channel or the rooms concern nobody here, nothing is decoded.
func (a *pubsub) onBroadcast(channel, payload string) error {
	x := a.host.Index()
	if channel != a.channels.Broadcast {
		room, ok := a.channels.RoomOf(channel)
		if !ok || !x.Has(room) {
			return nil
		}
	}
	m, err := rediswire.ParseBroadcast([]byte(payload))
	if err != nil {
		return err
	}
	if m.UID == a.uid || m.Target.Nobody || !a.anyRoom(m.Target.Rooms) {
		return nil
	}
	p, err := m.Packet(a.name)
	if err != nil {
		return err
	}
	a.b.count.received.Add(1)
	_, err = a.Deliver(&p, m.Target.Options)
	return err
}

func (a *pubsub) onRequest(_, payload string) error {
	r, err := rediswire.ParseRequest([]byte(payload), a.name)
	if r.UID == a.uid {
		return nil
	}
	if err != nil {
		if r.Type == rediswire.RequestBroadcast && r.ID != "" {
			a.respond(&r, rediswire.AppendCountResponse(nil, r.ID, 0)) // or the peer waits for us in vain
		}
		return err
	}
	a.b.count.received.Add(1)
	switch r.Type {
	case rediswire.RequestSockets, rediswire.RequestAllRooms, rediswire.RequestClientRooms,
		rediswire.RequestFetch, rediswire.RequestCustom:
		return a.onQuestion(&r)
	case rediswire.RequestJoin, rediswire.RequestLeave, rediswire.RequestDisconnect:
		return a.onCommand(&r)
	case rediswire.RequestServerSide:
		a.onServerSide(&r)
		return nil
	default:
		return a.onBroadcastWithAck(&r)
	}
}

// onQuestion answers what can be answered at once.
func (a *pubsub) onQuestion(r *rediswire.Request) error {
	if r.ID == "" {
		return fmt.Errorf("%w: question without id", rediswire.ErrMalformed)
	}
	x := a.host.Index()
	switch r.Type {
	case rediswire.RequestSockets:
		ids := []string{}
		if !r.Target.Nobody {
			for _, m := range x.Collect(r.Target.Options) {
				ids = append(ids, m.ID())
			}
		}
		a.respond(r, rediswire.AppendSocketsResponse(nil, r, ids))
	case rediswire.RequestAllRooms:
		a.respond(r, rediswire.AppendRoomsResponse(nil, r, x.AllRooms()))
	case rediswire.RequestClientRooms:
		if m, ok := x.Lookup(r.Socket); ok {
			a.respond(r, rediswire.AppendRoomsResponse(nil, r, x.Rooms(m)))
		}
	case rediswire.RequestCustom:
		a.respond(r, rediswire.AppendCustomResponse(nil, r))
	default:
		a.respond(r, rediswire.AppendFetchResponse(nil, r, a.selected(r.Target)))
	}
	return nil
}

// onCommand makes sockets here join, leave or disconnect.
func (a *pubsub) onCommand(r *rediswire.Request) error {
	c := adapter.Command{Disconnect: r.Type == rediswire.RequestDisconnect, CloseConn: r.Close}
	switch r.Type {
	case rediswire.RequestJoin:
		c.Join = r.Rooms
	case rediswire.RequestLeave:
		c.Leave = r.Rooms
	default:
	}
	if r.Socket != "" {
		m, ok := a.host.Index().Lookup(r.Socket)
		if !ok {
			return nil
		}
		if slices.ContainsFunc(c.Join, longName) {
			return errLongName
		}
		a.host.Command(m, c)
		if r.ID != "" {
			a.respond(r, rediswire.AppendDoneResponse(nil, r))
		}
		return nil
	}
	return a.obey(c, r.Target)
}

// onServerSide tells the namespace's listeners.
func (a *pubsub) onServerSide(r *rediswire.Request) {
	var answer func(args []parser.Arg)
	if r.ID != "" {
		answer = a.once(func(args []parser.Arg) {
			payload, err := rediswire.AppendServerSideResponse(nil, r.ID, args)
			if err != nil {
				a.l.fault(faultAnswer, err)
				payload, err = rediswire.AppendServerSideResponse(nil, r.ID, nil)
			}
			if err == nil {
				a.respondOn(a.channels.Response, r, payload)
			}
		})
	}
	a.host.ServerSide(r.Packet.Event, r.Packet.Args, answer)
}

// onBroadcastWithAck delivers here, tells how many sockets are asked, and passes on each acknowledgement.
func (a *pubsub) onBroadcastWithAck(r *rediswire.Request) error {
	counted := func(n int) { a.respond(r, rediswire.AppendCountResponse(nil, r.ID, n)) }
	if r.Target.Nobody {
		counted(0)
		return nil
	}
	o := r.Target.Options
	o.Flags = adapter.Flags{NoCompress: o.Flags.NoCompress} // Node's receivers ignore flags; volatile would lose answers
	err := a.askHere(r.UID+" "+r.ID, r.Target.Timeout, &r.Packet, o, counted, func(args []parser.Arg) { a.passAck(r, args) })
	if err != nil {
		counted(0)
	}
	return err
}

func (a *pubsub) passAck(r *rediswire.Request, args []parser.Arg) {
	payload, err := rediswire.AppendAckResponse(nil, r.ID, args)
	if err != nil {
		a.l.fault(faultAnswer, err)
		payload, err = rediswire.AppendAckResponse(nil, r.ID, nil)
	}
	if err == nil {
		a.respond(r, payload)
	}
}

// respond publishes an answer where the asking server hears it.
func (a *pubsub) respond(r *rediswire.Request, payload []byte) {
	channel := a.channels.Response
	if a.c.o.SpecificResponses && rediswire.PlainUID(r.UID) {
		channel = rediswire.OwnResponse(channel, r.UID)
	}
	a.respondOn(channel, r, payload)
}

// respondOn publishes an answer on that channel, or where it concerns only who asked, if that is a member.
func (a *pubsub) respondOn(channel string, r *rediswire.Request, payload []byte) {
	if own, wrapped, ok := a.k.direct(r.UID, payload); ok {
		channel, payload = own, wrapped
	}
	a.b.send(channel, payload)
}

// onResponse takes an answer of a server that does not say who it is, if it is for a question of this server.
func (a *pubsub) onResponse(_, payload string) error { return a.onAnswer("", payload) }

// onAnswer takes the answer of a server.
func (a *pubsub) onAnswer(uid, payload string) error {
	if id, ok := rediswire.PeekResponseID(payload); ok && !a.waits(id) {
		a.b.count.unknown.Add(1)
		return nil
	}
	r, err := rediswire.ParseResponse([]byte(payload))
	if err != nil {
		return err
	}
	w := wantSockets
	switch r.Kind {
	case rediswire.ResponseCount, rediswire.ResponseAck:
		w = wantAcks
	case rediswire.ResponseServerSide:
		w = wantAnswers
	default:
	}
	q, err := a.answered(r.ID, w)
	if q == nil {
		return err
	}
	switch r.Kind {
	case rediswire.ResponseCount:
		q.Heard(uid, r.Count)
	case rediswire.ResponseAck:
		q.SocketAnswer(adapter.Answer{Server: uid, Args: r.Args()})
	case rediswire.ResponseServerSide:
		q.ServerAnswer(adapter.Answer{Server: uid, Args: r.Args()})
	default:
		sockets, ok, err := r.Remotes()
		if ok {
			for i := range sockets {
				sockets[i].Server = uid
			}
			q.Remotes(uid, sockets)
		}
		return err
	}
	return nil
}
