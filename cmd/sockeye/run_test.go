package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/testkit"
)

// commandVariable makes the test binary the command itself, for tests that need a process.
const commandVariable = "TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(commandVariable) != "" {
		main()
	}
	testkit.Main(m)
}

// output is a buffer for two goroutines.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

type environment map[string]string

func (e environment) get(name string) string { return e[name] }

func (e environment) all() (pairs []string) {
	for name, value := range e {
		pairs = append(pairs, name+"="+value)
	}
	return pairs
}

// command runs to its end.
func command(t *testing.T, env environment, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs output
	code = run(t.Context(), invocation{args: args, env: env.get, environ: env.all(), stdout: &out, stderr: &errs})
	return code, out.String(), errs.String()
}

// process is "serve" while it runs.
type process struct {
	url         string
	stop        func() int // ends it, once, and gives the exit code
	out, errors *output
}

func serving(t *testing.T, env environment, args ...string) process {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	p := process{out: new(output), errors: new(output)}
	addr, code := make(chan string, 1), make(chan int, 1)
	in := invocation{
		args: append([]string{"serve"}, args...), env: env.get, environ: env.all(), stdout: p.out, stderr: p.errors,
		listening: func(a string) { addr <- a }, drain: 100 * time.Millisecond,
	}
	go func() { code <- run(ctx, in) }() // ends when ctx does; stop waits for it
	p.stop = sync.OnceValue(func() int {
		cancel()
		return <-code
	})
	t.Cleanup(func() { p.stop() })
	select {
	case a := <-addr:
		p.url = "http://" + a
	case c := <-code:
		t.Fatalf("serve ended with %d\n%s%s", c, p.out, p.errors)
	}
	return p
}

func fetch(t *testing.T, url string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

func TestRun_Version(t *testing.T) {
	t.Parallel()
	code, out, _ := command(t, nil, "version")
	if code != exitOK || !strings.HasPrefix(out, "sockeye "+version+" ") {
		t.Errorf("%d %q", code, out)
	}
}

func TestRun_Help(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{nil, {"help"}, {"--help"}, {"serve", "--help"}} {
		if code, out, errs := command(t, nil, args...); code != exitOK || !strings.Contains(out, "serve") || errs != "" {
			t.Errorf("%q: %d %q %q", args, code, out, errs)
		}
	}
}

func TestRun_Usage(t *testing.T) {
	t.Parallel()
	empty := t.TempDir()
	for name, test := range map[string]struct {
		env  environment
		args []string
		want string
	}{
		"command":             {nil, []string{"swim"}, "swim"},
		"flag":                {nil, []string{"serve", "--swim"}, "swim"},
		"argument":            {nil, []string{"serve", "upstream"}, "upstream"},
		"argument of version": {nil, []string{"version", "x"}, "x"},
		"no port":             {nil, []string{"serve", "--addr", "127.0.0.1"}, "missing port"},
		"odd port":            {nil, []string{"serve", "--addr", "127.0.0.1:http"}, "http"},
		"large port":          {nil, []string{"serve", "--addr", "127.0.0.1:65536"}, "65536"},
		"odd PORT":            {environment{"PORT": "x"}, []string{"serve"}, "PORT"},
		"all addresses":       {nil, []string{"serve", "--addr", ":0"}, "--open"},
		"any address":         {nil, []string{"serve", "--addr", "0.0.0.0:0"}, "--open"},
		"any IPv6 address":    {nil, []string{"serve", "--addr", "[::]:0"}, "--open"},
		"other address":       {nil, []string{"serve", "--addr", "192.0.2.1:0"}, "--open"},
		"client directory":    {nil, []string{"serve", "--client-dir", empty}, "--client-dir"},
		"log format":          {nil, []string{"serve", "--log-format", "xml"}, "xml"},
		"log level":           {nil, []string{"serve", "--log-level", "loud"}, "loud"},
		"redis scheme":        {nil, []string{"serve", "--redis", "http://127.0.0.1:1"}, "redis://"},
		"REDIS_PORT":          {environment{"REDIS_HOST": "h", "REDIS_PORT": "x y"}, []string{"serve"}, "REDIS_PORT"},
		"origin":              {nil, []string{"serve", "--origin", "example.com"}, "--origin: "},
		"redis mode":          {nil, []string{"serve", "--redis", "redis://127.0.0.1", "--redis-mode", "magic"}, `"magic"`},
		"mode without redis":  {nil, []string{"serve", "--redis-mode", "streams"}, "--redis"},
		"replica alone":       {nil, []string{"serve", "--redis-sub", "redis://127.0.0.1"}, "--redis-sub"},
		"SUB_HOST alone":      {environment{"SUB_HOST": "h"}, []string{"serve"}, "SUB_HOST"},
		"PUB_PORT":            {environment{"PUB_HOST": "h", "PUB_PORT": "x y"}, []string{"serve"}, "PUB_PORT"},
		"SUB_PORT":            {environment{"PUB_HOST": "h", "SUB_HOST": "h", "SUB_PORT": "x y"}, []string{"serve"}, "SUB_PORT"},
		"replica scheme": {
			nil, []string{"serve", "--redis", "redis://127.0.0.1", "--redis-sub", "http://u:hidden@h"}, "--redis-sub",
		},
		"replica of a cluster": {
			nil, []string{"serve", "--redis", "redis+cluster://127.0.0.1", "--redis-sub", "redis://u:hidden@h"}, "--redis-sub",
		},
		"sentinels without master": {nil, []string{"serve", "--redis", "redis+sentinel://u:hidden@h:1,h:2"}, "--redis: "},
		"several without shape":    {nil, []string{"serve", "--redis", "redis://u:hidden@h:1,h"}, "--redis: "},
		"prefix":                   {nil, []string{"serve", "--redis", "redis://127.0.0.1", "--redis-prefix", "a\nb"}, "--redis-prefix"},
		"redis URL":                {nil, []string{"serve", "--redis", "redis://u:hidden@127.0.0.1:x y"}, "redis://"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, out, errs := command(t, test.env, test.args...)
			if code != exitUsage || out != "" {
				t.Errorf("exit %d, %q", code, out)
			}
			first, _, _ := strings.Cut(errs, "\n")
			if !strings.HasPrefix(first, "sockeye: ") || !strings.Contains(first, test.want) || strings.Contains(errs, "hidden") {
				t.Errorf("says %q, want %q", errs, test.want)
			}
		})
	}
}

func TestServe_ServesAndStops(t *testing.T) {
	t.Parallel()
	p := serving(t, nil, "--addr", "127.0.0.1:0")
	if want := "Sockeye listens on " + p.url + "/\n"; p.out.String() != want {
		t.Errorf("says %q, want %q", p.out, want)
	}
	if status, body := fetch(t, p.url+"/"); status != http.StatusOK || !strings.Contains(body, "<title>Sockeye") {
		t.Errorf("page: %d %s", status, body)
	}
	if status, body := fetch(t, p.url+"/healthz"); status != http.StatusOK || body != `{"status":"ok","redis":"off"}`+"\n" {
		t.Errorf("healthz: %d %s", status, body)
	}
	for _, eio := range []string{"3", "4"} {
		if status, body := fetch(t, p.url+"/socket.io/?EIO="+eio+"&transport=polling"); status != http.StatusOK {
			t.Errorf("EIO=%s: %d %s", eio, status, body)
		}
	}
	if code := p.stop(); code != exitOK {
		t.Errorf("exit %d: %s", code, p.errors)
	}
	if c, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://")); err == nil {
		_ = c.Close() // it should not have been opened
		t.Error("still listening")
	}
}

func TestServe_Addr(t *testing.T) {
	t.Parallel()
	free := testkit.FreeAddr(t)
	_, port, err := net.SplitHostPort(free)
	if err != nil {
		t.Fatal(err)
	}
	if p := serving(t, environment{"PORT": port}); p.url != "http://"+free {
		t.Errorf("PORT: %s", p.url)
	} else if code, _, errs := command(t, nil, "serve", "--addr", free); code != exitError || !strings.Contains(errs, "cannot listen") {
		t.Errorf("a port that is taken: %d %s", code, errs)
	}
	// The flag is stronger than the environment.
	if p := serving(t, environment{"PORT": port}, "--addr", "localhost:0"); p.url == "http://"+free {
		t.Errorf("--addr: %s", p.url)
	}
}

func TestServe_OpenWarns(t *testing.T) {
	t.Parallel()
	p := serving(t, nil, "--addr", "0.0.0.0:0", "--open", "--log-format", "json")
	if !strings.Contains(p.errors.String(), `"level":"WARN","msg":"listening without authentication`) {
		t.Errorf("no warning: %s", p.errors)
	}
	if !strings.HasPrefix(p.out.String(), "Sockeye listens on http://localhost:") {
		t.Errorf("says %q", p.out)
	}
}

func TestServe_ClientDir(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "socket.io.js"), []byte("client"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := serving(t, nil, "--addr", "127.0.0.1:0", "--client-dir", dir)
	if status, body := fetch(t, p.url+"/socket.io/socket.io.js"); status != http.StatusOK || body != "client" {
		t.Errorf("client: %d %s", status, body)
	}
	// Given empty, it is the CDN.
	p = serving(t, nil, "--addr", "127.0.0.1:0", "--client-dir", "")
	if _, body := fetch(t, p.url+"/"); !strings.Contains(body, "cdn.socket.io") {
		t.Errorf("page: %s", body)
	}
}
