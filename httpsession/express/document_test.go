package express

import (
	"bytes"
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

type written struct {
	Name string
	Args []string
}

func captured(t testing.TB) []written {
	t.Helper()
	b, err := os.ReadFile("testdata/written.json")
	if err != nil {
		t.Fatal(err)
	}
	var all struct{ Written []written }
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	if len(all.Written) < 10 {
		t.Fatalf("%d sessions", len(all.Written))
	}
	return all.Written
}

func TestDocument_AsNodeWritesIt(t *testing.T) {
	t.Parallel()
	for _, w := range captured(t) {
		t.Run(w.Name, func(t *testing.T) {
			t.Parallel()
			doc, err := parseDocument([]byte(w.Args[1]))
			if err != nil {
				t.Fatal(err)
			}
			if got := string(doc.encode()); got != w.Args[1] {
				t.Errorf("encoded\n got %s\nwant %s", got, w.Args[1])
			}
			ttl, ok := doc.maxAge()
			if !ok {
				if !strings.Contains(w.Args[1], `"originalMaxAge":null`) {
					t.Error("no maxAge")
				}
			} else if s, err := strconv.Atoi(w.Args[3]); err != nil || ttl != time.Duration(s)*time.Second {
				t.Errorf("lives %v, connect-redis writes %s s", ttl, w.Args[3])
			}
			for i := range len(w.Args[1]) {
				if _, err := parseDocument([]byte(w.Args[1][:i])); err == nil {
					t.Errorf("%q is a session", w.Args[1][:i])
				}
			}
		})
	}
}

func TestDocument_Changes(t *testing.T) {
	t.Parallel()
	const cookie = `"cookie":{"originalMaxAge":null,"expires":null,"httpOnly":true,"path":"/"}`
	for _, c := range []struct {
		name, before string
		change       func(r *record) error
		after        string
	}{
		{"add", `{` + cookie + `}`, func(r *record) error { return r.Set("n", 1) }, `{` + cookie + `,"n":1}`},
		{"in place", `{` + cookie + `,"a":1,"b":2}`, func(r *record) error { return r.Set("a", "x") }, `{` + cookie + `,"a":"x","b":2}`},
		{"delete", `{` + cookie + `,"a":1,"b":2}`, func(r *record) error { return r.Delete("a") }, `{` + cookie + `,"b":2}`},
		{"delete what is not there", `{` + cookie + `}`, func(r *record) error { return r.Delete("a") }, ""},
		{"the same", `{` + cookie + `,"a":[1,"x"]}`, func(r *record) error { return r.Set("a", []any{1, "x"}) }, ""},
		{"no HTML escapes", `{` + cookie + `}`, func(r *record) error { return r.Set("h<>", "<b>&") }, `{` + cookie + `,"h<>":"<b>&"}`},
		{
			"numbers and spaces of others stay", `{ ` + cookie + ` , "big" : 12345678901234567890 , "e" : 1.50e+2, "s":"\ud800\u00e9" }`,
			func(r *record) error { return r.Set("n", nil) },
			`{` + cookie + `,"big":12345678901234567890,"e":1.50e+2,"s":"\ud800\u00e9","n":null}`,
		},
		{"cookie not first", `{"z":1,` + cookie + `}`, func(r *record) error { return r.Set("a", 2) }, `{"z":1,` + cookie + `,"a":2}`},
		{"doubled key", `{` + cookie + `,"a":1,"b":2,"a":3}`, func(r *record) error { return r.Delete("b") }, `{` + cookie + `,"a":3}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			doc, err := parseDocument([]byte(c.before))
			if err != nil {
				t.Fatal(err)
			}
			r := &record{doc: doc}
			if err := c.change(r); err != nil {
				t.Fatal(err)
			}
			if c.after == "" {
				if len(r.changes) > 0 {
					t.Errorf("%d changes", len(r.changes))
				}
				return
			}
			if got := string(r.doc.encode()); got != c.after {
				t.Errorf("\n got %s\nwant %s", got, c.after)
			}
		})
	}
}

func TestDocument_NotASession(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"", "null", "1", `"x"`, "[]", "{}", `{"user":1}`, `{"cookie":null}`, `{"cookie":1}`, `{"cookie":{}} x`, "{\"cookie\":{}",
		`{"cookie":{},}`, "\x00", `{"cookie":{},"a":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + "}",
	} {
		if _, err := parseDocument([]byte(s)); err == nil {
			t.Errorf("%.40q is a session", s)
		}
	}
}

func TestRecord_Values(t *testing.T) {
	t.Parallel()
	doc, err := parseDocument([]byte(`{"cookie":{"path":"/"},"n":9007199254740993,"user":{"id":"u1"},"list":[1]}`))
	if err != nil {
		t.Fatal(err)
	}
	r := &record{doc: doc}
	var n int64
	if ok, err := r.Get("n", &n); !ok || err != nil || n != 9007199254740993 {
		t.Errorf("n: %v, %v, %v", n, ok, err)
	}
	var v any
	if ok, err := r.Get("n", &v); !ok || err != nil || v != json.Number("9007199254740993") {
		t.Errorf("n as any: %v, %v, %v", v, ok, err)
	}
	var user struct{ ID string }
	if ok, err := r.Get("user", &user); !ok || err != nil || user.ID != "u1" {
		t.Errorf("user: %v, %v, %v", user, ok, err)
	}
	if ok, err := r.Get("user", &n); !ok || err == nil || strings.Contains(err.Error(), "u1") {
		t.Errorf("user as a number: %v, %v", ok, err)
	}
	if ok, err := r.Get("other", &n); ok || err != nil {
		t.Errorf("other: %v, %v", ok, err)
	}
	if err := r.Set("f", func() {}); err == nil {
		t.Error("a function was set")
	}
	for _, key := range unusable {
		if r.Set(key, 1) == nil || r.Delete(key) == nil {
			t.Errorf("%s can be changed", key)
		}
	}
}

func FuzzDocument(f *testing.F) {
	for _, w := range captured(f) {
		f.Add([]byte(w.Args[1]))
	}
	f.Add([]byte(`{"cookie":{"originalMaxAge":-1e400},"\u0061":1,"a":2}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		doc, err := parseDocument(data)
		if err != nil {
			return
		}
		doc.maxAge()
		once := doc.encode()
		again, err := parseDocument(once)
		if err != nil || !bytes.Equal(again.encode(), once) {
			t.Fatalf("%q is encoded as %q, and then %v", data, once, err)
		}
		var a, b map[string]any
		if json.Unmarshal(data, &a) == nil && (json.Unmarshal(once, &b) != nil || len(a) != len(b)) {
			t.Fatalf("%q is encoded as %q", data, once)
		}
	})
}
