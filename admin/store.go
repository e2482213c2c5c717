package admin

import (
	"container/list"
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"
)

// Store keeps the sessions of pages: ids that stand for a password. It is safe for concurrent use.
//
// Node: @socket.io/admin-ui Store
type Store interface {
	// Save keeps a session for that long.
	Save(ctx context.Context, id string, ttl time.Duration) error

	// Has tells whether there is such a session.
	Has(ctx context.Context, id string) (bool, error)

	// Delete forgets a session. One that is not there is no error.
	Delete(ctx context.Context, id string) error
}

// MemoryStore keeps sessions in memory.
//
// Node: @socket.io/admin-ui InMemoryStore
type MemoryStore struct {
	limit int

	mu    sync.Mutex
	byID  map[string]*list.Element
	order *list.List // of session, the oldest first
}

type session struct {
	id      string
	expires time.Time
}

// NewMemoryStore makes a store of at most limit sessions; the oldest goes for a new one. Zero means 10,000.
//
// Differs from Node: there neither their number nor their life is bounded
func NewMemoryStore(limit int) *MemoryStore {
	return &MemoryStore{limit: or(limit, 10_000), byID: make(map[string]*list.Element), order: list.New()}
}

// Save implements Store.
func (m *MemoryStore) Save(_ context.Context, id string, ttl time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drop(id)
	for m.order.Len() >= m.limit {
		oldest, _ := m.order.Front().Value.(session)
		m.drop(oldest.id)
	}
	m.byID[id] = m.order.PushBack(session{id, time.Now().Add(ttl)})
	return nil
}

// Has implements Store.
func (m *MemoryStore) Has(_ context.Context, id string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.byID[id]
	if !ok {
		return false, nil
	}
	if s, _ := e.Value.(session); !time.Now().Before(s.expires) {
		m.drop(id)
		return false, nil
	}
	return true, nil
}

// Delete implements Store.
func (m *MemoryStore) Delete(_ context.Context, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drop(id)
	return nil
}

// drop is called under mu.
func (m *MemoryStore) drop(id string) {
	if e, ok := m.byID[id]; ok {
		m.order.Remove(e)
		delete(m.byID, id)
	}
}

// Commander runs a command of Redis, its name first; key says to which node of a Redis Cluster it goes. The drivers
// of redisadapter and redisadapter.Commander are such.
type Commander interface {
	Do(ctx context.Context, key string, command ...string) (any, error)
}

// RedisStore keeps sessions in Redis, where Node servers find them too, and theirs are found.
//
// Node: @socket.io/admin-ui RedisStore
type RedisStore struct {
	// Redis runs the commands.
	Redis Commander

	// Prefix begins the names of the keys, before "#". Default "socket.io-admin".
	Prefix string
}

func (r RedisStore) key(id string) string { return or(r.Prefix, "socket.io-admin") + "#" + id }

// Save implements Store. Parts of a second count as a whole one.
func (r RedisStore) Save(ctx context.Context, id string, ttl time.Duration) error {
	seconds := int64((ttl + time.Second - 1) / time.Second)
	k := r.key(id)
	if _, err := r.Redis.Do(ctx, k, "SET", k, "true", "EX", strconv.FormatInt(seconds, 10)); err != nil {
		return fmt.Errorf("admin: save session: %w", err)
	}
	return nil
}

// Has implements Store.
func (r RedisStore) Has(ctx context.Context, id string) (bool, error) {
	k := r.key(id)
	reply, err := r.Redis.Do(ctx, k, "EXISTS", k)
	if err != nil {
		return false, fmt.Errorf("admin: look for session: %w", err)
	}
	n, _ := reply.(int64)
	return n > 0, nil
}

// Delete implements Store.
func (r RedisStore) Delete(ctx context.Context, id string) error {
	k := r.key(id)
	if _, err := r.Redis.Do(ctx, k, "DEL", k); err != nil {
		return fmt.Errorf("admin: delete session: %w", err)
	}
	return nil
}
