package client_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/client"
	"github.com/sockeye-io/sockeye/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

var (
	onlyPolling   = []string{"polling"}
	onlyWebSocket = []string{"websocket"}
)

// bundle is a running server behind a proxy that can cut connections.
type bundle struct {
	*sockeye.Server

	t      testing.TB
	proxy  *testkit.Proxy
	url    string // by the proxy
	direct string
}

// setup starts a server, which cfg may be missing, and stops it with the test.
func setup(t testing.TB, cfgs ...sockeye.Config) *bundle {
	t.Helper()
	var cfg sockeye.Config
	if len(cfgs) > 0 {
		cfg = cfgs[0]
	}
	srv, err := sockeye.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(srv)
	t.Cleanup(func() {
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
		web.Close()
	})
	proxy := testkit.StartProxy(t, strings.TrimPrefix(web.URL, "http://"))
	srv.On("echo", sockeye.HandlerFunc(func(_ context.Context, m *sockeye.Message) error {
		args := make([]any, len(m.Args()))
		for i, a := range m.Args() {
			args[i] = a
		}
		return m.Ack(args...)
	}))
	return &bundle{Server: srv, t: t, proxy: proxy, url: "http://" + proxy.Addr, direct: web.URL}
}

// quick reconnects without delay to speak of.
var quick = client.Reconnect{Delay: time.Millisecond, MaxDelay: 5 * time.Millisecond}

// dial connects a client and closes it with the test.
func (b *bundle) dial(path string, c client.Config) *client.Socket {
	b.t.Helper()
	s, err := client.Dial(b.t.Context(), b.url+path, c)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = s.Close() }) // always nil
	return s
}

// manager makes a Manager and closes it with the test.
func (b *bundle) manager(c client.Config) *client.Manager {
	b.t.Helper()
	return newManager(b.t, b.url, c)
}

func newManager(t testing.TB, url string, c client.Config) *client.Manager {
	t.Helper()
	m, err := client.New(url, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() }) // always nil
	return m
}

// within gives a context for what should not take long.
func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Scale(10*time.Second))
	t.Cleanup(cancel)
	return ctx
}

// connect connects a socket.
func connect(t testing.TB, s *client.Socket) {
	t.Helper()
	if err := s.Connect(within(t)); err != nil {
		t.Fatalf("connect %s: %v", s.Namespace(), err)
	}
}

// ask emits with acknowledgement and gives the arguments of the answer.
func ask(t testing.TB, s *client.Socket, event string, args ...any) []any {
	t.Helper()
	r, err := s.EmitWithAck(within(t), event, args...)
	if err != nil {
		t.Fatalf("%s: %v", event, err)
	}
	var got []any
	for _, a := range r.Args() {
		v, err := a.Any()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, v)
	}
	return got
}

// journal keeps lines in order.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, fmt.Sprintf(format, args...))
}

func (j *journal) all() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]string(nil), j.lines...)
}

// want waits until the journal has exactly these lines.
func (j *journal) want(t testing.TB, lines ...string) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Logf("got %q, want %q", j.all(), lines)
		}
	}()
	testkit.Eventually(t, "the journal", func() bool { return reflect.DeepEqual(j.all(), lines) })
}

// follow notes everything that happens to a socket.
func (j *journal) follow(s *client.Socket) {
	s.OnConnect(func() { j.add("connect %t", s.Recovered()) })
	s.OnConnectError(func(err error) { j.add("error") })
	s.OnDisconnect(func(r client.Reason, _ error) { j.add("disconnect: %s", string(r)) })
	s.OnAny(client.HandlerFunc(func(_ context.Context, m *client.Message) error {
		var v any
		if err := m.Scan(&v); err != nil {
			return err
		}
		j.add("%s %v", m.Event, v)
		return nil
	}))
}
