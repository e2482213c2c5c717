package mpack

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

// marks writes bytes as their hexadecimal digits between angle brackets.
type marks struct{}

func (marks) AppendBytes(dst, data []byte) []byte {
	return append(hex.AppendEncode(append(dst, '<'), data), '>')
}

func TestAppendJSON(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"\xc0":                                 `null`,
		"\xc3":                                 `true`,
		"\xcd\x01\x00":                         `256`,
		"\xd0\x80":                             `-128`,
		"\xcb\x3e\x7a\xd7\xf2\x9a\xbc\xaf\x48": `1e-7`,
		"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00": `null`,
		"\xa4\"\xc3\xa9\xff":                   "\"\\\"\u00e9\ufffd\"",
		"\xc4\x02\x01\xff":                     `<01ff>`,
		"\xc7\x02\x00\x01\xff":                 `<01ff>`,
		"\xd4\x05\xff":                         `[5,<ff>]`,
		"\xd4\xfe\xff":                         `[-2,<ff>]`,
		"\xd4\x00\x00":                         `null`,
		"\xd6\xff\x65\x53\xf1\x00":             `"2023-11-14T22:13:20.000Z"`,
		"\xc7\x0c\xff\x00\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff": `null`,
		"\x90":                     `[]`,
		"\x80":                     `{}`,
		"\x93\x01\x90\xd4\x00\x00": `[1,[],null]`,
		"\x83\xa1a\xd4\x00\x00\xa1b\xc0\xa1c\xd4\x00\x00":                   `{"b":null}`,
		"\x81\xa1a\xd4\x00\x00":                                             `{}`,
		"\x84\x01\x01\xff\x02\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00\x03\xa0*": `{"1":1,"-1":2,"1.5":3,"":42}`,
		"\x81\xa1a\x92\x81\xa1b\xc4\x00\x02":                                `{"a":[{"b":<>},2]}`,
	} {
		out, rest, err := AppendJSON([]byte("x"), []byte(in+"rest"), marks{})
		if err != nil || string(out) != "x"+want || string(rest) != "rest" {
			t.Errorf("%x: %s %q %v, want %s", in, out, rest, err, want)
		}
		for n := range in {
			if _, _, err := AppendJSON(nil, []byte(in[:n]), marks{}); !errors.Is(err, ErrSyntax) {
				t.Errorf("the first %d bytes of %x: %v", n, in, err)
			}
		}
	}
}

func TestAppendJSON_Refuses(t *testing.T) {
	t.Parallel()
	arrays, maps := strings.Repeat("\x91", MaxDepth), strings.Repeat("\x81\xa0", MaxDepth)
	for name, c := range map[string]struct {
		in  string
		err error
	}{
		"key is nil":          {"\x81\xc0\x01", ErrSyntax},
		"key is true":         {"\x81\xc3\x01", ErrSyntax},
		"key is bytes":        {"\x81\xc4\x00\x01", ErrSyntax},
		"key is an array":     {"\x81\x90\x01", ErrSyntax},
		"key is a date":       {"\x81\xd6\xff\x00\x00\x00\x00\x01", ErrSyntax},
		"no MessagePack":      {"\x91\xc1", ErrSyntax},
		"arrays just allowed": {arrays + "\x01", nil},
		"arrays too deep":     {arrays + "\x90", ErrDepth},
		"maps just allowed":   {maps + "\x01", nil},
		"maps too deep":       {maps + "\x80", ErrDepth},
	} {
		if _, _, err := AppendJSON(nil, []byte(c.in), marks{}); !errors.Is(err, c.err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// JSON is made of as much as is skipped, and only of what can be skipped.
func FuzzAppendJSON(f *testing.F) {
	for _, s := range []string{"\x93\x01\xc0\xa1x", "\x82\xa1a\xd4\x00\x00\x07\xc4\x01x", "\xd7\xff\x00\x00\x00\x00\x00\x00\x00\x00", "\xd4\x05x", "\x81\xc0\x01"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		_, rest, err := AppendJSON(nil, b, marks{})
		after, _, skipped := Skip(b, MaxDepth)
		if err == nil && (skipped != nil || len(rest) != len(after)) {
			t.Fatalf("%x: %d left, skipped to %d left, %v", b, len(rest), len(after), skipped)
		}
	})
}
