package express

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"
)

// maxCookie bounds the value of a cookie, as browsers do.
const maxCookie = 4096

// signature is the length of a signature: SHA-256 in base64 without padding.
const signature = 43

// cookieOf gives the value of a cookie, "" for none. The first one of a name counts.
//
// Node: cookie parse
func cookieOf(h http.Header, name string) string {
	for _, line := range h["Cookie"] {
		for part := range strings.SplitSeq(line, ";") {
			k, v, ok := strings.Cut(part, "=")
			if !ok || strings.Trim(k, " \t") != name {
				continue
			}
			v = strings.Trim(v, " \t")
			if len(v) >= 2 && v[0] == '"' && v[len(v)-1] == '"' {
				v = v[1 : len(v)-1]
			}
			if len(v) > maxCookie {
				return ""
			}
			if d, err := url.PathUnescape(v); err == nil && utf8.ValidString(d) {
				return d
			}
			return v
		}
	}
	return ""
}

// keys are the secrets, with which cookies are signed.
type keys []string

// sign gives the value of a cookie for an id.
//
// Node: cookie-signature sign
func (ks keys) sign(id string) string {
	var b [signature]byte
	sum(&b, id, ks[0])
	return "s:" + id + "." + string(b[:])
}

func sum(dst *[signature]byte, id, secret string) {
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte(id))
	base64.RawStdEncoding.Encode(dst[:], h.Sum(nil))
}

// verify gives the id of the value of a cookie. It takes as long whichever secret it was signed with, or none; a value that
// could not have been signed at all is refused at once.
//
// Node: express-session unsigncookies, cookie-signature unsign
func (ks keys) verify(value string) (id string, ok bool) {
	signed, found := strings.CutPrefix(value, "s:")
	dot := strings.LastIndexByte(signed, '.')
	if !found || dot <= 0 || len(signed)-dot-1 != signature {
		return "", false
	}
	id = signed[:dot]
	given := []byte(signed[dot+1:])
	good := false
	for _, k := range ks {
		var b [signature]byte
		sum(&b, id, k)
		good = hmac.Equal(b[:], given) || good // in this order, so that each is computed
	}
	if !good {
		return "", false
	}
	return id, true
}
