package admin

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// redacted stands for what is not shown.
const redacted = "[redacted]"

// secret are the names of headers and query parameters whose values are never shown. So are those that end in one
// of secretEnds.
var secret = map[string]bool{
	"authorization": true, "proxy-authorization": true, "cookie": true, "cookie2": true, "set-cookie": true,
	"sid": true, "session": true, "sessionid": true, "auth": true, "jwt": true,
	"access_token": true, "id_token": true, "apikey": true, "key": true, "pass": true, "code": true, "state": true,
	"x-amz-security-token": true, "cf-access-jwt-assertion": true, "x-goog-iap-jwt-assertion": true,
	"x-amzn-oidc-data": true, "x-amzn-oidc-accesstoken": true, "x-forwarded-access-token": true,
	"x-ms-token-aad-access-token": true, "x-client-cert": true, "x-ssl-client-cert": true, "x-forwarded-client-cert": true,
	"dpop": true, "x-csrftoken": true,
}

var secretEnds = [...]string{
	"token", "secret", "password", "passwd", "signature", "credential", "credentials", "api-key", "api_key", "session-id",
	"session_id", "cookie", "auth-key", "private-key", "assertion",
}

// redactor hides secrets.
type redactor struct{ more map[string]bool }

func newRedactor(names []string) redactor {
	r := redactor{make(map[string]bool, len(names))}
	for _, n := range names {
		r.more[strings.ToLower(n)] = true
	}
	return r
}

func (r redactor) hides(name string) bool {
	name = strings.ToLower(name)
	if secret[name] || r.more[name] {
		return true
	}
	for _, end := range secretEnds {
		if strings.HasSuffix(name, end) {
			return true
		}
	}
	return false
}

// Bounds on what is shown of a request.
const (
	maxFields = 100  // headers, and query parameters
	maxField  = 1024 // bytes of one, and of the URL
)

// headers gives headers as Node has them: with lower-case names, and one value each.
func (r redactor) headers(h http.Header) map[string]string {
	shown := make(map[string]string, min(len(h), maxFields))
	for name, values := range h {
		if len(shown) == maxFields {
			break
		}
		value := redacted
		if !r.hides(name) {
			value = clip(strings.Join(values, ", "))
		}
		shown[clip(strings.ToLower(name))] = value
	}
	return shown
}

// clip shortens what is long.
func clip(s string) string {
	if len(s) <= maxField {
		return s
	}
	return strings.ToValidUTF8(s[:maxField], "") + fmt.Sprintf("[%d bytes]", len(s))
}

func (r redactor) query(q map[string]string) map[string]string {
	shown := make(map[string]string, min(len(q), maxFields))
	for name, value := range q {
		if len(shown) == maxFields {
			break
		}
		if r.hides(name) {
			value = redacted
		}
		shown[clip(name)] = clip(value)
	}
	return shown
}

// url hides the values of parameters in a request target, which else stays as it is.
func (r redactor) url(target string) string {
	path, query, ok := strings.Cut(target, "?")
	if !ok {
		return clip(target)
	}
	pairs := strings.Split(query, "&")
	for i, pair := range pairs {
		name, _, _ := strings.Cut(pair, "=")
		plain, err := url.QueryUnescape(name)
		if err != nil || r.hides(plain) {
			pairs[i] = name + "=" + redacted
		}
	}
	return clip(path + "?" + strings.Join(pairs, "&"))
}
