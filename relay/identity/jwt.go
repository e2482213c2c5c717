package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/sockeye-io/sockeye"
)

// JWTConfig configures [NewJWT]. It needs keys: Secret, PublicKeys, KeyFile or KeyURL, or several of them.
type JWTConfig struct {
	// Secret is the key of HS256, at least 32 bytes.
	Secret []byte

	// PublicKeys is PEM with public keys or certificates (RSA of at least 2,048 bits for RS256, P-256 for ES256, Ed25519 for
	// EdDSA), or a JWKS, which may hold secrets of HS256 too.
	PublicKeys []byte

	// KeyFile is a file with the same. It is read again when it has changed, at the latest for a token that comes 5 s
	// later; a broken one is logged and the keys of before are kept.
	KeyFile string

	// KeyURL is where the issuer publishes the same, as https://issuer/.well-known/jwks.json. It is fetched when the first of
	// them is 10 min old, and at most every 10 s for a token whose key is not known; while that fails the keys of before are
	// kept. Redirects are not followed. Plain http is for addresses of this machine.
	KeyURL string

	// HTTPClient fetches KeyURL. nil: one with the proxy of the environment. 5 s is the most that it may take.
	HTTPClient *http.Client

	// Algorithms restricts what is accepted, of HS256, RS256, ES256 and EdDSA. Empty: what there are keys for.
	Algorithms []string

	// Issuer must be the claim iss, and one of Audience must be in the claim aud. Empty: not asked for.
	Issuer   string
	Audience []string

	// Leeway is how far the clocks of issuer and server may be apart, for exp, nbf and iat. Default 30 s, negative = 0, at
	// most 10 min. The connection of a token ends as long after exp.
	Leeway time.Duration

	// WithoutExpiry accepts tokens without exp, whose connections never end by themselves.
	WithoutExpiry bool

	// Anonymous lets clients in that bring no token at all, as users without id. A token that is no good is refused.
	Anonymous bool

	// Query takes the token from the parameter of this name of the URL too. Empty: not, as URLs end up in the logs of
	// proxies. Clients of 2.x in browsers have no other way.
	Query string

	// UserClaim, RoomsClaim and NameClaim are the names of the claims for [User.ID] (default "sub"), [User.Rooms] (default
	// "rooms": a string or a list of them) and [User.Name] (default "name"). One that begins with a slash is a JSON pointer
	// into the token.
	UserClaim, RoomsClaim, NameClaim string

	// Now is the clock, nil = time.Now.
	Now func() time.Time

	// Logger is told of changed key files. nil: silent.
	Logger *slog.Logger
}

const (
	defaultLeeway = 30 * time.Second
	maxLeeway     = 10 * time.Minute

	maxToken   = 8 << 10 // bytes
	maxPattern = 1000    // patterns of rooms in a token
	maxTries   = 16      // keys that one token is tried with
)

// JWT is an [Authenticator] and [Renewer] by JSON Web Tokens. A token comes in the field "token" of what the client
// authenticates with, or in the header "Authorization: Bearer", or as [JWTConfig.Query] says.
type JWT struct {
	c     JWTConfig
	fixed []key
	kept  []*source
}

// NewJWT checks c, reporting all faults, and reads the keys.
func NewJWT(c JWTConfig) (*JWT, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	for _, d := range []struct {
		name *string
		def  string
	}{{&c.UserClaim, "sub"}, {&c.RoomsClaim, "rooms"}, {&c.NameClaim, "name"}} {
		if *d.name == "" {
			*d.name = d.def
		}
	}
	var faults []error
	switch {
	case c.Leeway < 0:
		c.Leeway = 0
	case c.Leeway == 0:
		c.Leeway = defaultLeeway
	case c.Leeway > maxLeeway:
		faults = append(faults, fmt.Errorf("identity: leeway of %v is more than %v", c.Leeway, maxLeeway))
	}
	for _, a := range c.Algorithms {
		if !slices.Contains(algorithms, jose.SignatureAlgorithm(a)) {
			faults = append(faults, fmt.Errorf("identity: algorithm %q is none of HS256, RS256, ES256, EdDSA", a))
		}
	}
	j := &JWT{c: c}
	faults = append(faults, j.open()...)
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return j, nil
}

var algorithms = []jose.SignatureAlgorithm{jose.HS256, jose.RS256, jose.ES256, jose.EdDSA}

func (j *JWT) open() (faults []error) {
	c := j.c
	if len(c.Secret) > 0 {
		k, err := keyOf(slices.Clone(c.Secret))
		if err != nil {
			faults = append(faults, fmt.Errorf("identity: secret: %w", err))
		}
		j.fixed = append(j.fixed, k)
	}
	if len(c.PublicKeys) > 0 {
		keys, err := parseKeys(c.PublicKeys)
		if err != nil {
			faults = append(faults, fmt.Errorf("identity: public keys: %w", err))
		}
		j.fixed = append(j.fixed, keys...)
	}
	if c.KeyFile != "" {
		j.kept = append(j.kept, fileSource(c.KeyFile, c.Now, c.Logger))
	}
	if c.KeyURL != "" {
		s, err := urlSource(c.KeyURL, c.HTTPClient, c.Now, c.Logger)
		if err != nil {
			return append(faults, fmt.Errorf("identity: URL of keys: %w", err))
		}
		j.kept = append(j.kept, s)
	}
	for _, s := range j.kept {
		if err := s.open(); err != nil {
			return append(faults, err)
		}
	}
	all := j.keys(false)
	switch {
	case len(faults) > 0:
	case len(all) == 0:
		faults = append(faults, errors.New("identity: tokens need a secret, public keys, or a file or URL of keys"))
	case !slices.ContainsFunc(all, j.allowed):
		faults = append(faults, errors.New("identity: no key is for any of the algorithms that are allowed"))
	}
	return faults
}

// keys are all keys; unknown tells that the last ones did not have what was looked for.
func (j *JWT) keys(unknown bool) []key {
	all := j.fixed
	for _, s := range j.kept {
		all = slices.Concat(all, s.current(unknown))
	}
	return all
}

func (j *JWT) allowed(k key) bool {
	return len(j.c.Algorithms) == 0 || slices.Contains(j.c.Algorithms, string(k.alg))
}

// Authenticate takes the token of a socket. Errors: *Error.
func (j *JWT) Authenticate(ctx context.Context, s *sockeye.Socket) (User, error) {
	token, err := j.token(s)
	if err != nil {
		return User{}, err
	}
	if token == "" {
		if j.c.Anonymous {
			return User{}, nil
		}
		return User{}, &Error{Code: CodeMissing, Message: "A token is needed."}
	}
	return j.Renew(ctx, token)
}

// token is what the client has sent, "" for nothing.
func (j *JWT) token(s *sockeye.Socket) (string, error) {
	h := s.Handshake()
	var auth map[string]any
	if h.Auth.Scan(&auth) == nil && auth["token"] != nil {
		token, ok := auth["token"].(string)
		if !ok {
			return "", invalid(errors.New("the token is not a string"))
		}
		if token != "" {
			return strings.TrimPrefix(token, "Bearer "), nil
		}
	}
	if kind, token, _ := strings.Cut(h.Headers.Get("Authorization"), " "); strings.EqualFold(kind, "Bearer") {
		return strings.TrimSpace(token), nil
	}
	if j.c.Query != "" {
		return h.Query[j.c.Query], nil
	}
	return "", nil
}

func invalid(err error) *Error {
	return &Error{Code: CodeInvalid, Message: "The token is not valid.", Err: err}
}

// claims are those of which the meaning is known.
type claims struct {
	Issuer    string           `json:"iss"`
	Audience  jwt.Audience     `json:"aud"`
	Expiry    *jwt.NumericDate `json:"exp"`
	NotBefore *jwt.NumericDate `json:"nbf"`
	IssuedAt  *jwt.NumericDate `json:"iat"`
}

// Renew checks a token. Errors: *Error.
func (j *JWT) Renew(_ context.Context, token string) (User, error) {
	if len(token) > maxToken {
		return User{}, invalid(errors.New("the token is larger than 8 KiB"))
	}
	t, err := jwt.ParseSigned(token, algorithms)
	if err != nil || len(t.Headers) != 1 {
		return User{}, invalid(errors.New("it is no signed token of a known algorithm"))
	}
	var known claims
	var all map[string]json.RawMessage
	if err := j.verify(t, &known, &all); err != nil {
		return User{}, invalid(err)
	}
	if err := j.validate(known); err != nil {
		return User{}, err
	}
	u, err := j.user(all)
	if err != nil {
		return User{}, invalid(err)
	}
	if known.Expiry != nil {
		u.Expires = known.Expiry.Time().Add(j.c.Leeway)
	}
	return u, nil
}

// verify finds the key of a token. One whose kid is not known, or whose signature is of none of the keys, may be signed by
// a key that is new.
func (j *JWT) verify(t *jwt.JSONWebToken, dst ...any) error {
	head := t.Headers[0]
	err := j.try(t, j.keys(false), jose.SignatureAlgorithm(head.Algorithm), head.KeyID, dst)
	if err != nil && len(j.kept) > 0 {
		err = j.try(t, j.keys(true), jose.SignatureAlgorithm(head.Algorithm), head.KeyID, dst)
	}
	return err
}

var (
	errNoKey     = errors.New("there is no key for its algorithm and kid")
	errSignature = errors.New("its signature is of none of the keys")
)

func (j *JWT) try(t *jwt.JSONWebToken, keys []key, alg jose.SignatureAlgorithm, kid string, dst []any) error {
	err := errNoKey
	tried := 0
	for _, k := range keys {
		// A key without a name is tried with every token of its kind, a key with one only where the token names it or none.
		if k.alg != alg || !j.allowed(k) || k.id != "" && kid != "" && k.id != kid {
			continue
		}
		if tried++; tried > maxTries {
			break
		}
		if t.Claims(k.key, dst...) == nil {
			return nil
		}
		err = errSignature
	}
	return err
}

func (j *JWT) validate(c claims) error {
	std := jwt.Claims{Issuer: c.Issuer, Audience: c.Audience, Expiry: c.Expiry, NotBefore: c.NotBefore, IssuedAt: c.IssuedAt}
	now := j.c.Now()
	err := std.ValidateWithLeeway(jwt.Expected{Issuer: j.c.Issuer, AnyAudience: j.c.Audience, Time: now}, j.c.Leeway)
	switch {
	case errors.Is(err, jwt.ErrExpired), err == nil && c.Expiry != nil && !now.Before(c.Expiry.Time().Add(j.c.Leeway)):
		return &Error{Code: CodeExpired, Message: "The token has expired."}
	case errors.Is(err, jwt.ErrNotValidYet), errors.Is(err, jwt.ErrIssuedInTheFuture):
		return &Error{Code: CodeEarly, Message: "The token is not valid yet."}
	case err != nil:
		return invalid(err)
	case c.Expiry == nil && !j.c.WithoutExpiry:
		return invalid(errors.New("it has no exp"))
	}
	return nil
}

func (j *JWT) user(all map[string]json.RawMessage) (User, error) {
	var u User
	ids := texts(lookup(all, j.c.UserClaim))
	if len(ids) != 1 || !ValidID(ids[0]) {
		return User{}, fmt.Errorf("its claim %q does not name a user", j.c.UserClaim)
	}
	u.ID = ids[0]
	u.Rooms = texts(lookup(all, j.c.RoomsClaim))
	if len(u.Rooms) > maxPattern {
		return User{}, fmt.Errorf("its claim %q has more than %d rooms", j.c.RoomsClaim, maxPattern)
	}
	if names := texts(lookup(all, j.c.NameClaim)); len(names) == 1 {
		u.Name = names[0]
	}
	u.Claims = make(map[string][]string)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if slices.Contains(registered, name) || name == j.c.RoomsClaim {
			continue
		}
		if v := texts(all[name]); len(v) > 0 {
			u.Claims[name] = v
		}
	}
	return u, nil
}

// registered are the claims that say something of the token and nothing of the user.
var registered = []string{"iss", "aud", "exp", "nbf", "iat", "jti"}

// lookup finds a claim by its name, or by a JSON pointer.
func lookup(all map[string]json.RawMessage, name string) json.RawMessage {
	pointer, ok := strings.CutPrefix(name, "/")
	if !ok {
		return all[name]
	}
	unescape := strings.NewReplacer("~1", "/", "~0", "~")
	first, rest, more := strings.Cut(pointer, "/")
	raw := all[unescape.Replace(first)]
	for more {
		var inner map[string]json.RawMessage
		if json.Unmarshal(raw, &inner) != nil {
			return nil
		}
		first, rest, more = strings.Cut(rest, "/")
		raw = inner[unescape.Replace(first)]
	}
	return raw
}

// texts are the texts of a claim that is a string, an integer or a list of these; others have none.
func texts(raw json.RawMessage) []string {
	if len(raw) == 0 {
		return nil
	}
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		list = []json.RawMessage{raw}
	}
	var all []string
	for _, raw := range list {
		var v any
		d := json.NewDecoder(strings.NewReader(string(raw)))
		d.UseNumber()
		if d.Decode(&v) != nil {
			return nil
		}
		switch v := v.(type) {
		case string:
			all = append(all, v)
		case json.Number:
			if _, err := v.Int64(); err != nil {
				return nil
			}
			all = append(all, v.String())
		default:
			return nil
		}
	}
	return all
}
