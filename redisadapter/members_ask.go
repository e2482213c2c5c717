package redisadapter

import (
	"context"
	"errors"
	"fmt"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/rediswire"
)

// maxTold is how many rooms one message tells of.
const maxTold = 4096

// summon makes q wait for the members that are there. It is to be called before q is asked. What becomes of them from then
// on is told to q.
func (s *membership) summon(q *adapter.Request, silent bool) {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	for uid, p := range s.members {
		if p.silent == silent {
			q.Name(uid)
		}
	}
}

// audience counts the servers that hear q, beside this one. Those that became known since summon are waited for by name too,
// since their subscription is older than that. node of the others are of other implementations and do not announce
// themselves. all is how many are waited for, whoever they are.
//
// Those are counted as Node counts them, by the subscribers of a channel that all servers have. How many of these are of
// this implementation is told by the same Redis: where servers subscribe at replicas it counts neither the ones nor the
// others, but the members are known nevertheless.
func (s *membership) audience(ctx context.Context, q *adapter.Request) (all, node int, err error) {
	// In this order, a member that ends in between is not taken for a stranger. One that begins may be, but it answers.
	members, err := s.m.b.subscribers(ctx, s.channel)
	if err != nil {
		return 0, 0, err
	}
	total, err := s.m.b.subscribers(ctx, s.counted)
	if err != nil {
		return 0, 0, err
	}
	ours := members - s.itself()
	node = max(total-members, 0)
	s.summon(q, false)
	live, silent := s.uids()
	if ours > len(live) { // there are connections of members that are silent, or that are not known yet
		s.summon(q, true)
		live = append(live, silent...)
	}
	q.Audience(node, ours, s.recount)
	return max(ours, len(live)) + node, node, nil
}

// itself is 1 if this server is among those that are subscribed. While its subscription is lost it hides nobody.
func (s *membership) itself() int {
	b := s.m.b
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.lost != nil {
		return 0
	}
	return 1
}

// recount implements adapter.Recount.
func (s *membership) recount(ctx context.Context) (others int, live, silent []string, err error) {
	members, err := s.m.b.subscribers(ctx, s.channel)
	live, silent = s.uids()
	return members - s.itself(), live, silent, err
}

// ask asks all other members. It is false, and they are not asked, where there is a server that does not understand.
func (s *membership) ask(
	ctx context.Context, w rediswire.What, o adapter.Options, each func(adapter.Response),
) (bool, error) {
	b := s.m.b
	q, err := s.requests.New(adapter.OfServers)
	if err != nil {
		return true, fmt.Errorf("redisadapter: %w", err)
	}
	defer q.Close()
	s.summon(q, false)
	err = b.pub.health()
	var total, node int
	if err == nil {
		total, node, err = s.audience(ctx, q)
	}
	switch {
	case err != nil:
		return true, &adapter.Incomplete{Err: err}
	case node > 0:
		return false, nil
	case total == 0:
		return true, nil
	}
	payload := rediswire.AppendControl(nil, &rediswire.Control{
		Kind: rediswire.ControlAsk, Server: s.m.id, UID: s.uid, Namespace: s.name, RequestID: q.ID(),
		What: w, Rooms: o.Rooms, Except: o.Except,
	})
	if err := b.pub.put(b.publication(s.channel, payload), nil); err != nil {
		return true, err
	}
	err = q.Wait(ctx, each)
	s.doubt(err)
	return true, err
}

// count counts the sockets of other servers that o selects; ok is false where they must be fetched for that.
func (s *membership) count(ctx context.Context, o adapter.Options) (n int, ok bool, err error) {
	ok, err = s.ask(ctx, rediswire.AskCount, o, func(r adapter.Response) { n += r.Count })
	return n, ok, err
}

// rooms adds the rooms of sockets of other servers that o selects to sizes; like count.
func (s *membership) rooms(ctx context.Context, o adapter.Options, sizes map[string]int) (ok bool, err error) {
	return s.ask(ctx, rediswire.AskRooms, o, func(r adapter.Response) {
		for room, n := range r.Rooms {
			sizes[room] += n
		}
	})
}

// talk handles what members of a namespace say to each other.
func (m *members) talk(c *rediswire.Control) {
	m.mu.Lock()
	s := m.own[c.Namespace]
	m.mu.Unlock()
	if s == nil {
		return
	}
	switch c.Kind {
	case rediswire.ControlAsk:
		s.tell(c)
	case rediswire.ControlTell:
		s.told(c)
	default:
		if err := s.take(c); err != nil && !errors.Is(err, rediswire.ErrElsewhere) {
			m.l.malformed(faultControl, err)
		}
	}
}

// tell answers a question.
func (s *membership) tell(c *rediswire.Control) {
	m := s.m
	m.b.count.received.Add(1)
	t := rediswire.Control{
		Kind: rediswire.ControlTell, Server: m.id, UID: s.uid, Namespace: s.name, RequestID: c.RequestID, Last: true,
	}
	channel := m.channels.OwnOf(c.Server)
	if c.What == rediswire.AskCount {
		t.Count = s.host.Index().Count(c.Options())
		m.b.send(channel, rediswire.AppendControl(nil, &t))
		return
	}
	sizes := s.host.Index().Sizes(c.Options())
	for room, n := range sizes {
		delete(sizes, room)
		t.Sizes = append(t.Sizes, rediswire.RoomSize{Room: room, Sockets: n})
		if len(t.Sizes) == maxTold && len(sizes) > 0 {
			t.Last = false
			m.b.send(channel, rediswire.AppendControl(nil, &t))
			t.Last, t.Sizes = true, t.Sizes[:0]
		}
	}
	m.b.send(channel, rediswire.AppendControl(nil, &t))
}

// told takes an answer, if it is for a question of this server.
func (s *membership) told(c *rediswire.Control) {
	q := s.requests.Find(c.RequestID)
	if q == nil {
		s.m.b.count.unknown.Add(1)
		return
	}
	s.m.b.count.received.Add(1)
	r := adapter.Response{Answer: adapter.Answer{Server: c.UID}, Count: c.Count}
	if len(c.Sizes) > 0 {
		r.Rooms = make(map[string]int, len(c.Sizes))
		for _, x := range c.Sizes {
			r.Rooms[x.Room] += x.Sockets
		}
	}
	if c.Last {
		q.Answered(r)
	} else {
		q.Part(r)
	}
}

// take takes an answer in the adapter's own form.
func (s *membership) take(c *rediswire.Control) error {
	if s.answer == nil {
		return fmt.Errorf("%w: answer in a form that this adapter does not use", rediswire.ErrMalformed)
	}
	return s.answer(c.UID, string(c.Payload))
}

// direct gives an answer in the adapter's own form, and the channel for it, so that the member who asked learns from whom
// it is and the others need not read it. ok is false for those who are not known as members, such as servers of
// other implementations.
func (s *membership) direct(uid string, payload []byte) (channel string, wrapped []byte, ok bool) {
	m := s.m
	m.mu.Lock()
	p := s.members[uid]
	m.mu.Unlock()
	if p == nil {
		return "", nil, false
	}
	return m.channels.OwnOf(p.id), rediswire.AppendControl(nil, &rediswire.Control{
		Kind: rediswire.ControlAnswer, Server: m.id, UID: s.uid, Namespace: s.name, Payload: payload,
	}), true
}
