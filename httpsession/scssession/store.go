package scssession

import (
	"context"
	"errors"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/sockeye-io/sockeye/httpsession"
)

// storeTimeout bounds what scs asks of a store without a context.
const storeTimeout = 5 * time.Second

// Store keeps the sessions of scs in a httpsession.Store: in Redis, or in the memory of one process. It is safe for concurrent use.
type Store struct {
	s     httpsession.Store
	batch httpsession.Batcher
}

// NewStore makes a Store. With httpsession.Redis(driver, "scs:session:") it is where scs's own redisstore would have it.
func NewStore(s httpsession.Store) *Store { return &Store{s, httpsession.Batch(s)} }

var _ scs.CtxStore = (*Store)(nil)

func background() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), storeTimeout)
}

// Find implements scs.Store.
func (s *Store) Find(token string) ([]byte, bool, error) {
	ctx, cancel := background()
	defer cancel()
	return s.FindCtx(ctx, token)
}

// Commit implements scs.Store.
func (s *Store) Commit(token string, b []byte, expiry time.Time) error {
	ctx, cancel := background()
	defer cancel()
	return s.CommitCtx(ctx, token, b, expiry)
}

// Delete implements scs.Store.
func (s *Store) Delete(token string) error {
	ctx, cancel := background()
	defer cancel()
	return s.DeleteCtx(ctx, token)
}

// FindCtx implements scs.CtxStore.
func (s *Store) FindCtx(ctx context.Context, token string) ([]byte, bool, error) {
	b, err := s.s.Get(ctx, token)
	if errors.Is(err, httpsession.ErrNoSession) {
		return nil, false, nil
	}
	return b, err == nil, err
}

// CommitCtx implements scs.CtxStore.
func (s *Store) CommitCtx(ctx context.Context, token string, b []byte, expiry time.Time) error {
	ttl := time.Until(expiry)
	if ttl <= 0 {
		return s.s.Delete(ctx, token)
	}
	return s.s.Set(ctx, token, b, ttl)
}

// DeleteCtx implements scs.CtxStore.
func (s *Store) DeleteCtx(ctx context.Context, token string) error { return s.s.Delete(ctx, token) }

// watched is the store of a manager, by which sessions are seen to end and what handlers of sockets save is compared with what
// they have read.
type watched struct {
	inner scs.Store
	ours  *Store // inner, if it is one
	codec scs.Codec
	ended func(ctx context.Context, token string)
}

// iterable is a watched whose inner store can be iterated over.
type iterable struct{ *watched }

var (
	_ scs.CtxStore         = (*watched)(nil)
	_ scs.IterableCtxStore = iterable{}
)

// Find implements scs.Store.
func (w *watched) Find(token string) ([]byte, bool, error) {
	ctx, cancel := background()
	defer cancel()
	return w.FindCtx(ctx, token)
}

// Commit implements scs.Store.
func (w *watched) Commit(token string, b []byte, expiry time.Time) error {
	ctx, cancel := background()
	defer cancel()
	return w.CommitCtx(ctx, token, b, expiry)
}

// Delete implements scs.Store.
func (w *watched) Delete(token string) error {
	ctx, cancel := background()
	defer cancel()
	return w.DeleteCtx(ctx, token)
}

// attempt is in the context of a handler of a socket, or of a page: what was read.
type attempt struct {
	page  bool
	key   string // in the store
	base  []byte // what the page has read or written
	data  []byte // what is in the store, so far as is known
	found bool
}

type attemptKey struct{}

// FindCtx implements scs.CtxStore.
func (w *watched) FindCtx(ctx context.Context, token string) ([]byte, bool, error) {
	b, found, err := w.find(ctx, token)
	if a, ok := ctx.Value(attemptKey{}).(*attempt); ok {
		a.key, a.base, a.data, a.found = token, b, b, found && err == nil
	}
	return b, found, err
}

func (w *watched) find(ctx context.Context, token string) ([]byte, bool, error) {
	if c, ok := w.inner.(scs.CtxStore); ok {
		return c.FindCtx(ctx, token)
	}
	return w.inner.Find(token)
}

// CommitCtx implements scs.CtxStore. For pages see Backend.LoadAndSave. For a handler of a socket the error is httpsession.ErrConflict if others have written the
// session, httpsession.ErrNoSession if it has ended.
func (w *watched) CommitCtx(ctx context.Context, token string, b []byte, expiry time.Time) error {
	a, ok := ctx.Value(attemptKey{}).(*attempt)
	if !ok || a.key != token || a.page && (!a.found || w.ours == nil) {
		return w.commit(ctx, token, b, expiry)
	}
	ttl := time.Until(expiry)
	if a.page && ttl > 0 {
		return w.commitPage(ctx, a, b, ttl)
	}
	if a.page {
		return w.remove(ctx, token)
	}
	if ttl <= 0 {
		return httpsession.ErrNoSession
	}
	err := w.swap(ctx, a, b, expiry, ttl)
	if err == nil {
		a.data = b
	}
	return err
}

// swap writes what a handler of a socket has changed. A store of others is at least asked whether the session is still there.
func (w *watched) swap(ctx context.Context, a *attempt, b []byte, expiry time.Time, ttl time.Duration) error {
	if w.ours == nil {
		_, found, err := w.find(ctx, a.key)
		if err == nil && !found {
			err = httpsession.ErrNoSession
		}
		if err != nil {
			return err
		}
		return w.commit(ctx, a.key, b, expiry)
	}
	done, err := w.ours.s.Swap(ctx, a.key, a.data, b, ttl)
	if err == nil && !done {
		err = httpsession.ErrConflict
	}
	return err
}

func (w *watched) commit(ctx context.Context, token string, b []byte, expiry time.Time) error {
	if c, ok := w.inner.(scs.CtxStore); ok {
		return c.CommitCtx(ctx, token, b, expiry)
	}
	return w.inner.Commit(token, b, expiry)
}

// DeleteCtx implements scs.CtxStore: it tells of the end.
func (w *watched) DeleteCtx(ctx context.Context, token string) error {
	if err := w.remove(ctx, token); err != nil {
		return err
	}
	if token == "" { // of a session that was never stored
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	w.ended(ctx, token)
	return nil
}

func (w *watched) remove(ctx context.Context, token string) error {
	if c, ok := w.inner.(scs.CtxStore); ok {
		return c.DeleteCtx(ctx, token)
	}
	return w.inner.Delete(token)
}

// All implements scs.IterableStore.
func (w iterable) All() (map[string][]byte, error) {
	ctx, cancel := background()
	defer cancel()
	return w.AllCtx(ctx)
}

// AllCtx implements scs.IterableCtxStore.
func (w iterable) AllCtx(ctx context.Context) (map[string][]byte, error) {
	if c, ok := w.inner.(scs.IterableCtxStore); ok {
		return c.AllCtx(ctx)
	}
	i, _ := w.inner.(scs.IterableStore) // it is one or the other
	return i.All()
}
