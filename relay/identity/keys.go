package identity

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"

	"github.com/go-jose/go-jose/v4"
)

const (
	minSecret  = 32      // bytes, as long as the hash: RFC 7518, 3.2
	minRSA     = 2048    // bits
	maxKeys    = 100     // in one file
	maxKeyFile = 1 << 20 // bytes
)

// Errors of keys.
var (
	errShortSecret = errors.New("a secret for HS256 needs 32 bytes or more")
	errPrivate     = errors.New("this is a private key, which has no place here: give the public one")
	errNoKeys      = errors.New("no key that can check a signature")
)

// key is a key with the one algorithm that it is for.
type key struct {
	id  string // kid; "" where it has none
	alg jose.SignatureAlgorithm
	key any
}

// parseKeys reads what is in a file: PEM with public keys or certificates, or a JWKS.
func parseKeys(b []byte) ([]key, error) {
	var keys []key
	var err error
	if b = bytes.TrimSpace(b); bytes.HasPrefix(b, []byte("{")) {
		keys, err = parseJWKS(b)
	} else {
		keys, err = parsePEM(b)
	}
	if err != nil {
		return nil, err
	}
	if len(keys) == 0 {
		return nil, errNoKeys
	}
	return keys, nil
}

func parsePEM(b []byte) ([]key, error) {
	var keys []key
	for len(keys) < maxKeys {
		block, rest := pem.Decode(b)
		if block == nil {
			break
		}
		b = rest
		k, err := parseBlock(block)
		if err != nil {
			return nil, fmt.Errorf("PEM block %d: %w", len(keys)+1, err)
		}
		keys = append(keys, k)
	}
	if len(bytes.TrimSpace(b)) > 0 {
		return nil, errors.New("neither PEM nor a JWKS")
	}
	return keys, nil
}

func parseBlock(block *pem.Block) (key, error) {
	switch block.Type {
	case "PUBLIC KEY":
		pub, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return key{}, err
		}
		return keyOf(pub)
	case "RSA PUBLIC KEY":
		pub, err := x509.ParsePKCS1PublicKey(block.Bytes)
		if err != nil {
			return key{}, err
		}
		return keyOf(pub)
	case "CERTIFICATE":
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return key{}, err
		}
		return keyOf(c.PublicKey)
	case "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY":
		return key{}, errPrivate
	}
	return key{}, fmt.Errorf("%q is no public key", block.Type)
}

// keyOf says which algorithm a key is for.
func keyOf(k any) (key, error) {
	switch k := k.(type) {
	case []byte:
		if len(k) < minSecret {
			return key{}, errShortSecret
		}
		return key{alg: jose.HS256, key: k}, nil
	case *rsa.PublicKey:
		if k.N.BitLen() < minRSA {
			return key{}, errors.New("an RSA key needs 2048 bits or more")
		}
		return key{alg: jose.RS256, key: k}, nil
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() {
			return key{}, errors.New("the curve of an ECDSA key must be P-256, for ES256")
		}
		return key{alg: jose.ES256, key: k}, nil
	case ed25519.PublicKey:
		return key{alg: jose.EdDSA, key: k}, nil
	case *rsa.PrivateKey, *ecdsa.PrivateKey, ed25519.PrivateKey:
		return key{}, errPrivate
	}
	return key{}, errors.New("a key of a kind that is not supported")
}

// parseJWKS leaves out the keys of a set that are for something else, as providers publish those too. A private key is
// an error: it should be nowhere near.
func parseJWKS(b []byte) ([]key, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(b, &set); err != nil {
		return nil, fmt.Errorf("JWKS: %w", err)
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("JWKS: more than %d keys", maxKeys)
	}
	var keys []key
	for i, raw := range set.Keys {
		k, ok, err := parseJWK(raw)
		if err != nil {
			return nil, fmt.Errorf("JWKS: key %d: %w", i+1, err)
		}
		if !ok {
			continue
		}
		if slices.ContainsFunc(keys, func(o key) bool { return k.id != "" && o.id == k.id && o.alg == k.alg }) {
			return nil, fmt.Errorf("JWKS: key %d: its kid is there twice", i+1)
		}
		keys = append(keys, k)
	}
	return keys, nil
}

func parseJWK(raw []byte) (k key, ok bool, err error) {
	var head struct {
		Kty string   `json:"kty"`
		Crv string   `json:"crv"`
		Alg string   `json:"alg"`
		Use string   `json:"use"`
		Ops []string `json:"key_ops"`
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return key{}, false, err
	}
	alg := map[string]string{"oct": "HS256", "RSA": "RS256", "EC P-256": "ES256", "OKP Ed25519": "EdDSA"}
	kind := head.Kty
	if kind == "EC" || kind == "OKP" {
		kind += " " + head.Crv
	}
	fits := alg[kind] != "" && (head.Alg == "" || head.Alg == alg[kind] || head.Alg == "Ed25519" && alg[kind] == "EdDSA")
	signs := (head.Use == "" || head.Use == "sig") && (len(head.Ops) == 0 || slices.Contains(head.Ops, "verify"))
	if !fits || !signs {
		return key{}, false, nil
	}
	var j jose.JSONWebKey
	if err := j.UnmarshalJSON(raw); err != nil {
		return key{}, false, err
	}
	if k, err = keyOf(j.Key); err != nil {
		return key{}, false, err
	}
	k.id = j.KeyID
	return k, true, nil
}
