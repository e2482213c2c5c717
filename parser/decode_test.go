package parser_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/parser"
)

func text(s string) frame { return frame{Kind: "text", Hex: fmt.Sprintf("%x", s)} }
func bin(s string) frame  { return frame{Kind: "binary", Hex: fmt.Sprintf("%x", s)} }

func decode(t *testing.T, l parser.Limits, frames ...frame) ([]parser.Packet, error) {
	t.Helper()
	return addAll(t, parser.JSON().NewDecoder(l, 5), frames)
}

// refused fails unless the frames are refused, and the decoder says so from then on.
func refused(t *testing.T, l parser.Limits, frames ...frame) {
	t.Helper()
	d := parser.JSON().NewDecoder(l, 5)
	_, err := addAll(t, d, frames)
	if !errors.Is(err, parser.ErrInvalid) {
		t.Errorf("error %v", err)
	}
	var p parser.Packet
	if done, again := d.Add(&p, []byte(`2["a"]`), false); done || !errors.Is(again, err) || d.Pending() {
		t.Errorf("goes on after an error: %v %v", done, again)
	}
}

func TestDecoder_Packets(t *testing.T) {
	t.Parallel()
	long := "/" + strings.Repeat("n", 16*parser.MaxNamespace-1)
	for _, c := range []struct {
		in   string
		want parser.Packet
		args string
	}{
		{`2["a",1]`, parser.Packet{Type: parser.Event, Namespace: "/", Event: "a"}, `1`},
		{`2/x,9007199254740991["a"]`, parser.Packet{Type: parser.Event, Namespace: "/x", Event: "a", ID: parser.MaxID, HasID: true}, ``},
		{`2[-1.5e3]`, parser.Packet{Type: parser.Event, Namespace: "/", Event: "-1.5e3"}, ``},
		{`2["\u0061\n\ud83d\ude00"]`, parser.Packet{Type: parser.Event, Namespace: "/", Event: "a\n\U0001f600"}, ``},
		{`2[""]`, parser.Packet{Type: parser.Event, Namespace: "/"}, ``},
		{"2[ \"a\" , {\"b\" : 1} ] \n", parser.Packet{Type: parser.Event, Namespace: "/", Event: "a"}, `{"b" : 1}`},
		{`212`, parser.Packet{Type: parser.Event, Namespace: "/", ID: 12, HasID: true, Empty: true}, ``},
		{`3/x,1`, parser.Packet{Type: parser.Ack, Namespace: "/x", ID: 1, HasID: true, Empty: true}, ``},
		{`31["a",null]`, parser.Packet{Type: parser.Ack, Namespace: "/", ID: 1, HasID: true}, `"a" null`},
		{`2["e",1,2,3,4,5,6,7,8,9]`, parser.Packet{Type: parser.Event, Namespace: "/", Event: "e"}, `1 2 3 4 5 6 7 8 9`},
		{"0" + long, parser.Packet{Type: parser.Connect, Namespace: long}, ``},
	} {
		got, err := decode(t, parser.Limits{}, text(c.in))
		if err != nil || len(got) != 1 {
			t.Errorf("%.60s: %v", c.in, err)
			continue
		}
		p := got[0]
		var args []string
		for _, a := range p.Args {
			b, err := a.AppendJSON(nil)
			if err != nil {
				t.Error(err)
			}
			args = append(args, string(b))
		}
		if s := strings.Join(args, " "); s != c.args {
			t.Errorf("%s: arguments %s", c.in, s)
		}
		p.Args = nil
		if fmt.Sprintf("%+v", p) != fmt.Sprintf("%+v", c.want) {
			t.Errorf("%.60s: %+v", c.in, p)
		}
	}
}

func TestDecoder_Namespaces(t *testing.T) {
	t.Parallel()
	d := parser.JSON().NewDecoder(parser.Limits{}, 5)
	for _, name := range []string{"/a", "/b", "/a", "/a", "/", "/é?x=1"} {
		got, err := addAll(t, d, []frame{text("2" + name + `,["e"]`)})
		if err != nil || got[0].Namespace != name {
			t.Errorf("%s: %v %v", name, got, err)
		}
	}
}

func TestDecoder_Refuses(t *testing.T) {
	t.Parallel()
	for _, in := range []string{
		"2/\xff,[\"a\"]", "0/" + strings.Repeat("n", 16*parser.MaxNamespace), `2 ["a"]`, "2\n[\"a\"]", `2["a"`, `2["a"],`, "2[\"\xff\"]", "2[\"a\",\"\xed\xa0\x80\"]",
		`29007199254740992["a"]`, `0 {}`, `0{"a":}`, `1[]`, `1null`, `4 "x"`, `4"x`, `61-`, `51-12`, `51-/x,`, `51-null`, `6-[]`, `5`, `6`, `511`, "\x00", "/", "-", "2[\"a\"]\x1e",
	} {
		refused(t, parser.Limits{}, text(in))
	}
}

func TestDecoder_BinarySequences(t *testing.T) {
	t.Parallel()
	head := text(`52-["a",{"_placeholder":true,"num":0}]`)
	refused(t, parser.Limits{}, bin("x"))
	refused(t, parser.Limits{}, head, text(`2["a"]`))
	refused(t, parser.Limits{}, head, bin("x"), head)
	refused(t, parser.Limits{}, head, bin("x"), bin("y"), bin("z"))

	d := parser.JSON().NewDecoder(parser.Limits{}, 5)
	for range 3 { // one decoder reads any number of them
		for i, f := range []frame{head, bin("x"), bin("y")} {
			var p parser.Packet
			done, err := d.Add(&p, f.bytes(t), f.Kind == "binary")
			if err != nil || done != (i == 2) || d.Pending() != (i < 2) {
				t.Fatalf("frame %d: %v %v", i, done, err)
			}
			if done && !bytes.Equal(toAny(t, p.Args[0]).([]byte), []byte("x")) {
				t.Error("another attachment")
			}
		}
	}
}

func TestDecoder_KeepsNothing(t *testing.T) {
	t.Parallel()
	d := parser.JSON().NewDecoder(parser.Limits{}, 5)
	var p parser.Packet
	in, att := []byte(`51-/name,["event",{"_placeholder":true,"num":0},"text"]`), []byte("bytes")
	if _, err := d.Add(&p, in, false); err != nil {
		t.Fatal(err)
	}
	clear(in)
	if done, err := d.Add(&p, att, true); !done || err != nil {
		t.Fatal(done, err)
	}
	clear(att)
	if p.Namespace != "/name" || p.Event != "event" || string(toAny(t, p.Args[0]).([]byte)) != "bytes" || toAny(t, p.Args[1]) != "text" {
		t.Errorf("%+v", p)
	}
}

// Threat T8, CVE-2026-33151: attachments are bounded in number before any is kept, and in bytes.
func TestThreat_T8_Attachments(t *testing.T) {
	t.Parallel()
	for _, in := range []string{`511-["a"]`, `599999999999999999999999-["a"]`, `5999999`, `5`, `51`, `5a-`, `51.23-`, `5-1-`, `5-`, `50-["a"]`} {
		refused(t, parser.Limits{}, text(in))
	}
	refused(t, parser.Limits{Attachments: 2}, text(`53-["a"]`))
	if _, err := decode(t, parser.Limits{Attachments: -1}, text(`5500-["a"]`)); err != nil {
		t.Error(err)
	}
	refused(t, parser.Limits{Attachments: -1}, text(`599999999-["a"]`))

	million := bin(strings.Repeat("x", 1_000_000))
	refused(t, parser.Limits{}, text(`52-["a"]`), million, bin("x"))
	refused(t, parser.Limits{Bytes: 3}, text(`52-["a"]`), bin("xx"), bin("yy"))
	if got, err := decode(t, parser.Limits{}, text(`52-["a"]`), million, bin("")); err != nil || len(got) != 1 {
		t.Error(err)
	}
}

// Threat T9: nesting is bounded, whatever its form.
func TestThreat_T9_Depth(t *testing.T) {
	t.Parallel()
	for _, n := range []int{65, 5000, 400_000} {
		arrays := `2["a",` + strings.Repeat("[", n-1) + strings.Repeat("]", n-1) + `]`
		open := `2` + strings.Repeat("[", n)
		objects := `2["a",` + strings.Repeat(`{"_placeholder":`, n-1) + "1" + strings.Repeat("}", n-1) + `]`
		auth := `0` + strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n)
		for _, in := range []string{arrays, open, objects, auth, "51-" + arrays[1:], "51-" + objects[1:], "6" + "1-1" + open[1:]} {
			refused(t, parser.Limits{}, text(in))
		}
	}
	n := 63
	if _, err := decode(t, parser.Limits{}, text(`2["a",`+strings.Repeat("[", n)+strings.Repeat("]", n)+`]`)); err != nil {
		t.Error(err)
	}
	n = 5000
	if _, err := decode(t, parser.Limits{Depth: -1}, text(`2["a",`+strings.Repeat("[", n)+strings.Repeat("]", n)+`]`)); err != nil {
		t.Error(err)
	}
}

// Threat T10: ids that JavaScript cannot hold are refused.
func TestThreat_T10_LargeID(t *testing.T) {
	t.Parallel()
	for _, id := range []string{strings.Repeat("9", 400), "99999999999999999999", "18446744073709551617", "9007199254740992"} {
		refused(t, parser.Limits{}, text("2"+id+`["a"]`))
		refused(t, parser.Limits{}, text("3"+id+`["a"]`))
	}
}

// Threat T21: names that mean something to JavaScript objects are data.
func TestThreat_T21_PrototypeKeys(t *testing.T) {
	t.Parallel()
	for _, in := range []string{`2["__proto__"]`, `2["a",{"__proto__":{"x":1},"constructor":1}]`, `2["constructor",{"__proto__":null}]`, `2["toString"]`} {
		got, err := decode(t, parser.Limits{}, text(in))
		if err != nil {
			t.Fatal(err)
		}
		f, err := parser.JSON().Encode(&got[0], 5)
		if err != nil || string(f.Head) != in {
			t.Errorf("%s came back as %s, %v", in, f.Head, err)
		}
	}
}

// Threat T29: text that is not UTF-8 is refused wherever it is.
func TestThreat_T29_UTF8(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"\xff", "\xc3", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xc0\xaf", "\x80"} {
		for _, in := range []string{`2["` + bad + `"]`, `2["a",{"` + bad + `":1}]`, `0/` + bad + `,`, `0{"a":"` + bad + `"}`, `4"` + bad + `"`, bad} {
			refused(t, parser.Limits{}, text(in))
		}
	}
}

// CVE-2020-36049: time is linear in the length of an id or a number of a packet.
func TestAdvisory_CVE_2020_36049_LongDigits(t *testing.T) {
	t.Parallel()
	refused(t, parser.Limits{}, text("4"+strings.Repeat("2", 1_000_000)))
	refused(t, parser.Limits{}, text("2"+strings.Repeat("2", 1_000_000)+`["a"]`))
}

// CVE-2022-2421: the index of a placeholder is a whole number in range.
func TestAdvisory_CVE_2022_2421_PlaceholderIndex(t *testing.T) {
	t.Parallel()
	for _, num := range []string{`"splice"`, `1`, `-1`, `0.5`, `1e9`, `"0"`, `null`, `{}`, `[0]`, `true`, `9999999999`} {
		refused(t, parser.Limits{}, text(`51-["hello",{"_placeholder":true,"num":`+num+`}]`), bin("x"))
		refused(t, parser.Limits{}, text(`61-1[[{"\u005fplaceholder":true,"num":`+num+`}]]`), bin("x"))
	}
	refused(t, parser.Limits{}, text(`51-["hello",{"_placeholder":true}]`), bin("x"))
}

// CVE-2023-32695: the name of an event is a string or a number.
func TestAdvisory_CVE_2023_32695_EventName(t *testing.T) {
	t.Parallel()
	for _, in := range []string{`2[{"toString":"foo"}]`, `2[true]`, `2[null]`, `2[[]]`, `2{}`, `2[]`, `51-[{"_placeholder":true,"num":0}]`} {
		refused(t, parser.Limits{}, text(in))
	}
}

// CVE-2024-38355: an event named "error" is an ordinary one.
func TestAdvisory_CVE_2024_38355_ErrorEvent(t *testing.T) {
	t.Parallel()
	if got, err := decode(t, parser.Limits{}, text(`2["error","x"]`)); err != nil || got[0].Event != "error" {
		t.Error(err)
	}
}

func TestReserved(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"} {
		if !parser.Reserved(name) {
			t.Errorf("%s is not reserved", name)
		}
		for _, in := range []string{`2["` + name + `"]`, `2["\u00` + fmt.Sprintf("%02x", name[0]) + name[1:] + `"]`} {
			refused(t, parser.Limits{}, text(in))
		}
	}
	for _, name := range []string{"error", "connection", "message", "__proto__", "Connect", ""} {
		if parser.Reserved(name) {
			t.Errorf("%q is reserved", name)
		}
	}
}

// Every beginning of a packet that has JSON is refused or is a packet of less content, and never a panic.
func TestDecoder_Prefixes(t *testing.T) {
	t.Parallel()
	for _, in := range []string{`2/admin,12["project:delete",{"a":[1,"\u00e9é"]}]`, `52-/a,3["x",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`, `0/a,{"token":"x"}`, `4{"message":"x"}`, `31[true,null,-1.5e3]`} {
		for n := range in {
			got, err := decode(t, parser.Limits{}, text(in[:n]))
			if err != nil && !errors.Is(err, parser.ErrInvalid) {
				t.Errorf("%s: %v", in[:n], err)
			}
			if i := strings.IndexAny(in, "[{"); n > i && len(got) > 0 {
				t.Errorf("%s: accepted", in[:n])
			}
		}
	}
}

func TestDecoder_Allocations(t *testing.T) {
	d := parser.JSON().NewDecoder(parser.Limits{}, 5)
	var p parser.Packet
	for in, most := range map[string]float64{
		`2["echo","` + strings.Repeat("x", 64) + `"]`:           2,
		`2/name,12["echo","` + strings.Repeat("x", 64) + `",1]`: 2,
		`2["ping"]`: 1,
		`31[]`:      1,
		`2`:         0,
	} {
		data := []byte(in)
		if n := testing.AllocsPerRun(100, func() {
			if _, err := d.Add(&p, data, false); err != nil {
				t.Fatal(err)
			}
		}); n > most {
			t.Errorf("%s: %v allocations, want %v", in, n, most)
		}
	}
}
