package identity

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"maps"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sockeye-io/sockeye/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// now is the time of these tests.
var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func clock() time.Time { return now }

// pair are a key to sign with and one to check with.
type pair struct {
	alg     jose.SignatureAlgorithm
	private any
	public  any
}

// keys are made once: an RSA key takes long.
var keys = sync.OnceValue(func() map[string]pair {
	r, err1 := rsa.GenerateKey(rand.Reader, 2048)
	e, err2 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	pub, priv, err3 := ed25519.GenerateKey(rand.Reader)
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil
	}
	secret := []byte("a secret of more than 32 characters")
	return map[string]pair{
		"HS256": {jose.HS256, secret, secret}, "RS256": {jose.RS256, r, &r.PublicKey}, "ES256": {jose.ES256, e, &e.PublicKey},
		"EdDSA": {jose.EdDSA, priv, pub},
	}
})

type claimsOf map[string]any

// with gives the usual claims with others.
func with(more claimsOf) claimsOf {
	all := claimsOf{"sub": "ann", "exp": now.Add(time.Hour).Unix()}
	maps.Copy(all, more)
	for k, v := range all {
		if v == nil {
			delete(all, k)
		}
	}
	return all
}

func sign(t testing.TB, k pair, kid string, claims claimsOf) string {
	t.Helper()
	o := (&jose.SignerOptions{}).WithType("JWT")
	if kid != "" {
		o = o.WithHeader("kid", kid)
	}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: k.alg, Key: k.private}, o)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := s.Sign(b)
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func publicPEM(t testing.TB, public any) []byte {
	t.Helper()
	b, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: b})
}

func jwks(t testing.TB, keys ...jose.JSONWebKey) []byte {
	t.Helper()
	b, err := json.Marshal(jose.JSONWebKeySet{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func newJWT(t testing.TB, c JWTConfig) *JWT {
	t.Helper()
	c.Now = clock
	j, err := NewJWT(c)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// code is that of an error, "" for none.
func code(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	if err != nil {
		return "?" + err.Error()
	}
	return ""
}

func TestJWT_Algorithms(t *testing.T) {
	t.Parallel()
	for name, k := range keys() {
		for form, c := range map[string]JWTConfig{
			"key":                   {},
			"jwks":                  {PublicKeys: jwks(t, jose.JSONWebKey{Key: k.public, KeyID: "one"})},
			"jwks with alg and use": {PublicKeys: jwks(t, jose.JSONWebKey{Key: k.public, KeyID: "one", Algorithm: name, Use: "sig"})},
		} {
			if secret, ok := k.public.([]byte); ok && form == "key" {
				c.Secret = secret
			} else if form == "key" {
				c.PublicKeys = publicPEM(t, k.public)
			}
			t.Run(name+" "+form, func(t *testing.T) {
				t.Parallel()
				j := newJWT(t, c)
				for _, kid := range []string{"", "one"} {
					u, err := j.Renew(t.Context(), sign(t, k, kid, with(nil)))
					if err != nil || u.ID != "ann" || !u.Expires.Equal(now.Add(time.Hour+30*time.Second)) {
						t.Errorf("kid %q: %+v %v", kid, u, err)
					}
				}
				if _, err := j.Renew(t.Context(), sign(t, k, "two", with(nil))); (code(err) != "") != (form != "key") {
					t.Errorf("another kid: %v", err)
				}
				for other, k2 := range keys() {
					if _, err := j.Renew(t.Context(), sign(t, k2, "", with(nil))); other != name && code(err) != CodeInvalid {
						t.Errorf("a key of %s: %v", other, err)
					}
				}
			})
		}
	}
}

// What a key is for is not the token's choice.
func TestJWT_Confusion(t *testing.T) {
	t.Parallel()
	rs := keys()["RS256"]
	public := publicPEM(t, rs.public)
	for name, c := range map[string]JWTConfig{
		"pem": {PublicKeys: public}, "jwks": {PublicKeys: jwks(t, jose.JSONWebKey{Key: rs.public, KeyID: "one"})},
		"pem and secret": {PublicKeys: public, Secret: []byte("a secret of more than 32 characters"), Algorithms: []string{"RS256"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := newJWT(t, c)
			// Signed with the public key as the secret of HS256.
			der, err := x509.MarshalPKIXPublicKey(rs.public)
			if err != nil {
				t.Fatal(err)
			}
			for _, secret := range [][]byte{public, bytes.TrimSpace(public), der} {
				if _, err := j.Renew(t.Context(), sign(t, pair{jose.HS256, secret, nil}, "", with(nil))); code(err) != CodeInvalid {
					t.Errorf("HS256 with the public key: %v", err)
				}
			}
			if _, err := j.Renew(t.Context(), sign(t, keys()["HS256"], "", with(nil))); code(err) != CodeInvalid {
				t.Errorf("an algorithm that is not allowed: %v", err)
			}
			payload := strings.Split(sign(t, rs, "", with(nil)), ".")[1]
			enc := base64.RawURLEncoding.EncodeToString
			jwk, err := json.Marshal(jose.JSONWebKey{Key: keys()["ES256"].public})
			if err != nil {
				t.Fatal(err)
			}
			for _, head := range []string{
				`{"alg":"none"}`, `{"alg":"None","typ":"JWT"}`, `{"alg":""}`, `{}`, `{"alg":null}`, `{"alg":["RS256"]}`, `{"alg":"RS512"}`,
				`{"alg":"PS256"}`, `{"alg":"RSA-OAEP"}`, `{"alg":"RS256","crit":["x"],"x":1}`, `{"alg":"RS256","b64":false,"crit":["b64"]}`,
				`{"alg":"ES256","jwk":` + string(jwk) + `}`, `{"alg":"RS256","jku":"http://127.0.0.1:1/","x5u":"http://127.0.0.1:1/"}`,
			} {
				for _, signature := range []string{"", "AAAA", enc(make([]byte, 256)), enc(make([]byte, 64))} {
					if _, err := j.Renew(t.Context(), enc([]byte(head))+"."+payload+"."+signature); code(err) != CodeInvalid {
						t.Errorf("%s: %v", head, err)
					}
				}
			}
		})
	}
	// A key that a token brings is not used, even if it has signed the token.
	j := newJWT(t, JWTConfig{PublicKeys: public})
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: otherRSA(t)}, &jose.SignerOptions{EmbedJWK: true})
	if err != nil {
		t.Fatal(err)
	}
	b, _ := json.Marshal(with(nil)) // texts and numbers
	signed, err := s.Sign(b)
	if err != nil {
		t.Fatal(err)
	}
	token, _ := signed.CompactSerialize() // it is signed
	if _, err := j.Renew(t.Context(), token); code(err) != CodeInvalid {
		t.Errorf("a token with its own key: %v", err)
	}
}

func otherRSA(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestJWT_Claims(t *testing.T) {
	t.Parallel()
	k := keys()["HS256"]
	secret := []byte("a secret of more than 32 characters")
	plain := JWTConfig{Secret: secret}
	strict := JWTConfig{Secret: secret, Issuer: "https://issuer", Audience: []string{"chat", "game"}}
	at := func(d time.Duration) int64 { return now.Add(d).Unix() }
	for _, test := range []struct {
		name   string
		c      JWTConfig
		claims claimsOf
		code   string
	}{
		{"plain", plain, nil, ""},
		{"expired, within leeway", plain, claimsOf{"exp": at(-29 * time.Second)}, ""},
		{"expired, at the end of leeway", plain, claimsOf{"exp": at(-30 * time.Second)}, CodeExpired},
		{"expired", plain, claimsOf{"exp": at(-time.Hour)}, CodeExpired},
		{"expired, without leeway", JWTConfig{Secret: secret, Leeway: -1}, claimsOf{"exp": at(0)}, CodeExpired},
		{"exp with a fraction", plain, claimsOf{"exp": float64(at(time.Minute)) + 0.5}, ""},
		{"exp is a text", plain, claimsOf{"exp": "tomorrow"}, CodeInvalid},
		{"exp is huge", plain, claimsOf{"exp": 1e300}, CodeInvalid},
		{"no exp", plain, claimsOf{"exp": nil}, CodeInvalid},
		{"no exp, allowed", JWTConfig{Secret: secret, WithoutExpiry: true}, claimsOf{"exp": nil}, ""},
		{"nbf", plain, claimsOf{"nbf": at(29 * time.Second)}, ""},
		{"nbf later", plain, claimsOf{"nbf": at(31 * time.Second)}, CodeEarly},
		{"iat later", plain, claimsOf{"iat": at(time.Hour)}, CodeEarly},
		{"any issuer", plain, claimsOf{"iss": "x", "aud": "y"}, ""},
		{"issuer and audience", strict, claimsOf{"iss": "https://issuer", "aud": "chat"}, ""},
		{"audiences", strict, claimsOf{"iss": "https://issuer", "aud": []string{"other", "game"}}, ""},
		{"no issuer", strict, claimsOf{"aud": "chat"}, CodeInvalid},
		{"another issuer", strict, claimsOf{"iss": "https://issuer/", "aud": "chat"}, CodeInvalid},
		{"no audience", strict, claimsOf{"iss": "https://issuer"}, CodeInvalid},
		{"another audience", strict, claimsOf{"iss": "https://issuer", "aud": []string{"mail"}}, CodeInvalid},
		{"audience is a number", strict, claimsOf{"iss": "https://issuer", "aud": 7}, CodeInvalid},
		{"no sub", plain, claimsOf{"sub": nil}, CodeInvalid},
		{"empty sub", plain, claimsOf{"sub": ""}, CodeInvalid},
		{"sub is a number", plain, claimsOf{"sub": 12345678901234567}, ""},
		{"sub is a list", plain, claimsOf{"sub": []string{"a", "b"}}, CodeInvalid},
		{"sub is an object", plain, claimsOf{"sub": claimsOf{}}, CodeInvalid},
		{"long sub", plain, claimsOf{"sub": strings.Repeat("x", 257)}, CodeInvalid},
		{"sub with a newline", plain, claimsOf{"sub": "a\nb"}, CodeInvalid},
		{"too many rooms", plain, claimsOf{"rooms": make([]string, 1001)}, CodeInvalid},
		{"large", plain, claimsOf{"x": strings.Repeat("x", 9000)}, CodeInvalid},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := newJWT(t, test.c).Renew(t.Context(), sign(t, k, "", with(test.claims)))
			if code(err) != test.code {
				t.Errorf("%v, want code %q", err, test.code)
			}
		})
	}
}

func TestJWT_User(t *testing.T) {
	t.Parallel()
	k := keys()["HS256"]
	secret := []byte("a secret of more than 32 characters")
	end := now.Add(time.Hour + 30*time.Second)
	for _, test := range []struct {
		name   string
		c      JWTConfig
		claims claimsOf
		want   User
	}{
		{
			"usual",
			JWTConfig{},
			claimsOf{"rooms": []string{"a", "b:*"}, "name": "Ann", "org": "red", "team": []any{1, "two"}, "o": claimsOf{}, "f": 1.5, "b": true},
			User{ID: "ann", Name: "Ann", Rooms: []string{"a", "b:*"}, Claims: map[string][]string{"sub": {"ann"}, "name": {"Ann"}, "org": {"red"}, "team": {"1", "two"}}, Expires: end},
		},
		{"one room", JWTConfig{}, claimsOf{"rooms": "a"}, User{ID: "ann", Rooms: []string{"a"}, Claims: map[string][]string{"sub": {"ann"}}, Expires: end}},
		{"rooms of another kind", JWTConfig{}, claimsOf{"rooms": claimsOf{"a": 1}}, User{ID: "ann", Claims: map[string][]string{"sub": {"ann"}}, Expires: end}},
		{
			"other names",
			JWTConfig{UserClaim: "uid", RoomsClaim: "/x~1y/rooms", NameClaim: "/profile/name"},
			claimsOf{"uid": 7, "x/y": claimsOf{"rooms": []string{"c"}}, "profile": claimsOf{"name": "Ann"}},
			User{ID: "7", Name: "Ann", Rooms: []string{"c"}, Claims: map[string][]string{"sub": {"ann"}, "uid": {"7"}}, Expires: end},
		},
		{"names that lead nowhere", JWTConfig{RoomsClaim: "/a/b/c", NameClaim: "/sub/name"}, nil, User{ID: "ann", Claims: map[string][]string{"sub": {"ann"}}, Expires: end}},
		{"never", JWTConfig{WithoutExpiry: true}, claimsOf{"exp": nil}, User{ID: "ann", Claims: map[string][]string{"sub": {"ann"}}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.c.Secret = secret
			got, err := newJWT(t, test.c).Renew(t.Context(), sign(t, k, "", with(test.claims)))
			if err != nil {
				t.Fatal(err)
			}
			if !got.Expires.Equal(test.want.Expires) {
				t.Errorf("expires %v, want %v", got.Expires, test.want.Expires)
			}
			got.Expires, test.want.Expires = time.Time{}, time.Time{}
			if !reflect.DeepEqual(got, test.want) {
				t.Errorf("got  %+v\nwant %+v", got, test.want)
			}
		})
	}
}

// Of a token that was good no changed one is.
func TestJWT_Mutated(t *testing.T) {
	t.Parallel()
	j := newJWT(t, JWTConfig{Secret: []byte("a secret of more than 32 characters"), PublicKeys: publicPEM(t, keys()["ES256"].public)})
	for _, name := range []string{"HS256", "ES256"} {
		token := sign(t, keys()[name], "", with(claimsOf{"rooms": []string{"a"}}))
		for n := range len(token) {
			if _, err := j.Renew(t.Context(), token[:n]); code(err) != CodeInvalid {
				t.Fatalf("the first %d characters: %v", n, err)
			}
		}
		last := strings.LastIndex(token, ".")
		raw, err := base64.RawURLEncoding.DecodeString(token[last+1:])
		if err != nil {
			t.Fatal(err)
		}
		for bit := range 8 * len(raw) {
			raw[bit/8] ^= 1 << (bit % 8)
			if _, err := j.Renew(t.Context(), token[:last+1]+base64.RawURLEncoding.EncodeToString(raw)); code(err) != CodeInvalid {
				t.Fatalf("%s: bit %d of the signature: %v", name, bit, err)
			}
			raw[bit/8] ^= 1 << (bit % 8)
		}
		for i := range last {
			if token[i] == '.' {
				continue
			}
			b := []byte(token)
			if b[i] ^= 1; token[i+1] == '.' {
				continue // the last character has bits that mean nothing
			}
			if _, err := j.Renew(t.Context(), string(b)); code(err) != CodeInvalid {
				t.Fatalf("%s: character %d: %v", name, i, err)
			}
		}
	}
}

func FuzzJWT(f *testing.F) {
	for _, name := range []string{"HS256", "ES256"} {
		f.Add(sign(f, keys()[name], "", with(claimsOf{"rooms": []string{"a"}})))
	}
	j := newJWT(f, JWTConfig{Secret: make([]byte, 32), PublicKeys: publicPEM(f, keys()["ES256"].public)})
	f.Fuzz(func(t *testing.T, token string) {
		// The seeds of ES256 are signed by a key that is known; whatever is made of them is not.
		u, err := j.Renew(t.Context(), token)
		if err != nil && code(err) == "" || err == nil && u.ID != "ann" {
			t.Errorf("%+v %v", u, err)
		}
	})
}

func BenchmarkJWT(b *testing.B) {
	for _, name := range []string{"HS256", "RS256", "ES256", "EdDSA"} {
		b.Run(name, func(b *testing.B) {
			k := keys()[name]
			j := newJWT(b, JWTConfig{PublicKeys: jwks(b, jose.JSONWebKey{Key: k.public, KeyID: "one"})})
			token := sign(b, k, "one", with(claimsOf{"rooms": []string{"a", "b:*"}}))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := j.Renew(b.Context(), token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
