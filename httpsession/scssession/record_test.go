package scssession_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/sockeye-io/sockeye/httpsession"
	"github.com/sockeye-io/sockeye/httpsession/scssession"
)

// load makes a session in a manager and reads it by a Backend.
func load(t *testing.T, m *scs.SessionManager, values map[string]any) (*scssession.Backend, httpsession.Ref) {
	t.Helper()
	b, err := scssession.New(m)
	if err != nil {
		t.Fatal(err)
	}
	ctx, err := m.Load(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range values {
		m.Put(ctx, k, v)
	}
	token, _, err := m.Commit(ctx)
	if err != nil {
		t.Fatal(err)
	}
	ref, ok := b.Ref(http.Header{"Cookie": {m.Cookie.Name + "=" + token}})
	if !ok {
		t.Fatal("the cookie is refused")
	}
	return b, ref
}

func read(t *testing.T, b *scssession.Backend, ref httpsession.Ref) httpsession.Record {
	t.Helper()
	r, err := b.Load(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRecord_Conflicts(t *testing.T) {
	t.Parallel()
	for _, hash := range []bool{false, true} {
		m := newManager()
		m.HashTokenInStore = hash
		m.Store = scssession.NewStore(httpsession.NewMemory())
		b, ref := load(t, m, map[string]any{"a": 1, "b": 1, "c": 1})
		one, two := read(t, b, ref), read(t, b, ref)
		if err := errors.Join(one.Set("a", 2), one.Delete("b"), two.Set("c", 3), two.Set("d", 4)); err != nil {
			t.Fatal(err)
		}
		if err := one.Save(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		if err := two.Save(t.Context(), false); !errors.Is(err, httpsession.ErrConflict) {
			t.Errorf("without merging: %v", err)
		}
		if err := two.Save(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(two.Save(t.Context(), true), two.Set("e", 5), two.Save(t.Context(), false)); err != nil { // no conflict with itself
			t.Error(err)
		}
		for i, r := range []httpsession.Record{read(t, b, ref), two} {
			for key, want := range map[string]int{"a": 2, "c": 3, "d": 4, "e": 5} {
				var n int
				if ok, err := r.Get(key, &n); !ok || err != nil || n != want {
					t.Errorf("%d: %s is %d, %v, %v", i, key, n, ok, err)
				}
			}
			var n int
			if ok, _ := r.Get("b", &n); ok {
				t.Errorf("%d: b is %d", i, n)
			}
		}
		late := read(t, b, ref)
		if err := errors.Join(late.Set("a", 9), b.Delete(t.Context(), ref)); err != nil {
			t.Fatal(err)
		}
		if err := late.Save(t.Context(), true); !errors.Is(err, httpsession.ErrNoSession) {
			t.Errorf("after the end: %v", err)
		}
		if _, err := b.Load(t.Context(), ref); !errors.Is(err, httpsession.ErrNoSession) {
			t.Errorf("it lives again: %v", err)
		}
	}
}

// A request undoes nothing that was written while it was under way, and brings no session back.
func TestBackend_LoadAndSave(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name      string
		page      func(m *scs.SessionManager, ctx context.Context)
		meanwhile func(r httpsession.Record) error // nil ends the session
		want      map[string]int                   // nil is that there is none
		commits   bool                             // whether the page writes in between, too
		idle      time.Duration
	}{
		{
			"reads only", func(*scs.SessionManager, context.Context) {},
			func(r httpsession.Record) error { return r.Set("a", 2) },
			map[string]int{"a": 2, "b": 1},
			false, time.Hour,
		},
		{
			"another key", func(m *scs.SessionManager, ctx context.Context) { m.Put(ctx, "b", 7); m.Put(ctx, "c", 8) },
			func(r httpsession.Record) error { return errors.Join(r.Set("a", 2), r.Set("b", 3)) },
			map[string]int{"a": 2, "b": 7, "c": 8},
			false, 0,
		},
		{
			"twice", func(m *scs.SessionManager, ctx context.Context) { m.Put(ctx, "b", 7) },
			func(r httpsession.Record) error { return errors.Join(r.Set("a", 2), r.Set("d", 4)) },
			map[string]int{"a": 2, "b": 7, "d": 4, "e": 5},
			true, time.Hour,
		},
		{
			"removes", func(m *scs.SessionManager, ctx context.Context) { m.Remove(ctx, "b") },
			func(r httpsession.Record) error { return r.Set("a", 2) },
			map[string]int{"a": 2},
			false, time.Hour,
		},
		{"logout meanwhile", func(m *scs.SessionManager, ctx context.Context) { m.Put(ctx, "b", 7) }, nil, nil, false, time.Hour},
		{"logout meanwhile, only read", func(*scs.SessionManager, context.Context) {}, nil, nil, false, time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := newManager()
			m.IdleTimeout = c.idle
			m.Store = scssession.NewStore(httpsession.NewMemory())
			b, ref := load(t, m, map[string]any{"a": 1, "b": 1})
			page := b.LoadAndSave(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				if c.meanwhile == nil {
					if err := b.Delete(t.Context(), ref); err != nil {
						t.Error(err)
					}
				} else {
					rec := read(t, b, ref)
					if err := errors.Join(c.meanwhile(rec), rec.Save(t.Context(), false)); err != nil {
						t.Error(err)
					}
				}
				c.page(m, r.Context())
				if c.commits {
					if _, _, err := m.Commit(r.Context()); err != nil {
						t.Error(err)
					}
					m.Put(r.Context(), "e", 5)
				}
			}))
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
			r.AddCookie(&http.Cookie{Name: m.Cookie.Name, Value: ref.Token})
			w := httptest.NewRecorder()
			page.ServeHTTP(w, r)
			if w.Code != http.StatusOK {
				t.Errorf("%d: %s", w.Code, w.Body)
			}
			rec, err := b.Load(t.Context(), ref)
			if c.want == nil {
				if !errors.Is(err, httpsession.ErrNoSession) {
					t.Errorf("it lives: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, key := range []string{"a", "b", "c", "d", "e"} {
				var n int
				_, err := rec.Get(key, &n)
				if err != nil || n != c.want[key] {
					t.Errorf("%s is %d, %v; want %d", key, n, err, c.want[key])
				}
			}
		})
	}
}

func TestRecord_Get(t *testing.T) {
	t.Parallel()
	m := newManager()
	m.Store = scssession.NewStore(httpsession.NewMemory())
	b, ref := load(t, m, map[string]any{"n": 1})
	r := read(t, b, ref)
	var s string
	if ok, err := r.Get("n", &s); !ok || err == nil {
		t.Errorf("a number as a string: %v, %v", ok, err)
	}
	var v any
	if ok, err := r.Get("n", &v); !ok || err != nil || v != 1 {
		t.Errorf("as any: %v, %v, %v", v, ok, err)
	}
	if _, err := r.Get("n", s); err == nil {
		t.Error("no pointer is taken")
	}
	if err := r.Set("f", func() {}); err != nil {
		t.Fatal(err)
	}
	if err := r.Save(t.Context(), true); err == nil {
		t.Error("gob takes a function")
	}
}
