package rediswire

import (
	"testing"

	"github.com/sockeye-io/sockeye/parser"
)

func TestAppendMsgpackArg_NoExtensions(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		in, want string
	}{
		"date of 8.x":      {"\x91\xd7\xff\x1dSS\x00eS\xf1\x00", "\x91\xb82023-11-14T22:13:20.123Z"},
		"date of 7.x":      {"\xd7\x00\x00\x00\x01\x8b\xcf\xe5h{", "\xb82023-11-14T22:13:20.123Z"},
		"undefined of 7.x": {"\x81\xa1u\xd4\x00\x00", "\x81\xa1u\xc0"},
		"bytes of 7.x":     {"\x92\x01\xc7\x02\x00\x07\x08", "\x92\x01\xc4\x02\x07\x08"},
		"no date":          {"\xc7\x0c\xff\x00\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff", "\xc0"},
		"another type":     {"\x91\xd5\x05\x01\x02", "\x91\xc4\x02\x01\x02"},
		"nothing odd":      {"\x92\xc4\x01\x07\xcb?\xf8\x00\x00\x00\x00\x00\x00", "\x92\xc4\x01\x07\xcb?\xf8\x00\x00\x00\x00\x00\x00"},
	} {
		w := writer{b: []byte("x")}
		if err := w.arg(parser.RawMsgpack([]byte(c.in))); err != nil || string(w.b) != "x"+c.want {
			t.Errorf("%s: %q %v, want %q", name, w.b, err, c.want)
		}
	}
}

// Peers of the sharded adapter and of streams read timestamps.
func TestWriter_Dates(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		in, want string
	}{
		"of 8.x":             {"\x91\xd7\xff\x1dSS\x00eS\xf1\x00", "\x91\xd7\xff\x1dSS\x00eS\xf1\x00"},
		"of 7.x":             {"\xd7\x00\x00\x00\x01\x8b\xcf\xe5h{", "\xd7\xff\x1dSS\x00eS\xf1\x00"},
		"whole seconds":      {"\xd7\x00\x00\x00\x01\x8b\xcf\xe5h\x00", "\xd6\xff\x65\x53\xf1\x00"},
		"before 1970":        {"\xd7\x00\xff\xff\xff\xff\xff\xff\xff\xff", "\xc7\x0c\xff\x3b\x8b\x87\xc0\xff\xff\xff\xff\xff\xff\xff\xff"},
		"none of JavaScript": {"\xc7\x0c\xff\x00\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff", "\xc0"},
		"undefined":          {"\xd4\x00\x00", "\xc0"},
		"bytes of 7.x":       {"\xc7\x01\x00\x07", "\xc4\x01\x07"},
	} {
		w := writer{dates: true}
		if err := w.arg(parser.RawMsgpack([]byte(c.in))); err != nil || string(w.b) != c.want {
			t.Errorf("%s: %x %v, want %x", name, w.b, err, c.want)
		}
	}
}
