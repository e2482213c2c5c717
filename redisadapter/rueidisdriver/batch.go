package rueidisdriver

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/rueidis"

	"github.com/sockeye-io/sockeye/redisadapter"
)

// batch is a list of commands that go out together.
type batch struct {
	n     int
	build func(b rueidis.Builder, i int) rueidis.Completed // makes the command with that index, again for each attempt
	take  func(i int, r rueidis.RedisResult) error         // reads its reply; nil where only errors matter
}

// run sends the batch in one pipeline. It returns nil, or an error or nil for each command.
func (d *driver) run(ctx context.Context, b batch) []error {
	client, err := d.use()
	if err != nil {
		return all(b.n, fmt.Errorf("%w: %w", redisadapter.ErrNotSent, err))
	}
	commands := make([]rueidis.Completed, b.n)
	for i := range commands {
		commands[i] = b.build(client.B(), i)
	}
	var errs []error
	for i, r := range client.DoMulti(ctx, commands...) {
		err := r.Error()
		if err == nil && b.take != nil {
			err = b.take(i, r)
		}
		if err == nil {
			continue
		}
		if errs == nil {
			errs = make([]error, b.n)
		}
		errs[i] = d.fail(unsent(err))
	}
	return errs
}

// unsent wraps ErrNotSent around an error that says that Redis has not got a message, or does not take it for now.
func unsent(err error) error {
	if undialed := (*dialError)(nil); errors.As(err, &undialed) {
		return fmt.Errorf("%w: %w", redisadapter.ErrNotSent, err)
	}
	if passing(refusal(err)) {
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

// passing tells whether an error reply is about the state of Redis, which may be another one soon, and not about the
// command.
func passing(reply string) bool {
	code, _, _ := strings.Cut(reply, " ")
	switch code {
	case "NOREPLICAS", "LOADING", "MASTERDOWN", "READONLY", "CLUSTERDOWN", "TRYAGAIN", "MISCONF", "OOM", "BUSY":
		return true
	}
	return false
}

func all(n int, err error) []error {
	errs := make([]error, n)
	for i := range errs {
		errs[i] = err
	}
	return errs
}
