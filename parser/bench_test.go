package parser_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/parser"
)

type chat struct {
	ID   int      `json:"id"`
	Room string   `json:"room"`
	Text string   `json:"text"`
	Tags []string `json:"tags"`
}

func benchPackets() map[string]parser.Packet {
	event := func(args ...any) parser.Packet {
		p := parser.Packet{Type: parser.Event, Namespace: "/", Event: "message"}
		for _, a := range args {
			p.Args = append(p.Args, parser.Value(a))
		}
		return p
	}
	msg := chat{12, "lobby", "hello there, this is a chat message of some length", []string{"a", "b"}}
	text, err := json.Marshal(msg)
	if err != nil {
		panic(err) // a constant
	}
	raw := event()
	raw.Args = []parser.Arg{parser.RawJSON(text)}
	return map[string]parser.Packet{
		"string-64": event(strings.Repeat("x", 64)),
		"struct":    event(msg),
		"raw":       raw,
		"map":       event(map[string]any{"id": 12, "room": "lobby", "text": msg.Text, "tags": []any{"a", "b"}}),
		"binary":    event(make([]byte, 64)),
		"nested":    event(struct{ A, B []byte }{make([]byte, 64), make([]byte, 64)}),
	}
}

func BenchmarkEncode(b *testing.B) {
	for name, p := range benchPackets() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			j := parser.JSON()
			for b.Loop() {
				if _, err := j.Encode(&p, 5); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	for name, p := range benchPackets() {
		f, err := parser.JSON().Encode(&p, 5)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			d := parser.JSON().NewDecoder(parser.Limits{}, 5)
			var p parser.Packet
			for b.Loop() {
				_, err := d.Add(&p, f.Head, false)
				for _, a := range f.Attachments {
					_, err = d.Add(&p, a, true)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkScan(b *testing.B) {
	args := map[string]parser.Arg{}
	d := parser.JSON().NewDecoder(parser.Limits{}, 5)
	for name, p := range benchPackets() {
		f, err := parser.JSON().Encode(&p, 5)
		if err != nil {
			b.Fatal(err)
		}
		var q parser.Packet
		if _, err := d.Add(&q, f.Head, false); err != nil {
			b.Fatal(err)
		}
		for _, a := range f.Attachments {
			if _, err := d.Add(&q, a, true); err != nil {
				b.Fatal(err)
			}
		}
		args[name] = q.Args[0]
	}
	run := func(name string, dst any) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := args[name].Scan(dst); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	run("string-64", new(string))
	run("struct", new(chat))
	run("binary", new([]byte))
	run("nested", new(struct{ A, B []byte }))
	b.Run("any", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := args["struct"].Any(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkConvert(b *testing.B) {
	p := benchPackets()["raw"]
	packed, err := p.Args[0].AppendMsgpack(nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("JSON to MessagePack", func(b *testing.B) {
		b.ReportAllocs()
		var dst []byte
		for b.Loop() {
			if dst, err = p.Args[0].AppendMsgpack(dst[:0]); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("MessagePack to JSON", func(b *testing.B) {
		b.ReportAllocs()
		var dst []byte
		for b.Loop() {
			if dst, err = parser.RawMsgpack(packed).AppendJSON(dst[:0]); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func TestEncode_Allocations(t *testing.T) {
	for name, most := range map[string]float64{"string-64": 1, "raw": 1, "map": 1, "struct": 1} {
		p := benchPackets()[name]
		j := parser.JSON()
		if raceEnabled {
			most += 10 // there a sync.Pool forgets at random
		}
		if n := testing.AllocsPerRun(200, func() {
			if _, err := j.Encode(&p, 5); err != nil {
				t.Fatal(err)
			}
		}); n > most {
			t.Errorf("%s: %v allocations, want %v", name, n, most)
		}
	}
}
