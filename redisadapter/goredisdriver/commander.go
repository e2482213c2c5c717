package goredisdriver

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/internal/redisproto"
	"github.com/sockeye-io/sockeye/redisadapter"
)

var (
	_ redisadapter.Commander = (*Driver)(nil)

	errNoCommand = errors.New("goredisdriver: an empty command")
)

// Do runs one command.
func (d *Driver) Do(ctx context.Context, key string, command ...string) (any, error) {
	replies, errs := d.DoAll(ctx, []redisadapter.Command{{Key: key, Args: command}})
	if errs != nil {
		return nil, errs[0]
	}
	return replies[0], nil
}

// DoAll runs several commands.
func (d *Driver) DoAll(ctx context.Context, commands []redisadapter.Command) (replies []any, errs []error) {
	b := batch{cmds: make([]redis.Cmder, len(commands)), keys: make([]string, len(commands))}
	cmds := make([]*redis.Cmd, len(commands))
	for i, c := range commands {
		if len(c.Args) == 0 {
			return nil, all(len(commands), notSent(errNoCommand))
		}
		args := make([]any, len(c.Args))
		for j := range c.Args {
			args[j] = c.Args[j]
		}
		cmds[i] = redis.NewCmd(ctx, args...)
		b.cmds[i], b.keys[i] = cmds[i], c.Key
	}
	errs = d.run(ctx, &b)
	failed := false
	replies = make([]any, len(commands))
	for i, cmd := range cmds {
		var err error
		if errs != nil && !errors.Is(errs[i], redis.Nil) {
			err = errs[i]
		}
		if err == nil {
			replies[i], err = plain(cmd.Val())
		}
		if errs != nil {
			errs[i] = err
		} else if err != nil {
			errs = make([]error, len(commands))
			errs[i] = err
		}
		failed = failed || err != nil
	}
	if !failed {
		errs = nil
	}
	return replies, errs
}

// plain turns a reply into what a Commander gives.
func plain(reply any) (any, error) {
	switch v := reply.(type) {
	case nil, string, int64:
		return v, nil
	case bool:
		if v {
			return int64(1), nil
		}
		return int64(0), nil
	case float64:
		return redisproto.Number(v), nil
	case error:
		return nil, v
	case fmt.Stringer: // a big number
		return v.String(), nil
	case []any:
		flat := make([]any, len(v))
		for i := range v {
			var err error
			if flat[i], err = plain(v[i]); err != nil {
				return nil, err
			}
		}
		return flat, nil
	case map[any]any:
		flat := make([]any, 0, 2*len(v))
		for name, value := range v {
			n, err := plain(name)
			if err != nil {
				return nil, err
			}
			p, err := plain(value)
			if err != nil {
				return nil, err
			}
			flat = append(flat, n, p)
		}
		return flat, nil
	default:
		return nil, fmt.Errorf("%w: %T", errReply, reply)
	}
}
