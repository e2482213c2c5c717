package engineio

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func mustPolicy(tb testing.TB, p OriginPolicy, c CORS) *originPolicy {
	tb.Helper()
	o, err := newOriginPolicy(p, c, func(r *http.Request) bool { return r.Header.Get("X-Trusted") != "" })
	if err != nil {
		tb.Fatal(err)
	}
	return o
}

// originRequest is a request to http://srv.test/ with the given headers, in pairs.
func originRequest(method, host string, headers ...string) *http.Request {
	r := &http.Request{Method: method, Host: host, Header: http.Header{}}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

// T3: what each kind of origin gets under each kind of policy.
func TestOriginPolicy_Matrix(t *testing.T) {
	t.Parallel()
	policies := map[string]OriginPolicy{
		"default":     {},
		"list":        {Allow: []string{"https://app.test", "https://*.a.test"}},
		"credentials": {Allow: []string{"https://app.test", "https://*.a.test"}, Credentials: true},
		"star":        {Allow: []string{"*"}},
	}
	origins := map[string]string{
		"none": "", "same": "http://srv.test", "listed": "https://app.test", "pattern": "https://x.y.a.test", "evil": "https://evil.test",
	}
	type want struct {
		code  int // -1: passes
		allow string
		creds string
	}
	const forbidden = CodeForbidden
	table := map[string]map[string]want{
		"default": {
			"none": {-1, "", ""}, "same": {-1, "", ""}, "listed": {forbidden, "", ""},
			"pattern": {forbidden, "", ""}, "evil": {forbidden, "", ""},
		},
		"list": {
			"none": {-1, "", ""}, "same": {-1, "", ""}, "listed": {-1, "https://app.test", ""},
			"pattern": {-1, "https://x.y.a.test", ""}, "evil": {forbidden, "", ""},
		},
		"credentials": {
			"none": {-1, "", ""}, "same": {-1, "", ""}, "listed": {-1, "https://app.test", "true"},
			"pattern": {-1, "https://x.y.a.test", "true"}, "evil": {forbidden, "", ""},
		},
		"star": {
			"none": {-1, "*", ""}, "same": {-1, "*", ""}, "listed": {-1, "*", ""}, "pattern": {-1, "*", ""}, "evil": {-1, "*", ""},
		},
	}
	for policy, p := range policies {
		for name, value := range origins {
			t.Run(policy+"/"+name, func(t *testing.T) {
				t.Parallel()
				o := mustPolicy(t, p, CORS{})
				r := originRequest("GET", "srv.test")
				if value != "" {
					r.Header.Set("Origin", value)
				}
				w := table[policy][name]
				ok, code, ctx := o.check(r)
				if ok != (w.code < 0) || !ok && code != w.code || ok != (ctx == nil) {
					t.Errorf("check: %v, %d, %v", ok, code, ctx)
				}
				h := http.Header{}
				o.setHeaders(h, r)
				vary := "Origin"
				if policy == "star" {
					vary = ""
				}
				if got := h.Get("Access-Control-Allow-Origin"); got != w.allow {
					t.Errorf("Access-Control-Allow-Origin: %q, want %q", got, w.allow)
				}
				if got := h.Get("Access-Control-Allow-Credentials"); got != w.creds {
					t.Errorf("Access-Control-Allow-Credentials: %q, want %q", got, w.creds)
				}
				if got := h.Get("Vary"); got != vary {
					t.Errorf("Vary: %q, want %q", got, vary)
				}
			})
		}
	}
}

func TestOriginPolicy_Patterns(t *testing.T) {
	t.Parallel()
	o := mustPolicy(t, OriginPolicy{Allow: []string{"https://*.a.com", "http://*.local.test:8080", "HTTPS://Exact.Example:443", "app://bundle", "http://[::1]:3000"}}, CORS{})
	for value, want := range map[string]bool{
		"https://x.a.com": true, "https://x.y.a.com": true, "https://X.A.com": true, "https://x.a.com:443": true,
		"https://a.com": false, "https://evil-a.com": false, "https://a.com.evil": false, "https://x.a.com.evil.com": false,
		"https://.a.com": false, "https://x..a.com": false, "https://x.a.com.": false, "https://x.a.com:444": false,
		"http://x.a.com": false, "https://x.a.com/": false, "https://x.a.com/path": false, "https://u@x.a.com": false,
		"https://evil.com/.a.com": false, "https://evil.com?.a.com": false, "https://evil.com#.a.com": false,
		"https://evil.com\\.a.com": false, "https://evil.com:80.a.com": false, "https://evil.com%2f.a.com": false,
		"https://*.a.com": false, "https://x\u3002a.com": false, "https://x.a.com,https://evil.com": false, "https://evil.com https://x.a.com": false,
		"http://x.local.test:8080": true, "http://x.local.test": false, "http://x.local.test:80808": false, "http://x.local.test:": false,
		"https://exact.example": true, "https://exact.example:443": true, "https://exact.example:0443": true, "https://exact.example:8443": false,
		"app://bundle": true, "app://other": false, "http://[::1]:3000": true, "http://[::1]": false, "http://[::2]:3000": false,
		"null": false, "NULL": false, "": false, "://": false, "https://": false, "x.a.com": false, "//x.a.com": false, "*": false,
	} {
		ok, code, _ := o.check(originRequest("GET", "srv.test", "Origin", value))
		if ok != want || !ok && code != CodeForbidden {
			t.Errorf("%q: %v, code %d", value, ok, code)
		}
	}
}

func TestOriginPolicy_SameOrigin(t *testing.T) {
	t.Parallel()
	o := mustPolicy(t, OriginPolicy{}, CORS{})
	for name, tc := range map[string]struct {
		origin, host string
		tls          bool
		headers      []string
		want         bool
	}{
		"plain":                           {"http://srv.test", "srv.test", false, nil, true},
		"case":                            {"http://Srv.test", "sRV.TEST", false, nil, true},
		"port":                            {"http://srv.test:3000", "srv.test:3000", false, nil, true},
		"other port":                      {"http://srv.test:3001", "srv.test:3000", false, nil, false},
		"default port written":            {"http://srv.test", "srv.test:80", false, nil, true},
		"port only in the origin":         {"http://srv.test:3000", "srv.test", false, nil, false},
		"port only in the host":           {"http://srv.test", "srv.test:3000", false, nil, false},
		"other host":                      {"http://evil.test", "srv.test", false, nil, false},
		"host is a prefix":                {"http://srv.test.evil", "srv.test", false, nil, false},
		"https, scheme unknown":           {"https://srv.test", "srv.test", false, nil, true},
		"https over TLS":                  {"https://srv.test", "srv.test", true, nil, true},
		"http over TLS":                   {"http://srv.test", "srv.test", true, nil, false},
		"https, port 443 over TLS":        {"https://srv.test", "srv.test:443", true, nil, true},
		"trusted proxy says https":        {"https://srv.test", "srv.test", false, []string{"X-Trusted", "1", "X-Forwarded-Proto", "https"}, true},
		"trusted proxy says http":         {"https://srv.test", "srv.test", false, []string{"X-Trusted", "1", "X-Forwarded-Proto", "http"}, false},
		"trusted proxy says both":         {"https://srv.test", "srv.test", false, []string{"X-Trusted", "1", "X-Forwarded-Proto", "https, http"}, true},
		"untrusted proxy is not believed": {"http://srv.test", "srv.test", true, []string{"X-Forwarded-Proto", "http"}, false},
		"IPv6":                            {"http://[::1]:3000", "[::1]:3000", false, nil, true},
		"null":                            {"null", "srv.test", false, nil, false},
		"null against a host called null": {"null", "null", false, nil, false},
		"other scheme":                    {"ftp://srv.test", "srv.test", false, nil, false},
		"no host":                         {"http://srv.test", "", false, nil, false},
		"malformed host":                  {"http://srv.test", "srv.test:x", false, nil, false},
		"file":                            {"file://", "srv.test", false, nil, false},
		"path":                            {"http://srv.test/", "srv.test", false, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := originRequest("GET", tc.host, append([]string{"Origin", tc.origin}, tc.headers...)...)
			if tc.tls {
				r.TLS = &tls.ConnectionState{}
			}
			if ok, _, _ := o.check(r); ok != tc.want {
				t.Errorf("ok = %v", ok)
			}
		})
	}
}

func TestOriginPolicy_NullAndFunc(t *testing.T) {
	t.Parallel()
	null := originRequest("GET", "srv.test", "Origin", "null")
	if ok, _, _ := mustPolicy(t, OriginPolicy{Allow: []string{"null"}}, CORS{}).check(null); !ok {
		t.Error("null is listed")
	}
	calls := 0
	o := mustPolicy(t, OriginPolicy{AllowFunc: func(_ *http.Request, origin string) bool {
		calls++
		return origin == "https://fn.test"
	}}, CORS{ExposedHeaders: []string{"X-A", "X-B"}})
	if ok, _, _ := o.check(null); ok {
		t.Error("null is not allowed by the function")
	}
	if ok, code, _ := o.check(originRequest("GET", "srv.test", "Origin", "https://evil.test")); ok || code != CodeForbidden {
		t.Error("evil passes")
	}
	h := http.Header{}
	d := o.decide(originRequest("GET", "srv.test", "Origin", "https://fn.test"))
	o.apply(h, d)
	if !d.ok || h.Get("Access-Control-Allow-Origin") != "https://fn.test" || h.Get("Access-Control-Expose-Headers") != "X-A,X-B" {
		t.Errorf("%+v, %v", d, h)
	}
	if calls != 3 {
		t.Errorf("the function was called %d times", calls)
	}
}

func TestOriginPolicy_InvalidHeader(t *testing.T) {
	t.Parallel()
	o := mustPolicy(t, OriginPolicy{Allow: []string{"*"}}, CORS{})
	for name, r := range map[string]*http.Request{
		"control":    originRequest("GET", "srv.test", "Origin", "http://a\x01b"),
		"line break": originRequest("GET", "srv.test", "Origin", "http://a\r\nX: y"),
		"two":        originRequest("GET", "srv.test", "Origin", "http://a", "Origin", "http://b"),
	} {
		ok, code, ctx := o.check(r)
		if ok || code != CodeBadRequest || ctx["name"] != "INVALID_ORIGIN" {
			t.Errorf("%s: %v, %d, %v", name, ok, code, ctx)
		}
	}
}

func TestOriginPolicy_Preflight(t *testing.T) {
	t.Parallel()
	list := OriginPolicy{Allow: []string{"http://example.com"}, Credentials: true}
	preflight := func(origin string, headers ...string) *http.Request {
		return originRequest("OPTIONS", "srv.test", append([]string{"Origin", origin, "Access-Control-Request-Method", "POST"}, headers...)...)
	}
	for name, tc := range map[string]struct {
		p    OriginPolicy
		c    CORS
		r    *http.Request
		want map[string]string // nil: not handled
	}{
		"no policy":   {OriginPolicy{}, CORS{}, preflight("http://example.com"), nil},
		"not OPTIONS": {list, CORS{}, originRequest("GET", "srv.test", "Origin", "http://example.com"), nil},
		"as Node": {list, CORS{}, preflight("http://example.com", "Access-Control-Request-Headers", "content-type"), map[string]string{
			"Access-Control-Allow-Origin": "http://example.com", "Vary": "Origin, Access-Control-Request-Headers",
			"Access-Control-Allow-Credentials": "true", "Access-Control-Allow-Methods": "GET,POST",
			"Access-Control-Allow-Headers": "content-type", "Content-Length": "0",
		}},
		"not allowed": {list, CORS{}, preflight("http://evil.test", "Access-Control-Request-Headers", "content-type"), map[string]string{
			"Vary": "Origin, Access-Control-Request-Headers", "Content-Length": "0",
		}},
		"configured": {OriginPolicy{Allow: []string{"*"}}, CORS{
			Methods: []string{"GET"}, AllowedHeaders: []string{"X-A", "X-B"}, MaxAge: time.Hour,
		}, preflight("http://a.test", "Access-Control-Request-Headers", "x-c"), map[string]string{
			"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Methods": "GET",
			"Access-Control-Allow-Headers": "X-A,X-B", "Access-Control-Max-Age": "3600", "Content-Length": "0",
		}},
		"headers that cannot be sent back": {
			OriginPolicy{Allow: []string{"*"}},
			CORS{},
			preflight("http://a.test", "Access-Control-Request-Headers", "a: b"),
			map[string]string{
				"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Methods": "GET,POST",
				"Vary": "Access-Control-Request-Headers", "Content-Length": "0",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := httptest.NewRecorder()
			if handled := mustPolicy(t, tc.p, tc.c).preflight(w, tc.r); handled != (tc.want != nil) {
				t.Fatalf("handled = %v", handled)
			}
			if tc.want == nil {
				return
			}
			if w.Code != http.StatusNoContent || w.Body.Len() != 0 {
				t.Errorf("status %d, body %q", w.Code, w.Body)
			}
			for name, v := range tc.want {
				if got := w.Header().Get(name); got != v {
					t.Errorf("%s: %q, want %q", name, got, v)
				}
			}
			for name, v := range w.Header() {
				if _, ok := tc.want[name]; !ok {
					t.Errorf("%s: %q not wanted", name, v)
				}
			}
		})
	}
}

// nopWriter costs nothing, so that what the policy allocates can be counted.
type nopWriter struct{ h http.Header }

func (w nopWriter) Header() http.Header         { return w.h }
func (w nopWriter) Write(p []byte) (int, error) { return len(p), nil }
func (w nopWriter) WriteHeader(int)             {}

// CVE-2025-47908: a flood of commas in a preflight.
func TestOriginPolicy_CommaFlood(t *testing.T) {
	o := mustPolicy(t, OriginPolicy{Allow: []string{"https://app.test"}}, CORS{})
	for _, n := range []int{100, 1000, 8192} {
		r := originRequest("OPTIONS", "srv.test", "Origin", "https://app.test", "Access-Control-Request-Headers", strings.Repeat(",", n))
		w := nopWriter{h: make(http.Header, 16)}
		if got := testing.AllocsPerRun(10, func() { o.preflight(w, r) }); got != 0 {
			t.Errorf("%d commas: %v allocations", n, got)
		}
	}
}

func TestOriginPolicy_CheckAllocates0(t *testing.T) {
	o := mustPolicy(t, OriginPolicy{Allow: []string{"https://app.test", "https://*.a.test"}}, CORS{})
	h := make(http.Header, 8)
	for _, value := range []string{"https://app.test", "https://x.a.test", "http://srv.test"} {
		r := originRequest("GET", "srv.test", "Origin", value)
		if n := testing.AllocsPerRun(100, func() { o.apply(h, o.decide(r)) }); n != 0 {
			t.Errorf("%s: %v allocations", value, n)
		}
	}
}

func TestOriginPolicy_Refused(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		p OriginPolicy
		c CORS
	}{
		"star with credentials": {OriginPolicy{Allow: []string{"https://a.test", "*"}, Credentials: true}, CORS{}},
		"no scheme":             {OriginPolicy{Allow: []string{"a.test"}}, CORS{}},
		"trailing slash":        {OriginPolicy{Allow: []string{"https://a.test/"}}, CORS{}},
		"path":                  {OriginPolicy{Allow: []string{"https://a.test/x"}}, CORS{}},
		"star inside":           {OriginPolicy{Allow: []string{"https://a.*.test"}}, CORS{}},
		"star in a label":       {OriginPolicy{Allow: []string{"https://*a.test"}}, CORS{}},
		"two stars":             {OriginPolicy{Allow: []string{"https://*.*.test"}}, CORS{}},
		"only a star host":      {OriginPolicy{Allow: []string{"https://*"}}, CORS{}},
		"star and nothing":      {OriginPolicy{Allow: []string{"https://*."}}, CORS{}},
		"star of an address":    {OriginPolicy{Allow: []string{"https://*.0.0.1"}}, CORS{}},
		"star of IPv6":          {OriginPolicy{Allow: []string{"https://*.[::1]"}}, CORS{}},
		"star port":             {OriginPolicy{Allow: []string{"https://a.test:*"}}, CORS{}},
		"star scheme":           {OriginPolicy{Allow: []string{"*://a.test"}}, CORS{}},
		"empty":                 {OriginPolicy{Allow: []string{""}}, CORS{}},
		"port 0":                {OriginPolicy{Allow: []string{"https://a.test:0"}}, CORS{}},
		"space":                 {OriginPolicy{Allow: []string{" https://a.test"}}, CORS{}},
		"method":                {OriginPolicy{}, CORS{Methods: []string{"GET,POST"}}},
		"header":                {OriginPolicy{}, CORS{AllowedHeaders: []string{"X\r\nY"}}},
		"exposed header":        {OriginPolicy{}, CORS{ExposedHeaders: []string{""}}},
		"max age":               {OriginPolicy{}, CORS{MaxAge: -time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := newOriginPolicy(tc.p, tc.c, nil); err == nil || !strings.HasPrefix(err.Error(), "engineio: ") {
				t.Errorf("err = %v", err)
			}
		})
	}
	_, err := newOriginPolicy(OriginPolicy{Allow: []string{"bad", "*"}, Credentials: true}, CORS{Methods: []string{""}}, nil)
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("all faults are to be reported: %v", err)
	}
}

// FuzzOriginPolicy: whatever passes a pattern is the written scheme, some labels and the written rest.
func FuzzOriginPolicy(f *testing.F) {
	for _, s := range []string{"https://x.a.com", "https://evil-a.com", "null", "https://x.a.com:443", "https://[::1].a.com", "http://srv.test"} {
		f.Add(s, "srv.test")
	}
	o := mustPolicy(f, OriginPolicy{Allow: []string{"https://*.a.com"}}, CORS{})
	f.Fuzz(func(t *testing.T, value, host string) {
		r := &http.Request{Method: http.MethodGet, Host: host, Header: http.Header{"Origin": {value}}}
		d := o.decide(r)
		if !d.ok {
			return
		}
		low := strings.ToLower(value)
		rest, isHTTPS := strings.CutPrefix(low, "https://")
		for _, port := range []string{":443", ":0443", ":00443"} {
			rest = strings.TrimSuffix(rest, port)
		}
		labels, matches := strings.CutSuffix(rest, ".a.com")
		matches = matches && isHTTPS && labels != "" && !strings.ContainsAny(labels, "/:@?#\\%[] ")
		bare := func(s string) string { // without a port
			if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, ']') {
				return s[:i]
			}
			return s
		}
		_, authority, _ := strings.Cut(low, "://")
		same := strings.EqualFold(bare(authority), bare(host))
		if !matches && !same || matches && !same && d.allow == nil {
			t.Fatalf("%q passes on host %q", value, host)
		}
	})
}
