package main

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/client"
	"github.com/sockeye-io/sockeye/emitter"
	"github.com/sockeye-io/sockeye/internal/harness"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/rueidisdriver"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func withToken(token string) func(c *client.Config) {
	return func(c *client.Config) { c.Auth = map[string]string{"token": token} }
}

func request(t *testing.T, method, url, token, body string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
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
	return res.StatusCode, strings.TrimSpace(string(text))
}

const place = `{"workspaceId":"w1","appId":"a1"}`

func ask(t *testing.T, c *harness.Client, event string) {
	t.Helper()
	if err := c.Emit("application", json.RawMessage(`{"event":"`+event+`","payload":`+place+`}`)); err != nil {
		t.Fatal(err)
	}
	c.Want("application_response", `[{"event":"`+event+`","payload":`+place+`,"status":"ok"}]`)
}

// A change that is made on one server, or by another program, reaches the collaborators on both.
func TestWorkspace_TwoServers(t *testing.T) {
	t.Parallel()
	redis := testkit.StartRedis(t)
	bin := harness.Build(t, ".")
	one := harness.Start(t, bin, "-addr", "127.0.0.1:0", "-redis", redis.URL())
	two := harness.Start(t, bin, "-addr", "127.0.0.1:0", "-redis", redis.URL())
	ada := harness.Connect(t, one.URL, withToken("token-of-ada"))
	bob := harness.Connect(t, two.URL, withToken("token-of-bob"))
	idle := harness.Connect(t, two.URL, withToken("token-of-bob"))
	ask(t, ada, "SUBSCRIBE")
	ask(t, bob, "SUBSCRIBE")
	testkit.Eventually(t, "both are counted", func() bool {
		status, body := request(t, http.MethodGet, two.URL+"/workspaces/w1/apps/a1/collaborators", "token-of-bob", "")
		return status == http.StatusOK && body == `{"complete":true,"count":2}`
	})
	for url, by := range map[string]string{one.URL: "ada", two.URL: "bob"} {
		status, body := request(t, http.MethodPut, url+"/workspaces/w1/apps/a1", "token-of-"+by, `{"title":"New"}`)
		if status != http.StatusNoContent {
			t.Fatalf("%d %s", status, body)
		}
		told := `[{"payload":` + place + `,"by":"` + by + `","data":{"title":"New"}}]`
		ada.Want("application_change", told)
		bob.Want("application_change", told)
	}

	driver, err := rueidisdriver.FromURL(redis.URL())
	if err != nil {
		t.Fatal(err)
	}
	job, err := emitter.PubSub(driver, redisadapter.PubSubOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer job.Close()
	if err := change.EmitContext(t.Context(), job.To(Place{"w1", "a1"}.room()), Change{Place{"w1", "a1"}, "job", json.RawMessage("1")}); err != nil {
		t.Fatal(err)
	}
	ada.Want("application_change", `[{"payload":`+place+`,"by":"job","data":1}]`)
	bob.Want("application_change", `[{"payload":`+place+`,"by":"job","data":1}]`)

	ask(t, ada, "UNSUBSCRIBE")
	if status, _ := request(t, http.MethodPut, one.URL+"/workspaces/w1/apps/a1", "token-of-ada", `2`); status != http.StatusNoContent {
		t.Error(status)
	}
	bob.Want("application_change", `[{"payload":`+place+`,"by":"ada","data":2}]`)
	ask(t, ada, "SUBSCRIBE") // what came before it would have been heard
	idle.Quiet()
}

// Who is not known, may not, or sends something else is told so, by a code.
func TestWorkspace_RefusalErrors(t *testing.T) {
	t.Parallel()
	one := harness.Start(t, harness.Build(t, "."), "-addr", "127.0.0.1:0")
	const other = `{"workspaceId":"w2","appId":"a1"}`
	for name, c := range map[string]struct{ token, send, want string }{
		"nobody":        {"", `{"event":"SUBSCRIBE","payload":` + place + `}`, "UNAUTHENTICATED"},
		"wrong token":   {"token-of-eve", `{"event":"SUBSCRIBE","payload":` + place + `}`, "UNAUTHENTICATED"},
		"no member":     {"token-of-bob", `{"event":"SUBSCRIBE","payload":` + other + `}`, "FORBIDDEN"},
		"no such event": {"token-of-bob", `{"event":"STEAL","payload":` + place + `}`, "INVALID"},
		"no place":      {"token-of-bob", `{"event":"SUBSCRIBE"}`, "INVALID"},
		"other types":   {"token-of-bob", `{"event":7,"payload":[]}`, "INVALID"},
		"no object":     {"token-of-bob", `"SUBSCRIBE"`, "INVALID"},
		"a path":        {"token-of-bob", `{"event":"SUBSCRIBE","payload":{"workspaceId":"../w1","appId":"a1"}}`, "INVALID"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := make(chan Response, 1)
			s := harness.Connect(t, one.URL, withToken(c.token))
			s.On("application_response", client.Func(func(r Response) { got <- r }))
			if err := s.Emit("application", json.RawMessage(c.send)); err != nil {
				t.Fatal(err)
			}
			select {
			case r := <-got:
				if r.Status != "error" || r.Code != c.want || r.Message == "" {
					t.Errorf("%+v, want %s", r, c.want)
				}
			case <-time.After(testkit.Scale(10 * time.Second)):
				t.Error("no answer")
			}
		})
	}
	for name, c := range map[string]struct {
		method, path, token, body string
		status                    int
	}{
		"nobody":    {http.MethodPut, "/workspaces/w1/apps/a1", "", "1", http.StatusUnauthorized},
		"no member": {http.MethodPut, "/workspaces/w2/apps/a1", "token-of-bob", "1", http.StatusForbidden},
		"no JSON":   {http.MethodPut, "/workspaces/w1/apps/a1", "token-of-bob", "{", http.StatusBadRequest},
		"too large": {http.MethodPut, "/workspaces/w1/apps/a1", "token-of-bob", strings.Repeat(" ", 65<<10), http.StatusRequestEntityTooLarge},
		"a name":    {http.MethodPut, "/workspaces/w1/apps/a%20b", "token-of-bob", "1", http.StatusBadRequest},
		"a post":    {http.MethodPost, "/workspaces/w1/apps/a1", "token-of-bob", "1", http.StatusMethodNotAllowed},
	} {
		t.Run("REST: "+name, func(t *testing.T) {
			t.Parallel()
			if status, body := request(t, c.method, one.URL+c.path, c.token, c.body); status != c.status {
				t.Errorf("%d %s", status, body)
			}
		})
	}
}

// A client that can send a header but no auth, such as Postman, is known too; and the page is there.
func TestWorkspace_Header(t *testing.T) {
	t.Parallel()
	one := harness.Start(t, harness.Build(t, "."), "-addr", "127.0.0.1:0")
	c := harness.Connect(t, one.URL, func(c *client.Config) {
		c.Header = http.Header{"Authorization": {"Bearer token-of-bob"}}
	})
	ask(t, c, "SUBSCRIBE")
	if status, body := request(t, http.MethodGet, one.URL+"/", "", ""); status != http.StatusOK || !strings.Contains(body, "application") {
		t.Errorf("%d %s", status, body)
	}
}
