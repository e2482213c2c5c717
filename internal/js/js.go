// Package js writes strings, numbers and dates as JavaScript does, so that peers see no difference.
//
// Not in this package: reading, and what is made of bytes.
package js

import (
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/sockeye-io/sockeye/internal/jsonscan"
)

// AppendString appends s as JSON.stringify does: nothing escaped but what must be. Each byte that is not UTF-8 becomes
// U+FFFD.
func AppendString[S ~string | ~[]byte](dst []byte, s S) []byte {
	dst = append(dst, '"')
	for {
		n := jsonscan.Plain(s)
		dst = append(dst, s[:n]...)
		if s = s[n:]; len(s) == 0 {
			return append(dst, '"')
		}
		switch c := s[0]; c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\b':
			dst = append(dst, '\\', 'b')
		case '\f':
			dst = append(dst, '\\', 'f')
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			if c >= utf8.RuneSelf {
				dst, s = appendRunes(dst, s)
				continue
			}
			const hex = "0123456789abcdef"
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		s = s[1:]
	}
}

// appendRunes appends the characters beyond ASCII at the beginning of s.
func appendRunes[S ~string | ~[]byte](dst []byte, s S) (out []byte, rest S) {
	for len(s) > 0 && s[0] >= utf8.RuneSelf {
		r, n := utf8.DecodeRuneInString(string(s[:min(len(s), utf8.UTFMax)]))
		dst, s = utf8.AppendRune(dst, r), s[n:]
	}
	return dst, s
}

// AppendNumber appends f, of so many bits, as JSON.stringify does: null where JSON has no number for it.
func AppendNumber(dst []byte, f float64, bits int) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return append(dst, "null"...)
	}
	return appendFinite(dst, f, bits)
}

// NumberText gives f as it becomes the name of an event or of a room.
func NumberText(f float64) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	var room [32]byte
	return string(appendFinite(room[:0], f, 64))
}

func appendFinite(dst []byte, f float64, bits int) []byte {
	if f == 0 {
		return append(dst, '0') // also for -0
	}
	abs := math.Abs(f)
	if small, large := abs < 1e-6, abs >= 1e21; bits == 64 && !small && !large ||
		bits == 32 && float32(abs) >= 1e-6 && float32(abs) < 1e21 {
		return strconv.AppendFloat(dst, f, 'f', -1, bits)
	}
	dst = strconv.AppendFloat(dst, f, 'e', -1, bits)
	if n := len(dst); n >= 4 && dst[n-4] == 'e' && dst[n-2] == '0' { // e-07 is e-7 in JavaScript
		dst[n-2] = dst[n-1]
		dst = dst[:n-1]
	}
	return dst
}

// AppendDate appends a date in milliseconds since the Unix epoch as JSON.stringify does: null where JavaScript has no
// such date.
func AppendDate(dst []byte, ms int64) []byte {
	start := len(dst)
	dst, ok := AppendISO(append(dst, '"'), ms)
	if !ok {
		return append(dst[:start], "null"...)
	}
	return append(dst, '"')
}

// AppendISO appends a date in milliseconds since the Unix epoch as toISOString does. ok is false, and nothing is
// appended, where JavaScript has no such date.
func AppendISO(dst []byte, ms int64) (out []byte, ok bool) {
	const most = 8_640_000_000_000_000
	if ms > most || ms < -most {
		return dst, false
	}
	t := time.UnixMilli(ms).UTC()
	switch y := t.Year(); {
	case y < 0:
		dst = appendYear(append(dst, '-'), -y, 6)
	case y > 9999:
		dst = appendYear(append(dst, '+'), y, 6)
	default:
		dst = appendYear(dst, y, 4)
	}
	return t.AppendFormat(dst, "-01-02T15:04:05.000Z"), true
}

func appendYear(dst []byte, y, width int) []byte {
	var b [6]byte
	for i := width - 1; i >= 0; i-- {
		b[i] = '0' + byte(y%10)
		y /= 10
	}
	return append(dst, b[:width]...)
}
