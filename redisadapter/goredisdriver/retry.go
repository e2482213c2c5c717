package goredisdriver

import (
	"context"
	"slices"
	"time"
)

// settle tries again what is missing, when that is due, tells when nothing is, and gives the time until it is to be called
// again.
func (s *subscription) settle(ctx context.Context) time.Duration {
	if s.home == nil && s.first != nil && !s.failed {
		if err := s.goHome(ctx); err != nil {
			s.first <- err
			s.failed = true
			return 0
		}
	}
	wanting := s.home == nil || len(s.missing) > 0
	if wanting && !time.Now().Before(s.due) {
		s.again(ctx)
		wanting = s.home == nil || len(s.missing) > 0
	}
	if s.down && !wanting && s.anew == 0 && s.home.up {
		s.down, s.delay, s.due = false, minBackoff, time.Time{}
		s.tellRestored()
	}
	if !wanting {
		return time.Hour // there will be an event
	}
	return max(time.Until(s.due), time.Millisecond)
}

// again tries everything that is missing.
func (s *subscription) again(ctx context.Context) {
	s.due = time.Time{}
	if s.stale {
		s.stale = false
		if err := s.p.reload(ctx); err != nil {
			s.stale = true
		}
	}
	if s.home == nil {
		if err := s.goHome(ctx); err != nil {
			s.lose(err)
			return
		}
	}
	keys := make([]key, 0, len(s.missing))
	for k := range s.missing {
		keys = append(keys, k)
	}
	s.assign(ctx, keys, nil, 0, true)
}

func (s *subscription) goHome(ctx context.Context) error {
	n, err := s.p.home(ctx)
	if err != nil {
		return err
	}
	if s.home = s.open[n]; s.home == nil {
		s.home = s.connect(ctx, n)
	}
	return nil
}

// look finds out what has moved without a word. It believes what it sees a second time: news of a slot spreads node by
// node, and an owner that has taken a subscription may know better than the others.
func (s *subscription) look(ctx context.Context) {
	if err := s.p.reload(ctx); err != nil {
		return // it is tried again
	}
	all, err := s.p.masters(ctx)
	if err != nil {
		return // likewise
	}
	for n, l := range s.open {
		if l.up && s.twice(n, !slices.Contains(all, n)) {
			l.fail(errMoved) // a replica would send what comes to its master, also what is subscribed there
		}
	}
	parts := newParts(true)
	for k, at := range s.topics {
		if k.kind != shardKind || at.l == nil || at.c != nil || !slices.Contains(all, at.l.n) {
			continue
		}
		n, err := s.p.owner(ctx, k.name)
		if elsewhere := err == nil && n != at.l.n; !elsewhere {
			at.seen = nil
		} else if at.seen != n {
			at.seen = n
		} else {
			parts.add(at.l, k)
			s.miss(k, at)
		}
	}
	parts.each(func(l *link, kind byte, names []string) {
		l.say(ctx, &command{kind: unsubscribes[kind], topics: names})
		s.lose(errSlot)
		s.due = time.Now()
	})
}

// twice tells whether a node was seen as no master the last time too.
func (s *subscription) twice(n *node, seen bool) bool {
	if !seen {
		delete(s.demoted, n)
		return false
	}
	_, before := s.demoted[n]
	s.demoted[n] = struct{}{}
	return before
}
