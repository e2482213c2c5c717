package redisadapter_test

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/parser"
	"github.com/sockeye-io/sockeye/redisadapter/redistest"
)

type vector struct {
	Name     string
	Channel  string
	Payload  string `json:"payload_hex"`
	Commands []wireCommand
}

type wireCommand struct {
	Command, Channel string
	Payload          string `json:"payload_hex"`
}

func vectors(t *testing.T, name string) []vector {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "internal", "rediswire", "testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	var f struct{ Vectors []vector }
	if err := json.Unmarshal(b, &f); err != nil || len(f.Vectors) == 0 {
		t.Fatal(name, err)
	}
	return f.Vectors
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// good is a message that another server may send.
var good = []byte("\x93\xa6abcdef\x83\xa4type\x02\xa4data\x91\xa4good\xa3nsp\xa1/\x83\xa5rooms\x90\xa6except\x90\xa5flags\x80")

// T23: whatever arrives on whichever channel is survived, and the next good message is delivered.
func TestPubSub_Malformed(t *testing.T) {
	t.Parallel()
	hub := redistest.NewHub()
	s := start(t, hub.Driver(), options{})
	socket := s.host.Connect(t, "socket-aaaaaaaaaaaaa", "r")
	channels := []string{
		"socket.io#/#", "socket.io#/#r#", "socket.io#/#nowhere#", "socket.io#/#x", "socket.io-request#/#", "socket.io-response#/#",
	}
	for i, v := range vectors(t, "malformed.json") {
		for _, channel := range append(channels, v.Channel) {
			hub.Inject(channel, unhex(t, v.Payload))
		}
		hub.Inject("socket.io#/#", good)
		testkit.Eventually(t, "the good message after "+v.Name, func() bool { return count(socket, "good") == i+1 })
	}
	stats := s.stats()
	if stats.Malformed == 0 || len(s.host.Faults()) == 0 {
		t.Errorf("not counted or reported: %+v %v", stats, s.host.Faults())
	}
	if n := len(s.host.Faults()); uint64(n) > stats.Malformed/4 {
		t.Errorf("%d faults for %d malformed messages", n, stats.Malformed)
	}
	for _, e := range got(socket) {
		if e != "good" && e != "a" { // "a" is the event of those that can be read
			t.Errorf("event %q was delivered", e)
		}
	}
	for _, c := range socket.Orders() {
		t.Errorf("order %+v was obeyed", c)
	}
}

func count(s *adaptertest.Socket, event string) int {
	n := 0
	for _, e := range got(s) {
		if e == event {
			n++
		}
	}
	return n
}

// What every generation sends to all has its effect here.
func TestPubSub_CapturedBroadcasts(t *testing.T) {
	t.Parallel()
	for _, f := range []string{
		"classic-8.3.0.json", "classic-7.2.0.json", "classic-6.1.1.json", "classic-5.4.0.json", "classic-mixed.json",
		"emitter-5.1.0.json", "emitter-4.1.1.json", "emitter-3.2.0.json",
	} {
		t.Run(f, func(t *testing.T) {
			t.Parallel()
			hub := redistest.NewHub()
			s := start(t, hub.Driver(), options{})
			socket := s.host.Connect(t, "socket-aaaaaaaaaaaaa", "room1", "42", "ру#м*[1]")
			delivered := 0
			for _, v := range vectors(t, f) {
				for _, c := range v.Commands {
					if c.Command != "PUBLISH" || !strings.HasPrefix(c.Channel, "socket.io#/#") {
						continue
					}
					hub.Inject(c.Channel, unhex(t, c.Payload))
					hub.Inject("socket.io#/#", good)
					delivered++
					testkit.Eventually(t, v.Name, func() bool { return count(socket, "good") == delivered })
				}
			}
			for _, err := range s.host.Faults() {
				t.Error(err)
			}
			events := got(socket)
			for _, want := range map[string][]string{
				"classic-mixed.json": {"text", "bin", "odd", "r"}, "emitter-3.2.0.json": {},
				"emitter-5.1.0.json": {}, "emitter-4.1.1.json": {},
				"classic-5.4.0.json": {"ev", "bin", "odd"},
			}[f] {
				if !slices.Contains(events, want) {
					t.Errorf("no %q among %q", want, events)
				}
			}
			if len(events) <= delivered {
				t.Errorf("only %q", events)
			}
		})
	}
}

// Packet type 5, of servers around Socket.IO 2, is an event with binary.
func TestPubSub_BinaryOfVersion2(t *testing.T) {
	t.Parallel()
	hub := redistest.NewHub()
	s := start(t, hub.Driver(), options{})
	socket := s.host.Connect(t, "socket-aaaaaaaaaaaaa")
	for _, v := range vectors(t, "classic-mixed.json") {
		if v.Name == "v5.4.0 on 2.5.1 emits a Buffer" {
			hub.Inject(v.Commands[0].Channel, unhex(t, v.Commands[0].Payload))
		}
	}
	testkit.Eventually(t, "the event", func() bool { return socket.Has("bin") })
	if args := socket.Got()[0].Args; !reflect.DeepEqual(args, []any{[]byte{1, 2}}) {
		t.Errorf("%v", args)
	}
}

// Questions and orders of all generations, and what they lead to.
func TestPubSub_Requests(t *testing.T) {
	t.Parallel()
	const id = "socket-aaaaaaaaaaaaa"
	const none = ""
	for name, c := range map[string]struct {
		request string
		answer  string // on the response channel, exactly, or its end after "..."
		check   func(s *server, socket *adaptertest.Socket) bool
	}{
		"sockets":            {`{"uid":"abcdef","requestId":"123456","type":0,"rooms":["r"]}`, `{"requestId":"123456","sockets":["` + id + `"]}`, nil},
		"sockets, no rooms":  {`{"type":0,"requestId":"x"}`, `{"requestId":"x","sockets":["` + id + `"]}`, nil},
		"sockets, null room": {`{"type":0,"requestId":"x","rooms":[null]}`, `{"requestId":"x","sockets":[]}`, nil},
		"all rooms":          {`{"uid":"abcdef","requestId":"123456","type":1}`, `...`, nil},
		"fetch":              {`{"uid":"abcdef","requestId":"123456","type":5,"opts":{"rooms":["r"],"except":[]}}`, `..."data":{}}]}`, nil},
		"fetch nobody":       {`{"requestId":"1","type":5,"opts":{"rooms":["x"],"except":[]}}`, `{"requestId":"1","sockets":[]}`, nil},
		"join": {
			`{"uid":"abcdef","type":2,"opts":{"rooms":["r"],"except":[]},"rooms":["j",7]}`, none,
			func(_ *server, s *adaptertest.Socket) bool { return s.InRoom("j") && s.InRoom("7") },
		},
		"leave": {
			`{"type":3,"opts":{"rooms":[],"except":[]},"rooms":["r"]}`, none,
			func(_ *server, s *adaptertest.Socket) bool { return !s.InRoom("r") },
		},
		"disconnect": {
			`{"type":4,"opts":{"rooms":["r"],"except":[]},"close":true}`, none,
			func(_ *server, s *adaptertest.Socket) bool {
				return slices.ContainsFunc(s.Orders(), func(c adapter.Command) bool { return c.Disconnect && c.CloseConn })
			},
		},
		"old join": {
			`{"requestId":"1","type":2,"sid":"` + id + `","room":"j"}`, `{"requestId":"1"}`,
			func(_ *server, s *adaptertest.Socket) bool { return s.InRoom("j") },
		},
		"old disconnect": {
			`{"requestId":"1","type":4,"sid":"` + id + `","close":false}`, `{"requestId":"1"}`,
			func(_ *server, s *adaptertest.Socket) bool { return len(s.Orders()) == 1 && !s.Orders()[0].CloseConn },
		},
		"2.x clients":      {`{"requestid":"1","type":0,"rooms":[]}`, `{"requestid":"1","clients":["` + id + `"]}`, nil},
		"2.x client rooms": {`{"requestid":"1","type":1,"sid":"` + id + `"}`, `{"requestid":"1","rooms":["` + id + `","r"]}`, nil},
		"2.x join": {
			`{"requestid":"1","type":3,"sid":"` + id + `","room":"j"}`, `{"requestid":"1"}`,
			func(_ *server, s *adaptertest.Socket) bool { return s.InRoom("j") },
		},
		"2.x leave": {
			`{"requestid":"1","type":4,"sid":"` + id + `","room":"r"}`, `{"requestid":"1"}`,
			func(_ *server, s *adaptertest.Socket) bool { return !s.InRoom("r") },
		},
		"2.x custom request": {`{"requestid":"1","type":5,"data":{"x":1}}`, `{"requestid":"1","data":null}`, nil},
		"server side": {
			`{"uid":"abcdef","type":6,"data":["hello",1]}`, none,
			func(s *server, _ *adaptertest.Socket) bool { return len(s.host.Events()) == 1 },
		},
		"server side, answered": {`{"uid":"abcdef","requestId":"123456","type":6,"data":["hello"]}`, `{"type":6,"requestId":"123456","data":"world"}`, nil},
		"broadcast as JSON": {
			`{"type":7,"requestId":"x","packet":{"type":2,"data":["q"]},"opts":{"rooms":[],"except":[]}}`,
			`{"type":8,"requestId":"x","clientCount":1}`, func(_ *server, s *adaptertest.Socket) bool { return s.Has("q") },
		},
		"broadcast to nobody": {
			"\x84\xa9requestId\xa1x\xa4type\x07\xa6packet\x82\xa4type\x02\xa4data\x91\xa1q\xa4opts\x81\xa5rooms\x91\xc0",
			`{"type":8,"requestId":"x","clientCount":0}`, nil,
		},
		"broadcast of a reserved event": {
			"\x84\xa9requestId\xa1x\xa4type\x07\xa6packet\x82\xa4type\x02\xa4data\x91\xa7connect\xa4opts\x80",
			`{"type":8,"requestId":"x","clientCount":0}`, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hub := redistest.NewHub()
			s := start(t, hub.Driver(), options{})
			socket := s.host.Connect(t, id, "r")
			s.host.Listen("hello", func([]any) ([]parser.Arg, bool) { return packet("", "world").Args, true })
			hub.Inject("socket.io-request#/#", []byte(c.request))
			hub.Inject("socket.io#/#", good)
			if c.check != nil {
				testkit.Eventually(t, "the effect", func() bool { return c.check(s, socket) })
			}
			if c.answer == none {
				testkit.Eventually(t, "the next message", func() bool { return s.stats().Received == 2 })
				if sent := published(hub); len(sent) > 0 {
					t.Errorf("%s was published", sent[0].Payload)
				}
				return
			}
			testkit.Eventually(t, "an answer", func() bool { return len(published(hub)) > 0 })
			m := published(hub)[0]
			end, part := strings.CutPrefix(c.answer, "...")
			if m.Channel != "socket.io-response#/#" || !part && string(m.Payload) != c.answer || !strings.HasSuffix(string(m.Payload), end) {
				t.Errorf("%s: %s, want %s", m.Channel, m.Payload, c.answer)
			}
			if name == "all rooms" {
				var r struct{ Rooms []string }
				if err := json.Unmarshal(m.Payload, &r); err != nil || !slices.Contains(r.Rooms, "r") || !slices.Contains(r.Rooms, id) {
					t.Errorf("%s %v", m.Payload, err)
				}
			}
		})
	}
}
