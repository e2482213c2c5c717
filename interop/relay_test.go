package interop

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/emitter"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/relay"
	"github.com/sockeye-io/sockeye/relay/identity"
	"github.com/sockeye-io/sockeye/relay/rest"
)

const (
	tokenSecret = "a secret of thirty-two characters"
	restSecret  = "a-secret-of-the-back-end"
)

// signed is a JSON Web Token, made by hand.
func signed(t *testing.T, claims obj) string {
	t.Helper()
	b, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	enc := base64.RawURLEncoding.EncodeToString
	token := enc([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + enc(b)
	m := hmac.New(sha256.New, []byte(tokenSecret))
	m.Write([]byte(token))
	return token + "." + enc(m.Sum(nil))
}

// ticket is a token of a user for an hour.
func ticket(t *testing.T, user string, rooms ...string) string {
	t.Helper()
	return signed(t, obj{"sub": user, "rooms": rooms, "exp": time.Now().Add(time.Hour).Unix()})
}

// startRelay serves the application of "sockeye serve" beside others on a Redis.
func startRelay(t *testing.T, redis *testkit.Redis, leeway time.Duration) (url string) {
	t.Helper()
	jwt, err := identity.NewJWT(identity.JWTConfig{Secret: []byte(tokenSecret), Query: "token", Leeway: leeway})
	if err != nil {
		t.Fatal(err)
	}
	s, err := relay.New(relay.Config{
		Adapter: redisadapter.PubSub(connect(t, redis), redisadapter.PubSubOptions{}), Identity: jwt,
		REST: rest.Config{Tokens: []rest.Token{{Name: "back-end", Secret: restSecret}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(s)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		srv.Close()
	})
	return srv.URL
}

// push sends a request of a back end.
func push(t *testing.T, url, path, body string, dst any) {
	t.Helper()
	method := http.MethodPost
	if body == "" {
		method = http.MethodGet
	}
	req, err := http.NewRequestWithContext(t.Context(), method, url+path, bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+restSecret)
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
	if res.StatusCode >= 300 {
		t.Fatalf("%s: %s: %s", path, res.Status, b)
	}
	if dst == nil {
		return
	}
	if err := json.Unmarshal(b, dst); err != nil {
		t.Fatalf("%s: %s: %v", path, b, err)
	}
}

// Official clients bring tokens in each way that there is, and are reached by their user from any server of the cluster
// and from an emitter.
func TestRelay(t *testing.T) {
	t.Parallel()
	redis := testkit.StartRedis(t)
	a, b := startRelay(t, redis, 0), startRelay(t, redis, 0)
	p := startPeer(t, "client.mjs")
	ann := ticket(t, "ann", "chat:*")
	header := obj{"Authorization": "Bearer " + ann}
	ways := map[string]obj{
		"4 by auth":      {"options": obj{"auth": obj{"token": ann}}},
		"4 by header":    {"options": obj{"extraHeaders": header}},
		"4 by WebSocket": {"options": obj{"transports": list{"websocket"}, "auth": obj{"token": ann}}},
		"2 by header":    {"generation": 2, "options": obj{"extraHeaders": header, "transportOptions": obj{"polling": obj{"extraHeaders": header}}}},
		"2 by query":     {"generation": 2, "options": obj{"query": obj{"token": ann}}},
	}
	clients := map[string]socket{}
	for way, more := range ways {
		clients[way] = p.open(way, a, more)
		clients[way].connected()
	}
	for name, test := range map[string]struct {
		token any
		code  string
	}{
		"none": {nil, "token_missing"}, "forged": {ann[:len(ann)-4] + "AAAA", "token_invalid"}, "number": {7, "token_invalid"},
		"expired": {signed(t, obj{"sub": "ann", "exp": 1700000000}), "token_expired"},
	} {
		s := p.open(name, a, obj{"options": obj{"auth": obj{"token": test.token}}})
		e, ok := s.wait("connect_error", 1)[0].(obj)
		data, ok2 := e["data"].(obj)
		if !ok || !ok2 || data["code"] != test.code || e["message"] != data["message"] {
			t.Errorf("%s: %v", name, e)
		}
	}
	old := p.open("2 forged", a, obj{"generation": 2, "options": obj{"query": obj{"token": "x"}}})
	refused, _ := old.wait("connect_error", 1)[0].(obj) // another type has no data
	if data, ok := refused["data"].(obj); !ok || data["code"] != "token_invalid" {
		t.Errorf("a client of 2.x is refused with %v", refused)
	}

	// From the other server.
	push(t, b, "/v1/emit", `{"to":{"users":["ann"]},"event":"rest","args":[1,{"$base64":"AQID"}]}`, nil)
	// From a program that is no server.
	e, err := emitter.PubSub(connect(t, redis), redisadapter.PubSubOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	if err := e.To(identity.UserRoom("ann")).Emit("emitter", "x"); err != nil {
		t.Fatal(err)
	}
	for _, s := range clients {
		s.want("rest", 1.0, bin("AQID"))
		s.want("emitter", "x")
	}
	var got struct {
		Replies []struct {
			Socket string
			Args   list
		}
		Complete bool
	}
	push(t, b, "/v1/emit", `{"to":{"users":["ann"]},"event":"ask","args":["?"],"ack":{"timeout":20000,"bySocket":true}}`, &got)
	seen := map[string]bool{}
	for _, r := range got.Replies {
		seen[r.Socket] = len(r.Args) == 1 && r.Args[0] == "?"
	}
	if !got.Complete || len(seen) != len(clients) || len(got.Replies) != len(clients) || seen[""] {
		t.Errorf("acknowledgements: %+v", got)
	}

	// Rules of rooms are those of the token.
	four := clients["4 by auth"]
	same(t, "a room of the token", four.call("join", "chat:1"), list{obj{"ok": true}})
	if ack, ok := four.call("join", "secret")[0].(obj); !ok || ack["ok"] != false {
		t.Errorf("a room that is not in the token: %v", ack)
	}
	var users struct{ Users []struct{ User string } }
	push(t, b, "/v1/users?room=chat:1", "", &users)
	if len(users.Users) != 1 || users.Users[0].User != "ann" {
		t.Errorf("users of a room: %+v", users)
	}
	push(t, b, "/v1/disconnect", `{"to":{"users":["ann"]}}`, nil)
	for way, s := range clients {
		if reason := s.wait("disconnect", 1)[0]; reason != "io server disconnect" {
			t.Errorf("%s: %v", way, reason)
		}
	}
}

// The connection of an official client ends with its token, unless another one comes in time.
func TestRelay_Expiry(t *testing.T) {
	t.Parallel()
	url := startRelay(t, testkit.StartRedis(t), -1)
	p := startPeer(t, "client.mjs")
	// Less than the minute before the end in which clients are warned.
	first := signed(t, obj{"sub": "ann", "rooms": "r", "exp": time.Now().Add(50 * time.Second).Unix()})
	kept := p.open("kept", url, obj{"options": obj{"auth": obj{"token": first}}})
	lost := p.open("lost", url, obj{"options": obj{"auth": obj{"token": first}, "reconnection": true}})
	for _, s := range []socket{kept, lost} {
		s.connected()
		s.wait("event:sockeye:expiring", 1)
	}
	later := time.Now().Add(time.Hour).Unix()
	ack := kept.call("sockeye:renew", obj{"token": signed(t, obj{"sub": "ann", "exp": later})})
	same(t, "renewal", ack, list{obj{"ok": true, "expires": float64(later) * 1000, "left": list{}}})
	// The token may have ended before it arrives.
	eventually(t, "a token that ends soon is taken", func() bool {
		ack, ok := lost.call("sockeye:renew", obj{"token": signed(t, obj{"sub": "ann", "exp": time.Now().Add(2 * time.Second).Unix()})})[0].(obj)
		return ok && ack["ok"] == true
	})
	lost.want("sockeye:expired", obj{"code": "token_expired", "message": "The token has expired."})
	if reason := lost.wait("disconnect", 1)[0]; reason != "io server disconnect" {
		t.Errorf("disconnected with %v", reason)
	}
	same(t, "what is kept", kept.call("leave", "nowhere"), list{obj{"ok": true}})
}
