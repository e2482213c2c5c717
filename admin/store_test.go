package admin

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/rueidisdriver"
)

var (
	_ Store     = (*MemoryStore)(nil)
	_ Store     = RedisStore{}
	_ Commander = redisadapter.Commander(nil)
)

func has(t *testing.T, s Store, id string) bool {
	t.Helper()
	ok, err := s.Has(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return ok
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// stores checks what each Store does.
func stores(t *testing.T, s Store) {
	t.Helper()
	if has(t, s, "a") {
		t.Error("there is one already")
	}
	must(t, s.Delete(t.Context(), "a"))
	must(t, s.Save(t.Context(), "a", time.Hour))
	must(t, s.Save(t.Context(), "b", time.Hour))
	must(t, s.Save(t.Context(), "a", 2*time.Hour))
	if !has(t, s, "a") || !has(t, s, "b") || has(t, s, "A") || has(t, s, "") {
		t.Error("not what was saved")
	}
	must(t, s.Delete(t.Context(), "a"))
	if has(t, s, "a") || !has(t, s, "b") {
		t.Error("not what was left")
	}
}

func TestMemoryStore(t *testing.T) {
	t.Parallel()
	stores(t, NewMemoryStore(0))
	s := NewMemoryStore(2)
	for _, id := range []string{"a", "b", "a", "c"} {
		must(t, s.Save(t.Context(), id, time.Hour))
	}
	if !has(t, s, "a") || has(t, s, "b") || !has(t, s, "c") || s.order.Len() != 2 || len(s.byID) != 2 {
		t.Error("the oldest has not gone")
	}
}

func TestMemoryStore_Expiry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := NewMemoryStore(0)
		must(t, s.Save(t.Context(), "a", time.Minute))
		<-time.After(time.Minute - 1)
		if !has(t, s, "a") {
			t.Error("it ends too early")
		}
		<-time.After(1)
		if has(t, s, "a") || len(s.byID) != 0 {
			t.Error("it does not end")
		}
	})
}

func TestRedisStore(t *testing.T) {
	t.Parallel()
	redis := testkit.StartRedis(t)
	d, err := rueidisdriver.FromURL(redis.URL())
	must(t, err)
	defer func() { must(t, d.Close()) }()
	stores(t, RedisStore{Redis: d})
	s := RedisStore{Redis: d, Prefix: "adm"}
	must(t, s.Save(t.Context(), "0123456789abcdef", 59*time.Second+1))
	for command, want := range map[string]any{"GET": "true", "TTL": int64(60), "EXISTS": int64(1)} {
		if got, err := d.Do(t.Context(), "", command, "adm#0123456789abcdef"); got != want || err != nil {
			t.Errorf("%s gives %v, %v", command, got, err)
		}
	}
	// What Node has saved.
	_, err = d.Do(t.Context(), "", "SET", "socket.io-admin#fedcba9876543210", "1")
	must(t, err)
	if !has(t, RedisStore{Redis: d}, "fedcba9876543210") {
		t.Error("a session of Node is not known")
	}
}

// The keys and the life are those of the official package, which sends SET and EXPIRE in one transaction.
func TestRedisStore_Golden(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]RedisStore{"RedisStore (": {}, "RedisStore with options": {Prefix: "adm"}} {
		r := &recorder{}
		s.Redis = r
		ttl := 24 * time.Hour
		if s.Prefix != "" {
			ttl = time.Minute
		}
		must(t, s.Save(t.Context(), "0123456789abcdef", ttl))
		var want []string
		for _, c := range captures(t, name).Commands {
			for i, arg := range c.Args {
				if c.Command == "SET" || c.Command == "EXPIRE" && i == 1 {
					want = append(want, arg.Text)
				}
			}
			if c.Command == "EXPIRE" {
				want = slices.Insert(want, 2, "EX")
			}
		}
		if got := r.commands[0]; !slices.Equal(got, append([]string{"SET"}, want...)) {
			t.Errorf("%s: %q, want SET %q", name, got, want)
		}
	}
}

type recorder struct {
	mu       sync.Mutex
	commands [][]string
	err      error
}

func (r *recorder) Do(_ context.Context, key string, command ...string) (any, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if key != command[1] {
		return nil, errors.New("another key")
	}
	r.commands = append(r.commands, command)
	return nil, r.err
}

func TestRedisStore_Errors(t *testing.T) {
	t.Parallel()
	away := errors.New("away")
	s := RedisStore{Redis: &recorder{err: away}}
	_, err := s.Has(t.Context(), "a")
	for _, err := range []error{err, s.Save(t.Context(), "a", time.Hour), s.Delete(t.Context(), "a")} {
		if !errors.Is(err, away) || !strings.HasPrefix(err.Error(), "admin: ") {
			t.Errorf("error %v", err)
		}
	}
}
