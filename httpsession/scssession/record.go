package scssession

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/alexedwards/scs/v2"

	"github.com/sockeye-io/sockeye/httpsession"
)

// record is a session that was read. Its values are in a context, where scs has them.
type record struct {
	b   *Backend
	ref httpsession.Ref
	in  context.Context //nolint:containedctx // scs keeps values nowhere else
	was *attempt
}

// bare is a context without the values of another: what scs may have in that is another session.
type bare struct{ context.Context }

// Value implements context.Context.
func (bare) Value(any) any { return nil }

// with is a context with the values of another before its own.
type with struct {
	context.Context
	values context.Context //nolint:containedctx // see record
}

// Value implements context.Context.
func (c with) Value(key any) any {
	if v := c.values.Value(key); v != nil {
		return v
	}
	return c.Context.Value(key)
}

var _ httpsession.Contexter = (*record)(nil)

func (r *record) load(ctx context.Context) error {
	a := &attempt{}
	in, err := r.b.reader.Load(context.WithValue(bare{ctx}, attemptKey{}, a), r.ref.Token)
	if err != nil {
		return fmt.Errorf("scssession: read a session: %w", err)
	}
	if !a.found {
		return httpsession.ErrNoSession
	}
	r.in, r.was = in, a
	return nil
}

// Context implements httpsession.Contexter.
func (r *record) Context(ctx context.Context) context.Context { return with{ctx, r.in} }

// Get implements httpsession.Record. dst points to the type that the value was put as, or to an interface that it has.
func (r *record) Get(key string, dst any) (bool, error) {
	v := r.b.m.Get(r.in, key)
	if v == nil {
		return false, nil
	}
	to := reflect.ValueOf(dst)
	if to.Kind() != reflect.Pointer || to.IsNil() {
		return true, errors.New("scssession: dst is not a pointer")
	}
	from := reflect.ValueOf(v)
	if !from.Type().AssignableTo(to.Elem().Type()) {
		return true, fmt.Errorf("scssession: value of another type: %v, not %v", from.Type(), to.Elem().Type())
	}
	to.Elem().Set(from)
	return true, nil
}

// Set implements httpsession.Record. gob must know the type, as for scs.
func (r *record) Set(key string, v any) error {
	r.b.m.Put(r.in, key, v)
	return nil
}

// Delete implements httpsession.Record.
func (r *record) Delete(key string) error {
	r.b.m.Remove(r.in, key)
	return nil
}

// attempts is how often a change is tried that others write between.
const attempts = 16

// Save implements httpsession.Record.
func (r *record) Save(ctx context.Context, merge bool) error {
	if r.b.m.Status(r.in) != scs.Modified || r.b.m.Token(r.in) == "" { // "" after Destroy
		return nil
	}
	if !merge && r.b.store.ours == nil {
		return ErrNotAtomic
	}
	changed, err := r.changed()
	if err != nil || !changed.any() {
		return err
	}
	err = r.commit(ctx)
	if !merge {
		return err
	}
	for range attempts {
		if !errors.Is(err, httpsession.ErrConflict) {
			return err
		}
		fresh := &record{b: r.b, ref: r.ref}
		if err = fresh.load(ctx); err != nil {
			return err
		}
		r.copyTo(fresh, changed.keys)
		if changed.deadline {
			r.b.m.SetDeadline(fresh.in, r.b.m.Deadline(r.in))
		}
		if err = fresh.commit(ctx); err == nil {
			fresh.copyTo(r, union(r.b.m.Keys(r.in), r.b.m.Keys(fresh.in)))
			r.was.data = fresh.was.data
		}
	}
	return err
}

func (r *record) commit(ctx context.Context) error {
	_, _, err := r.b.m.Commit(r.Context(ctx))
	if err != nil && !errors.Is(err, httpsession.ErrConflict) && !errors.Is(err, httpsession.ErrNoSession) {
		return fmt.Errorf("scssession: write a session: %w", err)
	}
	return err
}

// copyTo makes the values of keys in another record what they are in this one.
func (r *record) copyTo(other *record, keys []string) {
	for _, k := range keys {
		if v := r.b.m.Get(r.in, k); v != nil {
			r.b.m.Put(other.in, k, v)
		} else {
			r.b.m.Remove(other.in, k)
		}
	}
}

// changed compares with what was read.
func (r *record) changed() (change, error) {
	was, err := decode(r.b.m.Codec, r.was.data)
	if err != nil {
		return change{}, err
	}
	now := content{r.b.m.Deadline(r.in), make(map[string]any)}
	for _, k := range r.b.m.Keys(r.in) {
		now.values[k] = r.b.m.Get(r.in, k)
	}
	return now.changed(was), nil
}
