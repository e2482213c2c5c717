package rueidisdriver

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/sockeye-io/sockeye/internal/redisproto"
	"github.com/sockeye-io/sockeye/redisadapter"
)

// tend keeps Sharded channels, and the connection for all others, at masters that are right for them. It ends when the
// subscription is closed.
func (s *subscription) tend() {
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	delay, troubled := minBackoff, 0
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-tick.C:
			s.probe()
		case <-s.kicked:
		}
		if troubled++; !s.troubled() {
			troubled = 0
		}
		if 0 < troubled && troubled < soonAtMost {
			tick.Reset(probeSoon) // a replica will take over
		} else {
			tick.Reset(probeEvery)
		}
		s.mu.Lock()
		told, fresh := s.told, s.fresh
		s.told, s.fresh = nil, false
		s.mu.Unlock()
		if !fresh { // who is asked may know less than who has sent MOVED
			_ = s.d.cluster.learn(s.ctx, told, s.d.cluster.seen()) // what is known stays
		}
		if s.sort() {
			delay = minBackoff
			continue
		}
		if !sleep(s.ctx, delay) {
			return
		}
		delay = min(2*delay, maxBackoff)
		s.kick()
	}
}

// troubled tells whether a master does not answer.
func (s *subscription) troubled() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.main.up || s.main.at.suspect.Load() {
		return true
	}
	for _, l := range s.shards {
		if !l.up || l.doubtful {
			return true
		}
	}
	return false
}

// probe asks each master whether it still has the slots of the channels that are subscribed there: not every Redis says
// so by itself.
func (s *subscription) probe() {
	s.mu.Lock()
	links := slices.Collect(maps.Values(s.shards))
	s.mu.Unlock()
	for _, l := range links {
		ctx, cancel := s.ctx, context.CancelFunc(func() {})
		if l.node.suspect.Load() {
			ctx, cancel = context.WithTimeout(s.ctx, probeSoon)
		}
		v, err := l.node.view(ctx)
		cancel()
		s.mu.Lock()
		l.doubtful = err != nil || !v.ok
		if err != nil {
			l.node.suspect.Store(true)
		} else {
			var gone []string
			for channel := range l.sharded {
				if !v.has(redisproto.Slot(channel), l.node.addr) {
					gone = append(gone, channel)
				}
			}
			if len(gone) > 0 {
				s.stray(l, gone)
				l.push(change{topics: redisadapter.Topics{Sharded: gone}, remove: true})
			}
		}
		s.mu.Unlock()
		s.flush()
	}
}

// sort moves channels to the links where they belong, and closes links without channels that are of no use any more. It
// tells whether there
// was nothing to be moved.
func (s *subscription) sort() bool {
	masters, err := s.d.cluster.all(s.ctx)
	s.mu.Lock()
	if at := s.main.at; err == nil && at != nil && !slices.Contains(masters, at) {
		s.main.leave()
	}
	for _, l := range s.shards {
		// A connection that stands may be right, whatever other nodes say; one that does not stand is not.
		if l.up && !l.doubtful {
			continue
		}
		var gone []string
		for channel := range l.sharded {
			if owner, _ := s.d.cluster.known(redisproto.Slot(channel)); owner != nil && owner != l.node {
				gone = append(gone, channel)
			}
		}
		s.stray(l, gone)
	}
	var lost []string
	for channel, l := range s.sharded {
		if l == nil {
			lost = append(lost, channel)
		}
	}
	sorted := len(lost) == 0
	s.adopt(lost)
	for n, l := range s.shards {
		idle := len(l.sharded) == 0 && len(l.changes) == 0 && !l.applying
		if idle && err == nil && (!l.up || !slices.Contains(masters, n)) {
			l.abandon()
			delete(s.shards, n)
		}
	}
	s.note(nil)
	s.mu.Unlock()
	s.flush()
	return sorted
}
