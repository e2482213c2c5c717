package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sockeye-io/sockeye/client"
	"github.com/sockeye-io/sockeye/emitter"
)

// redisOnly are the flags of "emit" that have no place where a client sends.
var redisOnly = []string{
	"redis", "redis-sub", "redis-mode", "redis-prefix", "redis-subscriptions", "redis-stream-count", "room", "except",
}

// oneWay refuses flags of both ways to send.
func oneWay(c *cobra.Command, o *target) error {
	if !c.Flag("url").Changed {
		for _, name := range dialFlagNames {
			if c.Flag(name).Changed {
				return usagef("--%s says how to connect to a server: it needs --url", name)
			}
		}
		return nil
	}
	for _, name := range redisOnly {
		if c.Flag(name).Changed {
			return usagef("--%s is for a cluster: it cannot be with --url", name)
		}
	}
	return o.check()
}

// emission is an event that a client sends.
type emission struct {
	event         string
	args          []any
	ack, volatile bool
}

// send connects, sends, and waits until it is out or acknowledged.
func (e emission) send(ctx context.Context, in invocation, d destination) error {
	if e.ack && e.volatile {
		return usagef("--ack and --volatile exclude each other")
	}
	d.config.Reconnect.Disabled = true
	ctx, cancel := context.WithTimeout(ctx, d.config.Timeout)
	defer cancel()
	s, err := client.Dial(ctx, d.url, d.config)
	if err != nil {
		return d.explain(err)
	}
	defer func() { _ = s.Close() }() // always nil; what is queued is sent
	switch {
	case e.ack:
		r, err := s.EmitWithAck(ctx, e.event, e.args...)
		if err != nil {
			return noAck(err, d)
		}
		return printReplies(in, emitter.Replies{r})
	case e.volatile:
		return s.Volatile().Emit(e.event, e.args...)
	}
	if err := s.EmitContext(ctx, e.event, e.args...); err != nil {
		return fmt.Errorf("not sent: %s", reasonOf(err))
	}
	return nil
}

// noAck says why there is no acknowledgement.
func noAck(err error, d destination) error {
	if reason, ok := errors.AsType[client.Reason](err); ok {
		return fmt.Errorf("%s has not acknowledged: disconnected (%s)", d.host, string(reason))
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s has not acknowledged within %s", d.host, d.config.Timeout)
	}
	return fmt.Errorf("not acknowledged: %s", reasonOf(err))
}
