package load

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/parser/msgpack"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// victim is a server like many.
type victim struct {
	io  *sockeye.Server
	url string

	mu      sync.Mutex
	sources map[string]int // requests by the address of the client
	header  string         // of the last one
}

func startVictim(t *testing.T, c sockeye.Config) *victim {
	t.Helper()
	c.AllowEIO3 = true
	io, err := sockeye.New(c)
	if err != nil {
		t.Fatal(err)
	}
	v := &victim{io: io, sources: map[string]int{}}
	for _, n := range []*sockeye.Namespace{io.Of("/"), io.Of("/other")} {
		n.On("echo", sockeye.HandlerFunc(func(_ context.Context, m *sockeye.Message) error { return m.Ack("pong") }))
		n.On("no", sockeye.Func(func(string) map[string]any { return map[string]any{"ok": false, "error": "full"} }))
		n.On("message", sockeye.HandlerFunc(func(ctx context.Context, m *sockeye.Message) error {
			return sockeye.SocketFrom(ctx).Namespace().Emit("said", map[string]any{"by": "x", "text": m.Args()[0]})
		}))
		n.On("join", sockeye.HandlerFunc(func(ctx context.Context, m *sockeye.Message) error {
			var room string
			return errors.Join(m.Scan(&room), sockeye.SocketFrom(ctx).Join(room), m.Ack(map[string]any{"ok": true}))
		}))
		n.On("publish", sockeye.HandlerFunc(func(ctx context.Context, m *sockeye.Message) error {
			var p publication
			return errors.Join(m.Scan(&p), sockeye.SocketFrom(ctx).To(p.Room).Emit(p.Event, p.Data))
		}))
		n.On("everywhere", sockeye.HandlerFunc(func(ctx context.Context, m *sockeye.Message) error {
			var p publication
			return errors.Join(m.Scan(&p), sockeye.SocketFrom(ctx).Broadcast().Emit(p.Event, p.Data))
		}))
	}
	io.Of("/closed").Use(func(context.Context, *sockeye.Socket) error { return errors.New("no entry") })
	web := httptest.NewServer(v)
	v.url = web.URL
	t.Cleanup(func() {
		_ = io.Close() // what is left of it does not matter
		web.Close()
	})
	return v
}

func (v *victim) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	v.mu.Lock()
	v.sources[host]++
	v.header = r.Header.Get("X-Test") + r.URL.Query().Get("k")
	v.mu.Unlock()
	v.io.ServeHTTP(w, r)
}

// little is a load that is over soon.
func little(url string, s Scenario) Config {
	return Config{
		URL: url, Path: "/socket.io/", Namespace: "/", EIO: 4, Transport: WebSocket, Scenario: s, Connections: 6, Ramp: 1000,
		InFlight: 1, Payload: 64, Duration: 200 * time.Millisecond, Timeout: testkit.Scale(10 * time.Second),
		Event: map[Scenario]string{Idle: "message", Echo: "echo", Fanout: "message"}[s], Join: "join", Publish: "publish",
	}
}

func mustRun(t *testing.T, c Config, o Options) *Result {
	t.Helper()
	o.Workers = max(o.Workers, 1)
	if o.Drain == 0 {
		o.Drain = testkit.Scale(10 * time.Second)
	}
	r, err := Run(t.Context(), c, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRun_Echo(t *testing.T) {
	t.Parallel()
	v := startVictim(t, sockeye.Config{})
	for name, change := range map[string]func(c *Config){
		"websocket":          func(*Config) {},
		"polling":            func(c *Config) { c.Transport = Polling },
		"upgrade":            func(c *Config) { c.Transport = Upgrade },
		"namespace":          func(c *Config) { c.Namespace = "/other" },
		"2.x":                func(c *Config) { c.EIO = 3 },
		"2.x polling":        func(c *Config) { c.EIO, c.Transport = 3, Polling },
		"2.x namespace":      func(c *Config) { c.EIO, c.Namespace = 3, "/other" },
		"rate":               func(c *Config) { c.Rate = 100 },
		"rate, polling":      func(c *Config) { c.Rate, c.Transport = 100, Polling },
		"several in flight":  func(c *Config) { c.InFlight = 5 },
		"no payload":         func(c *Config) { c.Payload = 0 },
		"large payload":      func(c *Config) { c.Payload = 100_000 },
		"one connection":     func(c *Config) { c.Connections = 1 },
		"target":             func(c *Config) { c.Target, c.URL = strings.TrimPrefix(v.url, "http://"), "http://nobody.invalid" },
		"auth, header, name": func(c *Config) { c.Auth, c.Header = []byte(`{"a":1}`), http.Header{"X-Test": {"y"}} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := little(v.url, Echo)
			change(&c)
			r := mustRun(t, c, Options{})
			if !r.OK() || r.Connections.Opened != c.Connections {
				t.Fatalf("%+v", r)
			}
			e := r.Events
			if e.Sent == 0 || e.Acknowledged != e.Sent || r.Latency.Count != int64(e.Sent) || r.Latency.Max <= 0 {
				t.Errorf("%+v %+v", e, r.Latency)
			}
			if c.Rate > 0 && e.Sent != 20 {
				t.Errorf("%d events in 0.2 s at 100/s", e.Sent)
			}
			if l := r.Connections.Latency; l.Count != int64(c.Connections) || l.Min > l.P50 || l.P99 > l.Max*1.01 {
				t.Errorf("to connect: %+v", l)
			}
		})
	}
}

func TestRun_Msgpack(t *testing.T) {
	t.Parallel()
	v := startVictim(t, sockeye.Config{Parser: msgpack.New()})
	for _, s := range []Scenario{Echo, Fanout} {
		c := little(v.url, s)
		c.Msgpack, c.Rate = true, 50
		if r := mustRun(t, c, Options{}); !r.OK() || r.Latency.Count == 0 {
			t.Errorf("%s: %+v", s, r)
		}
	}
}

func TestRun_HeaderAndQuery(t *testing.T) {
	t.Parallel()
	v := startVictim(t, sockeye.Config{})
	c := little(v.url+"/?k=secret", Idle)
	c.Header = http.Header{"X-Test": {"y"}}
	r := mustRun(t, c, Options{})
	if !r.OK() || v.header != "ysecret" || r.URL != v.url {
		t.Errorf("%q %+v", v.header, r)
	}
}

// TestRun_Fanout: what all workers receive together is what was sent times the receivers.
func TestRun_Fanout(t *testing.T) {
	t.Parallel()
	v := startVictim(t, sockeye.Config{})
	for name, tt := range map[string]struct {
		rooms, workers, receivers int // receivers of each event
		change                    func(c *Config)
	}{
		"one group":            {0, 1, 11, func(*Config) {}},
		"one group, workers":   {0, 3, 11, func(*Config) {}},
		"rooms":                {4, 1, 2, func(*Config) {}},
		"rooms and workers":    {4, 3, 2, func(*Config) {}},
		"polling":              {4, 2, 2, func(c *Config) { c.Transport = Polling }},
		"2.x":                  {4, 1, 2, func(c *Config) { c.EIO = 3 }},
		"namespace":            {4, 1, 2, func(c *Config) { c.Namespace = "/other" }},
		"smallest payload":     {4, 1, 2, func(c *Config) { c.Payload = MinFanoutPayload }},
		"other name of events": {2, 1, 5, func(c *Config) { c.Event = "something else" }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := little(v.url, Fanout)
			c.Connections, c.Rooms, c.Rate = 12, tt.rooms, 120
			tt.change(&c)
			// In the one group all clients of the victim get all: those of other tests, too. Their marks differ.
			r := mustRun(t, c, Options{Workers: tt.workers})
			if e := r.Events; !r.OK() || e.Sent == 0 || e.Received != e.Sent*tt.receivers || r.Latency.Count != int64(e.Received) {
				t.Errorf("%+v", r)
			}
			if r.Generator.Processes != tt.workers {
				t.Errorf("%+v", r.Generator)
			}
		})
	}
}

func TestRun_Idle(t *testing.T) {
	t.Parallel()
	v := startVictim(t, sockeye.Config{})
	c := little(v.url, Idle)
	c.Connections = 60
	if runtime.GOOS == "linux" {
		c.Sources = []netip.Addr{netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.3")}
	}
	var progress []Progress
	r := mustRun(t, c, Options{Workers: 2, Progress: func(p Progress) { progress = append(progress, p) }})
	if !r.OK() || r.Connections.Opened != 60 || r.Events.Sent != 0 || r.Latency.Count != 0 {
		t.Errorf("%+v", r)
	}
	if n := v.sources["127.0.0.2"] + v.sources["127.0.0.3"]; len(c.Sources) > 0 && (n != 60 || v.sources["127.0.0.2"] == 0) {
		t.Errorf("they came from %v", v.sources)
	}
	testkit.Eventually(t, "the server is free", func() bool { return v.io.Conns() == 0 })
	for i, p := range progress {
		if i > 0 && p.Elapsed < progress[i-1].Elapsed && p.Sending == progress[i-1].Sending || p.Asked != 60 {
			t.Errorf("%+v", progress)
		}
	}
}
