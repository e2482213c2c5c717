package redistest

import (
	"errors"
	"reflect"
	"testing"

	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/redisadapter"
)

// commands checks a Commander: replies of all kinds, each error at its command, and nothing that is sent twice.
func commands(t *testing.T, open Open) {
	redis := testkit.StartRedis(t)
	d, ok := open(t, redis.Addr).(redisadapter.Commander)
	if !ok {
		t.Fatal("the driver is no Commander")
	}
	const script = "return {1, 'two', false, {KEYS[1], ARGV[1]}}"
	for _, c := range []struct {
		args []string
		want any
	}{
		{[]string{"SET", "k", "\x00\xff", "EX", "100"}, "OK"},
		{[]string{"GET", "k"}, "\x00\xff"},
		{[]string{"SET", "empty", ""}, "OK"},
		{[]string{"GET", "empty"}, ""},
		{[]string{"GET", "none"}, nil},
		{[]string{"EXISTS", "k"}, int64(1)},
		{[]string{"HSET", "h", "field", "value"}, int64(1)},
		{[]string{"HGETALL", "h"}, []any{"field", "value"}},
		{[]string{"HGETALL", "none"}, []any{}},
		{[]string{"HMGET", "h", "field", "none"}, []any{"value", nil}},
		{[]string{"ZADD", "z", "1.5", "m"}, int64(1)},
		{[]string{"ZSCORE", "z", "m"}, "1.5"},
		{[]string{"EVAL", script, "1", "k", "a"}, []any{int64(1), "two", nil, []any{"k", "a"}}},
	} {
		got, err := d.Do(bounded(t), "k", c.args...)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q: %#v, %v; want %#v", c.args, got, err, c.want)
		}
	}
	replies, errs := d.DoAll(bounded(t), []redisadapter.Command{
		{Key: "k", Args: []string{"GET", "k"}},
		{Key: "k", Args: []string{"INCR", "k"}},
		{Key: "none", Args: []string{"GET", "none"}},
		{Args: []string{"PING"}},
	})
	if !reflect.DeepEqual(replies, []any{"\x00\xff", nil, nil, "PONG"}) {
		t.Errorf("replies %#v", replies)
	}
	if len(errs) != 4 || errs[1] == nil || errors.Is(errs[1], redisadapter.ErrNotSent) || errs[0] != nil || errs[2] != nil || errs[3] != nil {
		t.Errorf("errors %v", errs)
	}
	if replies, errs = d.DoAll(bounded(t), nil); len(replies) != 0 || errs != nil {
		t.Errorf("of nothing: %v %v", replies, errs)
	}
	if _, err := d.Do(bounded(t), "k"); !errors.Is(err, redisadapter.ErrNotSent) {
		t.Errorf("without a command: %v", err)
	}
	// A Redis that has gone is not known to have taken it, or known not to have.
	redis.Stop()
	if _, err := d.Do(bounded(t), "n", "INCR", "n"); err == nil {
		t.Error("no error without a Redis")
	}
	redis.Start()
	testkit.Eventually(t, "Redis is reached again", func() bool {
		_, err := d.Do(bounded(t), "", "PING")
		return err == nil
	})
	if got, err := d.Do(bounded(t), "n", "GET", "n"); err != nil || (got != nil && got != "1") {
		t.Errorf("a command without an answer was run more than once: %v, %v", got, err)
	}
}
