package scssession_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/alexedwards/scs/v2/memstore"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/client"
	"github.com/sockeye-io/sockeye/httpsession"
	"github.com/sockeye-io/sockeye/httpsession/scssession"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/rueidisdriver"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// newManager is scs.New without its first store, which has a goroutine that cannot be ended without a race.
func newManager() *scs.SessionManager {
	return &scs.SessionManager{
		Lifetime: 24 * time.Hour, Codec: scs.GobCodec{}, Cookie: scs.SessionCookie{Name: "session", Path: "/", Persist: true},
		Store: memstore.NewWithCleanupInterval(0),
		ErrorFunc: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		},
	}
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Scale(30*time.Second))
	t.Cleanup(cancel)
	return ctx
}

// app is a web application with sockets: /login?name=x, /logout, /renew, /name.
type app struct {
	t       *testing.T
	manager *scs.SessionManager
	around  func(next http.Handler) http.Handler
	io      *sockeye.Server
	url     string
}

func newApp(t *testing.T, store scs.Store, cluster adapter.Cluster, hash bool) *app {
	t.Helper()
	a := &app{t: t, manager: newManager()}
	if store != nil {
		a.manager.Store = store
	}
	a.manager.HashTokenInStore = hash
	a.manager.IdleTimeout = time.Hour
	backend, err := scssession.New(a.manager)
	if err != nil {
		t.Fatal(err)
	}
	a.around = backend.LoadAndSave
	sessions, err := httpsession.New(backend, httpsession.Config{CheckInterval: -1})
	if err != nil {
		t.Fatal(err)
	}
	a.io, err = sockeye.New(sockeye.Config{Adapter: cluster, Hooks: sockeye.Hooks{Error: func(_ context.Context, err error) {
		t.Errorf("hook: %v", err)
	}}})
	if err != nil {
		t.Fatal(err)
	}
	sessions.Use(a.io.Of("/"))
	a.events()
	web := httptest.NewServer(a.io)
	a.url = web.URL
	t.Cleanup(func() {
		if err := errors.Join(a.io.Close(), sessions.Close()); err != nil {
			t.Error(err)
		}
		web.Close()
	})
	return a
}

func (a *app) pages() http.Handler {
	mux := http.NewServeMux()
	must := func(err error) {
		if err != nil {
			a.t.Error(err)
		}
	}
	mux.HandleFunc("/login", func(_ http.ResponseWriter, r *http.Request) {
		must(a.manager.RenewToken(r.Context()))
		a.manager.Put(r.Context(), "name", r.FormValue("name"))
	})
	mux.HandleFunc("/set", func(_ http.ResponseWriter, r *http.Request) {
		a.manager.Put(r.Context(), r.FormValue("key"), r.FormValue("value"))
	})
	mux.HandleFunc("/get", func(w http.ResponseWriter, r *http.Request) {
		_, err := w.Write([]byte(a.manager.GetString(r.Context(), r.FormValue("key"))))
		must(err)
	})
	mux.HandleFunc("/renew", func(_ http.ResponseWriter, r *http.Request) { must(a.manager.RenewToken(r.Context())) })
	mux.HandleFunc("/logout", func(_ http.ResponseWriter, r *http.Request) { must(a.manager.Destroy(r.Context())) })
	return mux
}

const color httpsession.Key[string] = "color"

func (a *app) events() {
	answer := func(event string, f func(ctx context.Context, arg string) (string, error)) {
		a.io.On(event, sockeye.HandlerFunc(func(ctx context.Context, m *sockeye.Message) error {
			var arg string
			if err := m.Scan(&arg); err != nil {
				return err
			}
			v, err := f(ctx, arg)
			if err != nil {
				return err
			}
			if err := httpsession.From(ctx).Save(ctx); err != nil {
				return err
			}
			return m.Ack(v)
		}))
	}
	answer("get", func(ctx context.Context, key string) (string, error) { return a.manager.GetString(ctx, key), nil })
	answer("put", func(ctx context.Context, v string) (string, error) {
		a.manager.Put(ctx, "name", v)
		return "done", nil
	})
	answer("color", func(ctx context.Context, v string) (string, error) {
		if err := color.Set(ctx, v); err != nil {
			return "", err
		}
		got, _, err := color.Get(ctx)
		return got + sockeye.SocketFrom(ctx).ID()[:0], err
	})
	answer("destroy", func(ctx context.Context, _ string) (string, error) { return "", a.manager.Destroy(ctx) })
}

// get asks for a page with a cookie and gives the body and the cookie that is set.
func (a *app) get(path string, cookie *http.Cookie) (string, *http.Cookie) {
	a.t.Helper()
	r := httptest.NewRequestWithContext(within(a.t), http.MethodGet, path, nil)
	if cookie != nil {
		r.AddCookie(cookie)
	}
	w := httptest.NewRecorder()
	a.around(a.pages()).ServeHTTP(w, r)
	res := w.Result()
	if err := res.Body.Close(); err != nil {
		a.t.Error(err)
	}
	if res.StatusCode != http.StatusOK {
		a.t.Fatalf("%s: %s", path, res.Status)
	}
	for _, c := range res.Cookies() {
		return w.Body.String(), c
	}
	return w.Body.String(), nil
}

type visitor struct {
	*client.Socket
	t    *testing.T
	gone chan client.Reason
}

func (a *app) dial(cookie *http.Cookie, transport string) (*visitor, error) {
	v := &visitor{t: a.t, gone: make(chan client.Reason, 4)}
	h := http.Header{}
	if cookie != nil {
		h.Set("Cookie", cookie.Name+"="+cookie.Value)
	}
	s, err := client.Dial(within(a.t), a.url, client.Config{
		Header: h, Transports: []string{transport}, Reconnect: client.Reconnect{Disabled: true},
		Setup: func(s *client.Socket) { s.OnDisconnect(func(r client.Reason, _ error) { v.gone <- r }) },
	})
	if err != nil {
		return nil, err
	}
	a.t.Cleanup(func() { _ = s.Manager().Close() }) // always nil
	v.Socket = s
	return v, nil
}

func (a *app) visit(cookie *http.Cookie, transport string) *visitor {
	a.t.Helper()
	v, err := a.dial(cookie, transport)
	if err != nil {
		a.t.Fatal(err)
	}
	return v
}

func (v *visitor) ask(event, arg string) string {
	v.t.Helper()
	r, err := v.EmitWithAck(within(v.t), event, arg)
	if err != nil {
		v.t.Fatalf("%s: %v", event, err)
	}
	var s string
	if err := r.Scan(&s); err != nil {
		v.t.Fatal(err)
	}
	return s
}

func (v *visitor) wantGone() {
	v.t.Helper()
	select {
	case <-v.gone:
	case <-within(v.t).Done():
		v.t.Fatal("still connected")
	}
}

func TestBackend_SharesTheLogin(t *testing.T) {
	t.Parallel()
	for name, store := range map[string]func() scs.Store{
		"memory of scs": func() scs.Store { return memstore.NewWithCleanupInterval(0) },
		"memory":        func() scs.Store { return scssession.NewStore(httpsession.NewMemory()) },
	} {
		for _, hash := range []bool{false, true} {
			for _, transport := range []string{"websocket", "polling"} {
				t.Run(name+" "+transport, func(t *testing.T) {
					t.Parallel()
					a := newApp(t, store(), nil, hash)
					if v, err := a.dial(nil, transport); err == nil {
						t.Fatalf("connected without a session: %v", v.ID())
					}
					_, c := a.get("/login?name=ann", nil)
					v := a.visit(c, transport)
					if got := v.ask("get", "name"); got != "ann" {
						t.Errorf("name %q", got)
					}
					a.get("/set?key=name&value=web", c)
					if got := v.ask("get", "name"); got != "web" {
						t.Errorf("name %q", got)
					}
					v.ask("put", "socket")
					if got, _ := a.get("/get?key=name", c); got != "socket" {
						t.Errorf("the page has %q", got)
					}
					if got := v.ask("color", "red"); got != "red" {
						t.Errorf("color %q", got)
					}
					if got, _ := a.get("/get?key=color", c); got != "red" {
						t.Errorf("the page has %q", got)
					}
					a.get("/logout", c)
					v.wantGone()
					if _, err := a.dial(c, transport); err == nil {
						t.Error("connects after the logout")
					}
				})
			}
		}
	}
}

func TestBackend_EndsAcrossTheCluster(t *testing.T) {
	t.Parallel()
	redis := testkit.StartRedis(t)
	one := func() *app {
		d, err := rueidisdriver.FromURL(redis.URL())
		if err != nil {
			t.Fatal(err)
		}
		return newApp(t, scssession.NewStore(httpsession.Redis(d, "scs:session:")), redisadapter.PubSub(d, redisadapter.PubSubOptions{}), false)
	}
	a, b := one(), one()
	for _, end := range []string{"/logout", "/renew", "destroy"} {
		_, c := a.get("/login?name=ann", nil)
		_, other := a.get("/login?name=bob", nil)
		v, w, stays := a.visit(c, "websocket"), b.visit(c, "websocket"), b.visit(other, "websocket")
		testkit.Eventually(t, "two servers", func() bool {
			n, err := a.io.Of("/").All().Count(t.Context())
			return err == nil && n == 3
		})
		if end == "destroy" {
			if err := v.Emit(end, ""); err != nil {
				t.Fatal(err)
			}
		} else if _, renewed := b.get(end, c); end == "/renew" {
			if got := a.visit(renewed, "websocket").ask("get", "name"); got != "ann" {
				t.Errorf("%s: name %q", end, got)
			}
		}
		v.wantGone()
		w.wantGone()
		if got := stays.ask("get", "name"); got != "bob" {
			t.Errorf("%s: the other session has %q", end, got)
		}
		if err := b.io.Of("/").All().Disconnect(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, "nobody is left", func() bool {
			n, err := a.io.Of("/").All().Count(t.Context())
			return err == nil && n == 0
		})
	}
}

// With Config.Lazy a handler that wants the session asks for it.
func TestSession_Lazy(t *testing.T) {
	t.Parallel()
	m := newManager()
	b, ref := load(t, m, map[string]any{"name": "ann"})
	sessions, err := httpsession.New(b, httpsession.Config{Lazy: true})
	if err != nil {
		t.Fatal(err)
	}
	io, err := sockeye.New(sockeye.Config{})
	if err != nil {
		t.Fatal(err)
	}
	sessions.Use(io.Of("/"))
	web := httptest.NewServer(io)
	t.Cleanup(func() {
		if err := errors.Join(io.Close(), sessions.Close()); err != nil {
			t.Error(err)
		}
		web.Close()
	})
	io.On("get", sockeye.HandlerFunc(func(ctx context.Context, msg *sockeye.Message) error {
		ctx, err := httpsession.From(ctx).Context(ctx)
		if err != nil {
			return err
		}
		derived, cancel := context.WithCancel(ctx) // as a context of its own
		defer cancel()
		if sockeye.SocketFrom(derived) == nil || httpsession.From(derived) == nil {
			t.Error("the context has lost its values")
		}
		return msg.Ack(m.GetString(derived, "name"))
	}))
	a := &app{t: t, manager: m, io: io, url: web.URL}
	if got := a.visit(&http.Cookie{Name: m.Cookie.Name, Value: ref.Token}, "websocket").ask("get", ""); got != "ann" {
		t.Errorf("name %q", got)
	}
}

func TestBackend_ForeignStore(t *testing.T) {
	t.Parallel()
	m := newManager()
	m.Store = memstore.NewWithCleanupInterval(0)
	b, ref := load(t, m, map[string]any{"a": 1})
	r := read(t, b, ref)
	if err := r.Set("a", 2); err != nil {
		t.Fatal(err)
	}
	if err := r.Save(t.Context(), false); !errors.Is(err, scssession.ErrNotAtomic) {
		t.Errorf("an exact write: %v", err)
	}
	if err := r.Save(t.Context(), true); err != nil {
		t.Error(err)
	}
	n := 0
	if err := m.Iterate(t.Context(), func(context.Context) error { n++; return nil }); err != nil || n != 1 {
		t.Errorf("iterated over %d, %v", n, err)
	}
	if _, err := scssession.New(m); err == nil {
		t.Error("a second Backend is made")
	}
}

func TestBackend_Lifetime(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name           string
		idle, lifetime time.Duration
		touch          time.Duration // what Touch tells after 10 min
		left           time.Duration // from then on
		foreign        bool
	}{
		{"no idle timeout", 0, time.Hour, 0, 50 * time.Minute, false},
		{"idle", 20 * time.Minute, time.Hour, 20 * time.Minute, 20 * time.Minute, false},
		{"idle, foreign store", 20 * time.Minute, time.Hour, 20 * time.Minute, 20 * time.Minute, true},
		{"never beyond the lifetime", 20 * time.Minute, 25 * time.Minute, 0, 15 * time.Minute, false},
		{"never beyond the lifetime, foreign store", 20 * time.Minute, 25 * time.Minute, 0, 15 * time.Minute, true},
		{"ended", 5 * time.Minute, time.Hour, httpsession.Gone, -1, false},
		{"ended, foreign store", 5 * time.Minute, time.Hour, httpsession.Gone, -1, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := newManager()
			m.Store = scssession.NewStore(httpsession.NewMemory())
			if c.foreign {
				m.Store = memstore.NewWithCleanupInterval(0)
			}
			synctest.Test(t, func(t *testing.T) {
				m.IdleTimeout, m.Lifetime = c.idle, c.lifetime
				b, ref := load(t, m, map[string]any{"a": 1})
				time.Sleep(10 * time.Minute)
				ttls, err := b.Touch(t.Context(), []httpsession.Ref{ref, {Key: "other", Token: "other"}})
				if err != nil || ttls[0] != c.touch || ttls[1] != httpsession.Gone {
					t.Fatalf("touch: %v, %v", ttls, err)
				}
				there := func() bool {
					ok, err := b.Exist(t.Context(), []httpsession.Ref{ref})
					if err != nil {
						t.Fatal(err)
					}
					return ok[0]
				}
				if c.left > 0 {
					time.Sleep(c.left - time.Second)
					if !there() {
						t.Error("gone too soon")
					}
					time.Sleep(time.Second + time.Nanosecond)
				}
				if there() {
					t.Error("still there")
				}
			})
		})
	}
}

func TestBackend_Ref(t *testing.T) {
	t.Parallel()
	m := newManager()
	b, err := scssession.New(m)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range []string{"", "session=", "other=x", "session=" + strings.Repeat("x", 257)} {
		if ref, ok := b.Ref(http.Header{"Cookie": {h}}); ok {
			t.Errorf("%.20q: %v", h, ref)
		}
	}
	if _, err := scssession.New(nil); err == nil {
		t.Error("no manager is taken")
	}
}

// Any middleware of net/http works in front of a server, with or without sessions.
func TestMiddlewareInFront(t *testing.T) {
	t.Parallel()
	type userKey struct{}
	manager := newManager()
	manager.Store = memstore.NewWithCleanupInterval(0)
	io, err := sockeye.New(sockeye.Config{})
	if err != nil {
		t.Fatal(err)
	}
	type seen struct {
		user  any
		value string
		query string
	}
	sees := make(chan seen, 1)
	io.Use(func(ctx context.Context, _ *sockeye.Socket) error {
		r := sockeye.RequestFrom(ctx)
		sees <- seen{r.Context().Value(userKey{}), manager.GetString(r.Context(), "value"), r.URL.Query().Get("q")}
		return nil
	})
	own := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			manager.Put(r.Context(), "value", "of the request")
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), userKey{}, "ann")))
		})
	}
	web := httptest.NewServer(manager.LoadAndSave(own(io)))
	t.Cleanup(func() {
		if err := io.Close(); err != nil {
			t.Error(err)
		}
		web.Close()
	})
	for _, transport := range []string{"websocket", "polling"} {
		s, err := client.Dial(within(t), web.URL+"/?q=7", client.Config{Transports: []string{transport}})
		if err != nil {
			t.Fatalf("%s: %v", transport, err)
		}
		if got, want := <-sees, (seen{"ann", "of the request", "7"}); got != want {
			t.Errorf("%s: %v, want %v", transport, got, want)
		}
		if err := s.Manager().Close(); err != nil {
			t.Error(err)
		}
	}
}
