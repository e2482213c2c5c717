package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/engineio"
	"github.com/sockeye-io/sockeye/parser"
)

func TestPending(t *testing.T) {
	t.Parallel()
	var p pending
	for round := range uint64(3) { // ids go on, memory does not
		for i := range uint64(maxPending) {
			if id, ok := p.push(int64(100 + i)); !ok || id != round*maxPending+i {
				t.Fatalf("id %d, %v", id, ok)
			}
		}
		if _, ok := p.push(1); ok {
			t.Fatal("one too many")
		}
		for i := range uint64(maxPending) {
			id := i ^ 1 // not quite in order
			if due, ok := p.pop(round*maxPending + id); !ok || due != int64(100+id) {
				t.Fatalf("%d: due %d, %v", id, due, ok)
			}
			if _, ok := p.pop(round*maxPending + id); ok {
				t.Fatal("answered twice")
			}
		}
		if p.open != 0 || len(p.due) != 0 {
			t.Fatalf("%d open, %d kept", p.open, len(p.due))
		}
	}
	if _, ok := p.pop(1 << 40); ok {
		t.Error("an id that was never given")
	}
}

func TestStamp(t *testing.T) {
	t.Parallel()
	now := clock()
	b := append(appendStamp(nil, 123_456, now), "xxx"...)
	if room, due, ok := parseStamp(b); !ok || room != 123_456 || due != now {
		t.Errorf("%s: %d %d %v", b, room, due, ok)
	}
	for n := range stampLen {
		if _, _, ok := parseStamp(b[:n]); ok {
			t.Errorf("%q", b[:n])
		}
	}
}

func FuzzParseStamp(f *testing.F) {
	f.Add(appendStamp(nil, 0, 1))
	f.Add(appendStamp(nil, 999_999, 1<<62))
	f.Add([]byte("-00000:3000001000000000000:"))
	f.Add([]byte("000000:+000001000000000000:"))
	f.Fuzz(func(t *testing.T, b []byte) {
		room, due, ok := parseStamp(b)
		if ok && (room < 0 || due <= 0) {
			t.Errorf("%q: %d %d", b, room, due)
		}
		if ok && string(appendStamp(nil, room, due)) != string(b[:stampLen]) {
			t.Errorf("%q is written %q", b, appendStamp(nil, room, due))
		}
	})
}

// TestRecorder_Merge: what goroutines record, and what travels packed, adds up.
func TestRecorder_Merge(t *testing.T) {
	t.Parallel()
	r, sum := newRecorder(), newHistogram()
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			for i := range 1000 {
				r.add(g+i, int64(i+1)*int64(time.Millisecond))
			}
		})
	}
	all.Wait()
	r.add(0, -5)
	r.add(0, longest*2)
	for range 2 { // the second time there is nothing more
		if err := addPacked(sum, packed(r.take())); err != nil {
			t.Fatal(err)
		}
	}
	l := latencyOf(sum)
	if l.Count != 4002 || l.P50 < 499 || l.P50 > 502 || l.P90 < 899 || l.P90 > 902 || l.Max < 3.59e6 || l.Min > 0.001 {
		t.Errorf("%+v", l)
	}
	if packed(newHistogram()) != nil || latencyOf(newHistogram()) != (Latency{}) {
		t.Error("an empty histogram is not nothing")
	}
	for _, b := range [][]byte{[]byte("x"), []byte("AAAA"), []byte(strings.Repeat("HISTFAAAA", 9))} {
		if addPacked(sum, b) == nil {
			t.Errorf("%q is no histogram", b)
		}
	}
}

func TestReason(t *testing.T) {
	t.Parallel()
	status := func(code int, message string) error {
		return &engineio.TransportError{Transport: WebSocket, Status: code, Message: message, Err: errors.New("x")}
	}
	for _, tt := range []struct {
		err  error
		want string
	}{
		{fmt.Errorf("dial: %w", syscall.ECONNREFUSED), "connection refused"},
		{&engineio.TransportError{Err: &net.OpError{Err: os.NewSyscallError("connect", syscall.EADDRNOTAVAIL)}}, "no free port"},
		{syscall.EMFILE, "too many open files"},
		{status(503, ""), "status 503"},
		{status(400, "Bad request"), "status 400: Bad request"},
		{status(0, ""), "engineio: websocket: x"},
		{context.DeadlineExceeded, "timeout"},
		{&engineio.TransportError{Err: &url.Error{Op: "Get", URL: "http://h/?k=secret", Err: errors.New("odd")}}, "odd"},
		{context.Canceled, "interrupted"},
		{&net.DNSError{IsNotFound: true}, "name cannot be resolved"},
		{refusal(parser.Value(map[string]string{"message": "a\x1b[31mb\n"})), "refused by the server: a [31mb "},
		{refusal(parser.Value("text")), "refused by the server: text"},
		{refusal(parser.Arg{}), "refused by the server"},
		{errors.New(strings.Repeat("y", 500)), strings.Repeat("y", maxReason) + "..."},
	} {
		if got := reason(tt.err); got != tt.want {
			t.Errorf("%v: %q, want %q", tt.err, got, tt.want)
		}
	}
	m := map[string]int{}
	for i := range 100 {
		count(m, strconv.Itoa(i), 1)
	}
	count(m, "0", 1)
	if len(m) != maxReasons+1 || m[otherReasons] != 100-maxReasons || m["0"] != 2 {
		t.Errorf("%v", m)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{"ok":true}`: "", `"ok"`: "", `null`: "", `[{"ok":false}]`: "", `{"ok":"false"}`: "", `{"nok":false}`: "",
		`{"ok":false}`: "not ok", `{"ok":false,"error":"full"}`: "full", `{"error":{"code":"busy"},"ok":false}`: "busy",
		`{"ok":false,"error":{"code":7}}`: "not ok",
	} {
		if got := refused([]parser.Arg{parser.RawJSON([]byte(text))}); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
	if refused(nil) != "" || refused([]parser.Arg{parser.Bytes([]byte{1})}) != "" {
		t.Error("what is no object is no refusal")
	}
}

func TestConfig_Validate(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		scenario Scenario
		change   func(c *Config)
		want     string
	}{
		"good":              {Idle, func(*Config) {}, ""},
		"good echo":         {Echo, func(*Config) {}, ""},
		"good fan-out":      {Fanout, func(c *Config) { c.Rate, c.Rooms = 1, 3 }, ""},
		"scenario":          {"x", func(*Config) {}, "scenario"},
		"transport":         {Idle, func(c *Config) { c.Transport = "x" }, "transport"},
		"version":           {Idle, func(c *Config) { c.EIO = 5 }, "Engine.IO"},
		"auth of 2":         {Idle, func(c *Config) { c.EIO, c.Auth = 3, []byte("{}") }, "auth"},
		"no connection":     {Idle, func(c *Config) { c.Connections = 0 }, "0 connections"},
		"no ramp":           {Idle, func(c *Config) { c.Ramp = 0 }, "ramp"},
		"rate":              {Echo, func(c *Config) { c.Rate = -1 }, "rate"},
		"in flight":         {Echo, func(c *Config) { c.InFlight = 0 }, "in flight"},
		"much in flight":    {Echo, func(c *Config) { c.InFlight = maxPending + 1 }, "in flight"},
		"payload":           {Echo, func(c *Config) { c.Payload = -1 }, "payload"},
		"duration":          {Echo, func(c *Config) { c.Duration = 0 }, "duration"},
		"namespace":         {Echo, func(c *Config) { c.Namespace = "x" }, "namespace"},
		"reserved":          {Echo, func(c *Config) { c.Event = "disconnect" }, "protocol"},
		"fan-out rate":      {Fanout, func(*Config) {}, "without a rate"},
		"fan-out payload":   {Fanout, func(c *Config) { c.Rate, c.Payload = 1, 47 }, "48 bytes"},
		"lonely publishers": {Fanout, func(c *Config) { c.Rate, c.Rooms = 1, 4 }, "too few"},
		"rooms of echo":     {Echo, func(c *Config) { c.Rooms = 1 }, "only fan-out"},
	} {
		c := little("http://127.0.0.1", tt.scenario)
		tt.change(&c)
		if err := c.Validate(); (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	c := little("http://127.0.0.1", Idle)
	for _, workers := range []int{0, 7} {
		if _, err := Run(t.Context(), c, Options{Workers: workers}); err == nil {
			t.Errorf("%d workers for 6 connections", workers)
		}
	}
	if _, err := Run(t.Context(), Config{}, Options{Workers: 1}); err == nil {
		t.Error("nothing is valid")
	}
}

// TestConfig_Shares: all connections, once; and the rates add up.
func TestConfig_Shares(t *testing.T) {
	t.Parallel()
	for _, s := range []Scenario{Idle, Echo, Fanout} {
		c := little("", s)
		c.Connections, c.Rate = 1000, 77
		if s == Fanout {
			c.Rooms = 130
		}
		for _, n := range []int{1, 3, 7, 1000} {
			next, rate, ramp := 0, 0.0, 0.0
			for _, w := range c.shares(n) {
				if w.First != next || w.Last <= w.First {
					t.Fatalf("%d workers: %d to %d after %d", n, w.First, w.Last, next)
				}
				next = w.Last
				rate += w.rate()
				ramp += w.ramp()
			}
			if want := map[Scenario]float64{Idle: 0, Echo: 77, Fanout: 77}[s]; next != 1000 || rate < want-1e-6 || rate > want+1e-6 || ramp < 999 || ramp > 1001 {
				t.Errorf("%s, %d workers: %d connections, rate %v, ramp %v", s, n, next, rate, ramp)
			}
		}
	}
}

func TestConfig_Fits(t *testing.T) {
	t.Parallel()
	c := little("", Idle)
	for _, tt := range []struct {
		transport   string
		connections int
		files       int
		workers     int
		ports       int
		sources     int
	}{
		{WebSocket, 100, 20_000, 1, 28_232, 0},
		{WebSocket, 19_744, 20_000, 1, 28_232, 0},
		{WebSocket, 19_745, 20_000, 2, 28_232, 0},
		{WebSocket, 100_000, 20_000, 6, 28_232, 4},
		{Polling, 19_744, 20_000, 2, 28_232, 2},
		{Upgrade, 18_720, 20_000, 1, 28_232, 0},
		{Upgrade, 18_721, 20_000, 2, 28_232, 0},
		{WebSocket, 100_000, 0, 1, 28_232, 4},
		{WebSocket, 5, 10, 5, 28_232, 0},
	} {
		c.Transport, c.Connections = tt.transport, tt.connections
		if n := c.FitFiles(tt.files); n != tt.workers {
			t.Errorf("%+v: %d workers", tt, n)
		}
		sources := c.FitPorts(netip.MustParseAddr("127.0.0.1"), tt.ports)
		if runtime.GOOS == "linux" && len(sources) != tt.sources {
			t.Errorf("%+v: %v", tt, sources)
		}
		for i, a := range sources {
			if !a.IsLoopback() || slices.Index(sources, a) != i {
				t.Errorf("sources %v", sources)
			}
		}
		if c.FitPorts(netip.MustParseAddr("192.0.2.1"), tt.ports) != nil || c.FitPorts(netip.IPv6Loopback(), tt.ports) != nil {
			t.Errorf("%+v: sources for what has none", tt)
		}
	}
	if Files() < 0 || Ports() < 1000 {
		t.Errorf("%d files, %d ports", Files(), Ports())
	}
}

// TestResult_JSON: the fields are a promise.
func TestResult_JSON(t *testing.T) {
	t.Parallel()
	r := Result{
		URL: "http://127.0.0.1:3000", Scenario: Echo, Transport: WebSocket, EngineIO: 4, Namespace: "/", Payload: 64, Rate: 100,
		Connections: Connections{
			Asked: 12, Opened: 9, Failed: map[string]int{"status 429": 2}, Untried: 1, Lost: map[string]int{"transport close": 1},
			Seconds: 0.5, PerSecond: 18, Latency: Latency{Count: 9, Min: 0.1, Mean: 0.2, P50: 0.2, P90: 0.3, P99: 0.4, P999: 0.5, Max: 0.6},
		},
		Events: Events{
			Seconds: 10, Sent: 1000, PerSecond: 100, Acknowledged: 990, GotPerSecond: 99, Missing: 5, Unsent: 5, Refused: map[string]int{"full": 3},
		},
		Latency:   Latency{Count: 990, Min: 0.1, Mean: 0.2, P50: 0.2, P90: 0.3, P99: 0.4, P999: 0.5, Max: 0.6},
		Generator: Generator{Processes: 2, CPUSeconds: 1.5, CPUs: 2, CPUShare: 0.07, MachineBusy: 0.95, PeakBytes: 50_000_000},
		Warnings:  []string{"w"}, Errors: []string{"e"},
	}
	got, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("testdata", "result.json")
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(file, append(got, '\n'), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil || string(want) != string(got)+"\n" {
		t.Errorf("%v, it is now\n%s", err, got)
	}
	// What has not happened is there too, as none and not as null.
	v := startVictim(t, sockeye.Config{})
	result := mustRun(t, little(v.url, Idle), Options{})
	if b, err := json.Marshal(result); err != nil || strings.Contains(string(b), "null") {
		t.Errorf("%v %s", err, b)
	}
}

func TestResult_Busy(t *testing.T) {
	t.Parallel()
	r := run{cfg: little("", Echo)}
	for _, tt := range []struct {
		g    Generator
		want string
	}{
		{Generator{CPUShare: 0.95, MachineBusy: 1}, "the generator used 95%"},
		{Generator{CPUShare: 0.4, MachineBusy: 0.99}, "this machine was 99% busy"},
		{Generator{CPUShare: 0.4, MachineBusy: 0.5}, ""},
	} {
		v := &Result{Generator: tt.g}
		r.judge(v)
		if got := strings.Join(v.Warnings, "\n"); !strings.HasPrefix(got, tt.want) || (got == "") != (tt.want == "") || len(v.Errors) != 0 {
			t.Errorf("%+v: %q", tt.g, got)
		}
	}
}
