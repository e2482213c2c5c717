package rueidisdriver

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
)

const chunk = 256 // topics, or commands, that are sent without waiting

// link keeps one connection of a subscription open.
type link struct {
	s      *subscription
	node   *node // nil for where channels and patterns are
	ctx    context.Context
	cancel context.CancelFunc
	wake   chan struct{} // holds one token when there are changes
	away   chan struct{} // holds one token when the node is the wrong one

	heard atomic.Int64 // counts messages
	busy  atomic.Bool  // the receiver has a message, and nothing more is read meanwhile

	// The following are guarded by s.mu.

	at       *node // that it is connected to, or was
	channels map[string]struct{}
	patterns map[string]struct{}
	sharded  map[string]bool // whether it was subscribed here once
	changes  []change        // that the connection has not been told of
	leaving  map[string]int  // how often a Sharded channel is yet to be unsubscribed
	taking   bool            // the connection is told of changes
	up       bool            // everything was subscribed
	failed   bool            // it has no connection, and not because it is new
	lost     bool            // it counts in s.down
	applying bool            // the connection is being told of changes
	doubtful bool            // its node does not say that all is well
}

// newLink makes a link to a master, nil for where channels and patterns are.
func (s *subscription) newLink(n *node) *link {
	l := &link{
		s: s, node: n, wake: make(chan struct{}, 1), away: make(chan struct{}, 1),
		channels: map[string]struct{}{}, patterns: map[string]struct{}{}, sharded: map[string]bool{},
		leaving: map[string]int{},
	}
	l.ctx, l.cancel = context.WithCancel(s.ctx)
	return l
}

// push has the connection told of a change. s.mu is held.
func (l *link) push(c change) {
	for _, ch := range c.topics.Channels {
		set(l.channels, ch, !c.remove)
	}
	for _, p := range c.topics.Patterns {
		set(l.patterns, p, !c.remove)
	}
	for _, ch := range c.topics.Sharded {
		if c.remove {
			delete(l.sharded, ch)
		} else if _, there := l.sharded[ch]; !there {
			l.sharded[ch] = false
		}
		if c.remove && l.taking {
			l.leaving[ch]++
		}
	}
	if l.failed && !l.taking {
		c.answer(l.s.d.fail(errLost), nil) // all is told when there is a connection
		return
	}
	l.changes = append(l.changes, c)
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func set(m map[string]struct{}, key string, to bool) {
	if to {
		m[key] = struct{}{}
	} else {
		delete(m, key)
	}
}

// leave has the connection replaced by one to another node. s.mu is held.
func (l *link) leave() {
	select {
	case l.away <- struct{}{}:
	default:
	}
}

// abandon ends the link. s.mu is held.
func (l *link) abandon() {
	l.cancel()
	if l.lost {
		l.lost = false
		l.s.down--
	}
}

// run keeps a connection open. It ends when the subscription is closed, or the link is abandoned.
func (l *link) run() {
	defer l.cancel()
	delay := minBackoff
	for {
		if l.session() {
			delay = minBackoff
		}
		if l.ctx.Err() != nil || !sleep(l.ctx, delay/2+rand.N(delay)) {
			return
		}
		delay = min(2*delay, maxBackoff)
	}
}

// session is the life of one connection. It tells whether everything was subscribed.
func (l *link) session() bool {
	n, err := l.node, error(nil)
	if n == nil {
		n, err = l.s.d.subscriber(l.ctx)
	}
	if err != nil {
		l.end(n, err)
		return false
	}
	client, err := n.dedicated()
	if err != nil {
		l.end(n, err)
		return false
	}
	c, _ := client.Dedicate()
	defer c.Close()
	// A connection that hangs in a command must not keep Close waiting.
	defer context.AfterFunc(l.ctx, c.Close)()
	broken := c.SetPubSubHooks(rueidis.PubSubHooks{OnMessage: l.message, OnSubscription: l.subscribed})
	up := false
	err = l.guard(func(ctx context.Context) error { return c.Do(ctx, c.B().Ping().Build()).Error() })
	if err == nil {
		err = l.begin(n, c)
		up = err == nil
	}
	if up {
		err = l.serve(c, broken)
	}
	if errors.Is(err, net.ErrClosed) && l.ctx.Err() == nil {
		err = errDrop
	}
	l.end(n, n.fail(err)) // before the connection is closed, which may take a while
	return up
}

// serve returns when the connection is lost, or to be given up.
func (l *link) serve(c rueidis.DedicatedClient, broken <-chan error) error {
	probe := time.NewTicker(probeEvery)
	defer probe.Stop()
	heard := l.heard.Load()
	for {
		if err := l.apply(c); err != nil {
			return err
		}
		select {
		case err := <-broken:
			if err == nil {
				err = errLost
			}
			return err
		case <-l.ctx.Done():
			return context.Cause(l.ctx)
		case <-l.away:
			return errMoved
		case <-l.wake:
		case <-probe.C:
			if now := l.heard.Load(); now != heard || l.busy.Load() {
				heard = now
				continue
			}
			err := l.guard(func(ctx context.Context) error { return c.Do(ctx, l.ping(c)).NonRedisError() })
			if err != nil {
				return err
			}
		}
	}
}

// ping gives a command that is answered over the connection of subscriptions, which is another one with RESP2 than that
// of PING.
func (l *link) ping(c rueidis.DedicatedClient) rueidis.Completed {
	if l.s.d.option.AlwaysRESP2 {
		return c.B().Unsubscribe().Channel("sockeye-ping").Build()
	}
	return c.B().Ping().Build()
}

// guard runs a command and gives up when nothing has come for a while, though the receiver could have taken it.
func (l *link) guard(f func(ctx context.Context) error) error {
	ctx, cancel := context.WithCancelCause(l.ctx)
	defer cancel(nil)
	var (
		mu    sync.Mutex // of timer
		timer *time.Timer
		heard = l.heard.Load()
	)
	timeout := l.s.d.option.ConnWriteTimeout
	mu.Lock()
	timer = time.AfterFunc(timeout, func() {
		mu.Lock()
		defer mu.Unlock()
		if now := l.heard.Load(); now != heard || l.busy.Load() {
			heard = now
			timer.Reset(timeout)
			return
		}
		cancel(errSilent)
	})
	mu.Unlock()
	err := f(ctx)
	mu.Lock()
	timer.Stop()
	mu.Unlock()
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// end notes that there is no connection any more, and tells those who wait.
func (l *link) end(n *node, err error) {
	s := l.s
	s.mu.Lock()
	if s.d.cluster != nil && n != nil && l.ctx.Err() == nil {
		if !l.up && refusal(err) == "" {
			n.suspect.Store(true)
		}
		s.kick()
	}
	counts := l.up
	if l.node != nil {
		counts = len(l.sharded) > 0
	}
	if counts && !l.lost && l.ctx.Err() == nil {
		l.lost = true
		s.down++
	}
	l.up, l.taking, l.failed = false, false, true
	changes := l.changes
	l.changes = nil
	s.note(err)
	s.mu.Unlock()
	answer(changes, err, nil)
	s.flush()
}

// message is the hook for messages, called by the reader of the connection.
func (l *link) message(m rueidis.PubSubMessage) {
	s := l.s
	l.busy.Store(true)
	s.telling.Lock()
	if !s.muted {
		s.r.Message(m.Pattern, m.Channel, m.Message)
	}
	s.telling.Unlock()
	l.heard.Add(1)
	l.busy.Store(false)
}

// subscribed is the hook for confirmations. A Redis Cluster that takes a slot away unsubscribes its channels.
func (l *link) subscribed(p rueidis.PubSubSubscription) {
	s := l.s
	if p.Kind != "sunsubscribe" || s.d.cluster == nil {
		return
	}
	s.mu.Lock()
	if !l.gone(p.Channel) {
		s.stray(l, []string{p.Channel})
		s.told = l.node
		s.kick()
	}
	s.mu.Unlock()
	s.flush()
}
