package rueidisdriver

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/rueidis"

	"github.com/sockeye-io/sockeye/internal/redisproto"
	"github.com/sockeye-io/sockeye/redisadapter"
)

var (
	_ redisadapter.Commander = (*Driver)(nil)

	errNoCommand = errors.New("rueidisdriver: an empty command")
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
	for i := range commands {
		if len(commands[i].Args) == 0 {
			return nil, all(len(commands), fmt.Errorf("%w: %w", redisadapter.ErrNotSent, errNoCommand))
		}
	}
	replies = make([]any, len(commands))
	errs = d.run(ctx, batch{
		n:   len(commands),
		key: func(i int) (string, bool) { return commands[i].Key, commands[i].Key != "" },
		build: func(b rueidis.Builder, i int) rueidis.Completed {
			return b.Arbitrary(commands[i].Args...).Build()
		},
		take: func(i int, r rueidis.RedisResult) error {
			m, err := r.ToMessage()
			if rueidis.IsRedisNil(err) {
				return nil
			}
			if err == nil {
				replies[i], err = plain(m)
			}
			return err
		},
	})
	return replies, errs
}

// plain turns a reply into what a Commander gives.
func plain(m rueidis.RedisMessage) (any, error) {
	switch {
	case m.IsNil():
		return nil, nil //nolint:nilnil // the reply is nil
	case m.IsInt64():
		return m.AsInt64()
	case m.IsBool():
		ok, err := m.AsBool()
		if ok {
			return int64(1), err
		}
		return int64(0), err
	case m.IsFloat64():
		f, err := m.AsFloat64()
		return redisproto.Number(f), err
	case m.IsMap():
		list, err := m.AsMap()
		if err != nil {
			return nil, err
		}
		flat := make([]any, 0, 2*len(list))
		for name := range list {
			value, err := plain(list[name])
			if err != nil {
				return nil, err
			}
			flat = append(flat, name, value)
		}
		return flat, nil
	case m.IsArray():
		list, err := m.ToArray()
		if err != nil {
			return nil, err
		}
		flat := make([]any, len(list))
		for i := range list {
			if flat[i], err = plain(list[i]); err != nil {
				return nil, err
			}
		}
		return flat, nil
	default:
		return m.ToString()
	}
}
