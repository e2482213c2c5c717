package httpsession_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/client"
	"github.com/sockeye-io/sockeye/httpsession"
	"github.com/sockeye-io/sockeye/httpsession/express"
	"github.com/sockeye-io/sockeye/internal/testkit"
)

const (
	name  httpsession.Key[string] = "name"
	count httpsession.Key[int]    = "count"
)

// handlers registers what the tests ask for.
func (s *site) handlers() {
	s.io.On("name", sockeye.HandlerFunc(func(ctx context.Context, m *sockeye.Message) error {
		v, ok, err := name.Get(ctx)
		if errors.Is(err, httpsession.ErrNoSession) {
			return m.Ack("nobody")
		} else if err != nil {
			return err
		}
		if !ok {
			v = "no name"
		}
		return m.Ack(v)
	}))
	s.io.On("rename", sockeye.HandlerFunc(func(ctx context.Context, m *sockeye.Message) error {
		var v string
		if err := m.Scan(&v); err != nil {
			return err
		}
		if err := name.Set(ctx, v); err != nil {
			return err
		}
		if err := httpsession.From(ctx).Save(ctx); err != nil { // before the client is told
			return err
		}
		return m.Ack("done")
	}))
	s.io.On("add", sockeye.HandlerFunc(func(ctx context.Context, m *sockeye.Message) error {
		err := httpsession.From(ctx).Update(ctx, func(*httpsession.Session) error {
			n, _, err := count.Get(ctx)
			if err != nil {
				return err
			}
			return count.Set(ctx, n+1)
		})
		if err != nil {
			return err
		}
		return m.Ack("done")
	}))
	s.io.On("logout", sockeye.HandlerFunc(func(ctx context.Context, _ *sockeye.Message) error {
		return httpsession.From(ctx).Destroy(ctx)
	}))
}

func (s *site) value(ref httpsession.Ref, key string) any {
	s.t.Helper()
	rec, err := s.backend.Load(within(s.t), ref)
	if err != nil {
		s.t.Fatal(err)
	}
	var v any
	if _, err := rec.Get(key, &v); err != nil {
		s.t.Fatal(err)
	}
	return v
}

func TestSessions_ReadAndWritten(t *testing.T) {
	t.Parallel()
	for _, lazy := range []bool{false, true} {
		s := newSite(t, parts{config: httpsession.Config{Lazy: lazy}})
		s.handlers()
		s.io.On("quietly", sockeye.HandlerFunc(func(ctx context.Context, _ *sockeye.Message) error { return name.Set(ctx, "quiet") }))
		s.io.On("forget", sockeye.HandlerFunc(func(ctx context.Context, _ *sockeye.Message) error {
			if err := name.Delete(ctx); err != nil {
				return err
			}
			return errExpected // what it has changed is saved all the same
		}))
		c, ref := s.login(map[string]any{"name": "ann", "other": 1})
		v := s.visit(c)
		if got := v.ask("name"); got != "ann" {
			t.Fatalf("name %v", got)
		}
		v.ask("rename", "bob")
		if got := s.value(ref, "name"); got != "bob" {
			t.Errorf("stored %v", got)
		}
		if err := v.Emit("quietly"); err != nil {
			t.Fatal(err)
		}
		if got := v.ask("name"); got != "quiet" {
			t.Errorf("name %v", got)
		}
		// What the web application writes is there for the next event.
		rec, err := s.backend.Load(within(t), ref)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(rec.Set("name", "web"), rec.Save(within(t), false)); err != nil {
			t.Fatal(err)
		}
		if got := v.ask("name"); got != "web" {
			t.Errorf("name %v", got)
		}
		if err := v.Emit("forget"); err != nil {
			t.Fatal(err)
		}
		if got := v.ask("name"); got != "no name" {
			t.Errorf("name %v", got)
		}
		if got := s.value(ref, "other"); got != json.Number("1") {
			t.Errorf("other %v", got)
		}
	}
}

func TestSessions_RefusedTheSame(t *testing.T) {
	t.Parallel()
	s := newSite(t, parts{})
	s.handlers()
	other, err := express.New(express.Config{Secrets: []string{"quite another secret"}})
	if err != nil {
		t.Fatal(err)
	}
	good, ref := s.login(nil)
	foreign, err := other.Create(t.Context(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	ended, endedRef := s.login(nil)
	if err := s.backend.Delete(t.Context(), endedRef); err != nil {
		t.Fatal(err)
	}
	with := func(value string) *http.Cookie { return &http.Cookie{Name: good.Name, Value: value} }
	for what, c := range map[string]*http.Cookie{
		"no cookie": nil,
		"empty":     with(""),
		"unsigned":  with(ref.Key),
		"forged":    with("s%3A" + ref.Key + ".AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
		"truncated": with(good.Value[:len(good.Value)-1]),
		"foreign":   foreign,
		"ended":     ended,
		"of others": {Name: "session", Value: good.Value},
	} {
		v, err := s.dial(c)
		var ce *client.ConnectError
		if v != nil || !errors.As(err, &ce) || ce.Message != "unauthorized" || !ce.Data.IsZero() {
			t.Errorf("%s: %v, %v", what, v, err)
		}
	}
	s.visit(good)
}

func TestSessions_Anonymous(t *testing.T) {
	t.Parallel()
	s := newSite(t, parts{config: httpsession.Config{Anonymous: true, CheckInterval: -1, TouchInterval: -1}})
	s.handlers()
	c, ref := s.login(map[string]any{"name": "ann"})
	if got := s.visit(nil).ask("name"); got != "nobody" {
		t.Errorf("without a cookie: %v", got)
	}
	if got := s.visit(&http.Cookie{Name: c.Name, Value: "x" + c.Value}).ask("name"); got != "nobody" {
		t.Errorf("with a forged one: %v", got)
	}
	if got := s.visit(c).ask("name"); got != "ann" {
		t.Errorf("with a cookie: %v", got)
	}
	if err := s.backend.Delete(t.Context(), ref); err != nil {
		t.Fatal(err)
	}
	if got := s.visit(c).ask("name"); got != "nobody" {
		t.Errorf("after the session: %v", got)
	}
	if n, err := s.io.To(httpsession.Room(ref.Key)).Count(within(t)); err != nil || n != 1 { // the one that has had a session
		t.Errorf("%d sockets in the room, %v", n, err)
	}
}

// failing is a Store that can be out of order.
type failing struct {
	*httpsession.Memory
	down  atomic.Bool
	calls atomic.Int64
}

var errDown = errors.New("down")

func (f *failing) Get(ctx context.Context, id string) ([]byte, error) {
	f.calls.Add(1)
	if f.down.Load() {
		return nil, errDown
	}
	return f.Memory.Get(ctx, id)
}

func TestSessions_StoreFails(t *testing.T) {
	t.Parallel()
	store := &failing{Memory: httpsession.NewMemory()}
	s := newSite(t, parts{store: store, config: httpsession.Config{Anonymous: true, CheckInterval: 50 * time.Millisecond}})
	ran := make(chan struct{}, 1)
	s.io.On("run", sockeye.HandlerFunc(func(context.Context, *sockeye.Message) error { ran <- struct{}{}; return nil }))
	c, _ := s.login(nil)
	v := s.visit(c)
	store.down.Store(true)
	var ce *client.ConnectError
	if _, err := s.dial(c); !errors.As(err, &ce) || ce.Message != "session unavailable" {
		t.Errorf("connects with %v", err)
	}
	before := store.calls.Load()
	testkit.Eventually(t, "the keeper asks", func() bool { return store.calls.Load() > before+2 })
	store.down.Store(false)
	if err := v.Emit("run"); err != nil {
		t.Fatal(err)
	}
	<-ran
	select {
	case r := <-v.gone:
		t.Errorf("disconnected for %s", r)
	default:
	}
}

// Update loses no change, whoever else writes.
func TestSession_UpdateCounts(t *testing.T) {
	t.Parallel()
	a, b := twoSites(t, httpsession.Config{})
	a.handlers()
	b.handlers()
	c, ref := a.login(map[string]any{"count": 0, "name": "ann"})
	clients := []*visitor{a.visit(c), a.visit(c), b.visit(c)}
	const each = 10
	var all sync.WaitGroup
	for _, v := range clients {
		all.Go(func() {
			for range each {
				r, err := v.EmitWithAck(within(t), "add")
				if err != nil {
					t.Errorf("add: %v", err)
					return
				}
				_ = r
			}
		})
	}
	all.Wait()
	if got := a.value(ref, "count"); got != json.Number("30") {
		t.Errorf("count %v", got)
	}
	if got := a.value(ref, "name"); got != "ann" {
		t.Errorf("name %v", got)
	}
}

func TestSession_TextAndUser(t *testing.T) {
	t.Parallel()
	s := newSite(t, parts{config: httpsession.Config{Anonymous: true}})
	c, _ := s.login(map[string]any{
		"passport": map[string]any{"user": "u-7", "n": 9007199254740993, "deep": map[string]any{"er": "x"}}, "a.b": "dotted", "empty": "",
	})
	r := &http.Request{Header: withCookie(c)}
	sess, err := s.sessions.Request(r.WithContext(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"passport.user": "u-7", "passport.n": "9007199254740993", "passport.deep.er": "x", "a.b": "dotted", "passport": "", "empty": "",
		"passport.user.x": "", "none": "", "none.x": "", "": "", ".": "",
	} {
		if got, ok, err := sess.Text(t.Context(), path); err != nil || got != want || ok != (want != "") {
			t.Errorf("%q: %q, %v, %v", path, got, ok, err)
		}
	}
	user := s.sessions.User("passport.user")
	type answer struct {
		user string
		err  error
	}
	answers := make(chan answer, 1)
	s.io.Use(func(ctx context.Context, sock *sockeye.Socket) error {
		u, err := user(ctx, sock)
		answers <- answer{u, err}
		return nil
	})
	s.visit(c)
	if got := <-answers; got.user != "u-7" || got.err != nil {
		t.Errorf("user %v", got)
	}
	s.visit(nil)
	if got := <-answers; !errors.Is(got.err, httpsession.ErrNoSession) {
		t.Errorf("user %v", got)
	}
	if _, err := s.sessions.Request(&http.Request{}); !errors.Is(err, httpsession.ErrNoSession) {
		t.Errorf("no cookie: %v", err)
	}
}

func TestSession_Nil(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := httpsession.From(ctx)
	if s != nil || s.Ref() != (httpsession.Ref{}) {
		t.Fatalf("a session: %v", s)
	}
	var v any
	_, err1 := s.Get(ctx, "a", &v)
	_, _, err2 := s.Text(ctx, "a")
	_, err3 := s.Context(ctx)
	_, _, err4 := name.Get(ctx)
	for i, err := range []error{
		err1, err2, err3, err4, s.Set(ctx, "a", 1), s.Delete(ctx, "a"), s.Save(ctx), s.Reload(ctx), s.Destroy(ctx),
		s.Update(ctx, func(*httpsession.Session) error { return nil }), name.Set(ctx, "x"), name.Delete(ctx),
	} {
		if !errors.Is(err, httpsession.ErrNoSession) {
			t.Errorf("%d: %v", i, err)
		}
	}
}

// Nothing of a session is in what other servers are told of a socket, but the Cookie header.
func TestSessions_NotFetched(t *testing.T) {
	t.Parallel()
	a, b := twoSites(t, httpsession.Config{})
	a.handlers()
	c, ref := a.login(map[string]any{"name": "a-very-private-name"})
	v := a.visit(c)
	if got := v.ask("name"); got != "a-very-private-name" {
		t.Fatalf("name %v", got)
	}
	var sockets []*sockeye.RemoteSocket
	testkit.Eventually(t, "the socket is found", func() bool {
		var err error
		sockets, err = b.io.Of("/").All().FetchSockets(t.Context())
		return err == nil && len(sockets) == 1
	})
	sockets[0].Handshake.Headers.Del("Cookie")
	text, err := json.Marshal(struct{ H, D, R any }{sockets[0].Handshake, sockets[0].Data, sockets[0].Rooms})
	if err != nil {
		t.Fatal(err)
	}
	for _, private := range []string{ref.Key, "a-very-private-name"} {
		if strings.Contains(string(text), private) {
			t.Errorf("%s has %s", text, private)
		}
	}
	if want := []string{sockets[0].ID, httpsession.Room(ref.Key)}; !reflect.DeepEqual(sockets[0].Rooms, want) {
		t.Errorf("rooms %v, want %v", sockets[0].Rooms, want)
	}
}

// Who knows a key has the session: it is in no text and no log.
func TestRef_Hides(t *testing.T) {
	t.Parallel()
	ref := httpsession.Ref{Key: "key-of-a-session", Token: "token-of-a-session"}
	var logged strings.Builder
	slog.New(slog.NewTextHandler(&logged, nil)).Info("x", slog.Any("session", ref))
	text, err := json.Marshal(ref)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{
		logged.String(), string(text), ref.String(), fmt.Sprint(ref), fmt.Sprintf("%v %+v %#v %s %q", ref, ref, ref, ref, ref), httpsession.Room(ref.Key),
	} {
		if strings.Contains(s, "-of-a-session") || s == "" {
			t.Errorf("%q tells the session", s)
		}
	}
	// As a Node program computes it.
	if got, want := httpsession.Room("abc"), "sockeye-session:ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0"; got != want {
		t.Errorf("room %s, want %s", got, want)
	}
}

// Namespaces that have the sessions end with them, those of the same connection too.
func TestSessions_Namespaces(t *testing.T) {
	t.Parallel()
	s := newSite(t, parts{config: httpsession.Config{CheckInterval: -1}})
	s.handlers()
	parent := s.io.OfRegexp(regexp.MustCompile("^/dynamic-"))
	s.sessions.UseParent(parent)
	who := func(ctx context.Context, m *sockeye.Message) error {
		v, _, err := name.Get(ctx)
		if err != nil {
			return err
		}
		return m.Ack(v)
	}
	parent.On("name", sockeye.HandlerFunc(who))
	s.sessions.Use(s.io.Of("/more"))
	s.io.Of("/more").On("name", sockeye.HandlerFunc(who))
	c, ref := s.login(map[string]any{"name": "ann"})
	for _, namespaces := range [][]string{{"/dynamic-1"}, {"/more"}, {"/", "/dynamic-1", "/more"}} {
		m, err := client.New(s.url, client.Config{Header: withCookie(c), Reconnect: client.Reconnect{Disabled: true}})
		if err != nil {
			t.Fatal(err)
		}
		var all []*visitor
		for _, n := range namespaces {
			v := &visitor{Socket: m.Socket(n), t: t, gone: make(chan client.Reason, 1)}
			v.OnDisconnect(func(r client.Reason, _ error) { v.gone <- r })
			if err := v.Connect(within(t)); err != nil {
				t.Fatal(err)
			}
			if got := v.ask("name"); got != "ann" {
				t.Errorf("%s: name %v", n, got)
			}
			all = append(all, v)
		}
		if err := s.sessions.Disconnect(within(t), ref.Key); err != nil {
			t.Fatal(err)
		}
		for _, v := range all {
			select {
			case <-v.gone:
			case <-within(t).Done():
				t.Fatalf("%v: still connected", namespaces)
			}
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := s.backend.Load(t.Context(), ref); err != nil { // Disconnect is no logout
		t.Error(err)
	}
}

func TestNew_Refuses(t *testing.T) {
	t.Parallel()
	if _, err := httpsession.New(nil, httpsession.Config{}); err == nil {
		t.Error("no Backend is taken")
	}
}
