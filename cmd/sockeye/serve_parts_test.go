package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/sockeye-io/sockeye/engineio"
	"github.com/sockeye-io/sockeye/internal/testkit"
)

// beside gives the address of a listener beside that of the clients.
func beside(t *testing.T, p process, name string) string {
	t.Helper()
	m := regexp.MustCompile(`msg=listening for=` + name + ` addr=(\S+)`).FindStringSubmatch(p.errors.String())
	if m == nil {
		t.Fatalf("nothing listens for %s: %s", name, p.errors)
	}
	return "http://" + m[1]
}

// enter opens a connection with a header, sends a CONNECT, and gives the answer.
func enter(t *testing.T, url string, h http.Header, connect string) string {
	t.Helper()
	c := &chatter{t: t, in: make(chan string, 1000)}
	conn, err := engineio.Dial(t.Context(), url+"/socket.io/", engineio.DialConfig{Transports: []string{"websocket"}, Header: h}, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // the server may have closed it
	if err := conn.Send([]byte(connect), false); err != nil {
		t.Fatal(err)
	}
	return c.next()
}

// push makes a request to the REST interface, with an Idempotency-Key.
func push(t *testing.T, p process, method, path, token, body string) (status int, answer string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, p.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Idempotency-Key", "a-key")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(req)
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

func TestServe_Metrics(t *testing.T) {
	t.Parallel()
	p := serving(t, nil, "--addr", "127.0.0.1:0", "--metrics-addr", "127.0.0.1:0", "--metrics-events", "join")
	join(t, p.url)
	url := beside(t, p, "metrics")
	status, body := fetch(t, url+"/metrics")
	if status != 200 || !strings.Contains(body, "\nsockeye_connections{") || !strings.Contains(body, "\ngo_goroutines ") {
		t.Errorf("%d %.500s", status, body)
	}
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/": 404, "/socket.io/?EIO=4&transport=polling": 404} {
		if status, _ := fetch(t, url+path); status != want {
			t.Errorf("%s: %d", path, status)
		}
	}
	if status, _ := fetch(t, p.url+"/metrics"); status != 404 {
		t.Errorf("clients can read the metrics: %d", status)
	}
	if code := p.stop(); code != exitOK {
		t.Errorf("exit %d: %s", code, p.errors)
	}
}

func TestServe_REST(t *testing.T) {
	t.Parallel()
	tokens := write(t, "tokens.yaml", "- {name: backend, secret: hidden-secret-of-the-backend}\n- {name: reader, secret: hidden-secret-of-a-reader, scopes: [read]}\n")
	p := serving(t, nil, "--addr", "127.0.0.1:0", "--rest-tokens-file", tokens)
	c := join(t, p.url)
	emit := func(token string) int {
		status, body := push(t, p, http.MethodPost, "/v1/emit", token, `{"to":{"all":true},"event":"news","args":[1]}`)
		if strings.Contains(body, "hidden") {
			t.Error(body)
		}
		return status
	}
	for token, want := range map[string]int{"": 401, "no-such-secret-at-all": 401, "hidden-secret-of-a-reader": 403} {
		if status := emit(token); status != want {
			t.Errorf("%q: %d, want %d", token, status, want)
		}
	}
	if status := emit("hidden-secret-of-the-backend"); status/100 != 2 {
		t.Errorf("status %d", status)
	}
	c.want(`2["news",1]`)
	if strings.Contains(p.errors.String(), "hidden") {
		t.Error(p.errors)
	}
	// Without tokens there is no interface.
	if status, _ := fetch(t, serving(t, nil, "--addr", "127.0.0.1:0").url+"/v1/openapi.json"); status != 404 {
		t.Errorf("status %d", status)
	}
}

func TestServe_Admin(t *testing.T) {
	t.Parallel()
	hash, err := bcrypt.GenerateFromPassword([]byte("pass word"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	ui := t.TempDir()
	if err := os.WriteFile(filepath.Join(ui, "index.html"), []byte("the page"), 0o600); err != nil {
		t.Fatal(err)
	}
	const good, bad = `0/admin,{"username":"ann","password":"pass word"}`, `0/admin,{"username":"ann","password":"wrong"}`
	r := testkit.StartRedis(t)
	p := serving(t, nil, "--addr", "127.0.0.1:0", "--redis", r.URL(), "--admin", "ann:"+string(hash), "--admin-ui-dir", ui)
	if got := enter(t, p.url, nil, bad); !strings.HasPrefix(got, "4/admin,") {
		t.Error(got)
	}
	// The session is the first that a page is told.
	if got := enter(t, p.url, nil, good); !strings.Contains(got, "/admin,") || strings.HasPrefix(got, "4") {
		t.Error(got)
	}
	if status, body := fetch(t, p.url+"/admin-ui/"); status != 200 || body != "the page" {
		t.Errorf("%d %s", status, body)
	}
	if code := p.stop(); code != exitOK {
		t.Errorf("exit %d: %s", code, p.errors)
	}
	if strings.Contains(p.errors.String(), string(hash)) || strings.Contains(p.errors.String(), "pass word") {
		t.Error(p.errors)
	}

	p = serving(t, nil, "--addr", "127.0.0.1:0", "--admin", "ann:"+string(hash), "--admin-addr", "127.0.0.1:0", "--admin-write", "--admin-ui-dir", ui)
	if got := enter(t, p.url, nil, good); !strings.HasPrefix(got, "4/admin,") {
		t.Errorf("where the clients are: %s", got)
	}
	url := beside(t, p, "admin")
	if got := enter(t, url, nil, good); !strings.Contains(got, "/admin,") || strings.HasPrefix(got, "4") {
		t.Error(got)
	}
	if status, _ := fetch(t, p.url+"/admin-ui/"); status != 404 {
		t.Errorf("where the clients are: %d", status)
	}
	if status, body := fetch(t, url+"/admin-ui/"); status != 200 || body != "the page" {
		t.Errorf("%d %s", status, body)
	}
	for _, args := range [][]string{
		{"--admin", "ann:password"}, {"--admin", "ann"}, {"--admin-write"}, {"--admin", "a:$2b$04$x", "--admin", "a:$2b$04$y"},
	} {
		code, _, errs := command(t, nil, append([]string{"serve", "--addr", "127.0.0.1:0"}, args...)...)
		if code != exitUsage || strings.Contains(errs, "password\n") || strings.Count(errs, "\n") != 2 {
			t.Errorf("%q: exit %d, %s", args, code, errs)
		}
	}
}

// expressCookie is a cookie as express-session sets it.
func expressCookie(id, secret string) http.Header {
	m := hmac.New(sha256.New, []byte(secret))
	m.Write([]byte(id))
	signed := "s:" + id + "." + strings.TrimRight(base64.StdEncoding.EncodeToString(m.Sum(nil)), "=")
	return http.Header{"Cookie": {"connect.sid=" + url.QueryEscape(signed)}}
}

// Who has a session of an Express application is known; a cookie that was not signed there is no session.
func TestServe_Session(t *testing.T) {
	t.Parallel()
	const secret = "a secret, with a comma in it"
	r := testkit.StartRedis(t)
	r.Do("SET", "sess:abc", `{"cookie":{"originalMaxAge":null},"passport":{"user":"ann"}}`, "EX", "100")
	r.Do("SET", "sess:nobody", `{"cookie":{"originalMaxAge":null}}`, "EX", "100")
	for name, args := range map[string][]string{
		"cluster's Redis": {"--redis", r.URL()}, "Redis of its own": {"--session-redis", r.URL()},
	} {
		t.Run(name, func(t *testing.T) {
			p := serving(t, environment{"SOCKEYE_SESSION_SECRET": "a new secret that signs\n" + secret},
				append(args, "--addr", "0.0.0.0:0", "--session-user", "passport.user")...)
			at := "http://127.0.0.1" + p.url[strings.LastIndexByte(p.url, ':'):]
			for who, h := range map[string]http.Header{
				"nobody": nil, "forged": expressCookie("abc", "another secret that is long"), "without a user": expressCookie("nobody", secret), "ended": expressCookie("gone", secret),
			} {
				if got := enter(t, at, h, "0"); !strings.HasPrefix(got, "4{") {
					t.Errorf("%s: %s", who, got)
				}
			}
			if got := enter(t, at, expressCookie("abc", secret), "0"); !strings.HasPrefix(got, `0{"sid"`) {
				t.Errorf("ann: %s", got)
			}
			if code := p.stop(); code != exitOK {
				t.Errorf("exit %d: %s", code, p.errors)
			}
			if strings.Contains(p.errors.String(), "secret") {
				t.Error(p.errors)
			}
		})
	}
	for want, args := range map[string][]string{
		"need a Redis":     {"--session-secret", secret},
		"not by both":      {"--session-secret", secret, "--redis", r.URL(), "--jwt-secret", strings.Repeat("x", 32)},
		"session: ":        {"--session-secret", "short", "--redis", r.URL()},
		"session.redis: ":  {"--session-secret", secret, "--session-redis", "http://h"},
		"cannot use Redis": {"--session-secret", secret, "--session-redis", "redis://" + testkit.FreeAddr(t)},
	} {
		code, _, errs := command(t, nil, append([]string{"serve", "--addr", "127.0.0.1:0"}, args...)...)
		if code == exitOK || !strings.Contains(errs, want) || strings.Contains(errs, "comma") {
			t.Errorf("%q: exit %d, %s", args, code, errs)
		}
	}
}

// Who is online is known at each server.
func TestServe_Presence(t *testing.T) {
	t.Parallel()
	const secret = "a secret of more than thirty-two bytes"
	r := testkit.StartRedis(t)
	args := []string{
		"--addr", "127.0.0.1:0", "--redis", r.URL(), "--presence", "--presence-grace", "0s", "--jwt-secret", secret,
		"--rest-tokens", "[{name: reader, secret: secret-of-a-reader, scopes: [read]}]",
	}
	one, two := serving(t, nil, args...), serving(t, nil, args...)
	ann := fmt.Sprintf(`0{"token":%q}`, token(secret, map[string]any{"sub": "ann", "name": "Ann", "exp": time.Now().Add(time.Hour).Unix()}))
	if got := enter(t, one.url, nil, ann); !strings.HasPrefix(got, `0{"sid"`) {
		t.Fatal(got)
	}
	users := func(p process) string {
		_, body := push(t, p, http.MethodGet, "/v1/users", "secret-of-a-reader", "")
		return body
	}
	testkit.Eventually(t, "Ann is online", func() bool {
		return strings.Contains(users(two), `{"user":"ann","info":{"name":"Ann"}}`)
	})
	if code := one.stop(); code != exitOK || strings.Contains(one.errors.String(), "presence") {
		t.Errorf("exit %d: %s", code, one.errors)
	}
	testkit.Eventually(t, "Ann has gone", func() bool { return !strings.Contains(users(two), "ann") })
}

// T24: a user of Redis with the rights that the manual names can do all of it.
func TestServe_RedisUser(t *testing.T) {
	t.Parallel()
	manual, err := os.ReadFile("../../docs/serve.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rule, found := strings.Cut(string(manual), "\n    user sockeye on >PASSWORD ")
	rule, _, _ = strings.Cut(rule, "\n")
	if !found {
		t.Fatal("the manual has no such user")
	}
	hash, err := bcrypt.GenerateFromPassword([]byte("pass word"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	const secret = "a secret of express-session"
	r := testkit.StartRedis(t)
	r.Do("SET", "sess:abc", `{"cookie":{"originalMaxAge":null},"user":"ann"}`, "EX", "100")
	r.Do(append([]string{"ACL", "SETUSER", "sockeye", "on", ">password"}, strings.Fields(rule)...)...)
	args := []string{
		"--addr", "127.0.0.1:0", "--redis", "redis://sockeye:password@" + r.Addr, "--redis-mode", "streams", "--recovery", "1m",
		"--presence", "--presence-grace", "0s", "--presence-expiry", "1s", "--admin", "ann:" + string(hash), "--metrics-addr", "127.0.0.1:0",
		"--rest-tokens", "[{name: all, secret: secret-of-a-program}]", "--session-secret", secret,
	}
	one, two := serving(t, nil, args...), serving(t, nil, args...)
	for _, p := range []process{one, two} {
		if got := enter(t, p.url, expressCookie("abc", secret), "0"); !strings.HasPrefix(got, `0{"sid"`) {
			t.Fatal(got)
		}
		if got := enter(t, p.url, nil, `0/admin,{"username":"ann","password":"pass word"}`); strings.HasPrefix(got, "4") {
			t.Error(got)
		}
	}
	testkit.Eventually(t, "Ann is online", func() bool {
		_, body := push(t, two, http.MethodGet, "/v1/users", "secret-of-a-program", "")
		return strings.Contains(body, `"ann"`)
	})
	for _, p := range []process{one, two} {
		if status, body := push(t, p, http.MethodPost, "/v1/emit", "secret-of-a-program", `{"to":{"users":["ann"]},"event":"e","ack":{"timeout":100}}`); status != 200 {
			t.Errorf("%d %s", status, body)
		}
	}
	for _, p := range []process{one, two} {
		if code := p.stop(); code != exitOK || strings.Contains(p.errors.String(), "NOPERM") || strings.Contains(p.errors.String(), "presence") {
			t.Errorf("exit %d: %s", code, p.errors)
		}
	}
	if log, ok := r.Do("ACL", "LOG").([]any); !ok || len(log) > 0 {
		t.Errorf("Redis has refused %v", log)
	}
}

// When one of the listeners cannot be had nothing is left running.
func TestServe_SideTaken(t *testing.T) {
	t.Parallel()
	taken := serving(t, nil, "--addr", "127.0.0.1:0")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out output
	code := run(ctx, invocation{
		args: []string{"serve", "--addr", "127.0.0.1:0", "--metrics-addr", strings.TrimPrefix(taken.url, "http://")},
		env:  environment(nil).get, stdout: &out, stderr: &out,
	})
	if code != exitError || !strings.Contains(out.String(), "cannot listen for metrics") {
		t.Errorf("exit %d: %s", code, &out)
	}
}
