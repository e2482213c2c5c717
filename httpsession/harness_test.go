package httpsession_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/client"
	"github.com/sockeye-io/sockeye/httpsession"
	"github.com/sockeye-io/sockeye/httpsession/express"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/rueidisdriver"
)

func TestMain(m *testing.M) { testkit.Main(m) }

const secret = "a secret of enough bytes"

// limit bounds each wait of a test.
const limit = 30 * time.Second

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Scale(limit))
	t.Cleanup(cancel)
	return ctx
}

// site is a server with sessions.
type site struct {
	t        *testing.T
	io       *sockeye.Server
	sessions *httpsession.Sessions
	backend  *express.Backend
	url      string
}

// parts are what a site is made of; the zero value is a site of its own.
type parts struct {
	store   httpsession.Store
	cluster adapter.Cluster
	config  httpsession.Config
	server  sockeye.Config
	backend func(b *express.Backend) httpsession.Backend // instead of b itself
}

func newSite(t *testing.T, p parts) *site {
	t.Helper()
	if p.store == nil {
		p.store = httpsession.NewMemory()
	}
	b, err := express.New(express.Config{Secrets: []string{secret}, Store: p.store})
	if err != nil {
		t.Fatal(err)
	}
	var backend httpsession.Backend = b
	if p.backend != nil {
		backend = p.backend(b)
	}
	sessions, err := httpsession.New(backend, p.config)
	if err != nil {
		t.Fatal(err)
	}
	p.server.Adapter = p.cluster
	p.server.Hooks.Error = func(_ context.Context, err error) {
		if ee, ok := errors.AsType[*sockeye.EventError](err); !ok || !errors.Is(ee, errExpected) {
			t.Errorf("hook: %v", err)
		}
	}
	io, err := sockeye.New(p.server)
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
	return &site{t, io, sessions, b, web.URL}
}

var errExpected = errors.New("expected")

// twoSites makes two servers of a cluster on one Redis, with their sessions there.
func twoSites(t *testing.T, c httpsession.Config) (a, b *site) {
	t.Helper()
	redis := testkit.StartRedis(t)
	one := func() *site {
		d, err := rueidisdriver.FromURL(redis.URL())
		if err != nil {
			t.Fatal(err)
		}
		return newSite(t, parts{
			store: httpsession.Redis(d, "sess:"), cluster: redisadapter.PubSub(d, redisadapter.PubSubOptions{}), config: c,
		})
	}
	return one(), one()
}

// login makes a session and gives its cookie and what names it.
func (s *site) login(values map[string]any) (*http.Cookie, httpsession.Ref) {
	s.t.Helper()
	c, err := s.backend.Create(within(s.t), nil, values)
	if err != nil {
		s.t.Fatal(err)
	}
	ref, ok := s.backend.Ref(withCookie(c))
	if !ok {
		s.t.Fatal("the cookie is refused")
	}
	return c, ref
}

func withCookie(c *http.Cookie) http.Header {
	if c == nil {
		return http.Header{}
	}
	return http.Header{"Cookie": {c.Name + "=" + c.Value}}
}

// visitor is a client.
type visitor struct {
	*client.Socket
	t    *testing.T
	gone chan client.Reason
}

// dial connects a client with a cookie.
func (s *site) dial(c *http.Cookie) (*visitor, error) {
	v := &visitor{t: s.t, gone: make(chan client.Reason, 8)}
	sock, err := client.Dial(within(s.t), s.url, client.Config{
		Header: withCookie(c), Transports: []string{"websocket"}, Reconnect: client.Reconnect{Disabled: true},
		Setup: func(sock *client.Socket) { sock.OnDisconnect(func(r client.Reason, _ error) { v.gone <- r }) },
	})
	if err != nil {
		return nil, err
	}
	s.t.Cleanup(func() { _ = sock.Manager().Close() }) // always nil
	v.Socket = sock
	return v, nil
}

// visit is dial that must succeed.
func (s *site) visit(c *http.Cookie) *visitor {
	s.t.Helper()
	v, err := s.dial(c)
	if err != nil {
		s.t.Fatal(err)
	}
	return v
}

// ask emits an event and gives the first value of the acknowledgement.
func (v *visitor) ask(event string, args ...any) any {
	v.t.Helper()
	r, err := v.EmitWithAck(within(v.t), event, args...)
	if err != nil {
		v.t.Fatalf("%s: %v", event, err)
	}
	var x any
	if err := r.Scan(&x); err != nil {
		v.t.Fatal(err)
	}
	return x
}

// wantGone waits until the server has disconnected the client.
func (v *visitor) wantGone() {
	v.t.Helper()
	select {
	case r := <-v.gone:
		if r != client.ReasonServerDisconnect {
			v.t.Errorf("disconnected for %q", r)
		}
	case <-within(v.t).Done():
		v.t.Fatal("still connected")
	}
}
