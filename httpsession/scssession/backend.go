package scssession

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/sockeye-io/sockeye/httpsession"
)

// ErrNotAtomic says that the store of the SessionManager cannot compare what it has with what was read, which
// httpsession.Session.Update needs.
var ErrNotAtomic = errors.New("scssession: the store cannot compare and write")

// maxToken bounds a token, which has 43 characters in scs.
const maxToken = 256

// Backend has the sessions of a SessionManager. It is safe for concurrent use.
type Backend struct {
	m      *scs.SessionManager
	reader scs.SessionManager // m, but that reading changes nothing
	store  *watched
}

var (
	_ httpsession.Backend = (*Backend)(nil)
	_ httpsession.Ender   = (*Backend)(nil)
)

// New makes a Backend of a manager that has been set up, its Store too: it puts something before that store, so that it hears of
// sessions that end. There is one Backend for a manager.
func New(m *scs.SessionManager) (*Backend, error) {
	if m == nil || m.Store == nil {
		return nil, errors.New("scssession: a SessionManager with a store is needed")
	}
	if _, ok := m.Store.(interface{ watching() }); ok {
		return nil, errors.New("scssession: the SessionManager has a Backend already")
	}
	w := &watched{inner: m.Store, codec: m.Codec, ended: func(context.Context, string) {}}
	w.ours, _ = m.Store.(*Store)
	m.Store = w
	_, plain := w.inner.(scs.IterableStore)
	_, withContext := w.inner.(scs.IterableCtxStore)
	if plain || withContext {
		m.Store = iterable{w}
	}
	b := &Backend{m: m, reader: *m, store: w}
	b.reader.IdleTimeout = 0 // or each event would be a change
	return b, nil
}

func (*watched) watching() {}

// OnEnd implements httpsession.Ender.
func (b *Backend) OnEnd(f func(ctx context.Context, key string)) { b.store.ended = f }

// Ref implements httpsession.Backend.
func (b *Backend) Ref(h http.Header) (httpsession.Ref, bool) {
	c, err := (&http.Request{Header: h}).Cookie(b.m.Cookie.Name)
	if err != nil || c.Value == "" || len(c.Value) > maxToken {
		return httpsession.Ref{}, false
	}
	ref := httpsession.Ref{Key: c.Value, Token: c.Value}
	if b.m.HashTokenInStore {
		sum := sha256.Sum256([]byte(c.Value))
		ref.Key = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	return ref, true
}

// Load implements httpsession.Backend.
func (b *Backend) Load(ctx context.Context, ref httpsession.Ref) (httpsession.Record, error) {
	r := &record{b: b, ref: ref}
	if err := r.load(ctx); err != nil {
		return nil, err
	}
	return r, nil
}

// Touch implements httpsession.Backend. With an IdleTimeout it puts off the end as a request does, else it only asks.
func (b *Backend) Touch(ctx context.Context, refs []httpsession.Ref) ([]time.Duration, error) {
	ttls := make([]time.Duration, len(refs))
	if b.m.IdleTimeout <= 0 {
		there, err := b.Exist(ctx, refs)
		for i := range there {
			if !there[i] {
				ttls[i] = httpsession.Gone
			}
		}
		return ttls, err
	}
	all, err := b.all(ctx, refs)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	var ids []string
	var until []time.Duration
	for i, data := range all {
		if data == nil {
			ttls[i] = httpsession.Gone
			continue
		}
		deadline, _, err := b.m.Codec.Decode(data)
		if err != nil { // for who reads it
			continue
		}
		ttl := b.m.IdleTimeout
		if left := deadline.Sub(now); left > ttl {
			ttls[i] = ttl
		} else { // it cannot be put off further
			ttl = left
		}
		if b.store.ours == nil {
			if err := b.store.commit(ctx, refs[i].Key, data, now.Add(ttl)); err != nil {
				return nil, err
			}
			continue
		}
		if ttl > 0 {
			ids, until = append(ids, refs[i].Key), append(until, ttl)
		}
	}
	if len(ids) > 0 {
		err = b.store.ours.batch.TouchAll(ctx, ids, until)
	}
	return ttls, err
}

// all gives what is stored of sessions, nil for each that is not there.
func (b *Backend) all(ctx context.Context, refs []httpsession.Ref) ([][]byte, error) {
	if s := b.store.ours; s != nil {
		return s.batch.GetAll(ctx, ids(refs))
	}
	all := make([][]byte, len(refs))
	for i, r := range refs {
		data, found, err := b.store.find(ctx, r.Key)
		switch {
		case err != nil:
			return nil, err
		case found:
			all[i] = data
		}
	}
	return all, nil
}

// Exist implements httpsession.Backend.
func (b *Backend) Exist(ctx context.Context, refs []httpsession.Ref) ([]bool, error) {
	if s := b.store.ours; s != nil {
		return s.batch.Exist(ctx, ids(refs))
	}
	all, err := b.all(ctx, refs)
	if err != nil {
		return nil, err
	}
	there := make([]bool, len(refs))
	for i := range all {
		there[i] = all[i] != nil
	}
	return there, nil
}

// Delete implements httpsession.Backend.
func (b *Backend) Delete(ctx context.Context, ref httpsession.Ref) error {
	return b.store.remove(ctx, ref.Key)
}

func ids(refs []httpsession.Ref) []string {
	s := make([]string, len(refs))
	for i, r := range refs {
		s[i] = r.Key
	}
	return s
}
