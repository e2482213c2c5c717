package rest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/redistest"
	"github.com/sockeye-io/sockeye/redisadapter/rueidisdriver"
)

// connect gives a driver of a Redis, which is connected.
func connect(t *testing.T, r *testkit.Redis) *rueidisdriver.Driver {
	t.Helper()
	d, err := rueidisdriver.New(rueidis.ClientOption{InitAddress: []string{r.Addr}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() }) // it may be closed already
	if err := d.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestIdempotency(t *testing.T) {
	t.Parallel()
	redis := testkit.StartRedis(t)
	for name, config := range map[string]func(*testing.T) Config{
		"memory": func(*testing.T) Config { return Config{} },
		"redis":  func(t *testing.T) Config { t.Helper(); return Config{Redis: connect(t, redis)} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := config(t)
			c.Tokens = append(everything(), Token{Name: "other", Secret: "another-long-secret"})
			hub := redistest.NewHub()
			n := start(t, redisadapter.PubSub(hub.Driver(), redisadapter.PubSubOptions{}), c)
			again := n // a retry may go to another server where these share a Redis
			if c.Redis != nil {
				c.Redis = connect(t, redis)
				again = start(t, redisadapter.PubSub(hub.Driver(), redisadapter.PubSubOptions{}), c)
			}
			testIdempotency(t, n, again)
		})
	}
}

func testIdempotency(t *testing.T, n, again *node) {
	t.Helper()
	ann := n.join("ann", "")
	ask := `{"to":{"all":true},"event":"ask","args":["x:y"],"ack":{}}`
	first := n.call("POST", "/v1/emit", ask, "Idempotency-Key", "one")
	if first.status != http.StatusOK || first.head.Get("Idempotency-Replayed") != "" {
		t.Fatalf("%d %v %s", first.status, first.head, first.body)
	}
	for range 2 {
		r := again.call("POST", "/v1/emit", ask, "Idempotency-Key", "one")
		if r.status != first.status || r.body != first.body || r.head.Get("Idempotency-Replayed") != "true" || r.head.Get("Content-Type") != kindJSON {
			t.Errorf("%d %v %s", r.status, r.head, r.body)
		}
	}
	ann.wants(`["ask","x:y"]`)
	ann.nothing(n)
	again.call("POST", "/v1/emit", emit, "Idempotency-Key", "one").fails(http.StatusUnprocessableEntity, "idempotency_key_reused", "")
	// It is a key of one token and one path.
	n.call("POST", "/v1/emit", emit, "Idempotency-Key", "one", "Authorization", "Bearer another-long-secret").is(http.StatusAccepted, done)
	n.call("POST", "/v1/disconnect", `{"to":{"users":["nobody"]}}`, "Idempotency-Key", "one").is(http.StatusAccepted, done)
	ann.wants(`["e"]`)
	// What was malformed can be mended, and what fails while it is done fails again.
	n.call("POST", "/v1/emit", `{}`, "Idempotency-Key", "two").fails(http.StatusUnprocessableEntity, "invalid_request", "/to")
	n.call("POST", "/v1/emit", emit, "Idempotency-Key", "two").is(http.StatusAccepted, done)
	ann.wants(`["e"]`)
	bad := `{"to":{"all":true},"event":"e","args":[{"_placeholder":true,"num":5},{"$base64":"AQ=="}]}`
	for i := range 2 {
		r := n.call("POST", "/v1/emit", bad, "Idempotency-Key", "three")
		if r.status != http.StatusUnprocessableEntity || (r.head.Get("Idempotency-Replayed") == "true") != (i == 1) {
			t.Errorf("%d %v %s", r.status, r.head, r.body)
		}
	}
	for _, key := range []string{" ", "a b", "\u00e9", strings.Repeat("x", 256)} {
		n.call("POST", "/v1/emit", emit, "Idempotency-Key", key).fails(http.StatusUnprocessableEntity, "invalid_request", "Idempotency-Key")
	}
	// Of several at a time one is done.
	var done, busy int
	var mu sync.Mutex
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			r := again.call("POST", "/v1/emit", `{"to":{"all":true},"event":"silence","ack":{"timeout":300}}`, "Idempotency-Key", "four")
			mu.Lock()
			defer mu.Unlock()
			switch r.status {
			case http.StatusOK:
				done++
			case http.StatusConflict:
				busy++
				r.fails(http.StatusConflict, "idempotency_in_progress", "")
			default:
				t.Errorf("%d %s", r.status, r.body)
			}
		})
	}
	all.Wait()
	ann.wants(`["silence"]`)
	ann.nothing(n)
	if done < 1 || done+busy != 10 {
		t.Errorf("%d done, %d busy", done, busy)
	}
}

// A request that failed for no fault of its own can be made again.
func TestIdempotency_Retry(t *testing.T) {
	t.Parallel()
	hub := redistest.NewHub()
	n := start(t, redisadapter.PubSub(hub.Driver(), redisadapter.PubSubOptions{}), Config{})
	hub.Stop()
	n.call("POST", "/v1/emit", emit, "Idempotency-Key", "one").fails(http.StatusServiceUnavailable, "unavailable", "")
	hub.Start()
	testkit.Eventually(t, "the same request is done", func() bool {
		r := n.call("POST", "/v1/emit", emit, "Idempotency-Key", "one")
		return r.status == http.StatusAccepted && r.head.Get("Idempotency-Replayed") == ""
	})
}

// Without its Redis nobody is told that something was done once.
func TestIdempotency_RedisAway(t *testing.T) {
	t.Parallel()
	n := start(t, nil, Config{Redis: broken{}})
	ann := n.join("ann", "")
	n.call("POST", "/v1/emit", emit, "Idempotency-Key", "one").fails(http.StatusServiceUnavailable, "idempotency_not_available", "")
	n.call("POST", "/v1/emit", emit).is(http.StatusAccepted, done)
	ann.wants(`["e"]`)
	ann.nothing(n)
}

type broken struct{}

func (broken) Do(context.Context, string, ...string) (any, error) { return nil, errors.New("away") }

func TestRedisStore(t *testing.T) {
	t.Parallel()
	redis := testkit.StartRedis(t)
	s := &redisStore{connect(t, redis), "test:", time.Minute, time.Second}
	_, claim, p := s.begin(t.Context(), "name", "sum")
	if p != nil || claim == "" {
		t.Fatal(claim, p)
	}
	ttl := func() int64 {
		n, _ := redis.Do("PTTL", "test:name").(int64) // another type is 0, which is wrong
		return n
	}
	if n := ttl(); n <= 0 || n > 1000 {
		t.Errorf("a claim runs out in %d ms", n)
	}
	if _, _, p := s.begin(t.Context(), "name", "sum"); p == nil || p.Code != "idempotency_in_progress" {
		t.Errorf("%v", p)
	}
	if _, _, p := s.begin(t.Context(), "name", "other"); p == nil || p.Code != "idempotency_key_reused" {
		t.Errorf("%v", p)
	}
	// A claim that has run out is not written over by who had it.
	redis.Do("DEL", "test:name")
	_, next, p := s.begin(t.Context(), "name", "sum")
	if p != nil || next == claim {
		t.Fatal(p)
	}
	if err := s.finish(t.Context(), "name", "sum", claim, &answer{}); !errors.Is(err, errClaim) {
		t.Errorf("%v", err)
	}
	body := []byte("a:b::\x00\xff")
	if err := s.finish(t.Context(), "name", "sum", next, &answer{status: 201, kind: kindJSON, body: body}); err != nil {
		t.Fatal(err)
	}
	old, _, p := s.begin(t.Context(), "name", "sum")
	if p != nil || old.status != 201 || old.kind != kindJSON || string(old.body) != string(body) {
		t.Errorf("%+v %v", old, p)
	}
	if n := ttl(); n <= 1000 || n > 60_000 {
		t.Errorf("an answer runs out in %d ms", n)
	}
	for _, text := range []string{"", "p", "d:sum:x:y:z", "x:sum:1:2:3"} {
		if old, p := parseKept(text, "sum"); old != nil || p == nil {
			t.Errorf("%q: %v %v", text, old, p)
		}
	}
}

func TestMemory_Bounds(t *testing.T) {
	t.Parallel()
	m := newMemory(time.Minute)
	now := time.Now()
	m.now = func() time.Time { return now }
	put := func(name string, size int) {
		t.Helper()
		if old, _, p := m.begin(t.Context(), name, "sum"); old != nil || p != nil {
			t.Fatal(old, p)
		}
		if err := m.finish(t.Context(), name, "sum", "", &answer{body: make([]byte, size)}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range maxKept + 10 {
		put(fmt.Sprint("small ", i), 1)
	}
	if len(m.byName) != maxKept || m.done.Len() != maxKept || m.bytes != maxKept {
		t.Errorf("%d, %d, %d bytes", len(m.byName), m.done.Len(), m.bytes)
	}
	put("large", maxKeptBytes)
	put("larger", maxKeptBytes+1)
	if len(m.byName) != 1 || m.bytes != maxKeptBytes {
		t.Errorf("%d, %d bytes", len(m.byName), m.bytes)
	}
	now = now.Add(time.Minute + 1)
	put("later", 1)
	if len(m.byName) != 1 || m.bytes != 1 {
		t.Errorf("%d, %d bytes", len(m.byName), m.bytes)
	}
}
