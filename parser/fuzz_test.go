package parser_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"testing"

	"github.com/sockeye-io/sockeye/parser"
)

// FuzzDecodeJSON gives a stream of messages, which are separated by the byte 0x1e and binary where they begin with
// 0x00, to one decoder. What comes out must mean the same after it has been encoded and decoded again.
func FuzzDecodeJSON(f *testing.F) {
	for _, s := range []string{
		`2/admin,12["e",{"a":[1,"\u00e9"]}]`, "52-[\"x\",{\"_placeholder\":true,\"num\":1},[{\"num\":0,\"_placeholder\":true}]]\x1e\x00one\x1e\x00two\x1e2[\"y\"]", `0{"token":1}`, `4"x"`, `31[]`, `1`,
		"51-[\"x\",{\"_placeholder\":true,\"num\":0,\"y\":{\"_placeholder\":true,\"num\":9}}]\x1e\x00", `2[12.50,null]`,
	} {
		f.Add([]byte(s), 5)
		f.Add([]byte(s), 4)
	}
	f.Fuzz(func(t *testing.T, stream []byte, protocol int) {
		d := parser.JSON().NewDecoder(parser.Limits{Depth: 20}, protocol)
		for m := range bytes.SplitSeq(stream, []byte{0x1e}) {
			binary := len(m) > 0 && m[0] == 0
			if binary {
				m = m[1:]
			}
			var p parser.Packet
			done, err := d.Add(&p, m, binary)
			if err != nil {
				if !errors.Is(err, parser.ErrInvalid) || done {
					t.Fatalf("%q: %v", stream, err)
				}
				return
			}
			if done && !p.Empty {
				roundTrip(t, &p)
			}
		}
	})
}

func roundTrip(t *testing.T, p *parser.Packet) {
	t.Helper()
	f, err := parser.JSON().Encode(p, 5)
	if errors.Is(err, parser.ErrPlaceholder) {
		return // data that came beside an attachment looked like another
	}
	if err != nil {
		t.Fatalf("%+v: %v", p, err)
	}
	frames := append([][]byte{f.Head}, f.Attachments...)
	d := parser.JSON().NewDecoder(parser.Limits{Attachments: -1}, 4)
	var again parser.Packet
	for i, b := range frames {
		if done, err := d.Add(&again, b, i > 0); err != nil || done != (i == len(frames)-1) {
			t.Fatalf("%q: %v %v", frames, done, err)
		}
	}
	if again.Type != p.Type || again.Event != p.Event || again.ID != p.ID || again.HasID != p.HasID || again.Namespace != p.Namespace || len(again.Args) != len(p.Args) {
		t.Fatalf("%+v became %+v", p, again)
	}
	for i, a := range append(p.Args, p.Data) {
		b := append(again.Args, again.Data)[i]
		v, err1 := a.Any()
		w, err2 := b.Any()
		if (err1 == nil) != (err2 == nil) || !reflect.DeepEqual(v, w) {
			t.Fatalf("%q: %#v became %#v, %v, %v", f.Head, v, w, err1, err2)
		}
		m, err := a.AppendMsgpack(nil)
		if err != nil {
			t.Fatalf("%q: %v", f.Head, err)
		}
		if x, err := parser.RawMsgpack(m).Any(); err1 == nil && (err != nil || !same(x, v)) {
			t.Fatalf("%q: %#v became %#v by MessagePack, %v", f.Head, v, x, err)
		}
	}
}

// same compares what JSON and MessagePack made of a value: both do without -0.
func same(a, b any) bool {
	return reflect.DeepEqual(zero(a), zero(b))
}

func zero(v any) any {
	switch v := v.(type) {
	case float64:
		if v == 0 {
			return 0.0
		}
	case []any:
		for i := range v {
			v[i] = zero(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = zero(v[k])
		}
	}
	return v
}

// FuzzArgMsgpackToJSON takes what may come from the cluster to where clients read it.
func FuzzArgMsgpackToJSON(f *testing.F) {
	for _, s := range []string{"\x93\x01\xc0\xa1x", "\x82\xa1a\xd4\x00\x00\xa1b\xc4\x01x", "\x81\x01\xd7\x00\x00\x00\x00\x00\x00\x00\x00\x01", "\xc7\x02\x05xx", "\xa2\xff\xfe", "\xd6\xff\x00\x00\x00\x01", "\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		a := parser.RawMsgpack(b)
		v, err := a.Any()
		m, err2 := a.AppendMsgpack(nil)
		if err != nil {
			if err2 == nil && !errors.Is(err, parser.ErrArg) {
				t.Fatalf("%x: %v", b, err)
			}
			return
		}
		if err2 != nil {
			t.Fatalf("%x: %v", b, err2)
		}
		if w, err := parser.RawMsgpack(m).Any(); err != nil || !reflect.DeepEqual(v, w) {
			t.Fatalf("%x became %x: %#v, want %#v, %v", b, m, w, v, err)
		}
		fr, err := parser.JSON().Encode(&parser.Packet{Type: parser.Ack, Args: []parser.Arg{a}}, 5)
		if errors.Is(err, parser.ErrPlaceholder) {
			return
		}
		if err != nil || !json.Valid(fr.Head[bytes.IndexByte(fr.Head, '['):]) {
			t.Fatalf("%x: %q %v", b, fr.Head, err)
		}
		if a.HasBinary() != (len(fr.Attachments) > 0) {
			t.Fatalf("%x: has binary %v, %d attachments", b, a.HasBinary(), len(fr.Attachments))
		}
		if text, err := a.AppendJSON(nil); err == nil {
			if w, err := parser.RawJSON(text).Any(); err != nil || !same(v, w) {
				t.Fatalf("%x: %s is %#v, want %#v", b, text, w, v)
			}
		}
	})
}
