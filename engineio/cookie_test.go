package engineio

import (
	"net/http"
	"strings"
	"testing"
)

func TestSessionCookie_Header(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		c    http.Cookie
		want string
	}{
		"zero":     {http.Cookie{}, "io=NmPS5N7DsN0ayJvsAAAi; Path=/; HttpOnly; SameSite=Lax"},
		"strict":   {http.Cookie{Name: "sticky", MaxAge: 86400, SameSite: http.SameSiteStrictMode}, "sticky=NmPS5N7DsN0ayJvsAAAi; Path=/; Max-Age=86400; HttpOnly; SameSite=Strict"},
		"all":      {http.Cookie{Name: "a", Value: "ignored", Path: "/x", Domain: "example.com", Secure: true, SameSite: http.SameSiteNoneMode, Partitioned: true}, "a=NmPS5N7DsN0ayJvsAAAi; Path=/x; Domain=example.com; HttpOnly; Secure; SameSite=None; Partitioned"},
		"the name": {http.Cookie{Name: "VALUE"}, "VALUE=NmPS5N7DsN0ayJvsAAAi; Path=/; HttpOnly; SameSite=Lax"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := newSessionCookie(&tc.c)
			if err != nil {
				t.Fatal(err)
			}
			if got := s.header("NmPS5N7DsN0ayJvsAAAi"); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
	if s, err := newSessionCookie(nil); s != nil || err != nil {
		t.Errorf("none: %v, %v", s, err)
	}
}

// CVE-2024-47764: nothing in the configuration can add attributes.
func TestSessionCookie_Refused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]http.Cookie{
		"name with semicolon":    {Name: "a;b"},
		"name with equals":       {Name: "a=b"},
		"name with line break":   {Name: "a\r\nb"},
		"name with blank":        {Name: "a b"},
		"path with semicolon":    {Path: "/; Domain=evil.test"},
		"path with CR":           {Path: "/\r"},
		"path with LF":           {Path: "/\nSet-Cookie: a=b"},
		"domain with semicolon":  {Domain: "a.test; Path=/"},
		"domain with LF":         {Domain: "a.test\n"},
		"domain is not one":      {Domain: "a..test"},
		"None without Secure":    {SameSite: http.SameSiteNoneMode},
		"Partitioned, no Secure": {Partitioned: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := newSessionCookie(&c)
			if err == nil {
				t.Fatalf("accepted: %s", s.header("x"))
			}
			if !strings.HasPrefix(err.Error(), "engineio: ") {
				t.Errorf("err = %v", err)
			}
		})
	}
}
