package rueidisdriver

import (
	"fmt"
	"slices"

	"github.com/redis/rueidis"

	"github.com/sockeye-io/sockeye/internal/redisproto"
	"github.com/sockeye-io/sockeye/redisadapter"
)

// change is what a connection must still be told.
type change struct {
	topics  redisadapter.Topics
	remove  bool
	waiters []*waiter
	sharded map[string][]*waiter // those who wait for one channel
}

// answer tells those who wait, but for the channels that were refused.
func (c *change) answer(err error, refused []string) {
	tell(c.waiters, err)
	for channel, ws := range c.sharded {
		if !slices.Contains(refused, channel) {
			tell(ws, err)
		}
	}
}

func answer(changes []change, err error, refused []string) {
	for i := range changes {
		changes[i].answer(err, refused)
	}
}

// begin subscribes to everything.
func (l *link) begin(n *node, c rueidis.DedicatedClient) error {
	s := l.s
	s.mu.Lock()
	l.at = n
	l.taking = true
	changes := l.changes
	l.changes = nil
	clear(l.leaving)
	var t redisadapter.Topics
	for ch := range l.channels {
		t.Channels = append(t.Channels, ch)
	}
	for p := range l.patterns {
		t.Patterns = append(t.Patterns, p)
	}
	for ch := range l.sharded {
		t.Sharded = append(t.Sharded, ch)
	}
	s.mu.Unlock()
	refused, err := l.subscribe(c, t)
	s.mu.Lock()
	if err == nil {
		l.up, l.failed = true, false
		l.confirm(t.Sharded, changes, refused)
		if l.lost {
			l.lost = false
			s.down--
		}
		s.note(nil)
	}
	s.mu.Unlock()
	answer(changes, err, refused)
	s.flush()
	return err
}

// confirm notes what is subscribed here and what was refused. s.mu is held.
func (l *link) confirm(channels []string, changes []change, refused []string) {
	s := l.s
	if s.d.cluster == nil {
		return
	}
	for _, ch := range changes {
		for _, channel := range refused {
			if ws := ch.sharded[channel]; len(ws) > 0 {
				if _, there := s.sharded[channel]; there {
					s.waiting[channel] = append(s.waiting[channel], ws...)
				} else {
					tell(ws, redisadapter.ErrUnavailable) // removed meanwhile
				}
			}
		}
	}
	if len(refused) > 0 {
		s.stray(l, refused)
		s.kick()
	}
	for _, channel := range channels {
		if _, there := l.sharded[channel]; there {
			l.sharded[channel] = true
			delete(s.missing, channel)
		}
	}
}

// apply tells the connection of all changes.
func (l *link) apply(c rueidis.DedicatedClient) error {
	s := l.s
	s.mu.Lock()
	changes := l.changes
	l.changes = nil
	l.applying = true
	s.mu.Unlock()
	var err error
	for len(changes) > 0 {
		n := alike(changes)
		if err == nil {
			err = l.tell(c, changes[:n])
		} else {
			answer(changes[:n], err, nil)
		}
		changes = changes[n:]
	}
	s.mu.Lock()
	l.applying = false
	s.mu.Unlock()
	return err
}

// alike counts the changes at the beginning that can be told together: all add, or all remove.
func alike(changes []change) int {
	n := 1
	for n < len(changes) && changes[n].remove == changes[0].remove {
		n++
	}
	return n
}

// tell tells the connection of changes that are alike. It returns an error where the connection is of no use any more.
func (l *link) tell(c rueidis.DedicatedClient, changes []change) error {
	s := l.s
	var t redisadapter.Topics
	for _, ch := range changes {
		t.Channels = append(t.Channels, ch.topics.Channels...)
		t.Patterns = append(t.Patterns, ch.topics.Patterns...)
		t.Sharded = append(t.Sharded, ch.topics.Sharded...)
	}
	if changes[0].remove {
		refused, err := l.unsubscribe(c, t)
		s.mu.Lock()
		for _, channel := range refused {
			l.gone(channel)
		}
		s.mu.Unlock()
		answer(changes, err, nil)
		return err
	}
	refused, err := l.subscribe(c, t)
	if len(changes) > 1 && forbidden(err) { // which one?
		for i := range changes {
			if err = l.tell(c, changes[i:i+1]); err != nil {
				answer(changes[i+1:], err, nil)
				return err
			}
		}
		return nil
	}
	s.mu.Lock()
	switch {
	case err == nil:
		l.confirm(t.Sharded, changes, refused)
	case forbidden(err):
		l.forget(t)
	}
	s.note(nil)
	s.mu.Unlock()
	s.flush()
	if err != nil {
		err = l.at.fail(err)
	}
	if forbidden(err) {
		answer(changes, fmt.Errorf("%w: %w", redisadapter.ErrForbidden, err), refused)
		return nil
	}
	answer(changes, err, refused)
	return err
}

// forbidden tells whether Redis will never take a subscription.
func forbidden(err error) bool {
	reply := refusal(err)
	return reply != "" && !redisproto.Passing(reply)
}

// forget forgets topics that Redis does not take, so that the others are not lost with them. s.mu is held.
func (l *link) forget(t redisadapter.Topics) {
	for _, ch := range t.Channels {
		delete(l.channels, ch)
	}
	for _, p := range t.Patterns {
		delete(l.patterns, p)
	}
	for _, ch := range t.Sharded {
		delete(l.sharded, ch)
		if l.s.sharded[ch] == l {
			delete(l.s.sharded, ch)
			delete(l.s.missing, ch)
		}
	}
}

// gone tells whether a channel was to be unsubscribed, and that it is. s.mu is held.
func (l *link) gone(channel string) bool {
	n := l.leaving[channel]
	if n > 1 {
		l.leaving[channel] = n - 1
	} else {
		delete(l.leaving, channel)
	}
	return n > 0
}
