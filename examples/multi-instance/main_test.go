package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/client"
	"github.com/sockeye-io/sockeye/internal/harness"
	"github.com/sockeye-io/sockeye/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// hash is that of the password "changeit".
const hash = "$2a$10$dZyOiGplBpXxfcvHAnza1O67f1JGDqHOkH59XyzdWBXGdI25HCW.O"

func as(user string, more ...func(c *client.Config)) func(c *client.Config) {
	return func(c *client.Config) {
		c.Auth = map[string]string{"user": user}
		for _, f := range more {
			f(c)
		}
	}
}

func from(origin string) func(c *client.Config) {
	return func(c *client.Config) { c.Header = http.Header{"Origin": {origin}} }
}

func request(t *testing.T, method, url, origin, body string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if origin != "" {
		r.Header.Set("Origin", origin)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, strings.TrimSpace(string(text))
}

func dialError(t *testing.T, url string, f func(c *client.Config)) error {
	t.Helper()
	var c client.Config
	f(&c)
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Scale(20*time.Second))
	defer cancel()
	s, err := client.Dial(ctx, url, c)
	if err == nil {
		_ = s.Manager().Close() // it was not to be opened
	}
	return err
}

// A request to any instance reaches the clients of all, pages of listed origins may come, others not.
func TestMultiInstance(t *testing.T) {
	t.Parallel()
	const page, stranger = "https://app.example", "https://evil.example"
	redis := testkit.StartRedis(t).URL()
	bin := harness.Build(t, ".")
	var urls []string
	for _, name := range []string{"one", "two", "three"} {
		p := harness.Start(t, bin, "-addr", "127.0.0.1:0", "-redis", redis, "-name", name, "-origin", page, "-origin", "http://127.0.0.1:8080/", "-admin-hash", hash)
		urls = append(urls, p.URL)
	}
	take := func(c *client.Config) {
		setup := c.Setup
		c.Setup = func(s *client.Socket) {
			setup(s)
			s.On("notification", client.Func(func() string { return "taken" }))
		}
	}
	ada1 := harness.Connect(t, urls[0], as("ada", from(page), take))
	ada2 := harness.Connect(t, urls[1], as("ada", from("http://127.0.0.1:8080"), take))
	bob := harness.Connect(t, urls[2], as("bob", take))
	testkit.Eventually(t, "all instances know the users", func() bool {
		_, body := request(t, http.MethodGet, urls[2]+"/api/users", page, "")
		return body == `{"complete":true,"users":["ada","bob"]}`
	})
	for _, url := range urls {
		res, body := request(t, http.MethodPost, url+"/api/users/ada/notifications", page, `{"text":"hello"}`)
		if res.StatusCode != http.StatusOK || body != `{"silent":0,"taken":2}` {
			t.Fatalf("%s %s", res.Status, body)
		}
		h := res.Header
		if h.Get("Access-Control-Allow-Origin") != page || h.Get("Access-Control-Allow-Credentials") != "true" || !strings.Contains(h.Get("Vary"), "Origin") {
			t.Errorf("headers %v", h)
		}
		ada1.Want("notification", `[{"text":"hello"}]`)
		ada2.Want("notification", `[{"text":"hello"}]`)
	}
	bob.Quiet()

	for name, c := range map[string]struct {
		method, path, origin, body string
		status                     int
	}{
		"a stranger":     {http.MethodPost, "/api/users/ada/notifications", stranger, "1", http.StatusForbidden},
		"its preflight":  {http.MethodOptions, "/api/users/ada/notifications", stranger, "", http.StatusForbidden},
		"a preflight":    {http.MethodOptions, "/api/users/ada/notifications", page, "", http.StatusNoContent},
		"no JSON":        {http.MethodPost, "/api/users/ada/notifications", "", "{", http.StatusBadRequest},
		"nobody there":   {http.MethodPost, "/api/users/eve/notifications", "", "1", http.StatusOK},
		"a method":       {http.MethodDelete, "/api/users", "", "", http.StatusMethodNotAllowed},
		"the same host":  {http.MethodGet, "/api/users", urls[0], "", http.StatusOK},
		"a look-alike":   {http.MethodGet, "/api/users", page + ".evil.example", "", http.StatusForbidden},
		"another scheme": {http.MethodGet, "/api/users", "http://app.example", "", http.StatusForbidden},
	} {
		if res, body := request(t, c.method, urls[0]+c.path, c.origin, c.body); res.StatusCode != c.status {
			t.Errorf("%s: %s %s", name, res.Status, body)
		}
	}
	if err := dialError(t, urls[0], as("ada", from(stranger))); err == nil {
		t.Error("a page of another origin has got a socket")
	}
	refused := (*client.ConnectError)(nil)
	if err := dialError(t, urls[0], as("")); !errors.As(err, &refused) {
		t.Errorf("nobody: %v", err)
	}
}

// The admin page of one instance sees the others.
func TestMultiInstance_Admin(t *testing.T) {
	t.Parallel()
	redis := testkit.StartRedis(t).URL()
	bin := harness.Build(t, ".")
	one := harness.Start(t, bin, "-addr", "127.0.0.1:0", "-redis", redis, "-name", "one", "-admin-hash", hash)
	harness.Start(t, bin, "-addr", "127.0.0.1:0", "-redis", redis, "-name", "two", "-admin-hash", hash)
	seen := make(chan string, 1000)
	m, err := client.New(one.URL, client.Config{
		AuthFunc: func(context.Context, string) (any, error) {
			return map[string]string{"username": "admin", "password": "changeit"}, nil
		},
		Setup: func(s *client.Socket) {
			s.On("server_stats", client.Func(func(st struct{ ServerID string }) { seen <- st.ServerID }))
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := m.Socket("/admin").Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for len(known) < 2 {
		select {
		case id := <-seen:
			known[id] = true
		case <-time.After(testkit.Scale(20 * time.Second)):
			t.Fatalf("seen: %v", known)
		}
	}
	if !known["one"] || !known["two"] {
		t.Errorf("seen: %v", known)
	}
}
