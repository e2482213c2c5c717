package msgpack

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/tinylib/msgp/msgp"

	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/parser"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func add(t *testing.T, l parser.Limits, protocol int, data []byte, binary bool) (parser.Packet, error) {
	t.Helper()
	var p parser.Packet
	d := New().NewDecoder(l, protocol)
	done, err := d.Add(&p, data, binary)
	if done != (err == nil) || d.Pending() {
		t.Errorf("done %v, error %v", done, err)
	}
	if err != nil {
		if !errors.Is(err, parser.ErrInvalid) {
			t.Errorf("error %v", err)
		}
		if _, again := d.Add(&p, encode(t, parser.Packet{Type: parser.Disconnect}, protocol), protocol == 5); !errors.Is(again, err) {
			t.Errorf("goes on after an error: %v", again)
		}
	}
	return p, err
}

func encode(t *testing.T, p parser.Packet, protocol int) []byte {
	t.Helper()
	f, err := New().Encode(&p, protocol)
	if err != nil {
		t.Fatal(err)
	}
	return f.Head
}

// member appends a key and a value.
func member(b []byte, key string, v any) []byte {
	b, err := msgp.AppendIntf(msgp.AppendString(b, key), v)
	if err != nil {
		panic(err) // the test's own values
	}
	return b
}

func message(members ...any) []byte {
	b := msgp.AppendMapHeader(nil, uint32(len(members)/2))
	for i := 0; i < len(members); i += 2 {
		b = member(b, members[i].(string), members[i+1])
	}
	return b
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	for _, protocol := range []int{4, 5} {
		for _, p := range []parser.Packet{
			{Type: parser.Connect, Namespace: "/x"},
			{Type: parser.Disconnect, Namespace: "/"},
			{Type: parser.Event, Namespace: "/a,b", Event: "e", HasID: true, ID: parser.MaxID, Args: []parser.Arg{parser.Value("x"), parser.Bytes([]byte{1}), {}}},
			{Type: parser.Event, Namespace: "/", Event: ""},
			{Type: parser.Ack, Namespace: "/", HasID: true, Args: []parser.Arg{parser.Value(map[string]any{"b": []byte{2}})}},
			{Type: parser.Ack, Namespace: "/", HasID: true, ID: 300},
			{Type: parser.ConnectError, Namespace: "/", Data: parser.Value("no")},
		} {
			f, err := New().Encode(&p, protocol)
			if err != nil {
				t.Fatal(err)
			}
			got, err := add(t, parser.Limits{}, protocol, f.Head, f.Binary)
			if err != nil {
				t.Fatalf("%+v: %v", p, err)
			}
			if !reflect.DeepEqual(anys(t, got.Args), anys(t, p.Args)) || !reflect.DeepEqual(anys(t, []parser.Arg{got.Data}), anys(t, []parser.Arg{p.Data})) {
				t.Errorf("arguments of %+v", p)
			}
			got.Args, p.Args, got.Data, p.Data = nil, nil, parser.Arg{}, parser.Arg{}
			if !reflect.DeepEqual(got, p) {
				t.Errorf("%+v, want %+v", got, p)
			}
			for n := range f.Head {
				if _, err := add(t, parser.Limits{}, protocol, f.Head[:n], f.Binary); err == nil {
					t.Errorf("the first %d bytes of %q were accepted", n, f.Head)
				}
			}
		}
	}
}

func anys(t *testing.T, args []parser.Arg) (out []any) {
	t.Helper()
	for _, a := range args {
		v, err := a.Any()
		if err != nil {
			t.Error(err)
		}
		out = append(out, v)
	}
	return out
}

func TestDecoder_Refuses(t *testing.T) {
	t.Parallel()
	event := []any{"e"}
	for name, in := range map[string][]byte{
		"empty":             {},
		"array":             {0x90},
		"no type":           message("nsp", "/"),
		"negative type":     message("type", -1, "nsp", "/"),
		"key is a number":   {0x81, 1, 1},
		"namespace":         message("type", 1, "nsp", 7),
		"long namespace":    message("type", 1, "nsp", "/"+strings.Repeat("n", 16*parser.MaxNamespace)),
		"empty namespace":   message("type", 1, "nsp", ""),
		"namespace x":       message("type", 1, "nsp", "x"),
		"namespace UTF-8":   message("type", 1, "nsp", "/\xff"),
		"event UTF-8":       message("type", 2, "nsp", "/", "data", []any{"\xff"}),
		"event is a list":   message("type", 2, "nsp", "/", "data", []any{event}),
		"event is true":     message("type", 2, "nsp", "/", "data", []any{true}),
		"reserved":          message("type", 2, "nsp", "/", "data", []any{"newListener"}),
		"large id":          message("type", 2, "nsp", "/", "data", event, "id", uint64(parser.MaxID+1)),
		"float id":          message("type", 2, "nsp", "/", "data", event, "id", 1.5),
		"text of protocol4": []byte(`{"type":1,"nsp":"/"}`),
		"trailing":          append(message("type", 1, "nsp", "/"), 0xc0),
	} {
		if _, err := add(t, parser.Limits{}, 5, in, true); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for _, in := range []string{
		``, `{`, `[]`, `1`, `{"type":2,"nsp":"/","data":["a"]}`, `{"type":0}`, `{"nsp":"/"}`, `{"type":"0","nsp":"/"}`, `{"type":0.5,"nsp":"/"}`,
		`{"type":0,"nsp":"/","data":{}}`, `{"type":1,"nsp":"/","data":null}`, `{"type":4,"nsp":"/"}`, `{"type":4,"nsp":"/","data":{}}`, `{"type":0,"nsp":1}`, `{"type":-1,"nsp":"/"}`, `{"type":4,"nsp":"/","DATA":"x"}`, `{"type":4,"nsp":"","data":"x"}`,
	} {
		if _, err := add(t, parser.Limits{}, 4, []byte(in), false); err == nil {
			t.Errorf("%s: accepted", in)
		}
	}
}

func TestDecoder_Tolerates(t *testing.T) {
	t.Parallel()
	undefined := msgp.Raw("\xd4\x00\x00")
	for name, in := range map[string][]byte{
		"options":           message("type", 0, "nsp", "/", "options", map[string]any{"compress": true}),
		"undefined":         message("type", 0, "nsp", "/", "data", undefined, "id", undefined),
		"number as a float": message("type", 0.0, "nsp", "/"),
		"the last counts":   message("type", 2, "type", 0, "nsp", "/x", "nsp", "/"),
	} {
		if p, err := add(t, parser.Limits{}, 5, in, true); err != nil || !reflect.DeepEqual(p, parser.Packet{Namespace: "/"}) {
			t.Errorf("%s: %+v %v", name, p, err)
		}
	}
	p, err := add(t, parser.Limits{}, 5, message("type", 2, "nsp", "/", "data", []any{1.5, "x"}), true)
	if err != nil || p.Event != "1.5" || len(p.Args) != 1 {
		t.Errorf("%+v %v", p, err)
	}
	for f, want := range map[float64]string{math.NaN(): "NaN", math.Inf(-1): "-Infinity", 1e-7: "1e-7"} {
		if p, err = add(t, parser.Limits{}, 5, message("type", 2, "nsp", "/", "data", []any{f}), true); err != nil || p.Event != want {
			t.Errorf("%+v %v", p, err)
		}
	}
	if p, err = add(t, parser.Limits{}, 5, message("type", 2, "nsp", "/", "data", []any{}), true); err != nil || !p.Empty {
		t.Errorf("%+v %v", p, err)
	}
}

func TestDecoder_KeepsNothing(t *testing.T) {
	t.Parallel()
	in := encode(t, parser.Packet{Type: parser.Event, Namespace: "/name", Event: "event", Args: []parser.Arg{parser.Value("text")}}, 5)
	p, err := add(t, parser.Limits{}, 5, in, true)
	clear(in)
	if err != nil || p.Namespace != "/name" || p.Event != "event" || anys(t, p.Args)[0] != "text" {
		t.Errorf("%+v %v", p, err)
	}
}

// Threat T9: nesting is bounded.
func TestThreat_T9_Depth(t *testing.T) {
	t.Parallel()
	for _, n := range []int{64, 65, 5000, 400_000} {
		b := msgp.AppendString(message("type", 2, "nsp", "/"), "data")
		b[0]++ // one member more
		b = append(append(msgp.AppendString(append(b, 0x92), "e"), bytes.Repeat([]byte{0x91}, n-1)...), 0)
		if _, err := add(t, parser.Limits{}, 5, b, true); (err == nil) != (n == 64) {
			t.Errorf("%d: %v", n, err)
		}
	}
}

// Threat T10: ids that JavaScript cannot hold are refused.
func TestThreat_T10_LargeID(t *testing.T) {
	t.Parallel()
	for _, id := range []any{uint64(1 << 53), uint64(1<<64 - 1), 1e300, -1} {
		if _, err := add(t, parser.Limits{}, 5, message("type", 3, "nsp", "/", "data", []any{}, "id", id), true); err == nil {
			t.Errorf("%v: accepted", id)
		}
	}
}

func TestEncode_BinaryTypes(t *testing.T) {
	t.Parallel()
	for _, protocol := range []int{4, 5} {
		for _, typ := range []parser.Type{parser.Event, parser.Ack} {
			p := parser.Packet{Type: typ, Event: "e", Args: []parser.Arg{parser.Value(1)}}
			want := encode(t, p, protocol)
			p.Type += 3
			if got := encode(t, p, protocol); !bytes.Equal(got, want) {
				t.Errorf("%x, want %x", got, want)
			}
		}
	}
}

func TestEncode_Errors(t *testing.T) {
	t.Parallel()
	bad := parser.RawMsgpack([]byte{0xc1})
	for _, protocol := range []int{4, 5} {
		for _, p := range []parser.Packet{{Type: 7}, {Type: 9}, {Type: parser.Event, Args: []parser.Arg{bad}}, {Type: parser.ConnectError, Data: bad}} {
			if _, err := New().Encode(&p, protocol); err == nil {
				t.Errorf("%+v: encoded", p)
			}
		}
	}
	if _, err := New().Encode(&parser.Packet{Type: parser.ConnectError, Data: parser.Bytes(nil)}, 4); !errors.Is(err, parser.ErrBinary) {
		t.Error(err)
	}
}

func FuzzDecodeMsgpack(f *testing.F) {
	for _, b := range [][]byte{
		message("type", 2, "nsp", "/x", "data", []any{"e", 1, "x", []byte{1}, map[string]any{"a": nil}}, "id", 7),
		message("type", 0, "nsp", "/", "data", map[string]any{"token": "x"}), message("type", 3, "nsp", "/", "id", 1, "data", []any{}),
		{0xdf, 0xff, 0xff, 0xff, 0xff},
	} {
		f.Add(b, true, 5)
		f.Add(b, true, 4)
	}
	f.Add([]byte(`{"type":4,"nsp":"/","data":"no"}`), false, 4)
	f.Fuzz(func(t *testing.T, b []byte, binary bool, protocol int) {
		var p, again parser.Packet
		if done, err := New().NewDecoder(parser.Limits{}, protocol).Add(&p, b, binary); err != nil || !done || p.Empty {
			return
		}
		fr, err := New().Encode(&p, protocol)
		if err != nil {
			t.Fatalf("%x: %v", b, err)
		}
		if _, err := New().NewDecoder(parser.Limits{}, protocol).Add(&again, fr.Head, fr.Binary); err != nil {
			t.Fatalf("%x became %x: %v", b, fr.Head, err)
		}
		event := p.Type == parser.Event || p.Type == parser.Ack
		if again.Event != p.Event || event && again.ID != p.ID || again.Namespace != p.Namespace || again.Type != p.Type || len(again.Args) != len(p.Args) {
			t.Fatalf("%x: %+v became %+v", b, p, again)
		}
		if _, err := parser.JSON().Encode(&p, 5); errors.Is(err, parser.ErrBinary) && p.Type == parser.Event {
			t.Fatalf("%x: %v", b, err)
		}
	})
}

func BenchmarkMsgpack(b *testing.B) {
	p := parser.Packet{Type: parser.Event, Namespace: "/", Event: "message", Args: []parser.Arg{parser.Value(strings.Repeat("x", 64))}}
	f, err := New().Encode(&p, 5)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("Encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := New().Encode(&p, 5); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Decode", func(b *testing.B) {
		b.ReportAllocs()
		d := New().NewDecoder(parser.Limits{}, 5)
		var p parser.Packet
		for b.Loop() {
			if _, err := d.Add(&p, f.Head, true); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func TestDecoder_BoundsArguments(t *testing.T) {
	t.Parallel()
	packet := func(args int) []byte {
		b := []byte("\x83\xa4type\x02\xa3nsp\xa1/\xa4data\xdd")
		b = binary.BigEndian.AppendUint32(b, uint32(args+1))
		return append(append(b, "\xa1a"...), make([]byte, args)...)
	}
	for _, c := range []struct {
		args int
		ok   bool
	}{{parser.DefaultArgs - 1, true}, {parser.DefaultArgs, false}, {900_000, false}} {
		var p parser.Packet
		done, err := New().NewDecoder(parser.Limits{}, 5).Add(&p, packet(c.args), true)
		if done != c.ok || !c.ok && !errors.Is(err, parser.ErrInvalid) {
			t.Errorf("%d arguments: %v, %v", c.args, done, err)
		}
	}
}
