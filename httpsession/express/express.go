package express

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/sockeye-io/sockeye/httpsession"
)

// ErrReservedKey says that a key cannot be changed: express-session keeps something else under it, or drops it.
var ErrReservedKey = errors.New("express: reserved key")

// cookieKey is where express-session keeps what it knows of the cookie.
const cookieKey = "cookie"

// MinSecret is the least length of a secret, in bytes.
const MinSecret = 16

// Config says how the Express application keeps its sessions.
type Config struct {
	// Secrets are those of express-session's option secret: the first signs, all verify. Each has 16 bytes at least.
	//
	// Differs from Node: any secret is taken there.
	Secrets []string

	// Name is the name of the cookie, express-session's option name; "" is "connect.sid".
	Name string

	// Store is where connect-redis has the sessions, in most cases httpsession.Redis(driver, "sess:"). nil is one in memory, which
	// no Express application sees.
	Store httpsession.Store

	// TTL is how long a session lives whose cookie has no maxAge, connect-redis' option ttl; 0 is 24 h.
	TTL time.Duration

	// DisableTTL is connect-redis' option disableTTL: sessions never expire, whatever their cookies say.
	DisableTTL bool

	// DisableTouch is connect-redis' option disableTouch: a session lives from the last write on.
	DisableTouch bool
}

const defaultTTL = 24 * time.Hour

// Backend has the sessions of an Express application. It is safe for concurrent use.
type Backend struct {
	cfg   Config
	keys  keys
	batch httpsession.Batcher
}

var _ httpsession.Backend = (*Backend)(nil)

// New makes a Backend, or says what is wrong with the Config.
func New(c Config) (*Backend, error) {
	var errs []error
	if len(c.Secrets) == 0 {
		errs = append(errs, errors.New("express: Secrets: one is needed at least"))
	}
	for i, s := range c.Secrets {
		if len(s) < MinSecret {
			errs = append(errs, fmt.Errorf("express: Secrets: number %d is shorter than %d bytes", i+1, MinSecret))
		}
	}
	if c.Name == "" {
		c.Name = "connect.sid"
	}
	if (&http.Cookie{Name: c.Name}).Valid() != nil {
		errs = append(errs, errors.New("express: Name: not a name of a cookie"))
	}
	if c.TTL < 0 {
		errs = append(errs, errors.New("express: TTL: negative"))
	}
	if c.TTL == 0 {
		c.TTL = defaultTTL
	}
	if c.Store == nil {
		c.Store = httpsession.NewMemory()
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return &Backend{cfg: c, keys: append(keys(nil), c.Secrets...), batch: httpsession.Batch(c.Store)}, nil
}

// Ref implements httpsession.Backend.
//
// Node: express-session/index.js getcookie
func (b *Backend) Ref(h http.Header) (httpsession.Ref, bool) {
	id, ok := b.keys.verify(cookieOf(h, b.cfg.Name))
	return httpsession.Ref{Key: id, Token: id}, ok
}

// ttl gives how long a session lives from now on; not positive if it has no time left, which is so for a cookie of a maxAge of 0.
//
// Node: connect-redis getTTL
func (b *Backend) ttl(doc document) time.Duration {
	if d, ok := doc.maxAge(); ok {
		return d
	}
	return b.cfg.TTL
}

// Load implements httpsession.Backend.
//
// Node: connect-redis get
func (b *Backend) Load(ctx context.Context, ref httpsession.Ref) (httpsession.Record, error) {
	r := &record{b: b, id: ref.Key}
	if err := r.load(ctx); err != nil {
		return nil, err
	}
	return r, nil
}

// Touch implements httpsession.Backend. As in connect-redis a session whose maxAge is not positive is deleted.
//
// Node: connect-redis touch
func (b *Backend) Touch(ctx context.Context, refs []httpsession.Ref) ([]time.Duration, error) {
	all, err := b.batch.GetAll(ctx, ids(refs))
	if err != nil {
		return nil, err
	}
	ttls := make([]time.Duration, len(refs))
	var touch []string
	var until []time.Duration
	for i, data := range all {
		if data == nil {
			ttls[i] = httpsession.Gone
			continue
		}
		if b.cfg.DisableTTL || b.cfg.DisableTouch {
			continue
		}
		doc, err := parseDocument(data)
		if err != nil { // for who reads it
			continue
		}
		ttl := b.ttl(doc)
		if ttl <= 0 {
			if err := b.cfg.Store.Delete(ctx, refs[i].Key); err != nil {
				return nil, err
			}
			ttls[i] = httpsession.Gone
			continue
		}
		ttls[i] = ttl
		touch, until = append(touch, refs[i].Key), append(until, ttl)
	}
	if len(touch) > 0 {
		err = b.batch.TouchAll(ctx, touch, until)
	}
	return ttls, err
}

// Exist implements httpsession.Backend.
func (b *Backend) Exist(ctx context.Context, refs []httpsession.Ref) ([]bool, error) {
	return b.batch.Exist(ctx, ids(refs))
}

// Delete implements httpsession.Backend.
//
// Node: connect-redis destroy
func (b *Backend) Delete(ctx context.Context, ref httpsession.Ref) error {
	return b.cfg.Store.Delete(ctx, ref.Key)
}

func ids(refs []httpsession.Ref) []string {
	s := make([]string, len(refs))
	for i, r := range refs {
		s[i] = r.Key
	}
	return s
}

// Create makes a session with values, as a login by a Go program does, and gives its cookie. Path, HttpOnly and Secure are those of
// cookie, and so is MaxAge, which is also how long the session lives from its last use on; 0 leaves that to Config.TTL. cookie may be
// nil: then Path is "/" and HttpOnly is set, as in express-session. For a login a session is made anew, never taken over
// from before, so that nobody can have planted it.
//
// Node: express-session/index.js generate
func (b *Backend) Create(ctx context.Context, cookie *http.Cookie, values map[string]any) (*http.Cookie, error) {
	c := http.Cookie{Path: "/", HttpOnly: true}
	if cookie != nil {
		c = *cookie
	}
	var random [24]byte
	_, _ = rand.Read(random[:]) // it never returns an error
	id := base64.RawURLEncoding.EncodeToString(random[:])
	now := time.Now()
	doc := document{{cookieKey, marshal(cookieKey), cookieJSON(&c, now)}}
	r := &record{doc: doc}
	for _, k := range slices.Sorted(maps.Keys(values)) {
		if err := r.Set(k, values[k]); err != nil {
			return nil, err
		}
	}
	ttl := b.ttl(doc)
	if b.cfg.DisableTTL {
		ttl = 0
	}
	if err := b.cfg.Store.Set(ctx, id, r.doc.encode(), ttl); err != nil {
		return nil, err
	}
	c.Name, c.Value, c.Quoted = b.cfg.Name, escape(b.keys.sign(id)), false
	if c.MaxAge > 0 {
		c.Expires = now.Add(time.Duration(c.MaxAge) * time.Second)
	}
	return &c, nil
}

// escape is encodeURIComponent, for what is in a cookie.
func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

// cookieJSON gives what express-session keeps of a cookie.
//
// Node: express-session/session/cookie.js data
func cookieJSON(c *http.Cookie, now time.Time) []byte {
	v := struct {
		OriginalMaxAge *int64  `json:"originalMaxAge"`
		Partitioned    bool    `json:"partitioned,omitempty"`
		Expires        *string `json:"expires"`
		Secure         bool    `json:"secure,omitempty"`
		HTTPOnly       bool    `json:"httpOnly"`
		Domain         string  `json:"domain,omitempty"`
		Path           string  `json:"path"`
		SameSite       string  `json:"sameSite,omitempty"`
	}{Partitioned: c.Partitioned, Secure: c.Secure, HTTPOnly: c.HttpOnly, Domain: c.Domain, Path: c.Path}
	if c.MaxAge > 0 {
		ms := int64(c.MaxAge) * 1000
		at := now.Add(time.Duration(ms) * time.Millisecond).UTC().Format("2006-01-02T15:04:05.000Z")
		v.OriginalMaxAge, v.Expires = &ms, &at
	}
	switch c.SameSite {
	case http.SameSiteLaxMode:
		v.SameSite = "lax"
	case http.SameSiteStrictMode:
		v.SameSite = "strict"
	case http.SameSiteNoneMode:
		v.SameSite = "none"
	case http.SameSiteDefaultMode:
	}
	b, _ := encodeJSON(v) // it has strings and numbers alone
	return b
}
