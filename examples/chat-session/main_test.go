package main

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/client"
	"github.com/sockeye-io/sockeye/internal/harness"
	"github.com/sockeye-io/sockeye/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// browser is one browser: it keeps the cookie, and has tabs with sockets.
type browser struct {
	t      *testing.T
	cookie *http.Cookie
}

// do asks for a page, or sends a form, and gives the status and the page.
func (b *browser) do(method, target string, form url.Values) (int, string) {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), method, target, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if b.cookie != nil {
		r.AddCookie(b.cookie)
	}
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, c := range res.Cookies() {
		b.cookie = &http.Cookie{Name: c.Name, Value: c.Value}
	}
	return res.StatusCode, string(text)
}

func (b *browser) login(at, name string) {
	b.t.Helper()
	if code, text := b.do(http.MethodPost, at+"/login", url.Values{"name": {name}}); code != http.StatusSeeOther {
		b.t.Fatalf("login: %d %s", code, text)
	}
}

// shows checks that the page has all of these texts.
func (b *browser) shows(at string, texts ...string) {
	b.t.Helper()
	code, page := b.do(http.MethodGet, at+"/", nil)
	for _, want := range texts {
		if code != http.StatusOK || !strings.Contains(page, want) {
			b.t.Errorf("the page is without %q:\n%s", want, page)
		}
	}
}

func (b *browser) header(c *client.Config) {
	c.Header = http.Header{}
	if b.cookie != nil {
		c.Header.Set("Cookie", b.cookie.Name+"="+b.cookie.Value)
	}
	c.Reconnect.Disabled = true
}

type tab struct {
	*harness.Client
	lines chan line
	gone  chan client.Reason
}

func (b *browser) open(at string) tab {
	b.t.Helper()
	c := harness.Connect(b.t, at, b.header)
	n := tab{c, make(chan line, 100), make(chan client.Reason, 1)}
	c.OnDisconnect(func(r client.Reason, _ error) { n.gone <- r })
	c.On("message", client.HandlerFunc(func(_ context.Context, m *client.Message) error {
		var l line
		err := m.Scan(&l)
		n.lines <- l
		return err
	}))
	return n
}

// want waits for the next line, which must be this one. That somebody is here comes when it comes.
func (c tab) want(t *testing.T, from, text string) {
	t.Helper()
	for limit := time.After(testkit.Scale(30 * time.Second)); ; {
		select {
		case got := <-c.lines:
			if got == (line{from, text}) {
				return
			}
			if got.Text != "is here" {
				t.Fatalf("heard %v, want %s %s", got, from, text)
			}
		case <-limit:
			t.Fatalf("heard nothing, want %s %s", from, text)
		}
	}
}

func (c tab) emit(t *testing.T, event, text string) {
	t.Helper()
	if err := c.Emit(event, text); err != nil {
		t.Fatal(err)
	}
}

func (c tab) wantGone(t *testing.T) {
	t.Helper()
	select {
	case r := <-c.gone:
		if r != client.ReasonServerDisconnect {
			t.Errorf("disconnected for %q", r)
		}
	case <-time.After(testkit.Scale(30 * time.Second)):
		t.Fatal("still connected")
	}
}

// refused checks that a browser's sockets are not let in.
func (b *browser) refused(at string) {
	b.t.Helper()
	var config client.Config
	b.header(&config)
	if s, err := client.Dial(b.t.Context(), at, config); err == nil {
		b.t.Errorf("connected as %s", s.ID())
		_ = s.Manager().Close() // always nil
	}
}

// chat is the story, on two servers that may be one.
func chat(t *testing.T, here, there string) {
	t.Helper()
	ann, bob := &browser{t: t}, &browser{t: t}
	ann.refused(here)
	ann.shows(here, "Log in")
	ann.login(here, "ann")
	ann.shows(there, `<b id="name">ann</b>`, `<span id="said">0</span>`)
	one := ann.open(here)
	two := ann.open(there)
	one.want(t, "ann", "is here")
	bob.login(there, "bob <b>")
	his := bob.open(there)
	one.want(t, "bob <b>", "is here")
	two.want(t, "bob <b>", "is here")

	two.emit(t, "say", "hello")
	for _, c := range []tab{one, two, his} {
		c.want(t, "ann", "hello")
	}
	one.emit(t, "rename", "ada")
	for _, c := range []tab{one, two, his} {
		c.want(t, "ann", "is now ada")
	}
	two.emit(t, "say", "me again") // after it the session has what one has written
	for _, c := range []tab{one, two, his} {
		c.want(t, "ada", "me again")
	}
	testkit.Eventually(t, "the page shows what the sockets wrote", func() bool {
		_, page := ann.do(http.MethodGet, here+"/", nil)
		return strings.Contains(page, `<b id="name">ada</b>`) && strings.Contains(page, `<span id="said">2</span>`)
	})
	bob.shows(here, "bob &lt;b&gt;", `<span id="said">0</span>`)

	old := *ann.cookie
	if code, _ := ann.do(http.MethodPost, there+"/logout", nil); code != http.StatusSeeOther {
		t.Errorf("logout: %d", code)
	}
	one.wantGone(t)
	two.wantGone(t)
	ann.refused(here)
	(&browser{t: t, cookie: &old}).refused(there)
	his.emit(t, "say", "bye")
	his.want(t, "bob <b>", "bye")
}

func TestChat_InMemory(t *testing.T) {
	t.Parallel()
	p := harness.Start(t, harness.Build(t, "."), "-addr", "127.0.0.1:0")
	chat(t, p.URL, p.URL)
}

func TestChat_TwoServers(t *testing.T) {
	t.Parallel()
	redis := testkit.StartRedis(t)
	bin := harness.Build(t, ".")
	start := func() *harness.Program { return harness.Start(t, bin, "-addr", "127.0.0.1:0", "-redis", redis.URL()) }
	here, there := start(), start()
	chat(t, here.URL, there.URL)

	// A login outlives the server on which it was made.
	eve := &browser{t: t}
	eve.login(here.URL, "eve")
	lost := eve.open(here.URL)
	here.Kill()
	select {
	case <-lost.gone:
	case <-time.After(testkit.Scale(30 * time.Second)):
		t.Fatal("the server that was killed keeps its client")
	}
	eve.shows(there.URL, `<b id="name">eve</b>`)
	again := eve.open(start().URL)
	again.emit(t, "say", "still me")
	again.want(t, "eve", "still me")
}

func TestClip(t *testing.T) {
	t.Parallel()
	if got := clip(strings.Repeat("\u20ac", longest)); len(got) != 498 {
		t.Errorf("%d bytes", len(got))
	}
}
