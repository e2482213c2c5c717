package load

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/testkit"
)

// TestRun_Failed: connections that cannot be opened are counted by reason, and those that could be are used.
func TestRun_Failed(t *testing.T) {
	t.Parallel()
	v := startVictim(t, sockeye.Config{})
	var turns atomic.Int32
	full := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if turns.Add(1)%2 == 0 {
			http.Error(w, "full", http.StatusTooManyRequests)
			return
		}
		v.ServeHTTP(w, r)
	}))
	t.Cleanup(full.Close)
	silent, err := net.Listen("tcp", "127.0.0.1:0") // its backlog takes connections, and nobody answers
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	other := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(other.Close)
	for name, tt := range map[string]struct {
		url    string
		change func(c *Config)
		opened int
		reason string
	}{
		"refused":         {"http://" + testkit.FreeAddr(t), func(*Config) {}, 0, "connection refused"},
		"refused polling": {"http://" + testkit.FreeAddr(t), func(c *Config) { c.Transport = Polling }, 0, "connection refused"},
		"every other one": {full.URL, func(*Config) {}, 3, "status 429"},
		"not Socket.IO":   {other.URL, func(*Config) {}, 0, "status 404"},
		"no answer":       {"http://" + silent.Addr().String(), func(c *Config) { c.Timeout = 100 * time.Millisecond }, 0, "timeout"},
		"namespace":       {v.url, func(c *Config) { c.Namespace = "/closed" }, 0, "refused by the server: no entry"},
		"namespace, 2.x":  {v.url, func(c *Config) { c.Namespace, c.EIO = "/closed", 3 }, 0, "refused by the server: no entry"},
		"no namespace":    {v.url, func(c *Config) { c.Namespace = "/none" }, 0, "refused by the server: Invalid namespace"},
		"name":            {"http://nobody.invalid", func(*Config) {}, 0, "name cannot be resolved"},
		"no join": {
			v.url, func(c *Config) {
				c.Scenario, c.Rooms, c.Rate, c.Join, c.Timeout = Fanout, 1, 1, "message", testkit.Scale(time.Second)
			}, 0,
			"no acknowledgement of joining a room",
		},
		"refused to join": {
			v.url, func(c *Config) { c.Scenario, c.Rooms, c.Rate, c.Join = Fanout, 1, 1, "no" }, 0,
			"refused to join a room: full",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := little(tt.url, Echo)
			tt.change(&c)
			r := mustRun(t, c, Options{})
			if r.OK() || r.Connections.Opened != tt.opened || r.Connections.Failed[tt.reason] == 0 || total(r.Connections.Failed) != 6-tt.opened {
				t.Errorf("%+v", r)
			}
			if len(r.Errors) == 0 || !strings.Contains(r.Errors[0], tt.reason) {
				t.Errorf("says %q", r.Errors)
			}
			if (tt.opened > 0) != (r.Events.Acknowledged > 0) {
				t.Errorf("%+v", r.Events)
			}
		})
	}
}

// TestRun_Hopeless: where all fail, it does not go on for ever.
func TestRun_Hopeless(t *testing.T) {
	t.Parallel()
	c := little("http://"+testkit.FreeAddr(t), Idle)
	c.Connections, c.Ramp = 50_000, 1e6
	r := mustRun(t, c, Options{})
	n := r.Connections
	if r.OK() || n.Failed["connection refused"] < hopeless || n.Untried < 40_000 || n.Untried+total(n.Failed) != n.Asked {
		t.Errorf("%+v", n)
	}
	if want := "not tried"; len(r.Errors) != 1 || !strings.Contains(r.Errors[0], want) {
		t.Errorf("says %q", r.Errors)
	}
}

// during runs a load that does not end by itself, and calls f when it has sent.
func during(t *testing.T, c Config, o Options, f func()) *Result {
	t.Helper()
	c.Duration = testkit.Scale(time.Minute)
	done := false
	o.Progress = func(p Progress) {
		if p.Received > 0 && !done {
			done = true
			f()
		}
	}
	begin := time.Now()
	r := mustRun(t, c, o)
	if !done || time.Since(begin) >= c.Duration {
		t.Errorf("it ended by itself: %+v", r)
	}
	return r
}

func TestRun_ServerDies(t *testing.T) {
	t.Parallel()
	for _, s := range []Scenario{Echo, Fanout} {
		v := startVictim(t, sockeye.Config{})
		c := little(v.url, s)
		c.Rate = 50
		r := during(t, c, Options{Workers: 2}, func() { _ = v.io.Close() })
		if r.OK() || r.Connections.Opened != 6 || total(r.Connections.Lost) != 6 || r.Latency.Count == 0 {
			t.Errorf("%s: %+v", s, r)
		}
		if all := strings.Join(r.Errors, "\n"); !strings.Contains(all, "6 connections were lost: ") {
			t.Errorf("%s: says %s", s, all)
		}
	}
}

func TestRun_Interrupted(t *testing.T) {
	t.Parallel()
	v := startVictim(t, sockeye.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c := little(v.url, Echo)
	c.Duration = testkit.Scale(time.Minute)
	r, err := Run(ctx, c, Options{Workers: 2, Progress: func(p Progress) {
		if p.Received > 0 {
			cancel()
		}
	}})
	if err != nil || !r.Interrupted || r.OK() || len(r.Errors) != 0 || r.Events.Acknowledged == 0 || r.Latency.Count == 0 || r.Events.Seconds == 0 {
		t.Errorf("%v %+v", err, r)
	}
	testkit.Eventually(t, "the server is free", func() bool { return v.io.Conns() == 0 })

	// While it connects.
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	c.Connections, c.Ramp = 1000, 1
	r, err = Run(ctx, c, Options{Workers: 1, Progress: func(p Progress) { cancel() }})
	if err != nil || !r.Interrupted || r.Connections.Untried == 0 || len(r.Errors) != 0 {
		t.Errorf("%v %+v", err, r)
	}
}

// TestRun_WorkerDies: the others go on, and it is said.
func TestRun_WorkerDies(t *testing.T) {
	t.Parallel()
	v := startVictim(t, sockeye.Config{})
	var pipes []Pipe
	o := Options{Workers: 2, Spawn: func(ctx context.Context) (Pipe, error) {
		p, err := Local(ctx)
		// What dies says nothing more.
		r := &deadly{r: p.Reports}
		kill := p.Kill
		p.Reports, p.Kill = r, func() { r.dead.Store(true); kill() }
		pipes = append(pipes, p)
		return p, err
	}}
	c := little(v.url, Echo)
	c.Duration = testkit.Scale(time.Minute)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	after := 0 // acknowledgements when it was noticed
	o.Progress = func(p Progress) {
		switch {
		case p.Received > 0 && p.Open == 6:
			pipes[0].Kill()
		case p.Open == 3 && after == 0:
			after = p.Received
		case p.Open == 3 && p.Received > after:
			cancel()
		}
	}
	r, err := Run(ctx, c, o)
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Join(r.Errors, "\n")
	if r.OK() || !r.Interrupted || r.Connections.Lost["their worker ended"] != 3 || !strings.Contains(all, "a worker ended early") {
		t.Errorf("%+v", r)
	}
}

type deadly struct {
	r    io.Reader
	dead atomic.Bool
}

func (d *deadly) Read(p []byte) (int, error) {
	n, err := d.r.Read(p)
	if d.dead.Load() {
		_, _ = io.Copy(io.Discard, d.r) // a process that is killed does not wait for its reader
		return 0, errors.New("killed")
	}
	return n, err
}

func TestRun_NoWorker(t *testing.T) {
	t.Parallel()
	v := startVictim(t, sockeye.Config{})
	n := 0
	_, err := Run(t.Context(), little(v.url, Echo), Options{Workers: 3, Spawn: func(ctx context.Context) (Pipe, error) {
		if n++; n == 3 {
			return Pipe{}, errors.New("enough")
		}
		return Local(ctx)
	}})
	if err == nil || !strings.Contains(err.Error(), "enough") {
		t.Error(err)
	}
	testkit.Eventually(t, "the server is free", func() bool { return v.io.Conns() == 0 })
}

// TestRun_ServerKeepsQuiet: what does not come is told.
func TestRun_ServerKeepsQuiet(t *testing.T) {
	t.Parallel()
	v := startVictim(t, sockeye.Config{})
	for name, tt := range map[string]struct {
		scenario Scenario
		change   func(c *Config)
		want     string
	}{
		"no acknowledgement": {Echo, func(c *Config) { c.Event = "message" }, `no event was acknowledged: does the server answer "message"?`},
		"refusals":           {Echo, func(c *Config) { c.Event, c.Rate = "no", 50 }, "the server refused 10 events: 10 full"},
		"no broadcast":       {Fanout, func(c *Config) { c.Event, c.Rate = "echo", 50 }, `nothing was received: does the server send "echo" on?`},
		"other rooms":        {Fanout, func(c *Config) { c.Publish, c.Rooms, c.Rate = "everywhere", 2, 50 }, "events came to connections in other rooms"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := little(v.url, tt.scenario)
			tt.change(&c)
			r := mustRun(t, c, Options{Drain: testkit.Scale(time.Second)}) // what comes must come in time
			if all := strings.Join(r.Errors, "\n"); r.OK() || !strings.Contains(all, tt.want) {
				t.Errorf("says %s", all)
			}
		})
	}
}

// TestConn_CoordinatedOmission: latency counts from when an event was due.
func TestConn_CoordinatedOmission(t *testing.T) {
	t.Parallel()
	v := startVictim(t, sockeye.Config{})
	w, err := newWorker(little(v.url, Echo).shares(1)[0])
	if err != nil {
		t.Fatal(err)
	}
	w.ramp(t.Context())
	c := w.ready()[0]
	const late = int64(3 * time.Second)
	for range 3 {
		c.ask(clock() - late)
	}
	testkit.Eventually(t, "the acknowledgements", func() bool { return w.answers.Load() == 3 })
	if l := latencyOf(w.latency.take()); l.Count != 3 || l.Min < 2990 {
		t.Errorf("%+v", l)
	}
	w.close(t.Context())
}

// TestConn_TooMuchUnderWay: what is due and cannot be sent is counted.
func TestConn_TooMuchUnderWay(t *testing.T) {
	t.Parallel()
	v := startVictim(t, sockeye.Config{})
	c := little(v.url, Echo)
	c.Connections, c.Event = 1, "nothing" // which is never acknowledged
	w, err := newWorker(c.shares(1)[0])
	if err != nil {
		t.Fatal(err)
	}
	w.ramp(t.Context())
	for range maxPending + 5 {
		w.ready()[0].ask(clock())
	}
	w.setPhase(phaseSent)
	r := w.report()
	if r.Unsent < 5 || r.Sent+r.Unsent != maxPending+5 || r.Waiting < r.Sent {
		t.Errorf("%+v", r)
	}
	w.close(t.Context())
}

func TestServe_Orders(t *testing.T) {
	t.Parallel()
	for name, in := range map[string]string{"nothing": "", "no share": "{}\n", "not JSON": "hello\n", "no number": `{"share":{"first":"x"}}`} {
		var out bytes.Buffer
		if err := Serve(t.Context(), strings.NewReader(in), &out); !errors.Is(err, errNoShare) || out.Len() != 0 {
			t.Errorf("%s: %v, %s", name, err, out.String())
		}
	}
	// A share without a director: it ends with its orders.
	v := startVictim(t, sockeye.Config{})
	b, err := json.Marshal(order{Share: &little(v.url, Idle).shares(1)[0]})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := Serve(t.Context(), bytes.NewReader(b), &out); err != nil {
		t.Fatal(err)
	}
	var last report
	for line := range strings.Lines(out.String()) {
		if err := json.Unmarshal([]byte(line), &last); err != nil {
			t.Fatal(err)
		}
	}
	if last.Phase != phaseDone {
		t.Errorf("%+v", last)
	}
	testkit.Eventually(t, "the server is free", func() bool { return v.io.Conns() == 0 })
}
