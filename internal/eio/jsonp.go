package eio

import (
	"bytes"
	"unicode/utf8"
)

// AppendJSONP appends the script that hands payload to the callback of index j, of which the digits are used.
//
// Protocol: engine.io v3, "JSONP". Node: engine.io/lib/transports/polling-jsonp.ts doWrite
func AppendJSONP(dst []byte, j string, payload []byte) []byte {
	dst = append(dst, "___eio["...)
	for _, c := range []byte(j) {
		if c >= '0' && c <= '9' {
			dst = append(dst, c)
		}
	}
	dst = append(dst, "]("...)
	dst = appendJSONString(dst, payload)
	return append(dst, ");"...)
}

// appendJSONString writes as JSON.stringify does, with U+2028 and U+2029 escaped, which older scripts take for
// the end of a line.
func appendJSONString(dst, s []byte) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c < utf8.RuneSelf && c != '"' && c != '\\' {
			i++
			continue
		}
		r, w := rune(c), 1
		if c >= utf8.RuneSelf {
			r, w = utf8.DecodeRune(s[i:])
			if r != 0x2028 && r != 0x2029 && (r != utf8.RuneError || w != 1) {
				i += w
				continue
			}
		}
		dst = append(dst, s[start:i]...)
		switch r {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\b':
			dst = append(dst, `\b`...)
		case '\f':
			dst = append(dst, `\f`...)
		case '\n':
			dst = append(dst, `\n`...)
		case '\r':
			dst = append(dst, `\r`...)
		case '\t':
			dst = append(dst, `\t`...)
		default:
			dst = append(dst, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
		}
		i += w
		start = i
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

// ParseJSONP gives the payload in the body of a JSONP POST, decoded in place: the value of the form field d. ok is
// false when there is no such field, or several: then nothing is to happen.
//
// Node: engine.io/lib/transports/polling-jsonp.ts onData
func ParseJSONP(form []byte) (payload []byte, ok bool) {
	for len(form) > 0 {
		var field []byte
		field, form, _ = bytes.Cut(form, []byte{'&'})
		key, value, _ := bytes.Cut(field, []byte{'='})
		if !isKeyD(key) {
			continue
		}
		if ok {
			return nil, false
		}
		payload, ok = value, true
	}
	return unslash(unescapeForm(payload)), ok
}

// isKeyD tells whether a form's key is d, also in its escaped spelling.
func isKeyD(key []byte) bool { return string(key) == "d" || string(key) == "%64" }

// unescapeForm decodes a form value in place. A percent sign without two hexadecimal digits stays, as in Node.
func unescapeForm(s []byte) []byte {
	out := s[:0]
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '+':
			c = ' '
		case c == '%' && i+2 < len(s):
			hi, lo := hexValue(s[i+1]), hexValue(s[i+2])
			if hi < 16 && lo < 16 {
				c = hi<<4 | lo
				i += 2
			}
		}
		out = append(out, c)
	}
	return out
}

func hexValue(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return 16
}

// unslash undoes, in place, how clients protect line ends: before an n, one backslash makes it a newline and of several
// one is taken away.
func unslash(s []byte) []byte {
	out := s[:0]
	for i := 0; i < len(s); {
		run := i
		for run < len(s) && s[run] == '\\' {
			run++
		}
		slashes := run - i
		if slashes == 0 {
			out = append(out, s[i])
			i++
			continue
		}
		i = run
		if i < len(s) && s[i] == 'n' {
			i++
			if slashes == 1 {
				out = append(out, '\n')
				continue
			}
			slashes--
			for range slashes {
				out = append(out, '\\')
			}
			out = append(out, 'n')
			continue
		}
		for range slashes {
			out = append(out, '\\')
		}
	}
	return out
}
