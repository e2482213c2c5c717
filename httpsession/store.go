package httpsession

import (
	"context"
	"errors"
	"time"
)

// Errors of sessions. They may be wrapped.
var (
	// ErrNoSession says that there is no session: no cookie, one that is not ours, or one whose session has ended.
	ErrNoSession = errors.New("httpsession: no session")

	// ErrConflict says that others kept changing a session while it was to be written.
	ErrConflict = errors.New("httpsession: the session is being changed by others")

	// ErrStoreFull says that a Memory has as many sessions as it may.
	ErrStoreFull = errors.New("httpsession: too many sessions")
)

// Store keeps sessions, which it knows by an id and as bytes. It is safe for concurrent use. A ttl says for how long from
// now a session is kept if nothing else happens to it; 0 is for ever.
//
// Node: express-session, "Session Store Implementation"
type Store interface {
	// Get gives a session, which must not be changed. Errors: ErrNoSession.
	Get(ctx context.Context, id string) ([]byte, error)

	// Set writes a session, whether there is one or not.
	Set(ctx context.Context, id string, data []byte, ttl time.Duration) error

	// Swap writes a session if it is still old, and tells whether it was. Errors: ErrNoSession if there is none.
	Swap(ctx context.Context, id string, old, data []byte, ttl time.Duration) (bool, error)

	// Touch changes the ttl. Errors: ErrNoSession.
	Touch(ctx context.Context, id string, ttl time.Duration) error

	// Delete removes a session. It is no error if there is none.
	Delete(ctx context.Context, id string) error
}

// Batcher is a Store that can do for many sessions at once what is done for each session with an open socket again and
// again. The others are asked one by one.
type Batcher interface {
	// GetAll gives sessions, nil for each that is not there.
	GetAll(ctx context.Context, ids []string) ([][]byte, error)

	// TouchAll changes the ttl of each session that is there.
	TouchAll(ctx context.Context, ids []string, ttls []time.Duration) error

	// Exist tells of each id whether there is a session.
	Exist(ctx context.Context, ids []string) ([]bool, error)
}

// Batch gives the Batcher of a store: itself, or one that asks it one by one.
func Batch(s Store) Batcher {
	if b, ok := s.(Batcher); ok {
		return b
	}
	return singly{s}
}

type singly struct{ s Store }

func (b singly) GetAll(ctx context.Context, ids []string) ([][]byte, error) {
	all := make([][]byte, len(ids))
	for i, id := range ids {
		data, err := b.s.Get(ctx, id)
		if errors.Is(err, ErrNoSession) {
			continue
		} else if err != nil {
			return nil, err
		}
		all[i] = data
	}
	return all, nil
}

func (b singly) TouchAll(ctx context.Context, ids []string, ttls []time.Duration) error {
	for i, id := range ids {
		if err := b.s.Touch(ctx, id, ttls[i]); err != nil && !errors.Is(err, ErrNoSession) {
			return err
		}
	}
	return nil
}

func (b singly) Exist(ctx context.Context, ids []string) ([]bool, error) {
	all, err := b.GetAll(ctx, ids)
	if err != nil {
		return nil, err
	}
	there := make([]bool, len(ids))
	for i := range all {
		there[i] = all[i] != nil
	}
	return there, nil
}
