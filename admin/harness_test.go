package admin

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/client"
	"github.com/sockeye-io/sockeye/engineio"
	"github.com/sockeye-io/sockeye/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// site is a server with its admin namespace.
type site struct {
	t   *testing.T
	io  *sockeye.Server
	a   *Admin
	url string
}

// setup starts a server, and stops it with the test.
func setup(t *testing.T, o Options, configs ...sockeye.Config) *site {
	t.Helper()
	var c sockeye.Config
	if len(configs) > 0 {
		c = configs[0]
	}
	if c.Hooks.Error == nil {
		c.Hooks.Error = func(_ context.Context, err error) {
			if !errors.Is(err, adapter.ErrClosed) { // what another server sends to one that closes
				t.Errorf("error hook: %v", err)
			}
		}
	}
	io, err := sockeye.New(c)
	if err != nil {
		t.Fatal(err)
	}
	if o.ServerID == "" {
		o.ServerID = "srv-1"
	}
	a, err := attach(io, o, 100*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(io)
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Errorf("close admin: %v", err)
		}
		if err := io.Close(); err != nil {
			t.Errorf("close server: %v", err)
		}
		web.Close()
	})
	return &site{t, io, a, web.URL}
}

// hash is a cheap bcrypt hash.
func hash(t *testing.T, password string) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(h)
}

// event is one that a client got.
type event struct {
	name string
	args []any
}

// peer is a client and what it got.
type peer struct {
	*client.Socket

	t *testing.T

	mu     sync.Mutex
	events []event
	refuse error
	ended  client.Reason
}

// dial opens a client, whose answer to CONNECT is not waited for.
func (s *site) dial(namespace string, c client.Config) *peer {
	s.t.Helper()
	if c.Transports == nil {
		c.Transports = []string{"websocket"}
	}
	c.Reconnect.Disabled = true
	m, err := client.New(s.url, c)
	if err != nil {
		s.t.Fatal(err)
	}
	p := &peer{t: s.t, Socket: m.Socket(namespace)}
	p.OnAny(client.HandlerFunc(func(_ context.Context, m *client.Message) error {
		args := []any{}
		for _, a := range m.Args() {
			v, err := a.Any()
			if err != nil {
				return err
			}
			args = append(args, v)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.events = append(p.events, event{m.Event, args})
		return nil
	}))
	p.OnConnectError(func(err error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.refuse = err
	})
	p.OnDisconnect(func(r client.Reason, _ error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.ended = r
	})
	if err := p.Open(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = m.Close() }) // the server may have closed it
	return p
}

// join opens a client and waits until it is connected.
func (s *site) join(namespace string, c client.Config) *peer {
	s.t.Helper()
	p := s.dial(namespace, c)
	testkit.Eventually(s.t, namespace+" is joined", p.Connected)
	return p
}

// page opens a page and waits until it is connected.
func (s *site) page(auth any) *peer {
	s.t.Helper()
	return s.join("/admin", client.Config{Auth: auth})
}

// refused opens a page and gives how it is refused.
func (s *site) refused(auth any) *client.ConnectError {
	s.t.Helper()
	p := s.dial("/admin", client.Config{Auth: auth})
	var ce *client.ConnectError
	testkit.Eventually(s.t, "the page is refused", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		ce, _ = p.refuse.(*client.ConnectError) //nolint:errorlint // it is what comes
		return ce != nil
	})
	_ = p.Manager().Close() // it is done
	return ce
}

// all gives what came, without statistics.
func (p *peer) all() []event {
	p.mu.Lock()
	defer p.mu.Unlock()
	var some []event
	for _, e := range p.events {
		if e.name != "server_stats" {
			some = append(some, e)
		}
	}
	return some
}

// find waits for the first event of a name for which ok, which may be nil.
func (p *peer) find(name string, ok func(args []any) bool) (args []any) {
	p.t.Helper()
	testkit.Eventually(p.t, "the event "+name, func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, e := range p.events {
			if e.name == name && (ok == nil || ok(e.args)) {
				args = e.args
				return true
			}
		}
		return false
	})
	return args
}

func (p *peer) reason() client.Reason {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ended
}

func (p *peer) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.events = nil
}

func text2json(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if g, w := text2json(t, got), text2json(t, want); g != w {
		t.Errorf("%s:\n got %s\nwant %s", what, g, w)
	}
}

// capture is one of the captures of the official package.
type capture struct {
	Name    string
	Options struct {
		Mode     string
		ReadOnly bool
	}
	Log      []json.RawMessage
	Threw    string
	Commands []struct {
		Command string
		Args    []struct{ Text string }
	}
	Frames []struct{ Text string }
}

func captures(t *testing.T, prefix string) capture {
	t.Helper()
	b, err := os.ReadFile("testdata/admin.json")
	if err != nil {
		t.Fatal(err)
	}
	var all struct{ Vectors []capture }
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	for _, c := range all.Vectors {
		if strings.HasPrefix(c.Name, prefix) {
			return c
		}
	}
	t.Fatalf("no capture %q", prefix)
	return capture{}
}

// raw joins a namespace and gives the packets that come, without attachments.
func (s *site) raw(namespace string) (packets func() []string) {
	s.t.Helper()
	return s.rawAuth(namespace, "")
}

func (s *site) rawAuth(namespace, auth string) (packets func() []string) {
	s.t.Helper()
	r := &rawPeer{}
	conn, err := engineio.Dial(s.t.Context(), s.url+"/socket.io/", engineio.DialConfig{Transports: []string{"websocket"}}, r)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() }) // the server may have closed it
	if err := conn.Send([]byte("0"+namespace+","+auth), false); err != nil {
		s.t.Fatal(err)
	}
	return r.all
}

type rawPeer struct {
	mu      sync.Mutex
	packets []string
}

func (r *rawPeer) OnOpen(*engineio.Conn, *http.Request) {}

func (r *rawPeer) OnClose(_ *engineio.Conn, reason engineio.Reason, _ error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.packets = append(r.packets, "closed "+string(reason))
}

func (r *rawPeer) OnMessage(_ *engineio.Conn, data []byte, _ bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.packets = append(r.packets, string(data))
}

func (r *rawPeer) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.packets)
}

// plainJSON gives a value as JSON has it, with the keys of objects in order.
func plainJSON(t *testing.T, v any) (plain any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text2json(t, v)), &plain); err != nil {
		t.Fatal(err)
	}
	return plain
}
