package rediswire

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/parser"
)

func TestSession_Golden(t *testing.T) {
	t.Parallel()
	n := 0
	for _, v := range load(t, "streams-recovery-0.3.1.json") {
		for _, c := range v.Commands {
			if c.Command != "SET" {
				continue
			}
			n++
			s, err := ParseSession(c.Args[1])
			if err != nil || s.Namespace != "" || !strings.HasSuffix(c.Args[0], s.PID) || len(s.ID) != 20 ||
				!slices.Equal(s.Rooms, []string{s.ID, "room1", "onB"}) || !s.Data.HasBinary() {
				t.Fatalf("%+v %v", s, err)
			}
			raw, err := AppendSession(nil, &s)
			if err != nil {
				t.Fatal(err)
			}
			// Node's keys stand first, in its order.
			want := hex.EncodeToString(unbase64(t, c.Args[1])[1:])
			if got := hex.EncodeToString(unbase64(t, string(raw))[1:]); !strings.HasPrefix(got, want) {
				t.Errorf("%s\n%s", got, want)
			}
		}
	}
	if n == 0 {
		t.Error("no session")
	}
}

func TestSession_RoundTrip(t *testing.T) {
	t.Parallel()
	for name, data := range map[string]parser.Arg{
		"none":   {},
		"null":   parser.Value(nil),
		"object": parser.Value(map[string]any{"a": 1, "value": []any{"x"}}),
		"array":  parser.Value([]int{1, 2}),
		"text":   parser.Value("t"),
	} {
		in := Session{Session: adapter.Session{
			ID: "sid", PID: "pid", Namespace: "/n", Rooms: []string{"sid", "r\u20ac"}, Data: data,
		}}
		if name == "object" {
			in.Turn, in.Pending = "t", true
		}
		b, err := AppendSession([]byte("x"), &in)
		if err != nil {
			t.Fatal(name, err)
		}
		out, err := ParseSession(string(b[1:]))
		if err != nil || out.ID != in.ID || out.PID != in.PID || out.Namespace != in.Namespace || out.Turn != in.Turn || out.Pending != in.Pending ||
			!slices.Equal(out.Rooms, in.Rooms) || out.Data.IsZero() != data.IsZero() {
			t.Fatalf("%s: %+v %v", name, out, err)
		}
		if !data.IsZero() && text(t, out.Data) != text(t, data) {
			t.Errorf("%s: %s", name, text(t, out.Data))
		}
		// Node gives what it finds to the application, which relies on an object.
		v, err := checked(unbase64(t, string(b[1:])))
		if err != nil {
			t.Fatal(err)
		}
		c, _ := v.object()
		for key, v, ok := c.field(); ok; key, v, ok = c.field() {
			if _, object := v.object(); string(key) == "data" && !object {
				t.Errorf("%s: %x is no object", name, v.b)
			}
		}
	}
	bad := Session{Session: adapter.Session{ID: "s", PID: "p", Data: parser.Value(make(chan int))}}
	if b, err := AppendSession(nil, &bad); err == nil {
		t.Errorf("%s", b)
	}
}

func TestParseSession_Refuses(t *testing.T) {
	t.Parallel()
	for name, raw := range map[string]string{
		"nothing":         "",
		"no map":          "\x90",
		"no sid":          "\x81\xa3pid\xa1p",
		"no pid":          "\x81\xa3sid\xa1s",
		"sid is a number": "\x82\xa3pid\xa1p\xa3sid\x01",
		"rooms is text":   "\x83\xa3pid\xa1p\xa3sid\xa1s\xa5rooms\xa1r",
		"JSON":            `{"sid":"s","pid":"p"}`,
		"two":             "\x80\x80",
		"wrapped nothing": "\x84\xa3pid\xa1p\xa3sid\xa1s\xa4form\xa7wrapped\xa4data\x80",
		"2^32-1":          "\xdf\xff\xff\xff\xff",
	} {
		if s, err := ParseSession(base64.StdEncoding.EncodeToString([]byte(raw))); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %+v %v", name, s, err)
		}
	}
	if _, err := ParseSession("no base64"); !errors.Is(err, ErrMalformed) {
		t.Error(err)
	}
}
