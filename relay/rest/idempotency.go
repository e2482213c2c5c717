package rest

import (
	"container/list"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// store keeps answers by the digest of their key. sum is the digest of the request.
type store interface {
	// begin claims a key, or gives the answer of before.
	begin(ctx context.Context, name, sum string) (old *answer, claim string, p *problem)

	// finish keeps the answer, or with nil lets the key go. It changes nothing where the claim has run out.
	finish(ctx context.Context, name, sum, claim string, a *answer) error
}

func reused() *problem { return newProblem("idempotency_key_reused", "") }

func inProgress() *problem { return newProblem("idempotency_in_progress", "").wait(1) }

const (
	maxKept      = 10_000
	maxKeptBytes = 64 << 20
)

// memory is the store of one server. The oldest answers go when there are too many, and those that are being waited for
// never do: there are as many as requests at a time.
type memory struct {
	keep time.Duration
	now  func() time.Time

	mu     sync.Mutex
	byName map[string]*list.Element // of *kept
	done   *list.List               // those with an answer, the oldest first
	bytes  int
}

type kept struct {
	name, sum string
	answer    *answer // nil while it is waited for
	until     time.Time
}

func newMemory(keep time.Duration) *memory {
	return &memory{keep: keep, now: time.Now, byName: make(map[string]*list.Element), done: list.New()}
}

func (m *memory) begin(_ context.Context, name, sum string) (*answer, string, *problem) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	for e := m.done.Front(); e != nil && now.After(entry(e).until); e = m.done.Front() {
		m.drop(e)
	}
	e, ok := m.byName[name]
	if !ok {
		m.byName[name] = &list.Element{Value: &kept{name: name, sum: sum}}
		return nil, "", nil
	}
	switch k := entry(e); {
	case k.sum != sum:
		return nil, "", reused()
	case k.answer == nil:
		return nil, "", inProgress()
	default:
		return k.answer, "", nil
	}
}

func entry(e *list.Element) *kept {
	k, _ := e.Value.(*kept) // nothing else is put in
	return k
}

func (m *memory) finish(_ context.Context, name, sum, _ string, a *answer) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.byName, name)
	if a == nil || len(a.body) > maxKeptBytes {
		return nil
	}
	for m.done.Len() > 0 && (m.done.Len() >= maxKept || m.bytes+len(a.body) > maxKeptBytes) {
		m.drop(m.done.Front())
	}
	m.byName[name] = m.done.PushBack(&kept{name, sum, a, m.now().Add(m.keep)})
	m.bytes += len(a.body)
	return nil
}

// drop is called under mu.
func (m *memory) drop(e *list.Element) {
	k := entry(e)
	m.done.Remove(e)
	delete(m.byName, k.name)
	m.bytes -= len(k.answer.body)
}

// redisStore is the store of all servers. A key has "p:" and the claim and sum while its answer is waited for, and then
// "d:", sum, status, kind and body, with colons between.
type redisStore struct {
	redis  Commander
	prefix string
	keep   time.Duration
	claim  time.Duration // how long the answer of a server that has died is waited for
}

// replace sets a key, or deletes it, if it has what it had.
const replace = `if redis.call("GET", KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == "" then return redis.call("DEL", KEYS[1]) end
redis.call("SET", KEYS[1], ARGV[2], "PX", ARGV[3])
return 1`

var errClaim = errors.New("rest: the claim has run out")

func (s *redisStore) begin(ctx context.Context, name, sum string) (*answer, string, *problem) {
	key := s.prefix + name
	claim := "p:" + rand.Text() + ":" + sum
	for range 3 {
		set, err := s.redis.Do(ctx, key, "SET", key, claim, "NX", "PX", milliseconds(s.claim))
		if err != nil {
			break
		}
		if set != nil {
			return nil, claim, nil
		}
		got, err := s.redis.Do(ctx, key, "GET", key)
		if err != nil {
			break
		}
		text, ok := got.(string)
		if !ok { // it has run out in between
			continue
		}
		old, p := parseKept(text, sum)
		return old, "", p
	}
	// Who asks for "once" must not get "perhaps twice".
	return nil, "", newProblem("idempotency_not_available", "").wait(1)
}

func parseKept(text, sum string) (*answer, *problem) {
	f := strings.SplitN(text, ":", 5)
	switch {
	case f[0] == "p" && len(f) == 3:
		if f[2] != sum {
			return nil, reused()
		}
		return nil, inProgress()
	case f[0] == "d" && len(f) == 5:
		if f[1] != sum {
			return nil, reused()
		}
		if status, err := strconv.Atoi(f[2]); err == nil {
			return &answer{status: status, kind: f[3], body: []byte(f[4])}, nil
		}
	}
	return nil, newProblem("idempotency_not_available", "")
}

func (s *redisStore) finish(ctx context.Context, name, sum, claim string, a *answer) error {
	key, text := s.prefix+name, ""
	if a != nil {
		text = strings.Join([]string{"d", sum, strconv.Itoa(a.status), a.kind, string(a.body)}, ":")
	}
	n, err := s.redis.Do(ctx, key, "EVAL", replace, "1", key, claim, text, milliseconds(s.keep))
	if err != nil {
		return fmt.Errorf("rest: keep an answer: %w", err)
	}
	if n != int64(1) {
		return errClaim
	}
	return nil
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
