package eio

import "encoding/base64"

func lenBase64(n int) int { return base64.StdEncoding.EncodedLen(n) }

func appendBase64(dst, data []byte) []byte { return base64.StdEncoding.AppendEncode(dst, data) }

// decodeBase64 decodes src in place, as leniently as Node: padding may be missing and ends the data, the URL alphabet
// is accepted, other characters are skipped, and a last group of less than one byte is dropped.
func decodeBase64(src []byte) []byte {
	n := 0
	i := 0
	for ; len(src)-i >= 4; i += 4 {
		a, b, c, d := base64Value[src[i]], base64Value[src[i+1]], base64Value[src[i+2]], base64Value[src[i+3]]
		if a|b|c|d >= skip {
			break
		}
		src[n], src[n+1], src[n+2] = a<<2|b>>4, b<<4|c>>2, c<<6|d
		n += 3
	}
	out := src[:n]
	var acc uint32
	var bits uint
	for _, c := range src[i:] {
		if c == '=' {
			break
		}
		v := base64Value[c]
		if v == skip {
			continue
		}
		acc = acc<<6 | uint32(v)
		if bits += 6; bits >= 8 {
			bits -= 8
			out = append(out, byte(acc>>bits)) // never overtakes the reading: 3 bytes for 4 characters
		}
	}
	return out
}

// skip is above every 6-bit value and has none of their bits.
const skip = 64

var base64Value = base64Table()

func base64Table() (t [256]byte) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	for i := range t {
		t[i] = skip
	}
	for i := range len(alphabet) {
		t[alphabet[i]] = byte(i)
	}
	t['-'], t['_'] = 62, 63
	return t
}
