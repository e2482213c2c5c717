package mpack

import (
	"errors"
	"math"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/tinylib/msgp/msgp"

	"github.com/sockeye-io/sockeye/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func TestRead_Tokens(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]Token{
		"\x00":                                 {Kind: Uint},
		"\x7f":                                 {Kind: Uint, U: 127},
		"\xff":                                 {Kind: Int, I: -1},
		"\xe0":                                 {Kind: Int, I: -32},
		"\xc0":                                 {Kind: Nil},
		"\xc2":                                 {Kind: Bool},
		"\xc3":                                 {Kind: Bool, Bool: true},
		"\xcc\xff":                             {Kind: Uint, U: 255},
		"\xcd\x01\x00":                         {Kind: Uint, U: 256},
		"\xce\xff\xff\xff\xff":                 {Kind: Uint, U: 1<<32 - 1},
		"\xcf\xff\xff\xff\xff\xff\xff\xff\xff": {Kind: Uint, U: 1<<64 - 1},
		"\xd0\x80":                             {Kind: Int, I: -128},
		"\xd0\x01":                             {Kind: Uint, U: 1},
		"\xd1\x80\x00":                         {Kind: Int, I: -32768},
		"\xd2\x80\x00\x00\x00":                 {Kind: Int, I: -1 << 31},
		"\xd3\x80\x00\x00\x00\x00\x00\x00\x00": {Kind: Int, I: -1 << 63},
		"\xca\x3f\xc0\x00\x00":                 {Kind: Float, F: 1.5},
		"\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00": {Kind: Float, F: 1.5},
		"\xa0":                                 {Kind: Str, Data: []byte{}},
		"\xa1x":                                {Kind: Str, Data: []byte("x")},
		"\xd9\x01x":                            {Kind: Str, Data: []byte("x")},
		"\xda\x00\x01x":                        {Kind: Str, Data: []byte("x")},
		"\xdb\x00\x00\x00\x01x":                {Kind: Str, Data: []byte("x")},
		"\xc4\x01x":                            {Kind: Bin, Data: []byte("x")},
		"\xc5\x00\x01x":                        {Kind: Bin, Data: []byte("x")},
		"\xc6\x00\x00\x00\x01x":                {Kind: Bin, Data: []byte("x")},
		"\xc7\x01\x05x":                        {Kind: Ext, Ext: 5, Data: []byte("x")},
		"\xc8\x00\x01\xffx":                    {Kind: Ext, Ext: -1, Data: []byte("x")},
		"\xc9\x00\x00\x00\x01\x05x":            {Kind: Ext, Ext: 5, Data: []byte("x")},
		"\xd4\x05x":                            {Kind: Ext, Ext: 5, Fixed: true, Data: []byte("x")},
		"\xd5\x05xx":                           {Kind: Ext, Ext: 5, Fixed: true, Data: []byte("xx")},
		"\xd6\x05xxxx":                         {Kind: Ext, Ext: 5, Fixed: true, Data: []byte("xxxx")},
		"\xd7\x05xxxxxxxx":                     {Kind: Ext, Ext: 5, Fixed: true, Data: []byte("xxxxxxxx")},
		"\xd8\x05xxxxxxxxxxxxxxxx":             {Kind: Ext, Ext: 5, Fixed: true, Data: []byte("xxxxxxxxxxxxxxxx")},
		"\x90":                                 {Kind: Array},
		"\x80":                                 {Kind: Map},
		"\xdc\x00\x00":                         {Kind: Array},
		"\xde\x00\x00":                         {Kind: Map},
	} {
		got, rest, err := Read([]byte(in + "rest"))
		if err != nil || string(rest) != "rest" || !reflect.DeepEqual(got, want) {
			t.Errorf("%x: %+v %q %v, want %+v", in, got, rest, err, want)
		}
		for n := range in {
			if _, _, err := Read([]byte(in[:n])); !errors.Is(err, ErrSyntax) {
				t.Errorf("%x: accepted", in[:n])
			}
		}
		if rest, _, err := Skip([]byte(in+"rest"), 1); err != nil || string(rest) != "rest" {
			t.Errorf("%x: skipped to %q %v", in, rest, err)
		}
	}
	if _, _, err := Read([]byte{0xc1}); !errors.Is(err, ErrSyntax) {
		t.Error("0xc1 is no MessagePack")
	}
}

// CVE-2026-21452, GHSA-qjvr-435c-5fjh: lengths are not believed, and nothing is allocated for them.
func TestAdvisory_CVE_2026_21452_Lengths(t *testing.T) {
	for _, in := range []string{
		"\xc6\xff\xff\xff\xff", "\xdd\xff\xff\xff\xff", "\xdf\xff\xff\xff\xff", "\xc9\x7f\xff\xff\xff", "\xdb\xff\xff\xff\xff",
		"\xdd\x00\x00\x00\x02\x01", "\xdf\x00\x00\x00\x01\x01", "\x81\xa1", "\x92\x01",
	} {
		if n := testing.AllocsPerRun(10, func() {
			if _, _, err := Skip([]byte(in), 64); err == nil {
				t.Errorf("%x: accepted", in)
			}
		}); n > 0 {
			t.Errorf("%x: %v allocations", in, n)
		}
	}
}

func TestSkip_Depth(t *testing.T) {
	t.Parallel()
	nested := func(n int) []byte { return []byte(strings.Repeat("\x91", n) + "\x01") }
	if _, _, err := Skip(nested(64), 64); err != nil {
		t.Error(err)
	}
	maps := []byte(strings.Repeat("\x81\xa0", 64) + "\x01")
	if _, _, err := Skip(maps, 64); err != nil {
		t.Error(err)
	}
	for _, in := range [][]byte{nested(65), nested(100_000), append([]byte("\x81\xa0"), maps...)} {
		if _, _, err := Skip(in, 64); !errors.Is(err, ErrDepth) {
			t.Errorf("%d bytes: %v", len(in), err)
		}
	}
}

func TestSkip_Binary(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]bool{
		"\x92\x01\xa1x": false, "\x91\xc4\x00": true, "\x81\xa1a\xc7\x01\x00x": true, "\xd4\x00\x00": false, "\xd7\x00\x00\x00\x00\x00\x00\x00\x00\x00": false,
		"\xc7\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00": true, "\xd6\xff\x00\x00\x00\x00": false, "\xd4\x05x": true,
	} {
		if _, got, err := Skip([]byte(in), 8); err != nil || got != want {
			t.Errorf("%x: %v %v", in, got, err)
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("\x91", MaxDepth)
	for name, c := range map[string]struct {
		in  string
		ext bool
		err error
	}{
		"text":                  {"\xa2\xc3\xa9", false, nil},
		"text inside":           {"\x82\xa1a\x91\xa2\xc3\xa9\x01\xc4\x01\xff", false, nil},
		"undefined":             {"\x91\xd4\x00\x00", true, nil},
		"date":                  {"\xd6\xff\x00\x00\x00\x00", true, nil},
		"text is not UTF-8":     {"\xa1\xff", false, ErrUTF8},
		"part is not UTF-8":     {"\x92\x01\xa1\xff", false, ErrUTF8},
		"key is not UTF-8":      {"\x81\xa1\xff\x01", false, ErrUTF8},
		"half a character":      {"\xa1\xc3\xa1\xa9", false, ErrUTF8},
		"as deep as allowed":    {deep + "\x01", false, nil},
		"deeper":                {deep + "\x90", false, ErrDepth},
		"not all there":         {"\x92\x01", false, ErrSyntax},
		"a byte without a use":  {"\x91\xc1", false, ErrSyntax},
		"a key without a value": {"\x81\xa1a", false, ErrSyntax},
	} {
		rest, ext, err := Check([]byte(c.in))
		if ext != c.ext || !errors.Is(err, c.err) || err == nil && len(rest) > 0 {
			t.Errorf("%s: %q %v %v", name, rest, ext, err)
		}
		for n := range c.in {
			if c.err == nil {
				if _, _, err := Check([]byte(c.in[:n])); !errors.Is(err, ErrSyntax) {
					t.Errorf("%s: the first %d bytes: %v", name, n, err)
				}
			}
		}
	}
}

func TestToken_IntegerAndText(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		in      []byte
		integer int64
		whole   bool
		text    string // "" if it is none
	}{
		{"positive", msgp.AppendUint64(nil, 300), 300, true, "300"},
		{"positive, in the signed form", []byte("\xd1\x01\x2c"), 300, true, "300"},
		{"negative", msgp.AppendInt64(nil, -300), -300, true, "-300"},
		{"largest", msgp.AppendUint64(nil, math.MaxInt64), math.MaxInt64, true, "9223372036854775807"},
		{"too large", msgp.AppendUint64(nil, 1<<63), 0, false, "9223372036854775808"},
		{"float", msgp.AppendFloat64(nil, -300), -300, true, "-300"},
		{"float of 32 bits", msgp.AppendFloat32(nil, 1.5), 0, false, "1.5"},
		{"fraction", msgp.AppendFloat64(nil, 0.1), 0, false, "0.1"},
		{"large float", msgp.AppendFloat64(nil, 1<<53), 0, false, "9007199254740992"},
		{"-0", msgp.AppendFloat64(nil, math.Copysign(0, -1)), 0, true, "0"},
		{"NaN", msgp.AppendFloat64(nil, math.NaN()), 0, false, "NaN"},
		{"infinite", msgp.AppendFloat64(nil, math.Inf(-1)), 0, false, "-Infinity"},
		{"string", msgp.AppendString(nil, "300"), 0, false, "300"},
		{"bytes", msgp.AppendBytes(nil, []byte("300")), 0, false, ""},
		{"true", msgp.AppendBool(nil, true), 0, false, ""},
		{"nil", msgp.AppendNil(nil), 0, false, ""},
		{"array", msgp.AppendArrayHeader(nil, 0), 0, false, ""},
	} {
		tok, _, err := Read(c.in)
		if err != nil {
			t.Fatal(err)
		}
		if i, ok := tok.Integer(); ok != c.whole || ok && i != c.integer {
			t.Errorf("%s: %d %v", c.name, i, ok)
		}
		if s, ok := tok.Text(); ok != (c.text != "") || s != c.text {
			t.Errorf("%s: %q %v", c.name, s, ok)
		}
	}
}

func TestToken_Millis(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]int64{
		"\xd7\x00\x00\x00\x01\x8b\xcf\xe5\x68\x7b":                     1700000000123,
		"\xd6\xff\x65\x53\xf1\x00":                                     1700000000000,
		"\xd7\xff\x1d\x53\x53\x00\x65\x53\xf1\x00":                     1700000000123,
		"\xc7\x0c\xff\x1d\xcd\x65\x00\xff\xff\xff\xff\xff\xff\xff\xfe": -1500,
		"\xc7\x0c\xff\x00\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff": 1<<63 - 1,
		"\xc7\x0c\xff\x00\x00\x00\x00\x80\x00\x00\x00\x00\x00\x00\x00": 1<<63 - 1,
	} {
		tok, _, err := Read([]byte(in))
		if got, ok := tok.Millis(); err != nil || !ok || got != want {
			t.Errorf("%x: %d %v", in, got, ok)
		}
	}
	for _, in := range []string{"\x01", "\xd4\xffx", "\xd5\xffxx", "\xd6\x00xxxx", "\xd4\x00\x00"} {
		tok, _, _ := Read([]byte(in))
		if tok.Date() {
			t.Errorf("%x is a date", in)
		}
	}
}

// FuzzSkip holds us against another reader.
func TestLen(t *testing.T) {
	t.Parallel()
	x := func(n int) string { return strings.Repeat("x", n) }
	for _, in := range []string{
		"\x07", "\xe0", "\xff", "\xc0", "\xc2", "\xc3", "\xa0", "\xa3abc", "\xbf" + x(31), "\x90", "\x80", "\x93\x01\xa1x\x90",
		"\x82\xa1a\x81\xa1b\x01\xa1c\x92\x01\x02", "\xc4\x02xx", "\xc5\x01\x00" + x(256), "\xc6\x00\x01\x00\x00" + x(1<<16),
		"\xc7\x03\x05xxx", "\xc8\x01\x00\x05" + x(256), "\xc9\x00\x00\x00\x01\x05x", "\xca" + x(4), "\xcb" + x(8), "\xcc\xff",
		"\xcd" + x(2), "\xce" + x(4), "\xcf" + x(8), "\xd0\xff", "\xd1" + x(2), "\xd2" + x(4), "\xd3" + x(8), "\xd4\x05x",
		"\xd5\x05" + x(2), "\xd6\x05" + x(4), "\xd7\x05" + x(8), "\xd8\x05" + x(16), "\xd9\x02xx", "\xda\x00\x02xx",
		"\xdb\x00\x00\x00\x02xx", "\xdc\x00\x02\x01\x90", "\xdd\x00\x00\x00\x01\x01", "\xde\x00\x01\xa0\x01", "\xdf\x00\x00\x00\x01\xa0\x80",
	} {
		if rest, _, err := Skip([]byte(in+"rest"), 8); err != nil || string(rest) != "rest" {
			t.Fatalf("%x: %q %v", in, rest, err)
		}
		if got := Len([]byte(in + "rest")); got != len(in) {
			t.Errorf("%x: %d bytes, want %d", in, got, len(in))
		}
	}
}

func FuzzSkip(f *testing.F) {
	for _, s := range []string{"\x93\x01\xc0\xa1x", "\x81\xa1a\xdc\x00\x01\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00", "\xc7\x01\x00x", "\xdd\xff\xff\xff\xff", "\xd7\xff\x00\x00\x00\x00\x00\x00\x00\x00"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		rest, _, err := Skip(b, 100)
		if errors.Is(err, ErrDepth) {
			return
		}
		other, oerr := msgp.Skip(b)
		if (err == nil) != (oerr == nil) || err == nil && len(rest) != len(other) {
			t.Fatalf("%x: %d left, %v; the other one: %d left, %v", b, len(rest), err, len(other), oerr)
		}
		if err == nil && Len(b) != len(b)-len(rest) {
			t.Fatalf("%x: %d of %d bytes, %d left", b, Len(b), len(b), len(rest))
		}
	})
}

func BenchmarkSkip(b *testing.B) {
	in := msgp.AppendArrayHeader(nil, 3)
	in = msgp.AppendString(in, "message")
	in = msgp.AppendTimeExt(msgp.AppendInt(in, 12345), time.Unix(1, 0))
	b.ReportAllocs()
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		if _, _, err := Skip(in, 64); err != nil {
			b.Fatal(err)
		}
	}
	runtime.KeepAlive(in)
}
