package httpsession_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/client"
	"github.com/sockeye-io/sockeye/httpsession"
	"github.com/sockeye-io/sockeye/httpsession/express"
	"github.com/sockeye-io/sockeye/internal/testkit"
)

// An open socket keeps its session alive, however short it lives, and a closed one does not.
func TestKeeper_KeepsAlive(t *testing.T) {
	t.Parallel()
	for _, seconds := range []int{1, 3, 60, 3600} {
		synctest.Test(t, func(t *testing.T) {
			store := httpsession.NewMemory()
			b, err := express.New(express.Config{Secrets: []string{secret}, Store: store})
			if err != nil {
				t.Fatal(err)
			}
			m, err := httpsession.New(b, httpsession.Config{})
			if err != nil {
				t.Fatal(err)
			}
			c, err := b.Create(t.Context(), &http.Cookie{Path: "/", MaxAge: seconds}, nil)
			if err != nil {
				t.Fatal(err)
			}
			ref, _ := b.Ref(withCookie(c))
			leave := m.Follow(t, ref)
			time.Sleep(3 * time.Hour)
			if _, err := store.Get(t.Context(), ref.Key); err != nil {
				t.Errorf("%d s: with an open socket: %v", seconds, err)
			}
			leave()
			time.Sleep(time.Duration(seconds) * time.Second)
			if _, err := store.Get(t.Context(), ref.Key); !errors.Is(err, httpsession.ErrNoSession) {
				t.Errorf("%d s: without one: %v", seconds, err)
			}
			if err := m.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// What is kept of a socket goes with it.
func TestSessions_Forgets(t *testing.T) {
	t.Parallel()
	s := newSite(t, parts{config: httpsession.Config{Anonymous: true}})
	c, _ := s.login(nil)
	other, _ := s.login(nil)
	all := []*visitor{s.visit(c), s.visit(c), s.visit(other), s.visit(nil)}
	testkit.Eventually(t, "they are known", func() bool {
		sessions, sockets := s.sessions.Tracked()
		return sessions == 2 && sockets == 3
	})
	for _, v := range all {
		if err := v.Manager().Close(); err != nil {
			t.Error(err)
		}
	}
	testkit.Eventually(t, "they are forgotten", func() bool {
		sessions, sockets := s.sessions.Tracked()
		return sessions == 0 && sockets == 0
	})
}

// fake is a Backend whose answers a test gives. The sockets of its sessions are the test's matter.
type fake struct {
	httpsession.Backend
	mu      sync.Mutex
	touches []int // how many sessions there were in each call
	exists  []int
	err     error
}

func (f *fake) Touch(_ context.Context, refs []httpsession.Ref) ([]time.Duration, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.touches = append(f.touches, len(refs))
	ttls := make([]time.Duration, len(refs))
	for i := range ttls {
		ttls[i] = time.Hour
	}
	return ttls, f.err
}

func (f *fake) Exist(_ context.Context, refs []httpsession.Ref) ([]bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.exists = append(f.exists, len(refs))
	there := make([]bool, len(refs))
	for i := range there {
		there[i] = true
	}
	return there, f.err
}

// However many sessions have sockets, they are asked for in a few calls: what a server costs the store is bounded.
func TestKeeper_AsksInBatches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var logged strings.Builder
		f := &fake{}
		m, err := httpsession.New(f, httpsession.Config{Logger: slog.New(slog.NewTextHandler(&logged, nil))})
		if err != nil {
			t.Fatal(err)
		}
		m.Adopt(1200)
		time.Sleep(61 * time.Second)
		synctest.Wait()
		f.mu.Lock()
		if got, want := fmt.Sprint(f.touches), "[500 500 200]"; got != want {
			t.Errorf("touched %v after a minute, want %s", got, want)
		}
		// every 15 s, but when they are touched
		if got, want := fmt.Sprint(f.exists), "[500 500 200 500 500 200 500 500 200]"; got != want {
			t.Errorf("asked %v, want %s", got, want)
		}
		f.touches, f.exists, f.err = nil, nil, errors.New("out of order")
		f.mu.Unlock()
		time.Sleep(43 * time.Second)
		synctest.Wait()
		f.mu.Lock()
		if got := fmt.Sprint(f.exists); got != "[500 500]" { // the first batch fails, and no more is asked for at the time
			t.Errorf("asked %v while it fails", got)
		}
		f.mu.Unlock()
		if n := strings.Count(logged.String(), "sessions cannot be looked after"); n != 1 {
			t.Errorf("told %d times: %s", n, &logged)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestSessions_Recovered: a socket that comes back has its session, also where the middleware is spared, and does not come
// back to that of another.
func TestSessions_Recovered(t *testing.T) {
	t.Parallel()
	for _, skip := range []bool{false, true} {
		s := newSite(t, parts{server: sockeye.Config{
			PingInterval: time.Minute, Recovery: &sockeye.Recovery{MaxDisconnection: time.Minute, SkipMiddlewares: skip},
		}})
		s.handlers()
		ann, ref := s.login(map[string]any{"name": "ann"})
		bob, _ := s.login(map[string]any{"name": "bob"})
		for _, c := range []struct {
			name   string
			back   *http.Cookie
			before func()
			want   string // the name, or "" if it is disconnected
		}{
			{"the same", ann, nil, "ann"},
			{"another session", bob, nil, ""},
			{"without a session", nil, nil, ""},
			{"the session has ended", ann, func() {
				if err := s.backend.Delete(t.Context(), ref); err != nil {
					t.Fatal(err)
				}
			}, ""},
		} {
			header := newSwitching(ann)
			m, err := client.New(s.url, client.Config{
				Transports: []string{"websocket"}, HTTPClient: &http.Client{Transport: header.transport, Jar: header},
				Reconnect: client.Reconnect{Delay: time.Millisecond, MaxDelay: 10 * time.Millisecond},
			})
			if err != nil {
				t.Fatal(err)
			}
			v := &visitor{Socket: m.Socket("/"), t: t, gone: make(chan client.Reason, 8)}
			refused := make(chan error, 8)
			v.OnDisconnect(func(r client.Reason, _ error) {
				if r == client.ReasonServerDisconnect {
					v.gone <- r
				}
			})
			v.OnConnectError(func(err error) {
				if ce, ok := errors.AsType[*client.ConnectError](err); ok {
					refused <- ce
				}
			})
			if err := v.Connect(within(t)); err != nil {
				t.Fatalf("%s, skip %v: %v", c.name, skip, err)
			}
			if got := v.ask("name"); got != "ann" {
				t.Fatalf("%s: name %v", c.name, got)
			}
			id := v.ID()
			if err := s.io.To(id).Emit("offset"); err != nil { // recovery needs one
				t.Fatal(err)
			}
			v.ask("name")
			if c.before != nil {
				c.before()
			}
			header.set(c.back)
			open := header.cut()
			testkit.Eventually(t, "the server knows that it is gone", func() bool {
				for range s.io.Of("/").Sockets() {
					return false
				}
				return true
			})
			open()
			if c.want == "" {
				select {
				case <-v.gone:
				case <-refused:
				case <-within(t).Done():
					t.Fatalf("%s, skip %v: neither refused nor disconnected", c.name, skip)
				}
			} else {
				testkit.Eventually(t, "it is back", v.Recovered)
				if got := v.ask("name"); got != c.want || v.ID() != id {
					t.Errorf("%s: name %v", c.name, got)
				}
			}
			if err := m.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// switching sends a cookie that can be changed, by connections that can be cut.
type switching struct {
	transport *http.Transport

	mu     sync.Mutex
	cookie *http.Cookie
	conns  []net.Conn
	gate   chan struct{} // closed when connections may be made
}

func newSwitching(c *http.Cookie) *switching {
	s := &switching{cookie: c, gate: make(chan struct{})}
	close(s.gate)
	s.transport = &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		s.mu.Lock()
		gate := s.gate
		s.mu.Unlock()
		select {
		case <-gate:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err == nil {
			s.mu.Lock()
			s.conns = append(s.conns, conn)
			s.mu.Unlock()
		}
		return conn, err
	}}
	return s
}

func (s *switching) set(c *http.Cookie) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cookie = c
}

// cut ends the connections; none is made until open.
func (s *switching) cut() (open func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	gate := make(chan struct{})
	s.gate = gate
	for _, c := range s.conns {
		_ = c.Close() // it may have been closed
	}
	s.conns = nil
	return func() { close(gate) }
}

// SetCookies implements http.CookieJar.
func (s *switching) SetCookies(*url.URL, []*http.Cookie) {}

// Cookies implements http.CookieJar.
func (s *switching) Cookies(*url.URL) []*http.Cookie {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cookie == nil {
		return nil
	}
	return []*http.Cookie{s.cookie}
}
