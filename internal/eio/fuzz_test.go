package eio

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func seedPayloads(f *testing.F) {
	f.Helper()
	for _, format := range formats {
		f.Add(encode(format, mixed), uint8(format))
	}
	for _, file := range []string{"engineio-v4-codec.json", "engineio-v3-codec.json"} {
		for _, v := range vectors(f, file) {
			format := V4
			if strings.Contains(file, "v3") {
				format = V3Text
				if v.InputKind == "binary" {
					format = V3Binary
				}
			}
			f.Add(unhex(f, v.Hex), uint8(format))
		}
	}
}

// FuzzDecoder: no input panics, no more comes out than went in, and what was decoded survives another round.
func FuzzDecoder(f *testing.F) {
	seedPayloads(f)
	f.Fuzz(func(t *testing.T, body []byte, format uint8) {
		fm := Format(format % 3)
		got, err := read(fm, body)
		total := 0
		known := got[:0]
		for _, p := range got {
			total += len(p.Data) + 1
			if !p.Binary && !utf8.Valid(p.Data) {
				t.Fatalf("invalid text: %q", p.Data)
			}
			if p.Type != None {
				known = append(known, p)
			}
		}
		if total > len(body) && err == nil && !slices.ContainsFunc(got, func(p Packet) bool { return p.Type == None }) {
			t.Fatalf("%d bytes out of %d", total, len(body))
		}
		for _, p := range known {
			if p.Binary && p.Type != Message && fm == V4 {
				t.Fatalf("binary %v in protocol 4", p.Type)
			}
		}
		if len(known) == 0 {
			return
		}
		again, err := read(fm, encode(fm, known))
		if err != nil || !slices.EqualFunc(again, known, samePacket) {
			t.Fatalf("second round: %v, %v; want %v", again, err, known)
		}
	})
}

func FuzzParseMessage(f *testing.F) {
	seedPayloads(f)
	f.Fuzz(func(t *testing.T, data []byte, protocol uint8) {
		v := 3 + int(protocol%2)
		p, err := ParseText(v, bytes.Clone(data))
		if err == nil && p.Type != None {
			again, err := ParseText(v, AppendText(nil, v, p))
			if err != nil || !samePacket(again, p) {
				t.Fatalf("text, second round: %v, %v; want %v", again, err, p)
			}
		}
		b := ParseBinary(v, data)
		if b.Type != None && !bytes.Equal(AppendBinary(nil, v, b), data) {
			t.Fatalf("binary, second round of %x", data)
		}
	})
}

func FuzzJSONP(f *testing.F) {
	f.Add([]byte("d=2%3A4a"))
	f.Add([]byte(`d=a\\nb\n+%E2%82%AC&x=1`))
	f.Fuzz(func(t *testing.T, body []byte) {
		got, _ := ParseJSONP(bytes.Clone(body))
		if len(got) > len(body) {
			t.Fatalf("%d bytes out of %d", len(got), len(body))
		}
		script := AppendJSONP(nil, "0", body)
		var back string
		if err := json.Unmarshal(script[len("___eio[0]("):len(script)-2], &back); err != nil {
			t.Fatalf("%s: %v", script, err)
		}
		if utf8.Valid(body) && back != string(body) {
			t.Fatalf("got %q, want %q", back, body)
		}
	})
}

func FuzzHandshake(f *testing.F) {
	f.Add([]byte(`{"sid":"a","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if h, err := ParseHandshake(data); err == nil && (h.PingInterval < 0 || h.PingTimeout < 0 || h.MaxPayload < 0 || h.SID == "") {
			t.Fatalf("%+v", h)
		}
	})
}
