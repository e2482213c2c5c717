package rediswire

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/parser"
)

// The uids of the captures.
const (
	shardA, shardB, shardChat    = "955e93072818ef73", "150319916ecc4a4e", "92c87fcfda089796"
	streamA, streamB, streamChat = "6e90ff569f8d22d9", "17485fa23f792c58", "391a4563dacb83ac"
)

func timed(ms int, t Target) Target {
	t.Timeout = time.Duration(ms) * time.Millisecond
	return t
}

func roomsOf(rooms ...string) Target { return target(rooms, nil, adapter.Flags{}) }

type goldenMessage struct {
	name string
	m    Message
}

// goldenMessages are what node A says in the captures of both adapters. The ids are those of the sharded one.
func goldenMessages() []goldenMessage {
	type flags = adapter.Flags
	const sidA, sidB = "rdfj8GylHPMt9HOCAAAA", "kzrYk8RHzikduT5yAAAB"
	broadcast := func(p *parser.Packet, t Target) Message {
		return Message{Type: MessageBroadcast, Packet: *p, Target: t}
	}
	ask := func(id string, p *parser.Packet, t Target) Message {
		return Message{Type: MessageBroadcast, RequestID: id, Packet: *p, Target: t}
	}
	side := func(id string, p *parser.Packet) Message {
		return Message{Type: MessageServerSide, RequestID: id, Packet: *p}
	}
	return []goldenMessage{
		{"broadcast: all", broadcast(event("ev", 1, "two", struct {
			A any   `json:"a"`
			B []any `json:"b"`
		}{nil, []any{true, 1.5}}), Target{})},
		{"broadcast: no arguments", broadcast(event("ev"), Target{})},
		{"broadcast: one room", broadcast(event("ev"), roomsOf("room1"))},
		{"broadcast: two rooms", broadcast(event("ev"), roomsOf("room1", "onB"))},
		{"broadcast: except a room", broadcast(event("ev"), target(nil, []string{"onB"}, flags{}))},
		{"broadcast: room and except", broadcast(event("ev"), target([]string{"room1"}, []string{"onA", "x"}, flags{}))},
		{"broadcast: one socket id", broadcast(event("ev"), roomsOf(sidB))},
		{"broadcast: volatile flag", broadcast(event("ev"), target(nil, nil, flags{Volatile: true}))},
		{"broadcast: compress(false)", broadcast(event("ev"), target(nil, nil, flags{NoCompress: true}))},
		{"broadcast: binary", broadcast(event("bin", []byte{1, 2, 0xff}, map[string]any{"deep": []any{[]byte{}}}), Target{})},
		{"broadcast: Uint8Array, Date, undefined, big integer", broadcast(event("odd", []byte{1, 2},
			parser.RawMsgpack([]byte("\xd7\x00\x00\x00\x01\x8b\xcf\xe5\x68\x7b")), nil, struct{}{}, 1<<40), Target{})},
		{"broadcast: unicode and odd room names", broadcast(event("\u20ac\U0001f600"), roomsOf("\u0440\u0443#\u043c*[1]"))},
		{"broadcast: from a socket", broadcast(event("ev"), target(nil, []string{sidA}, flags{}))},
		{"broadcast: from a socket to a room", broadcast(event("ev"), target([]string{"room1"}, []string{sidA}, flags{}))},
		{"broadcast: namespace /chat", Message{Type: MessageBroadcast, Namespace: "/chat", UID: shardChat, Packet: *event("ev")}},
		{"broadcast with acknowledgement: everyone answers", ask("671811d211084590", event("q", "x"), timed(800, Target{}))},
		{"broadcast with acknowledgement: room, binary payload", ask("19846923ee8ff724", event("q", []byte{9}),
			timed(800, target([]string{"room1"}, []string{"onA"}, flags{})))},
		{"broadcast with acknowledgement: volatile and compress flags", ask("b36071f45bf3239d", event("q"),
			timed(400, target(nil, nil, flags{Volatile: true, NoCompress: true})))},
		{"remote socket: emit with acknowledgement", ask("738b717791b94a03", event("q"),
			timed(500, target([]string{sidB}, nil, flags{Single: true})))},
		{"fetchSockets: all", Message{Type: MessageFetch, RequestID: "e97c647c20355045"}},
		{"fetchSockets: room and except", Message{
			Type: MessageFetch, RequestID: "60904a9a3857db9f",
			Target: target([]string{"room1"}, []string{"onA"}, flags{}),
		}},
		{"socketsJoin: all", Message{Type: MessageJoin, Rooms: []string{"j1"}}},
		{"socketsJoin: filtered, several rooms", Message{
			Type: MessageJoin, Rooms: []string{"j2", "j3"},
			Target: target([]string{"onB"}, []string{"x"}, flags{}),
		}},
		{"socketsLeave", Message{Type: MessageLeave, Rooms: []string{"j2", "j1"}, Target: roomsOf("onB")}},
		{"disconnectSockets: close=true", Message{Type: MessageDisconnect, Close: true, Target: roomsOf("room1")}},
		{"serverSideEmit", side("", event("hello", 1, map[string]int{"a": 2}))},
		{"serverSideEmit: with acknowledgement", side("21b84b5f92b70041", event("hello", "x"))},
		{"serverSideEmit: Buffer becomes JSON", side("", event("hello", []byte{1, 2}))},
	}
}

// answers are what node B says, in the capture of the sharded adapter.
var answers = []goldenMessage{
	{"broadcast with acknowledgement: everyone answers", Message{Type: MessageCount, RequestID: "671811d211084590", Count: 1}},
	{"broadcast with acknowledgement: nobody in the room", Message{Type: MessageCount, RequestID: "66bd3f34cbb8de5a"}},
	{"broadcast with acknowledgement: everyone answers", Message{
		Type: MessageAck, RequestID: "671811d211084590",
		Args: []parser.Arg{parser.Value("ack from b"), parser.Value("second")},
	}},
	{"serverSideEmit: with acknowledgement", Message{
		Type: MessageServerSideResponse, RequestID: "21b84b5f92b70041",
		Args: []parser.Arg{parser.Value("from B")},
	}},
}

func sent(tb testing.TB, file, name string) (payloads [][]byte, entries [][]string) {
	tb.Helper()
	for _, v := range load(tb, file) {
		if v.Name != name {
			continue
		}
		for _, c := range v.Commands {
			switch c.Command {
			case "PUBLISH", "SPUBLISH":
				payloads = append(payloads, unhex(tb, c.Payload))
			case "XADD":
				entries = append(entries, c.Args)
			}
		}
	}
	return payloads, entries
}

func contains(list [][]byte, b []byte) bool {
	return slices.ContainsFunc(list, func(e []byte) bool { return bytes.Equal(e, b) })
}

func TestAppendMessage_Golden(t *testing.T) {
	t.Parallel()
	for from, list := range map[string][]goldenMessage{shardA: goldenMessages(), shardB: answers} {
		for _, c := range list {
			m := c.m
			if m.Namespace == "" {
				m.Namespace, m.UID = "/", from
			}
			got, err := AppendMessage([]byte("x"), &m, FormatAuto)
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
				continue
			}
			if want, _ := sent(t, "sharded-dynamic.json", c.name); !contains(want, got[1:]) {
				t.Errorf("%s:\ngot  %q\nwant %q", c.name, got, want)
			}
		}
	}
}

// The requests of streams are the same, but always MessagePack; what changes nothing for the others goes to the stream.
func TestAppendMessage_StreamsGolden(t *testing.T) {
	t.Parallel()
	entries := 0
	for _, c := range goldenMessages() {
		m := c.m
		payloads, added := sent(t, "streams-0.3.1.json", c.name)
		if m.Namespace == "" {
			m.Namespace, m.UID = "/", streamA
		} else {
			m.UID = streamChat
		}
		replaceIDs(&m, payloads)
		if strings.Contains(c.name, "undefined") { // which is null as the value of a key in this dialect
			m.Packet.Args = slices.Clone(m.Packet.Args)
			m.Packet.Args[3] = parser.Value(map[string]any{"u": nil})
		}
		if len(added) > 0 {
			entries++
			got, err := EntryFields(&m, false)
			if err != nil || !slices.ContainsFunc(added, func(want []string) bool { return slices.Equal(got, want) }) {
				t.Errorf("%s: %v\ngot  %q\nwant %q", c.name, err, got, added)
			}
			continue
		}
		got, err := AppendMessage(nil, &m, FormatMsgpack)
		if err != nil || !contains(payloads, got) {
			t.Errorf("%s: %v\ngot  %x\nwant %x", c.name, err, got, payloads)
		}
	}
	if entries < 15 {
		t.Errorf("%d entries", entries)
	}
}

// replaceIDs puts the ids of this capture into m, which has those of another.
func replaceIDs(m *Message, payloads [][]byte) {
	ids := strings.NewReplacer("rdfj8GylHPMt9HOCAAAA", "AZLlkjPv6JitXBetAAAA", "kzrYk8RHzikduT5yAAAB", "Zhttxej9mcmd4BsTAAAB")
	for _, list := range []*[]string{&m.Target.Rooms, &m.Target.Except} {
		*list = slices.Clone(*list)
		for i, r := range *list {
			(*list)[i] = ids.Replace(r)
		}
	}
	for _, p := range payloads {
		if got, err := ParseMessage(p); err == nil && got.Type == m.Type {
			m.RequestID = got.RequestID
		}
	}
}

func TestEmitterFields_Golden(t *testing.T) {
	t.Parallel()
	vectors := map[string]Message{
		"emit: all": {Packet: *event("ev", 1, "two", struct {
			A any `json:"a"`
		}{})},
		"emit: one room":            {Packet: *event("ev"), Target: roomsOf("room1")},
		"emit: volatile":            {Packet: *event("ev"), Target: target(nil, nil, adapter.Flags{Volatile: true})},
		"emit: binary":              {Packet: *event("bin", []byte{1, 2}, map[string]any{"x": []any{[]byte{0xff}}})},
		"emit: namespace":           {Packet: *event("ev"), Namespace: "/chat"},
		"emit: room, except, flags": {Packet: *event("ev"), Target: target([]string{"room1"}, []string{"x", "y"}, adapter.Flags{Volatile: true, NoCompress: true})},
		"socketsJoin":               {Type: MessageJoin, Rooms: []string{"a", "b"}, Target: target([]string{"room1"}, []string{"x"}, adapter.Flags{})},
		"socketsLeave":              {Type: MessageLeave, Rooms: []string{"a"}, Target: roomsOf("room1")},
		"disconnectSockets":         {Type: MessageDisconnect},
		"disconnectSockets: close":  {Type: MessageDisconnect, Close: true, Target: roomsOf("room1")},
		"serverSideEmit":            {Type: MessageServerSide, Packet: *event("hello", 1, map[string]int{"a": 2})},
		"serverSideEmit: Buffer":    {Type: MessageServerSide, Packet: *event("hello", []byte{1})},
		"emit: Uint8Array, Date, undefined": {Packet: *event("odd", []byte{1},
			parser.RawMsgpack([]byte("\xd7\x00\x00\x00\x01\x8b\xcf\xe5\x68\x7b")), nil)},
	}
	for name, m := range vectors {
		if m.Type == 0 {
			m.Type = MessageBroadcast
		}
		if m.Namespace == "" {
			m.Namespace = "/"
		}
		got, err := EmitterFields(&m, false)
		if _, want := sent(t, "emitter-streams-0.1.1.json", name); err != nil || len(want) != 1 || !slices.Equal(got, want[0]) {
			t.Errorf("%s: %v\ngot  %q\nwant %q", name, err, got, want)
		}
	}
}

func TestAppendEmitter_Golden(t *testing.T) {
	t.Parallel()
	type flags = adapter.Flags
	all := func(name string, args ...any) *parser.Packet { return event(name, args...) }
	for name, c := range map[string]struct {
		p *parser.Packet
		t Target
	}{
		"emit: all": {all("ev", 1, "two", struct {
			A any `json:"a"`
		}{}), Target{}},
		"emit: one room":            {all("ev"), roomsOf("room1")},
		"emit: two rooms":           {all("ev"), roomsOf("room1", "room2")},
		"emit: volatile":            {all("ev"), target(nil, nil, flags{Volatile: true})},
		"emit: binary":              {all("bin", []byte{1, 2}, map[string]any{"x": []any{[]byte{0xff}}}), Target{}},
		"emit: namespace":           {eventOf("/chat", "ev"), Target{}},
		"emit: except":              {all("ev"), target(nil, []string{"x"}, flags{})},
		"emit: room, except, flags": {all("ev"), target([]string{"room1"}, []string{"x", "y"}, flags{Volatile: true, NoCompress: true})},
	} {
		for file, legacy := range map[string]bool{"emitter-5.1.0.json": false, "emitter-4.1.1.json": false, "emitter-3.2.0.json": true} {
			if legacy && len(c.t.Except) > 0 {
				continue
			}
			got, err := AppendEmitterBroadcast(nil, c.p, &c.t, legacy)
			if want, _ := sent(t, file, name); err != nil || !contains(want, got) {
				t.Errorf("%s: %s: %v\ngot  %q\nwant %q", file, name, err, got, want)
			}
		}
	}
	for name, r := range map[string]Request{
		"socketsJoin":              {Type: RequestJoin, Rooms: []string{"a", "b"}, Target: target([]string{"room1"}, []string{"x"}, flags{})},
		"socketsJoin: all":         {Type: RequestJoin, Rooms: []string{"a"}},
		"socketsLeave":             {Type: RequestLeave, Rooms: []string{"a"}, Target: roomsOf("room1")},
		"disconnectSockets":        {Type: RequestDisconnect},
		"disconnectSockets: close": {Type: RequestDisconnect, Close: true, Target: roomsOf("room1")},
		"serverSideEmit":           {Type: RequestServerSide, Packet: *event("hello", 1, map[string]int{"a": 2})},
		"serverSideEmit: Buffer":   {Type: RequestServerSide, Packet: *event("hello", []byte{1})},
	} {
		r.UID = "ignored"
		got, err := AppendEmitterRequest(nil, &r)
		if want, _ := sent(t, "emitter-5.1.0.json", name); err != nil || !contains(want, got) {
			t.Errorf("%s: %v\ngot  %q\nwant %q", name, err, got, want)
		}
	}
}

func TestStreamName_Golden(t *testing.T) {
	t.Parallel()
	for _, v := range load(t, "stream-count.json") {
		nsp := strings.TrimSuffix(strings.TrimPrefix(v.Name, "namespace "), " with streamCount 4")
		if got := StreamName("st", nsp, 4); got != v.Stream {
			t.Errorf("%q: %s, want %s", nsp, got, v.Stream)
		}
	}
	if got := StreamName("st", "/", 1); got != "st" {
		t.Error(got)
	}
}

func TestShardChannels_Golden(t *testing.T) {
	t.Parallel()
	v := load(t, "sharded-dynamic.json")[0]
	for i, nsp := range []string{"/", "/chat"} {
		c, err := NewShardChannels("socket.io", nsp, []string{shardA, shardChat}[i])
		if err != nil || c.Common != v.Commands[2*i].Args[0] || c.Own != v.Commands[2*i+1].Args[0] {
			t.Errorf("%+v %v, want %q", c, err, v.Commands[2*i:2*i+2])
		}
		if got, want := c.Room("a#*"), "socket.io#"+nsp+"#a#*#"; got != want || c.Response("u") != "socket.io#"+nsp+"#u#" {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if _, err := NewShardChannels("k", "/a\nb", "u"); !errors.Is(err, ErrNamespace) {
		t.Error(err)
	}
}
