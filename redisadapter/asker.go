package redisadapter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/rediswire"
	"github.com/sockeye-io/sockeye/parser"
)

// asker asks the other servers of a namespace, and keeps what they ask of sockets here. All adapters have one; the
// messages are theirs.
type asker struct {
	*adapter.Local

	b        *bus
	l        *listener
	host     adapter.Host
	name     string        // of the namespace
	common   string        // the channel of questions, by whose subscribers servers are counted
	newID    func() string // makes ids of questions
	requests adapter.Requests
	k        *membership // nil where servers do not announce themselves
	closed   atomic.Bool

	mu        sync.Mutex
	questions map[string]question   // of this server, by id
	asked     map[string]*remoteAsk // questions of other servers that sockets here still answer; nil once closed
}

// question is one that waits for answers.
type question struct {
	q    *adapter.Request
	want want
}

// want is what answers a question.
type want uint8

const (
	wantSockets want = iota // Fetch: descriptions of sockets, once from each server
	wantAcks                // BroadcastWithAck: a number of sockets from each server, and their acknowledgements
	wantAnswers             // ServerSide: one answer from each server
)

// encoder makes the message of a question with that id.
type encoder func(id string) ([]byte, error)

func newAsker(b *bus, h adapter.Host, newID func() string) *asker {
	return &asker{
		Local: adapter.NewLocal(h), b: b, host: h, name: h.Name(), newID: newID,
		questions: map[string]question{}, asked: map[string]*remoteAsk{},
	}
}

// ask opens a question, which end ends.
func (a *asker) ask(of adapter.Kind, w want) (id string, q *adapter.Request, end func(), err error) {
	q, err = a.requests.New(of)
	if err != nil {
		return "", nil, nil, fmt.Errorf("redisadapter: %w", err)
	}
	id = a.newID()
	a.mu.Lock()
	for a.questions[id].q != nil {
		id = a.newID()
	}
	a.questions[id] = question{q, w}
	a.mu.Unlock()
	return id, q, func() {
		q.Close()
		a.mu.Lock()
		delete(a.questions, id)
		a.mu.Unlock()
	}, nil
}

// waits tells whether a question of that id waits for answers.
func (a *asker) waits(id string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.questions[id].q != nil
}

// answered finds the question that such an answer is for. It is nil and counted where nobody waits for it, and an
// error where it does not fit.
func (a *asker) answered(id string, w want) (*adapter.Request, error) {
	a.mu.Lock()
	x := a.questions[id]
	a.mu.Unlock()
	switch {
	case x.q == nil:
		a.b.count.unknown.Add(1)
		return nil, nil //nolint:nilnil // documented
	case x.want != w:
		return nil, fmt.Errorf("%w: response of another kind than the request", rediswire.ErrMalformed)
	}
	a.b.count.received.Add(1)
	return x.q, nil
}

// spread publishes a broadcast that has been delivered here.
func (a *asker) spread(ctx context.Context, channel string, payload []byte, f adapter.Flags) error {
	if accepting := a.b.pub.health() == nil; f.Volatile && !accepting {
		a.b.count.dropped.Add(1)
		return nil
	}
	return a.b.publish(ctx, channel, payload)
}

// broadcastWithAck delivers p here and elsewhere and collects the acknowledgements. While Redis is unavailable it asks
// this server's sockets and returns an *Incomplete.
func (a *asker) broadcastWithAck(
	ctx context.Context, p *parser.Packet, o adapter.Options, each func(adapter.Answer), encode encoder,
) error {
	if o.Flags.Local {
		return a.BroadcastWithAck(ctx, p, o, each) // that of Local
	}
	id, q, end, err := a.ask(adapter.OfSockets, wantAcks)
	if err != nil {
		return err
	}
	defer end()
	payload, err := encode(id)
	if err != nil {
		return err
	}
	if err := a.AskFor(q, p, o); err != nil {
		return err
	}
	failed := a.publishCounted(ctx, q, payload)
	received := 0
	err = q.Wait(ctx, func(r adapter.Response) {
		received++
		each(r.Answer)
	})
	a.k.doubt(err)
	if err == nil && failed != nil {
		return &adapter.Incomplete{Expected: received, Received: received, Err: failed}
	}
	return err
}

// remaining is how long ctx lasts; 0 where it has no deadline.
func remaining(ctx context.Context) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return max(time.Until(deadline), time.Millisecond)
	}
	return 0
}

// publishCounted publishes a question and makes q wait for the other servers that get it: with an error for none but those
// that are known, and for none while Redis is unavailable. They are counted before, since one that opens the
// namespace in between may answer, but one that opens it later never does.
func (a *asker) publishCounted(ctx context.Context, q *adapter.Request, payload []byte) error {
	err := a.b.pub.health()
	if err == nil {
		a.summon(q)
		_, failed := a.others(ctx, q)
		err = errors.Join(a.b.pub.wait(ctx, a.b.publication(a.common, payload)), failed)
	}
	if err != nil {
		q.Expect(0)
	}
	return err
}

// summon makes q wait for those servers that are known by name, before it is asked.
func (a *asker) summon(q *adapter.Request) {
	if a.k != nil {
		a.k.summon(q, false)
	}
}

// others counts the other servers of the namespace, and makes q wait for them.
func (a *asker) others(ctx context.Context, q *adapter.Request) (int, error) {
	if a.k == nil {
		n, err := a.b.subscribers(ctx, a.common)
		if err != nil {
			return 0, err
		}
		n = max(n-1, 0)
		q.Expect(n)
		return n, nil
	}
	n, _, err := a.k.audience(ctx, q)
	return n, err
}

// fetch describes the sockets that o selects, those of this server first.
func (a *asker) fetch(ctx context.Context, o adapter.Options, encode encoder) ([]adapter.Remote, error) {
	sockets, err := a.Fetch(ctx, o) // that of Local
	if err != nil || o.Flags.Local {
		return sockets, err
	}
	ctx, cancel := a.b.bounded(ctx)
	defer cancel()
	err = a.query(ctx, wantSockets, encode, func(r adapter.Response) { sockets = append(sockets, r.Remotes...) })
	return sockets, err
}

// query asks every other server once. It returns at once if there is none.
func (a *asker) query(ctx context.Context, w want, encode encoder, each func(adapter.Response)) error {
	id, q, end, err := a.ask(adapter.OfServers, w)
	if err != nil {
		return err
	}
	defer end()
	a.summon(q)
	err = a.b.pub.health()
	var others int
	if err == nil {
		others, err = a.others(ctx, q)
	}
	if err != nil {
		return &adapter.Incomplete{Err: err}
	}
	if others == 0 {
		return nil
	}
	payload, err := encode(id)
	if err != nil {
		return err
	}
	if err := a.b.pub.put(a.b.publication(a.common, payload), nil); err != nil {
		return err
	}
	err = q.Wait(ctx, each)
	a.k.doubt(err)
	return err
}

// count counts the sockets that o selects; fetch is for servers that do not understand the question.
func (a *asker) count(
	ctx context.Context, o adapter.Options, fetch func(context.Context, adapter.Options) ([]adapter.Remote, error),
) (int, error) {
	here, err := a.Count(ctx, o) // that of Local
	if err != nil || o.Flags.Local {
		return here, err
	}
	if a.k != nil {
		ctx, cancel := a.b.bounded(ctx)
		defer cancel()
		if n, ok, err := a.k.count(ctx, o); ok {
			return here + n, err
		}
	}
	sockets, err := fetch(ctx, o)
	return len(sockets), err
}

// rooms gives the rooms of the sockets that o selects, and how many of these are in each; like count.
func (a *asker) rooms(
	ctx context.Context, o adapter.Options, fetch func(context.Context, adapter.Options) ([]adapter.Remote, error),
) (map[string]int, error) {
	sizes, err := a.Rooms(ctx, o) // that of Local
	if err != nil || o.Flags.Local {
		return sizes, err
	}
	if a.k != nil {
		ctx, cancel := a.b.bounded(ctx)
		defer cancel()
		if ok, err := a.k.rooms(ctx, o, sizes); ok {
			return sizes, err
		}
	}
	sockets, err := fetch(ctx, o)
	return adapter.SizesOf(sockets), err
}

// serverSide tells the other servers of an event. each is nil where no answers are wanted.
func (a *asker) serverSide(ctx context.Context, each func(adapter.Answer), encode encoder) error {
	if a.closed.Load() {
		return adapter.ErrClosed
	}
	payload, err := encode("") // checks the event also where there is no other server
	if err != nil {
		return err
	}
	if each == nil {
		return a.b.publish(ctx, a.common, payload)
	}
	ctx, cancel := a.b.bounded(ctx)
	defer cancel()
	return a.query(ctx, wantAnswers, encode, func(r adapter.Response) { each(r.Answer) })
}

// Close unsubscribes and ends what waits for answers.
func (a *asker) Close() error {
	if a.closed.Swap(true) {
		return nil
	}
	if a.k != nil {
		a.b.t.removeAll(a.k.l)
	}
	a.l.close() // waits for both
	if a.k != nil {
		a.k.leave()
	}
	a.requests.Close()
	a.mu.Lock()
	asked := a.asked
	a.asked = nil
	a.mu.Unlock()
	for _, k := range asked {
		a.end(k)
	}
	return a.Local.Close()
}

// anyRoom tells whether one of the rooms exists here; it does if there is none.
func (a *asker) anyRoom(rooms []string) bool {
	return len(rooms) == 0 || slices.ContainsFunc(rooms, a.host.Index().Has)
}

// onlyRoom tells whether exactly one room is meant, which may have a channel of its own.
func onlyRoom(rooms []string) (string, bool) {
	if len(rooms) == 0 {
		return "", false
	}
	for _, r := range rooms[1:] {
		if r != rooms[0] {
			return "", false
		}
	}
	return rooms[0], true
}

var errPanic = errors.New("redisadapter: panic while a message was handled")
