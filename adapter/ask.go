package adapter

import (
	"sync"

	"github.com/sockeye-io/sockeye/parser"
)

// Question is what Local.Ask tells of. Its functions may be called at the same time from several goroutines,
// also before Ask returns; they must not block. Each may be nil.
type Question struct {
	Counted func(sockets int) // once, before any other: how many sockets are asked
	Answer  func(Answer)      // for each socket that answers
	Left    func(id string)   // for each socket that ends without an answer
	Done    func()            // once, after the last of the others, where all answered or left
}

// ask is one delivery with acknowledgement to sockets of this server.
type ask struct {
	l *Local
	k Question
	q *Request // of which it is a part, or nil

	mu      sync.Mutex
	waiting map[Member]struct{}
	calling int // calls of Answer and Left under way
	done    bool
	forget  func() // makes the host forget the id
}

// Ask delivers p, which has no ID yet, with a request for acknowledgement to the sockets of this server that o
// selects, and returns without waiting for answers. stop ends the waiting, as Close of the adapter does;
// nothing is called for answers that come after it. The functions of k are not called under a lock.
func (l *Local) Ask(p *parser.Packet, o Options, k Question) (stop func(), err error) {
	a := &ask{l: l, k: k}
	if err := l.ask(a, p, o); err != nil {
		return nil, err
	}
	return a.stop, nil
}

// AskFor is Ask for the sockets of this server as a part of q, which the end of q stops.
func (l *Local) AskFor(q *Request, p *parser.Packet, o Options) error {
	return l.ask(&ask{l: l, q: q, k: Question{Answer: q.SocketAnswer, Left: q.left}}, p, o)
}

func (l *Local) ask(a *ask, p *parser.Packet, o Options) error {
	d, forget, err := l.host.Prepare(p, o.Flags, a.answered)
	if err != nil {
		return err
	}
	a.forget = forget
	// From here on the ask is told of members that leave; the set is filled under the index's lock, so that a
	// member is either not found or told of.
	if !l.register(a) {
		a.end()
		return ErrClosed
	}
	members := a.fill(l.host.Index(), o)
	if a.k.Counted != nil {
		a.k.Counted(len(members))
	}
	for _, m := range members {
		d.Deliver(m)
	}
	if len(members) == 0 {
		a.finish()
	}
	return nil
}

func (a *ask) fill(x *Index, o Options) []Member {
	s := newScratch()
	defer s.free()
	x.mu.RLock()
	defer x.mu.RUnlock()
	members := x.appendSelected(nil, o, &s.q)
	if a.q != nil {
		a.q.asked(a, members)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.waiting = make(map[Member]struct{}, len(members))
	for _, m := range members {
		a.waiting[m] = struct{}{}
	}
	return members
}

// answered is the host's call for an acknowledgement.
func (a *ask) answered(m Member, args []parser.Arg) {
	if a.settle(m) {
		if a.k.Answer != nil {
			a.k.Answer(Answer{Socket: m.ID(), Args: args})
		}
		a.called()
	}
}

// left is the index's call for a member that was removed.
func (a *ask) left(m Member) {
	if a.settle(m) {
		if a.k.Left != nil {
			a.k.Left(m.ID())
		}
		a.called()
	}
}

// settle takes m out of those that are waited for and tells whether it was there.
func (a *ask) settle(m Member) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.waiting[m]; !ok || a.done {
		return false
	}
	delete(a.waiting, m)
	a.calling++
	return true
}

// called follows each call of Answer and Left.
func (a *ask) called() {
	a.mu.Lock()
	a.calling--
	last := len(a.waiting) == 0 && a.calling == 0
	a.mu.Unlock()
	if last {
		a.finish()
	}
}

// finish ends an ask that nobody is waited for any more.
func (a *ask) finish() {
	if a.end() && a.k.Done != nil {
		a.k.Done()
	}
}

// stop ends it early.
func (a *ask) stop() { a.end() }

// abort ends it, and what it is a part of, since the adapter closes.
func (a *ask) abort() {
	a.end()
	if a.q != nil {
		a.q.stop()
	}
}

func (a *ask) end() bool {
	a.mu.Lock()
	was := a.done
	a.done = true
	a.mu.Unlock()
	if was {
		return false
	}
	a.l.unregister(a)
	if a.forget != nil {
		a.forget()
	}
	return true
}
