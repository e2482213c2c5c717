package goredisdriver

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/redisadapter"
)

// key is a topic.
type key struct {
	kind byte // 's' for SUBSCRIBE, 'p' for a pattern, 'd' for SSUBSCRIBE
	name string
}

const (
	channelKind = 's'
	patternKind = 'p'
	shardKind   = 'd'
)

// spot is where a topic is subscribed.
type spot struct {
	l    *link    // nil while it is nowhere
	c    *command // until Redis has confirmed it
	seen *node    // who owned its slot the last time, where that was not the node of l
}

// keeper is what the goroutine of a subscription knows; nobody else touches it.
type keeper struct {
	topics        map[key]*spot
	missing       map[key]struct{} // those that are nowhere
	shardedTopics int

	open    map[*node]*link
	home    *link              // of classic channels; nil while there is none
	demoted map[*node]struct{} // those of open that were seen as no master the last time

	first  chan<- error // until the first connection is up, or failed
	failed bool         // it did

	down  bool // Lost was told
	anew  int  // commands on their way that subscribe again
	delay time.Duration
	due   time.Time // of the next attempt
	stale bool      // slots must be looked at before it
}

func (k *keeper) init() {
	k.topics, k.missing = map[key]*spot{}, map[key]struct{}{}
	k.open, k.demoted = map[*node]*link{}, map[*node]struct{}{}
	k.delay = minBackoff
}

func keysOf(t redisadapter.Topics) []key {
	keys := make([]key, 0, len(t.Channels)+len(t.Patterns)+len(t.Sharded))
	for _, p := range t.Patterns {
		keys = append(keys, key{patternKind, p})
	}
	for _, c := range t.Channels {
		keys = append(keys, key{channelKind, c})
	}
	for _, c := range t.Sharded {
		keys = append(keys, key{shardKind, c})
	}
	return keys
}

// handle takes what a link says.
func (s *subscription) handle(ctx context.Context, e event) {
	switch e.kind {
	case linkUp:
		e.l.up = true
		early := e.l.early
		e.l.early = nil
		for _, c := range early {
			e.l.say(ctx, c)
		}
		if e.l == s.home && s.first != nil {
			s.first <- nil
			s.first = nil
		}
	case linkDown:
		s.linkDown(e.l, e.err)
	case confirmed:
		s.confirmed(e.l, e.c)
	case refusal:
		s.refused(ctx, e.l, e.c, e.err)
	case pushedOut:
		k := key{shardKind, e.topic}
		if at := s.topics[k]; at != nil && at.l == e.l {
			s.miss(k, at)
			s.lose(errSlot)
			s.stale, s.due = true, time.Now()
		}
	}
}

// lose tells that something is not subscribed any more, and has it tried again.
func (s *subscription) lose(err error) {
	if s.due.IsZero() {
		s.due = time.Now().Add(jitter(s.delay))
		s.delay = min(2*s.delay, maxBackoff)
	}
	if s.first == nil && !s.down {
		s.down = true
		s.tellLost(err)
	}
}

func (s *subscription) miss(k key, at *spot) {
	at.l, at.c, at.seen = nil, nil, nil
	s.missing[k] = struct{}{}
}

func (s *subscription) linkDown(l *link, err error) {
	if s.open[l.n] == l {
		delete(s.open, l.n)
		delete(s.demoted, l.n)
	}
	for _, c := range l.left() {
		s.over(c, err)
	}
	hit := l == s.home
	for k, at := range s.topics {
		if at.l == l {
			hit = true
			s.miss(k, at)
		}
	}
	if l == s.home {
		s.home = nil
		if s.first != nil {
			s.first <- err
			s.failed = true
			return
		}
	}
	s.p.lost(l.n)
	if hit {
		s.stale = true
		s.lose(err)
	}
}

// over counts a command that is confirmed, or will not be.
func (s *subscription) over(c *command, err error) {
	if c.anew {
		s.anew--
	}
	c.o.finish(err)
}

func (s *subscription) confirmed(l *link, c *command) {
	if !c.remove() {
		for _, t := range c.topics {
			if at := s.topics[key{kindOf(c.kind), t}]; at != nil && at.l == l && at.c == c {
				at.c = nil
			}
		}
	}
	s.over(c, nil)
}

func kindOf(command string) byte {
	switch command {
	case "psubscribe", "punsubscribe":
		return patternKind
	case "ssubscribe", "sunsubscribe":
		return shardKind
	default:
		return channelKind
	}
}

func (s *subscription) refused(ctx context.Context, l *link, c *command, err error) {
	if c.remove() {
		// A node that does not own the slot refuses, and as a replica goes on to send what comes to its new owner.
		l.fail(l.n.fail(err))
		s.over(c, nil)
		return
	}
	var keys []key
	for _, t := range c.topics {
		k := key{kindOf(c.kind), t}
		if at := s.topics[k]; at != nil && at.l == l && at.c == c {
			s.miss(k, at)
			keys = append(keys, k)
		}
	}
	addr, moved := redis.IsMovedError(err)
	if moved && c.tries < redirects {
		s.p.moved(c.topics[0], addr)
		if c.o != nil {
			c.o.left++ // so that it does not end before the other commands are made
		}
		s.assign(ctx, keys, c.o, c.tries+1, c.anew)
		s.over(c, nil)
		c.o.finish(nil)
		return
	}
	err = l.n.fail(err)
	if redis.HasErrorPrefix(err, "NOPERM") {
		err = fmt.Errorf("%w: %w", redisadapter.ErrForbidden, err)
	}
	s.over(c, err)
	if len(keys) > 0 {
		s.stale = true
		s.lose(err)
	}
}

// do begins what Add and Remove want.
func (s *subscription) do(ctx context.Context, o *op) {
	o.left = 1
	keys := keysOf(o.topics)
	if o.remove {
		o.finish(s.remove(ctx, keys, o))
		return
	}
	news := keys[:0]
	for _, k := range keys {
		if s.topics[k] == nil {
			s.topics[k] = &spot{}
			s.missing[k] = struct{}{}
			if k.kind == shardKind {
				s.shardedTopics++
			}
			news = append(news, k)
		}
	}
	s.assign(ctx, news, o, 0, false)
	o.finish(nil)
}

func (s *subscription) remove(ctx context.Context, keys []key, o *op) (err error) {
	parts := newParts(s.p.sharded())
	for _, k := range keys {
		at := s.topics[k]
		if at == nil {
			continue
		}
		delete(s.topics, k)
		delete(s.missing, k)
		if k.kind == shardKind {
			s.shardedTopics--
		}
		if at.l == nil {
			err = errLost
			continue
		}
		parts.add(at.l, k)
	}
	parts.each(func(l *link, kind byte, names []string) {
		o.left++
		l.say(ctx, &command{kind: unsubscribes[kind], topics: names, o: o})
	})
	return err
}

var (
	subscribes = map[byte]string{
		channelKind: "subscribe", patternKind: "psubscribe", shardKind: "ssubscribe",
	}
	unsubscribes = map[byte]string{
		channelKind: "unsubscribe", patternKind: "punsubscribe", shardKind: "sunsubscribe",
	}
)

// assign subscribes to topics that are nowhere. Those whose node is not there stay so, and o gets an error.
func (s *subscription) assign(ctx context.Context, keys []key, o *op, tries int, anew bool) {
	parts := newParts(s.p.sharded())
	for _, k := range keys {
		l, err := s.linkFor(ctx, k, o != nil)
		if err != nil {
			if o != nil && o.err == nil {
				o.err = err
			}
			s.stale = true
			s.lose(err)
			continue
		}
		parts.add(l, k)
	}
	parts.each(func(l *link, kind byte, names []string) {
		c := &command{kind: subscribes[kind], topics: names, o: o, anew: anew, tries: tries}
		for _, name := range names {
			k := key{kind, name}
			at := s.topics[k]
			at.l, at.c = l, c
			delete(s.missing, k)
		}
		if o != nil {
			o.left++
		}
		if anew {
			s.anew++
		}
		l.say(ctx, c)
	})
}

// linkFor gives the link that a topic belongs to, which may have to be made first. For somebody who waits none is made
// while connections are lost: that is tried at its time.
func (s *subscription) linkFor(ctx context.Context, k key, waits bool) (*link, error) {
	if k.kind != shardKind || !s.p.sharded() {
		if s.home == nil {
			return nil, errLost
		}
		return s.home, nil
	}
	n, err := s.p.owner(ctx, k.name)
	if err != nil {
		return nil, err
	}
	l := s.open[n]
	if l == nil {
		if waits && s.down {
			return nil, n.fail(errLost)
		}
		l = s.connect(ctx, n)
	}
	return l, nil
}

// connect makes a link.
func (s *subscription) connect(ctx context.Context, n *node) *link {
	l := &link{s: s, n: n}
	var linkCtx context.Context
	linkCtx, l.cancel = context.WithCancel(ctx)
	s.open[n] = l
	s.links.Add(1)
	go l.run(linkCtx)
	return l
}
