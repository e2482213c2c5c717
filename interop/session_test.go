package interop

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/httpsession"
	"github.com/sockeye-io/sockeye/httpsession/express"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/redisadapter"
)

const (
	newSecret = "the secret that signs, of enough bytes"
	oldSecret = "the secret before it, of enough bytes"
)

// shop is an Express application whose sessions two of our servers share.
type shop struct {
	t        *testing.T
	redis    *testkit.Redis
	url      string // of Express
	sockets  []string
	backends []*express.Backend
	store    httpsession.Store
	prefix   string
	check    time.Duration // how often our servers ask which sessions have ended
}

// driver is what our servers reach Redis by: the cluster is on it, and the sessions.
type driver interface {
	redisadapter.Driver
	redisadapter.Commander
}

func openShop(t *testing.T, app obj, config express.Config) *shop {
	t.Helper()
	s := &shop{t: t, redis: testkit.StartRedis(t), prefix: "sess:"}
	if p, ok := app["prefix"].(string); ok {
		s.prefix = p
	}
	s.check = 200 * time.Millisecond
	if app["check"] != nil {
		s.check = -1
	}
	options := obj{"url": s.redis.URL()}
	maps.Copy(options, app)
	var at struct{ Port int }
	startPeer(t, "express.mjs").do("start", options, &at)
	s.url = fmt.Sprintf("http://127.0.0.1:%d", at.Port)
	for _, d := range []any{connect(t, s.redis), connectGoRedis(t, s.redis)} {
		d, ok := d.(driver)
		if !ok {
			t.Fatal("the driver runs no commands")
		}
		s.serve(d, config)
	}
	return s
}

// serve starts one of our servers.
func (s *shop) serve(d driver, config express.Config) {
	t := s.t
	t.Helper()
	s.store = httpsession.Redis(d, s.prefix)
	config.Store = s.store
	b, err := express.New(config)
	if err != nil {
		t.Fatal(err)
	}
	sessions, err := httpsession.New(b, httpsession.Config{CheckInterval: s.check})
	if err != nil {
		t.Fatal(err)
	}
	server, err := sockeye.New(sockeye.Config{
		Adapter: redisadapter.PubSub(d, redisadapter.PubSubOptions{}),
		Hooks:   sockeye.Hooks{Error: func(_ context.Context, err error) { t.Errorf("hook: %v", err) }},
	})
	if err != nil {
		t.Fatal(err)
	}
	sessions.Use(server.Of("/"))
	server.On("who", sockeye.HandlerFunc(func(ctx context.Context, m *sockeye.Message) error {
		user, _, err := httpsession.From(ctx).Text(ctx, "passport.user")
		if err != nil {
			return err
		}
		return m.Ack(user)
	}))
	server.On("get", sockeye.HandlerFunc(func(ctx context.Context, m *sockeye.Message) error {
		var key string
		if err := m.Scan(&key); err != nil {
			return err
		}
		var raw json.RawMessage
		if _, err := httpsession.From(ctx).Get(ctx, key, &raw); err != nil {
			return err
		}
		return m.Ack(string(raw))
	}))
	server.On("set", sockeye.HandlerFunc(func(ctx context.Context, m *sockeye.Message) error {
		var key, raw string
		if err := m.Scan(&key, &raw); err != nil {
			return err
		}
		sess := httpsession.From(ctx)
		if err := errors.Join(sess.Set(ctx, key, json.RawMessage(raw)), sess.Save(ctx)); err != nil {
			return err
		}
		return m.Ack("done")
	}))
	web := httptest.NewServer(server)
	t.Cleanup(func() {
		if err := errors.Join(server.Close(), sessions.Close()); err != nil {
			t.Error(err)
		}
		web.Close()
	})
	s.sockets, s.backends = append(s.sockets, web.URL), append(s.backends, b)
}

// page asks Express, with a cookie, and gives the answer and the cookie that it sets.
func (s *shop) page(method, path string, cookie *http.Cookie, body any) (obj, *http.Cookie) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), testkit.Scale(limit))
	defer cancel()
	var b []byte
	if body != nil {
		var err error
		if b, err = json.Marshal(body); err != nil {
			s.t.Fatal(err)
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, s.url+path, bytes.NewReader(b))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if cookie != nil {
		r.Header.Set("Cookie", cookie.Name+"="+cookie.Value)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }() // it was read
	text, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	var got obj
	if err := json.Unmarshal(text, &got); err != nil || res.StatusCode != http.StatusOK {
		s.t.Fatalf("%s: %s: %s", path, res.Status, text)
	}
	for _, c := range res.Cookies() {
		return got, c
	}
	return got, nil
}

func (s *shop) login(user string) *http.Cookie {
	s.t.Helper()
	_, c := s.page(http.MethodPost, "/login", nil, obj{"user": user})
	if c == nil {
		s.t.Fatal("no cookie")
	}
	return c
}

// stored is what Redis has of a session.
func (s *shop) stored(cookie *http.Cookie) (data string, ttl int64) {
	s.t.Helper()
	ref, ok := s.backends[0].Ref(http.Header{"Cookie": {cookie.Name + "=" + cookie.Value}})
	if !ok {
		s.t.Fatal("the cookie of Express is refused")
	}
	data, _ = s.redis.Do("GET", s.prefix+ref.Key).(string)
	ttl, _ = s.redis.Do("TTL", s.prefix+ref.Key).(int64)
	return data, ttl
}

// visit connects the official client.
func (s *shop) visit(p *peer, name string, server int, cookie *http.Cookie, transport string) socket {
	s.t.Helper()
	options := obj{"transports": list{transport}}
	if cookie != nil {
		options["extraHeaders"] = obj{"cookie": cookie.Name + "=" + cookie.Value}
	}
	return p.open(name, s.sockets[server], obj{"options": options})
}

// refused waits until a client is told that it may not connect.
func (s *shop) refused(c socket) {
	s.t.Helper()
	same(s.t, c.name, c.wait("connect_error", 1), list{obj{"message": "unauthorized", "data": obj{"$undef": true}}})
}

// TestSession_Express: who logs in by an Express application is known to our servers, what either writes the other sees, and
// a logout there ends the sockets here. By each generation of connect-redis.
func TestSession_Express(t *testing.T) {
	t.Parallel()
	for _, generation := range []int{9, 7, 6} {
		t.Run(fmt.Sprint("connect-redis ", generation), func(t *testing.T) {
			t.Parallel()
			s := openShop(t, obj{"store": generation, "session": obj{"secret": newSecret}}, express.Config{Secrets: []string{newSecret}})
			clients := startPeer(t, "client.mjs")
			s.refused(s.visit(clients, "nobody", 0, nil, "websocket"))
			ann, bob := s.login("ann"), s.login("bob")
			one, two := s.visit(clients, "one", 0, ann, "websocket"), s.visit(clients, "two", 1, ann, "polling")
			stays := s.visit(clients, "stays", 1, bob, "websocket")
			for c, user := range map[socket]string{one: "ann", two: "ann", stays: "bob"} {
				c.connected()
				same(t, c.name, c.call("who"), list{user})
			}
			s.page(http.MethodPost, "/write", ann, obj{"cart": list{"a", obj{"n": 1}}, "e": "\u00e9\u20ac"})
			same(t, "what Express wrote", two.call("get", "cart"), list{`["a",{"n":1}]`})
			before, _ := s.stored(ann)
			same(t, "set", one.call("set", "seat", `{"row":7,"big":9007199254740993}`), list{"done"})
			after, ttl := s.stored(ann)
			if want := before[:len(before)-1] + `,"seat":{"row":7,"big":9007199254740993}}`; after != want {
				t.Errorf("stored\n%s, want\n%s", after, want)
			}
			if ttl < 86000 || ttl > 86400 {
				t.Errorf("lives %d s", ttl)
			}
			got, _ := s.page(http.MethodGet, "/read", ann, nil)
			session, _ := got["session"].(obj)
			same(t, "what Express reads", obj{"seat": session["seat"], "e": session["e"], "passport": session["passport"]},
				obj{"seat": obj{"row": 7, "big": 9007199254740992.0}, "e": "\u00e9\u20ac", "passport": obj{"user": "ann"}})

			s.page(http.MethodPost, "/logout", ann, nil)
			same(t, "the end", one.wait("disconnect", 1), list{"io server disconnect"})
			same(t, "the end, by polling", two.wait("disconnect", 1), list{"io server disconnect"})
			s.refused(s.visit(clients, "late", 0, ann, "polling"))
			same(t, "the other session", stays.call("who"), list{"bob"})
			if data, _ := s.stored(ann); data != "" {
				t.Errorf("it lives again: %s", data)
			}
		})
	}
}

// TestSession_ExpressTells: an Express application that has an emitter ends the sockets of a session itself.
func TestSession_ExpressTells(t *testing.T) {
	t.Parallel()
	s := openShop(t, obj{"tell": true, "session": obj{"secret": newSecret}, "check": -1}, express.Config{Secrets: []string{newSecret}})
	clients := startPeer(t, "client.mjs")
	ann, bob := s.login("ann"), s.login("bob")
	one, two := s.visit(clients, "one", 0, ann, "websocket"), s.visit(clients, "two", 1, ann, "websocket")
	stays := s.visit(clients, "stays", 1, bob, "websocket")
	for _, c := range []socket{one, two, stays} {
		c.connected()
	}
	s.page(http.MethodPost, "/logout", ann, nil)
	for _, c := range []socket{one, two} {
		same(t, c.name+" is disconnected", c.wait("disconnect", 1), list{"io server disconnect"})
	}
	same(t, "the other session", stays.call("who"), list{"bob"})
}

// TestSession_ExpressOptions: other names, lifetimes and secrets than the usual ones, and sessions that we make.
func TestSession_ExpressOptions(t *testing.T) {
	t.Parallel()
	s := openShop(t, obj{
		"prefix": "app:", "ttl": 123,
		"session": obj{"secret": list{newSecret, oldSecret}, "name": "sid", "rolling": true},
	}, express.Config{Secrets: []string{newSecret, oldSecret}, Name: "sid", TTL: 123 * time.Second})
	clients := startPeer(t, "client.mjs")
	open := func(name string, cookie *http.Cookie) socket {
		c := s.visit(clients, name, 0, cookie, "websocket")
		c.connected()
		return c
	}
	ttl := func(what string, cookie *http.Cookie, want int64) {
		t.Helper()
		if _, ttl := s.stored(cookie); ttl > want || ttl < want-30 {
			t.Errorf("%s: lives %d s, want %d", what, ttl, want)
		}
	}
	ann := s.login("ann")
	same(t, "ann", open("ann", ann).call("set", "n", "1"), list{"done"})
	ttl("the ttl of the store", ann, 123)

	// A session with a maxAge of its own, by which Express, a socket and a handler let it live.
	_, bob := s.page(http.MethodPost, "/login", nil, obj{"user": "bob", "maxAge": 600_000})
	ttl("made by Express", bob, 600)
	ref, _ := s.backends[0].Ref(http.Header{"Cookie": {bob.Name + "=" + bob.Value}})
	s.redis.Do("EXPIRE", "app:"+ref.Key, "60")
	c := open("bob", bob)
	testkit.Eventually(t, "the socket touches it", func() bool { _, ttl := s.stored(bob); return ttl > 500 })
	s.redis.Do("EXPIRE", "app:"+ref.Key, "60")
	same(t, "bob", c.call("set", "n", "1"), list{"done"})
	ttl("written by a handler", bob, 600)
	if _, again := s.page(http.MethodGet, "/read", bob, nil); again == nil || again.Value != bob.Value { // rolling
		t.Errorf("Express sends %v", again)
	}

	// A session that we make counts for Express, by a cookie of the older secret too; one of another does not.
	for secret, known := range map[string]bool{newSecret: true, oldSecret: true, "neither of the two secrets": false} {
		b, err := express.New(express.Config{Secrets: []string{secret}, Name: "sid", Store: s.store, TTL: 123 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		cookie, err := b.Create(t.Context(), nil, obj{"passport": obj{"user": "eve"}})
		if err != nil {
			t.Fatal(err)
		}
		c := s.visit(clients, secret, 1, cookie, "websocket")
		got, _ := s.page(http.MethodGet, "/read", cookie, nil)
		if !known {
			s.refused(c)
			same(t, "what Express reads", got["session"], obj{})
			continue
		}
		c.connected()
		same(t, "who", c.call("who"), list{"eve"})
		same(t, "what Express reads", got["session"], obj{"passport": obj{"user": "eve"}})
		s.page(http.MethodPost, "/logout", cookie, nil)
		same(t, "is disconnected", c.wait("disconnect", 1), list{"io server disconnect"})
	}
}
