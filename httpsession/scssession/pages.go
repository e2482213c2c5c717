package scssession

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/sockeye-io/sockeye/httpsession"
)

// LoadAndSave is SessionManager.LoadAndSave, to be put around the pages instead of it, that undoes nothing which a socket or
// another request has written while a request is under way: of what is there then only the keys change that the request has
// changed, a request that has changed none only puts off the end, and a session that has ended stays so. With a store that is
// not ours it does what SessionManager.LoadAndSave does.
func (b *Backend) LoadAndSave(next http.Handler) http.Handler {
	inner := b.m.LoadAndSave(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inner.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), attemptKey{}, &attempt{page: true})))
	})
}

// content is a session outside of its bytes.
type content struct {
	deadline time.Time
	values   map[string]any
}

func decode(c scs.Codec, data []byte) (content, error) {
	deadline, values, err := c.Decode(data)
	if err != nil {
		return content{}, fmt.Errorf("scssession: read a session: %w", err)
	}
	return content{deadline, values}, nil
}

func (c content) keys() []string {
	all := make([]string, 0, len(c.values))
	for k := range c.values {
		all = append(all, k)
	}
	return all
}

// change is what is not as it was read.
type change struct {
	keys     []string
	deadline bool
}

func (c change) any() bool { return len(c.keys) > 0 || c.deadline }

// changed compares with what there was.
func (c content) changed(was content) change {
	d := change{deadline: !was.deadline.Equal(c.deadline)}
	for _, k := range union(was.keys(), c.keys()) {
		if !reflect.DeepEqual(was.values[k], c.values[k]) {
			d.keys = append(d.keys, k)
		}
	}
	return d
}

func union(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

// apply makes a change of c in other.
func (c content) apply(d change, other *content) {
	for _, k := range d.keys {
		if v, ok := c.values[k]; ok {
			other.values[k] = v
		} else {
			delete(other.values, k)
		}
	}
	if d.deadline {
		other.deadline = c.deadline
	}
}

// commitPage writes what a request has made of a session.
func (w *watched) commitPage(ctx context.Context, a *attempt, b []byte, ttl time.Duration) error {
	err := w.mergePage(ctx, a, b, ttl)
	if errors.Is(err, httpsession.ErrNoSession) { // a logout is stronger than what was under way
		return nil
	}
	return err
}

func (w *watched) mergePage(ctx context.Context, a *attempt, b []byte, ttl time.Duration) error {
	base, err := decode(w.codec, a.base)
	if err != nil {
		return err
	}
	now, err := decode(w.codec, b)
	if err != nil {
		return err
	}
	d := now.changed(base)
	if !d.any() {
		return w.ours.s.Touch(ctx, a.key, ttl)
	}
	for range attempts {
		data := b
		if !bytes.Equal(a.base, a.data) {
			there, err := decode(w.codec, a.data)
			if err != nil {
				return err
			}
			now.apply(d, &there)
			if data, err = w.codec.Encode(there.deadline, there.values); err != nil {
				return fmt.Errorf("scssession: write a session: %w", err)
			}
		}
		done, err := w.ours.s.Swap(ctx, a.key, a.data, data, ttl)
		if err != nil {
			return err
		}
		if done {
			a.base, a.data = b, data
			return nil
		}
		if a.data, err = w.ours.s.Get(ctx, a.key); err != nil {
			return err
		}
	}
	return httpsession.ErrConflict
}
