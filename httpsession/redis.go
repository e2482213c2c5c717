package httpsession

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/sockeye-io/sockeye/redisadapter"
)

// RedisStore is a Store in Redis: a string for each session, under a prefix and the id, which Redis itself lets expire. It is
// safe for concurrent use.
//
// Beside GET, SET, EXPIRE, PERSIST, DEL and EXISTS it uses EVAL, for Swap.
//
// Node: connect-redis
type RedisStore struct {
	c      redisadapter.Commander
	prefix string
}

// Redis makes a RedisStore. The two drivers of redisadapter are Commanders, and the one of the adapter may be used here too.
// connect-redis has the prefix "sess:", scs's redisstore "scs:session:".
func Redis(c redisadapter.Commander, prefix string) *RedisStore { return &RedisStore{c, prefix} }

var errReply = errors.New("httpsession: unexpected answer of Redis")

// Get implements Store.
func (s *RedisStore) Get(ctx context.Context, id string) ([]byte, error) {
	key := s.prefix + id
	v, err := s.c.Do(ctx, key, "GET", key)
	if err != nil {
		return nil, fmt.Errorf("httpsession: read a session: %w", err)
	}
	switch v := v.(type) {
	case nil:
		return nil, ErrNoSession
	case string:
		return []byte(v), nil
	}
	return nil, errReply
}

// seconds gives a ttl as Redis takes it, rounded up.
func seconds(ttl time.Duration) string {
	return strconv.FormatInt(int64((ttl+time.Second-1)/time.Second), 10)
}

// Set implements Store.
//
// Node: connect-redis set
func (s *RedisStore) Set(ctx context.Context, id string, data []byte, ttl time.Duration) error {
	key := s.prefix + id
	command := []string{"SET", key, string(data)}
	if ttl > 0 {
		command = append(command, "EX", seconds(ttl))
	}
	if _, err := s.c.Do(ctx, key, command...); err != nil {
		return fmt.Errorf("httpsession: write a session: %w", err)
	}
	return nil
}

// swap writes KEYS[1] if it is still ARGV[1]: 1 says that it was, 0 that it was not, -1 that there is none.
const swap = `local v = redis.call('GET', KEYS[1])
if not v then return -1 end
if v ~= ARGV[1] then return 0 end
if ARGV[3] == '0' then redis.call('SET', KEYS[1], ARGV[2]) else redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3]) end
return 1`

// Swap implements Store.
func (s *RedisStore) Swap(ctx context.Context, id string, old, data []byte, ttl time.Duration) (bool, error) {
	key := s.prefix + id
	v, err := s.c.Do(ctx, key, "EVAL", swap, "1", key, string(old), string(data), seconds(max(ttl, 0)))
	if err != nil {
		return false, fmt.Errorf("httpsession: write a session: %w", err)
	}
	switch v {
	case int64(1):
		return true, nil
	case int64(0):
		return false, nil
	case int64(-1):
		return false, ErrNoSession
	}
	return false, errReply
}

// Touch implements Store.
//
// Node: connect-redis touch
func (s *RedisStore) Touch(ctx context.Context, id string, ttl time.Duration) error {
	key := s.prefix + id
	v, err := s.c.Do(ctx, key, touch(key, ttl)...)
	if err != nil {
		return fmt.Errorf("httpsession: touch a session: %w", err)
	}
	if v == int64(1) {
		return nil
	}
	if ttl <= 0 { // PERSIST says 0 of a key without expiry too
		_, err := s.Get(ctx, id)
		return err
	}
	return ErrNoSession
}

func touch(key string, ttl time.Duration) []string {
	if ttl <= 0 {
		return []string{"PERSIST", key}
	}
	return []string{"EXPIRE", key, seconds(ttl)}
}

// Delete implements Store.
func (s *RedisStore) Delete(ctx context.Context, id string) error {
	key := s.prefix + id
	if _, err := s.c.Do(ctx, key, "DEL", key); err != nil {
		return fmt.Errorf("httpsession: delete a session: %w", err)
	}
	return nil
}

// all runs a command for each id in one pipeline.
func (s *RedisStore) all(ctx context.Context, ids []string, command func(i int, key string) []string) ([]any, error) {
	batch := make([]redisadapter.Command, len(ids))
	for i, id := range ids {
		key := s.prefix + id
		batch[i] = redisadapter.Command{Key: key, Args: command(i, key)}
	}
	replies, errs := s.c.DoAll(ctx, batch)
	for _, err := range errs {
		if err != nil {
			return nil, fmt.Errorf("httpsession: ask for sessions: %w", err)
		}
	}
	if len(replies) != len(ids) {
		return nil, errReply
	}
	return replies, nil
}

// GetAll implements Batcher.
func (s *RedisStore) GetAll(ctx context.Context, ids []string) ([][]byte, error) {
	replies, err := s.all(ctx, ids, func(_ int, key string) []string { return []string{"GET", key} })
	if err != nil {
		return nil, err
	}
	data := make([][]byte, len(ids))
	for i, v := range replies {
		if v, ok := v.(string); ok {
			data[i] = []byte(v)
		}
	}
	return data, nil
}

// TouchAll implements Batcher.
func (s *RedisStore) TouchAll(ctx context.Context, ids []string, ttls []time.Duration) error {
	_, err := s.all(ctx, ids, func(i int, key string) []string { return touch(key, ttls[i]) })
	return err
}

// Exist implements Batcher.
func (s *RedisStore) Exist(ctx context.Context, ids []string) ([]bool, error) {
	replies, err := s.all(ctx, ids, func(_ int, key string) []string { return []string{"EXISTS", key} })
	if err != nil {
		return nil, err
	}
	there := make([]bool, len(ids))
	for i, v := range replies {
		there[i] = v == int64(1)
	}
	return there, nil
}

var (
	_ Store   = (*Memory)(nil)
	_ Store   = (*RedisStore)(nil)
	_ Batcher = (*RedisStore)(nil)
)
