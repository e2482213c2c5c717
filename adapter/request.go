package adapter

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// Response is one thing that came back: the answer of a socket or server, or what a server told of its sockets.
type Response struct {
	Answer
	Remotes []Remote
	Count   int
	Rooms   map[string]int // sockets by room
}

// Request is one question that waits for answers. What comes back is queued, and handed to the function
// of Wait. Where that does not keep up, 262,144 responses wait for it; more are dropped, and the request ends
// incomplete. Its methods are safe for concurrent use, but Wait is for one caller.
type Request struct {
	id     string
	of     Kind
	table  *Requests
	signal chan struct{} // holds one token when there is news

	mu     sync.Mutex
	queue  []Response
	closed bool
	tally  tally
	again  Recount
	local  map[string]struct{} // sockets of this server that have not answered
	lost   []string            // sockets of this server that left
	asks   []*ask              // of this server's sockets
}

func newRequest(of Kind) *Request {
	return &Request{of: of, signal: make(chan struct{}, 1)}
}

// ID is the id of the request, 6 characters.
func (q *Request) ID() string { return q.id }

// Name tells the ids of servers that must be heard. It is to be called before the question is asked, so that Requests.Gone
// is not missed, and before Expect.
func (q *Request) Name(servers ...string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, id := range servers {
		q.tally.name(id)
	}
}

// Expect tells how many other servers there are, the named ones included; zero and less mean none but those that are
// named. Until it is called the request does not complete. Answers may come before.
func (q *Request) Expect(servers int) {
	q.mu.Lock()
	q.tally.expect(servers)
	q.mu.Unlock()
	q.wake()
}

// Recount counts other servers that may be named, and tells which of them are known: those that are there, and those that
// are silent.
type Recount func(ctx context.Context) (servers int, live, silent []string, err error)

// Audience is Expect where only the number of those that hear the question is known: others that are never named, and
// counted that may be. Servers that were named may be among these, or have closed before they were counted. So, when one of
// the named ones closes in order before it is heard, one more that is not named is waited for, unless again, which
// Wait calls after a moment and may be nil, counts fewer.
func (q *Request) Audience(others, counted int, again Recount) {
	q.mu.Lock()
	q.tally.audience(others, counted)
	q.again = again
	q.mu.Unlock()
	q.wake()
}

// Heard tells that a server has asked so many sockets. A second call for the same server id counts nothing; an
// empty id is always another server.
func (q *Request) Heard(server string, sockets int) {
	q.mu.Lock()
	if !q.closed {
		q.tally.hear(server, max(sockets, 0))
	}
	q.mu.Unlock()
	q.wake()
}

// SocketAnswer takes the answer of one socket.
func (q *Request) SocketAnswer(a Answer) {
	q.mu.Lock()
	if q.put(Response{Answer: a}) {
		q.tally.answered(a.Server)
		delete(q.local, a.Socket)
	}
	q.mu.Unlock()
	q.wake()
}

// ServerAnswer takes the answer of a server; like Heard for who it comes from.
func (q *Request) ServerAnswer(a Answer) { q.Answered(Response{Answer: a}) }

// Remotes takes the sockets that a server described; like Heard for who it comes from.
func (q *Request) Remotes(server string, sockets []Remote) {
	q.Answered(Response{Answer: Answer{Server: server}, Remotes: sockets})
}

// Answered takes all, or the last part, of what a server answers; like Heard for who it comes from.
func (q *Request) Answered(r Response) {
	q.mu.Lock()
	if !q.closed && q.tally.hear(r.Server, 0) {
		q.put(r)
	}
	q.mu.Unlock()
	q.wake()
}

// Part takes a part of what a server answers, of which Answered takes the last. It counts no server.
func (q *Request) Part(r Response) {
	q.mu.Lock()
	q.put(r)
	q.mu.Unlock()
	q.wake()
}

// gone tells that nothing more will come from a server.
func (q *Request) gone(server string, inOrder bool) {
	q.mu.Lock()
	if !q.closed {
		q.tally.leave(server, inOrder)
	}
	q.mu.Unlock()
	q.wake()
}

// Wait calls each for every response, one call at a time and on the goroutine of the caller, until all have
// answered. When ctx ends, the table is closed, or sockets of this server or other servers left without an answer,
// it returns an *Incomplete. The request is closed then, and each is not called any more.
func (q *Request) Wait(ctx context.Context, each func(Response)) error {
	again := recounting{pause: recountAfter}
	defer again.stop()
	for {
		var cause error
		switch complete, closed, doubtful := q.drain(each); {
		case complete:
			cause = errLeft
		case closed:
			cause = ErrClosed
		case ctx.Err() != nil:
			cause = context.Cause(ctx)
		default:
			select {
			case <-q.signal:
			case <-ctx.Done():
			case <-again.due(doubtful):
				q.count(ctx)
				again.next()
			}
			continue
		}
		q.Close()
		q.drain(each) // what came in between
		return q.result(cause)
	}
}

const (
	recountAfter = 40 * time.Millisecond // twice; what is known of a server is not older than half of it, usually
	recountSlow  = time.Second
)

// recounting says when servers are to be counted again.
type recounting struct {
	timer *time.Timer
	pause time.Duration
	n     int
}

func (r *recounting) due(wanted bool) <-chan time.Time {
	switch {
	case !wanted:
		return nil
	case r.timer == nil:
		r.timer = time.NewTimer(r.pause)
	}
	return r.timer.C
}

func (r *recounting) next() {
	if r.n++; r.n >= 2 {
		r.pause = min(2*r.pause, recountSlow)
	}
	r.timer.Reset(r.pause)
}

func (r *recounting) stop() {
	if r.timer != nil {
		r.timer.Stop()
	}
}

// count counts again. Where that fails what was counted before stands.
func (q *Request) count(ctx context.Context) {
	q.mu.Lock()
	again := q.again
	q.mu.Unlock()
	counted, live, silent, err := again(ctx)
	if err != nil {
		return
	}
	q.mu.Lock()
	q.tally.recounted(counted, live, silent)
	q.mu.Unlock()
}

// Close ends the request: what comes for it from now on is ignored.
func (q *Request) Close() {
	if q.table != nil {
		q.table.mu.Lock()
		delete(q.table.open, q.id)
		q.table.mu.Unlock()
	}
	q.stop()
}

func (q *Request) stop() {
	q.mu.Lock()
	q.closed = true
	asks := q.asks
	q.mu.Unlock()
	for _, a := range asks {
		a.stop()
	}
	q.wake()
}

// wake tells Wait of news.
func (q *Request) wake() {
	select {
	case q.signal <- struct{}{}:
	default:
	}
}

func (q *Request) put(r Response) bool {
	if q.closed || len(q.queue) >= maxQueued {
		return false
	}
	q.queue = append(q.queue, r)
	return true
}

// asked adds sockets of this server to those that must answer.
func (q *Request) asked(a *ask, members []Member) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.asks = append(q.asks, a)
	q.tally.sockets += len(members)
	if q.local == nil {
		q.local = make(map[string]struct{}, len(members))
	}
	for _, m := range members {
		q.local[m.ID()] = struct{}{}
	}
}

// left tells that a socket of this server will not answer.
func (q *Request) left(id string) {
	q.mu.Lock()
	if _, ok := q.local[id]; ok && !q.closed {
		delete(q.local, id)
		q.lost = append(q.lost, id)
	}
	q.mu.Unlock()
	q.wake()
}

// drain hands over what is queued and tells whether all have answered before, whether it was closed before, and whether
// servers are to be counted again.
func (q *Request) drain(each func(Response)) (complete, closed, doubtful bool) {
	q.mu.Lock()
	batch := q.queue
	q.queue = nil
	t := &q.tally
	complete = t.known && t.answers+t.forgiven+len(q.lost) >= t.sockets && t.short(false) == 0
	closed = q.closed
	doubtful = q.again != nil && t.doubtful()
	q.mu.Unlock()
	for i := range batch {
		each(batch[i])
	}
	return complete, closed, doubtful
}

// errLeft is the cause of a request that ended since nobody is waited for any more.
var errLeft = errors.New("adapter: nobody left to wait for")

// result is nil or what is missing. The request is closed, so that nothing changes.
func (q *Request) result(cause error) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	t := &q.tally
	short := t.short(true)
	if t.known && short == 0 && t.answers >= t.sockets {
		return nil
	}
	e := &Incomplete{Expected: t.sockets, Received: t.answers, Err: cause}
	if short > 0 || t.forgiven > 0 {
		e.MissingServers = t.missing()
	}
	a := t.sum()
	e.SilentServers = max(short-a.unheard, 0)
	if q.of == OfServers {
		e.Expected, e.Received = a.named-a.excused+t.unnamed(a), t.heard
	}
	if cause == errLeft { //nolint:errorlint // it is never wrapped
		e.Err = ErrSocketLeft
		if len(e.MissingServers) > 0 {
			e.Err = ErrServerLeft
		}
	}
	e.MissingSockets = append(e.MissingSockets, q.lost...)
	for id := range q.local {
		e.MissingSockets = append(e.MissingSockets, id)
	}
	slices.Sort(e.MissingSockets)
	return e
}
