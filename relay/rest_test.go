package relay

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/redistest"
	"github.com/sockeye-io/sockeye/relay/identity"
	"github.com/sockeye-io/sockeye/relay/rest"
)

// post sends a request of a back end.
func post(t *testing.T, url, token, body string) (status int, answer string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultTransport.RoundTrip(req)
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

// Back ends push by any server of a cluster, and nothing that lets somebody in gets to the log.
func TestServer_REST(t *testing.T) {
	t.Parallel()
	hub := redistest.NewHub()
	var log lines
	const secret = "the-secret-of-the-back-end"
	node := func() string {
		_, url := start(t, Config{
			Adapter:  redisadapter.PubSub(hub.Driver(), redisadapter.PubSubOptions{}),
			Identity: names{"ticket-of-ann": {ID: "ann", Rooms: []string{"r"}}, "ticket-of-bob": {ID: "bob"}},
			REST:     rest.Config{Tokens: []rest.Token{{Name: "back-end", Secret: secret}}},
			Logger:   log.logger(),
		})
		return url
	}
	a, b := node(), node()
	ann, bob := as(t, a, "ticket-of-ann"), as(t, a, "ticket-of-bob")
	send := func(path, body string, want int) string {
		t.Helper()
		status, answer := post(t, b+path, secret, body)
		if status != want {
			t.Fatalf("%s: %d %s", path, status, answer)
		}
		return answer
	}
	send("/v1/emit", `{"to":{"users":["ann"]},"event":"hello","args":[1]}`, http.StatusAccepted)
	same(t, "hello", ann.wait("2"), `["hello",1]`)
	// The interface is not bound by rules of rooms, and clients are.
	bob.refused(`["join","r"]`, "not_allowed")
	send("/v1/join", `{"to":{"users":["bob"]},"rooms":["r"]}`, http.StatusAccepted)
	send("/v1/emit", `{"to":{"rooms":["r"]},"event":"in r"}`, http.StatusAccepted)
	same(t, "in r", bob.wait("2"), `["in r"]`)
	ann.nothing()
	if res, body := get(t, b+"/v1/openapi.json", nil); res.StatusCode != http.StatusOK || !strings.Contains(body, `"openapi"`) {
		t.Errorf("description: %s", res.Status)
	}
	send("/v1/disconnect", `{"to":{"users":["bob"]}}`, http.StatusAccepted)
	bob.wait("1")
	if status, body := post(t, b+"/v1/emit", secret+"x", `{}`); status != http.StatusUnauthorized {
		t.Errorf("%d %s", status, body)
	}
	text := log.String()
	for _, want := range []string{"token=back-end", "operation=emit", "operation=disconnect"} {
		if !strings.Contains(text, want) {
			t.Errorf("the log lacks %s", want)
		}
	}
	if strings.Contains(text, secret) || strings.Contains(text, "ticket-of") {
		t.Errorf("the log says too much:\n%s", text)
	}
}

func TestServer_RESTIsOff(t *testing.T) {
	t.Parallel()
	_, url := start(t, Config{})
	if status, body := post(t, url+"/v1/emit", "", `{}`); status != http.StatusNotFound {
		t.Errorf("%d %s", status, body)
	}
	if _, err := New(Config{REST: rest.Config{Tokens: []rest.Token{{Name: "x", Secret: "short"}}}}); err == nil {
		t.Error("a short secret is accepted")
	}
}

// A token is in no line of the log, whatever is wrong with it.
func TestServer_TokensAreNotLogged(t *testing.T) {
	t.Parallel()
	var log lines
	jwt, err := identity.NewJWT(identity.JWTConfig{Secret: make([]byte, 32), Query: "token"})
	if err != nil {
		t.Fatal(err)
	}
	_, url := start(t, Config{Identity: jwt, Logger: log.logger()})
	token := "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.c2VjcmV0LXNpZ25hdHVyZQ"
	if _, answer := join(t, url, `{"token":"`+token+`"}`); !strings.Contains(answer, "token_invalid") {
		t.Error(answer)
	}
	if res, body := get(t, url+"/socket.io/?EIO=4&transport=polling&token="+token, nil); res.StatusCode != http.StatusOK {
		t.Errorf("%s %s", res.Status, body)
	}
	text := log.String()
	if !strings.Contains(text, "client refused") || strings.Contains(text, "eyJ") || strings.Contains(text, "c2VjcmV0") {
		t.Errorf("log:\n%s", text)
	}
}
