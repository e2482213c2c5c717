package rueidisdriver

import (
	"context"
	"slices"
	"strings"

	"github.com/redis/rueidis"

	"github.com/sockeye-io/sockeye/redisadapter"
)

// Publish sends the batch in one pipeline, in a Redis Cluster one for each master.
func (d *Driver) Publish(ctx context.Context, messages []redisadapter.Publication) []error {
	return d.run(ctx, batch{
		n:   len(messages),
		key: func(i int) (string, bool) { return messages[i].Channel, messages[i].Sharded },
		build: func(b rueidis.Builder, i int) rueidis.Completed {
			m := &messages[i]
			// The payload does not change and is only read.
			payload := rueidis.BinaryString(m.Payload)
			if m.Sharded {
				return b.Spublish().Channel(m.Channel).Message(payload).Build()
			}
			return b.Publish().Channel(m.Channel).Message(payload).Build()
		},
	})
}

// Subscribers sends a PUBSUB NUMSUB.
func (d *Driver) Subscribers(ctx context.Context, channel string) (int, error) {
	return d.count(ctx, channel, func(b rueidis.Builder) rueidis.Completed {
		return b.PubsubNumsub().Channel(channel).Build()
	})
}

// ShardSubscribers sends a PUBSUB SHARDNUMSUB.
func (d *Driver) ShardSubscribers(ctx context.Context, channel string) (int, error) {
	return d.count(ctx, channel, func(b rueidis.Builder) rueidis.Completed {
		return b.PubsubShardnumsub().Channel(channel).Build()
	})
}

// count adds up what the nodes say that may have subscribers.
func (d *Driver) count(
	ctx context.Context, channel string, build func(rueidis.Builder) rueidis.Completed,
) (sum int, err error) {
	if d.cluster == nil {
		nodes := []*node{d.publisher}
		if d.publisher != d.listener && !d.same(ctx) {
			nodes = append(nodes, d.listener)
		}
		return add(ctx, nodes, channel, build)
	}
	for range 2 { // one may be no master any more
		seen := d.cluster.seen()
		masters, err1 := d.cluster.all(ctx)
		if err1 != nil {
			return 0, err1
		}
		sum, err = add(ctx, masters, channel, build)
		if err == nil || ctx.Err() != nil || d.cluster.learn(ctx, nil, seen) != nil {
			break
		}
	}
	return sum, err
}

func add(
	ctx context.Context, nodes []*node, channel string, build func(rueidis.Builder) rueidis.Completed,
) (sum int, err error) {
	counts := make([]int64, len(nodes))
	err = together(nodes, func(i int, n *node) error {
		return n.ask(ctx, build, func(r rueidis.RedisResult) error {
			m, err := r.AsIntMap()
			counts[i] = m[channel]
			return err
		})
	})
	if err != nil {
		return 0, err
	}
	for _, c := range counts {
		sum += int(c)
	}
	return sum, nil
}

// ask sends a command that changes nothing, twice where the connection is found to be lost.
func (n *node) ask(
	ctx context.Context, build func(rueidis.Builder) rueidis.Completed, take func(rueidis.RedisResult) error,
) error {
	var err error
	for range 2 {
		errs := n.send(ctx, batch{
			n:     1,
			build: func(b rueidis.Builder, _ int) rueidis.Completed { return build(b) },
			take:  func(_ int, r rueidis.RedisResult) error { return take(r) },
		}, nil, nil)
		if errs == nil {
			return nil
		}
		if err = errs[0]; refusal(err) != "" || ctx.Err() != nil {
			break
		}
	}
	return n.fail(err)
}

// together calls f for all nodes, at least one, at once and returns the first error.
func together(nodes []*node, f func(i int, n *node) error) error {
	errs := make([]error, len(nodes))
	done := make(chan struct{}, len(nodes))
	for i, n := range nodes[1:] {
		go one(f, i+1, n, errs, done)
	}
	one(f, 0, nodes[0], errs, done)
	for range nodes {
		<-done
	}
	if i := slices.IndexFunc(errs, func(err error) bool { return err != nil }); i >= 0 {
		return errs[i]
	}
	return nil
}

// one ends when f returns.
func one(f func(int, *node) error, i int, n *node, errs []error, done chan<- struct{}) {
	errs[i] = f(i, n)
	done <- struct{}{}
}

// same tells whether publisher and listener are the same Redis, whose subscribers are not to be counted twice. Where
// Redis does not say, they are not.
func (d *Driver) same(ctx context.Context) bool {
	d.mu.Lock()
	known := d.twins
	d.mu.Unlock()
	if known != nil {
		return *known
	}
	ids := make([]string, 2)
	err := together([]*node{d.publisher, d.listener}, func(i int, n *node) error {
		return n.ask(ctx, func(b rueidis.Builder) rueidis.Completed { return b.Info().Section("server").Build() },
			func(r rueidis.RedisResult) (err error) {
				ids[i], err = r.ToString()
				return err
			})
	})
	if err != nil && refusal(err) == "" {
		return false // it is asked again
	}
	same := err == nil && runID(ids[0]) != "" && runID(ids[0]) == runID(ids[1])
	d.mu.Lock()
	defer d.mu.Unlock()
	d.twins = &same
	return same
}

func runID(info string) string {
	_, rest, _ := strings.Cut(info, "run_id:")
	id, _, _ := strings.Cut(rest, "\r\n")
	return id
}
