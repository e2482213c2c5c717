package js

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sockeye-io/sockeye/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func TestAppendString(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                             `""`,
		"plain":                        `"plain"`,
		"\"\\/\b\f\n\r\t":              `"\"\\/\b\f\n\r\t"`,
		"\x00\x1f\x7f":                 `"\u0000\u001f` + "\x7f" + `"`,
		"<&>'":                         `"<&>'"`,
		"\u00e9\u2028\u2029\U0001f600": "\"\u00e9\u2028\u2029\U0001f600\"",
		"a\xffb\xc3":                   "\"a\ufffdb\ufffd\"",
		"\xed\xa0\x80":                 "\"\ufffd\ufffd\ufffd\"",
		"\xf0\x9f\x98":                 "\"\ufffd\ufffd\ufffd\"",
	} {
		if got := string(AppendString([]byte("x"), in)); got != "x"+want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
		if got := string(AppendString([]byte("x"), []byte(in))); got != "x"+want {
			t.Errorf("bytes %q: %s, want %s", in, got, want)
		}
	}
}

// Every character, behind so many others that each path comes across it, can be read again.
func TestAppendString_EveryCharacter(t *testing.T) {
	t.Parallel()
	for _, before := range []string{"", "1234567", "12345678", "\u00e9"} {
		for r := range rune(0x3000) {
			in := before + string(r) + "end"
			var out string
			if err := json.Unmarshal(AppendString(nil, in), &out); err != nil || out != in {
				t.Fatalf("%q became %q %v", in, out, err)
			}
		}
	}
}

func TestAppendString_Allocs(t *testing.T) {
	in := []byte(strings.Repeat("text \u00e9\n", 20))
	dst := make([]byte, 0, 1024)
	if n := testing.AllocsPerRun(100, func() { AppendString(dst, in) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestAppendNumber(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		f          float64
		json, text string
	}{
		{0, "0", "0"},
		{math.Copysign(0, -1), "0", "0"},
		{-1.5, "-1.5", "-1.5"},
		{1e20, "100000000000000000000", "100000000000000000000"},
		{1e21, "1e+21", "1e+21"},
		{1e-6, "0.000001", "0.000001"},
		{1e-7, "1e-7", "1e-7"},
		{-2.5e-7, "-2.5e-7", "-2.5e-7"},
		{5e-324, "5e-324", "5e-324"},
		{math.MaxFloat64, "1.7976931348623157e+308", "1.7976931348623157e+308"},
		{math.NaN(), "null", "NaN"},
		{math.Inf(1), "null", "Infinity"},
		{math.Inf(-1), "null", "-Infinity"},
	} {
		if got := string(AppendNumber([]byte("x"), c.f, 64)); got != "x"+c.json {
			t.Errorf("%v: %s, want %s", c.f, got, c.json)
		}
		if got := NumberText(c.f); got != c.text {
			t.Errorf("%v: %s, want %s", c.f, got, c.text)
		}
	}
	for f, want := range map[float32]string{0.1: "0.1", 1e-6: "0.000001", 1e-7: "1e-7", 1e21: "1e+21"} {
		if got := string(AppendNumber(nil, float64(f), 32)); got != want {
			t.Errorf("%v of 32 bits: %s, want %s", f, got, want)
		}
	}
}

func TestAppendDate(t *testing.T) {
	t.Parallel()
	for ms, want := range map[int64]string{
		0:                          `"1970-01-01T00:00:00.000Z"`,
		-1:                         `"1969-12-31T23:59:59.999Z"`,
		1_700_000_000_123:          `"2023-11-14T22:13:20.123Z"`,
		253_402_300_799_999:        `"9999-12-31T23:59:59.999Z"`,
		253_402_300_800_000:        `"+010000-01-01T00:00:00.000Z"`,
		-62_167_219_200_000:        `"0000-01-01T00:00:00.000Z"`,
		-62_167_219_200_001:        `"-000001-12-31T23:59:59.999Z"`,
		8_640_000_000_000_000:      `"+275760-09-13T00:00:00.000Z"`,
		-8_640_000_000_000_000:     `"-271821-04-20T00:00:00.000Z"`,
		8_640_000_000_000_000 + 1:  `null`,
		-8_640_000_000_000_000 - 1: `null`,
		math.MaxInt64:              `null`,
		math.MinInt64:              `null`,
	} {
		if got := string(AppendDate([]byte("x"), ms)); got != "x"+want {
			t.Errorf("%d: %s, want %s", ms, got, want)
		}
		iso, ok := AppendISO([]byte("x"), ms)
		if text := strings.Trim(want, `"`); ok != (text != "null") || ok && string(iso) != "x"+text || !ok && string(iso) != "x" {
			t.Errorf("%d: %s %v", ms, iso, ok)
		}
	}
}

func BenchmarkAppendString(b *testing.B) {
	for name, s := range map[string]string{
		"plain": strings.Repeat("x", 64), "escapes": strings.Repeat("line\n", 13), "beyond ASCII": strings.Repeat("\u00e9t\u00e9 ", 11),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(s)))
			var dst []byte
			for b.Loop() {
				dst = AppendString(dst[:0], s)
			}
			if !utf8.Valid(dst) {
				b.Fatal(dst)
			}
		})
	}
}
