package httpsession_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/httpsession"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/goredisdriver"
	"github.com/sockeye-io/sockeye/redisadapter/rueidisdriver"
)

// plain is a Store that is no Batcher.
type plain struct{ httpsession.Store }

// conformance is what each Store does.
func conformance(t *testing.T, s httpsession.Store) {
	t.Helper()
	ctx := within(t)
	none := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, httpsession.ErrNoSession) {
			t.Errorf("%s of what is not there: %v", what, err)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	want := func(id, data string) {
		t.Helper()
		if got, err := s.Get(ctx, id); err != nil || string(got) != data {
			t.Errorf("%q is %q, %v; want %q", id, got, err, data)
		}
	}
	_, err := s.Get(ctx, "a")
	none("Get", err)
	none("Touch", s.Touch(ctx, "a", time.Minute))
	none("Touch for ever", s.Touch(ctx, "a", 0))
	_, err = s.Swap(ctx, "a", nil, []byte("x"), 0)
	none("Swap", err)
	must(s.Delete(ctx, "a"))
	odd := "\x00\xff\r\n{\"a\":1}"
	must(s.Set(ctx, "a", []byte("one"), 0))
	must(s.Set(ctx, "b b", []byte(odd), time.Hour))
	must(s.Set(ctx, "empty", nil, time.Hour))
	want("a", "one")
	want("b b", odd)
	want("empty", "")
	for _, ttl := range []time.Duration{0, 90500 * time.Millisecond} {
		if ok, err := s.Swap(ctx, "b b", []byte("other"), []byte("x"), ttl); ok || err != nil {
			t.Errorf("Swap of another: %v, %v", ok, err)
		}
		if ok, err := s.Swap(ctx, "b b", []byte(odd), []byte(odd+"!"), ttl); !ok || err != nil {
			t.Errorf("Swap: %v, %v", ok, err)
		}
		want("b b", odd+"!")
		if ok, err := s.Swap(ctx, "b b", []byte(odd+"!"), []byte(odd), ttl); !ok || err != nil {
			t.Errorf("Swap: %v, %v", ok, err)
		}
	}
	must(s.Touch(ctx, "a", time.Minute))
	must(s.Touch(ctx, "a", 0))
	must(s.Touch(ctx, "a", 0))
	b := httpsession.Batch(s)
	all, err := b.GetAll(ctx, []string{"a", "none", "empty"})
	if err != nil || len(all) != 3 || string(all[0]) != "one" || all[1] != nil || all[2] == nil || len(all[2]) != 0 {
		t.Errorf("GetAll: %q, %v", all, err)
	}
	must(b.TouchAll(ctx, []string{"a", "none", "empty"}, []time.Duration{time.Minute, time.Minute, 0}))
	there, err := b.Exist(ctx, []string{"a", "none", "empty"})
	if err != nil || fmt.Sprint(there) != "[true false true]" {
		t.Errorf("Exist: %v, %v", there, err)
	}
	must(s.Delete(ctx, "a"))
	_, err = s.Get(ctx, "a")
	none("Get", err)
	contend(t, s)
}

// contend lets several count by Swap.
func contend(t *testing.T, s httpsession.Store) {
	t.Helper()
	ctx := within(t)
	if err := s.Set(ctx, "n", []byte("0"), time.Hour); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for done := 0; done < 25; {
				old, err := s.Get(ctx, "n")
				if err != nil {
					t.Error(err)
					return
				}
				n, _ := strconv.Atoi(string(old)) // it is a number
				ok, err := s.Swap(ctx, "n", old, []byte(strconv.Itoa(n+1)), time.Hour)
				if err != nil {
					t.Error(err)
					return
				}
				if ok {
					done++
				}
			}
		})
	}
	all.Wait()
	if n, err := s.Get(ctx, "n"); err != nil || string(n) != "100" {
		t.Errorf("counted %s, %v", n, err)
	}
}

func TestStores(t *testing.T) {
	t.Parallel()
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		conformance(t, httpsession.NewMemory())
	})
	t.Run("one by one", func(t *testing.T) {
		t.Parallel()
		conformance(t, plain{httpsession.NewMemory()})
	})
	t.Run("rueidis", func(t *testing.T) {
		t.Parallel()
		r := testkit.StartRedis(t)
		d, err := rueidisdriver.FromURL(r.URL())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { closeDriver(t, d) })
		conformance(t, httpsession.Redis(d, "sess:"))
		if ttl, _ := r.Do("TTL", "sess:b b").(int64); ttl < 30 || ttl > 91 {
			t.Errorf("TTL %v", ttl)
		}
	})
	t.Run("go-redis", func(t *testing.T) {
		t.Parallel()
		c := goredis.NewClient(&goredis.Options{Addr: testkit.StartRedis(t).Addr})
		d, err := goredisdriver.New(c, goredisdriver.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			closeDriver(t, d)
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
		conformance(t, httpsession.Redis(d, "sess:"))
	})
	t.Run("Redis Cluster", func(t *testing.T) {
		t.Parallel()
		rc := testkit.StartCluster(t, 3, 0)
		c := goredis.NewClusterClient(&goredis.ClusterOptions{Addrs: rc.Addrs()})
		d, err := goredisdriver.New(c, goredisdriver.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			closeDriver(t, d)
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
		conformance(t, httpsession.Redis(d, "sess:"))
	})
}

func closeDriver(t *testing.T, d redisadapter.Driver) {
	t.Helper()
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// TestRedis_Down: an error of Redis is not taken for the end of a session.
func TestRedis_Down(t *testing.T) {
	t.Parallel()
	r := testkit.StartRedis(t)
	d, err := rueidisdriver.FromURL(r.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeDriver(t, d) })
	s := httpsession.Redis(d, "sess:")
	if err := s.Set(within(t), "a", []byte("x"), 0); err != nil {
		t.Fatal(err)
	}
	r.Do("LPUSH", "sess:list", "x")
	r.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	_, err1 := s.Get(ctx, "a")
	_, err2 := s.Swap(ctx, "a", nil, nil, 0)
	_, err3 := s.GetAll(ctx, []string{"a"})
	_, err4 := s.Exist(ctx, []string{"a"})
	for i, err := range []error{
		err1, err2, err3, err4, s.Set(ctx, "a", nil, 0), s.Touch(ctx, "a", 1), s.Delete(ctx, "a"), s.TouchAll(ctx, []string{"a"}, []time.Duration{1}),
	} {
		if err == nil || errors.Is(err, httpsession.ErrNoSession) {
			t.Errorf("%d: %v", i, err)
		}
	}
	if r.Running() {
		t.Error("Redis runs")
	}
}

func TestMemory_Expires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var m httpsession.Memory
		ctx := t.Context()
		for id, ttl := range map[string]time.Duration{"minute": time.Minute, "ever": 0, "touched": time.Minute} {
			if err := m.Set(ctx, id, []byte(id), ttl); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute - 1)
		if err := m.Touch(ctx, "touched", time.Minute); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(m.IDs()); got != "[ever minute touched]" {
			t.Error(got)
		}
		time.Sleep(time.Nanosecond)
		if _, err := m.Get(ctx, "minute"); !errors.Is(err, httpsession.ErrNoSession) {
			t.Error(err)
		}
		if got := fmt.Sprint(m.IDs()); got != "[ever touched]" {
			t.Error(got)
		}
	})
}

func TestMemory_Full(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := &httpsession.Memory{Max: 2}
		ctx := t.Context()
		if err := errors.Join(m.Set(ctx, "a", nil, time.Minute), m.Set(ctx, "b", nil, 0), m.Set(ctx, "b", nil, 0)); err != nil {
			t.Fatal(err)
		}
		if err := m.Set(ctx, "c", nil, 0); !errors.Is(err, httpsession.ErrStoreFull) {
			t.Errorf("a third: %v", err)
		}
		time.Sleep(time.Minute) // a has expired
		if err := m.Set(ctx, "c", nil, 0); err != nil {
			t.Error(err)
		}
		many := &httpsession.Memory{}
		for i := range 5000 {
			if err := many.Set(ctx, strconv.Itoa(i), nil, time.Second); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Millisecond)
		}
		if n := many.Len(); n > 1200 {
			t.Errorf("%d sessions are kept, 100 of which have not expired", n)
		}
	})
}
