package engineio

import "strings"

// origin is a scheme, a host as it was written (IPv6 in brackets) and a port, the scheme's default where none
// was written; 0 for schemes without default.
type origin struct {
	scheme, host string
	port         uint16
}

// parseOrigin parses the serialization of an origin: scheme://host[:port] and nothing more.
//
// Protocol: RFC 6454, 6.1.
func parseOrigin(s string) (origin, bool) {
	scheme, authority, ok := strings.Cut(s, "://")
	if !ok || !validScheme(scheme) {
		return origin{}, false
	}
	return splitHost(strings.ToLower(scheme), authority)
}

// splitHost parses host[:port].
func splitHost(scheme, authority string) (origin, bool) {
	o := origin{scheme: scheme, host: authority, port: defaultPort(scheme)}
	end := strings.LastIndexByte(authority, ':')
	if end > strings.LastIndexByte(authority, ']') {
		port, ok := parsePort(authority[end+1:])
		if !ok {
			return origin{}, false
		}
		o.host, o.port = authority[:end], port
	}
	return o, validHost(o.host)
}

func defaultPort(scheme string) uint16 {
	switch scheme {
	case "http", "ws":
		return 80
	case "https", "wss":
		return 443
	}
	return 0
}

func parsePort(s string) (port uint16, ok bool) {
	if len(s) == 0 || len(s) > 5 {
		return 0, false
	}
	n := 0
	for i := range len(s) {
		if !isDigit(s[i]) {
			return 0, false
		}
		n = n*10 + int(s[i]-'0')
	}
	return uint16(n), n > 0 && n <= 65535
}

func validScheme(s string) bool {
	if s == "" || !isLetter(s[0]) {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isLetter(c) && !isDigit(c) && c != '+' && c != '-' && c != '.' {
			return false
		}
	}
	return true
}

// validHost accepts names without empty labels, addresses, and IPv6 addresses in brackets.
func validHost(s string) bool {
	if s == "" {
		return false
	}
	if s[0] == '[' {
		return validIPv6(s)
	}
	label := 0
	for i := range len(s) {
		switch c := s[i]; {
		case isLetter(c), isDigit(c), c == '-', c == '_':
			label++
		case c == '.' && label > 0:
			label = 0
		default:
			return false
		}
	}
	return label > 0
}

func validIPv6(s string) bool {
	if len(s) < 4 || s[len(s)-1] != ']' {
		return false
	}
	for _, c := range []byte(s[1 : len(s)-1]) {
		if !isDigit(c) && (c|0x20 < 'a' || c|0x20 > 'f') && c != ':' && c != '.' {
			return false
		}
	}
	return true
}

// validOriginChars is Node's check of a header value: no control characters but the tab.
func validOriginChars(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// maxAskedHeaders bounds what a preflight is given back, in bytes.
const maxAskedHeaders = 1024

// isTokenList tells whether s is a list of header names that may be sent back.
func isTokenList(s string) bool {
	if s == "" || len(s) > maxAskedHeaders {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isTokenChar(c) && c != ',' && c != ' ' && c != '\t' {
			return false
		}
	}
	return true
}

// isToken: RFC 9110, 5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		if !isTokenChar(s[i]) {
			return false
		}
	}
	return s != ""
}

func isTokenChar(c byte) bool {
	return isLetter(c) || isDigit(c) || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
