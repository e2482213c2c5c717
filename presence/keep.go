package presence

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/sockeye-io/sockeye"
)

const (
	callTime   = 5 * time.Second // for one round of the store
	retireTime = 2 * time.Second
	retryTime  = time.Second // after a round that has failed

	// eventName is what servers tell each other of changes by.
	eventName = "sockeye:presence"
	perEvent  = 200 // changes
)

// told is a change as servers tell it to each other.
type told struct {
	Change
	Version int64 `json:"v"`
}

// keep tells the store what changes on this server, and that it is there. It ends when ctx does.
func (p *Presence) keep(ctx context.Context) {
	due, refresh := time.NewTimer(time.Hour), time.NewTimer(0)
	defer due.Stop()
	defer refresh.Stop()
	every, doubt := p.store.every(), false
	if every == 0 {
		refresh.Stop()
	}
	soon := false // a refresh comes soon
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		case <-due.C:
		case <-refresh.C:
			err := p.refresh(ctx, doubt)
			if doubt, soon = err != nil, err != nil; soon {
				p.failed(ctx, err)
				refresh.Reset(min(every, retryTime))
			} else {
				refresh.Reset(every)
			}
		}
		next, err := p.flush(ctx)
		if err != nil {
			p.failed(ctx, err)
			doubt = true // what the store has is not what it was told, perhaps
			if !soon {
				soon = true
				refresh.Reset(min(every, retryTime))
			}
		}
		if !next.IsZero() {
			due.Reset(time.Until(next))
		}
	}
}

func (p *Presence) failed(ctx context.Context, err error) {
	if ctx.Err() == nil {
		p.fault(fmt.Errorf("presence: %w", err))
	}
}

func (p *Presence) refresh(ctx context.Context, compare bool) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	changes, err := p.store.refresh(ctx, p.local, compare)
	p.tell(ctx, changes)
	return err
}

// flush tells the store what has changed, and gives when there will be more to tell.
func (p *Presence) flush(ctx context.Context) (time.Time, error) {
	joins, leaves, next := p.local.take(time.Now(), p.o.Grace)
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	if len(joins) > 0 {
		changes, err := p.store.join(ctx, joins)
		p.tell(ctx, changes)
		if err != nil {
			return next, err
		}
	}
	if len(leaves) > 0 {
		changes, err := p.store.leave(ctx, leaves)
		p.tell(ctx, changes)
		if err != nil {
			return next, err
		}
	}
	return next, nil
}

// tell tells the watchers of all servers.
func (p *Presence) tell(ctx context.Context, changes []verdict) {
	if len(changes) == 0 {
		return
	}
	list := make([]told, len(changes))
	for i, c := range changes {
		list[i] = told{c.Change, c.version}
	}
	p.publish(list)
	for part := range slices.Chunk(list, perEvent) {
		if err := p.ns.ServerSideEmit(ctx, eventName, part); err != nil {
			p.failed(ctx, fmt.Errorf("the other servers are not told of changes: %w", err))
			return
		}
	}
}

func (p *Presence) publish(list []told) {
	if dropped := p.news.add(list); dropped > 0 {
		p.fault(fmt.Errorf("presence: watchers are too slow: %d changes dropped", dropped))
	}
}

// heard takes what another server tells.
func (p *Presence) heard(_ context.Context, m *sockeye.Message) error {
	var list []told
	if err := m.Scan(&list); err != nil {
		return fmt.Errorf("presence: changes that another server tells: %w", err)
	}
	p.publish(list)
	return nil
}
