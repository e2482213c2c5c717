package eio

import (
	"bytes"
	"strconv"
)

// maxDigits bounds the text of a length.
//
// Differs from Node: longer ones (leading zeros, blanks) are refused.
const maxDigits = 64

// jsNumber is JavaScript's Number(s) where that is a non-negative integer that can be a length. Protocol 3 lengths are
// converted by it in Node: "02", "+2", " 2", "0x2" and "1e0" are numbers, nothing at all is none, blanks are 0.
func jsNumber(s []byte) (n int, ok bool) {
	if len(s) == 0 || len(s) > maxDigits {
		return 0, false
	}
	if plain(s) {
		for _, c := range s {
			n = n*10 + int(c-'0')
		}
		return n, true
	}
	s = bytes.TrimFunc(s, jsSpace)
	if len(s) == 0 {
		return 0, true
	}
	if len(s) > 2 && s[0] == '0' {
		switch s[1] {
		case 'x', 'X':
			return radix(s[2:], 16)
		case 'o', 'O':
			return radix(s[2:], 8)
		case 'b', 'B':
			return radix(s[2:], 2)
		}
	}
	for _, c := range s {
		if (c < '0' || c > '9') && c != '.' && c != 'e' && c != 'E' && c != '+' && c != '-' {
			return 0, false // what Go reads as a number and JavaScript does not: inf, nan, hexadecimal fractions
		}
	}
	f, err := strconv.ParseFloat(string(s), 64)
	if err != nil || f < 0 || f > maxLength || f != float64(int(f)) {
		return 0, false
	}
	return int(f), true
}

// plain tells whether s has only digits, and few enough not to overflow.
func plain(s []byte) bool {
	for _, c := range s {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(s) <= 12
}

func radix(s []byte, base int) (n int, ok bool) {
	if s[0] == '+' || s[0] == '-' {
		return 0, false
	}
	v, err := strconv.ParseInt(string(s), base, 64)
	if err != nil || v > maxLength {
		return 0, false
	}
	return int(v), true
}

// jsSpace is what JavaScript trims: WhiteSpace and LineTerminator.
func jsSpace(r rune) bool {
	switch r {
	case '\t', '\n', '\v', '\f', '\r', ' ', 0xa0, 0x1680, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000, 0xfeff:
		return true
	}
	return r >= 0x2000 && r <= 0x200a
}
