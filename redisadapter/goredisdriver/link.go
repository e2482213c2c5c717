package goredisdriver

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	openLimit   = 3 * time.Second // to make a connection for subscriptions
	pingEvery   = time.Second
	silentLimit = 4 * time.Second // without an answer to a ping
	probeLimit  = time.Second     // to find out where a new connection leads
)

// command is one command of a subscription, for topics of one kind and, in a cluster, of one slot.
type command struct {
	kind   string // as Redis confirms it
	topics []string
	o      *op  // who waits for it; may be nil
	anew   bool // the topics were subscribed before, or should have been
	tries  int

	confirmed int
}

func (c *command) remove() bool {
	return c.kind == "unsubscribe" || c.kind == "punsubscribe" || c.kind == "sunsubscribe"
}

// link is one connection for subscriptions. Its goroutine makes the connection and reads; the goroutine of the
// subscription writes.
type link struct {
	s      *subscription
	n      *node
	cancel context.CancelFunc
	up     bool       // of the goroutine of the subscription
	early  []*command // likewise: what waits until the link is up

	ps *redis.PubSub // once the link is up
	l  *line

	waits atomic.Int64 // since when something is waited for, in ns since start; 0 while nothing is
	asked atomic.Bool  // a ping has no answer yet
	why   atomic.Value // error by which the link closed itself

	mu      sync.Mutex
	pending []*command // sent and not confirmed, in order
}

// run ends when the connection is lost or the link is closed.
func (l *link) run(ctx context.Context) {
	defer l.s.links.Done()
	defer l.cancel()
	err := l.open(ctx)
	if err == nil {
		l.s.post(event{kind: linkUp, l: l})
		err = l.read(ctx)
	}
	if l.l != nil {
		if l.ps != nil {
			_ = l.ps.Close() // what it says of a lost connection helps nobody
		}
		l.l.close()
	}
	if why, ok := l.why.Load().(error); ok {
		err = why
	}
	l.s.post(event{kind: linkDown, l: l, err: l.n.fail(err)})
}

// open makes the connection, over which Redis has answered a ping.
func (l *link) open(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, openLimit)
	defer cancel()
	var err error
	if l.l, err = l.s.d.open(ctx, &l.n.o); err != nil {
		return err
	}
	defer l.l.closeWith(ctx)()
	l.ps = l.l.client.Subscribe(ctx)
	if err := l.ps.Ping(ctx); err != nil {
		return err
	}
	if _, err = l.ps.Receive(ctx); err == nil && !l.n.follows(ctx) {
		err = errCut
	}
	return err
}

// read takes what comes until the connection is lost.
func (l *link) read(ctx context.Context) error {
	defer l.l.closeWith(ctx)()
	l.waits.Store(now())
	l.s.links.Add(1)
	go l.watch(ctx)
	for {
		got, err := l.ps.Receive(context.Background()) // has no deadline; the connection is closed instead
		if err != nil {
			if !isReply(err) || !l.refuse(err) {
				l.cancel() // of watch
				return err
			}
			continue
		}
		switch m := got.(type) {
		case *redis.Message:
			l.waits.Store(0)
			l.s.message(m)
			l.waits.Store(now())
		case *redis.Subscription:
			l.confirm(m.Kind, m.Channel)
		case *redis.Pong:
			l.asked.Store(false)
		}
	}
}

// confirm takes what Redis says of one topic: the next one that a command waits for, or a channel whose slot has moved.
func (l *link) confirm(kind, topic string) {
	l.mu.Lock()
	var done *command
	known := false
	if len(l.pending) > 0 {
		c := l.pending[0]
		if known = c.kind == kind && c.topics[c.confirmed] == topic; known {
			if c.confirmed++; c.confirmed == len(c.topics) {
				done = c
				l.pending = l.pending[1:]
			}
		}
	}
	l.mu.Unlock()
	switch {
	case done != nil:
		l.s.post(event{kind: confirmed, l: l, c: done})
	case !known && kind == "sunsubscribe":
		l.s.post(event{kind: pushedOut, l: l, topic: topic})
	}
}

// refuse takes an error as the answer to the next command. It is false where there is none.
func (l *link) refuse(err error) bool {
	l.mu.Lock()
	if len(l.pending) == 0 {
		l.mu.Unlock()
		return false
	}
	c := l.pending[0]
	l.pending = l.pending[1:]
	l.mu.Unlock()
	l.s.post(event{kind: refusal, l: l, c: c, err: err})
	return true
}

// left gives the commands that will never be answered. Nobody reads any more.
func (l *link) left() []*command {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := append(l.pending, l.early...)
	l.pending, l.early = nil, nil
	return list
}

// say sends a command, as soon as the link is up.
func (l *link) say(ctx context.Context, c *command) {
	if !l.up {
		l.early = append(l.early, c)
		return
	}
	l.mu.Lock()
	l.pending = append(l.pending, c)
	l.mu.Unlock()
	var err error
	switch c.kind {
	case "subscribe":
		err = l.ps.Subscribe(ctx, c.topics...)
	case "psubscribe":
		err = l.ps.PSubscribe(ctx, c.topics...)
	case "ssubscribe":
		err = l.ps.SSubscribe(ctx, c.topics...)
	case "unsubscribe":
		err = l.ps.Unsubscribe(ctx, c.topics...)
	case "punsubscribe":
		err = l.ps.PUnsubscribe(ctx, c.topics...)
	case "sunsubscribe":
		err = l.ps.SUnsubscribe(ctx, c.topics...)
	}
	if err != nil {
		l.fail(err)
	}
}

// fail closes the connection, which its reader then finds out.
func (l *link) fail(err error) {
	l.why.CompareAndSwap(nil, wrapped{err})
	l.cancel()
}

// wrapped gives all errors one type, as an atomic.Value wants it.
type wrapped struct{ error }

func (w wrapped) Unwrap() error { return w.error }

// watch asks the Redis for signs of life, and behind a Sentinel whether it is still the master. It ends with the link.
func (l *link) watch(ctx context.Context) {
	defer l.s.links.Done()
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if since := l.waits.Load(); since != 0 && now()-max(since, l.l.c.read.Load()) > int64(silentLimit) {
			l.fail(errSilent)
			return
		}
		if !l.asked.Swap(true) {
			_ = l.ps.Ping(ctx) // the reader gets the error
		}
		if n%2 != 0 {
			continue
		}
		if err := l.check(ctx); err != nil {
			l.fail(err)
			return
		}
	}
}

// check finds what a Redis that answers may hide: that it is not the master any more, or has none.
func (l *link) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	if l.n.sentinel && !l.still(ctx) {
		l.n.leave()
		return errMoved
	}
	if !l.n.follows(ctx) {
		return errCut
	}
	return nil
}

// still tells whether a new connection would lead to the same Redis, as far as one can know.
func (l *link) still(ctx context.Context) bool {
	nc, err := l.s.d.dial(ctx, &l.n.o)
	if err != nil {
		return true
	}
	same := nc.RemoteAddr().String() == l.l.c.RemoteAddr().String()
	_ = nc.Close() // nothing was said over it
	return same
}
