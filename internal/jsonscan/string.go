package jsonscan

import (
	"bytes"
	"encoding/binary"
	"unicode/utf16"
	"unicode/utf8"
)

// Plain gives the length of the longest beginning of b that may stand in a JSON string as it is and is ASCII:
// no quote, no backslash, no control character.
func Plain[T ~string | ~[]byte](b T) int {
	i := 0
	for ; len(b)-i >= 8; i += 8 {
		// Eight bytes at once: the high bit of a byte of the sums is set where the byte is special.
		const ones, highs = 0x0101010101010101, 0x8080808080808080
		var w [8]byte
		copy(w[:], b[i:i+8])
		x := binary.LittleEndian.Uint64(w[:])
		quote, slash := x^(ones*'"'), x^(ones*'\\')
		if (x|(x-ones*0x20)|(quote-ones)|(slash-ones))&highs != 0 {
			break
		}
	}
	for ; i < len(b); i++ {
		if c := b[i]; c < 0x20 || c >= utf8.RuneSelf || c == '"' || c == '\\' {
			break
		}
	}
	return i
}

// stringEnd gives the end of the string that begins with the quote at b[i].
func stringEnd(b []byte, i int) (end int, ok bool) {
	i++
	for {
		i += Plain(b[i:])
		if i == len(b) {
			return i, false
		}
		switch c := b[i]; {
		case c == '"':
			return i + 1, true
		case c == '\\':
			n := escape(b[i:])
			if n == 0 {
				return i, false
			}
			i += n
		case c < 0x20:
			return i, false
		default:
			r, n := utf8.DecodeRune(b[i:])
			if r == utf8.RuneError && n == 1 {
				return i, false
			}
			i += n
		}
	}
}

// escape gives the length of the escape sequence at the beginning of b, 0 if there is none.
func escape(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if _, ok := hex4(b); ok {
			return 6
		}
	}
	return 0
}

// hex4 reads the four digits of an escape sequence \uXXXX.
func hex4(b []byte) (r rune, ok bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	for _, c := range b[2:6] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// AppendUnquoted appends the content of lit, a valid JSON string with its quotes. Lone surrogates become
// U+FFFD, as in encoding/json.
func AppendUnquoted(dst, lit []byte) []byte {
	b := lit[1 : len(lit)-1]
	for len(b) > 0 {
		n := Plain(b)
		for n < len(b) && b[n] != '\\' {
			n++
		}
		dst = append(dst, b[:n]...)
		if b = b[n:]; len(b) == 0 {
			break
		}
		c := b[1]
		if c == 'u' {
			dst, b = appendRune(dst, b)
			continue
		}
		switch c {
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		}
		dst, b = append(dst, c), b[2:]
	}
	return dst
}

// appendRune appends the character that the one or two \uXXXX at the beginning of b stand for.
func appendRune(dst, b []byte) (out, rest []byte) {
	r, _ := hex4(b) // b is valid
	b = b[6:]
	if utf16.IsSurrogate(r) {
		low, ok := hex4(b)
		if full := utf16.DecodeRune(r, low); ok && full != utf8.RuneError {
			return utf8.AppendRune(dst, full), b[6:]
		}
		r = utf8.RuneError
	}
	return utf8.AppendRune(dst, r), b
}

// keyIs tells whether lit, a valid JSON string with its quotes, is name.
func keyIs(lit []byte, name string) bool {
	in := lit[1 : len(lit)-1]
	if string(in) == name {
		return true
	}
	if len(in) < len(name) || len(in) > 6*len(name) || Plain(in) == len(in) {
		return false
	}
	var room [96]byte
	return string(AppendUnquoted(room[:0], lit)) == name
}

// Unquoted gives the content of lit, a valid JSON string with its quotes, which it aliases where it can.
func Unquoted(lit []byte) []byte {
	in := lit[1 : len(lit)-1]
	if bytes.IndexByte(in, '\\') >= 0 {
		return AppendUnquoted(make([]byte, 0, len(in)), lit)
	}
	return in
}
