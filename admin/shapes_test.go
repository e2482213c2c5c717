package admin

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/sockeye-io/sockeye/client"
	"github.com/sockeye-io/sockeye/parser"
)

// Secrets of a handshake are shown to nobody: T25.
func TestShapes_Redacted(t *testing.T) {
	t.Parallel()
	s := setup(t, Options{Open: true, Redact: []string{"X-Tenant", "Visitor"}})
	p := s.page(nil)
	const secret = "swordfish"
	s.join("/", client.Config{
		Header: http.Header{
			"Cookie": {"connect.sid=" + secret}, "Authorization": {"Bearer " + secret}, "X-Api-Key": {secret},
			"X-Tenant": {secret}, "X-Auth-Token": {secret}, "X-Plain": {"shown", "twice"},
		},
		Query: url.Values{"token": {secret}, "access_token": {secret}, "visitor": {secret}, "q": {"shown too"}, "Password": {secret}},
		Auth:  map[string]any{"token": secret},
	})
	isMain := func(args []any) bool { return args[0].(map[string]any)["nsp"] == "/" }
	info := p.find("socket_connected", isMain)
	if text := text2json(t, info); strings.Contains(text, secret) {
		t.Errorf("shown: %s", text)
	}
	h := info[0].(map[string]any)["handshake"].(map[string]any)
	headers, query := h["headers"].(map[string]any), h["query"].(map[string]any)
	for name, want := range map[string]string{
		"cookie": redacted, "authorization": redacted, "x-api-key": redacted, "x-tenant": redacted, "x-auth-token": redacted,
		"x-plain": "shown, twice",
	} {
		if headers[name] != want {
			t.Errorf("header %s: %v", name, headers[name])
		}
	}
	for name, want := range map[string]string{"token": redacted, "visitor": redacted, "q": "shown too", "EIO": "4", "Password": redacted} {
		if query[name] != want {
			t.Errorf("query %s: %v", name, query[name])
		}
	}
	if target, _ := h["url"].(string); !strings.Contains(target, "q=shown+too") || !strings.Contains(target, "token="+redacted) {
		t.Errorf("url %s", target)
	}
	list := s.page(nil).find("all_sockets", nil)
	if text := text2json(t, list); strings.Contains(text, secret) || !strings.Contains(text, "shown too") {
		t.Errorf("listed: %s", text)
	}
}

func TestRedactor_URL(t *testing.T) {
	t.Parallel()
	r := newRedactor([]string{"Mine"})
	for target, want := range map[string]string{
		"/socket.io/":                 "/socket.io/",
		"/socket.io/?":                "/socket.io/?",
		"/x?EIO=4&sid=abc&t=1":        "/x?EIO=4&sid=[redacted]&t=1",
		"/x?%74oken=abc":              "/x?%74oken=[redacted]",
		"/x?a%zz=abc&b":               "/x?a%zz=[redacted]&b",
		"/x?token":                    "/x?token=[redacted]",
		"/x?mine=1&MINE=2&mined=3":    "/x?mine=[redacted]&MINE=[redacted]&mined=3",
		"/x?token=a?b=c":              "/x?token=[redacted]",
		"/x?my-refresh-token=a&key=b": "/x?my-refresh-token=[redacted]&key=[redacted]",
	} {
		if got := r.url(target); got != want {
			t.Errorf("%s: %s, want %s", target, got, want)
		}
	}
}

func FuzzRedactor_URL(f *testing.F) {
	for _, seed := range []string{"/x?token=swordfish", "/x?a=1&t%6fken=swordfish&b", "/?&=&==", "/x", "/x?token#=a"} {
		f.Add(seed)
	}
	r := newRedactor(nil)
	f.Fuzz(func(t *testing.T, target string) {
		got := r.url(target)
		u, err := url.ParseRequestURI(got)
		if err != nil || len(got) > maxField { // it is cut off
			return
		}
		for name, values := range u.Query() {
			for _, v := range values {
				if r.hides(name) && v != redacted {
					t.Errorf("%q gives %q: %q is %q", target, got, name, v)
				}
			}
		}
	})
}

func TestDataOf(t *testing.T) {
	t.Parallel()
	type user struct {
		Name string `json:"name"`
	}
	of := adminData{"abcdefghijkl", "polling"}
	with := map[string]any{dataKey: map[string]any{"clientId": "abcdefghijkl", "transport": "polling"}, "a": 1}
	for name, c := range map[string]struct {
		v    any
		want string
		of   adminData
	}{
		"nothing":           {nil, `{}`, adminData{}},
		"an absent one":     {parser.Arg{}, `{}`, adminData{}},
		"null":              {parser.RawJSON([]byte("null")), `{}`, adminData{}},
		"text":              {"x", `"x"`, adminData{}},
		"a list":            {[]int{1}, `[1]`, adminData{}},
		"a struct":          {user{"Ann"}, `{"name":"Ann"}`, adminData{}},
		"that of a server":  {with, `{"a":1}`, of},
		"that of another":   {parser.RawJSON([]byte(`{"_admin":{"clientId":"abcdefghijkl","transport":"polling"}}`)), `{}`, of},
		"another _admin":    {map[string]any{"_admin": "x", "b": true}, `{"b":true}`, adminData{}},
		"wrong types in it": {map[string]any{"_admin": map[string]any{"clientId": 1, "transport": nil}}, `{}`, adminData{}},
		"not to be encoded": {func() {}, `{"...":"[cannot be encoded]"}`, adminData{}},
		"too big":           {map[string]string{"x": strings.Repeat("x", maxShown)}, `{"...":"[16390 bytes]"}`, adminData{}},
	} {
		got, of := dataOf(c.v)
		b, err := got.AppendJSON(nil)
		if err != nil || string(b) != c.want || of != c.of {
			t.Errorf("%s: %s, %+v, %v", name, b, of, err)
		}
	}
	if _, ok := with[dataKey]; !ok {
		t.Error("the data itself was changed")
	}
}

// What other servers get of a socket has its client and transport, and else is what the application has set.
func TestWithAdminData(t *testing.T) {
	t.Parallel()
	s := setup(t, Options{Open: true})
	c := s.join("/", client.Config{})
	sock, _ := s.io.Of("/").Socket(c.ID())
	own := `"_admin":{"clientId":"` + sock.ClientID() + `","transport":"websocket"}`
	for name, c := range map[string]struct {
		v    any
		want string
	}{
		"nothing":       {nil, `{` + own + `}`},
		"null":          {json.RawMessage("null"), `{` + own + `}`},
		"an object":     {json.RawMessage(`{"big":9007199254740993}`), `{` + own + `,"big":9007199254740993}`},
		"an empty one":  {struct{}{}, `{` + own + `}`},
		"text":          {"x", `"x"`},
		"a list":        {[]int{}, `[]`},
		"of old":        {json.RawMessage(`{"_admin":{"transport":"polling"}}`), `{` + own + `}`},
		"with spaces":   {parser.RawJSON([]byte(" { } ")), `{` + own + `}`},
		"nested _admin": {json.RawMessage(`{"a":{"_admin":1}}`), `{` + own + `,"a":{"_admin":1}}`},
	} {
		sock.SetData(c.v)
		all, err := s.io.Of("/").All().FetchSockets(t.Context())
		must(t, err)
		b, err := all[0].Data.AppendJSON(nil)
		must(t, err)
		if got := strings.ReplaceAll(string(b), " ", ""); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	sock.SetData(map[string]any{"bytes": []byte{1}})
	all, err := s.io.Of("/").All().FetchSockets(t.Context())
	must(t, err)
	var got struct {
		Admin adminData `json:"_admin"`
		Bytes []byte    `json:"bytes"`
	}
	must(t, all[0].Data.Scan(&got))
	if len(got.Bytes) != 1 || got.Admin.Transport != "websocket" {
		t.Errorf("binary: %+v", got)
	}
	sock.SetData(func() {})
	if v := withAdminData(sock, parser.Value(sock.Data())); v.IsZero() {
		t.Error("data that cannot be encoded is gone")
	}
	sock.SetData(nil)
}

func TestEventArgs(t *testing.T) {
	t.Parallel()
	args := []parser.Arg{parser.Value(1), parser.Value(strings.Repeat("x", maxShown)), parser.Value(func() {}), {}}
	same(t, "arguments", eventArgs("name", args), []any{"name", 1, "[16387 bytes]", "[cannot be encoded]", nil})
	many := eventArgs("name", make([]parser.Arg, 100))
	if len(many) != 66 {
		t.Errorf("%d arguments", len(many))
	}
	same(t, "the last", many[65], "[36 more]")
}

// A client cannot make the list of sockets so long that pages cannot take it.
func TestShapes_Bounded(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("\u00e9", maxField)
	r := newRedactor(nil)
	h, q := http.Header{}, map[string]string{}
	for i := range 2 * maxFields {
		h.Set(fmt.Sprint("X-", i), long)
		q[fmt.Sprint(i, long)] = long
	}
	for name, fields := range map[string]map[string]string{"headers": r.headers(h), "query": r.query(q)} {
		if len(fields) != maxFields {
			t.Errorf("%s: %d", name, len(fields))
		}
		for k, v := range fields {
			if len(k) > maxField+20 || !strings.HasSuffix(v, "[2048 bytes]") || len(v) > maxField+20 || !utf8.ValidString(k+v) {
				t.Fatalf("%s: %q is %q", name, k, v)
			}
		}
	}
	if got := r.url("/" + long); len(got) > maxField+20 {
		t.Errorf("url %q", got)
	}
	sockets := make([]socketInfo, 1000)
	if n := listed(sockets); n != maxList {
		t.Errorf("%d sockets at once", n)
	}
	for i := range sockets {
		sockets[i].Rooms = []string{strings.Repeat("x", maxListBytes/10)}
	}
	if n := listed(sockets); n != 9 {
		t.Errorf("%d long sockets at once", n)
	}
	sockets[0].Rooms = []string{strings.Repeat("x", 2*maxListBytes)}
	if n := listed(sockets); n != 1 {
		t.Errorf("%d sockets at once, the first too long", n)
	}
}

// A moment is a date in both encodings.
func TestDate(t *testing.T) {
	t.Parallel()
	d := date(time.UnixMilli(1795229833179))
	b, err := d.AppendJSON(nil)
	if err != nil || string(b) != `"2026-11-21T02:57:13.179Z"` {
		t.Errorf("%s, %v", b, err)
	}
	if b, err = d.AppendMsgpack(nil); err != nil || len(b) != 10 || b[0] != 0xd7 {
		t.Errorf("%x, %v", b, err)
	}
}
