package engineio

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// sessionCookie makes the Set-Cookie header of a polling handshake.
type sessionCookie struct {
	prefix, suffix string // around the session id
}

// newSessionCookie checks c, reporting all faults. A nil c gives nil: no cookie. Fields that are zero get the
// values of Node: the name io, Path=/, HttpOnly and SameSite=Lax.
//
// Differs from Node: HttpOnly is always set, since the session id is a secret.
// Node: engine.io/lib/server.ts, option cookie.
func newSessionCookie(c *http.Cookie) (*sessionCookie, error) {
	if c == nil {
		return nil, nil
	}
	full := *c
	full.Value = "VALUE"
	full.HttpOnly = true
	full.Raw, full.RawExpires, full.Unparsed, full.Quoted = "", "", nil, false
	if full.Name == "" {
		full.Name = "io"
	}
	if full.Path == "" {
		full.Path = "/"
	}
	if full.SameSite == 0 || full.SameSite == http.SameSiteDefaultMode {
		full.SameSite = http.SameSiteLaxMode
	}
	if err := checkCookie(&full); err != nil {
		return nil, err
	}
	value := full.String()
	head, tail, found := strings.Cut(value, "="+full.Value)
	if !found || head != full.Name {
		return nil, fmt.Errorf("engineio: cookie %q cannot be sent", full.Name)
	}
	return &sessionCookie{prefix: head + "=", suffix: tail}, nil
}

// checkCookie finds what net/http would drop silently, and what could add attributes.
func checkCookie(c *http.Cookie) error {
	var errs []error
	if err := c.Valid(); err != nil {
		errs = append(errs, fmt.Errorf("engineio: cookie: %w", err))
	}
	for _, f := range []struct{ name, value string }{{"name", c.Name}, {"path", c.Path}, {"domain", c.Domain}} {
		if strings.ContainsFunc(f.value, func(r rune) bool { return r == ';' || r < ' ' || r >= 0x7f }) {
			errs = append(errs, fmt.Errorf("engineio: malformed cookie %s %q", f.name, f.value))
		}
	}
	if c.SameSite == http.SameSiteNoneMode && !c.Secure {
		errs = append(errs, errors.New("engineio: cookie with SameSite=None needs Secure"))
	}
	return errors.Join(errs...)
}

// header is the value of Set-Cookie for a session.
func (c *sessionCookie) header(sid string) string { return c.prefix + sid + c.suffix }
