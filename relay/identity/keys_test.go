package identity

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

func TestJWT_KeyFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys")
	es, ed := keys()["ES256"], keys()["EdDSA"]
	put := func(b []byte, age time.Duration) {
		t.Helper()
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, time.Time{}, now.Add(age)); err != nil {
			t.Fatal(err)
		}
	}
	put(jwks(t, jose.JSONWebKey{Key: es.public, KeyID: "old"}), 0)
	var log bytes.Buffer
	at := now
	j, err := NewJWT(JWTConfig{KeyFile: path, Now: func() time.Time { return at }, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, k pair, kid, want string) {
		t.Helper()
		if _, err := j.Renew(context.Background(), sign(t, k, kid, with(nil))); code(err) != want {
			t.Errorf("%s: %v, want code %q", what, err, want)
		}
	}
	check("old", es, "old", "")
	check("new", ed, "new", CodeInvalid)
	put(jwks(t, jose.JSONWebKey{Key: es.public, KeyID: "old"}, jose.JSONWebKey{Key: ed.public, KeyID: "new"}), time.Minute)
	check("new, at once", ed, "new", CodeInvalid)
	at = at.Add(fileUnknown)
	check("new, a second later", ed, "new", "")
	check("old still", es, "old", "")
	put(jwks(t, jose.JSONWebKey{Key: ed.public, KeyID: "new"}), 2*time.Minute)
	check("taken out, at once", es, "old", "")
	at = at.Add(fileEvery)
	check("taken out, 5 s later", es, "old", CodeInvalid)
	check("new still", ed, "new", "")

	// A broken file changes nothing, and is told once.
	put([]byte(`{"keys":[`), 3*time.Minute)
	for range 3 {
		at = at.Add(fileEvery)
		check("broken", ed, "new", "")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		at = at.Add(fileEvery)
		check("gone", ed, "new", "")
	}
	if n := strings.Count(log.String(), "cannot be read again"); n != 1 {
		t.Errorf("told %d times:\n%s", n, log.String())
	}
	put(publicPEM(t, es.public), 4*time.Minute)
	at = at.Add(fileEvery)
	check("mended", es, "", "")
	check("mended", ed, "new", CodeInvalid)
}

func TestJWT_KeyURL(t *testing.T) {
	t.Parallel()
	es, ed := keys()["ES256"], keys()["EdDSA"]
	var mu sync.Mutex
	var fetched int
	body, status := jwks(t, jose.JSONWebKey{Key: es.public, KeyID: "old"}), http.StatusOK
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.URL.Path != "/keys" {
			http.Redirect(w, r, "/keys", http.StatusFound)
			return
		}
		fetched++
		w.WriteHeader(status)
		_, _ = w.Write(body) // the client may be gone
	}))
	t.Cleanup(srv.Close)
	set := func(code int, b []byte) {
		mu.Lock()
		defer mu.Unlock()
		status, body = code, b
	}
	count := func(want int) {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		if fetched != want {
			t.Errorf("fetched %d times, want %d", fetched, want)
		}
	}
	at := now
	j, err := NewJWT(JWTConfig{KeyURL: srv.URL + "/keys", Now: func() time.Time { return at }})
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, k pair, kid, want string) {
		t.Helper()
		if _, err := j.Renew(t.Context(), sign(t, k, kid, with(nil))); code(err) != want {
			t.Errorf("%s: %v, want code %q", what, err, want)
		}
	}
	check("old", es, "old", "")
	count(1)
	set(http.StatusOK, jwks(t, jose.JSONWebKey{Key: ed.public, KeyID: "new"}))
	check("new, at once", ed, "new", CodeInvalid)
	count(1)
	at = at.Add(urlUnknown)
	check("old, 10 s later", es, "old", "")
	count(1)
	check("new, 10 s later", ed, "new", "")
	check("old", es, "old", CodeInvalid)
	count(2)
	// A flood of tokens with unknown keys fetches nothing more.
	for range 100 {
		check("unknown", es, "x", CodeInvalid)
	}
	count(2)
	set(http.StatusInternalServerError, []byte("{}"))
	at = at.Add(urlEvery)
	check("broken", ed, "new", "")
	set(http.StatusOK, []byte("<html>"))
	at = at.Add(urlEvery)
	check("no keys", ed, "new", "")
	count(4)

	if _, err := NewJWT(JWTConfig{KeyURL: srv.URL + "/elsewhere"}); !errors.Is(err, errRedirect) {
		t.Errorf("a redirect: %v", err)
	}
	for _, bad := range []string{"http://example.com/keys", "ftp://localhost/keys", "https://", "https://user:password@localhost/", "://", "/keys"} {
		if _, err := NewJWT(JWTConfig{KeyURL: bad}); !errors.Is(err, errScheme) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestNewJWT_Faults(t *testing.T) {
	t.Parallel()
	short := &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 1023), E: 65537}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(keys()["ES256"].private)
	if err != nil {
		t.Fatal(err)
	}
	private := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
	es := publicPEM(t, keys()["ES256"].public)
	one := jose.JSONWebKey{Key: keys()["ES256"].public, KeyID: "one"}
	for _, test := range []struct {
		name string
		c    JWTConfig
		want string
	}{
		{"nothing", JWTConfig{}, "need a secret"},
		{"short secret", JWTConfig{Secret: make([]byte, 31)}, "32 bytes"},
		{"leeway", JWTConfig{PublicKeys: es, Leeway: time.Hour}, "leeway"},
		{"algorithm", JWTConfig{PublicKeys: es, Algorithms: []string{"none"}}, `"none"`},
		{"algorithm without key", JWTConfig{PublicKeys: es, Algorithms: []string{"RS256"}}, "no key is for"},
		{"private key", JWTConfig{PublicKeys: private}, "private key"},
		{"private key of a set", JWTConfig{PublicKeys: jwks(t, jose.JSONWebKey{Key: keys()["EdDSA"].private, KeyID: "x"})}, "private key"},
		{"short RSA", JWTConfig{PublicKeys: publicPEM(t, short)}, "2048"},
		{"other curve", JWTConfig{PublicKeys: publicPEM(t, &p384.PublicKey)}, "P-256"},
		{"no key at all", JWTConfig{PublicKeys: []byte("\n")}, "no key"},
		{"no PEM", JWTConfig{PublicKeys: []byte("hello")}, "neither PEM"},
		{"PEM and more", JWTConfig{PublicKeys: append(bytes.Clone(es), "hello"...)}, "neither PEM"},
		{"broken PEM", JWTConfig{PublicKeys: pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")})}, "PEM block 1"},
		{"PEM of another kind", JWTConfig{PublicKeys: pem.EncodeToMemory(&pem.Block{Type: "DH PARAMETERS"})}, `"DH PARAMETERS"`},
		{"broken set", JWTConfig{PublicKeys: []byte(`{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}]}`)}, "key 1"},
		{"empty set", JWTConfig{PublicKeys: []byte(`{"keys":[]}`)}, "no key"},
		{"set of other keys", JWTConfig{PublicKeys: []byte(`{"keys":[{"kty":"EC","crv":"P-521"},{"kty":"RSA","use":"enc"},{"kty":"RSA","alg":"PS256"},{"kty":"OKP","crv":"X25519"},{"kty":"oct","key_ops":["sign"]}]}`)}, "no key"},
		{"kid twice", JWTConfig{PublicKeys: jwks(t, one, one)}, "twice"},
		{"no file", JWTConfig{KeyFile: filepath.Join(t.TempDir(), "none")}, "none"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if _, err := NewJWT(test.c); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want it to say %q", err, test.want)
			}
		})
	}
}

func FuzzParseKeys(f *testing.F) {
	for _, k := range keys() {
		f.Add(jwks(f, jose.JSONWebKey{Key: k.public, KeyID: "one"}))
		if k.alg != jose.HS256 {
			f.Add(publicPEM(f, k.public))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := parseKeys(b)
		if (err == nil) != (len(all) > 0) {
			t.Errorf("%d keys, %v", len(all), err)
		}
	})
}
