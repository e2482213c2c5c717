package relay

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/engineio"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/relay/identity"
)

// names is an Authenticator whose tokens are the names of users.
type names map[string]identity.User

func (n names) Authenticate(ctx context.Context, s *sockeye.Socket) (identity.User, error) {
	var auth struct{ Token string }
	if err := s.Auth(&auth); err != nil {
		return identity.User{}, err
	}
	return n.Renew(ctx, auth.Token)
}

func (n names) Renew(_ context.Context, token string) (identity.User, error) {
	u, ok := n[token]
	if token == "broken" {
		return u, errors.New("secret detail")
	}
	if !ok {
		return u, &identity.Error{Code: identity.CodeInvalid, Message: "The token is not valid.", Err: errors.New("secret detail")}
	}
	return u, nil
}

// join connects to the main namespace with a token.
func join(t *testing.T, url, auth string) (p *peer, answer string) {
	t.Helper()
	p = &peer{t: t}
	conn, err := engineio.Dial(t.Context(), url+"/socket.io/", engineio.DialConfig{Transports: []string{"websocket"}}, p)
	if err != nil {
		t.Fatal(err)
	}
	p.conn = conn
	t.Cleanup(func() { _ = conn.Close() }) // the server may have closed it
	p.send("0" + auth)
	testkit.Eventually(t, "an answer to CONNECT", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		if len(p.packets) == 0 {
			return false
		}
		answer = p.packets[0]
		p.packets = p.packets[1:]
		return true
	})
	return p, answer
}

func as(t *testing.T, url, token string) *peer {
	t.Helper()
	p, answer := join(t, url, fmt.Sprintf(`{"token":%q}`, token))
	if !strings.HasPrefix(answer, "0{") {
		t.Fatalf("%s: %s", token, answer)
	}
	return p
}

func TestServer_Identity(t *testing.T) {
	t.Parallel()
	var log lines
	_, url := start(t, Config{
		Logger: log.logger(),
		Identity: names{
			"ann": {ID: "ann", Rooms: []string{"chat:*"}}, "bob": {ID: "bob", Rooms: []string{"chat:*"}},
			"nobody": {}, "long": {ID: strings.Repeat("x", 257)},
		},
		Rooms: Rules{Everyone: Users, List: []Rule{{Rooms: "news:*", Join: Anybody, Publish: Nobody, Hidden: true}}},
	})
	for _, test := range []struct{ name, auth, answer string }{
		{"wrong", `{"token":"eve"}`, `{"message":"The token is not valid.","data":{"code":"token_invalid","message":"The token is not valid."}}`},
		{"none", ``, `{"message":"The token is not valid.","data":{"code":"token_invalid","message":"The token is not valid."}}`},
		{"broken", `{"token":"broken"}`, `{"message":"It cannot be said who you are at the moment.",` +
			`"data":{"code":"unavailable","message":"It cannot be said who you are at the moment."}}`},
		{"long", `{"token":"long"}`, `{"message":"It cannot be said who you are at the moment.",` +
			`"data":{"code":"unavailable","message":"It cannot be said who you are at the moment."}}`},
	} {
		_, answer := join(t, url, test.auth)
		rest, ok := strings.CutPrefix(answer, "4")
		if !ok {
			t.Fatalf("%s: %s", test.name, answer)
		}
		same(t, test.name, rest, test.answer)
	}
	ann, bob, nobody := as(t, url, "ann"), as(t, url, "bob"), as(t, url, "nobody")
	ann.want(`["join","chat:1"]`, ok)
	bob.want(`["join","chat:1"]`, ok)
	ann.refused(`["join","other"]`, "not_allowed")
	nobody.refused(`["join","chat:1"]`, "not_allowed")
	nobody.want(`["join","news:1"]`, ok)
	ann.want(`["join","news:1"]`, ok)
	ann.refused(`["publish",{"room":"news:1","event":"e"}]`, "not_allowed")
	ann.refused(`["sockeye:who","news:1"]`, "not_allowed")
	ann.refused(`["join","sockeye:user:bob"]`, "invalid_room")
	ann.refused(`["publish",{"room":"sockeye:user:bob","event":"e"}]`, "invalid_room")
	ann.want(`["publish",{"room":"chat:1","event":"hi"}]`, ok)
	same(t, "publish", bob.wait("2"), `["hi"]`)
	nobody.refused(`["message","x"]`, "not_allowed")
	ann.want(`["message","x"]`, ok)
	same(t, "message", bob.wait("2"), `["message","x"]`)
	if text := log.String(); strings.Contains(text, "open mode") || !strings.Contains(text, "secret detail") {
		t.Errorf("log:\n%s", text)
	}
}

func TestServer_OpenModeSaysSo(t *testing.T) {
	t.Parallel()
	var log lines
	start(t, Config{Logger: log.logger()})
	if !strings.Contains(log.String(), "open mode") {
		t.Errorf("log: %s", log.String())
	}
}

// A user is reached by one room, on all servers and from emitters.
func TestServer_UserRoom(t *testing.T) {
	t.Parallel()
	s, url := start(t, Config{Identity: names{"ann": {ID: "ann"}, "bob": {ID: "bob"}}})
	tabs := []*peer{as(t, url, "ann"), as(t, url, "ann")}
	bob := as(t, url, "bob")
	if err := s.IO().To(identity.UserRoom("ann")).Emit("to ann", 1); err != nil {
		t.Fatal(err)
	}
	for _, p := range tabs {
		same(t, "user", p.wait("2"), `["to ann",1]`)
	}
	bob.nothing()
	found, err := s.IO().To("sockeye:user:bob").FetchSockets(t.Context())
	if err != nil || len(found) != 1 {
		t.Fatalf("%v %v", found, err)
	}
	var p profile
	if err := found[0].Data.Scan(&p); err != nil || p.User != "bob" {
		t.Errorf("data of bob's socket: %+v %v", p, err)
	}
}

func TestServer_Renew(t *testing.T) {
	t.Parallel()
	later := time.Now().Add(time.Hour).Truncate(time.Millisecond)
	_, url := start(t, Config{Identity: names{
		"ann": {ID: "ann", Rooms: []string{"a", "b"}, Expires: later}, "ann2": {ID: "ann", Rooms: []string{"b"}, Expires: later},
		"ann3": {ID: "ann"}, "bob": {ID: "bob"},
	}})
	ann := as(t, url, "ann")
	for _, room := range []string{"a", "b"} {
		ann.want(fmt.Sprintf(`["join",%q]`, room), ok)
	}
	ann.refused(`["sockeye:renew"]`, "invalid_argument")
	ann.refused(`["sockeye:renew",{"token":1}]`, "invalid_argument")
	ann.refused(`["sockeye:renew",{"token":"bob"}]`, "user_changed")
	ann.refused(`["sockeye:renew",{"token":"eve"}]`, "token_invalid")
	ann.want(`["sockeye:renew",{"token":"ann2"}]`, fmt.Sprintf(`[{"ok":true,"expires":%d,"left":["a"]}]`, later.UnixMilli()))
	ann.refused(`["publish",{"room":"a","event":"e"}]`, "not_in_room")
	ann.want(`["publish",{"room":"b","event":"e"}]`, ok)
	ann.want(`["sockeye:renew",{"token":"ann3"}]`, `[{"ok":true,"left":["b"]}]`)
	limited := false
	for range 20 {
		limited = limited || strings.Contains(ann.call(`["sockeye:renew",{"token":"eve"}]`), "too_many_requests")
	}
	if !limited {
		t.Error("renewals are not limited")
	}
	_, open := start(t, Config{})
	p, _ := connect(t, open)
	p.refused(`["sockeye:renew",{"token":"x"}]`, "no_renewal")
}

// The connection of a token does not outlive it.
func TestServer_Expiry(t *testing.T) {
	t.Parallel()
	users := names{"soon": {ID: "ann"}, "past": {ID: "ann", Expires: time.Now().Add(-time.Minute)}}
	_, url := start(t, Config{Identity: identity.Func(func(ctx context.Context, s *sockeye.Socket) (identity.User, error) {
		u, err := users.Authenticate(ctx, s)
		if u.Expires.IsZero() {
			u.Expires = time.Now().Add(300 * time.Millisecond)
		}
		return u, err
	})})
	for _, token := range []string{"soon", "past"} {
		p := as(t, url, token)
		if token == "soon" {
			p.wait(`2["sockeye:expiring",{"in":`)
		}
		p.wait(`2["sockeye:expired",{"code":"token_expired","message":"The token has expired."}]`)
		p.wait("1") // DISCONNECT, so that clients do not come back by themselves
		testkit.Eventually(t, "the connection is closed", func() bool { return p.conn.Send([]byte("2[]"), false) != nil })
	}
}

// A recovered socket is still that of its user, and leaves rooms that are not allowed any more.
func TestServer_IdentityRecovery(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	users := names{"ann": {ID: "ann", Rooms: []string{"a", "b"}}, "bob": {ID: "bob"}}
	auth := identity.Func(func(ctx context.Context, s *sockeye.Socket) (identity.User, error) {
		mu.Lock()
		defer mu.Unlock()
		return maps.Clone(users).Authenticate(ctx, s)
	})
	s, url := start(t, Config{
		Adapter: adapter.Memory(), Identity: auth,
		IO: sockeye.Config{Recovery: &sockeye.Recovery{}},
	})
	p, answer := join(t, url, `{"token":"ann"}`)
	var first struct{ SID, PID string }
	if err := json.Unmarshal([]byte(answer[1:]), &first); err != nil || first.PID == "" {
		t.Fatalf("%s: %v", answer, err)
	}
	p.want(`["join","a"]`, ok)
	p.want(`["join","b"]`, ok)
	p.want(`["sockeye:profile",{"name":"Annie"}]`, ok)
	if err := s.IO().Emit("offset"); err != nil {
		t.Fatal(err)
	}
	var event [2]string
	if err := json.Unmarshal([]byte(p.wait("2")), &event); err != nil {
		t.Fatal(err)
	}
	cut := func(p *peer) {
		t.Helper()
		_ = p.conn.Close()
		testkit.Eventually(t, "the server has seen it", func() bool { return s.IO().Conns() == 0 })
	}
	cut(p)
	mu.Lock()
	users["ann"] = identity.User{ID: "ann", Rooms: []string{"b"}}
	mu.Unlock()
	back := func(user string) (*peer, string) {
		t.Helper()
		p, answer := join(t, url, fmt.Sprintf(`{"token":%q,"pid":%q,"offset":%q}`, user, first.PID, event[1]))
		var now struct{ SID string }
		if err := json.Unmarshal([]byte(answer[1:]), &now); err != nil {
			t.Fatalf("%s: %v", answer, err)
		}
		return p, now.SID
	}
	p, id := back("ann")
	if id != first.SID {
		t.Fatal("not recovered")
	}
	p.refused(`["publish",{"room":"a","event":"e"}]`, "not_in_room")
	p.want(`["publish",{"room":"b","event":"e"}]`, ok)
	p.want(`["sockeye:who","b"]`, fmt.Sprintf(`[{"ok":true,"people":[{"id":%q,"name":"Annie","user":"ann"}]}]`, id))
	cut(p)
	if _, id := back("bob"); id == first.SID {
		t.Error("another user has got the session")
	}
}

// lines are what was logged.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *lines) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// A hundred thousand users that expire one after the other cost a timer each.
func BenchmarkAccount_Expiry(b *testing.B) {
	u := identity.User{ID: "ann", Expires: time.Now().Add(time.Hour)}
	all := make([]*account, b.N)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range all {
		all[i] = &account{user: u}
		all[i].arm(time.Minute, func() {})
	}
	b.StopTimer()
	for _, a := range all {
		a.end()
	}
}

// What is set up comes before the relay's own.
func TestConfig_Setup(t *testing.T) {
	t.Parallel()
	asked := make(chan any, 1)
	_, url := start(t, Config{Setup: func(io *sockeye.Server) error {
		io.Use(func(_ context.Context, s *sockeye.Socket) error {
			asked <- s.Data()
			return nil
		})
		return nil
	}})
	connect(t, url)
	if data := <-asked; data != nil {
		t.Errorf("the relay's own middleware came first: %v", data)
	}
	refused := errors.New("not today")
	if _, err := New(Config{Setup: func(*sockeye.Server) error { return refused }}); !errors.Is(err, refused) {
		t.Errorf("a failing setup: %v", err)
	}
	if _, err := New(Config{Rooms: Rules{Default: "x"}}); err == nil {
		t.Error("bad rules are accepted")
	}
}

// Clients of 2.x can be kept out.
func TestConfig_DenyEIO3(t *testing.T) {
	t.Parallel()
	_, url := start(t, Config{DenyEIO3: true})
	if res, body := get(t, url+"/socket.io/?EIO=3&transport=polling", nil); res.StatusCode != http.StatusBadRequest {
		t.Errorf("protocol 3: %s %s", res.Status, body)
	}
}
