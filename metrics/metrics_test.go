package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/client"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/metrics"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/redistest"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// bundle is a running server with metrics.
type bundle struct {
	*sockeye.Server

	t   *testing.T
	m   *metrics.Metrics
	url string
}

func setup(t *testing.T, c sockeye.Config, o metrics.Options) *bundle {
	t.Helper()
	srv, err := sockeye.New(c)
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(srv)
	t.Cleanup(func() {
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
		web.CloseClientConnections()
		web.Close()
	})
	o.Adapter = c.Adapter
	m, err := metrics.New(srv, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return &bundle{srv, t, m, web.URL}
}

// connect opens a connection of its own and waits until the namespace is joined.
func (b *bundle) connect(nsp string) *client.Socket {
	b.t.Helper()
	s, err := client.Dial(b.t.Context(), b.url+nsp, client.Config{Transports: []string{"websocket"}})
	if err != nil {
		b.t.Fatalf("connect to %s: %v", nsp, err)
	}
	b.t.Cleanup(func() { _ = s.Manager().Close() }) // it may be closed already
	return s
}

// scrape gives the text that the handler serves.
func (b *bundle) scrape() string {
	b.t.Helper()
	w := httptest.NewRecorder()
	b.m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		b.t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

// want waits until the lines are served.
func (b *bundle) want(lines ...string) {
	b.t.Helper()
	for _, line := range lines {
		testkit.Eventually(b.t, line, func() bool { return strings.Contains("\n"+b.scrape(), "\n"+line+"\n") })
	}
}

// Each metric has a help text, and a name and unit as Prometheus wants them.
func TestMetrics_Lint(t *testing.T) {
	t.Parallel()
	b := setup(t, sockeye.Config{Adapter: redisadapter.PubSub(redistest.NewHub().Driver(), redisadapter.PubSubOptions{})},
		metrics.Options{Events: []string{"x"}})
	problems, err := testutil.CollectAndLint(b.m)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	if n := testutil.CollectAndCount(b.m); n < 60 {
		t.Errorf("only %d series", n)
	}
}

// A real client does one thing of each kind, and the numbers are right.
func TestMetrics_Values(t *testing.T) {
	t.Parallel()
	b := setup(t, sockeye.Config{}, metrics.Options{Events: []string{"good", "bad"}})
	b.On("good", sockeye.HandlerFunc(func(_ context.Context, m *sockeye.Message) error { return m.Ack(1) }))
	b.On("bad", sockeye.HandlerFunc(func(context.Context, *sockeye.Message) error { return errors.New("no") }))
	b.OnConnection(func(_ context.Context, s *sockeye.Socket) { _ = s.Join("r") })
	b.Of("/closed").Use(func(context.Context, *sockeye.Socket) error { return errors.New("no") })
	c := b.connect("/")
	other := b.connect("/")
	if _, err := c.EmitWithAck(t.Context(), "good", "x"); err != nil {
		t.Fatal(err)
	}
	for _, event := range []string{"bad", "unnamed"} {
		if err := c.Emit(event); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range []*client.Socket{c, other} {
		s.On("q", client.HandlerFunc(func(_ context.Context, m *client.Message) error { return m.Ack() }))
	}
	if _, err := b.To("r").EmitWithAck(t.Context(), "q"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := b.To("r").EmitWithAck(ctx, "deaf"); err == nil {
		t.Error("nobody answers, and there is no error")
	}
	if r, err := http.Get(b.url + "/socket.io/?EIO=4&transport=abc"); err != nil {
		t.Fatal(err)
	} else {
		_ = r.Body.Close()
	}
	if _, err := client.Dial(t.Context(), b.url+"/closed", client.Config{Transports: []string{"websocket"}}); err == nil {
		t.Error("not refused")
	}
	b.want(
		`sockeye_connections{protocol="4",transport="websocket"} 2`,
		`sockeye_connections_opened_total{protocol="4",transport="websocket"} 3`,
		`sockeye_events_total{direction="in"} 3`,
		`sockeye_events_total{direction="out"} 4`,
		`sockeye_acks_total{direction="in"} 2`,
		`sockeye_acks_total{direction="out"} 1`,
		`sockeye_acks_timed_out_total 2`,
		`sockeye_ack_duration_seconds_count{outcome="complete"} 1`,
		`sockeye_ack_duration_seconds_count{outcome="incomplete"} 1`,
		`sockeye_handler_duration_seconds_count{event="good"} 1`,
		`sockeye_handler_duration_seconds_count{event="bad"} 1`,
		`sockeye_handler_errors_total{event="bad"} 1`,
		`sockeye_handler_errors_total{event="good"} 0`,
		`sockeye_sockets{namespace="/"} 2`,
		`sockeye_sockets{namespace="/closed"} 0`,
		`sockeye_rooms{namespace="/"} 1`,
		`sockeye_namespaces{kind="static"} 2`,
		`sockeye_sockets_connected_total 2`,
		`sockeye_sockets_refused_total 1`,
		`sockeye_requests_refused_total{reason="transport unknown"} 1`,
		`sockeye_adapter_up 1`,
	)
	if text := b.scrape(); strings.Contains(text, "unnamed") || !strings.Contains(text, "go_goroutines") {
		t.Errorf("served:\n%s", text)
	}
	_ = other.Manager().Close()
	b.want(`sockeye_sockets{namespace="/"} 1`, `sockeye_connections_closed_total{reason="transport close"} 2`) // one was refused
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b.want(`sockeye_adapter_up 0`, `sockeye_sockets_disconnected_total{reason="server shutting down"} 1`)
}

// A cluster shows what it publishes, and that Redis is away.
func TestMetrics_Adapter(t *testing.T) {
	t.Parallel()
	hub := redistest.NewHub()
	newCluster := func() sockeye.Config {
		return sockeye.Config{Adapter: redisadapter.PubSub(hub.Driver(), redisadapter.PubSubOptions{})}
	}
	a := setup(t, newCluster(), metrics.Options{})
	b := setup(t, newCluster(), metrics.Options{})
	if err := a.EmitContext(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	c := b.connect("/")
	got := make(chan struct{}, 1)
	c.On("y", client.HandlerFunc(func(context.Context, *client.Message) error { got <- struct{}{}; return nil }))
	if err := a.EmitContext(t.Context(), "y"); err != nil {
		t.Fatal(err)
	}
	<-got
	a.want(`sockeye_adapter_servers 1`, `sockeye_adapter_waiting_messages 0`, `sockeye_adapter_gaps_total 0`)
	b.want(`sockeye_adapter_publish_failed_total 0`)
	positive := regexp.MustCompile(`(?m)^sockeye_adapter_(published_total|batches_total|batch_seconds_total) [^0]`)
	testkit.Eventually(t, "published", func() bool { return len(positive.FindAllString(a.scrape(), -1)) >= 2 })
	receivedSome := regexp.MustCompile(`(?m)^sockeye_adapter_received_total [1-9]`)
	testkit.Eventually(t, "received", func() bool { return receivedSome.MatchString(b.scrape()) })
}

// Clients that choose names make no labels: neither events nor namespaces.
func TestMetrics_CardinalityAttack(t *testing.T) {
	t.Parallel()
	b := setup(t, sockeye.Config{}, metrics.Options{Events: []string{"x"}, Namespaces: 3})
	b.OfRegexp(regexp.MustCompile(`^/dyn-`))
	for i := range 5 {
		b.Of(fmt.Sprintf("/static-%d", i))
	}
	b.Of("/a\xff") // no UTF-8
	before := testutil.CollectAndCount(b.m)
	c := b.connect("/")
	for i := range 300 {
		if err := c.Emit(fmt.Sprintf("event-%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 20 {
		b.connect(fmt.Sprintf("/dyn-%d", i))
	}
	b.want(
		`sockeye_events_total{direction="in"} 300`, `sockeye_namespaces{kind="dynamic"} 20`,
		`sockeye_sockets{namespace="(dynamic)"} 20`, `sockeye_sockets{namespace="(other)"} 0`,
		`sockeye_sockets{namespace="/"} 1`, "sockeye_sockets{namespace=\"/a\uFFFD\"} 0",
		`sockeye_sockets{namespace="/static-0"} 0`, `sockeye_namespaces{kind="static"} 7`,
	)
	if n := testutil.CollectAndCount(b.m); n != before+2 { // sockets and rooms of "(dynamic)"
		t.Errorf("%d series, %d before", n, before)
	}
	if text := b.scrape(); strings.Contains(text, "event-") || strings.Contains(text, "dyn-") || strings.Contains(text, "static-1") {
		t.Errorf("served:\n%s", text)
	}
}

// Scrapes race with nothing while clients come, talk and go.
func TestMetrics_UnderLoad(t *testing.T) {
	t.Parallel()
	b := setup(t, sockeye.Config{}, metrics.Options{Events: []string{"x"}})
	b.OfRegexp(regexp.MustCompile(`^/dyn-`))
	b.On("x", sockeye.HandlerFunc(func(_ context.Context, m *sockeye.Message) error { return m.Ack() }))
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for n := range 5 {
				s, err := client.Dial(t.Context(), b.url, client.Config{})
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := s.EmitWithAck(t.Context(), "x"); err != nil {
					t.Error(err)
				}
				_ = b.Of(fmt.Sprintf("/static-%d-%d", i, n))
				_ = b.Emit("all")
				_ = s.Manager().Close()
			}
		})
	}
	done := make(chan struct{})
	go func() { // ends when the clients have
		defer close(done)
		wg.Wait()
	}()
	web := httptest.NewServer(b.m.Handler())
	defer web.Close()
	for more := true; more; {
		select {
		case <-done:
			more = false
		default:
		}
		r, err := http.Get(web.URL)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, r.Body); err != nil || r.StatusCode != http.StatusOK {
			t.Fatal(r.Status, err)
		}
		_ = r.Body.Close()
	}
	b.want(`sockeye_sockets_connected_total 20`, `sockeye_handler_duration_seconds_count{event="x"} 20`)
}

func TestMetrics_Registerer(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	a := setup(t, sockeye.Config{}, metrics.Options{Registerer: reg, Labels: prometheus.Labels{"server": "a"}})
	b := setup(t, sockeye.Config{}, metrics.Options{Registerer: reg, Labels: prometheus.Labels{"server": "b"}})
	b.want(`sockeye_acks_timed_out_total{server="a"} 0`, `sockeye_acks_timed_out_total{server="b"} 0`)
	if _, err := metrics.New(a.Server, metrics.Options{Registerer: reg, Labels: prometheus.Labels{"server": "a"}}); err == nil {
		t.Error("registered twice")
	}
	for range 2 {
		if err := a.m.Close(); err != nil {
			t.Error(err)
		}
	}
	if text := b.scrape(); strings.Contains(text, `server="a"`) || strings.Contains(text, "go_goroutines") {
		t.Errorf("served:\n%s", text)
	}
	// One that cannot be read.
	only := struct{ prometheus.Registerer }{prometheus.NewRegistry()}
	c := setup(t, sockeye.Config{}, metrics.Options{Registerer: only})
	c.want(`sockeye_acks_timed_out_total 0`)
	if _, err := metrics.New(a.Server, metrics.Options{Buckets: []float64{1, 1}}); err == nil {
		t.Error("buckets that do not ascend")
	}
}
