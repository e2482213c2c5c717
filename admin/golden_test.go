package admin

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/client"
	"github.com/sockeye-io/sockeye/internal/testkit"
)

// step is what a page got until something else was done.
type step struct {
	events []event
}

// steps cuts the log of a capture where something else was done.
func (c *capture) steps(t *testing.T) (all []step) {
	t.Helper()
	all = []step{{}}
	for _, raw := range c.Log {
		var e struct {
			To, From, Event string
			Args            []any
		}
		if json.Unmarshal(raw, &e) != nil { // a remark
			if len(all[len(all)-1].events) > 0 {
				all = append(all, step{})
			}
			continue
		}
		switch {
		case e.From != "":
			if len(all[len(all)-1].events) > 0 {
				all = append(all, step{})
			}
		case e.To != "" && e.Event != "server_stats" && e.Event != "session":
			last := &all[len(all)-1]
			last.events = append(last.events, event{e.Event, e.Args})
		}
	}
	return all
}

var (
	dates = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$`)
	times = regexp.MustCompile(`^\w{3} \w{3} \d\d \d{4} \d\d:\d\d:\d\d GMT\+0000 \(Coordinated Universal Time\)$`)
	ids   = regexp.MustCompile(`^[\w-]{20}$`)
	short = regexp.MustCompile(`^[\w-]{12}$`)
)

// plain replaces what differs from run to run: ids by their numbers, and dates.
type plain struct {
	seen map[string]int
}

func (p *plain) number(s string) string {
	n, ok := p.seen[s]
	if !ok {
		n = len(p.seen)
		p.seen[s] = n
	}
	return fmt.Sprintf("#%d", n)
}

func (p *plain) value(key string, v any) any {
	switch v := v.(type) {
	case string:
		switch {
		case dates.MatchString(v):
			return "<date>"
		case times.MatchString(v):
			return "<time>"
		case ids.MatchString(v), short.MatchString(v) && key == "clientId":
			return p.number(v)
		case key == "url":
			return strings.SplitN(v, "?", 2)[0]
		case key == "address" && v != "203.0.113.7":
			return "<address>"
		}
		return v
	case []byte:
		return map[string]any{"$bin": hex.EncodeToString(v)}
	case float64:
		if key == "issued" {
			return "<issued>"
		}
	case []any:
		for i := range v {
			v[i] = p.value("", v[i])
		}
	case map[string]any:
		for k, x := range v {
			v[k] = p.value(k, x)
		}
		if key == "headers" { // clients differ
			if _, ok := v["host"]; !ok {
				return "no host"
			}
			return "<headers>"
		}
		if key == "query" {
			return map[string]any{"EIO": v["EIO"], "q": v["q"], "transport": v["transport"]}
		}
	}
	return v
}

// TestGolden_Development does what was done when the official package was captured, and holds what a page gets against it,
// in order.
func TestGolden_Development(t *testing.T) {
	t.Parallel()
	golden := captures(t, "development mode")
	want := golden.steps(t)
	s := setup(t, Options{Open: true, Write: true}, sockeye.Config{TrustProxy: func(*http.Request) bool { return true }})
	s.io.Of("/chat")
	s.io.OfFunc(dynamic)
	s.io.OnConnection(scenario)
	ours, theirs := plain{map[string]int{}}, plain{map[string]int{}}

	var page *peer
	at := 0
	check := func(what string) {
		t.Helper()
		var got, wanted []string
		for _, w := range want[at].events {
			got = append(got, text2json(t, event2any(page.take(t), &ours)))
			wanted = append(wanted, text2json(t, event2any(w, &theirs)))
		}
		if at == len(want)-2 { // rooms are left in no order
			slices.Sort(got[1:])
			slices.Sort(wanted[1:])
		}
		same(t, what, got, wanted)
		at++
	}
	page = s.page(nil)
	check("a page connects")
	c := s.join("/", client.Config{
		Transports: []string{"polling", "websocket"}, Query: url.Values{"q": {"1"}},
		Header: http.Header{"X-Forwarded-For": {"203.0.113.7"}},
	})
	check("a client connects")
	if _, err := c.EmitWithAck(t.Context(), "ping me"); err != nil {
		t.Fatal(err)
	}
	do := func(name string, args ...any) {
		t.Helper()
		if err := c.Emit(name, args...); err != nil {
			t.Fatal(err)
		}
	}
	do("bin")
	check("events")
	sock, _ := s.io.Of("/").Socket(c.ID())
	sock.SetData(map[string]any{"user": "eve"})
	sock.SetData(map[string]any{"user": "eve", "obj": map[string]any{"a": 1}})
	sock.SetData(map[string]any{"user": "eve", "obj": map[string]any{"a": 2}})
	check("data")
	if err := sock.Join("r2"); err != nil {
		t.Fatal(err)
	}
	if err := sock.Leave("r2"); err != nil {
		t.Fatal(err)
	}
	check("rooms")
	dyn := c.Manager().Socket("/dyn-7")
	if err := dyn.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	check("a dynamic namespace")
	for _, order := range [][]any{
		{"join", "/", "vip", c.ID()},
		{"join", "/", "everyone"},
		{"leave", "/", "vip", c.ID()},
		{"emit", "/", c.ID(), "hello", 1, map[string]int{"x": 2}},
		{"emit", "/", nil, "broadcasted"},
		{"_disconnect", "/dyn-7", false, nil},
		{"_disconnect", "/", true, c.ID()},
	} {
		if err := page.Emit(order[0].(string), order[1:]...); err != nil {
			t.Fatal(err)
		}
		check(fmt.Sprint(order))
	}
	if at != len(want)-1 {
		t.Errorf("%d steps of %d", at, len(want)-1)
	}
	testkit.Eventually(t, "the client is gone", func() bool { return c.reason() == client.ReasonServerDisconnect })
}

// take gives the first event that came, but statistics, and waits for it.
func (p *peer) take(t *testing.T) (e event) {
	t.Helper()
	testkit.Eventually(t, "an event", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		for len(p.events) > 0 {
			e, p.events = p.events[0], p.events[1:]
			if e.name != "server_stats" {
				return true
			}
		}
		return false
	})
	return e
}

func event2any(e event, p *plain) any { return []any{e.name, p.value("", e.args)} }

// orders is the nesting of the keys of a JSON text, in their order.
func orders(t *testing.T, text []byte) string {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(string(text)))
	var keys []string
	var walk func()
	walk = func() {
		tok, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		switch tok {
		case json.Delim('{'):
			for d.More() {
				key, err := d.Token()
				if err != nil {
					t.Fatal(err)
				}
				keys = append(keys, fmt.Sprint(key))
				if key == "headers" || key == "query" || key == "data" || key == "aggregatedEvents" { // these differ
					var skipped json.RawMessage
					if err := d.Decode(&skipped); err != nil {
						t.Fatal(err)
					}
					continue
				}
				walk()
			}
			_, _ = d.Token() // the end of it
		case json.Delim('['):
			if d.More() {
				walk() // elements are alike
			}
			for d.More() {
				var skipped json.RawMessage
				if err := d.Decode(&skipped); err != nil {
					t.Fatal(err)
				}
			}
			_, _ = d.Token() // the end of it
		}
	}
	walk()
	return strings.Join(keys, " ")
}

// TestGolden_Frames holds the text of frames against that of the official package: the same events in the same order,
// with the same keys in theirs. The answer to CONNECT comes first, and the event that the page has joined its room after
// it.
func TestGolden_Frames(t *testing.T) {
	t.Parallel()
	s := setup(t, Options{Open: true, Write: true})
	frames := s.raw("/admin")
	names := func(texts []string) (all []string, keys map[string]string) {
		keys = map[string]string{}
		for _, f := range texts {
			name, args, ok := strings.Cut(strings.TrimPrefix(f, `2/admin,["`), `",`)
			if !ok || !strings.HasPrefix(f, "2/admin,") {
				continue
			}
			if name != "server_stats" {
				all = append(all, name)
			}
			if args = strings.TrimSuffix(args, "]"); strings.HasPrefix(args, "{") || strings.HasPrefix(args, "[") {
				keys[name] = orders(t, []byte("["+args+"]"))
			}
		}
		return all, keys
	}
	var golden []string
	for _, f := range captures(t, "raw frames").Frames {
		golden = append(golden, strings.TrimPrefix(f.Text, "4"))
	}
	wantNames, wantKeys := names(golden)
	var gotNames []string
	var gotKeys map[string]string
	testkit.Eventually(t, "all events", func() bool {
		gotNames, gotKeys = names(frames())
		return len(gotNames) >= len(wantNames) && gotKeys["server_stats"] != ""
	})
	same(t, "events", gotNames, wantNames)
	same(t, "keys", gotKeys, wantKeys)
	if first := frames()[0]; !strings.HasPrefix(first, `0/admin,{"sid":"`) {
		t.Errorf("first packet %s", first)
	}
}

func TestGolden_Features(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"production mode", "readonly", "development mode"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := captures(t, name)
			s := setup(t, Options{Open: true, Write: !c.Options.ReadOnly, Mode: Mode(c.Options.Mode)})
			page := s.page(nil)
			var want event
			for _, st := range c.steps(t) {
				for _, e := range st.events {
					if e.name == "config" {
						want = e
					}
				}
			}
			same(t, "config", page.find("config", nil), want.args)
			page.find("server_stats", nil)
			if c.Options.Mode == string(Production) {
				for _, e := range page.all() {
					if e.name != "config" {
						t.Errorf("got %s", e.name)
					}
				}
			}
		})
	}
}
