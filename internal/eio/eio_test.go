package eio

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// read gives copies of the packets of a payload. The body is copied, since base64 is decoded in place.
func read(f Format, body []byte) (ps []Packet, err error) {
	d := NewDecoder(f, bytes.Clone(body))
	for d.Next() {
		p := d.Packet
		p.Data = bytes.Clone(p.Data)
		ps = append(ps, p)
	}
	return ps, d.Err()
}

var mixed = []Packet{
	{Type: Open, Data: []byte(`{"sid":"x"}`)},
	{Type: Message, Data: []byte("hello")},
	{Type: Message, Data: []byte("\u20ac \U0001f600")},
	{Type: Message, Binary: true, Data: []byte{0, 0xff, 0x1e, 4}},
	{Type: Message},
	{Type: Message, Binary: true},
	{Type: Ping, Data: []byte("probe")},
	{Type: Noop},
}

func encode(f Format, ps []Packet) (out []byte) {
	for _, p := range ps {
		out = Append(out, f, p)
	}
	return out
}

var formats = map[string]Format{"v4": V4, "v3 text": V3Text, "v3 binary": V3Binary}

func TestPayload_RoundTrip(t *testing.T) {
	t.Parallel()
	for name, f := range formats {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := read(f, encode(f, mixed))
			if err != nil || !slices.EqualFunc(got, mixed, samePacket) {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

// Every prefix gives a prefix of the packets: whole ones, and at most one cut short where the format cannot tell.
func TestPayload_EveryPrefix(t *testing.T) {
	t.Parallel()
	for name, f := range formats {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body := encode(f, mixed)
			for n := range body {
				got, _ := read(f, body[:n])
				if len(got) > len(mixed) {
					t.Fatalf("prefix %d: %d packets", n, len(got))
				}
				for i := 0; i+1 < len(got); i++ {
					if !samePacket(got[i], mixed[i]) {
						t.Errorf("prefix %d, packet %d: %v", n, i, got[i])
					}
				}
			}
		})
	}
}

func TestGolden_EveryPrefix(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"engineio-v4-codec.json", "engineio-v3-codec.json"} {
		for _, v := range vectors(t, file) {
			body := unhex(t, v.Hex)
			for n := range min(len(body), 400) {
				for _, f := range formats {
					_, _ = read(f, body[:n])
				}
				for _, protocol := range []int{3, 4} {
					_, _ = ParseText(protocol, bytes.Clone(body[:n]))
					_ = ParseBinary(protocol, bytes.Clone(body[:n]))
				}
			}
		}
	}
}

func TestDecoder_InvalidUTF8(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		f    Format
		body string
	}{
		"v4, second packet":             {V4, "4a\x1e4\xff"},
		"v4, surrogate":                 {V4, "4a\x1e4\xed\xa0\x80"},
		"v4, in base64":                 {V4, "4a\x1eb\xff\xff"},
		"v3 text, second packet":        {V3Text, "2:4a2:4\xff"},
		"v3 text, overlong":             {V3Text, "2:4a3:4\xc0\x80"},
		"v3 binary, text packet":        {V3Binary, "\x00\x02\xff4a\x00\x02\xff4\xff"},
		"v3 binary, text cut in a rune": {V3Binary, "\x00\x02\xff4a\x00\x02\xff4\xe2\x82"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := read(tc.f, []byte(tc.body))
			if !errors.Is(err, ErrInvalidUTF8) || !errors.Is(err, ErrMalformed) {
				t.Errorf("err = %v", err)
			}
			if len(got) != 1 || !samePacket(got[0], Packet{Type: Message, Data: []byte("a")}) {
				t.Errorf("the packet before must count: %v", got)
			}
		})
	}
}

func TestDecoder_V3Malformed(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		f    Format
		body string
		n    int // packets before the error
	}{
		"text, half a surrogate pair":    {V3Text, "2:4\U0001f600", 0},
		"text, huge length":              {V3Text, "99999999999999999999:4", 0},
		"text, exponent beyond int":      {V3Text, "1e300:4", 0},
		"text, infinity":                 {V3Text, "Infinity:4", 0},
		"text, inf":                      {V3Text, "inf:4", 0},
		"text, nan":                      {V3Text, "NaN:4", 0},
		"text, hexadecimal fraction":     {V3Text, "0x1p1:4a", 0},
		"text, underscore":               {V3Text, "0_2:4a", 0},
		"text, signed hexadecimal":       {V3Text, "0x+2:4a", 0},
		"text, only a hexadecimal mark":  {V3Text, "0x:4a", 0},
		"binary, no length":              {V3Binary, "\x00\xff4", 0},
		"binary, no end of length":       {V3Binary, "\x00\x01\x02", 0},
		"binary, only the kind":          {V3Binary, "\x00", 0},
		"binary, digit above 9":          {V3Binary, "\x00\x0a\xff4", 0},
		"binary, endless length":         {V3Binary, "\x01" + strings.Repeat("\x09", 400) + "\xff4", 0},
		"binary, text of unknown type":   {V3Binary, "\x01\x02\xff\x04x\x00\x02\xff9a", 1},
		"binary, empty text":             {V3Binary, "\x01\x02\xff\x04x\x00\x00\xff", 1},
		"text, more digits than allowed": {V3Text, strings.Repeat("0", 80) + "2:4a", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := read(tc.f, []byte(tc.body))
			if !errors.Is(err, ErrMalformed) || len(got) != tc.n {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

func TestDecoder_V3Numbers(t *testing.T) {
	t.Parallel()
	for _, digits := range []string{"2", "02", "+2", " 2", "2 ", "\u00a02\ufeff", "0x2", "0X2", "0b10", "0o2", "2e0", "0.2e1", "2.", "20e-1"} {
		got, err := read(V3Text, []byte(digits+":4a"))
		if err != nil || len(got) != 1 || string(got[0].Data) != "a" {
			t.Errorf("%q: %v, %v", digits, got, err)
		}
	}
}

func TestDecoder_V3LengthZeroIsSkipped(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"0:2:4a", "2:4a0:", "2:4a \t:", "2:4a-0:", "0:0:2:4a"} {
		got, err := read(V3Text, []byte(body))
		if err != nil || len(got) != 1 || string(got[0].Data) != "a" {
			t.Errorf("%q: %v, %v", body, got, err)
		}
	}
}

func TestDecoder_UnknownBinaryTypeIsNone(t *testing.T) {
	t.Parallel()
	got, err := read(V3Binary, []byte("\x01\x02\xff\x09x\x01\x00\xff\x01\x02\xff\x04y"))
	want := []Packet{{Type: None, Binary: true, Data: []byte("x")}, {Type: None, Binary: true}, {Type: Message, Binary: true, Data: []byte("y")}}
	if err != nil || !slices.EqualFunc(got, want, samePacket) {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestBase64_Lenient(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"YWJj": "abc", "YWI=": "ab", "YQ==": "a", "YQ": "a", "Y": "", "": "", "=": "", "=YWJj": "",
		"Y W\nJ\rj": "abc", "-_8": "\xfb\xff", "+/8=": "\xfb\xff", "YWJj=YWJj": "abc", "YQ==YWJj": "a",
		"!!!!": "", "YWJjZA": "abcd", "YWJj!ZGVm": "abcdef",
	} {
		p, err := ParseText(4, []byte("b"+in))
		if err != nil || string(p.Data) != want {
			t.Errorf("%q: got %q, %v; want %q", in, p.Data, err, want)
		}
	}
	data := make([]byte, 300)
	for n := range data {
		data[n] = byte(n * 7)
		enc := []byte("b4" + base64.StdEncoding.EncodeToString(data[:n]))
		if p, err := ParseText(3, enc); err != nil || !bytes.Equal(p.Data, data[:n]) {
			t.Fatalf("%d bytes: got %x, %v", n, p.Data, err)
		}
	}
}

func TestJSONP_Wrap(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                       `""`,
		`4"a\b"`:                 `"4\"a\\b\""`,
		"\b\f\n\r\t\x00\x1f\x7f": `"\b\f\n\r\t\u0000\u001f` + "\x7f" + `"`,
		"\u2028\u2029\u20ac":     `"\u2028\u2029` + "\u20ac" + `"`,
		"a\xffb":                 `"a\ufffdb"`,
		"</script>":              `"</script>"`,
	} {
		got := string(AppendJSONP(nil, "1);alert(2", []byte(in)))
		if got != "___eio[12]("+want+");" {
			t.Errorf("%q: got %s", in, got)
		}
		var back string
		if err := json.Unmarshal([]byte(want), &back); err != nil {
			t.Errorf("%q: not JSON: %v", in, err)
		}
	}
}

func TestJSONP_Body(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		in, want string
		ok       bool
	}{
		"plain":                    {"d=2%3A4a", "2:4a", true},
		"plus is a blank":          {"d=a+b%2Bc", "a b+c", true},
		"other fields":             {"x=1&d=a&y", "a", true},
		"escaped key":              {"%64=a", "a", true},
		"empty":                    {"d=", "", true},
		"no value":                 {"d", "", true},
		"no field":                 {"x=1", "", false},
		"nothing":                  {"", "", false},
		"twice":                    {"d=a&d=b", "", false},
		"newline":                  {`d=a\nb`, "a\nb", true},
		"protected newline":        {`d=a\\nb`, `a\nb`, true},
		"three backslashes":        {`d=a\\\nb`, `a\\nb`, true},
		"backslashes before other": {`d=a\\tb\`, `a\\tb\`, true},
		"two newlines":             {`d=\n\n`, "\n\n", true},
		"bad escape stays":         {"d=%zz%4", "%zz%4", true},
		"utf-8":                    {"d=%E2%82%AC", "\u20ac", true},
		"value with equals":        {"d=b4YQ==", "b4YQ==", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, ok := ParseJSONP([]byte(tc.in))
			if string(got) != tc.want || ok != tc.ok {
				t.Errorf("got %q, %v", got, ok)
			}
		})
	}
}

func TestHandshake(t *testing.T) {
	t.Parallel()
	h := Handshake{
		SID: "lv_VI97HAXpY6yYWAAAC", Upgrades: []string{"websocket"},
		PingInterval: 25 * time.Second, PingTimeout: 20 * time.Second, MaxPayload: 1_000_000,
	}
	const wire = `{"sid":"lv_VI97HAXpY6yYWAAAC","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`
	if got := string(AppendHandshake(nil, h)); got != wire {
		t.Errorf("got %s", got)
	}
	got, err := ParseHandshake([]byte(wire))
	if err != nil || got.SID != h.SID || !slices.Equal(got.Upgrades, h.Upgrades) || got.PingInterval != h.PingInterval ||
		got.PingTimeout != h.PingTimeout || got.MaxPayload != h.MaxPayload {
		t.Errorf("got %+v, %v", got, err)
	}
	for n := range wire {
		if _, err := ParseHandshake([]byte(wire[:n])); !errors.Is(err, ErrMalformed) {
			t.Errorf("prefix %d: %v", n, err)
		}
	}
	for _, bad := range []string{
		`{}`, `null`, `[]`, `{"sid":"","pingInterval":1}`, `{"sid":"a","pingInterval":0}`, `{"sid":"a","pingInterval":-1}`,
		`{"sid":"a","pingInterval":1e300}`, `{"sid":"a","pingInterval":1,"pingTimeout":-1}`, `{"sid":1,"pingInterval":1}`,
		`{"sid":"a","pingInterval":1,"maxPayload":-1}`,
	} {
		if _, err := ParseHandshake([]byte(bad)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	if h, err := ParseHandshake([]byte(`{"sid":"a","pingInterval":1.5}`)); err != nil || h.MaxPayload != 0 || h.PingInterval != 1500*time.Microsecond {
		t.Errorf("without maxPayload: %+v, %v", h, err)
	}
}

func TestType_String(t *testing.T) {
	t.Parallel()
	if Open.String() != "open" || Noop.String() != "noop" || None.String() != "none" || Type(7).String() != "none" {
		t.Error("wrong names")
	}
}

func TestCodec_Allocates0(t *testing.T) {
	for name, f := range formats {
		body := encode(f, mixed)
		work := make([]byte, len(body))
		if n := testing.AllocsPerRun(100, func() {
			copy(work, body)
			d := NewDecoder(f, work)
			for d.Next() {
				_ = d.Packet
			}
		}); n != 0 {
			t.Errorf("%s: decoding allocates %v times", name, n)
		}
		buf := make([]byte, 0, 1024)
		if n := testing.AllocsPerRun(100, func() {
			buf = buf[:0]
			for _, p := range mixed {
				buf = Append(buf, f, p)
			}
		}); n != 0 {
			t.Errorf("%s: encoding allocates %v times", name, n)
		}
	}
}

func BenchmarkDecoder(b *testing.B) {
	for name, f := range formats {
		b.Run(name, func(b *testing.B) {
			body := encode(f, mixed)
			work := make([]byte, len(body))
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				copy(work, body)
				d := NewDecoder(f, work)
				for d.Next() {
					_ = d.Packet
				}
			}
		})
	}
}
