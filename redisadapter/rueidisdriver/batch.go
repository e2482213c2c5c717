package rueidisdriver

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/rueidis"

	"github.com/sockeye-io/sockeye/internal/redisproto"
	"github.com/sockeye-io/sockeye/redisadapter"
)

// batch is a list of commands that go out together.
type batch struct {
	n     int
	key   func(i int) (key string, ok bool)                // what the command is about; nil, or !ok, where nodes do not matter
	build func(b rueidis.Builder, i int) rueidis.Completed // makes the command with that index, again for each attempt
	take  func(i int, r rueidis.RedisResult) error         // reads its reply; nil where only errors matter
}

// run sends the batch, in one pipeline to each node. It returns nil, or an error or nil for each command.
func (d *Driver) run(ctx context.Context, b batch) []error {
	if d.cluster != nil {
		return d.cluster.run(ctx, b)
	}
	errs := d.publisher.send(ctx, b, nil, nil)
	for i, err := range errs {
		if err != nil {
			errs[i] = d.publisher.fail(unsent(err))
		}
	}
	return errs
}

// send sends those commands of a batch, all where only is nil, each after an ASKING where asking says so. It returns
// nil, or an error or nil for each command that was sent.
func (n *node) send(ctx context.Context, b batch, only []int, asking func(i int) bool) []error {
	count := b.n
	if only != nil {
		count = len(only)
	}
	if err := n.ready(ctx); err != nil {
		return all(count, &dialError{err})
	}
	client, err := n.client()
	if err != nil {
		return all(count, &dialError{err})
	}
	commands := make([]rueidis.Completed, 0, count)
	builder := client.B()
	for k := range count {
		i := k
		if only != nil {
			i = only[k]
		}
		if asking != nil && asking(i) {
			commands = append(commands, builder.Asking().Build())
		}
		commands = append(commands, b.build(builder, i))
	}
	var errs []error
	results := client.DoMulti(ctx, commands...)
	for k, at := 0, 0; k < count; k, at = k+1, at+1 {
		i := k
		if only != nil {
			i = only[k]
		}
		if asking != nil && asking(i) {
			at++
		}
		err := results[at].Error()
		if rueidis.IsRedisNil(err) {
			err = nil
		}
		if err == nil && b.take != nil {
			err = b.take(i, results[at])
		}
		if err == nil {
			continue
		}
		if errs == nil {
			errs = make([]error, count)
		}
		errs[k] = err
	}
	return errs
}

// ask sends a command that changes nothing, twice where the connection is found to be lost.
func (d *Driver) ask(
	ctx context.Context, key string, build func(rueidis.Builder) rueidis.Completed, take func(rueidis.RedisResult) error,
) error {
	var err error
	for range 2 {
		errs := d.run(ctx, batch{
			n:     1,
			key:   func(int) (string, bool) { return key, true },
			build: func(b rueidis.Builder, _ int) rueidis.Completed { return build(b) },
			take:  func(_ int, r rueidis.RedisResult) error { return take(r) },
		})
		if errs == nil {
			return nil
		}
		if err = errs[0]; refusal(err) != "" || ctx.Err() != nil {
			break
		}
	}
	return err
}

// unsent wraps ErrNotSent around an error that says that Redis has not got a message, or does not take it for now.
func unsent(err error) error {
	undialed := (*dialError)(nil)
	reply := refusal(err)
	if errors.As(err, &undialed) || reply != "" && (redisproto.Passing(reply) || redisproto.Redirected(reply)) {
		return fmt.Errorf("%w: %w", redisadapter.ErrNotSent, err)
	}
	return err
}

// refusal gives the error reply of Redis that an error is, or "".
func refusal(err error) string {
	if reply := (*rueidis.RedisError)(nil); errors.As(err, &reply) && !reply.IsNil() {
		return reply.Error()
	}
	return ""
}

func all(n int, err error) []error {
	errs := make([]error, n)
	for i := range errs {
		errs[i] = err
	}
	return errs
}
