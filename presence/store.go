package presence

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"
)

// store keeps the users of places, as several servers tell it. Its methods but for those that ask are called by one
// goroutine.
type store interface {
	// join and leave tell of users of this server. They give those that have come or gone thereby for the whole
	// cluster, also with an error, which says that it is not known of some.
	join(ctx context.Context, list []update) ([]verdict, error)
	leave(ctx context.Context, list []update) ([]verdict, error)

	// refresh says that this server is there, in the places where it has told of users, and gives who is gone because
	// another server is. With compare what was told is compared one by one, else where the numbers differ.
	refresh(ctx context.Context, l *local, compare bool) ([]verdict, error)

	// every is how often refresh wants to be called; 0 is never.
	every() time.Duration

	// retire says that this server is there for some time more, but will not say so again.
	retire(ctx context.Context, l *local, grace time.Duration) error

	has(ctx context.Context, room, user string) (bool, error)
	count(ctx context.Context, room string) (int, error)

	// users gives up to n users after an id, in order.
	users(ctx context.Context, room, after string, n int) ([]User, error)
}

// verdict is a change for the whole cluster. A later one has a higher version.
type verdict struct {
	Change
	version int64
}

// memory is the store of one server.
type memory struct {
	mu      sync.RWMutex
	version int64
	places  map[string]map[string]User
}

func newMemory() *memory { return &memory{places: map[string]map[string]User{}} }

func (m *memory) join(_ context.Context, list []update) ([]verdict, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []verdict
	for _, u := range list {
		users := m.places[u.room]
		if users == nil {
			users = map[string]User{}
			m.places[u.room] = users
		}
		for _, user := range u.users {
			users[user.ID] = user
			m.version++
			all = append(all, verdict{Change{user, u.room, true}, m.version})
		}
	}
	return all, nil
}

func (m *memory) leave(_ context.Context, list []update) ([]verdict, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []verdict
	for _, u := range list {
		users := m.places[u.room]
		for _, user := range u.users {
			delete(users, user.ID)
			m.version++
			all = append(all, verdict{Change{user, u.room, false}, m.version})
		}
		if len(users) == 0 {
			delete(m.places, u.room)
		}
	}
	return all, nil
}

func (m *memory) refresh(context.Context, *local, bool) ([]verdict, error) { return nil, nil }

func (m *memory) every() time.Duration { return 0 }

func (m *memory) retire(context.Context, *local, time.Duration) error { return nil }

func (m *memory) has(_ context.Context, room, user string) (bool, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	_, ok := m.places[room][user]
	return ok, nil
}

func (m *memory) count(_ context.Context, room string) (int, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return len(m.places[room]), nil
}

func (m *memory) users(_ context.Context, room, after string, n int) ([]User, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return pageOf(m.places[room], after, n), nil
}

// pageOf gives up to n users after an id, in order.
func pageOf(from map[string]User, after string, n int) []User {
	var users []User
	for id := range from {
		if id > after {
			users = append(users, from[id])
		}
	}
	slices.SortFunc(users, func(a, b User) int { return strings.Compare(a.ID, b.ID) })
	return users[:min(n, len(users))]
}
