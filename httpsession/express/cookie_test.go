package express

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

const (
	secretA = "a secret of enough bytes"
	secretB = "an older secret that still counts"
)

type vector struct {
	Name  string
	Input struct{ Value, Secret, Signed, Header string }

	Text      string
	Cookie    string `json:"cookie_value"`
	SetCookie string `json:"set_cookie"`
	Result    any
	Parsed    string
}

func vectors(t *testing.T) []vector {
	t.Helper()
	b, err := os.ReadFile("testdata/session-cookies.json")
	if err != nil {
		t.Fatal(err)
	}
	var all struct{ Vectors []vector }
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	if len(all.Vectors) < 30 {
		t.Fatalf("%d vectors", len(all.Vectors))
	}
	return all.Vectors
}

func TestCookie_AsNode(t *testing.T) {
	t.Parallel()
	for _, v := range vectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			switch {
			case strings.HasPrefix(v.Name, "sign:"):
				signed := keys{v.Input.Secret}.sign(v.Input.Value)
				if signed != "s:"+v.Text {
					t.Errorf("signed %q", signed)
				}
				_, set, _ := strings.Cut(v.SetCookie, "=")
				if value, _, _ := strings.Cut(set, ";"); !strings.HasPrefix(v.Input.Value, "\u00e9") && escape(signed) != value {
					t.Errorf("escaped %q, want %q", escape(signed), value)
				}
				id, ok := keys{v.Input.Secret}.verify(signed)
				if want := v.Input.Value; id != want || ok != (want != "") {
					t.Errorf("verified %q, %v", id, ok)
				}
				h := http.Header{"Cookie": {v.SetCookie}}
				if got := cookieOf(h, "connect.sid"); got != signed {
					t.Errorf("cookie %q, want %q", got, signed)
				}
			case strings.HasPrefix(v.Name, "unsign:"):
				id, ok := keys{v.Input.Secret}.verify("s:" + v.Input.Signed)
				want, wantOK := v.Result.(string)
				if want == "" { // an empty id is treated as absent
					wantOK = false
				}
				if id != want || ok != wantOK {
					t.Errorf("verified %q, %v; want %v", id, ok, v.Result)
				}
			default:
				if got := cookieOf(http.Header{"Cookie": {v.Input.Header}}, "connect.sid"); got != v.Parsed {
					t.Errorf("cookie %q, want %q", got, v.Parsed)
				}
			}
		})
	}
}

func TestCookie_SeveralHeaders(t *testing.T) {
	t.Parallel()
	h := http.Header{"Cookie": {"a=b", "c=d; connect.sid=one", "connect.sid=two"}}
	if got := cookieOf(h, "connect.sid"); got != "one" {
		t.Errorf("cookie %q", got)
	}
	if got := cookieOf(http.Header{"Cookie": {"connect.sid=" + strings.Repeat("x", maxCookie+1)}}, "connect.sid"); got != "" {
		t.Errorf("%d bytes of a cookie that is too long", len(got))
	}
}

// T26: no bit of a cookie can be changed.
func TestCookie_EveryBit(t *testing.T) {
	t.Parallel()
	ks := keys{secretA, secretB}
	for _, signer := range []keys{{secretA}, {secretB}} {
		value := signer.sign("4n3b2Xy0_-QW8z5q1p7r9s0tUvWxYzAB")
		if id, ok := ks.verify(value); !ok || id != "4n3b2Xy0_-QW8z5q1p7r9s0tUvWxYzAB" {
			t.Fatalf("the cookie itself: %q, %v", id, ok)
		}
		flipped := 0
		for i := range len(value) * 8 {
			b := []byte(value)
			b[i/8] ^= 1 << (i % 8)
			flipped++
			if id, ok := ks.verify(string(b)); ok || id != "" {
				t.Errorf("bit %d flipped: %q is accepted", i, b)
			}
		}
		if flipped != 8*len(value) {
			t.Fatalf("%d bits flipped", flipped)
		}
		escaped := escape(value)
		for i := range len(escaped) * 8 {
			b := []byte(escaped)
			b[i/8] ^= 1 << (i % 8)
			if d, err := url.PathUnescape(string(b)); err == nil && d == value { // %3A and %3a are the same
				continue
			}
			if id, ok := ks.verify(cookieOf(http.Header{"Cookie": {"connect.sid=" + string(b)}}, "connect.sid")); ok {
				t.Errorf("bit %d of the header flipped: %q is accepted as %q", i, b, id)
			}
		}
		for i := range len(value) {
			if _, ok := ks.verify(value[:i]); ok {
				t.Errorf("%q is accepted", value[:i])
			}
			if _, ok := ks.verify(value + value[:i+1]); ok {
				t.Errorf("%d bytes too many are accepted", i+1)
			}
		}
	}
}

func TestCookie_Foreign(t *testing.T) {
	t.Parallel()
	ks := keys{secretA}
	good := ks.sign("id")
	for name, value := range map[string]string{
		"nothing":           "",
		"of another secret": keys{secretB}.sign("id"),
		"unsigned":          "id",
		"no prefix":         strings.TrimPrefix(good, "s:"),
		"JSON cookie":       `j:{"id":1}`,
		"no id":             ks.sign(""),
		"padded":            good + "=",
		"base64url":         strings.NewReplacer("+", "-", "/", "_").Replace(keys{secretA}.sign("id1")) + "-",
		"upper case prefix": "S:" + good[2:],
		"two signatures":    good + good[strings.LastIndexByte(good, '.'):],
		"dots only":         "s:...",
	} {
		if id, ok := ks.verify(value); ok || id != "" {
			t.Errorf("%s: %q is accepted as %q", name, value, id)
		}
	}
}

func FuzzCookie(f *testing.F) {
	ks := keys{secretA, secretB}
	f.Add("connect.sid=" + escape(ks.sign("some-id")))
	f.Add(`a=b; connect.sid="` + ks.sign("x.y") + `"`)
	f.Add("connect.sid=%E0%A4%A; connect.sid=s:a.b")
	f.Fuzz(func(t *testing.T, line string) {
		id, ok := ks.verify(cookieOf(http.Header{"Cookie": {line}}, "connect.sid"))
		if !ok {
			if id != "" {
				t.Fatalf("refused, with id %q", id)
			}
			return
		}
		// What is accepted has been signed, and comes back so.
		d, err := url.PathUnescape(line)
		if err != nil {
			d = line
		}
		if a, b := ks.sign(id), (keys{secretB}).sign(id); !strings.Contains(d, a) && !strings.Contains(d, b) && !strings.Contains(line, a) && !strings.Contains(line, b) {
			t.Fatalf("%q is accepted in %q", id, line)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	for _, n := range []int{1, 3} {
		b.Run(fmt.Sprint(n, " secrets"), func(b *testing.B) {
			b.ReportAllocs()
			ks := keys(strings.Split(strings.Repeat(secretA+",", n), ",")[:n])
			value := ks.sign("4n3b2Xy0_-QW8z5q1p7r9s0tUvWxYzAB")
			for b.Loop() {
				if _, ok := ks.verify(value); !ok {
					b.Fatal("refused")
				}
			}
		})
	}
}
