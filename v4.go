package sockeye

import (
	"net/url"
	"strings"

	"github.com/sockeye-io/sockeye/parser"
)

// parseV4 splits what a 2.x client calls a namespace: its path is the name, its query the auth. It goes by the
// rules of the URL parser of JavaScript as far as clients can tell, with a name that begins with two slashes
// having a host.
//
// Node: socket.io/lib/client.ts ondecoded
func parseV4(s string) (name string, auth parser.Arg, ok bool) {
	if plainPath(s) {
		return s, parser.Arg{}, true
	}
	s = strings.NewReplacer("\t", "", "\n", "", "\r", "").Replace(s)
	s, _, _ = strings.Cut(s, "#")
	s, query, hasQuery := strings.Cut(s, "?")
	s = strings.ReplaceAll(s, `\`, "/")
	if strings.HasPrefix(s, "//") {
		s = strings.TrimLeft(s, "/") // as for a special scheme
		host, rest, _ := strings.Cut(s, "/")
		if host == "" {
			return "", parser.Arg{}, false
		}
		s = "/" + rest
	}
	if hasQuery {
		values, _ := url.ParseQuery(query) // of a malformed query what is well-formed
		m := make(map[string]string, len(values))
		for k, v := range values {
			m[k] = v[len(v)-1]
		}
		auth = parser.Value(m)
	}
	return cleanPath(escapePath(s)), auth, true
}

// plainPath tells whether a URL parser leaves s as it is.
func plainPath(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-':
		case c == '/' && (i == 0 || s[i-1] != '/'):
		default:
			return false
		}
	}
	return true
}

// escapePath percent-encodes what may not stand in the path of a URL.
func escapePath(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte("\"<>^`{}", c) >= 0 {
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// cleanPath resolves the dot segments, and only those.
func cleanPath(s string) string {
	var out []string
	segments := strings.Split(strings.TrimPrefix(s, "/"), "/")
	for i, seg := range segments {
		last := i == len(segments)-1
		switch strings.ReplaceAll(strings.ToLower(seg), "%2e", ".") {
		case ".":
			if last {
				out = append(out, "")
			}
		case "..":
			if len(out) > 0 {
				out = out[:len(out)-1]
			}
			if last {
				out = append(out, "")
			}
		default:
			out = append(out, seg)
		}
	}
	return "/" + strings.Join(out, "/")
}
