package ws

import (
	"crypto/sha1" // RFC 6455 wants it; nothing depends on its strength
	"encoding/base64"
	"net/http"
	"net/textproto"
	"strings"
)

// HandshakeError is a request that is not a valid opening handshake, or an answer that does not accept
// one.
type HandshakeError struct {
	Status int    // of the answer
	Text   string // body of the answer to a request; what is wrong with an answer
}

func (e *HandshakeError) Error() string { return "ws: handshake: " + e.Text }

const keyGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// acceptKey is the answer to a key. Protocol: RFC 6455, 4.2.2.
func acceptKey(key string) string {
	sum := sha1.Sum([]byte(key + keyGUID))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// agreed is the extension as a server agrees to it, without the window if none was asked for.
const agreed = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

// negotiate picks the first offer that can be met and gives the value of the answer, "" for none. An offer that
// is not understood is not met, and what does not parse as an offer is none: neither is an error. It takes
// time in proportion to the length of the header.
//
// Protocol: RFC 6455, 9.1; RFC 7692, 7.1.
func negotiate(header http.Header) string {
	for _, line := range header["Sec-Websocket-Extensions"] {
		for line != "" {
			var offer string
			offer, line = cutQuoted(line, ',')
			name, params := cutQuoted(offer, ';')
			if !strings.EqualFold(trim(name), "permessage-deflate") {
				continue
			}
			if window, ok := meet(params); ok {
				return agreed + window
			}
		}
	}
	return ""
}

// meet tells whether an offer with these parameters can be met, and what the answer has to say of the window.
func meet(params string) (window string, ok bool) {
	var seen [4]bool
	for params != "" {
		var param string
		param, params = cutQuoted(params, ';')
		name, value, hasValue := strings.Cut(param, "=")
		value = unquote(trim(value))
		var i int
		switch strings.ToLower(trim(name)) {
		case "server_no_context_takeover":
			i, ok = 0, !hasValue
		case "client_no_context_takeover":
			i, ok = 1, !hasValue
		case "client_max_window_bits": // what the client may do; it need not
			i, ok = 2, !hasValue || validWindow(value)
		case "server_max_window_bits": // ours is always 15
			i, ok = 3, value == "15"
			window = "; server_max_window_bits=15"
		default:
			return "", false
		}
		if !ok || seen[i] {
			return "", false
		}
		seen[i] = true
	}
	return window, true
}

// validWindow tells whether s is a number from 8 to 15 without leading zeros.
func validWindow(s string) bool {
	return s == "8" || s == "9" || len(s) == 2 && s[0] == '1' && s[1] >= '0' && s[1] <= '5'
}

// cutQuoted cuts s at the first sep outside of a quoted string.
func cutQuoted(s string, sep byte) (before, after string) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case quoted && s[i] == '\\':
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == sep && !quoted:
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}

// unquote takes the quotes off; values that need escapes are none of ours.
func unquote(s string) string {
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		return s[1 : len(s)-1]
	}
	return s
}

func trim(s string) string { return textproto.TrimString(s) }

// hasToken tells whether a header, a list, has a token.
func hasToken(lines []string, token string) bool {
	for _, line := range lines {
		for line != "" {
			var item string
			item, line, _ = strings.Cut(line, ",")
			if strings.EqualFold(trim(item), token) {
				return true
			}
		}
	}
	return false
}

// firstProtocol gives the first subprotocol that is asked for; ok is false when the list is not one of
// tokens.
func firstProtocol(lines []string) (first string, ok bool) {
	for _, line := range lines {
		for more := true; more; {
			var item string
			item, line, more = strings.Cut(line, ",")
			item = trim(item)
			if !isToken(item) {
				return "", false
			}
			if first == "" {
				first = item
			}
		}
	}
	return first, true
}

// isToken tells whether s is a token. Protocol: RFC 9110, 5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte("\"(),/:;<=>?@[\\]{}", c) >= 0 {
			return false
		}
	}
	return s != ""
}

// validKey tells whether s is 16 bytes in base64.
func validKey(s string) bool {
	if len(s) != 24 || s[22] != '=' || s[23] != '=' {
		return false
	}
	_, err := base64.StdEncoding.DecodeString(s)
	return err == nil
}
