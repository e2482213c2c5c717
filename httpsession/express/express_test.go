package express

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/httpsession"
)

func newBackend(t *testing.T, c Config) *Backend {
	t.Helper()
	if c.Secrets == nil {
		c.Secrets = []string{secretA, secretB}
	}
	b, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestNew_Refuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]Config{
		"no secret":      {},
		"empty secret":   {Secrets: []string{""}},
		"short secret":   {Secrets: []string{strings.Repeat("x", MinSecret-1)}},
		"one of several": {Secrets: []string{secretA, "keyboard cat"}},
		"name":           {Secrets: []string{secretA}, Name: "a b"},
		"TTL":            {Secrets: []string{secretA}, TTL: -1},
	} {
		_, err := New(c)
		if err == nil {
			t.Errorf("%s: taken", name)
			continue
		}
		for _, s := range c.Secrets {
			if s != "" && strings.Contains(err.Error(), s) {
				t.Errorf("%s: the error tells a secret: %v", name, err)
			}
		}
	}
}

// header is that of a request with a cookie.
func header(c *http.Cookie) http.Header {
	return http.Header{"Cookie": {c.Name + "=" + c.Value}}
}

func TestBackend_Create(t *testing.T) {
	t.Parallel()
	store := httpsession.NewMemory()
	b := newBackend(t, Config{Store: store, Name: "sid"})
	c, err := b.Create(t.Context(), &http.Cookie{Path: "/app", HttpOnly: true, Secure: true, MaxAge: 60, SameSite: http.SameSiteLaxMode},
		map[string]any{"user": map[string]any{"id": 1}, "a": "b"})
	if err != nil {
		t.Fatal(err)
	}
	if c.Name != "sid" || c.Path != "/app" || c.MaxAge != 60 || c.Valid() != nil {
		t.Errorf("cookie %v, %v", c, c.Valid())
	}
	ref, ok := b.Ref(header(c))
	if !ok || len(ref.Key) != 32 {
		t.Fatalf("the cookie is refused: %d bytes of id, %v", len(ref.Key), ok)
	}
	data, err := store.Get(t.Context(), ref.Key)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := parseDocument(data)
	if err != nil {
		t.Fatal(err)
	}
	var kept struct {
		Cookie struct {
			OriginalMaxAge int
			Expires        time.Time
			Secure         bool
			SameSite, Path string
		}
	}
	if err := json.Unmarshal(doc.encode(), &kept); err != nil {
		t.Fatal(err)
	}
	if k := kept.Cookie; k.OriginalMaxAge != 60000 || k.Expires.IsZero() || !k.Secure || k.SameSite != "lax" || k.Path != "/app" {
		t.Errorf("kept %+v", k)
	}
	if !strings.HasSuffix(string(data), `,"a":"b","user":{"id":1}}`) || !strings.HasPrefix(string(data), `{"cookie":{"originalMaxAge":60000,`) {
		t.Errorf("stored %s", data)
	}
	plain, err := b.Create(t.Context(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	ref, _ = b.Ref(header(plain))
	data, err = store.Get(t.Context(), ref.Key)
	if want := `{"cookie":{"originalMaxAge":null,"expires":null,"httpOnly":true,"path":"/"}}`; err != nil || string(data) != want {
		t.Errorf("stored %s, %v", data, err)
	}
	if _, err := b.Create(t.Context(), nil, map[string]any{"save": 1}); !errors.Is(err, ErrReservedKey) {
		t.Errorf("reserved key: %v", err)
	}
}

// rival is a Store that others write between a read and the write.
type rival struct {
	*httpsession.Memory
	mu    sync.Mutex
	write []string // what they write, one before each Swap
}

func (s *rival) Swap(ctx context.Context, id string, old, data []byte, ttl time.Duration) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.write) > 0 {
		if s.write[0] == "" {
			_ = s.Delete(ctx, id) // always nil
		} else {
			_ = s.Set(ctx, id, []byte(s.write[0]), ttl) // there is room
		}
		s.write = s.write[1:]
	}
	return s.Memory.Swap(ctx, id, old, data, ttl)
}

func TestRecord_Conflicts(t *testing.T) {
	t.Parallel()
	const head = `{"cookie":{"originalMaxAge":null}`
	open := func(t *testing.T, write ...string) (*rival, *Backend, httpsession.Record) {
		t.Helper()
		s := &rival{Memory: httpsession.NewMemory()}
		b := newBackend(t, Config{Store: s})
		if err := s.Set(t.Context(), "id", []byte(head+`,"a":1,"b":1,"c":1}`), 0); err != nil {
			t.Fatal(err)
		}
		r, err := b.Load(t.Context(), httpsession.Ref{Key: "id"})
		if err != nil {
			t.Fatal(err)
		}
		s.write = write
		return s, b, r
	}
	change := func(t *testing.T, r httpsession.Record) {
		t.Helper()
		if err := errors.Join(r.Set("a", 2), r.Delete("b")); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("merged", func(t *testing.T) {
		t.Parallel()
		s, _, r := open(t, head+`,"a":7,"b":7,"c":7}`, head+`,"new":1,"c":8,"b":9}`)
		change(t, r)
		if err := r.Save(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		if len(s.write) != 0 {
			t.Fatal("nobody has written between")
		}
		got, err := s.Get(t.Context(), "id")
		if want := head + `,"new":1,"c":8,"a":2}`; err != nil || string(got) != want {
			t.Errorf("%s, %v; want %s", got, err, want)
		}
		if err := r.Save(t.Context(), true); err != nil { // nothing more to write
			t.Error(err)
		}
	})
	t.Run("not merged", func(t *testing.T) {
		t.Parallel()
		s, _, r := open(t, head+`,"a":7}`)
		change(t, r)
		if err := r.Save(t.Context(), false); !errors.Is(err, httpsession.ErrConflict) {
			t.Errorf("%v", err)
		}
		if got, err := s.Get(t.Context(), "id"); err != nil || string(got) != head+`,"a":7}` {
			t.Errorf("%s, %v", got, err)
		}
	})
	t.Run("destroyed", func(t *testing.T) {
		t.Parallel()
		for _, write := range [][]string{{""}, {head + "}", ""}} {
			s, _, r := open(t, write...)
			change(t, r)
			if err := r.Save(t.Context(), true); !errors.Is(err, httpsession.ErrNoSession) {
				t.Errorf("%v", err)
			}
			if _, err := s.Get(t.Context(), "id"); !errors.Is(err, httpsession.ErrNoSession) {
				t.Errorf("it lives again: %v", err)
			}
		}
	})
	t.Run("for ever", func(t *testing.T) {
		t.Parallel()
		var write []string
		for range attempts {
			write = append(write, head+`,"n":`+strings.Repeat("1", len(write)+1)+"}")
		}
		_, _, r := open(t, write...)
		change(t, r)
		if err := r.Save(t.Context(), true); !errors.Is(err, httpsession.ErrConflict) {
			t.Errorf("%v", err)
		}
	})
}

func TestBackend_Lifetime(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		config Config
		maxAge string
		touch  time.Duration // what Touch tells
		left   time.Duration // after a Touch or a write 10 s after the session was made for a minute
		saved  time.Duration
	}{
		{"no maxAge", Config{}, "null", defaultTTL, defaultTTL, defaultTTL},
		{"ttl", Config{TTL: time.Hour}, "null", time.Hour, time.Hour, time.Hour},
		{"maxAge", Config{TTL: time.Hour}, "90500", 90500 * time.Millisecond, 90500 * time.Millisecond, 90500 * time.Millisecond},
		{"touch disabled", Config{DisableTouch: true}, "90000", 0, 50 * time.Second, 90 * time.Second},
		{"huge", Config{}, "1e300", 0, 0, 0},
		{"no time", Config{}, "0", httpsession.Gone, -1, -1},
		{"over", Config{}, "-5", httpsession.Gone, -1, -1},
		{"never", Config{DisableTTL: true}, "0", 0, 50 * time.Second, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for _, how := range []string{"touch", "save"} {
				synctest.Test(t, func(t *testing.T) {
					store := httpsession.NewMemory()
					c.config.Store = store
					b := newBackend(t, c.config)
					ref := httpsession.Ref{Key: "id"}
					if err := store.Set(t.Context(), "id", []byte(`{"cookie":{"originalMaxAge":`+c.maxAge+`}}`), time.Minute); err != nil {
						t.Fatal(err)
					}
					time.Sleep(10 * time.Second)
					want := c.left
					if how == "touch" {
						ttls, err := b.Touch(t.Context(), []httpsession.Ref{ref, {Key: "other"}})
						if err != nil || c.touch != ttls[0] && c.name != "huge" || ttls[1] != httpsession.Gone {
							t.Fatalf("touch: %v, %v; want %v", ttls, err, c.touch)
						}
					} else {
						want = c.saved
						r, err := b.Load(t.Context(), ref)
						if err != nil {
							t.Fatal(err)
						}
						if err := r.Set("n", 1); err != nil {
							t.Fatal(err)
						}
						if err := r.Save(t.Context(), true); err != nil && want >= 0 {
							t.Fatal(err)
						}
					}
					there := func() bool {
						ok, err := b.Exist(t.Context(), []httpsession.Ref{ref})
						if err != nil {
							t.Fatal(err)
						}
						return ok[0]
					}
					if want == 0 { // for ever, or nearly
						time.Sleep(100 * 365 * 24 * time.Hour)
						if !there() {
							t.Errorf("%s: gone", how)
						}
						return
					}
					if want > 0 {
						time.Sleep(want - time.Nanosecond)
						if !there() {
							t.Errorf("%s: gone too soon", how)
						}
						time.Sleep(time.Nanosecond)
					}
					if there() {
						t.Errorf("%s: there after %v", how, want)
					}
				})
			}
		})
	}
}
