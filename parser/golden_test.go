package parser_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"math"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/parser"
	"github.com/sockeye-io/sockeye/parser/msgpack"
)

// The vectors in testdata were captured from the official packages, which each of them names.

type vector struct {
	Name, Package, Op string
	Input             json.RawMessage
	InputKind         string `json:"input_kind"`
	Hex, Text         string
	Frames            []frame
	Decoded           []json.RawMessage
	DecodedAgain      []json.RawMessage `json:"decoded_again"`
	DecodedBySame     json.RawMessage   `json:"decoded_by_same_library"`
	Error             *string
}

type frame struct{ Kind, Hex, Text string }

func (f frame) bytes(t *testing.T) []byte {
	t.Helper()
	b, err := hex.DecodeString(f.Hex)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func vectors(t *testing.T, file string, n int) []vector {
	t.Helper()
	b, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	var f struct{ Vectors []vector }
	if err := json.Unmarshal(b, &f); err != nil {
		t.Fatal(err)
	}
	if len(f.Vectors) != n {
		t.Fatalf("%d vectors, want %d", len(f.Vectors), n)
	}
	return f.Vectors
}

// special reads the objects that stand for what JSON has no words for.
type special struct {
	Bin       *string         `json:"$bin"`
	Kind      string          `json:"$kind"`
	Undefined bool            `json:"$undefined"`
	Date      json.RawMessage `json:"$date"`
	Number    *string         `json:"$number"`
	ToJSON    json.RawMessage `json:"$toJSON"`
}

func (s special) number() float64 {
	switch *s.Number {
	case "NaN":
		return math.NaN()
	case "-0":
		return math.Copysign(0, -1)
	case "-Infinity":
		return math.Inf(-1)
	}
	return math.Inf(1)
}

func readSpecial(raw json.RawMessage) (s special, ok bool) {
	if !bytes.HasPrefix(raw, []byte(`{"$`)) {
		return s, false
	}
	return s, json.Unmarshal(raw, &s) == nil
}

// arg makes the argument that raw describes.
func arg(t *testing.T, raw json.RawMessage) parser.Arg {
	t.Helper()
	if s, ok := readSpecial(raw); ok {
		switch {
		case s.Undefined:
			return parser.RawMsgpack([]byte{0xd4, 0, 0})
		case s.Bin != nil:
			return parser.Bytes(frame{Hex: *s.Bin}.bytes(t))
		case s.Date != nil:
			ms, _ := date(t, s.Date)
			return parser.RawMsgpack(binary.BigEndian.AppendUint64([]byte{0xd7, 0}, uint64(ms)))
		case s.Number != nil:
			return parser.Value(s.number())
		case s.ToJSON != nil:
			return parser.RawJSON(s.ToJSON)
		}
	}
	if !bytes.Contains(raw, []byte(`"$`)) {
		if c := raw[0]; c == '-' || c >= '0' && c <= '9' || c == '"' && !bytes.Contains(raw, []byte(`\ud8`)) {
			var v any
			if err := json.Unmarshal(raw, &v); err != nil {
				t.Fatal(err)
			}
			return parser.Value(v)
		}
		return parser.RawJSON(raw)
	}
	if raw[0] == '[' {
		var elems []json.RawMessage
		if err := json.Unmarshal(raw, &elems); err != nil {
			t.Fatal(err)
		}
		var out []any
		for _, e := range elems {
			out = append(out, arg(t, e))
		}
		return parser.Value(out)
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil {
		t.Fatal(err)
	}
	out := map[string]any{}
	for k, m := range members {
		if s, ok := readSpecial(m); !ok || !s.Undefined {
			out[k] = arg(t, m)
		}
	}
	return parser.Value(out)
}

func date(t *testing.T, raw json.RawMessage) (ms int64, text string) {
	t.Helper()
	if string(raw) != "null" {
		if err := json.Unmarshal(raw, &ms); err != nil {
			t.Fatal(err)
		}
	}
	return ms, time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z")
}

// want gives what Any should make of what raw describes.
func want(t *testing.T, raw json.RawMessage) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	return wantAny(t, v)
}

func wantAny(t *testing.T, v any) any {
	t.Helper()
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = wantAny(t, v[i])
		}
	case map[string]any:
		raw, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		switch s, _ := readSpecial(raw); {
		case s.Undefined || s.Number != nil:
			return nil
		case s.Bin != nil:
			return frame{Hex: *s.Bin}.bytes(t)
		case v["$date"] != nil:
			_, text := date(t, s.Date)
			return text
		}
		for k := range v {
			if m, ok := v[k].(map[string]any); ok && m["$undefined"] == true {
				delete(v, k)
				continue
			}
			v[k] = wantAny(t, v[k])
		}
	}
	return v
}

// packet makes a packet of the description of one.
func packet(t *testing.T, raw json.RawMessage) *parser.Packet {
	t.Helper()
	var in struct {
		Type int
		Nsp  string
		ID   *uint64
		Data json.RawMessage
	}
	if err := json.Unmarshal(raw, &in); err != nil {
		t.Fatal(err)
	}
	p := &parser.Packet{Type: parser.Type(in.Type), Namespace: in.Nsp}
	if in.ID != nil {
		p.ID, p.HasID = *in.ID, true
	}
	if p.Type == parser.Connect || p.Type == parser.Disconnect || p.Type == parser.ConnectError {
		if in.Data != nil {
			p.Data = arg(t, in.Data)
		}
		return p
	}
	var data []json.RawMessage
	if err := json.Unmarshal(in.Data, &data); err != nil {
		t.Fatal(err)
	}
	if p.Type == parser.Event || p.Type == parser.BinaryEvent {
		p.Event = strings.Trim(string(data[0]), `"`)
		if err := json.Unmarshal(data[0], &p.Event); err != nil && data[0][0] == '"' {
			t.Fatal(err)
		}
		data = data[1:]
	}
	for _, d := range data {
		p.Args = append(p.Args, arg(t, d))
	}
	return p
}

// equal compares a decoded packet with the description of one.
func equal(t *testing.T, p *parser.Packet, raw json.RawMessage) {
	t.Helper()
	var in struct {
		Type int
		Nsp  string
		ID   *float64
		Data json.RawMessage
	}
	if err := json.Unmarshal(raw, &in); err != nil {
		t.Fatal(err)
	}
	if in.Type >= 5 {
		in.Type -= 3
	}
	if int(p.Type) != in.Type || p.Namespace != in.Nsp {
		t.Errorf("type %d namespace %q, want %s", p.Type, p.Namespace, raw)
	}
	if p.HasID != (in.ID != nil) || p.HasID && float64(p.ID) != *in.ID {
		t.Errorf("id %d %v, want %s", p.ID, p.HasID, raw)
	}
	got := any(nil)
	switch {
	case !p.Data.IsZero():
		got = toAny(t, p.Data)
	case (p.Type == parser.Event || p.Type == parser.Ack) && !p.Empty:
		list := []any{}
		if p.Type == parser.Event {
			list = append(list, p.Event)
		}
		for _, a := range p.Args {
			list = append(list, toAny(t, a))
		}
		got = list
	}
	if in.Data == nil {
		in.Data = json.RawMessage("null")
	}
	w := want(t, in.Data)
	if list, ok := w.([]any); ok && p.Type == parser.Event && len(list) > 0 {
		if n, ok := list[0].(float64); ok && n == 1 {
			list[0] = "1" // names are strings
		}
	}
	if list, ok := w.([]any); ok && p.Empty && len(list) == 0 {
		w = nil
	}
	if !reflect.DeepEqual(got, w) {
		t.Errorf("payload %#v, want %#v", got, w)
	}
}

func toAny(t *testing.T, a parser.Arg) any {
	t.Helper()
	v, err := a.Any()
	if err != nil {
		t.Error(err)
	}
	return v
}

func checkFrames(t *testing.T, f parser.Frames, want []frame) {
	t.Helper()
	got := append([][]byte{f.Head}, f.Attachments...)
	if len(got) != len(want) {
		t.Fatalf("%d frames, want %d: %q", len(got), len(want), got)
	}
	for i, w := range want {
		if !bytes.Equal(got[i], w.bytes(t)) {
			t.Errorf("frame %d is %q (%x), want %q", i, got[i], got[i], w.bytes(t))
		}
	}
	if f.Binary != (want[0].Kind == "binary") {
		t.Errorf("binary is %v, want %s", f.Binary, want[0].Kind)
	}
}

// addAll gives the frames of a vector to a decoder.
func addAll(t *testing.T, d parser.Decoder, frames []frame) (out []parser.Packet, err error) {
	t.Helper()
	for _, f := range frames {
		var p parser.Packet
		done, err := d.Add(&p, f.bytes(t), f.Kind == "binary")
		if err != nil {
			return out, err
		}
		if done {
			out = append(out, p)
		}
	}
	return out, nil
}

// What we do otherwise, and why. A text is what is encoded instead; where a decoder differs, it refuses.
var differencesJSON = map[string]struct{ reason, text string }{
	"encode: event numeric name":                              {"names are strings in Go", `2["1","a"]`},
	"encode: explicit BINARY_EVENT type given to the encoder": {"the arguments say whether there is binary", `2["e",1]`},
	"encode: explicit BINARY_EVENT type with a buffer":        {"the arguments say whether there is binary", `51-["e",{"_placeholder":true,"num":0}]`},
	`decode: "2 1[\"a\"]"`:                                    {"blanks are no digits", ""},
	`decode: "299999999999999999999[\"a\"]"`:                  {"ids end where JavaScript's integers do", ""},
	`decode: "5 1-[\"a\"]"`:                                   {"plain digits only", ""},
	`decode: "51e1-[\"a\"]"`:                                  {"plain digits only", ""},
	`decode: "50x1-[\"a\"]"`:                                  {"plain digits only", ""},
	`decode: ""`:                                              {"no engine gives an empty message", ""},
	`decode: " "`:                                             {"a blank is no digit", ""},
	`decode: "51-[\"a\",{\"_placeholder\":true,\"num\":0.5}]" + 1 attachment(s)`: {"an index is whole", ""},
	// Only by the parser of revision 4. A server of today reads all its peers with that of revision 5.
	`decode: "2[\"connect\"]"`:        {"reserved in every revision", ""},
	`decode: "2[\"connect_error\"]"`:  {"reserved in every revision", ""},
	`decode: "2[\"disconnect\"]"`:     {"reserved in every revision", ""},
	`decode: "2[\"disconnecting\"]"`:  {"reserved in every revision", ""},
	`decode: "2[\"newListener\"]"`:    {"reserved in every revision", ""},
	`decode: "2[\"removeListener\"]"`: {"reserved in every revision", ""},
	`decode: "0[1]"`:                  {"credentials are an object", ""},
	`decode: "0null"`:                 {"credentials are an object", ""},
	`decode: "7"`:                     {"a broken message closes", ""},
	`decode: "8[]"`:                   {"a broken message closes", ""},
	`decode: "9"`:                     {"a broken message closes", ""},
	`decode: "a"`:                     {"a broken message closes", ""},
	`decode: "undefined"`:             {"a broken message closes", ""},
}

func TestGolden_DifferencesExist(t *testing.T) {
	t.Parallel()
	names := map[string]bool{}
	for _, v := range append(vectors(t, "socketio-v5-codec.json", 157), vectors(t, "msgpack-parser-codec.json", 86)...) {
		names[v.Name] = true
		_, name, _ := strings.Cut(v.Name, " ")
		names[name] = true
	}
	for name := range differencesJSON {
		if !names[name] {
			t.Errorf("no vector %s", name)
		}
	}
	for name := range differencesMsgpack {
		if !names[name] {
			t.Errorf("no vector %s", name)
		}
	}
}

func TestJSON_Golden(t *testing.T) {
	t.Parallel()
	for file, protocol := range map[string]int{"socketio-v5-codec.json": 5, "socketio-v4-codec.json": 4} {
		for _, v := range vectors(t, file, 157) {
			t.Run(file+"/"+v.Name, func(t *testing.T) {
				t.Parallel()
				diff, differs := differencesJSON[v.Name]
				if v.Op == "Encoder.encode" {
					goldenEncode(t, v, protocol, diff.text)
					return
				}
				got, err := addAll(t, parser.JSON().NewDecoder(parser.Limits{}, protocol), v.Frames)
				if differs {
					if err == nil {
						t.Fatalf("accepted, although: %s", diff.reason)
					}
					return
				}
				if (err != nil) != (v.Error != nil) {
					t.Fatalf("error %v, want %v", err, v.Error)
				}
				if len(got) != len(v.Decoded) {
					t.Fatalf("%d packets, want %d", len(got), len(v.Decoded))
				}
				for i := range got {
					if strings.Contains(v.Name, "1e999") {
						if _, err := got[i].Args[0].Any(); err == nil {
							t.Error("a number beyond the range of float64 was scanned")
						}
						continue
					}
					equal(t, &got[i], v.Decoded[i])
				}
			})
		}
	}
}

func goldenEncode(t *testing.T, v vector, protocol int, text string) {
	t.Helper()
	f, err := parser.JSON().Encode(packet(t, v.Input), protocol)
	if err != nil {
		t.Fatal(err)
	}
	if protocol == 4 && bytes.Contains(v.Input, []byte("$bin")) {
		// The encoder of revision 4 is told by the socket above it whether there is binary; then it writes what
		// the one of revision 5 does.
		for _, w := range vectors(t, "socketio-v5-codec.json", 157) {
			if w.Name == v.Name && text == "" {
				v = w
			}
		}
	}
	if text != "" {
		if string(f.Head) != text {
			t.Errorf("%s, want %s", f.Head, text)
		}
		return
	}
	checkFrames(t, f, v.Frames)
}

var differencesMsgpack = map[string]string{
	"encode: connect reply as the server builds it (type, data, nsp; pid undefined)": "no undefined is sent",
	"encode: connect with auth":     "another order of keys, which means nothing",
	"encode: event with Uint8Array": "bytes are written as such",
	"encode: event with floats":     "a float beyond 64 bits is kept",
	"encode: event with undefined":  "nothing undefined is made by Go values",
	"encode: event with binary":     "revision 4 has a type of its own for binary",
	"decode: event reserved name":   "reserved in every codec",
	"decode: event name is null":    "a name is a string or a number",
	"decode: id negative":           "ids are not negative",
}

func TestMsgpack_Golden(t *testing.T) {
	t.Parallel()
	for _, v := range vectors(t, "msgpack-parser-codec.json", 86) {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			version, name, _ := strings.Cut(v.Name, " ")
			protocol := 5
			if strings.Contains(version, "@2") {
				protocol = 4
			}
			reason := differencesMsgpack[name]
			if v.Op == "Encoder.encode" {
				msgpackEncode(t, v, protocol, reason)
				return
			}
			in := frame{Kind: "binary", Hex: v.Hex}
			if v.InputKind == "text" {
				in.Kind = "text"
			}
			got, err := addAll(t, msgpack.New().NewDecoder(parser.Limits{}, protocol), []frame{in})
			if reason != "" {
				if err == nil {
					t.Fatalf("accepted, although: %s", reason)
				}
				return
			}
			if (err != nil) != (v.Error != nil) {
				t.Fatalf("error %v, want %v", err, v.Error)
			}
			for i := range got {
				equal(t, &got[i], v.Decoded[i])
			}
		})
	}
}

func msgpackEncode(t *testing.T, v vector, protocol int, reason string) {
	t.Helper()
	p := packet(t, v.Input)
	f, err := msgpack.New().Encode(p, protocol)
	if err != nil {
		t.Fatal(err)
	}
	text := v.Frames[0].Kind == "text"
	switch {
	case text || reason != "":
		if f.Binary == text {
			t.Errorf("binary is %v", f.Binary)
		}
		// Keys in another order: compare what it means.
		dec, again := parser.RawMsgpack(v.Frames[0].bytes(t)), parser.RawMsgpack(f.Head)
		if text {
			dec, again = parser.RawJSON(v.Frames[0].bytes(t)), parser.RawJSON(f.Head)
		}
		w, g := toAny(t, dec).(map[string]any), toAny(t, again).(map[string]any)
		if strings.Contains(v.Name, "floats") {
			w["data"].([]any)[2] = 1e300
		}
		if protocol == 4 && bytes.Contains(v.Input, []byte("$bin")) {
			w["type"] = 5.0
		}
		if !reflect.DeepEqual(w, g) {
			t.Errorf("%v, want %v", g, w)
		}
	default:
		checkFrames(t, f, v.Frames)
	}
	if len(v.DecodedAgain) == 0 {
		return
	}
	got, err := addAll(t, msgpack.New().NewDecoder(parser.Limits{}, protocol), v.Frames)
	if err != nil || len(got) != 1 {
		t.Fatal(got, err)
	}
	equal(t, &got[0], v.DecodedAgain[0])
}

func TestArg_MsgpackLibraries(t *testing.T) {
	t.Parallel()
	for _, v := range vectors(t, "msgpack-libraries.json", 124) {
		if v.Hex == "" {
			continue // the library does not encode it
		}
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			raw := frame{Hex: v.Hex}.bytes(t)
			got := toAny(t, parser.RawMsgpack(raw))
			w := want(t, v.DecodedBySame)
			if strings.Contains(v.Name, "lone surrogate") {
				w = got // no text in Go
			}
			if !reflect.DeepEqual(got, w) {
				t.Errorf("decoded %#v, want %#v", got, w)
			}
			normal, err := parser.RawMsgpack(raw).AppendMsgpack(nil)
			if again := toAny(t, parser.RawMsgpack(normal)); err != nil || !reflect.DeepEqual(again, got) {
				t.Errorf("written again: %#v %v, want %#v", again, err, got)
			}
			for n := range raw {
				if _, err := parser.RawMsgpack(raw[:n]).AppendMsgpack(nil); err == nil {
					t.Errorf("the first %d bytes were accepted", n)
				}
				if _, err := parser.RawMsgpack(raw[:n]).Any(); err == nil {
					t.Errorf("the first %d bytes were scanned", n)
				}
			}
			if v.Package == "notepack.io@3.0.1" {
				libraryEncode(t, v, raw)
			}
		})
	}
}

// libraryEncode compares bytes with the library that the current classic adapter uses.
func libraryEncode(t *testing.T, v vector, want []byte) {
	t.Helper()
	for _, other := range []string{"undefined", "date", "nested", "floats", "uint16array", "lone surrogate", ": map", ": set"} {
		if strings.Contains(v.Name, other) && !strings.Contains(v.Name, "map of") {
			return // dates are written for older versions too; the others have no like in Go
		}
	}
	got, err := arg(t, v.Input).AppendMsgpack(nil)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%x %v, want %x", got, err, want)
	}
}
