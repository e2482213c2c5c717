package rueidisdriver

import (
	"context"
	"slices"

	"github.com/redis/rueidis"

	"github.com/sockeye-io/sockeye/internal/redisproto"
	"github.com/sockeye-io/sockeye/redisadapter"
)

// subscriber gives the node where channels and patterns are subscribed.
func (d *Driver) subscriber(ctx context.Context) (*node, error) {
	if d.cluster == nil {
		return d.listener, nil
	}
	return d.cluster.home(ctx)
}

// subscribe subscribes to topics. In a Redis Cluster, refused are the Sharded channels whose slots are elsewhere.
func (l *link) subscribe(c rueidis.DedicatedClient, t redisadapter.Topics) (refused []string, err error) {
	for list := range slices.Chunk(t.Patterns, chunk) {
		if err := l.do(c, c.B().Psubscribe().Pattern(list...).Build()); err != nil {
			return nil, err
		}
	}
	for list := range slices.Chunk(t.Channels, chunk) {
		if err := l.do(c, c.B().Subscribe().Channel(list...).Build()); err != nil {
			return nil, err
		}
	}
	groups := l.bySlot(t.Sharded)
	for some := range slices.Chunk(groups, chunk) {
		commands := make([]rueidis.Completed, len(some))
		for i, list := range some {
			commands[i] = c.B().Ssubscribe().Channel(list...).Build()
		}
		errs, err := l.doMulti(c, commands)
		if err != nil {
			return nil, err
		}
		for i, err := range errs {
			if err == nil {
				continue
			}
			if l.s.d.cluster == nil || !l.elsewhere(redisproto.Slot(some[i][0]), err) {
				return nil, err
			}
			refused = append(refused, some[i]...)
		}
	}
	return refused, nil
}

// elsewhere tells whether an error says that another node has a slot, or soon will.
func (l *link) elsewhere(slot int, err error) bool {
	if next, _ := l.s.d.cluster.follow(l.node, slot, err); next != nil {
		l.s.mu.Lock()
		l.s.fresh = true
		l.s.mu.Unlock()
		return true
	}
	return redisproto.Passing(refusal(err))
}

// unsubscribe unsubscribes from topics. refused are the Sharded channels whose slots are elsewhere, which is as good.
func (l *link) unsubscribe(c rueidis.DedicatedClient, t redisadapter.Topics) (refused []string, err error) {
	for list := range slices.Chunk(t.Patterns, chunk) {
		if err := l.do(c, c.B().Punsubscribe().Pattern(list...).Build()); err != nil {
			return nil, err
		}
	}
	for list := range slices.Chunk(t.Channels, chunk) {
		if err := l.do(c, c.B().Unsubscribe().Channel(list...).Build()); err != nil {
			return nil, err
		}
	}
	groups := l.bySlot(t.Sharded)
	for some := range slices.Chunk(groups, chunk) {
		commands := make([]rueidis.Completed, len(some))
		for i, list := range some {
			commands[i] = c.B().Sunsubscribe().Channel(list...).Build()
		}
		errs, err := l.doMulti(c, commands)
		if err != nil {
			return nil, err
		}
		for i, err := range errs {
			if err != nil {
				refused = append(refused, some[i]...)
			}
		}
	}
	return refused, nil
}

// bySlot groups channels for one command each: by slot in a Redis Cluster, in chunks elsewhere.
func (l *link) bySlot(channels []string) [][]string {
	if l.s.d.cluster == nil {
		return slices.Collect(slices.Chunk(channels, chunk))
	}
	at := map[int]int{}
	var groups [][]string
	for _, channel := range channels {
		slot := redisproto.Slot(channel)
		i, there := at[slot]
		if !there || len(groups[i]) >= chunk {
			i = len(groups)
			at[slot] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], channel)
	}
	return groups
}

func (l *link) do(c rueidis.DedicatedClient, command rueidis.Completed) error {
	return l.guard(func(ctx context.Context) error { return c.Do(ctx, command).Error() })
}

// doMulti gives the error replies, and an error when there are none.
func (l *link) doMulti(c rueidis.DedicatedClient, commands []rueidis.Completed) (errs []error, err error) {
	errs = make([]error, len(commands))
	err = l.guard(func(ctx context.Context) error {
		for i, r := range c.DoMulti(ctx, commands...) {
			if errs[i] = r.Error(); errs[i] != nil && refusal(errs[i]) == "" {
				return errs[i]
			}
		}
		return nil
	})
	return errs, err
}
