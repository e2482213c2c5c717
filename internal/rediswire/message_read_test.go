package rediswire

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/mpack"
	"github.com/sockeye-io/sockeye/parser"
)

var messageCaptures = []string{
	"sharded-dynamic.json", "streams-0.3.1.json", "streams-0.3.1-sharded.json", "streams-0.2.3.json", "emitter-streams-0.1.1.json",
}

// capturedMessages gives all messages that captures have on channels.
func capturedMessages(tb testing.TB, files ...string) map[string][]byte {
	tb.Helper()
	if len(files) == 0 {
		files = messageCaptures
	}
	all := map[string][]byte{}
	for _, f := range files {
		for _, v := range load(tb, f) {
			for i, c := range v.Commands {
				if c.Payload != "" {
					all[fmt.Sprintf("%s: %s %d", f, v.Name, i)] = unhex(tb, c.Payload)
				}
			}
		}
	}
	if len(all) < 20 {
		tb.Fatal(len(all), "messages")
	}
	return all
}

// capturedEntries gives all entries that captures have in streams.
func capturedEntries(tb testing.TB) map[string][]string {
	tb.Helper()
	all := map[string][]string{}
	for _, f := range append(messageCaptures[1:], "streams-recovery-0.3.1.json") {
		for _, v := range load(tb, f) {
			for i, c := range v.Commands {
				if c.Command == "XADD" {
					all[fmt.Sprintf("%s: %s %d", f, v.Name, i)] = c.Args
				}
			}
		}
	}
	if len(all) < 100 {
		tb.Fatal(len(all), "entries")
	}
	return all
}

func capturedSessions(tb testing.TB) (all []string) {
	tb.Helper()
	for _, v := range load(tb, "streams-recovery-0.3.1.json") {
		for _, c := range v.Commands {
			if c.Command == "SET" {
				all = append(all, c.Args[1])
			}
		}
	}
	return all
}

// What Node wrote can be read, and written again as the same bytes where it does not hold what Go does not keep.
func TestParseMessage_Captures(t *testing.T) {
	t.Parallel()
	all := capturedMessages(t)
	again := 0
	for _, name := range slices.Sorted(maps.Keys(all)) {
		m, err := ParseMessage(all[name])
		if err != nil || m.UID == "" || !strings.HasPrefix(m.Namespace, "/") {
			t.Errorf("%s: %+v %v", name, m, err)
			continue
		}
		format := FormatAuto
		if !isJSON(all[name]) {
			format = FormatMsgpack
		}
		b, err := AppendMessage(nil, &m, format)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		ends := OwnSuffixes(m.UID, m.Namespace)
		if !strings.HasSuffix(string(b), ends[format]) || !strings.HasSuffix(string(all[name]), ends[format]) {
			t.Errorf("%s: %q does not end with %q", name, b, ends[format])
		}
		// Lists of headers are in another order; a number as a name becomes a string; "compress: true" says nothing.
		if bytes.Equal(b, all[name]) {
			again++
		} else if m.Type != MessageFetchResponse && !strings.Contains(name, "numeric") && !strings.Contains(name, "all flags") {
			t.Errorf("%s:\ngot  %q\nwant %q", name, b, all[name])
		}
	}
	if again < 80 {
		t.Errorf("%d of %d are the same", again, len(all))
	}
}

func TestParseEntry_Captures(t *testing.T) {
	t.Parallel()
	all := capturedEntries(t)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		m, err := ParseEntry(all[name])
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		uid, nsp, kind, ok := PeekEntry(all[name])
		if !ok || uid != m.UID || nsp != m.Namespace || kind != m.Type || uid == "" {
			t.Errorf("%s: %+v, peeked %q %q %d %v", name, m, uid, nsp, kind, ok)
		}
		if m.Type > MessageDisconnect && m.Type != MessageServerSide || m.Type < MessageBroadcast {
			continue
		}
		write := EntryFields
		if m.UID == UIDEmitter {
			write = EmitterFields
		}
		plaintext := strings.Contains(name, "-sharded") && strings.HasPrefix(all[name][7], "{")
		again, err := write(&m, plaintext)
		if err != nil || !slices.Equal(again, all[name]) && !strings.Contains(name, "numeric") && !strings.Contains(name, "all flags") {
			t.Errorf("%s: %v\ngot  %q\nwant %q", name, err, again, all[name])
		}
	}
}

// The sockets that Node describes are read alike from both forms, and can be written again.
func TestParseMessage_Sockets(t *testing.T) {
	t.Parallel()
	n := 0
	for name, b := range capturedMessages(t) {
		m, err := ParseMessage(b)
		if err != nil || m.Type != MessageFetchResponse {
			continue
		}
		n++
		if len(m.Sockets) != 1 || len(m.Sockets[0].ID) != 20 || m.Sockets[0].Handshake.Query["transport"] != "websocket" ||
			m.Sockets[0].Handshake.Headers["upgrade"][0] != "websocket" || m.Sockets[0].Handshake.Issued == 0 {
			t.Errorf("%s: %+v", name, m.Sockets)
			continue
		}
		for _, f := range []Format{FormatAuto, FormatMsgpack} {
			b, err := AppendMessage(nil, &m, f)
			if err != nil {
				t.Fatal(err)
			}
			again, err := ParseMessage(b)
			if err != nil || len(again.Sockets) != 1 || !slices.Equal(again.Sockets[0].Rooms, m.Sockets[0].Rooms) ||
				text(t, again.Sockets[0].Data) != text(t, m.Sockets[0].Data) ||
				text(t, again.Sockets[0].Handshake.Auth) != text(t, m.Sockets[0].Handshake.Auth) {
				t.Errorf("%s: %+v %v", name, again.Sockets, err)
			}
		}
	}
	if n < 10 {
		t.Errorf("%d answers", n)
	}
}

func text(t *testing.T, a parser.Arg) string {
	t.Helper()
	b, err := a.AppendJSON(nil)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestParseMessage_Forms(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		in   string
		want Message
	}{
		"no except nor flags": {
			`{"type":3,"nsp":"/","uid":"x","data":{"packet":{"type":2,"data":["a"]},"opts":{"rooms":[]}}}`,
			Message{Type: MessageBroadcast, Packet: parser.Packet{Event: "a"}},
		},
		"binary event of 2.x": {
			`{"type":3,"nsp":"/","uid":"x","data":{"packet":{"type":5,"data":["a",1]},"opts":{}}}`,
			Message{Type: MessageBroadcast, Packet: parser.Packet{Event: "a", Args: make([]parser.Arg, 1)}},
		},
		"blanks, escapes and the last of two": {
			`{ "type":4 , "\u0074ype" : 3.0e0 ,"nsp":"\/","uid":"x","data" : { "packet" : { "type" : 2 , "data" : [ "a" , { "]":"}" } , [ ] ] } , "opts" : { "rooms" : [ "a\n" , 1 ] } } }` + "\n",
			Message{Type: MessageBroadcast, Packet: parser.Packet{Event: "a", Args: make([]parser.Arg, 2)}, Target: roomsOf("a\n", "1")},
		},
		"numbers as rooms": {
			`{"type":4,"nsp":"/","uid":"x","data":{"opts":{"rooms":[42,1.5]},"rooms":[7]}}`,
			Message{Type: MessageJoin, Target: roomsOf("42", "1.5"), Rooms: []string{"7"}},
		},
		"rooms that are none": {
			`{"type":5,"nsp":"/","uid":"x","data":{"opts":{"rooms":[null,{}]},"rooms":["a"]}}`,
			Message{Type: MessageLeave, Target: Target{Nobody: true}, Rooms: []string{"a"}},
		},
		"flags of a later one alone": {
			`{"type":7,"nsp":"/","uid":"x","data":{"requestId":"q","opts":{"flags":{"volatile":true,"timeout":9},"flags":{"compress":false}}}}`,
			Message{Type: MessageFetch, RequestID: "q", Target: target(nil, nil, adapter.Flags{NoCompress: true})},
		},
		"unknown flags": {
			`{"type":7,"nsp":"/","uid":"x","data":{"requestId":"q","opts":{"flags":{"json":true,"broadcast":1,"volatile":1}}}}`,
			Message{Type: MessageFetch, RequestID: "q"},
		},
		"answer without argument": {
			`{"type":12,"nsp":"/","uid":"x","data":{"requestId":"q"}}`,
			Message{Type: MessageAck, RequestID: "q"},
		},
		"answer of older dialects": {
			"\x84\xa4type\x0a\xa4data\x82\xa9requestId\xa1q\xa6packet\xd4\x00\x00\xa3uid\xa1x\xa3nsp\xa1/",
			Message{Type: MessageServerSideResponse, RequestID: "q"},
		},
		"keys that are none": {
			"\x86\x01\xc0\xc0\x92\x01\x02\xa4type\x0a\xa4data\x82\xa9requestId\xa1q\xa6packet\x01\xa3uid\xa1x\xa3nsp\xa1/",
			Message{Type: MessageServerSideResponse, RequestID: "q", Args: make([]parser.Arg, 1)},
		},
		"heartbeat without data": {`{"type":2,"nsp":"/","uid":"x"}`, Message{Type: MessageHeartbeat}},
		"bytes that are no text": {
			"{\"type\":4,\"nsp\":\"/\",\"uid\":\"x\",\"data\":{\"opts\":{},\"rooms\":[\"a\xff\"]}}",
			Message{Type: MessageJoin, Rooms: []string{"a\ufffd"}},
		},
	} {
		m, err := ParseMessage([]byte(c.in))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if m.Type != c.want.Type || m.UID != "x" || m.Namespace != "/" || m.RequestID != c.want.RequestID ||
			m.Packet.Event != c.want.Packet.Event || len(m.Packet.Args) != len(c.want.Packet.Args) ||
			len(m.Args) != len(c.want.Args) || !slices.Equal(m.Rooms, c.want.Rooms) ||
			m.Target.Nobody != c.want.Target.Nobody || m.Target.Flags != c.want.Target.Flags ||
			m.Target.Timeout != c.want.Target.Timeout || !slices.Equal(m.Target.Rooms, c.want.Target.Rooms) {
			t.Errorf("%s: %+v, want %+v", name, m, c.want)
		}
	}
}

func TestParseMessages_Malformed(t *testing.T) {
	t.Parallel()
	fine := map[string]bool{
		"sharded: broadcast with opts lacking except and flags":                  true,
		"sharded: another namespace on this channel":                             true,
		"sharded: a response on the common channel":                              true,
		"sharded: a heartbeat (type 1, 2) or close (13) message is unknown here": true,
		"streams: unknown namespace":                                             true,
		"streams: opts without except":                                           true,
		"streams: serverSideEmit from an emitter, through the stream":            true,
		"streams: pub/sub channel: JSON text":                                    true,
	}
	for _, v := range load(t, "malformed-messages.json") {
		var err error
		if v.Fields != nil {
			var fields []string
			for k, s := range v.Fields {
				fields = append(fields, k, s)
			}
			_, err = ParseEntry(fields)
		} else {
			_, err = ParseMessage(unhex(t, v.Payload))
		}
		if fine[v.Name] != (err == nil) {
			t.Errorf("%s: %v", v.Name, err)
		}
		if err != nil && !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v is of no known kind", v.Name, err)
		}
	}
}

func TestParseMessage_Refuses(t *testing.T) {
	t.Parallel()
	message := func(kind, data string) string {
		return `{"type":` + kind + `,"data":` + data + `,"uid":"x","nsp":"/"}`
	}
	for name, c := range map[string]struct {
		in   string
		kind error
	}{
		"type 0":                        {message("0", "{}"), ErrMalformed},
		"type 14":                       {message("14", "{}"), ErrMalformed},
		"type with a fraction":          {message("3.5", "{}"), ErrMalformed},
		"type beyond numbers":           {message("1e999", "{}"), ErrMalformed},
		"data is null":                  {message("4", "null"), ErrMalformed},
		"data is an array":              {message("4", "[]"), ErrMalformed},
		"uid is a number":               {`{"type":4,"data":{"opts":{},"rooms":[]},"uid":1,"nsp":"/"}`, ErrMalformed},
		"uid with a separator":          {`{"type":4,"data":{"opts":{},"rooms":[]},"uid":"a#","nsp":"/"}`, ErrMalformed},
		"uid of 65 letters":             {`{"type":4,"data":{"opts":{},"rooms":[]},"uid":"` + strings.Repeat("a", 65) + `","nsp":"/"}`, ErrMalformed},
		"namespace is an object":        {`{"type":4,"data":{"opts":{},"rooms":[]},"uid":"x","nsp":{}}`, ErrMalformed},
		"long request id":               {message("8", `{"requestId":"`+strings.Repeat("a", 129)+`","sockets":[]}`), ErrMalformed},
		"request id is a number":        {message("8", `{"requestId":1,"sockets":[]}`), ErrMalformed},
		"connect packet":                {message("3", `{"packet":{"type":0,"data":["a"]},"opts":{}}`), ErrMalformed},
		"disconnect packet":             {message("3", `{"packet":{"type":1,"data":["a"]},"opts":{}}`), ErrMalformed},
		"packet type as text":           {message("3", `{"packet":{"type":"2","data":["a"]},"opts":{}}`), ErrMalformed},
		"packet that is text":           {message("3", `{"packet":"a","opts":{}}`), ErrMalformed},
		"packet that is an array":       {message("3", `{"packet":["a","b"],"opts":{}}`), ErrMalformed},
		"packet missing":                {message("3", `{"opts":{}}`), ErrMalformed},
		"packet without data":           {message("3", `{"packet":{"type":2},"opts":{}}`), ErrMalformed},
		"event that is an object":       {message("3", `{"packet":{"type":2,"data":[{}]},"opts":{}}`), ErrMalformed},
		"event that is null":            {message("3", `{"packet":{"type":2,"data":[null]},"opts":{}}`), ErrMalformed},
		"reserved event":                {message("3", `{"packet":{"type":2,"data":["disconnect"]},"opts":{}}`), ErrReserved},
		"reserved server-side event":    {message("9", `{"packet":["connection"]}`), ErrReserved},
		"server-side event of nothing":  {message("9", `{"packet":[]}`), ErrMalformed},
		"opts is null":                  {message("7", `{"requestId":"q","opts":null}`), ErrMalformed},
		"rooms is text":                 {message("7", `{"requestId":"q","opts":{"rooms":"a"}}`), ErrMalformed},
		"except is an object":           {message("7", `{"requestId":"q","opts":{"except":{}}}`), ErrMalformed},
		"flags is an array":             {message("7", `{"requestId":"q","opts":{"flags":[]}}`), ErrMalformed},
		"fetch without id":              {message("7", `{"opts":{}}`), ErrMalformed},
		"join without rooms":            {message("4", `{"opts":{}}`), ErrMalformed},
		"sockets is an object":          {message("8", `{"requestId":"q","sockets":{}}`), ErrMalformed},
		"count below 0":                 {message("11", `{"requestId":"q","clientCount":-1}`), ErrMalformed},
		"count beyond 32 bits":          {message("11", `{"requestId":"q","clientCount":2147483648}`), ErrMalformed},
		"count missing":                 {message("11", `{"requestId":"q"}`), ErrMalformed},
		"text after JSON":               {message("4", `{"opts":{},"rooms":[]}`) + "x", ErrMalformed},
		"too many arguments":            {message("9", `{"packet":["a"`+strings.Repeat(",1", maxArgs+1)+`]}`), ErrMalformed},
		"too deep":                      {message("9", `{"packet":["a",`+strings.Repeat("[", 100_000)+strings.Repeat("]", 100_000)+`]}`), ErrMalformed},
		"open brackets":                 {strings.Repeat(`{"a":`, 100_000), ErrMalformed},
		"MessagePack too deep":          {strings.Repeat("\x91", 100_000) + "\x01", ErrMalformed},
		"array of 2^32-1":               {"\xdd\xff\xff\xff\xff", ErrMalformed},
		"map of 2^32-1":                 {"\xdf\xff\xff\xff\xff", ErrMalformed},
		"string of 2^32-1":              {"\x81\xa4type\xdb\xff\xff\xff\xff", ErrMalformed},
		"bytes of 2^32-1":               {"\x81\xa4data\xc6\xff\xff\xff\xff", ErrMalformed},
		"extension of 2^32-1":           {"\x81\xa4data\xc9\xff\xff\xff\xff\x01", ErrMalformed},
		"MessagePack that is no map":    {"\x93\x01\x02\x03", ErrMalformed},
		"bytes after MessagePack":       {"\x80\x80", ErrMalformed},
		"text of MessagePack not UTF-8": {"\x81\xa4type\xa1\xff", ErrMalformed},
	} {
		m, err := ParseMessage([]byte(c.in))
		if !errors.Is(err, c.kind) {
			t.Errorf("%s: %+v %v", name, m, err)
		}
	}
}

// Who asks can be answered though its message is malformed.
func TestParseMessage_KeepsWhoAsks(t *testing.T) {
	t.Parallel()
	for _, in := range []string{
		`{"type":3,"data":{"packet":{"type":2,"data":["connect"]},"requestId":"q","opts":{}},"uid":"x","nsp":"/"}`,
		`{"type":3,"data":{"packet":7,"requestId":"q"},"uid":"x","nsp":"/"}`,
	} {
		m, err := ParseMessage([]byte(in))
		if err == nil || m.Type != MessageBroadcast || m.UID != "x" || m.Namespace != "/" || m.RequestID != "q" {
			t.Errorf("%s: %+v %v", in, m, err)
		}
	}
	m, err := ParseMessage([]byte(`{"type":8,"data":{"requestId":"q","sockets":[{"id":"a"},5,{"id":"b"}]},"uid":"x","nsp":"/"}`))
	if !errors.Is(err, ErrMalformed) || m.RequestID != "q" || len(m.Sockets) != 2 {
		t.Errorf("%+v %v", m, err)
	}
}

func TestParseEntry_Refuses(t *testing.T) {
	t.Parallel()
	encode := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	const good = `{"opts":{},"rooms":["a"]}`
	entry := func(kind, data string) []string { return []string{"uid", "x", "nsp", "/", "type", kind, "data", data} }
	if m, err := ParseEntry(entry("4", good)); err != nil || len(m.Rooms) != 1 {
		t.Fatal(m, err)
	}
	if m, err := ParseEntry(append(entry("4", good), "extra", "1", "odd")); err != nil || len(m.Rooms) != 1 {
		t.Fatal(m, err)
	}
	for name, fields := range map[string][]string{
		"nothing":                  nil,
		"no type":                  {"uid", "x", "nsp", "/", "data", good},
		"no namespace":             {"uid", "x", "type", "4", "data", good},
		"namespace not UTF-8":      {"uid", "x", "nsp", "/\xff", "type", "4", "data", good},
		"type 0":                   entry("0", good),
		"type 14":                  entry("14", good),
		"type 1e1":                 entry("1e1", good),
		"long type":                entry(strings.Repeat("9", 1000), good),
		"no data":                  entry("4", ""),
		"uid with a separator":     {"uid", "#", "nsp", "/", "type", "4", "data", good},
		"JSON in base64":           entry("4", encode(good)),
		"broken base64":            entry("4", "gqZ"),
		"base64 of nothing":        entry("4", "===="),
		"base64 of garbage":        entry("4", encode("\xc1")),
		"base64 of another kind":   entry("4", encode("\x91\x01")),
		"2^32-1 elements":          entry("4", encode("\xdd\xff\xff\xff\xff")),
		"two values":               entry("4", encode("\x80\x80")),
		"deep":                     entry("9", encode("\x81\xa6packet\x92\xa1a"+strings.Repeat("\x91", 100_000)+"\x01")),
		"truncated":                entry("4", good[:10]),
		"broadcast without opts":   entry("3", `{"packet":{"type":2,"data":["a"]}}`),
		"broadcast without packet": entry("3", `{"opts":{}}`),
	} {
		if m, err := ParseEntry(fields); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %+v %v", name, m, err)
		}
	}
}

// No part of a message, an entry or a session is one.
func TestParseMessages_Prefixes(t *testing.T) {
	t.Parallel()
	for name, b := range capturedMessages(t, "sharded-dynamic.json", "streams-0.3.1-sharded.json") {
		for i := range b {
			if _, err := ParseMessage(b[:i:i]); !errors.Is(err, ErrMalformed) {
				t.Fatalf("%s: the first %d bytes: %v", name, i, err)
			}
		}
	}
	for name, e := range capturedEntries(t) {
		if len(e) < 8 || e[6] != "data" || strings.HasPrefix(name, "streams-0.2.3") && len(e[7]) > 500 {
			continue
		}
		for i := range e[7] {
			fields := slices.Clone(e)
			fields[7] = e[7][:i]
			if _, err := ParseEntry(fields); !errors.Is(err, ErrMalformed) {
				t.Fatalf("%s: the first %d bytes: %v", name, i, err)
			}
		}
	}
	for _, s := range capturedSessions(t) {
		for i := range s {
			if _, err := ParseSession(s[:i]); !errors.Is(err, ErrMalformed) {
				t.Fatalf("the first %d bytes: %v", i, err)
			}
		}
	}
}

func TestAppendMessage_RefusesHarm(t *testing.T) {
	t.Parallel()
	deep := any("x")
	for range mpack.MaxDepth + 1 {
		deep = []any{deep}
	}
	with := func(a parser.Arg) Message {
		return Message{Type: MessageBroadcast, Packet: parser.Packet{Event: "e", Args: []parser.Arg{a}}}
	}
	for name, m := range map[string]Message{
		"no type":                {},
		"heartbeat":              {Type: MessageHeartbeat},
		"close":                  {Type: MessageClose},
		"unknown type":           {Type: 14},
		"fetch without id":       {Type: MessageFetch},
		"answer without id":      {Type: MessageAck},
		"count below 0":          {Type: MessageCount, RequestID: "q", Count: -1},
		"reserved event":         {Type: MessageBroadcast, Packet: *event("connect_error")},
		"reserved on the server": {Type: MessageServerSide, Packet: *event("new_namespace")},
		"uid with a separator":   {Type: MessageJoin, UID: "a#b", Namespace: "/"},
		"to nobody":              {Type: MessageJoin, Target: Target{Nobody: true}},
		"no value":               with(parser.Value(make(chan int))),
		"broken JSON":            with(parser.RawJSON([]byte(`{"a":`))),
		"broken MessagePack":     with(parser.RawMsgpack([]byte{0x92, 1})),
		"two values":             with(parser.RawMsgpack([]byte{1, 1})),
		"nothing":                with(parser.RawMsgpack(nil)),
		"too deep":               with(parser.Value(deep)),
		"length of 4 GB":         with(parser.RawMsgpack([]byte{0xdd, 0xff, 0xff, 0xff, 0xff})),
		"broken answer": {Type: MessageAck, RequestID: "q", Args: []parser.Arg{
			parser.RawJSON([]byte(`}`)),
		}},
	} {
		if m.UID == "" {
			m.UID, m.Namespace = "x", "/"
		}
		for _, f := range []Format{FormatAuto, FormatMsgpack} {
			if b, err := AppendMessage(nil, &m, f); err == nil {
				t.Errorf("%s: %q", name, b)
			}
		}
		for _, plaintext := range []bool{false, true} {
			if e, err := EntryFields(&m, plaintext); err == nil {
				t.Errorf("%s: %q", name, e)
			}
		}
	}
	for _, m := range []Message{{Type: MessageJoin, Namespace: "/"}, {Type: MessageJoin, UID: "x"}} {
		if b, err := AppendMessage(nil, &m, FormatAuto); !errors.Is(err, ErrMessage) {
			t.Errorf("%q %v", b, err)
		}
	}
	for kind := range MessageClose + 2 {
		m := Message{Type: kind, UID: "x", Namespace: "/", RequestID: "q", Packet: *event("e")}
		_, err := EntryFields(&m, false)
		inStream := kind >= MessageBroadcast && kind <= MessageDisconnect || kind == MessageServerSide
		if inStream != (err == nil) {
			t.Errorf("type %d in a stream: %v", kind, err)
		}
	}
}

// Binary makes MessagePack of a message, wherever it is; plain text makes the JSON of a Buffer of it.
func TestAppendMessage_Binary(t *testing.T) {
	t.Parallel()
	arg := parser.Value(map[string]any{"a": []byte{1, 2}})
	raw := parser.RawMsgpack([]byte("\x81\xa1a\xc4\x02\x01\x02"))
	for name, m := range map[string]Message{
		"broadcast":     {Type: MessageBroadcast, Packet: parser.Packet{Event: "e", Args: []parser.Arg{parser.Value(1), arg}}},
		"raw":           {Type: MessageBroadcast, Packet: parser.Packet{Event: "e", Args: []parser.Arg{raw}}},
		"server side":   {Type: MessageServerSide, Packet: parser.Packet{Event: "e", Args: []parser.Arg{arg}}},
		"answer":        {Type: MessageServerSideResponse, Args: []parser.Arg{arg}},
		"ack":           {Type: MessageAck, Args: []parser.Arg{raw}},
		"data":          {Type: MessageFetchResponse, Sockets: []adapter.Remote{{ID: "a"}, {ID: "s", Data: arg}}},
		"auth":          {Type: MessageFetchResponse, Sockets: []adapter.Remote{{ID: "s", Handshake: adapter.Handshake{Auth: raw}}}},
		"bytes alone":   {Type: MessageAck, Args: []parser.Arg{parser.Bytes([]byte{1, 2})}},
		"data is bytes": {Type: MessageFetchResponse, Sockets: []adapter.Remote{{ID: "s", Data: parser.Bytes([]byte{1, 2})}}},
	} {
		m.UID, m.Namespace, m.RequestID = "x", "/", "q"
		b, err := AppendMessage([]byte{}, &m, FormatAuto)
		if err != nil || isJSON(b) || !bytes.Contains(b, []byte{0xc4, 2, 1, 2}) {
			t.Errorf("%s: %q %v", name, b, err)
		}
		if _, err := ParseMessage(b); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	m := Message{Type: MessageBroadcast, UID: "x", Namespace: "/", Packet: *event("e", []byte{7}, []any{1, []byte{}})}
	fields, err := EntryFields(&m, true)
	const want = `{"packet":{"type":2,"data":["e",{"type":"Buffer","data":[7]},[1,{"type":"Buffer","data":[]}]]},` +
		`"opts":{"rooms":[],"except":[],"flags":{}}}`
	if err != nil || fields[7] != want {
		t.Errorf("%q %v", fields, err)
	}
}

// Where nobody is told anything by a message of a server, it is read at the cost of its texts and lists alone.
func TestMessage_Allocs(t *testing.T) {
	m := benchMessages()["text"]
	buf := make([]byte, 0, 512)
	fields, err := EntryFields(m, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []Format{FormatAuto, FormatMsgpack} {
		in, err := AppendMessage(nil, m, f)
		if err != nil {
			t.Fatal(err)
		}
		for name, c := range map[string]struct {
			most float64
			run  func() error
		}{
			"append": {0, func() error { _, err := AppendMessage(buf, m, f); return err }},
			"parse":  {6, func() error { _, err := ParseMessage(in); return err }}, // sender, event, room, lists
			"peek":   {0, func() error { PeekEntry(fields); return nil }},
		} {
			if n := testing.AllocsPerRun(100, func() {
				if err := c.run(); err != nil {
					t.Fatal(err)
				}
			}); n > c.most {
				t.Errorf("format %d: %s: %v allocations", f, name, n)
			}
		}
	}
}
