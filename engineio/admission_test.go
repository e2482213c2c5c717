package engineio

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/internal/testkit"
)

// visit asks for a session as somebody at addr.
func visit(s *Server, addr string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/engine.io/?"+pollQuery, nil)
	r.RemoteAddr = addr
	s.ServeHTTP(w, r)
	return w
}

func TestAdmission_Refuses(t *testing.T) { // T15
	t.Parallel()
	for name, test := range map[string]struct {
		limits Admission
		served []string
		refuse string
		status int
	}{
		"connections":         {Admission{Connections: 2}, []string{"192.0.2.1:1", "192.0.2.2:1"}, "192.0.2.3:1", 503},
		"address":             {Admission{PerAddress: 2}, []string{"192.0.2.1:1", "192.0.2.2:1", "192.0.2.1:2"}, "192.0.2.1:3", 429},
		"IPv6 network":        {Admission{PerAddress: 1}, []string{"[2001:db8::1]:1", "[2001:db8:0:1::1]:1"}, "[2001:db8::2]:1", 429},
		"IPv4 in IPv6":        {Admission{PerAddress: 1}, []string{"[::ffff:192.0.2.1]:1"}, "192.0.2.1:1", 429},
		"handshakes a second": {Admission{Handshakes: 2}, []string{"192.0.2.1:1", "192.0.2.1:1"}, "192.0.2.1:1", 503},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var refused *ConnectionError
				s, err := NewServer(Config{
					Admission: test.limits, PingInterval: time.Hour,
					Hooks: Hooks{ConnectionError: func(e *ConnectionError) { refused = e }},
				}, &echo{})
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				for _, addr := range test.served {
					if w := visit(s, addr); w.Code != http.StatusOK {
						t.Fatalf("%s: %d %s", addr, w.Code, w.Body)
					}
				}
				w := visit(s, test.refuse)
				if w.Code != test.status || w.Header().Get("Retry-After") != "1" || w.Header().Get("Connection") != "close" ||
					w.Body.String() != `{"code":4,"message":"Too many connections"}` {
					t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
				}
				if refused == nil || refused.Code != CodeForbidden || !strings.HasPrefix(refused.Context["name"], "TOO_MANY_") {
					t.Errorf("the hook was told %+v", refused)
				}
				if s.Conns() != len(test.served) {
					t.Errorf("%d connections", s.Conns())
				}
			})
		})
	}
}

// Who goes makes room, also for another.
func TestAdmission_MakesRoom(t *testing.T) {
	t.Parallel()
	s := newSite(t, Config{
		Admission: Admission{Connections: 2, PerAddress: 2}, TrustProxy: func(*http.Request) bool { return true },
	})
	c := s.dial(socketQuery, "X-Forwarded-For", "192.0.2.1")
	c.open()
	q := s.poll("4")
	if _, r := s.handshake(socketQuery); r.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("WebSocket: %s", r.Status)
	}
	if r := s.do("POST", q, "4still served"); r.status != 200 {
		t.Errorf("%+v", r)
	}
	if r := s.do("POST", q, "1"); r.status != 200 {
		t.Errorf("%+v", r)
	}
	testkit.Eventually(t, "one has gone", func() bool { return s.s.Conns() == 1 })
	s.poll("4")
	if r := s.do("GET", pollQuery, ""); r.status != 503 {
		t.Errorf("%+v", r)
	}
	s.s.admission.mu.Lock()
	defer s.s.admission.mu.Unlock()
	if len(s.s.admission.by) != 1 || s.s.admission.open != 2 {
		t.Errorf("%d open, %v", s.s.admission.open, s.s.admission.by)
	}
}

// A second later there may be more, and no more than those of a second after a long silence.
func TestAdmission_Handshakes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var a admission
		a.init(Admission{Handshakes: 10})
		admitted := func() (n int) {
			for a.full("192.0.2.1") == "" {
				n++
			}
			return n
		}
		for _, step := range []struct {
			wait time.Duration
			want int
		}{{0, 10}, {0, 0}, {100 * time.Millisecond, 1}, {time.Second, 10}, {time.Hour, 10}} {
			time.Sleep(step.wait) // of the bubble
			if n := admitted(); n != step.want {
				t.Errorf("%d after %v, want %d", n, step.wait, step.want)
			}
		}
	})
}

// The application may refuse so too.
func TestConfig_AllowRequestTooMany(t *testing.T) {
	t.Parallel()
	s := newSite(t, Config{AllowRequest: func(*http.Request) error { return ErrTooManyConnections }})
	if r := s.do("GET", pollQuery, ""); r.status != 503 || !strings.Contains(r.body, "Too many") {
		t.Errorf("%+v", r)
	}
}

func TestServer_Drain(t *testing.T) {
	t.Parallel()
	s := newSite(t, Config{})
	c := s.dial(socketQuery)
	c.open()
	s.s.Drain()
	if r := s.do("GET", pollQuery, ""); r.status != 503 {
		t.Errorf("%+v", r)
	}
	if _, r := s.handshake(socketQuery); r.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("WebSocket: %s", r.Status)
	}
	if err := s.h.last(t).Send([]byte("still here"), false); err != nil {
		t.Error(err)
	}
	c.expect("4still here")
}
