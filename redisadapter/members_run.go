package redisadapter

import (
	"context"
	"errors"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/sockeye-io/sockeye/internal/rediswire"
)

const (
	mergeDelay   = 10 * time.Millisecond // within which what is told becomes one message; up to twice that
	maxAnnounced = 256                   // namespaces in one message
	maxClosed    = 1 << 13               // closed namespaces that wait to be told; who misses some asks again
	tellLimit    = time.Second           // for Redis to take what is told
)

func newNews() news {
	return news{
		open: map[string]struct{}{}, behind: map[*peer]struct{}{},
		asked: map[*peer]map[string]struct{}{}, all: map[*peer]struct{}{},
	}
}

func (n *news) empty() bool {
	return len(n.open) == 0 && len(n.closed) == 0 && len(n.behind) == 0 && len(n.asked) == 0
}

func (n *news) forget(p *peer) {
	delete(n.behind, p)
	delete(n.asked, p)
	delete(n.all, p)
}

func (m *members) signal() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// start starts the goroutine that tells the others, which close ends.
func (m *members) start() {
	ctx, cancel := context.WithCancel(context.Background())
	m.cancel = cancel
	go m.run(ctx)
}

// close tells the others that this server ends, if Redis is there, and waits for the goroutine.
func (m *members) close(told bool) {
	if m.cancel == nil {
		return
	}
	m.cancel()
	<-m.ended
	if told {
		_ = m.publish(context.Background(), []note{{m.channels.Common, rediswire.Control{Kind: rediswire.ControlLeave}}})
	}
}

// run tells the heartbeat, and what is new shortly after it is. It ends when members is closed.
func (m *members) run(ctx context.Context) {
	defer close(m.ended)
	beat := time.NewTicker(beatInterval)
	defer beat.Stop()
	merged := time.NewTimer(time.Hour)
	merged.Stop()
	defer merged.Stop()
	waiting := false
	m.tell(ctx, true)
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.wake:
			if !waiting && m.hasNews() {
				waiting = true
				merged.Reset(mergeDelay + rand.N(mergeDelay))
			}
		case <-merged.C:
			waiting = false
			m.tell(ctx, false)
		case <-beat.C:
			m.tell(ctx, true)
		}
	}
}

func (m *members) hasNews() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.news.empty()
}

// note is a message for one of the channels.
type note struct {
	channel string
	c       rediswire.Control
}

// tell publishes what is new, and with beat the heartbeat. What Redis does not take is dropped; the number of the last
// change then tells the others that they missed something.
func (m *members) tell(ctx context.Context, beat bool) {
	notes := m.take(beat)
	if len(notes) == 0 {
		return
	}
	if err := m.publish(ctx, notes); err != nil && (len(notes) > 1 || !beat) {
		m.mu.Lock()
		m.serial++
		m.mu.Unlock()
	}
}

func (m *members) publish(ctx context.Context, notes []note) error {
	ctx, cancel := context.WithTimeout(ctx, tellLimit)
	defer cancel()
	var failed error
	for part := range slices.Chunk(notes, maxBatch) {
		batch := make([]Publication, 0, len(part))
		for i := range part {
			part[i].c.Server = m.id
			batch = append(batch, m.b.publication(part[i].channel, rediswire.AppendControl(nil, &part[i].c)))
		}
		failed = errors.Join(failed, errors.Join(m.b.d.Publish(ctx, batch)...))
	}
	return failed
}

// take takes what is to be told.
func (m *members) take(beat bool) []note {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.news
	m.news = newNews()
	var notes []note
	add := func(channel string, c rediswire.Control) { notes = append(notes, note{channel, c}) }
	change := func(k rediswire.ControlKind, list []rediswire.ControlMember) {
		for part := range slices.Chunk(list, maxAnnounced) {
			m.serial++
			add(m.channels.Common, rediswire.Control{Kind: k, Serial: m.serial, Members: part})
		}
	}
	change(rediswire.ControlBye, n.closed)
	change(rediswire.ControlHello, m.described(maps.Keys(n.open), false))
	direct := func(p *peer, k rediswire.ControlKind, all bool, list []rediswire.ControlMember) {
		c := rediswire.Control{Kind: k, Serial: m.serial, All: all}
		if len(list) == 0 {
			add(m.channels.OwnOf(p.id), c)
		}
		for part := range slices.Chunk(list, maxAnnounced) {
			c.Members = part
			add(m.channels.OwnOf(p.id), c)
		}
	}
	if len(n.behind) > 0 {
		everything := m.described(maps.Keys(m.own), false)
		for p := range n.behind {
			direct(p, rediswire.ControlHello, true, everything)
		}
	}
	for p, names := range n.asked {
		_, all := n.all[p]
		direct(p, rediswire.ControlHere, all, m.described(maps.Keys(names), all))
	}
	if beat {
		m.sent++
		add(m.channels.Common, rediswire.Control{Kind: rediswire.ControlAlive, Serial: m.serial})
	}
	return notes
}

// described gives the namespaces of these names that are open, and with absent those that are not too.
func (m *members) described(names iter.Seq[string], absent bool) []rediswire.ControlMember {
	var list []rediswire.ControlMember
	for name := range names {
		x := rediswire.ControlMember{Namespace: name}
		if s := m.own[name]; s != nil {
			x.UID = s.uid
		} else if !absent {
			continue
		}
		list = append(list, x)
	}
	return list
}
