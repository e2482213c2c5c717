package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"charm.land/bubbles/v2/progress"
	"github.com/charmbracelet/x/ansi"

	"github.com/sockeye-io/sockeye/internal/load"
	"github.com/sockeye-io/sockeye/internal/testkit"
)

var (
	// figures are what differs from run to run.
	figures = regexp.MustCompile(`[0-9]+\.[0-9]+(ms|s)?|[0-9]+(ms|%| per second| CPUs?| open files| ports)`)

	// passing lines are there where a run takes its time, or the machine is busy.
	passing = regexp.MustCompile(`^ *[0-9.]+s  |^warning: `)
)

// TestTranscript_Bench: what it says to a server in this process, with # for figures.
func TestTranscript_Bench(t *testing.T) {
	t.Parallel()
	p := serving(t, nil, "--addr", "127.0.0.1:0")
	full := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "full", http.StatusServiceUnavailable)
	}))
	t.Cleanup(full.Close)
	names := map[string]string{"SERVER": strings.TrimPrefix(p.url, "http://"), "FULL": strings.TrimPrefix(full.URL, "http://"), "NOBODY": testkit.FreeAddr(t)}
	file := filepath.Join("testdata", "bench.txt")
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for line := range strings.Lines(string(want)) {
		if !strings.HasPrefix(line, "$ ") {
			continue
		}
		code, out := shell(t, strings.TrimSpace(line[2:]), names)
		for name, value := range names {
			out = strings.ReplaceAll(out, value, name)
		}
		got.WriteString(line)
		for said := range strings.Lines(out) {
			if !passing.MatchString(said) {
				got.WriteString(figures.ReplaceAllStringFunc(strings.Join(strings.Fields(said), " "), masked) + "\n")
			}
		}
		got.WriteString("[exit " + strconv.Itoa(code) + "]\n\n")
	}
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(file, []byte(got.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got.String() != string(want) {
		t.Errorf("%s is now\n%s", file, got.String())
	}
}

// masked replaces the number of a figure.
func masked(figure string) string { return "#" + strings.TrimLeft(figure, "0123456789.") }

func TestBench_Usage(t *testing.T) {
	t.Parallel()
	const here = "http://127.0.0.1:1"
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"no URL":              {nil, "arg"},
		"odd URL":             {[]string{"ftp://127.0.0.1"}, "http://host:port"},
		"another machine":     {[]string{"http://192.0.2.1"}, "192.0.2.1 is not on this machine: add --yes"},
		"also by IPv6":        {[]string{"http://[2001:db8::1]:3000"}, "--yes"},
		"any address":         {[]string{"http://0.0.0.0:3000"}, "--yes"},
		"two scenarios":       {[]string{"--echo", "--fanout", here}, "exclude each other"},
		"two rates":           {[]string{"--echo", "--rate", "1", "--rate-each", "1", here}, "exclude each other"},
		"negative rate":       {[]string{"--echo", "--rate", "-1", here}, "--rate"},
		"rate of nothing":     {[]string{"--rate", "1", here}, "--rate needs --echo or --fanout"},
		"rooms of echo":       {[]string{"--echo", "--rooms", "2", here}, "only fan-out has rooms"},
		"rate and window":     {[]string{"--echo", "--rate", "1", "--in-flight", "2", here}, "--in-flight"},
		"transport":           {[]string{"--transport", "pigeon", here}, "--transport"},
		"protocol":            {[]string{"--protocol", "5", here}, "--protocol"},
		"auth":                {[]string{"--auth", "secret", here}, "--auth is not a JSON object"},
		"no connections":      {[]string{"-c", "0", here}, "0 connections"},
		"few connections":     {[]string{"-c", "3", "--fanout", "--rooms", "2", here}, "3 connections are too few"},
		"small payload":       {[]string{"--fanout", "--payload", "10", here}, "48 bytes"},
		"no time":             {[]string{"-d", "0s", here}, "duration"},
		"more processes":      {[]string{"-c", "2", "--procs", "3", here}, "--procs"},
		"reserved event":      {[]string{"--echo", "-e", "connect", here}, "connect"},
		"unknown flag":        {[]string{"--users", "3", here}, "users"},
		"argument of workers": {[]string{"--echo", here, "more"}, "arg"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, out, errs := command(t, nil, append([]string{"bench"}, tt.args...)...)
			first, _, _ := strings.Cut(errs, "\n")
			if code != exitUsage || out != "" || !strings.Contains(first, tt.want) || strings.Contains(errs, "secret") {
				t.Errorf("exit %d, %q, says %q", code, out, errs)
			}
		})
	}
}

func TestBench_Fit(t *testing.T) {
	t.Parallel()
	files := load.Files()
	if files == 0 {
		files = 1000 // there is no limit: one is enough for all
	}
	o := benchOptions{load: load.Config{Transport: load.WebSocket, Connections: 3 * files}}
	local := []string{"127.0.0.1", "localhost"}
	for _, host := range local {
		o.procs, o.load.URL = 0, "http://"+net.JoinHostPort(host, "1")
		if err := o.aim(t.Context()); err != nil || o.load.Target == "" || !strings.HasPrefix(o.limits, "limits: ") {
			t.Errorf("%s: %v, %q", host, err, o.limits)
		}
		if load.Files() > 0 && (o.procs < 4 || !strings.Contains(o.limits, "for each of "+strconv.Itoa(o.procs)+" processes")) {
			t.Errorf("%s: %d processes, %q", host, o.procs, o.limits)
		}
	}
	if load.Files() > 0 {
		o.procs = 1
		if err := o.aim(t.Context()); err == nil || !strings.Contains(err.Error(), "--procs") {
			t.Errorf("one process for all: %v", err)
		}
	}
	o = benchOptions{yes: true, load: load.Config{Transport: load.WebSocket, Connections: 1, URL: "http://192.0.2.1"}}
	if err := o.aim(t.Context()); err != nil || o.load.Target != "" || o.procs != 1 || len(o.load.Sources) != 0 {
		t.Errorf("%v %+v", err, o)
	}
}

// bench runs the command with --json.
func bench(t *testing.T, ctx context.Context, args ...string) (code int, r load.Result, errs string) {
	t.Helper()
	var out, said output
	code = run(ctx, invocation{args: append([]string{"bench", "--json"}, args...), env: environment(nil).get, stdout: &out, stderr: &said})
	if err := json.Unmarshal([]byte(out.String()), &r); err != nil {
		t.Fatalf("exit %d, %v: %s%s", code, err, out.String(), said.String())
	}
	return code, r, said.String()
}

// TestBench_Scenarios: "serve" serves all of them as it is.
func TestBench_Scenarios(t *testing.T) {
	t.Parallel()
	p := serving(t, nil, "--addr", "127.0.0.1:0")
	for name, args := range map[string][]string{
		"hold":            {},
		"echo":            {"--echo"},
		"echo by rate":    {"--echo", "--rate-each", "10"},
		"echo by polling": {"--echo", "--transport", "polling"},
		"echo upgraded":   {"--echo", "--transport", "upgrade"},
		"echo of 2.x":     {"--echo", "--protocol", "2", "--header", "X-Test: y", "--query", "a=b"},
		"rooms":           {"--fanout", "--rooms", "3", "--rate-each", "20"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, r, errs := bench(t, t.Context(), append(args, "-c", "12", "-d", "300ms", p.url)...)
			if code != exitOK || r.Connections.Opened != 12 || name != "hold" && r.Latency.Count == 0 {
				t.Errorf("exit %d, %+v\n%s", code, r, errs)
			}
			if name == "rooms" && (r.Events.Sent != 18 || r.Events.Received != 18*3 || r.Rooms != 3) {
				t.Errorf("%+v", r.Events)
			}
		})
	}
}

// TestBench_Fanout: without rooms all sockets of the server get it, so that it has one for itself.
func TestBench_Fanout(t *testing.T) {
	t.Parallel()
	p := serving(t, nil, "--addr", "127.0.0.1:0")
	code, r, errs := bench(t, t.Context(), "--fanout", "--rate", "20", "-c", "12", "-d", "300ms", p.url)
	if code != exitOK || r.Events.Sent != 6 || r.Events.Received != 66 {
		t.Errorf("exit %d, %+v\n%s", code, r, errs)
	}
}

func TestBench_Interrupted(t *testing.T) {
	t.Parallel()
	p := serving(t, nil, "--addr", "127.0.0.1:0")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out, errs output
	code := make(chan int, 1)
	go func() { // ends with the command
		code <- run(ctx, invocation{
			args: []string{"bench", "--echo", "-c", "5", "-d", "1h", p.url}, env: environment(nil).get, stdout: &out, stderr: &errs,
		})
	}()
	testkit.Eventually(t, "it measures", func() bool { return strings.Contains(errs.String(), "/s acknowledged, p50 ") })
	cancel()
	if c := <-code; c != exitInterrupted || !strings.Contains(out.String(), "interrupted") || !strings.Contains(out.String(), "to acknowledge") {
		t.Errorf("exit %d\n%s%s", c, out.String(), errs.String())
	}
}

// TestBench_Processes: the figures of processes are added up, and their end is the command's.
func TestBench_Processes(t *testing.T) {
	t.Parallel()
	p := serving(t, nil, "--addr", "127.0.0.1:0")
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), os.Args[0], "bench", "--json", "--echo", "--rate", "100", "-c", "10", "-d", "500ms", "--procs", "2", p.url)
	cmd.Env = append(os.Environ(), commandVariable+"=1", "GORACE=atexit_sleep_ms=0")
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var r load.Result
	if jerr := json.Unmarshal(out.Bytes(), &r); err != nil || jerr != nil {
		t.Fatalf("%v, %v\n%s%s", err, jerr, out.String(), errs.String())
	}
	if r.Generator.Processes != 2 || r.Connections.Opened != 10 || r.Events.Sent != 50 || r.Latency.Count != 50 {
		t.Errorf("%+v", r)
	}
	if !strings.Contains(errs.String(), "open files for each of 2 processes") {
		t.Errorf("says %s", errs.String())
	}
}

func TestBenchShow_Line(t *testing.T) {
	t.Parallel()
	base := load.Progress{Asked: 100, Opened: 60, Open: 60, OpenRate: 500, Elapsed: 1200 * time.Millisecond}
	failing, sending := base, base
	failing.Failed = 3
	sending.Sending, sending.SentRate, sending.GotRate = true, 10, 9
	sending.Latency = load.Latency{Count: 9, P50: 0.123, P99: 12.34, Max: 12_345}
	for _, tt := range []struct {
		show benchShow
		p    load.Progress
		want string
	}{
		{benchShow{}, base, "  1.2s  60 of 100 connections, 500/s"},
		{benchShow{}, failing, "  1.2s  60 of 100 connections, 500/s, 3 failed"},
		{benchShow{idle: true}, sending, "  1.2s  60 connections"},
		{benchShow{echo: true}, sending, "  1.2s  60 connections, 10/s sent, 9/s acknowledged, p50 0.12ms p99 12.3ms max 12.3s"},
		{benchShow{}, sending, "  1.2s  60 connections, 10/s sent, 9/s received, p50 0.12ms p99 12.3ms max 12.3s"},
	} {
		if got := tt.show.line(tt.p); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}

// TestBenchShow_Bar: one line that is drawn over and over, and is gone at the end.
func TestBenchShow_Bar(t *testing.T) {
	t.Parallel()
	var out output
	f, err := os.Create(filepath.Join(t.TempDir(), "none")) // its width cannot be asked for
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	s := benchShow{out: &out, terminal: f, bar: progress.New(progress.WithWidth(barWidth)), plain: true, duration: time.Second}
	s.progress(load.Progress{Asked: 100, Opened: 50})
	s.progress(load.Progress{Asked: 100, Opened: 100, Sending: true, Elapsed: 250 * time.Millisecond})
	s.progress(load.Progress{Asked: 100, Opened: 100, Sending: true, Done: true, Elapsed: 2 * time.Second})
	s.end()
	var seen []string
	for line := range strings.SplitSeq(out.String(), "\r") {
		seen = append(seen, strings.Fields(strings.ReplaceAll(ansi.Strip(line), "\u2591", ""))...)
	}
	for _, want := range []string{"connecting", "50%", "measuring", "25%", "waiting", "100%"} {
		if !slices.Contains(seen, want) {
			t.Errorf("no %q in %q", want, out.String())
		}
	}
	if strings.Contains(out.String(), "\n") || !strings.HasSuffix(out.String(), "\r"+ansi.EraseLineRight) {
		t.Errorf("it leaves %q", out.String())
	}
}
