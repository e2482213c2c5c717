package sockeye

import (
	"testing"
)

func TestParseV4(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		name, auth string
		bad        bool
	}{
		"/":                      {name: "/"},
		"/chat":                  {name: "/chat"},
		"/chat?":                 {name: "/chat", auth: `{}`},
		"/chat?token=1":          {name: "/chat", auth: `{"token":"1"}`},
		"/chat?a=1+2&b=%20&a=3":  {name: "/chat", auth: `{"a":"3","b":" "}`},
		"/chat?a&b=":             {name: "/chat", auth: `{"a":"","b":""}`},
		"/chat#x?a=1":            {name: "/chat"},
		"/?token=1":              {name: "/", auth: `{"token":"1"}`},
		"/été":                   {name: "/%C3%A9t%C3%A9"},
		"/a b":                   {name: "/a%20b"},
		"/a%20b":                 {name: "/a%20b"},
		"/a/../b":                {name: "/b"},
		"/a/./b":                 {name: "/a/b"},
		"/a/%2e%2E/b":            {name: "/b"},
		"/../..":                 {name: "/"},
		"/a/..":                  {name: "/"},
		"/a//b":                  {name: "/a//b"},
		"/a/":                    {name: "/a/"},
		`/a\b`:                   {name: "/a/b"},
		"//host/path":            {name: "/path"},
		"//host":                 {name: "/"},
		"//":                     {bad: true},
		"///":                    {bad: true},
		`/"<>{}` + "`":           {name: "/%22%3C%3E%7B%7D%60"},
		"/a\tb\nc":               {name: "/abc"},
		"/chat?x=%zz&token=ok":   {name: "/chat", auth: `{"token":"ok"}`},
		"/[x]@:!$&'()*+;=|~._-1": {name: "/[x]@:!$&'()*+;=|~._-1"},
	}
	for in, tt := range tests {
		name, auth, ok := parseV4(in)
		if ok == tt.bad || name != tt.name {
			t.Errorf("%q: %q, %v, want %q", in, name, ok, tt.name)
			continue
		}
		text := ""
		if !auth.IsZero() {
			b, err := auth.AppendJSON(nil)
			if err != nil {
				t.Errorf("%q: %v", in, err)
			}
			text = string(b)
		}
		if text != tt.auth {
			t.Errorf("%q: auth %s, want %s", in, text, tt.auth)
		}
	}
}

func FuzzParseV4(f *testing.F) {
	for _, s := range []string{"/", "/chat?token=1", "/a/../b", "//", "//host/x", "/é#", `/\\`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, _, ok := parseV4("/" + s)
		if !ok {
			return
		}
		if name == "" || name[0] != '/' {
			t.Fatalf("%q gives %q", s, name)
		}
		if again, auth, ok := parseV4(name); ok && (again != name || !auth.IsZero()) && (len(name) < 2 || name[1] != '/') {
			t.Fatalf("%q gives %q, and that gives %q", s, name, again)
		}
	})
}
