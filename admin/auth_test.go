package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/client"
	"github.com/sockeye-io/sockeye/internal/testkit"
)

// kinds are values of all types that JSON has.
var kinds = map[string]any{
	"null": nil, "false": false, "true": true, "zero": 0, "number": 12.5, "empty text": "", "text": "x",
	"long text": strings.Repeat("x", 5000), "list": []any{}, "list of text": []any{"admin"}, "object": map[string]any{},
	"object with a method": map[string]any{"toString": "x", "length": 3},
}

func users(t *testing.T) map[string]string {
	t.Helper()
	return map[string]string{"admin": hash(t, "changeit"), "eve": hash(t, strings.Repeat("p", 72))}
}

func creds(user, password any) map[string]any {
	return map[string]any{"username": user, "password": password}
}

// TestAuth_Fields sends values of each type in each field: nobody gets in, and each is told so in the same way.
func TestAuth_Fields(t *testing.T) {
	t.Parallel()
	s := setup(t, Options{Users: users(t)})
	s.a.auth.tries.most, s.a.auth.sessions.most = 1000, 1000
	good := map[string]any{"username": "admin", "password": "changeit"}
	for kind, v := range kinds {
		for _, field := range []string{"username", "password"} {
			auth := map[string]any{field: v}
			for k, g := range good {
				if k != field {
					auth[k] = g
				}
			}
			if ce := s.refused(auth); ce.Message != "invalid credentials" || !ce.Data.IsZero() {
				t.Errorf("%s is %s: %v", field, kind, ce)
			}
		}
		if ce := s.refused(map[string]any{"sessionId": v}); ce.Message != "invalid credentials" {
			t.Errorf("sessionId is %s: %v", kind, ce)
		}
	}
	if ce := s.refused(nil); ce.Message != "invalid credentials" {
		t.Errorf("nothing: %v", ce)
	}
	for kind, v := range kinds { // a session that is none does not matter
		auth := creds("admin", "changeit")
		auth["sessionId"] = v
		if s.page(auth).Close() != nil {
			t.Errorf("sessionId is %s: not closed", kind)
		}
	}
	// What is no object at all, which our client would not send.
	for _, v := range []string{"null", "1", `"admin"`, "[]", `["admin","changeit"]`, "true"} {
		frames := s.rawAuth("/admin", v)
		testkit.Eventually(t, "an answer to "+v, func() bool { return len(frames()) > 0 })
		if got := frames()[0]; got != `4/admin,{"message":"invalid credentials"}` && !strings.HasPrefix(got, "closed") {
			t.Errorf("auth is %s: %s", v, got)
		}
	}
}

// TestAuth_Sessions signs in as the capture does: with a wrong and a right password, with the session that came of that,
// and with a wrong one.
func TestAuth_Sessions(t *testing.T) {
	t.Parallel()
	s := setup(t, Options{Users: users(t), Mode: Production})
	for _, c := range []map[string]any{creds("admin", "wrong"), creds("other", "changeit"), creds("admin", "")} {
		if ce := s.refused(c); ce.Message != "invalid credentials" {
			t.Errorf("%v: %v", c, ce)
		}
	}
	p := s.page(creds("admin", "changeit"))
	id, _ := p.find("session", nil)[0].(string)
	if len(id) != 32 {
		t.Errorf("session %q has not 128 bits", id)
	}
	p.find("config", nil)
	if all := p.all(); all[0].name != "session" || all[1].name != "config" {
		t.Errorf("events %v", all)
	}
	again := s.page(map[string]any{"sessionId": id})
	again.find("config", nil)
	for _, e := range again.all() {
		if e.name == "session" {
			t.Error("a session for a session")
		}
	}
	for _, wrong := range []string{"ffffffffffffffffffffffffffffffff", id[:31], strings.ToUpper(id), id + "0"} {
		if ce := s.refused(map[string]any{"sessionId": wrong}); ce.Message != "invalid credentials" {
			t.Errorf("%s: %v", wrong, ce)
		}
	}
	if long := s.page(creds("eve", strings.Repeat("p", 72))); !long.Connected() {
		t.Error("the second user may not enter")
	}
}

// TestAuth_Tries asks ten thousand times: T25.
func TestAuth_Tries(t *testing.T) {
	t.Parallel()
	s := setup(t, Options{Users: users(t)})
	for range maxTries {
		if ce := s.refused(creds("admin", "wrong")); ce.Message != "invalid credentials" {
			t.Errorf("refused with %v", ce)
		}
	}
	ce := s.refused(creds("admin", "changeit"))
	var data struct {
		Code       string
		RetryAfter int
	}
	if err := ce.Data.Scan(&data); err != nil || ce.Message != "too many attempts" || data.Code != "too_many_attempts" ||
		data.RetryAfter < 1 || data.RetryAfter > 60 {
		t.Errorf("refused with %v, %+v, %v", ce, data, err)
	}

	client := s.join("/", client.Config{Auth: creds("admin", "changeit")})
	sock, _ := s.io.Of("/").Socket(client.ID())
	limited := 0
	for range 10_000 {
		_, err := s.a.auth.enter(t.Context(), sock)
		var ce *sockeye.ConnectError
		if errors.As(err, &ce) && ce.Message == "too many attempts" {
			limited++
		}
	}
	if limited != 10_000 {
		t.Errorf("%d of 10,000 tries were refused without a look", limited)
	}
}

// A password that is right is no try, so that operators who reload their page are not shut out.
func TestAuth_SuccessIsNoTry(t *testing.T) {
	t.Parallel()
	s := setup(t, Options{Users: users(t)})
	for range 3 * maxTries {
		_ = s.page(creds("admin", "changeit")).Close()
	}
}

// An unknown user costs as much work as a known one.
func TestAuth_UnknownUserIsCompared(t *testing.T) {
	t.Parallel()
	strong, err := bcrypt.GenerateFromPassword([]byte("x"), bcrypt.MinCost+2)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Users: map[string]string{"a": hash(t, "x"), "b": string(strong)}}.withDefaults()
	a, err := newAuthenticator(&o)
	if err != nil {
		t.Fatal(err)
	}
	if cost, err := bcrypt.Cost(a.dummy); err != nil || cost != bcrypt.MinCost+2 {
		t.Errorf("cost %d, %v", cost, err)
	}
	for name, want := range map[string]bool{"a": true, "b": true, "c": false, "A": false, "": false} {
		if ok, err := a.compare(t.Context(), name, "x"); ok != want || err != nil {
			t.Errorf("%q: %v, %v", name, ok, err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	a.turns <- struct{}{}
	a.turns <- struct{}{}
	if ok, err := a.compare(ended, "a", "x"); ok || err == nil {
		t.Error("compared without a turn")
	}
}

func TestAdmin_Revoke(t *testing.T) {
	t.Parallel()
	s := setup(t, Options{Users: users(t)})
	p := s.page(creds("admin", "changeit"))
	id, _ := p.find("session", nil)[0].(string)
	twin := s.page(map[string]any{"sessionId": id})
	other := s.page(creds("eve", strings.Repeat("p", 72)))
	testkit.Eventually(t, "three pages", func() bool { return len(s.a.Pages()) == 3 })
	for _, page := range s.a.Pages() {
		if page.Address != "127.0.0.1" || page.Since.IsZero() || page.Socket == p.ID() && page.User != "admin" {
			t.Errorf("page %+v", page)
		}
	}
	if err := s.a.Revoke(t.Context(), "nobody"); err != nil {
		t.Error(err)
	}
	if err := s.a.Revoke(t.Context(), p.ID()); err != nil {
		t.Error(err)
	}
	testkit.Eventually(t, "both pages are out", func() bool { return p.reason() != "" && twin.reason() != "" })
	s.refused(map[string]any{"sessionId": id})
	if !other.Connected() {
		t.Error("another page is out too")
	}
	testkit.Eventually(t, "one page", func() bool { return len(s.a.Pages()) == 1 })
}

// A session that ends in the store ends its pages; while the store is not available they stay.
func TestAdmin_SessionsEnd(t *testing.T) {
	t.Parallel()
	store := &frail{Store: NewMemoryStore(0)}
	s := setup(t, Options{Users: users(t), Store: store})
	p := s.page(creds("admin", "changeit"))
	id, _ := p.find("session", nil)[0].(string)
	p.find("config", nil)
	s.a.checkSessions(t.Context())
	store.fail(errors.New("away"))
	s.a.checkSessions(t.Context())
	if ce := s.refused(map[string]any{"sessionId": id}); ce.Message != "sessions are not available" {
		t.Errorf("refused with %v", ce)
	}
	if !p.Connected() {
		t.Error("the page is out")
	}
	// A password is good without a store, but will be asked again.
	s.page(creds("admin", "changeit")).find("config", nil)
	store.fail(nil)
	if err := store.Delete(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	s.a.checkSessions(t.Context())
	testkit.Eventually(t, "the page is out", func() bool { return p.reason() == client.ReasonServerDisconnect })
}

// frail is a store that can be away.
type frail struct {
	Store

	mu  sync.Mutex
	err error
}

func (f *frail) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

func (f *frail) away() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

func (f *frail) Has(ctx context.Context, id string) (bool, error) {
	if err := f.away(); err != nil {
		return false, err
	}
	return f.Store.Has(ctx, id)
}

func (f *frail) Save(ctx context.Context, id string, ttl time.Duration) error {
	if err := f.away(); err != nil {
		return err
	}
	return f.Store.Save(ctx, id, ttl)
}

// With Separate only connections of the listener for pages may enter.
func TestAdmin_Separate(t *testing.T) {
	t.Parallel()
	s := setup(t, Options{Users: users(t), Separate: true})
	if ce := s.refused(creds("admin", "changeit")); ce.Message != "not here" {
		t.Errorf("refused with %v", ce)
	}
	web := httptest.NewServer(s.a.Separate(s.io))
	defer web.Close()
	inside := &site{t, s.io, s.a, web.URL}
	if ce := inside.refused(creds("admin", "wrong")); ce.Message != "invalid credentials" {
		t.Errorf("refused with %v", ce)
	}
	for _, transports := range [][]string{{"websocket"}, {"polling"}, {"polling", "websocket"}} {
		p := inside.join("/admin", client.Config{Auth: creds("admin", "changeit"), Transports: transports})
		p.find("config", nil)
		_ = p.Manager().Close() // it is done
	}
	// A connection of clients cannot come in by way of another namespace.
	c := s.join("/", client.Config{Auth: creds("admin", "changeit")})
	if err := c.Manager().Socket("/admin").Connect(t.Context()); err == nil {
		t.Error("let in")
	}
}

// Recovery that skips middlewares does not skip this one.
func TestAdmin_Recovered(t *testing.T) {
	t.Parallel()
	s := setup(t, Options{Users: users(t)}, sockeye.Config{Recovery: &sockeye.Recovery{SkipMiddlewares: true}})
	p := s.page(creds("admin", "changeit"))
	p.find("config", nil)
	for _, page := range s.a.Pages() {
		if page.Socket == p.ID() {
			sock, _ := s.a.nsp.Socket(p.ID())
			s.a.forget(sock)
			s.a.connected(t.Context(), sock) // as one that no middleware has seen
		}
	}
	if !p.Connected() {
		t.Error("one with credentials is out")
	}
	open := s.join("/", client.Config{})
	sock, _ := s.io.Of("/").Socket(open.ID())
	s.a.connected(t.Context(), sock)
	testkit.Eventually(t, "one without is out", func() bool { return open.reason() != "" })
}

func TestAttach_Faults(t *testing.T) {
	t.Parallel()
	io, err := sockeye.New(sockeye.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = io.Close() }()
	good := hash(t, "x")
	for name, c := range map[string]struct {
		o    Options
		want []string
	}{
		"no users":         {Options{}, []string{"no Users, and Open"}},
		"open with users":  {Options{Open: true, Users: map[string]string{"a": good}}, []string{"and Open is set"}},
		"a plain password": {Options{Users: map[string]string{"a": "changeit"}}, []string{`for "a" is not a bcrypt hash`}},
		"no name":          {Options{Users: map[string]string{"": good}}, []string{"a name in Users"}},
		"main namespace":   {Options{Open: true, Namespace: "/"}, []string{"Namespace"}},
		"several": {
			Options{Namespace: "admin", Mode: "test", SessionDuration: -1},
			[]string{"no Users", "Namespace", "Mode", "SessionDuration"},
		},
		"a name that cannot be": {Options{Open: true, Namespace: "/a,b"}, []string{"namespace"}},
	} {
		a, err := Attach(io, c.o)
		if err == nil {
			t.Errorf("%s: no error", name)
			_ = a.Close() // it should not be there
			continue
		}
		for _, w := range c.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v: no %q", name, err, w)
			}
		}
		if strings.Contains(err.Error(), "changeit") {
			t.Errorf("%s: the error has the password: %v", name, err)
		}
	}
}

// What is logged has no passwords and no sessions.
func TestAuth_LogHasNoSecrets(t *testing.T) {
	t.Parallel()
	var log lines
	s := setup(t, Options{Users: users(t), Write: true, Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	s.refused(creds("admin", "swordfish"))
	p := s.page(creds("admin", "changeit"))
	id := fmt.Sprint(p.find("session", nil)[0])
	if _, err := p.EmitWithAck(t.Context(), "emit", "/", nil, "news", "payload"); err != nil {
		t.Fatal(err)
	}
	text := log.String()
	for _, secret := range []string{"swordfish", "changeit", id, "payload", "$2a$"} {
		if strings.Contains(text, secret) {
			t.Errorf("the log has %q:\n%s", secret, text)
		}
	}
	for _, want := range []string{"admin refused", "admin entered", "user=admin", "command=emit", "event=news", "address=127.0.0.1"} {
		if !strings.Contains(text, want) {
			t.Errorf("the log has no %q:\n%s", want, text)
		}
	}
}

type lines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
