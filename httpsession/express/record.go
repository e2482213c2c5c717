package express

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/sockeye-io/sockeye/httpsession"
)

// record is a session that was read.
type record struct {
	b       *Backend
	id      string
	data    []byte // as it is in the store, so far as is known
	doc     document
	changes []change
}

// change is what is to be done to one key: raw is nil to take it out.
type change struct {
	key string
	raw []byte
}

func (r *record) load(ctx context.Context) error {
	data, err := r.b.cfg.Store.Get(ctx, r.id)
	if err != nil {
		return err
	}
	doc, err := parseDocument(data)
	if err != nil {
		return err
	}
	r.data, r.doc = data, doc
	return nil
}

// unusable are keys that a session of express-session has as an object already, so that what is stored under them is dropped.
//
// Node: express-session/session/session.js Session
var unusable = []string{
	cookieKey, "req", "id", "touch", "resetMaxAge", "save", "reload", "destroy", "regenerate", "constructor", "hasOwnProperty",
	"isPrototypeOf", "propertyIsEnumerable", "toLocaleString", "toString", "valueOf", "__proto__", "__defineGetter__",
	"__defineSetter__", "__lookupGetter__", "__lookupSetter__",
}

// Get implements httpsession.Record. The key "cookie" may be read.
func (r *record) Get(key string, dst any) (bool, error) {
	i := r.doc.index(key)
	if i < 0 {
		return false, nil
	}
	if err := decodeJSON(r.doc[i].raw, dst); err != nil {
		return true, fmt.Errorf("express: value of another type: %w", err)
	}
	return true, nil
}

// Set implements httpsession.Record. Errors: ErrReservedKey, and those of encoding/json. A value that is written the same as
// before is no change.
func (r *record) Set(key string, v any) error {
	if slices.Contains(unusable, key) {
		return ErrReservedKey
	}
	raw, err := encodeJSON(v)
	if err != nil {
		return fmt.Errorf("express: encode a value: %w", err)
	}
	if i := r.doc.index(key); i >= 0 && bytes.Equal(r.doc[i].raw, raw) && !r.changed(key) {
		return nil
	}
	r.note(change{key, raw})
	return nil
}

// Delete implements httpsession.Record. Errors: ErrReservedKey.
func (r *record) Delete(key string) error {
	if slices.Contains(unusable, key) {
		return ErrReservedKey
	}
	if r.doc.index(key) >= 0 {
		r.note(change{key, nil})
	}
	return nil
}

func (r *record) changed(key string) bool {
	return slices.ContainsFunc(r.changes, func(c change) bool { return c.key == key })
}

func (r *record) note(c change) {
	r.changes = slices.DeleteFunc(r.changes, func(old change) bool { return old.key == c.key })
	r.changes = append(r.changes, c)
	r.apply(c)
}

func (r *record) apply(c change) {
	if c.raw == nil {
		r.doc = r.doc.remove(c.key)
		return
	}
	r.doc = r.doc.set(c.key, c.raw)
}

// attempts is how often a change is tried that others write between.
const attempts = 16

// Save implements httpsession.Record.
//
// Differs from Node: a session that was destroyed is not written again, and one that others have written is not overwritten.
func (r *record) Save(ctx context.Context, merge bool) error {
	if len(r.changes) == 0 {
		return nil
	}
	for range attempts {
		data := r.doc.encode()
		ttl := r.b.ttl(r.doc)
		if r.b.cfg.DisableTTL {
			ttl = 0
		} else if ttl <= 0 {
			return r.b.expire(ctx, r.id)
		}
		done, err := r.b.cfg.Store.Swap(ctx, r.id, r.data, data, ttl)
		if err != nil {
			return err
		}
		if done {
			r.data, r.changes = data, nil
			return nil
		}
		if !merge {
			return httpsession.ErrConflict
		}
		if err := r.load(ctx); err != nil {
			return err
		}
		for _, c := range r.changes {
			r.apply(c)
		}
	}
	return httpsession.ErrConflict
}

// expire deletes a session that has no time left.
func (b *Backend) expire(ctx context.Context, id string) error {
	if err := b.cfg.Store.Delete(ctx, id); err != nil {
		return err
	}
	return httpsession.ErrNoSession
}
