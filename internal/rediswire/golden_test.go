package rediswire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/mpack"
	"github.com/sockeye-io/sockeye/parser"
)

func event(name string, args ...any) *parser.Packet {
	return eventOf("/", name, args...)
}

func eventOf(namespace, name string, args ...any) *parser.Packet {
	p := &parser.Packet{Type: parser.Event, Namespace: namespace, Event: name}
	for _, a := range args {
		p.Args = append(p.Args, parser.Value(a))
	}
	return p
}

func target(rooms, except []string, f adapter.Flags) Target {
	return Target{Options: adapter.Options{Rooms: rooms, Except: except, Flags: f}}
}

// same compares with the first publication of a captured action.
func same(t *testing.T, file, name string, got []byte) {
	t.Helper()
	for _, v := range load(t, file) {
		if v.Name != name {
			continue
		}
		for _, c := range v.Commands {
			if c.Command == "PUBLISH" && (!bytes.HasPrefix(got, []byte(`{"uid"`)) || strings.HasPrefix(c.Payload, "7b22756964")) {
				if want := unhex(t, c.Payload); !bytes.Equal(got, want) {
					t.Errorf("got  %q\nwant %q", got, want)
				}
				return
			}
		}
	}
	t.Fatalf("no vector %q", name)
}

const uidA, uidChat = "Cz95IP", "O5pq8R"

func TestAppendBroadcast_Golden(t *testing.T) {
	t.Parallel()
	const sidA, sidB = "RWfR822aeQiafP8ZAAAA", "-m1YHM7ub1pqwWo7AAAB"
	type flags = adapter.Flags
	for _, c := range []struct {
		name   string
		uid    string
		packet *parser.Packet
		target Target
	}{
		{"broadcast: all", uidA, event("ev", 1, "two", struct {
			A any   `json:"a"`
			B []any `json:"b"`
		}{nil, []any{true, 1.5}}), Target{}},
		{"broadcast: no arguments", uidA, event("ev"), Target{}},
		{"broadcast: one room", uidA, event("ev"), target([]string{"room1"}, nil, flags{})},
		{"broadcast: one room unknown everywhere", uidA, event("ev"), target([]string{"nowhere"}, nil, flags{})},
		{"broadcast: two rooms", uidA, event("ev"), target([]string{"room1", "onB"}, nil, flags{})},
		{"broadcast: except a room", uidA, event("ev"), target(nil, []string{"onB"}, flags{})},
		{"broadcast: room and except", uidA, event("ev"), target([]string{"room1"}, []string{"onA", "x"}, flags{})},
		{"broadcast: one socket id", uidA, event("ev"), target([]string{sidB}, nil, flags{})},
		{"broadcast: volatile flag", uidA, event("ev"), target(nil, nil, flags{Volatile: true})},
		{"broadcast: compress(false)", uidA, event("ev"), target(nil, nil, flags{NoCompress: true})},
		{"broadcast: binary", uidA, event("bin", []byte{1, 2, 0xff}, map[string]any{"deep": []any{[]byte{}}}), Target{}},
		{"broadcast: unicode and odd room names", uidA, event("€😀"), target([]string{"ру#м*[1]"}, nil, flags{})},
		{"broadcast: from a socket", uidA, event("ev"), target(nil, []string{sidA}, flags{})},
		{"broadcast: from a socket to a room", uidA, event("ev"), target([]string{"room1"}, []string{sidA}, flags{})},
		{"broadcast: namespace /chat", uidChat, eventOf("/chat", "ev"), Target{}},
		{"broadcast: namespace /chat, room", uidChat, eventOf("/chat", "ev"), target([]string{"r"}, nil, flags{})},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := AppendBroadcast(nil, c.uid, c.packet, c.target)
			if err != nil {
				t.Fatal(err)
			}
			same(t, "classic-8.3.0.json", c.name, got)
		})
	}
}

func TestAppendRequest_Golden(t *testing.T) {
	t.Parallel()
	rooms := func(rooms ...string) Target { return target(rooms, nil, adapter.Flags{}) }
	acked := func(ms int, t Target) Target {
		t.Timeout = time.Duration(ms) * time.Millisecond
		return t
	}
	for _, c := range []struct {
		file, name string
		r          Request
	}{
		{"", "broadcast with acknowledgement: everyone answers", Request{
			Type: RequestBroadcast, ID: "6BA6uw", Packet: *event("q", "x"), Target: acked(800, Target{}),
		}},
		{"", "broadcast with acknowledgement: room, binary payload", Request{
			Type: RequestBroadcast, ID: "Iahzpd", Packet: *event("q", []byte{9}),
			Target: acked(800, target([]string{"room1"}, []string{"onA"}, adapter.Flags{})),
		}},
		{"", "broadcast with acknowledgement: volatile and compress flags", Request{
			Type: RequestBroadcast, ID: "yQmTr_", Packet: *event("q"),
			Target: acked(400, target(nil, nil, adapter.Flags{Volatile: true, NoCompress: true})),
		}},
		{"", "fetchSockets: all", Request{Type: RequestFetch, ID: "7wrXZS"}},
		{"", "fetchSockets: room and except", Request{
			Type: RequestFetch, ID: "Ry4k2S", Target: target([]string{"room1"}, []string{"onA"}, adapter.Flags{}),
		}},
		{"", "socketsJoin: all", Request{Type: RequestJoin, Rooms: []string{"j1"}}},
		{"", "socketsJoin: filtered, several rooms", Request{
			Type: RequestJoin, Rooms: []string{"j2", "j3"}, Target: target([]string{"onB"}, []string{"x"}, adapter.Flags{}),
		}},
		{"", "socketsLeave", Request{Type: RequestLeave, Rooms: []string{"j2", "j1"}, Target: rooms("onB")}},
		{"", "serverSideEmit", Request{Type: RequestServerSide, Packet: *event("hello", 1, map[string]int{"a": 2})}},
		{"", "serverSideEmit: with acknowledgement", Request{
			Type: RequestServerSide, ID: "ZWNLGu", Packet: *event("hello", "x"),
		}},
		{"", "serverSideEmit: Buffer becomes JSON", Request{
			Type: RequestServerSide, Packet: *event("hello", []byte{1, 2}),
		}},
		{"", "serverSideEmit: acknowledgement never called", Request{
			Type: RequestServerSide, ID: "sD5pFo", Packet: *event("mute"),
		}},
		{"", "allRooms", Request{Type: RequestAllRooms, ID: "gyV-bB"}},
		{"", "disconnectSockets: close=true", Request{Type: RequestDisconnect, Close: true, Target: rooms("room1")}},
		{"classic-7.2.0.json", "adapter.sockets(rooms)", Request{
			Type: RequestSockets, UID: "GEqTPD", ID: "Rf2wNH", Target: rooms("room1"),
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.file == "" {
				c.file = "classic-8.3.0.json"
			}
			if c.r.UID == "" {
				c.r.UID = uidA
			}
			got, err := AppendRequest(nil, &c.r)
			if err != nil {
				t.Fatal(err)
			}
			same(t, c.file, c.name, got)
		})
	}
}

func TestAppendRequest_KeyOrder(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		r    Request
		want string
	}{
		"disconnect": {
			Request{Type: RequestDisconnect, UID: uidChat},
			`{"uid":"O5pq8R","type":4,"opts":{"rooms":[],"except":[]},"close":false}`,
		},
		"quoting": {
			Request{Type: RequestJoin, UID: "u", Rooms: []string{"a\"\\\n\x01\u2028<é"}},
			`{"uid":"u","type":2,"opts":{"rooms":[],"except":[]},"rooms":["a\"\\\n\u0001` + "\u2028" + `<é"]}`,
		},
		"server-side event with deep binary": {
			Request{Type: RequestServerSide, UID: "u", Packet: *event("e", map[string]any{"b": []any{[]byte{7}, nil, -1.5}})},
			`{"uid":"u","type":6,"data":["e",{"b":[{"type":"Buffer","data":[7]},null,-1.5]}]}`,
		},
		"server-side event with what old servers write": {
			Request{Type: RequestServerSide, UID: "u", Packet: parser.Packet{Event: "e", Args: []parser.Arg{
				parser.RawMsgpack([]byte("\x83\xa1a\xd4\x00\x00\x07\xc7\x02\x00\x07\x08\xa1d\xd7\x00\x00\x00\x01\x8b\xcf\xe5h{")),
				parser.RawMsgpack([]byte("\xd4\x05\x07")),
			}}},
			`{"uid":"u","type":6,"data":["e",{"7":{"type":"Buffer","data":[7,8]},"d":"2023-11-14T22:13:20.123Z"},` +
				`[5,{"type":"Buffer","data":[7]}]]}`,
		},
	} {
		got, err := AppendRequest(nil, &c.r)
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %s %v, want %s", name, got, err, c.want)
		}
	}
}

// The answers of node B in the capture, written from what they say.
func TestAppendResponse_Golden(t *testing.T) {
	t.Parallel()
	responses := published(t, "-response#", "classic-8.3.0.json", "classic-7.2.0.json", "classic-5.4.0.json")
	check := func(name string, got []byte, vector string) {
		t.Helper()
		for k, v := range responses {
			if strings.HasPrefix(k, vector) && bytes.Equal(got, v) {
				return
			}
		}
		t.Errorf("%s: %q is not in %q", name, got, vector)
	}
	check("count", AppendCountResponse(nil, "yg64EE", 0), "classic-8.3.0.json: broadcast with acknowledgement: nobody")
	ack, err := AppendAckResponse(nil, "6BA6uw", []parser.Arg{parser.Value("ack from b"), parser.Value("second")})
	if err != nil {
		t.Fatal(err)
	}
	check("acknowledgement", ack, "classic-8.3.0.json: broadcast with acknowledgement: everyone answers")
	side, err := AppendServerSideResponse(nil, "ZWNLGu", []parser.Arg{parser.Value("from B")})
	if err != nil {
		t.Fatal(err)
	}
	check("server side", side, "classic-8.3.0.json: serverSideEmit: with acknowledgement")
	check("rooms", AppendRoomsResponse(nil, &Request{ID: "gyV-bB"},
		[]string{"-m1YHM7ub1pqwWo7AAAB", "room1", "onB", "j3", "k2"}), "classic-8.3.0.json: allRooms")
	check("sockets", AppendSocketsResponse(nil, &Request{ID: "Rf2wNH"}, []string{"_hCbkTyu2YZaoNNmAAAB"}),
		"classic-7.2.0.json: adapter.sockets")
	check("done", AppendDoneResponse(nil, &Request{ID: "2DMChk"}), "classic-7.2.0.json: adapter.remoteJoin")
	check("clients of 2.x", AppendSocketsResponse(nil, &Request{ID: "oNNcAn", Legacy: true},
		[]string{"TrlpqjxRgBR-FJHwAAAB"}), "classic-5.4.0.json: clients")
	check("done of 2.x", AppendDoneResponse(nil, &Request{ID: "GCnKvX", Legacy: true}),
		"classic-5.4.0.json: remoteJoin")
}

// What Node says of a socket, read and written again, is the same but for the order of headers.
func TestAppendFetchResponse_Golden(t *testing.T) {
	t.Parallel()
	for name, b := range published(t, "-response#", "classic-8.3.0.json") {
		if !strings.Contains(name, "fetchSockets") {
			continue
		}
		r, err := ParseResponse(b)
		if err != nil {
			t.Fatal(err)
		}
		sockets, ok, err := r.Remotes()
		if err != nil || !ok || len(sockets) != 1 {
			t.Fatal(name, sockets, ok, err)
		}
		s := sockets[0]
		if s.ID != "-m1YHM7ub1pqwWo7AAAB" || !slices.Equal(s.Rooms, []string{s.ID, "room1", "onB"}) ||
			s.Handshake.Query["transport"] != "websocket" || s.Handshake.Headers["upgrade"][0] != "websocket" ||
			s.Handshake.Issued == 0 || s.Handshake.Address != "127.0.0.1" || s.Handshake.Secure {
			t.Errorf("%s: %+v", name, s)
		}
		again := AppendFetchResponse(nil, &Request{ID: r.ID}, sockets)
		if len(again) != len(b) || !bytes.HasPrefix(again, b[:bytes.Index(b, []byte(`"headers"`))]) {
			t.Errorf("%s:\n%s\n%s", name, again, b)
		}
		cut := []byte(`"time":`)
		if _, want, _ := bytes.Cut(b, cut); !bytes.HasSuffix(again, want) {
			t.Errorf("%s:\n%s\n%s", name, again, b)
		}
	}
}

func TestNewChannels_Golden(t *testing.T) {
	t.Parallel()
	for file, key := range map[string]string{
		"classic-8.3.0.json": "socket.io", "classic-8.3.0-specific-response.json": "custom",
	} {
		v := load(t, file)[0]
		for i, nsp := range []string{"/", "/chat"} {
			uid := []string{uidA, uidChat}[i]
			c, err := NewChannels(key, nsp, uid)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := []string{c.Pattern}, v.Commands[2*i].Args; !slices.Equal(got, want) {
				t.Errorf("%s: %q, want %q", file, got, want)
			}
			if got, want := []string{c.Request, c.Response, c.Own}, v.Commands[2*i+1].Args; !slices.Equal(got, want) {
				t.Errorf("%s: %q, want %q", file, got, want)
			}
		}
	}
}

// Every broadcast of every generation can be read, but for what is no event.
func TestParseBroadcast_Captures(t *testing.T) {
	t.Parallel()
	all := published(t, "#", captures...)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		m, err := ParseBroadcast(all[name])
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if m.UID == "" || m.Target.Nobody {
			t.Errorf("%s: %+v", name, m)
		}
		nsp := "/"
		if strings.Contains(name, "/chat") || strings.Contains(name, `of("chat`) || bytes.Contains(all[name], []byte("/chat")) {
			nsp = "/chat"
		}
		p, err := m.Packet(nsp)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for i, a := range p.Args {
			if _, err := a.AppendMsgpack(nil); err != nil {
				t.Errorf("%s: argument %d: %v", name, i, err)
			}
		}
	}
}

func TestParseRequest_Captures(t *testing.T) {
	t.Parallel()
	all := published(t, "-request#", captures...)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		nsp := "/"
		if strings.Contains(name, "/chat") {
			nsp = "/chat"
		}
		r, err := ParseRequest(all[name], nsp)
		if err != nil {
			t.Errorf("%s: %s: %v", name, all[name], err)
			continue
		}
		if r.Legacy != bytes.Contains(all[name], []byte(`"requestid"`)) {
			t.Errorf("%s: legacy %v", name, r.Legacy)
		}
	}
}

func TestParseRequest_Forms(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		in   string
		want Request
	}{
		"old join":   {`{"requestId":"i","type":2,"sid":"s","room":"r"}`, Request{Type: RequestJoin, ID: "i", Socket: "s", Rooms: []string{"r"}}},
		"old close":  {`{"requestId":"i","type":4,"sid":"s","close":true}`, Request{Type: RequestDisconnect, ID: "i", Socket: "s", Close: true}},
		"2.x join":   {`{"requestid":"i","type":3,"sid":"s","room":"r"}`, Request{Type: RequestJoin, Legacy: true, ID: "i", Socket: "s", Rooms: []string{"r"}}},
		"2.x leave":  {`{"requestid":"i","type":4,"sid":"s","room":"r"}`, Request{Type: RequestLeave, Legacy: true, ID: "i", Socket: "s", Rooms: []string{"r"}}},
		"2.x close":  {`{"requestid":"i","type":6,"sid":"s","close":true}`, Request{Type: RequestDisconnect, Legacy: true, ID: "i", Socket: "s", Close: true}},
		"2.x custom": {`{"requestid":"i","type":5,"data":1}`, Request{Type: RequestCustom, Legacy: true, ID: "i"}},
		"2.x rooms":  {`{"requestid":"i","type":1,"sid":"s"}`, Request{Type: RequestClientRooms, Legacy: true, ID: "i", Socket: "s"}},
		"null room":  {`{"requestId":"i","type":5,"opts":{"rooms":[null],"except":[]}}`, Request{Type: RequestFetch, ID: "i", Target: Target{Nobody: true}}},
		"numbers": {
			`{"uid":"u","type":2,"opts":{"rooms":[1,"a"],"except":[2.5]},"rooms":[3]}`,
			Request{Type: RequestJoin, UID: "u", Rooms: []string{"3"}, Target: target([]string{"1", "a"}, []string{"2.5"}, adapter.Flags{})},
		},
	} {
		r, err := ParseRequest([]byte(c.in), "/")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if r.Type != c.want.Type || r.UID != c.want.UID || r.ID != c.want.ID || r.Legacy != c.want.Legacy ||
			r.Socket != c.want.Socket || r.Close != c.want.Close || !slices.Equal(r.Rooms, c.want.Rooms) ||
			r.Target.Nobody != c.want.Target.Nobody || !slices.Equal(r.Target.Rooms, c.want.Target.Rooms) ||
			!slices.Equal(r.Target.Except, c.want.Target.Except) {
			t.Errorf("%s: %+v, want %+v", name, r, c.want)
		}
	}
}

func TestParse_Malformed(t *testing.T) {
	t.Parallel()
	fine := map[string]bool{
		"broadcast channel: packet type 5":                   true,
		"broadcast channel: packet without nsp":              true,
		"broadcast channel: options without rooms or except": true,
		"request channel: BROADCAST as JSON":                 true,
		"request channel: SOCKETS without rooms":             true,
		"response channel: unknown request id":               true,
	}
	for _, v := range load(t, "malformed.json") {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			b := unhex(t, v.Payload)
			var err error
			switch channelKind(v.Channel) {
			case "#":
				var m Broadcast
				if m, err = ParseBroadcast(b); err == nil {
					_, err = m.Packet("/")
				}
			case "-request#":
				_, err = ParseRequest(b, "/")
			default:
				_, err = ParseResponse(b)
			}
			if fine[v.Name] != (err == nil) {
				t.Errorf("%q: %v", b, err)
			}
			if err != nil && !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrReserved) && !errors.Is(err, ErrElsewhere) {
				t.Errorf("%v is of no known kind", err)
			}
		})
	}
}

// No part of a message is a message, and none panics.
func TestParse_Prefixes(t *testing.T) {
	t.Parallel()
	for kind, parse := range map[string]func([]byte) error{
		"#":          func(b []byte) error { _, err := ParseBroadcast(b); return err },
		"-request#":  func(b []byte) error { _, err := ParseRequest(b, "/"); return err },
		"-response#": func(b []byte) error { _, err := ParseResponse(b); return err },
	} {
		for name, b := range published(t, kind, captures...) {
			for i := range b {
				if err := parse(b[:i:i]); err == nil {
					t.Errorf("%s: the first %d bytes pass: %s", name, i, hex.EncodeToString(b[:i]))
				}
			}
		}
	}
}

func TestAppend_RefusesHarm(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"} {
		if _, err := AppendBroadcast(nil, "u", event(name), Target{}); !errors.Is(err, ErrReserved) {
			t.Errorf("broadcast of %q: %v", name, err)
		}
	}
	for _, name := range []string{"connect", "connection", "new_namespace"} {
		r := Request{Type: RequestServerSide, Packet: *event(name)}
		if _, err := AppendRequest(nil, &r); !errors.Is(err, ErrReserved) {
			t.Errorf("server-side event %q: %v", name, err)
		}
	}
	deep := any("x")
	for range mpack.MaxDepth + 1 {
		deep = []any{deep}
	}
	for name, a := range map[string]parser.Arg{
		"no value":        parser.Value(make(chan int)),
		"broken JSON":     parser.RawJSON([]byte(`{"a":`)),
		"broken msgpack":  parser.RawMsgpack([]byte{0x92, 1}),
		"two values":      parser.RawMsgpack([]byte{1, 1}),
		"nested too deep": parser.Value(deep),
		"no bytes at all": parser.RawMsgpack(nil),
		"invalid UTF-8":   parser.RawMsgpack([]byte{0xa1, 0xff}),
		"length of 4 GB":  parser.RawMsgpack([]byte{0xdd, 0xff, 0xff, 0xff, 0xff}),
	} {
		p := &parser.Packet{Namespace: "/", Event: "e", Args: []parser.Arg{a}}
		if b, err := AppendBroadcast(nil, "u", p, Target{}); err == nil {
			t.Errorf("%s: broadcast %x", name, b)
		}
		harmlessAsJSON := name == "nested too deep" || name == "invalid UTF-8" // which is replaced
		if b, err := AppendRequest(nil, &Request{Type: RequestServerSide, Packet: *p}); err == nil && !harmlessAsJSON {
			t.Errorf("%s: server-side event %s", name, b)
		}
	}
}

// Flags that are not set are not written: peers would hand false on.
func TestAppendBroadcast_UnsetFlagsAreLeftOut(t *testing.T) {
	t.Parallel()
	b, err := AppendBroadcast(nil, "u", event("e"), Target{})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasSuffix(b, []byte("\xa5flags\x80")) || bytes.IndexByte(b, 0xc2) >= 0 || bytes.IndexByte(b, 0xc0) >= 0 {
		t.Errorf("%q", b)
	}
}

// Peers rely on objects where a handshake, its headers or the data of a socket are.
func TestAppendFetchResponse_Objects(t *testing.T) {
	t.Parallel()
	const start = `{"requestId":"i","sockets":[{"id":"s","handshake":{"headers":{},"time":"","address":"","xdomain":false,` +
		`"secure":false,"issued":0,"url":"","query":{},"auth":{}},"rooms":[],"data":`
	for name, c := range map[string]struct {
		data parser.Arg
		want string
	}{
		"absent":  {parser.Arg{}, `{}`},
		"null":    {parser.Value(nil), `{}`},
		"string":  {parser.Value("x"), `{"_value":"x"}`},
		"number":  {parser.Value(1), `{"_value":1}`},
		"array":   {parser.Value([]int{1}), `[1]`},
		"object":  {parser.Value(map[string]any{"a": []byte{1}}), `{"a":{"type":"Buffer","data":[1]}}`},
		"channel": {parser.Value(make(chan int)), `{}`},
		"garbage": {parser.RawJSON([]byte("{")), `{}`},
	} {
		got := string(AppendFetchResponse(nil, &Request{ID: "i"}, []adapter.Remote{{ID: "s", Data: c.data}}))
		if got != start+c.want+"}]}" {
			t.Errorf("%s: %s", name, got)
		}
		r, err := ParseResponse([]byte(got))
		if err != nil {
			t.Fatal(name, err)
		}
		sockets, _, err := r.Remotes()
		if err != nil || len(sockets) != 1 {
			t.Fatal(name, sockets, err)
		}
		// What is wrapped is unwrapped.
		back, err := sockets[0].Data.AppendJSON(nil)
		if plain := strings.TrimSuffix(strings.TrimPrefix(c.want, `{"_value":`), "}"); strings.HasPrefix(c.want, `{"_value"`) && string(back) != plain {
			t.Errorf("%s came back as %s, %v", name, back, err)
		}
	}
	h := adapter.Handshake{Headers: map[string][]string{
		"Cookie": {"a=1", "b=2"}, "X-Two": {"1", "2"}, "Set-Cookie": {"c"}, "Quote\"": {"\n"},
	}}
	got := string(AppendFetchResponse(nil, &Request{ID: "i"}, []adapter.Remote{{ID: "s", Handshake: h}}))
	if want := `"headers":{"cookie":"a=1; b=2","quote\"":"\n","set-cookie":["c"],"x-two":"1, 2"}`; !strings.Contains(got, want) {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestRemotes_SkipsBadSockets(t *testing.T) {
	t.Parallel()
	r, err := ParseResponse([]byte(`{"requestId":"i","sockets":[{"id":"a","rooms":["a",1],"data":null},5,{"rooms":[]},` +
		`{"id":"b","rooms":7},{"id":"c","rooms":[],"handshake":{"headers":{"a":"1","b":["2","3"],"c":{}},"query":{"q":["x","y"]}}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	sockets, ok, err := r.Remotes()
	if !ok || !errors.Is(err, ErrMalformed) || len(sockets) != 2 || sockets[0].ID != "a" || sockets[1].ID != "c" {
		t.Fatal(sockets, ok, err)
	}
	if !slices.Equal(sockets[0].Rooms, []string{"a", "1"}) || !sockets[0].Data.IsZero() {
		t.Errorf("%+v", sockets[0])
	}
	if h := sockets[1].Handshake; !slices.Equal(h.Headers["b"], []string{"2", "3"}) || h.Query["q"] != "y" {
		t.Errorf("%+v", h)
	}
	r, err = ParseResponse([]byte(`{"requestId":"i"}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok, err := r.Remotes(); ok || err == nil {
		t.Error("an answer without sockets passes")
	}
}

func TestChannels_RoomOf(t *testing.T) {
	t.Parallel()
	c, err := NewChannels("socket.io", "/", uidA)
	if err != nil {
		t.Fatal(err)
	}
	for _, room := range []string{"#", "x#", "*", "?", "[a", "", "\x00", "😀", " ", uidA, strings.Repeat("a", 20)} {
		got, ok := c.RoomOf(c.Room(room))
		if !ok || got != room {
			t.Errorf("%q: %q %v", room, got, ok)
		}
	}
	for _, channel := range []string{c.Broadcast, c.Broadcast + "x", "socket.io#/chat#x#", ""} {
		if room, ok := c.RoomOf(channel); ok {
			t.Errorf("%q is of room %q", channel, room)
		}
	}
	for _, nsp := range []string{"/a\r\nb", "/\x00", "/\x7f", "\n"} {
		if _, err := NewChannels("k", nsp, uidA); !errors.Is(err, ErrNamespace) {
			t.Errorf("%q: %v", nsp, err)
		}
	}
	c, err = NewChannels("k", `/a*?[x]\`, uidA)
	if want := `k#/a\*\?\[x]\\#*`; err != nil || c.Pattern != want {
		t.Errorf("%s %v, want %s", c.Pattern, err, want)
	}
}

func TestPeekResponseID(t *testing.T) {
	t.Parallel()
	for name, b := range published(t, "-response#", "classic-8.3.0.json", "classic-7.2.0.json") {
		r, err := ParseResponse(b)
		if err != nil {
			t.Fatal(err)
		}
		if id, ok := PeekResponseID(string(b)); !ok || id != r.ID {
			t.Errorf("%s: %q %v, want %q", name, id, ok, r.ID)
		}
	}
	for _, s := range []string{"", `{`, `{"requestId":"a"}`, `{"requestId":"abcdefg"}`, `{"requestid":"abcdef"}`, "\x83"} {
		if id, ok := PeekResponseID(s); ok {
			t.Errorf("%q: %q", s, id)
		}
	}
}

func TestAppendBroadcast_Allocs(t *testing.T) {
	p := &parser.Packet{Namespace: "/", Event: "ev", Args: []parser.Arg{parser.RawMsgpack([]byte("\xa5hello"))}}
	o := target([]string{"room"}, nil, adapter.Flags{})
	buf := make([]byte, 0, 256)
	if n := testing.AllocsPerRun(100, func() {
		if _, err := AppendBroadcast(buf, uidA, p, o); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
