package main

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/engineio"
	"github.com/sockeye-io/sockeye/internal/testkit"
)

// write puts a file into a directory of the test's own.
func write(t *testing.T, name, content string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestServe_PrintConfig(t *testing.T) {
	t.Parallel()
	file := write(t, "sockeye.yaml", `addr: 127.0.0.1:7000
redis:
  url: redis://sockeye:hidden@redis.internal:6379
  mode: streams
jwt:
  secret: hidden-hidden-hidden-hidden-hidden
limits: {rooms: 20, messages: 50}
rooms:
  rules:
    - {rooms: "private:{user}", join: user}
    - {rooms: "news:*", join: any, publish: none, hidden: true}
`)
	code, out, errs := command(t, environment{"SOCKEYE_LIMITS_MESSAGES": "60", "PORT": "8000", "SOCKEYE_CONFIG": file},
		"serve", "--print-config", "--limits-rooms", "30", "--origin", "https://example.com")
	if code != exitOK || errs != "" || strings.Contains(out, "hidden-") || strings.Contains(out, ":hidden@") {
		t.Fatalf("%d %s\n%s", code, errs, out)
	}
	for _, want := range []string{
		"addr: 127.0.0.1:8000 # PORT\n", "  rooms: 30 # --limits-rooms\n", "  messages: 60 # SOCKEYE_LIMITS_MESSAGES\n",
		"  mode: streams # " + file + ":4: redis.mode\n", "redis://sockeye:******@redis.internal:6379 # " + file + ":3",
		"  secret: '******' # " + file + ":6", "origins: # --origin\n  - https://example.com\n",
		"    - rooms: private:{user}\n      join: user\n", "      hidden: true\n", "drain-timeout: 10s # default\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

// TestServe_Documented holds the manual against the table of settings. UPDATE=1 writes the manual.
func TestServe_Documented(t *testing.T) {
	t.Parallel()
	const page, begin, end = "../../docs/serve.md", "<!-- settings -->\n", "<!-- end of settings -->\n"
	set, err := newSettings(&options{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(b), begin)
	old, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		t.Fatal("the manual has no place for the settings")
	}
	want := "\n" + set.Table() + "\n"
	if old == want {
		return
	}
	if os.Getenv("UPDATE") == "" {
		t.Error("docs/serve.md has other settings than the program: UPDATE=1 writes it")
		return
	}
	if err := os.WriteFile(page, []byte(before+begin+want+end+after), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestServe_DocumentedFile: the file that the manual shows is a good one.
func TestServe_DocumentedFile(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../../docs/serve.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "```yaml\n")
	file, _, found := strings.Cut(rest, "```")
	if !found {
		t.Fatal("the manual has no file")
	}
	file = strings.ReplaceAll(file, "/run/secrets/redis", write(t, "redis", "password"))
	file = strings.ReplaceAll(file, "/run/secrets/rest-tokens.yaml", write(t, "tokens", "- {name: backend, secret: a-secret-of-the-backend}\n"))
	code, out, errs := command(t, nil, "serve", "--print-config", "--config", write(t, "sockeye.yaml", file))
	if code != exitOK || !strings.Contains(out, "  url: rediss://sockeye:******@redis.internal:6380 # ") || !strings.Contains(out, "limits:\n  connections: 20000 #") {
		t.Errorf("exit %d %s\n%s", code, errs, out)
	}
}

func TestServe_ConfigFaults(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		env  environment
		args []string
		file string
		want string
	}{
		"unknown key":        {nil, nil, "limits:\n  room: 1", "sockeye.yaml:2: limits.room: there is no such setting; is it limits.rooms?"},
		"wrong value":        {nil, nil, "limits: {rooms: many}", `sockeye.yaml:1: limits.rooms: "many" is not a whole number`},
		"unknown variable":   {environment{"SOCKEYE_ADR": "x"}, nil, "", "SOCKEYE_ADR: there is no such setting; is it SOCKEYE_ADDR?"},
		"no file":            {nil, []string{"--config", "/does/not/exist"}, "", "/does/not/exist"},
		"half of TLS":        {nil, []string{"--tls-cert", "c.pem"}, "", "tls.key"},
		"no certificate":     {nil, []string{"--tls-cert", "/no.pem", "--tls-key", "/no.pem"}, "", "/no.pem"},
		"relative socket":    {nil, []string{"--addr", "unix:sockeye.sock"}, "", "whole path"},
		"mode of the socket": {nil, []string{"--unix-mode", "0444"}, "", "0444"},
		"base path":          {nil, []string{"--base-path", "/a/../b"}, "", "--base-path"},
		"proxies":            {nil, []string{"--trusted-proxies", "10.0.0.1/8"}, "", "10.0.0.0/8"},
		"credentials":        {nil, []string{"--origin", "*", "--origin-credentials"}, "", "--origin"},
		"transports":         {nil, []string{"--transports", "pigeon"}, "", "pigeon"},
		"rule of rooms":      {nil, nil, "rooms: {rules: [{rooms: a, join: friends}]}", "friends"},
		"rule without rooms": {nil, nil, "rooms: {rules: [{join: any}]}", "rule 1"},
		"key of a rule":      {nil, nil, "rooms: {rules: [{room: a}]}", "room"},
		"short secret":       {environment{"SOCKEYE_JWT_SECRET": "short"}, nil, "", "jwt: "},
		"no keys":            {nil, []string{"--jwt-keys", "/no.pem"}, "", "/no.pem"},
		"recovery":           {nil, []string{"--recovery", "1m", "--redis", "redis://h"}, "", "streams"},
		"cluster of none":    {nil, []string{"--cluster", "0"}, "", "--cluster"},
		"cluster and Redis":  {environment{"REDIS_HOST": "h"}, []string{"--cluster", "2"}, "", "REDIS_HOST"},
		"cluster, sharded":   {nil, []string{"--cluster", "2", "--redis-mode", "sharded"}, "", "sharded"},
		"cluster of ports":   {nil, []string{"--cluster", "9", "--addr", "127.0.0.1:65530"}, "", "65530"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := append([]string{"serve", "--addr", "127.0.0.1:0"}, test.args...)
			if test.file != "" {
				args = append(args, "--config", write(t, "sockeye.yaml", test.file))
			}
			code, out, errs := command(t, test.env, args...)
			line, rest, _ := strings.Cut(errs, "\n")
			if code != exitUsage || out != "" || !strings.HasPrefix(line, "sockeye: ") || !strings.Contains(line, test.want) || strings.Count(rest, "\n") > 1 {
				t.Errorf("exit %d, %q, says %q, want %q", code, out, errs, test.want)
			}
		})
	}
}

// https is a client that trusts a certificate.
func https(c testkit.Certificate) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: c.Roots}, ForceAttemptHTTP2: true,
	}}
}

func TestServe_TLS(t *testing.T) {
	t.Parallel()
	first, second := testkit.NewCertificate(t), testkit.NewCertificate(t)
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	install := func(c testkit.Certificate) {
		for from, to := range map[string]string{c.CertFile: cert, c.KeyFile: key} {
			b, err := os.ReadFile(from)
			if err == nil {
				err = os.WriteFile(to, b, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	install(first)
	p := serving(t, nil, "--addr", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key, "--tls-reload", "1h")
	url := strings.Replace(p.url, "http:", "https:", 1)
	if !strings.HasPrefix(p.out.String(), "Sockeye listens on "+url+"/\n") {
		t.Errorf("says %q", p.out)
	}
	trusted := func(c testkit.Certificate) bool {
		r, err := https(c).Get(url + "/healthz")
		if err != nil {
			return false
		}
		_ = r.Body.Close() // nothing is read
		if r.ProtoMajor != 1 {
			t.Errorf("%s is spoken, in which there are no WebSockets", r.Proto)
		}
		return r.StatusCode == http.StatusOK
	}
	if !trusted(first) || trusted(second) {
		t.Fatal("the certificate is not used")
	}
	conn, err := engineio.Dial(t.Context(), "wss"+strings.TrimPrefix(url, "https")+"/socket.io/", engineio.DialConfig{
		Transports: []string{"websocket"}, HTTPClient: https(first),
	}, &chatter{t: t, in: make(chan string, 100)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // the server may have closed it
	install(second)
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if err := self.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the new certificate is used", func() bool { return trusted(second) })
	if code := p.stop(); code != exitOK {
		t.Errorf("exit %d: %s", code, p.errors)
	}
}

func TestServe_Unix(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "serve") //nolint:usetesting // the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) }) // of a test
	path := filepath.Join(dir, "s")
	p := serving(t, nil, "--addr", "unix:"+path, "--unix-mode", "0600", "--trusted-proxies", "unix", "--limits-connections-per-address", "1")
	if p.out.String() != "Sockeye listens on unix:"+path+"\n" {
		t.Errorf("says %q", p.out)
	}
	c := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
	}}
	if strings.Contains(p.errors.String(), "trusted-proxies") {
		t.Error(p.errors)
	}
	// Who comes through a proxy is known by the address that it tells.
	for _, test := range []struct {
		client string
		status int
	}{{"192.0.2.1", 200}, {"192.0.2.1", 429}, {"192.0.2.2", 200}, {"1.2.3.4, 192.0.2.2", 429}, {"", 200}, {"", 200}} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://h/socket.io/?EIO=4&transport=polling", nil)
		if err != nil {
			t.Fatal(err)
		}
		if test.client != "" {
			req.Header.Set("X-Forwarded-For", test.client)
		}
		r, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = r.Body.Close() // nothing is read
		if r.StatusCode != test.status {
			t.Errorf("%s: %s", test.client, r.Status)
		}
	}
	if code := p.stop(); code != exitOK {
		t.Errorf("exit %d: %s", code, p.errors)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the socket is left behind")
	}
}

// A proxy that is not known is told of once, and what it says is not believed.
func TestServe_UnknownProxy(t *testing.T) {
	t.Parallel()
	p := serving(t, nil, "--addr", "127.0.0.1:0", "--trusted-proxies", "192.0.2.1")
	for range 3 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.url+"/healthz", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Forwarded-For", "198.51.100.7")
		r, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = r.Body.Close() // nothing is read
	}
	if got := p.errors.String(); strings.Count(got, "add it to trusted-proxies\" peer=127.0.0.1:") != 1 || strings.Contains(got, "198.51") {
		t.Error(got)
	}
}

func TestServe_BasePath(t *testing.T) {
	t.Parallel()
	p := serving(t, nil, "--addr", "127.0.0.1:0", "--base-path", "/chat")
	if !strings.HasPrefix(p.out.String(), "Sockeye listens on "+p.url+"/chat/\n") {
		t.Errorf("says %q", p.out)
	}
	for path, want := range map[string]int{
		"/": 404, "/chat/": 200, "/chat": 200, "/chat/page/app.js": 200, "/page/app.js": 404, "/healthz": 200, "/readyz": 200,
		"/chat/healthz": 200, "/chat/readyz": 200, "/socket.io/?EIO=4&transport=polling": 404,
		"/chat/socket.io/?EIO=4&transport=polling": 200,
	} {
		if status, body := fetch(t, p.url+path); status != want {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	join(t, p.url+"/chat")
}

func TestServe_Ready(t *testing.T) {
	t.Parallel()
	r := testkit.StartRedis(t)
	p := serving(t, nil, "--addr", "127.0.0.1:0", "--redis", r.URL())
	if status, body := fetch(t, p.url+"/readyz"); status != 200 || body != `{"status":"ready"}`+"\n" {
		t.Errorf("%d %s", status, body)
	}
	r.Stop()
	testkit.Eventually(t, "it is not ready", func() bool {
		status, body := fetch(t, p.url+"/readyz")
		return status == 503 && body == `{"status":"degraded"}`+"\n"
	})
	if status, _ := fetch(t, p.url+"/healthz"); status != 200 { // it serves its own clients
		t.Errorf("healthz: %d", status)
	}
}

// While the drain waits for a handler's acknowledgement to be sent, /readyz fails and new clients are sent away.
func TestServe_DrainDelay(t *testing.T) {
	t.Parallel()
	s := &server{}
	s.draining.Store(true)
	w := &answer{h: http.Header{}}
	s.ready(w, nil)
	if w.status != http.StatusServiceUnavailable || w.body.String() != `{"status":"draining"}`+"\n" {
		t.Errorf("%d %s", w.status, w.body.String())
	}
}

// answer is a writer of a test.
type answer struct {
	h      http.Header
	status int
	body   strings.Builder
}

func (a *answer) Header() http.Header         { return a.h }
func (a *answer) WriteHeader(status int)      { a.status = status }
func (a *answer) Write(p []byte) (int, error) { return a.body.Write(p) }

// token is a JWT of HS256.
func token(secret string, claims map[string]any) string {
	part := func(v any) string {
		b, _ := json.Marshal(v) // of a test
		return base64.RawURLEncoding.EncodeToString(b)
	}
	text := part(map[string]string{"alg": "HS256", "typ": "JWT"}) + "." + part(claims)
	m := hmac.New(sha256.New, []byte(secret))
	m.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

// With identity an address that others can reach needs no --open, and who brings no token is sent away.
func TestServe_Identity(t *testing.T) {
	t.Parallel()
	const secret = "a secret of more than thirty-two bytes"
	p := serving(t, nil, "--addr", "0.0.0.0:0", "--jwt-secret-file", write(t, "secret", secret+"\n"), "--log-level", "warn")
	if p.errors.String() != "" {
		t.Errorf("warns %s", p.errors)
	}
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(p.url, "http://"))
	url := "http://127.0.0.1:" + port
	for auth, want := range map[string]string{
		"": "44", `{"token":"x.y.z"}`: "44",
		fmt.Sprintf(`{"token":%q}`, token(secret, map[string]any{"sub": "ann", "exp": time.Now().Add(time.Hour).Unix()})): "40",
	} {
		c := &chatter{t: t, in: make(chan string, 100)}
		conn, err := engineio.Dial(t.Context(), url+"/socket.io/", engineio.DialConfig{Transports: []string{"websocket"}}, c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() }) // the server may have closed it
		if err := conn.Send([]byte("0"+auth), false); err != nil {
			t.Fatal(err)
		}
		if got := "4" + c.next(); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s", auth, got)
		}
	}
}

// T14: requests that come bit by bit are ended in time, and others are served meanwhile. 100 in place of 1,000, and a
// second in place of 5, for the machines that run this.
func TestServe_SlowRequests(t *testing.T) {
	t.Parallel()
	p := serving(t, nil, "--addr", "127.0.0.1:0", "--limits-header-timeout", "1s")
	addr := strings.TrimPrefix(p.url, "http://")
	done := make(chan bool, 100)
	for range cap(done) {
		go func() { // ends when the server closes, at the latest with the server
			c, err := net.Dial("tcp", addr)
			if err != nil {
				done <- false
				return
			}
			defer c.Close()
			drip := time.NewTicker(100 * time.Millisecond)
			defer drip.Stop()
			closed := make(chan struct{})
			go func() { // ends with c
				defer close(closed)
				_, _ = io.Copy(io.Discard, c) // until it is closed
			}()
			_, _ = io.WriteString(c, "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: h\r\nX-Drip: ") // it may be closed
			for {
				select {
				case <-closed:
					done <- true
					return
				case <-drip.C:
					_, _ = io.WriteString(c, "x") // likewise
				}
			}
		}()
	}
	if status, _ := fetch(t, p.url+"/healthz"); status != 200 {
		t.Errorf("another client: %d", status)
	}
	join(t, p.url)
	for range cap(done) {
		select {
		case ok := <-done:
			if !ok {
				t.Error("a client could not connect")
			}
		case <-time.After(testkit.Scale(20 * time.Second)):
			t.Fatal("a slow request goes on")
		}
	}
	// A header that is too large is no request.
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\nX-Large: "+strings.Repeat("x", 64<<10)+"\r\n\r\n"); err != nil {
		t.Log(err) // the server may have closed already
	}
	if r, err := http.ReadResponse(bufio.NewReader(c), nil); err == nil {
		_ = r.Body.Close() // nothing is read
		if r.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Error(r.Status)
		}
	}
}

// T15: handshakes without a CONNECT are bounded, and go in time. 60 in place of 10,000, a second in place of 10.
func TestServe_ConnectionFlood(t *testing.T) {
	t.Parallel()
	const pending = 40
	p := serving(t, nil, "--addr", "127.0.0.1:0", "--limits-pending", strconv.Itoa(pending), "--limits-connect-timeout", "1s")
	served := 0
	testkit.Eventually(t, "the limit is met", func() bool {
		status, _ := fetch(t, p.url+"/socket.io/?EIO=4&transport=polling")
		if status == http.StatusOK {
			served++
		}
		return status == http.StatusServiceUnavailable || served > 10*pending
	})
	if served < pending || served > 10*pending {
		t.Errorf("%d are served, %d are the limit", served, pending)
	}
	testkit.Eventually(t, "there is room again", func() bool {
		status, _ := fetch(t, p.url+"/socket.io/?EIO=4&transport=polling")
		return status == http.StatusOK
	})
}

// T13: one client floods; the other is served, and gets all of it.
func TestServe_EventFlood(t *testing.T) {
	t.Parallel()
	const flood = 600
	p := serving(t, nil, "--addr", "127.0.0.1:0", "--limits-messages", "300", "--limits-burst", "100ms")
	a, b := join(t, p.url), join(t, p.url)
	for i := range flood {
		a.send(fmt.Sprintf(`2["message",%d,%q]`, i, strings.Repeat("x", 1000)))
	}
	b.send(`21["leave","nowhere"]`)
	got, answered := 0, -1
	for got < flood {
		switch m := b.next(); {
		case strings.HasPrefix(m, `2["message",`):
			if want := fmt.Sprintf(`2["message",%d,`, got); !strings.HasPrefix(m, want) {
				t.Fatalf("received %.40s, want %s", m, want)
			}
			got++
		case strings.HasPrefix(m, "31"):
			answered = got
		}
	}
	if answered < 0 || answered > flood/2 {
		t.Errorf("the other client was answered after %d events of %d", answered, flood)
	}
}

// T24: what is said at the start of a Redis that others can reach.
func TestServe_WarnsOfRedis(t *testing.T) {
	t.Parallel()
	const noPassword, anybody, plainText = "no password", "default user", "not encrypted"
	for url, want := range map[string][]string{
		"":                                       {},
		"redis://127.0.0.1:6379":                 {},
		"redis://localhost":                      {},
		"redis://[::1]:6379":                     {},
		"unix:///run/redis.sock":                 {},
		"redis://192.0.2.1:6379":                 {noPassword, plainText},
		"redis://me@192.0.2.1":                   {noPassword, plainText},
		"redis://:hidden@192.0.2.1":              {anybody, plainText},
		"rediss://default:hidden@192.0.2.1":      {anybody},
		"rediss://sockeye:hidden@192.0.2.1:6380": {},
		"redis+sentinel://sockeye:hidden@127.0.0.1,192.0.2.1/m": {plainText},
	} {
		var out output
		warnOfRedis(t.Context(), slog.New(slog.NewTextHandler(&out, nil)), redisFlags{url: url})
		got := out.String()
		if strings.Count(got, "\n") != len(want) || strings.Contains(got, "hidden") {
			t.Errorf("%s: %s", url, got)
		}
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("%s: no word of %q in %s", url, w, got)
			}
		}
	}
}

// T26, T27: at the most talkative level the log has no secret of the settings and of clients, and no line that a client
// wrote.
func TestServe_LogHasNoSecrets(t *testing.T) {
	t.Parallel()
	r := testkit.StartRedis(t, "--requirepass", "hidden-redis")
	p := serving(t, environment{"SOCKEYE_REDIS_PASSWORD": "hidden-redis", "SOCKEYE_JWT_SECRET": "hidden-jwt-secret-hidden-jwt-secret-"},
		"--addr", "127.0.0.1:0", "--redis", "redis://"+r.Addr, "--log-level", "debug")
	var sids []string
	for _, auth := range []string{
		`{"token":"hidden-token"}`,
		`{"token":"` + token("hidden-jwt-secret-hidden-jwt-secret-", map[string]any{"sub": "ann", "exp": time.Now().Add(time.Hour).Unix(), "hidden": 1}) + `"}`,
	} {
		c := &chatter{t: t, in: make(chan string, 100)}
		conn, err := engineio.Dial(t.Context(), p.url+"/socket.io/?token=hidden-query", engineio.DialConfig{
			Header: http.Header{
				"Cookie": {"sid=hidden-cookie"}, "Authorization": {"Bearer hidden-bearer"}, "User-Agent": {strings.Repeat("b", 9000)},
			},
		}, c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() }) // the server may have closed it
		sids = append(sids, conn.ID())
		if err := conn.Send([]byte("0"+auth), false); err != nil {
			t.Fatal(err)
		}
		c.next()
		if err := conn.Send([]byte(`2["publish",{"room":"r","event":"hidden-event","data":"hidden-data"}]`), false); err != nil {
			t.Log(err) // the first has no socket, and may be closed
		}
	}
	fetch(t, p.url+"/no%0Ano%1B[31m?x=hidden-query")
	testkit.Eventually(t, "the requests are logged", func() bool { return strings.Contains(p.errors.String(), "msg=request") })
	if code := p.stop(); code != exitOK {
		t.Errorf("exit %d", code)
	}
	log := p.errors.String() + p.out.String()
	if strings.Contains(log, "hidden") || strings.Contains(log, "\x1b") {
		t.Error(log)
	}
	for _, sid := range sids {
		if strings.Contains(log, sid) {
			t.Errorf("the id of a session is in the log: %s", log)
		}
	}
	for line := range strings.Lines(log) {
		if len(line) > 2000 {
			t.Errorf("a line of %d bytes", len(line))
		}
	}
}
