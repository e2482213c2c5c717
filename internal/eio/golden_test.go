package eio

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sockeye-io/sockeye/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

type vector struct {
	Name       string          `json:"name"`
	Op         string          `json:"op"`
	Input      json.RawMessage `json:"input"`
	InputKind  string          `json:"input_kind"`
	OutputKind string          `json:"output_kind"`
	Hex        string          `json:"hex"`
	Decoded    json.RawMessage `json:"decoded"`
}

type goldenPacket struct {
	Type json.RawMessage `json:"type"`
	Data json.RawMessage `json:"data"`
}

type goldenInput struct {
	Packet         goldenPacket   `json:"packet"`
	Packets        []goldenPacket `json:"packets"`
	SupportsBinary bool           `json:"supportsBinary"`
}

func vectors(tb testing.TB, file string) []vector {
	tb.Helper()
	raw, err := os.ReadFile("testdata/" + file)
	if err != nil {
		tb.Fatal(err)
	}
	var g struct {
		Vectors []vector `json:"vectors"`
	}
	if err := json.Unmarshal(raw, &g); err != nil {
		tb.Fatal(err)
	}
	return g.Vectors
}

// packet turns a packet of the golden file into ours. isErr is Node's packet of type error.
func packet(tb testing.TB, g goldenPacket) (p Packet, isErr bool) {
	tb.Helper()
	var name string
	p.Type = None
	if json.Unmarshal(g.Type, &name) == nil {
		if name == "error" {
			return Packet{}, true
		}
		for ty := Open; ty <= Noop; ty++ {
			if ty.String() == name {
				p.Type = ty
			}
		}
	}
	var text string
	var bin struct {
		Hex *string `json:"$bin"`
	}
	switch {
	case g.Data == nil:
	case json.Unmarshal(g.Data, &text) == nil:
		p.Data = []byte(text)
	case json.Unmarshal(g.Data, &bin) == nil && bin.Hex != nil:
		p.Binary, p.Data = true, unhex(tb, *bin.Hex)
	default:
		p.Data = g.Data // a number, which is sent as its text
	}
	return p, false
}

func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func samePacket(a, b Packet) bool {
	return a.Type == b.Type && a.Binary == b.Binary && bytes.Equal(a.Data, b.Data)
}

func TestGoldenV4(t *testing.T) {
	t.Parallel()
	for _, v := range vectors(t, "engineio-v4-codec.json") {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			switch v.Op {
			case "encodePacket", "encodePayload":
				checkEncode(t, 4, v)
			case "decodePacket":
				checkDecodePacket(t, 4, v)
			case "decodePayload":
				var want []goldenPacket
				if err := json.Unmarshal(v.Decoded, &want); err != nil {
					t.Fatal(err)
				}
				checkDecodePayload(t, V4, unhex(t, v.Hex), want)
			default:
				t.Fatalf("unknown op %q", v.Op)
			}
		})
	}
}

func TestGoldenV3(t *testing.T) {
	t.Parallel()
	for _, v := range vectors(t, "engineio-v3-codec.json") {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			switch v.Op {
			case "encodePacket", "encodePayload":
				checkEncode(t, 3, v)
			case "decodePacket":
				checkDecodePacket(t, 3, v)
			case "decodePayload":
				var steps []struct {
					Packet goldenPacket `json:"packet"`
				}
				if err := json.Unmarshal(v.Decoded, &steps); err != nil {
					t.Fatal(err)
				}
				want := make([]goldenPacket, 0, len(steps))
				for _, s := range steps {
					want = append(want, s.Packet)
				}
				f := V3Text
				if v.InputKind == "binary" {
					f = V3Binary
				}
				checkDecodePayload(t, f, unhex(t, v.Hex), want)
			default:
				t.Fatalf("unknown op %q", v.Op)
			}
		})
	}
}

func checkEncode(t *testing.T, protocol int, v vector) {
	t.Helper()
	var in goldenInput
	if err := json.Unmarshal(v.Input, &in); err != nil {
		t.Fatal(err)
	}
	var got []byte
	switch v.Op {
	case "encodePacket":
		p, _ := packet(t, in.Packet)
		if p.Binary && in.SupportsBinary {
			got = AppendBinary(nil, protocol, p)
		} else {
			got = AppendText(nil, protocol, p)
			if len(got) != LenText(protocol, p) {
				t.Errorf("LenText = %d, appended %d", LenText(protocol, p), len(got))
			}
		}
	default:
		f := V4
		if protocol == 3 {
			f = V3Text
			if v.OutputKind == "binary" {
				f = V3Binary
			}
		}
		for _, g := range in.Packets {
			p, _ := packet(t, g)
			got = Append(got, f, p)
		}
		if len(in.Packets) == 0 {
			got = []byte(EmptyV3)
		}
	}
	want := unhex(t, v.Hex)
	if protocol == 3 && strings.HasPrefix(v.Name, "client packet-encode: message ") && bytes.Contains(want, []byte{0xc2}) {
		want = latin1(t, want) // this codec returns a string with one character for each byte
	}
	if !bytes.Equal(got, want) {
		t.Errorf("got  %x\nwant %x", got, want)
	}
}

// latin1 turns a string in which each character stands for a byte into those bytes.
func latin1(t *testing.T, s []byte) []byte {
	t.Helper()
	var out []byte
	for len(s) > 0 {
		r, n := utf8.DecodeRune(s)
		if r > 255 {
			t.Fatalf("not a byte string: %x", s)
		}
		out, s = append(out, byte(r)), s[n:]
	}
	return out
}

func checkDecodePacket(t *testing.T, protocol int, v vector) {
	t.Helper()
	var g goldenPacket
	if err := json.Unmarshal(v.Decoded, &g); err != nil {
		t.Fatal(err)
	}
	want, isErr := packet(t, g)
	var got Packet
	var err error
	if strings.HasPrefix(v.InputKind, "binary") {
		got = ParseBinary(protocol, unhex(t, v.Hex))
	} else {
		got, err = ParseText(protocol, unhex(t, v.Hex))
	}
	if isErr != (err != nil) || !samePacket(got, want) {
		t.Errorf("got %v, %v; want %v, error %v", got, err, want, isErr)
	}
}

func checkDecodePayload(t *testing.T, f Format, body []byte, want []goldenPacket) {
	t.Helper()
	d := NewDecoder(f, body)
	for i, g := range want {
		p, isErr := packet(t, g)
		if isErr {
			if d.Next() {
				t.Fatalf("packet %d: got %v, want an error", i, d.Packet)
			}
			if d.Err() == nil || i != len(want)-1 {
				t.Fatalf("packet %d: no error, or not the last", i)
			}
			return
		}
		if !d.Next() {
			t.Fatalf("packet %d: none, %v", i, d.Err())
		}
		if !samePacket(d.Packet, p) {
			t.Errorf("packet %d: got %v, want %v", i, d.Packet, p)
		}
	}
	if d.Next() || d.Err() != nil {
		t.Errorf("more than wanted: %v, %v", d.Packet, d.Err())
	}
}
