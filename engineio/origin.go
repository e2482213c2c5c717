package engineio

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// originPolicy is a compiled OriginPolicy with the CORS headers. It is immutable.
type originPolicy struct {
	allowFunc   func(r *http.Request, origin string) bool
	trust       func(r *http.Request) bool
	exact       map[origin]struct{}
	patterns    []origin // host begins with a dot and is the end of those that match
	all         bool
	null        bool
	credentials bool
	configured  bool // there is a list or a function: cross-origin requests may pass

	methods, headers, exposed, maxAge []string // values of headers, shared by the answers
}

// originDecision is what the policy says of one request.
type originDecision struct {
	allow   []string // value of Access-Control-Allow-Origin; nil = not sent
	ok      bool
	code    int               // when not ok
	context map[string]string // when not ok
}

// Values of headers that answers share.
var (
	varyOrigin          = []string{"Origin"}
	varyOriginAndAsked  = []string{"Origin, Access-Control-Request-Headers"}
	varyAsked           = []string{"Access-Control-Request-Headers"}
	headerTrue          = []string{"true"}
	headerStar          = []string{"*"}
	headerZero          = []string{"0"}
	defaultCORSMethods  = []string{"GET,POST"}
	errWildcardAndCreds = errors.New(`engineio: origin "*" with credentials`)
)

// newOriginPolicy checks the configuration, reporting all faults. trust may be nil.
func newOriginPolicy(p OriginPolicy, c CORS, trust func(r *http.Request) bool) (*originPolicy, error) {
	o := &originPolicy{
		allowFunc: p.AllowFunc, trust: trust, credentials: p.Credentials,
		configured: len(p.Allow) > 0 || p.AllowFunc != nil,
		exact:      make(map[origin]struct{}, len(p.Allow)),
	}
	var errs []error
	for _, entry := range p.Allow {
		if err := o.add(entry); err != nil {
			errs = append(errs, err)
		}
	}
	if o.all && p.Credentials {
		errs = append(errs, errWildcardAndCreds)
	}
	errs = append(errs, o.setCORS(c))
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return o, nil
}

func (o *originPolicy) add(entry string) error {
	switch entry {
	case "*":
		o.all = true
		return nil
	case "null":
		o.null = true
		return nil
	}
	scheme, host, found := strings.Cut(entry, "://")
	bare, isPattern := strings.CutPrefix(host, "*.")
	parsed, ok := parseOrigin(scheme + "://" + bare)
	if !found || !ok || isPattern && (parsed.host[0] == '[' || isDigit(parsed.host[len(parsed.host)-1])) {
		return fmt.Errorf("engineio: malformed origin %q", entry)
	}
	parsed.host = strings.ToLower(parsed.host)
	if isPattern {
		parsed.host = "." + parsed.host
		o.patterns = append(o.patterns, parsed)
		return nil
	}
	o.exact[parsed] = struct{}{}
	return nil
}

func (o *originPolicy) setCORS(c CORS) error {
	var errs []error
	join := func(what string, names []string) []string {
		for _, n := range names {
			if !isToken(n) {
				errs = append(errs, fmt.Errorf("engineio: malformed CORS %s %q", what, n))
			}
		}
		if len(names) == 0 {
			return nil
		}
		return []string{strings.Join(names, ",")}
	}
	o.methods = join("method", c.Methods)
	if o.methods == nil {
		o.methods = defaultCORSMethods
	}
	o.headers = join("header", c.AllowedHeaders)
	o.exposed = join("header", c.ExposedHeaders)
	if c.MaxAge < 0 {
		errs = append(errs, errors.New("engineio: negative CORS MaxAge"))
	}
	if c.MaxAge > 0 {
		o.maxAge = []string{strconv.FormatInt(int64(c.MaxAge/time.Second), 10)}
	}
	return errors.Join(errs...)
}

// decide judges the Origin header of r. It calls AllowFunc, at most once.
//
// Differs from Node: for every transport, and without a list only the same origin passes. "null" passes only when it
// is listed or everything is, or AllowFunc says so.
func (o *originPolicy) decide(r *http.Request) originDecision {
	values := r.Header["Origin"]
	if len(values) == 0 {
		if o.all {
			return originDecision{ok: true, allow: headerStar}
		}
		return originDecision{ok: true}
	}
	value := values[0]
	if len(values) > 1 || !validOriginChars(value) {
		return originDecision{code: CodeBadRequest, context: map[string]string{"name": "INVALID_ORIGIN", "origin": value}}
	}
	if o.all {
		return originDecision{ok: true, allow: headerStar}
	}
	if o.listed(value) {
		return originDecision{ok: true, allow: values}
	}
	if o.sameOrigin(r, value) {
		return originDecision{ok: true}
	}
	if o.allowFunc != nil && o.allowFunc(r, value) {
		return originDecision{ok: true, allow: values}
	}
	return originDecision{code: CodeForbidden, context: map[string]string{"name": "ORIGIN_NOT_ALLOWED", "origin": value}}
}

// check tells whether the request may go on, else with which code it is refused.
func (o *originPolicy) check(r *http.Request) (ok bool, code int, context map[string]string) {
	d := o.decide(r)
	return d.ok, d.code, d.context
}

// setHeaders sets the CORS headers of an answer to r, of any status.
func (o *originPolicy) setHeaders(h http.Header, r *http.Request) { o.apply(h, o.decide(r)) }

// apply is setHeaders for a decision made already.
func (o *originPolicy) apply(h http.Header, d originDecision) {
	if !o.all {
		h["Vary"] = varyOrigin // answers differ even with the default policy: 403 or not
	}
	if d.allow == nil || !o.configured {
		return
	}
	h["Access-Control-Allow-Origin"] = d.allow
	if o.credentials {
		h["Access-Control-Allow-Credentials"] = headerTrue
	}
	if o.exposed != nil {
		h["Access-Control-Expose-Headers"] = o.exposed
	}
}

// preflight answers an OPTIONS request, if cross-origin requests are provided for at all. One whose origin is not
// allowed is answered without the headers that would allow it.
//
// Protocol: Fetch, "CORS-preflight request".
func (o *originPolicy) preflight(w http.ResponseWriter, r *http.Request) (handled bool) {
	if !o.configured || r.Method != http.MethodOptions {
		return false
	}
	h := w.Header()
	d := o.decide(r)
	o.apply(h, d)
	if o.headers == nil {
		h["Vary"] = varyOriginAndAsked
		if o.all {
			h["Vary"] = varyAsked
		}
	}
	if d.allow != nil {
		h["Access-Control-Allow-Methods"] = o.methods
		if o.headers != nil {
			h["Access-Control-Allow-Headers"] = o.headers
		} else if asked := r.Header["Access-Control-Request-Headers"]; len(asked) == 1 && isTokenList(asked[0]) {
			h["Access-Control-Allow-Headers"] = asked
		}
		if o.maxAge != nil {
			h["Access-Control-Max-Age"] = o.maxAge
		}
	}
	h["Content-Length"] = headerZero
	w.WriteHeader(http.StatusNoContent)
	return true
}

func (o *originPolicy) listed(value string) bool {
	if value == "null" {
		return o.null
	}
	if len(o.exact) == 0 && len(o.patterns) == 0 {
		return false
	}
	got, ok := parseOrigin(value)
	if !ok {
		return false
	}
	got.host = strings.ToLower(got.host) // allocates only for upper case, which no browser sends
	if _, ok := o.exact[got]; ok {
		return true
	}
	for _, p := range o.patterns {
		if p.scheme == got.scheme && p.port == got.port && len(got.host) > len(p.host) && strings.HasSuffix(got.host, p.host) {
			return true
		}
	}
	return false
}

// sameOrigin compares host and port with the Host header, and the scheme where it is known: a proxy may have
// taken TLS away.
func (o *originPolicy) sameOrigin(r *http.Request, value string) bool {
	got, ok := parseOrigin(value)
	if !ok || got.scheme != "http" && got.scheme != "https" {
		return false
	}
	scheme := o.requestScheme(r)
	if scheme == "" {
		scheme = got.scheme
	}
	want, ok := splitHost(scheme, r.Host)
	return ok && got.scheme == scheme && got.port == want.port && strings.EqualFold(got.host, want.host)
}

// requestScheme is "http", "https" or, when that cannot be known, "".
func (o *originPolicy) requestScheme(r *http.Request) string {
	if forwarded := r.Header["X-Forwarded-Proto"]; len(forwarded) == 1 && o.trust != nil && o.trust(r) {
		switch {
		case strings.EqualFold(forwarded[0], "https"):
			return "https"
		case strings.EqualFold(forwarded[0], "http"):
			return "http"
		}
		return "" // several proxies that do not agree
	}
	if r.TLS != nil {
		return "https"
	}
	return ""
}
