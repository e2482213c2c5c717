package presence

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

const (
	maxNews = 65_536 // changes that wait for watchers
	maxSeen = 65_536 // users whose last change is remembered, twice
)

// news hands changes to watchers. Of a user in a place an older change than the last one is left out: servers tell of
// changes on different ways.
type news struct {
	wake  chan struct{} // holds one token when there is something
	fault func(error)

	mu           sync.Mutex
	watchers     []*func(Change)
	waiting      []Change
	seen, before map[subject]int64 // versions; before is what seen was, and goes when that is full
}

// subject is what a change is about.
type subject struct{ room, user string }

func newNews(fault func(error)) *news {
	return &news{wake: make(chan struct{}, 1), fault: fault, seen: map[subject]int64{}}
}

func (n *news) watch(f func(Change)) (off func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.watchers = append(slices.Clone(n.watchers), &f)
	return func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.watchers = slices.DeleteFunc(slices.Clone(n.watchers), func(g *func(Change)) bool { return g == &f })
	}
}

// add takes changes and gives how many had no room.
func (n *news) add(list []told) (dropped int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range list {
		s := subject{c.Room, c.User.ID}
		last, there := n.seen[s]
		if !there {
			last = n.before[s]
		}
		if c.Version < last {
			continue
		}
		if !there && len(n.seen) >= maxSeen {
			n.seen, n.before = map[subject]int64{}, n.seen
		}
		n.seen[s] = c.Version
		switch {
		case len(n.watchers) == 0:
		case len(n.waiting) >= maxNews:
			dropped++
		default:
			n.waiting = append(n.waiting, c.Change)
		}
	}
	select {
	case n.wake <- struct{}{}:
	default:
	}
	return dropped
}

// run hands out changes. It ends when ctx does.
func (n *news) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.wake:
		}
		n.mu.Lock()
		list, watchers := n.waiting, n.watchers
		n.waiting = nil
		n.mu.Unlock()
		for _, c := range list {
			for _, f := range watchers {
				n.tell(*f, c)
			}
		}
	}
}

func (n *news) tell(f func(Change), c Change) {
	defer func() {
		if v := recover(); v != nil {
			n.fault(fmt.Errorf("presence: panic in a watcher: %v", v))
		}
	}()
	f(c)
}
