package parser_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/parser"
)

type (
	blob    []byte
	octet   byte
	hexText []byte
	inner   struct {
		Bytes []byte `json:"bytes,omitempty"`
		N     int    `json:"n"`
	}
	outer struct {
		inner
		Name  string            `json:"name"`
		Ptr   *[]byte           `json:"ptr"`
		Blob  blob              `json:"blob"`
		List  [][]byte          `json:"list"`
		Map   map[string][]byte `json:"map"`
		Any   any               `json:"any"`
		Inner []*inner          `json:"inner"`
		Fixed [3]byte           `json:"fixed"`
		Raw   json.RawMessage   `json:"raw"`
		Hex   hexText           `json:"hex"`
		IP    net.IP            `json:"ip"`
		Arg   parser.Arg        `json:"arg"`
		Skip  []byte            `json:"-"`
	}
)

func (h hexText) MarshalJSON() ([]byte, error) { return fmt.Appendf(nil, `"%x"`, []byte(h)), nil }
func (h *hexText) UnmarshalJSON(b []byte) error {
	_, err := fmt.Sscanf(string(b), `"%x"`, (*[]byte)(h))
	return err
}

func event(t *testing.T, args ...parser.Arg) parser.Frames {
	t.Helper()
	f, err := parser.JSON().Encode(&parser.Packet{Type: parser.Event, Namespace: "/", Event: "e", Args: args}, 5)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// again decodes what was encoded.
func again(t *testing.T, f parser.Frames) []parser.Arg {
	t.Helper()
	frames := []frame{text(string(f.Head))}
	for _, a := range f.Attachments {
		frames = append(frames, bin(string(a)))
	}
	got, err := decode(t, parser.Limits{Attachments: 100}, frames...)
	if err != nil || len(got) != 1 {
		t.Fatalf("%s: %v", f.Head, err)
	}
	return got[0].Args
}

func full() outer {
	ptr := []byte("ptr")
	return outer{
		inner: inner{Bytes: []byte("in"), N: 1}, Name: "\u2028<name>", Ptr: &ptr, Blob: blob("blob"),
		List: [][]byte{[]byte("l0"), {}, []byte("l2")}, Map: map[string][]byte{"b": []byte("mb"), "a": []byte("ma")},
		Any:   map[string]any{"x": []any{[]byte("any"), 1.5, nil}},
		Inner: []*inner{{Bytes: []byte("i0")}, nil}, Fixed: [3]byte{1, 2, 3}, Raw: json.RawMessage(`{"r":1}`),
		Hex: hexText("\x01\xff"), IP: net.IPv4(127, 0, 0, 1), Arg: parser.Bytes([]byte("arg")), Skip: []byte("no"),
	}
}

func TestValue_BytesEverywhere(t *testing.T) {
	t.Parallel()
	f := event(t, parser.Value(full()))
	ph := func(n int) string { return fmt.Sprintf(`{"_placeholder":true,"num":%d}`, n) }
	want := `511-["e",{"bytes":` + ph(0) + `,"n":1,"name":"` + "\u2028" + `<name>","ptr":` + ph(1) + `,"blob":` + ph(2) + `,"list":[` + ph(3) + "," + ph(4) + "," + ph(5) +
		`],"map":{"a":` + ph(6) + `,"b":` + ph(7) + `},"any":{"x":[` + ph(8) + `,1.5,null]},"inner":[{"bytes":` + ph(9) + `,"n":0},null],"fixed":[1,2,3],"raw":{"r":1},` +
		`"hex":"01ff","ip":"127.0.0.1","arg":` + ph(10) + `}]`
	if string(f.Head) != want {
		t.Errorf("%s, want\n%s", f.Head, want)
	}
	if got := fmt.Sprintf("%q", f.Attachments); got != `["in" "ptr" "blob" "l0" "" "l2" "ma" "mb" "any" "i0" "arg"]` {
		t.Error(got)
	}

	var out outer
	a := again(t, f)[0]
	if err := a.Scan(&out); err != nil {
		t.Fatal(err)
	}
	in := full()
	in.Skip = nil
	arg := out.Arg
	in.Arg, out.Arg = parser.Arg{}, parser.Arg{}
	if !reflect.DeepEqual(in, out) {
		t.Errorf("%+v, want %+v", out, in)
	}
	if v := toAny(t, arg); !reflect.DeepEqual(v, []byte("arg")) {
		t.Errorf("inner argument %v", v)
	}
	m := toAny(t, a).(map[string]any)
	if !reflect.DeepEqual(m["map"], map[string]any{"a": []byte("ma"), "b": []byte("mb")}) || !reflect.DeepEqual(m["blob"], []byte("blob")) {
		t.Errorf("%v", m)
	}
}

func TestValue_Forms(t *testing.T) {
	t.Parallel()
	self := map[string]any{}
	self["self"] = self
	list := []any{nil}
	list[0] = list
	type ring struct {
		Next *ring
		Data any
	}
	r := &ring{}
	r.Next = r
	viaArg := &struct{ A parser.Arg }{}
	viaArg.A = parser.Value(viaArg)
	for _, c := range []struct {
		name string
		v    any
		want string // "" is an error
	}{
		{"nil", nil, `null`},
		{"string", "a\"\\\b\f\n\r\t\x01\x7f\u00e9\u2028\xff</b>", `"a\"\\\b\f\n\r\t\u0001` + "\x7f\u00e9\u2028\ufffd" + `</b>"`},
		{"bools", []any{true, false}, `[true,false]`},
		{
			"integers",
			[]any{int(-1), int8(-2), int16(3), int32(4), int64(-1 << 63), uint(5), uint8(6), uint16(7), uint32(8), uint64(1<<64 - 1)},
			`[-1,-2,3,4,-9223372036854775808,5,6,7,8,18446744073709551615]`,
		},
		{"floats", []any{0.1, 1e21, 1e-7, 1e20, 1e-6, 1e300, -2.5, float32(0.1), float32(1e-7), 100.0}, `[0.1,1e+21,1e-7,100000000000000000000,0.000001,1e+300,-2.5,0.1,1e-7,100]`},
		{"nil slices and maps", []any{[]byte(nil), []string(nil), []any(nil), map[string]any(nil), (*int)(nil), json.RawMessage(nil)}, `[null,null,null,null,null,null]`},
		{"strings", []string{"a", "\n"}, `["a","\n"]`},
		{"sorted keys", map[string]any{"b": 1, "a": map[string]any{"d": 2, "c": 3}}, `{"a":{"c":3,"d":2},"b":1}`},
		{"struct", struct {
			A int    `json:"a"`
			B string `json:",omitempty"`
		}{1, ""}, `{"a":1}`},
		{"html in a struct", struct{ A string }{"<&>"}, `{"A":"<&>"}`},
		{"raw message", json.RawMessage(`{"x":[1]}`), `{"x":[1]}`},
		{"broken raw message", json.RawMessage(`{"x":`), ``},
		{"number", json.Number("12.50"), `12.50`},
		{"time", time.Date(2024, 1, 2, 3, 4, 5, 6e6, time.UTC), `"2024-01-02T03:04:05.006Z"`},
		{"argument", parser.Value(parser.Value(1)), `1`},
		{"absent argument", []any{parser.Arg{}}, `[null]`},
		{"octets", map[string]any{"o": []octet(nil)}, `{"o":null}`},
		{"channel", make(chan int), ``},
		{"channel inside", map[string]any{"c": make(chan int)}, ``},
		{"cyclic map", self, ``},
		{"cyclic slice", list, ``},
		{"cyclic struct", r, ``},
		{"cyclic argument", viaArg, ``},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := parser.Value(c.v).AppendJSON(nil)
			if string(got) != c.want || (err == nil) != (c.want != "") {
				t.Errorf("%s, %v, want %s", got, err, c.want)
			}
			m, err := parser.Value(c.v).AppendMsgpack(nil)
			if (err == nil) != (c.want != "") {
				t.Fatalf("MessagePack: %v", err)
			}
			if err != nil {
				return
			}
			var w any
			if err := json.Unmarshal([]byte(c.want), &w); err != nil {
				t.Fatal(err)
			}
			if v := toAny(t, parser.RawMsgpack(m)); !reflect.DeepEqual(v, w) {
				t.Errorf("MessagePack means %#v, want %#v", v, w)
			}
		})
	}
}

// Every form of an argument becomes every other, and means the same to who scans it.
func TestArg_Conversions(t *testing.T) {
	t.Parallel()
	type dst struct {
		S string         `json:"s"`
		B []byte         `json:"b"`
		N int            `json:"n"`
		M map[string]any `json:"m"`
	}
	in := dst{"text", []byte{0, 1, 255}, -7, map[string]any{"x": []any{nil, true, 0.5, []byte("y")}}}
	value := parser.Value(in)
	fromJSON := again(t, event(t, value))[0]
	packed, err := fromJSON.AppendMsgpack(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, a := range map[string]parser.Arg{
		"value": value, "JSON": fromJSON, "MessagePack": parser.RawMsgpack(packed),
		"JSON of MessagePack": again(t, event(t, parser.Value(1), parser.RawMsgpack(packed), parser.Bytes(nil)))[1],
		"in a value":          parser.Value([]any{parser.RawMsgpack(packed)}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got dst
			var err error
			if name == "in a value" {
				list := []dst{}
				err = a.Scan(&list)
				got = list[0]
			} else {
				err = a.Scan(&got)
			}
			if err != nil || !reflect.DeepEqual(got, in) {
				t.Errorf("%+v %v, want %+v", got, err, in)
			}
			if !a.HasBinary() || a.IsBinary() || a.IsZero() {
				t.Error("binary not seen")
			}
			if _, err := a.AppendJSON(nil); !errors.Is(err, parser.ErrBinary) {
				t.Errorf("JSON alone: %v", err)
			}
			if m, err := a.AppendMsgpack(nil); err != nil || name != "in a value" && string(m) != string(packed) {
				t.Errorf("%x %v, want %x", m, err, packed)
			}
		})
	}
}

func TestArg_Bytes(t *testing.T) {
	t.Parallel()
	for name, a := range map[string]parser.Arg{
		"bytes": parser.Bytes([]byte("abc")), "value": parser.Value([]byte("abc")), "bin": parser.RawMsgpack([]byte("\xc4\x03abc")),
		"array buffer": parser.RawMsgpack([]byte("\xc7\x03\x00abc")), "JSON": again(t, event(t, parser.Bytes([]byte("abc"))))[0],
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var b []byte
			var n blob
			var p *[]byte
			var f [3]byte
			var v any
			var arg parser.Arg
			for _, dst := range []any{&b, &n, &p, &f, &v, &arg} {
				if err := a.Scan(dst); err != nil {
					t.Errorf("%T: %v", dst, err)
				}
			}
			if string(b) != "abc" || string(n) != "abc" || string(*p) != "abc" || string(f[:]) != "abc" || string(v.([]byte)) != "abc" || !arg.IsBinary() {
				t.Error(b, n, p, f, v)
			}
			b[0] = 'x'
			if got := toAny(t, a); string(got.([]byte)) != "abc" {
				t.Error("what was scanned is not a copy")
			}
			var s string
			var short [2]byte
			for _, dst := range []any{&s, &short, nil, b, new(int), (*[]byte)(nil)} {
				if err := a.Scan(dst); err == nil {
					t.Errorf("%T: scanned", dst)
				}
			}
			if f := event(t, a); string(f.Head) != `51-["e",{"_placeholder":true,"num":0}]` || string(f.Attachments[0]) != "abc" {
				t.Errorf("%s %q", f.Head, f.Attachments)
			}
		})
	}
	for _, a := range []parser.Arg{{}, parser.Value("abc"), parser.RawJSON([]byte(`"abc"`)), parser.RawMsgpack([]byte("\xa3abc")), parser.RawMsgpack(nil), parser.Value([]byte(nil))} {
		if a.IsBinary() || a.HasBinary() {
			t.Errorf("%v is binary", a)
		}
	}
	var b []byte
	if err := parser.RawJSON([]byte(`"` + base64.StdEncoding.EncodeToString([]byte("abc")) + `"`)).Scan(&b); err != nil || string(b) != "abc" {
		t.Errorf("base64: %q %v", b, err)
	}
}

func TestArg_Absent(t *testing.T) {
	t.Parallel()
	n := 7
	if err := (parser.Arg{}).Scan(&n); err != nil || n != 7 {
		t.Error(n, err)
	}
	if b, err := (parser.Arg{}).AppendMsgpack(nil); err != nil || string(b) != "\xc0" {
		t.Error(b, err)
	}
	if v, err := (parser.Arg{}).Any(); v != nil || err != nil {
		t.Error(v, err)
	}
	if !(parser.Arg{}).IsZero() || parser.Value(nil).IsZero() {
		t.Error("absent is not null")
	}
}

func TestArg_ScanBasics(t *testing.T) {
	t.Parallel()
	for _, a := range []parser.Arg{parser.Value("12"), parser.RawJSON([]byte(` "1\u0032" `)), parser.RawMsgpack([]byte("\xa212")), again(t, event(t, parser.Value("12")))[0]} {
		var s string
		if err := a.Scan(&s); err != nil || s != "12" {
			t.Errorf("%q %v", s, err)
		}
		var n int
		if err := a.Scan(&n); err == nil {
			t.Error("a string became a number")
		}
		if err := a.Scan((*string)(nil)); err == nil {
			t.Error("scanned into nothing")
		}
	}
	for _, a := range []parser.Arg{parser.Value(12), parser.RawJSON([]byte(`12`)), parser.RawMsgpack([]byte{12}), parser.RawMsgpack([]byte("\xcb\x40\x28\x00\x00\x00\x00\x00\x00"))} {
		var n int
		var u uint8
		var f float64
		if err := errors.Join(a.Scan(&n), a.Scan(&u), a.Scan(&f)); err != nil || n != 12 || u != 12 || f != 12 {
			t.Error(n, u, f, err)
		}
	}
	for _, bad := range []parser.Arg{parser.RawJSON(nil), parser.RawJSON([]byte(`{`)), parser.RawMsgpack(nil), parser.RawMsgpack([]byte{1, 2})} {
		var v any
		_, e1 := bad.AppendJSON(nil)
		_, e2 := bad.AppendMsgpack(nil)
		_, e3 := parser.JSON().Encode(&parser.Packet{Type: parser.Event, Args: []parser.Arg{bad}}, 5)
		for _, err := range []error{bad.Scan(&v), e1, e2, e3} {
			if !errors.Is(err, parser.ErrArg) {
				t.Errorf("%v", err)
			}
		}
	}
}

func TestArg_InsideOrdinaryJSON(t *testing.T) {
	t.Parallel()
	var v struct{ A parser.Arg }
	if err := json.Unmarshal([]byte(`{"A":{"x":1}}`), &v); err != nil {
		t.Fatal(err)
	}
	if b, err := json.Marshal(v); err != nil || string(b) != `{"A":{"x":1}}` {
		t.Error(string(b), err)
	}
	if _, err := json.Marshal(parser.Bytes(nil)); err == nil {
		t.Error("binary became JSON")
	}
}

// What looks like a placeholder in MessagePack is data: there the attachments have no need of any.
func TestArg_MsgpackPlaceholder(t *testing.T) {
	t.Parallel()
	in := map[string]any{"_placeholder": true, "num": 0.0, "x": []byte("inner"), "y": map[string]any{"_placeholder": true, "num": 1.0}}
	packed, err := parser.Value(map[string]any{"in": in, "a": []byte("z")}).AppendMsgpack(nil)
	if err != nil {
		t.Fatal(err)
	}
	a := parser.RawMsgpack(packed)
	want := map[string]any{"in": in, "a": []byte("z")}
	if got := toAny(t, a); !reflect.DeepEqual(got, want) {
		t.Errorf("%v", got)
	}
	var typed struct {
		A  []byte
		In parser.Arg
	}
	if err := a.Scan(&typed); err != nil || string(typed.A) != "z" {
		t.Errorf("%v %v", typed, err)
	}
	if got := toAny(t, typed.In); !reflect.DeepEqual(got, in) {
		t.Errorf("%v", got)
	}
	if b, err := typed.In.AppendMsgpack(nil); err != nil || !reflect.DeepEqual(toAny(t, parser.RawMsgpack(b)), any(in)) {
		t.Errorf("%x %v", b, err)
	}
}

// A placeholder of a user's own is data where there are no attachments, and mixed up where there are, as in Node.
func TestEncode_UserPlaceholder(t *testing.T) {
	t.Parallel()
	mine := parser.RawJSON([]byte(`{"_placeholder":true,"num":0}`))
	if got := toAny(t, again(t, event(t, mine))[0]); !reflect.DeepEqual(got, map[string]any{"_placeholder": true, "num": 0.0}) {
		t.Error(got)
	}
	if got := toAny(t, again(t, event(t, mine, parser.Bytes([]byte("z"))))[0]); !reflect.DeepEqual(got, []byte("z")) {
		t.Error(got)
	}
	other := parser.RawJSON([]byte(`[{"_placeholder":true,"num":1}]`))
	p := parser.Packet{Type: parser.Event, Namespace: "/[x", Event: "e", Args: []parser.Arg{other, parser.Bytes(nil)}}
	if f, err := parser.JSON().Encode(&p, 5); !errors.Is(err, parser.ErrPlaceholder) {
		t.Errorf("%s, %v", f.Head, err)
	}
	m, err := parser.Value(map[string]any{"a": mine, "b": struct{ B []byte }{[]byte("z")}, "c": struct{ A any }{map[string]any{"_placeholder": true, "num": 9}}}).AppendMsgpack(nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := toAny(t, parser.RawMsgpack(m)).(map[string]any); !reflect.DeepEqual(got["a"], map[string]any{"_placeholder": true, "num": 0.0}) {
		t.Error(got)
	}
}

func TestEncode_Errors(t *testing.T) {
	t.Parallel()
	for _, p := range []parser.Packet{
		{Type: 9},
		{Type: 7},
		{Type: parser.Event, Namespace: "x"},
		{Type: parser.Event, Namespace: "/a,b"},
		{Type: parser.Connect, Data: parser.Bytes(nil)},
		{Type: parser.ConnectError, Data: parser.Value(inner{Bytes: []byte("x")})},
	} {
		if f, err := parser.JSON().Encode(&p, 5); err == nil {
			t.Errorf("%+v: %s", p, f.Head)
		}
	}
	f, err := parser.JSON().Encode(&parser.Packet{Type: parser.Disconnect, Namespace: "/x"}, 4)
	if err != nil || string(f.Head) != "1/x," {
		t.Error(string(f.Head), err)
	}
}

type upperCodec struct{ marshals, unmarshals *int }

func (c upperCodec) Marshal(v any) ([]byte, error) {
	*c.marshals++
	return json.Marshal(v)
}

func (c upperCodec) Unmarshal(b []byte, v any) error {
	*c.unmarshals++
	return json.Unmarshal(b, v)
}

func TestJSONWith_Codec(t *testing.T) {
	t.Parallel()
	c := upperCodec{new(int), new(int)}
	p := parser.JSONWith(c)
	type plain struct{ A int }
	f, err := p.Encode(&parser.Packet{Type: parser.Event, Event: "e", Args: []parser.Arg{parser.Value(plain{1}), parser.Value(inner{Bytes: []byte("x")}), parser.Value(3)}}, 5)
	if err != nil || !strings.HasPrefix(string(f.Head), `51-["e",{"A":1},{"bytes":{"_placeholder":true,"num":0},"n":0},3]`) {
		t.Fatal(string(f.Head), err)
	}
	got, err := addAll(t, p.NewDecoder(parser.Limits{}, 5), []frame{text(string(f.Head)), bin("x")})
	if err != nil {
		t.Fatal(err)
	}
	var a plain
	var b inner
	if err := errors.Join(got[0].Args[0].Scan(&a), got[0].Args[1].Scan(&b)); err != nil || a.A != 1 || string(b.Bytes) != "x" {
		t.Error(a, b, err)
	}
	if *c.marshals != 1 || *c.unmarshals != 1 {
		t.Errorf("%d and %d calls", *c.marshals, *c.unmarshals)
	}
}
