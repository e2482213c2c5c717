package jsonscan

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sockeye-io/sockeye/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

var valid = []string{
	`null`, `true`, `false`, `0`, `-0`, `-1.5e+10`, `12E-3`, `1e999`, `""`, `"a"`, `"\"\\\/\b\f\n\r\t\u00e9"`, `"\ud800"`,
	`"0123456789abcdef"`, "\"\u2028\u00e9\U0001f600\x7f\"", `[]`, `{}`, `[[]]`, `[{}]`, `{"a":[]}`, " [ 1 , \"x\" , { \"a\" : null } ]\n\t\r ",
	`{"a":1,"a":2}`, `["a",{"_placeholder":true,"num":0},[1,2,{"b":{"\u005fplaceholder":true,"num":1}}]]`, `{"":{"":""}}`,
}

var broken = []string{
	``, ` `, `nul`, `nulll`, `01`, `-`, `+1`, `1.`, `.5`, `1e`, `1e+`, `NaN`, `"`, `"\"`, `"\x"`, `"\u12g4"`, `"\u12"`, "\"\n\"", "\"\x00\"",
	"\"\xff\"", "\"\xed\xa0\x80\"", "\"\xc0\x80\"", `[`, `]`, `[1`, `[1,`, `[1,]`, `[,1]`, `[1 2]`, `[1}`, `{`, `}`, `{"a"`, `{"a":`, `{"a":1`,
	`{"a":1,`, `{"a":1,}`, `{1:2}`, `{"a" 1}`, `{"a":1]`, `{a:1}`, `[]]`, `{}{}`, `1 2`, `[1]x`, "[1]\x00", `'a'`,
}

func TestValue_Valid(t *testing.T) {
	t.Parallel()
	for _, s := range valid {
		if _, err := Value([]byte(s), 0); err != nil {
			t.Errorf("%s: %v", s, err)
		}
		for n := range s { // no beginning of a container or a string is whole
			if c := strings.TrimSpace(s)[0]; c != '[' && c != '{' && c != '"' || n >= len(strings.TrimRight(s, " \n\t\r")) {
				continue
			}
			if _, err := Value([]byte(s[:n]), 0); err == nil {
				t.Errorf("%s: accepted", s[:n])
			}
		}
	}
	for _, s := range broken {
		if _, err := Value([]byte(s), 0); !errors.Is(err, ErrSyntax) {
			t.Errorf("%s: %v", s, err)
		}
	}
}

func TestValue_Depth(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name         string
		nested, most int
		err          error
	}{
		{"at the limit", 64, 64, nil},
		{"above", 65, 64, ErrDepth},
		{"far above", 400_000, 64, ErrDepth},
		{"default", MaxDepth, 0, nil},
		{"above default", MaxDepth + 1, -1, ErrDepth},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			arrays := strings.Repeat("[", c.nested) + strings.Repeat("]", c.nested)
			objects := strings.Repeat(`{"a":`, c.nested) + "1" + strings.Repeat("}", c.nested)
			for _, s := range []string{arrays, objects} {
				if _, err := Value([]byte(s), c.most); !errors.Is(err, c.err) {
					t.Errorf("%v, want %v", err, c.err)
				}
			}
		})
	}
}

func TestArray_Elements(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in     string
		want   []string
		marked bool
	}{
		{`[]`, nil, false},
		{` [ 1 , "a,]" ,[2,[3]],{"x":[4]} ] `, []string{`1`, `"a,]"`, `[2,[3]]`, `{"x":[4]}`}, false},
		{`[{"_placeholder":1}]`, []string{`{"_placeholder":1}`}, true},
		{`["_placeholder"]`, []string{`"_placeholder"`}, false},
		{`[[{"a":{"\u005f\u0070laceholder":1}}],2]`, []string{`[{"a":{"\u005f\u0070laceholder":1}}]`, `2`}, true},
	} {
		spans, marked, err := Array(nil, []byte(c.in), 0, 0)
		var got []string
		for _, s := range spans {
			got = append(got, c.in[s.Start:s.End])
		}
		if err != nil || marked != c.marked || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %q %v %v", c.in, got, marked, err)
		}
	}
	for _, s := range []string{``, `1`, `{}`, `"a"`, `[1`} {
		if _, _, err := Array(nil, []byte(s), 0, 0); err == nil {
			t.Errorf("%s: accepted", s)
		}
	}
}

func TestPlaceholders(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, in string
		want     []int
	}{
		{"none", `{"a":[1,"_placeholder",{"num":0}]}`, nil},
		{"whole", `{"_placeholder":true,"num":3}`, []int{3}},
		{"order of keys, others, blanks", `[ { "x":[{}] , "num" : 1 , "_placeholder" : true } ]`, []int{1}},
		{"escaped keys", `{"\u005fplaceholder":true,"n\u0075m":2}`, []int{2}},
		{"not true", `[{"_placeholder":1,"num":0},{"_placeholder":"true","num":0},{"_placeholder":{},"num":0}]`, nil},
		{"the last counts", `[{"_placeholder":true,"_placeholder":false,"num":0},{"_placeholder":false,"_placeholder":true,"num":0,"num":4}]`, []int{4}},
		{"inside another", `{"a":{"_placeholder":true,"num":1},"_placeholder":true,"num":0}`, []int{0}},
		{"several", `[{"_placeholder":true,"num":1},{"b":{"_placeholder":true,"num":0}}]`, []int{1, 0}},
		{
			"bad numbers", `[{"_placeholder":true},{"_placeholder":true,"num":"0"},{"_placeholder":true,"num":-1},{"_placeholder":true,"num":0.5},` +
				`{"_placeholder":true,"num":1e9},{"_placeholder":true,"num":10000000000},{"_placeholder":true,"num":[0]},{"_placeholder":true,"num":"splice"}]`,
			[]int{-1, -1, -1, -1, -1, -1, -1, -1},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var got []int
			for _, h := range Placeholders(nil, []byte(c.in)) {
				got = append(got, h.Num)
				if c.in[h.Start] != '{' || c.in[h.End-1] != '}' {
					t.Errorf("place %v", h.Span)
				}
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}

func TestUnquoted_LikeEncodingJSON(t *testing.T) {
	t.Parallel()
	for _, lit := range append(valid, `"\ud83d\ude00"`, `"\ud83d"`, `"\ud83dx"`, `"\ud83d\u0041"`, `"\ude00\ud83d"`, `"\ud83d\ud83d\ude00"`, `"é\n"`) {
		if lit[0] != '"' {
			continue
		}
		var want string
		if err := json.Unmarshal([]byte(lit), &want); err != nil {
			t.Fatal(err)
		}
		if got := string(Unquoted([]byte(lit))); got != want {
			t.Errorf("%s: %q, want %q", lit, got, want)
		}
	}
}

func TestLengths(t *testing.T) {
	t.Parallel()
	in := []byte(`[ 1,{"a":[],"b":{"_placeholder":true,"num":0}},[[ ],{ }],"x" ]`)
	if got, want := Lengths(nil, in, Placeholders(nil, in)), []int{4, 2, 0, 2, 0, 0}; !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got, want := Lengths(nil, in, nil), []int{4, 2, 0, 2, 2, 0, 0}; !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestPlain_EveryPlace(t *testing.T) {
	t.Parallel()
	for n := range 40 {
		b := bytes.Repeat([]byte("~"), 40)
		for c := range 256 {
			b[n] = byte(c)
			want := 40
			if c < 0x20 || c >= 0x80 || c == '"' || c == '\\' {
				want = n
			}
			if got := Plain(b); got != want {
				t.Fatalf("byte %#x at %d: %d, want %d", c, n, got, want)
			}
		}
	}
}

func TestArray_AllocatesNothing(t *testing.T) {
	in := []byte(`["event",{"a":[1,2,3]},"text"]`)
	if n := testing.AllocsPerRun(100, func() {
		var room [8]Span
		if _, _, err := Array(room[:0], in, 64, 0); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzJSONScan(f *testing.F) {
	for _, s := range append(valid, broken...) {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		marked, err := Value(b, 0)
		if want := json.Valid(b) && utf8.Valid(b); (err == nil) != want {
			t.Fatalf("%q: %v, want valid %v", b, err, want)
		}
		if err != nil {
			return
		}
		var v any
		if json.Unmarshal(b, &v) != nil {
			return // a number beyond float64
		}
		ph := Placeholders(nil, b)
		if n := count(v); n != len(ph) && !duplicates(b) {
			t.Fatalf("%q: %d placeholders, want %d", b, len(ph), n)
		}
		if len(ph) > 0 && !marked {
			t.Fatalf("%q: not marked", b)
		}
		total := 0
		for _, n := range Lengths(nil, b, nil) {
			total += n
		}
		if n := members(v); n != total && !duplicates(b) {
			t.Fatalf("%q: %d members, want %d", b, total, n)
		}
		if spans, _, err := Array(nil, b, 0, 0); err == nil {
			if a, ok := v.([]any); !ok || len(a) != len(spans) {
				t.Fatalf("%q: %d elements", b, len(spans))
			}
			for _, s := range spans {
				if _, err := Value(b[s.Start:s.End], 0); err != nil {
					t.Fatalf("%q: element %q", b, b[s.Start:s.End])
				}
			}
		}
	})
}

// duplicates tells whether an object of b may have a key twice; then Go and we count differently.
func duplicates(b []byte) bool {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return true
	}
	n := 0
	for _, l := range Lengths(nil, b, nil) {
		n += l
	}
	return n != members(v)
}

func count(v any) (n int) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			n += count(e)
		}
	case map[string]any:
		if v["_placeholder"] == true {
			return 1
		}
		for _, e := range v {
			n += count(e)
		}
	}
	return n
}

func members(v any) (n int) {
	switch v := v.(type) {
	case []any:
		n = len(v)
		for _, e := range v {
			n += members(e)
		}
	case map[string]any:
		n = len(v)
		for _, e := range v {
			n += members(e)
		}
	}
	return n
}

func BenchmarkArray(b *testing.B) {
	for _, n := range []int{16, 64, 1024} {
		in := []byte(`["message",{"id":1,"text":"` + strings.Repeat("x", n) + `"}]`)
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(in)))
			var room [8]Span
			for b.Loop() {
				if _, _, err := Array(room[:0], in, 64, 0); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
