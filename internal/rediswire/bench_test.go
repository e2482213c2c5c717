package rediswire

import (
	"testing"
	"time"

	"github.com/tinylib/msgp/msgp"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/parser"
)

// benchArgs are an event's arguments as another server sends them: text, and a map with bytes and a date.
func benchArgs() []parser.Arg {
	m := msgp.AppendMapHeader(nil, 4)
	m = msgp.AppendString(msgp.AppendString(m, "text"), "hello there, this is a chat message of some length")
	m = msgp.AppendFloat64(msgp.AppendString(m, "score"), 1.5)
	m = msgp.AppendBytes(msgp.AppendString(m, "bytes"), make([]byte, 32))
	m = msgp.AppendTimeExt(msgp.AppendString(m, "at"), time.Unix(1_700_000_000, 0))
	return []parser.Arg{parser.RawMsgpack(msgp.AppendString(nil, "lobby")), parser.RawMsgpack(m)}
}

func BenchmarkAppendBroadcast(b *testing.B) {
	o := target([]string{"room"}, nil, adapter.Flags{})
	for name, args := range map[string][]parser.Arg{"text": benchArgs()[:1], "map": benchArgs()} {
		p := &parser.Packet{Namespace: "/", Event: "message", Args: args}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var dst []byte
			var err error
			for b.Loop() {
				if dst, err = AppendBroadcast(dst[:0], uidA, p, o); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkParseBroadcast(b *testing.B) {
	p := &parser.Packet{Namespace: "/", Event: "message", Args: benchArgs()}
	in, err := AppendBroadcast(nil, uidA, p, target([]string{"room"}, nil, adapter.Flags{}))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		m, err := ParseBroadcast(in)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := m.Packet("/"); err != nil {
			b.Fatal(err)
		}
	}
}

// A server-side event is JSON, bytes included.
func BenchmarkAppendServerSide(b *testing.B) {
	r := &Request{Type: RequestServerSide, UID: uidA, Packet: parser.Packet{Event: "message", Args: benchArgs()}}
	b.ReportAllocs()
	var dst []byte
	var err error
	for b.Loop() {
		if dst, err = AppendRequest(dst[:0], r); err != nil {
			b.Fatal(err)
		}
	}
}

// benchMessages are a broadcast of one text, and one of a text and a map, which has binary.
func benchMessages() map[string]*Message {
	all := map[string]*Message{}
	for name, args := range map[string][]parser.Arg{"text": benchArgs()[:1], "map": benchArgs()} {
		all[name] = &Message{
			Type: MessageBroadcast, UID: shardA, Namespace: "/", Target: target([]string{"room"}, nil, adapter.Flags{}),
			Packet: parser.Packet{Type: parser.Event, Event: "message", Args: args},
		}
	}
	return all
}

func BenchmarkAppendMessage(b *testing.B) {
	for name, m := range benchMessages() {
		for format, f := range map[string]Format{"auto": FormatAuto, "msgpack": FormatMsgpack} {
			b.Run(name+"/"+format, func(b *testing.B) {
				b.ReportAllocs()
				var dst []byte
				var err error
				for b.Loop() {
					if dst, err = AppendMessage(dst[:0], m, f); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkParseMessage(b *testing.B) {
	for name, m := range benchMessages() {
		for format, f := range map[string]Format{"auto": FormatAuto, "msgpack": FormatMsgpack} {
			in, err := AppendMessage(nil, m, f)
			if err != nil {
				b.Fatal(err)
			}
			b.Run(name+"/"+format, func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(len(in)))
				for b.Loop() {
					if _, err := ParseMessage(in); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkEntry(b *testing.B) {
	for name, m := range benchMessages() {
		b.Run("append/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := EntryFields(m, false); err != nil {
					b.Fatal(err)
				}
			}
		})
		fields, err := EntryFields(m, false)
		if err != nil {
			b.Fatal(err)
		}
		b.Run("parse/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := ParseEntry(fields); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("peek/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, _, ok := PeekEntry(fields); !ok {
					b.Fatal("no entry")
				}
			}
		})
	}
}
