package redisadapter_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/parser"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/redistest"
)

type options = redisadapter.PubSubOptions

func packet(event string, args ...any) *parser.Packet {
	p := &parser.Packet{Type: parser.Event, Namespace: "/", Event: event}
	for _, a := range args {
		p.Args = append(p.Args, parser.Value(a))
	}
	return p
}

func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Scale(10*time.Second))
	t.Cleanup(cancel)
	return ctx
}

// pair is two servers on one hub, with a socket each, in the room "r" and in "a" or "b".
func pair(t *testing.T, o options) (hub *redistest.Hub, a, b *server, sa, sb *adaptertest.Socket) {
	t.Helper()
	hub = redistest.NewHub()
	a, b = start(t, hub.Driver(), o), start(t, hub.Driver(), o)
	sa = a.host.Connect(t, "socket-of-a-aaaaaaaa", "r", "a")
	sb = b.host.Connect(t, "socket-of-b-bbbbbbbb", "r", "b")
	return hub, a, b, sa, sb
}

func got(s *adaptertest.Socket) []string {
	var events []string
	for _, r := range s.Got() {
		events = append(events, r.Event)
	}
	return events
}

// The faults that made another Go port lose messages.
func TestPubSub_BroadcastToAllAndToSeveralRooms(t *testing.T) {
	t.Parallel()
	hub, a, _, _, sb := pair(t, options{})
	for _, o := range []adapter.Options{
		{}, {Rooms: []string{"r", "nowhere"}}, {Rooms: []string{"b"}}, {Rooms: []string{"b", "b"}}, {Except: []string{"a"}},
	} {
		if err := a.Broadcast(t.Context(), packet("e"), o); err != nil {
			t.Fatal(err)
		}
	}
	testkit.Eventually(t, "all broadcasts arrive", func() bool { return len(sb.Got()) == 5 })
	var channels []string
	for _, m := range hub.Published() {
		channels = append(channels, m.Channel)
	}
	want := []string{"socket.io#/#", "socket.io#/#", "socket.io#/#b#", "socket.io#/#b#", "socket.io#/#"}
	if !slices.Equal(channels, want) {
		t.Errorf("channels %q, want %q", channels, want)
	}
}

func TestPubSub_AckIsTheFirstArgumentAndNoArray(t *testing.T) {
	t.Parallel()
	hub, a, _, sa, sb := pair(t, options{})
	for _, s := range []*adaptertest.Socket{sa, sb} {
		s.Answer(func([]any) []parser.Arg { return packet("", s.ID(), "second").Args })
	}
	var answers []any
	err := a.BroadcastWithAck(bounded(t), packet("q"), adapter.Options{}, func(x adapter.Answer) {
		v, _ := x.Args[0].Any()
		answers = append(answers, v)
	})
	if err != nil || len(answers) != 2 {
		t.Fatal(answers, err)
	}
	var acks, counts int
	for _, m := range hub.Published() {
		if m.Channel != "socket.io-response#/#" {
			continue
		}
		switch {
		case bytes.HasPrefix(m.Payload, []byte(`{"type":8,"requestId":"`)):
			counts++
			if acks > 0 || !bytes.HasSuffix(m.Payload, []byte(`"clientCount":1}`)) {
				t.Errorf("%s after %d acknowledgements", m.Payload, acks)
			}
		default:
			acks++
			if !bytes.HasSuffix(m.Payload, []byte("\xa6packet\xb4"+sb.ID())) {
				t.Errorf("acknowledgement %q", m.Payload)
			}
		}
	}
	if acks != 1 || counts != 1 {
		t.Errorf("%d acknowledgements, %d counts", acks, counts)
	}
}

func TestPubSub_FetchSeesOtherServers(t *testing.T) {
	t.Parallel()
	_, a, _, sa, sb := pair(t, options{})
	sockets, err := a.Fetch(t.Context(), adapter.Options{})
	if err != nil || len(sockets) != 2 || sockets[0].ID != sa.ID() || sockets[1].ID != sb.ID() {
		t.Errorf("%+v %v", sockets, err)
	}
	n, err := a.Count(t.Context(), adapter.Options{Rooms: []string{"b"}})
	if err != nil || n != 1 {
		t.Error(n, err)
	}
}

func TestPubSub_ServerSideIsAnswered(t *testing.T) {
	t.Parallel()
	hub, a, b, _, _ := pair(t, options{SpecificResponses: true})
	b.host.Listen("q", func(args []any) ([]parser.Arg, bool) {
		return packet("", map[string]any{"got": args[0]}).Args, true
	})
	var answers []any
	if err := a.ServerSide(t.Context(), packet("q", []byte{1}), func(x adapter.Answer) {
		v, _ := x.Args[0].Any()
		answers = append(answers, v)
	}); err != nil {
		t.Fatal(err)
	}
	buffer := map[string]any{"type": "Buffer", "data": []any{1.0}}
	if want := []any{map[string]any{"got": buffer}}; !reflect.DeepEqual(answers, want) {
		t.Errorf("%v, want %v", answers, want)
	}
	last := hub.Published()[len(hub.Published())-1]
	if last.Channel != "socket.io-response#/#" { // always the common one, as in Node
		t.Errorf("answered on %q", last.Channel)
	}
}

func TestPubSub_UnsetFlagsAreNotSent(t *testing.T) {
	t.Parallel()
	hub, a, _, _, sb := pair(t, options{})
	if err := a.Broadcast(t.Context(), packet("e"), adapter.Options{}); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "it arrives", func() bool { return sb.Has("e") })
	if m := hub.Published()[0].Payload; !bytes.HasSuffix(m, []byte("\xa5flags\x80")) {
		t.Errorf("%q", m)
	}
}

func TestPubSub_SpecificResponses(t *testing.T) {
	t.Parallel()
	for name, specific := range map[string]bool{"common": false, "specific": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hub, a, _, _, _ := pair(t, options{Key: "custom", SpecificResponses: specific})
			if _, err := a.Fetch(t.Context(), adapter.Options{}); err != nil {
				t.Fatal(err)
			}
			sent := hub.Published()
			var request struct{ UID string }
			if err := json.Unmarshal(sent[0].Payload, &request); err != nil || len(request.UID) != 6 {
				t.Fatal(request, err)
			}
			want := "custom-response#/#"
			if specific {
				want += request.UID + "#"
			}
			if sent[0].Channel != "custom-request#/#" || sent[1].Channel != want {
				t.Errorf("%q %q, want %q", sent[0].Channel, sent[1].Channel, want)
			}
		})
	}
}

type vector struct {
	Name     string
	Channel  string
	Payload  string `json:"payload_hex"`
	Commands []struct {
		Command, Channel string
		Payload          string `json:"payload_hex"`
	}
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

// T23: mutations of real messages on every channel.
func TestPubSub_Mutated(t *testing.T) {
	t.Parallel()
	hub := redistest.NewHub()
	s := start(t, hub.Driver(), options{})
	socket := s.host.Connect(t, "socket-aaaaaaaaaaaaa", "r", "room1")
	var corpus [][]byte
	for _, f := range []string{"classic-8.3.0.json", "classic-7.2.0.json", "classic-5.4.0.json"} {
		for _, v := range vectors(t, f) {
			for _, c := range v.Commands {
				if c.Command == "PUBLISH" {
					corpus = append(corpus, unhex(t, c.Payload))
				}
			}
		}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	channels := []string{"socket.io#/#", "socket.io#/#room1#", "socket.io-request#/#", "socket.io-response#/#"}
	const messages = 20_000
	for i := range messages {
		b := bytes.Clone(corpus[rng.IntN(len(corpus))])
		for range 1 + rng.IntN(3) {
			switch at := rng.IntN(len(b)); rng.IntN(4) {
			case 0:
				b[at] = byte(rng.UintN(256))
			case 1:
				b = b[:at+1]
			case 2:
				b = slices.Insert(b, at, byte(rng.UintN(256)))
			case 3:
				other := corpus[rng.IntN(len(corpus))]
				b = append(b[:at:at], other[rng.IntN(len(other)):]...)
			}
			if len(b) == 0 {
				b = []byte{0}
			}
		}
		hub.Inject(channels[i%len(channels)], b)
	}
	hub.Inject("socket.io#/#", good)
	testkit.Eventually(t, "the good message", func() bool {
		_, there := s.host.Index().Lookup(socket.ID()) // a mutation may have disconnected it
		return socket.Has("good") || !there
	})
	if s.stats().Malformed < messages/10 {
		t.Errorf("only %d of %d were malformed", s.stats().Malformed, messages)
	}
	for _, err := range s.host.Faults() {
		if strings.Contains(err.Error(), "panic") {
			t.Error(err)
		}
	}
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
		"join": {`{"uid":"abcdef","type":2,"opts":{"rooms":["r"],"except":[]},"rooms":["j",7]}`, none,
			func(_ *server, s *adaptertest.Socket) bool { return s.InRoom("j") && s.InRoom("7") }},
		"leave": {`{"type":3,"opts":{"rooms":[],"except":[]},"rooms":["r"]}`, none,
			func(_ *server, s *adaptertest.Socket) bool { return !s.InRoom("r") }},
		"disconnect": {`{"type":4,"opts":{"rooms":["r"],"except":[]},"close":true}`, none,
			func(_ *server, s *adaptertest.Socket) bool {
				return slices.ContainsFunc(s.Orders(), func(c adapter.Command) bool { return c.Disconnect && c.CloseConn })
			}},
		"old join": {`{"requestId":"1","type":2,"sid":"` + id + `","room":"j"}`, `{"requestId":"1"}`,
			func(_ *server, s *adaptertest.Socket) bool { return s.InRoom("j") }},
		"old disconnect": {`{"requestId":"1","type":4,"sid":"` + id + `","close":false}`, `{"requestId":"1"}`,
			func(_ *server, s *adaptertest.Socket) bool { return len(s.Orders()) == 1 && !s.Orders()[0].CloseConn }},
		"2.x clients":      {`{"requestid":"1","type":0,"rooms":[]}`, `{"requestid":"1","clients":["` + id + `"]}`, nil},
		"2.x client rooms": {`{"requestid":"1","type":1,"sid":"` + id + `"}`, `{"requestid":"1","rooms":["` + id + `","r"]}`, nil},
		"2.x join": {`{"requestid":"1","type":3,"sid":"` + id + `","room":"j"}`, `{"requestid":"1"}`,
			func(_ *server, s *adaptertest.Socket) bool { return s.InRoom("j") }},
		"2.x leave": {`{"requestid":"1","type":4,"sid":"` + id + `","room":"r"}`, `{"requestid":"1"}`,
			func(_ *server, s *adaptertest.Socket) bool { return !s.InRoom("r") }},
		"2.x custom request": {`{"requestid":"1","type":5,"data":{"x":1}}`, `{"requestid":"1","data":null}`, nil},
		"server side": {`{"uid":"abcdef","type":6,"data":["hello",1]}`, none,
			func(s *server, _ *adaptertest.Socket) bool { return len(s.host.Events()) == 1 }},
		"server side, answered": {`{"uid":"abcdef","requestId":"123456","type":6,"data":["hello"]}`, `{"type":6,"requestId":"123456","data":"world"}`, nil},
		"broadcast as JSON": {`{"type":7,"requestId":"x","packet":{"type":2,"data":["q"]},"opts":{"rooms":[],"except":[]}}`,
			`{"type":8,"requestId":"x","clientCount":1}`, func(_ *server, s *adaptertest.Socket) bool { return s.Has("q") }},
		"broadcast to nobody": {"\x84\xa9requestId\xa1x\xa4type\x07\xa6packet\x82\xa4type\x02\xa4data\x91\xa1q\xa4opts\x81\xa5rooms\x91\xc0",
			`{"type":8,"requestId":"x","clientCount":0}`, nil},
		"broadcast of a reserved event": {"\x84\xa9requestId\xa1x\xa4type\x07\xa6packet\x82\xa4type\x02\xa4data\x91\xa7connect\xa4opts\x80",
			`{"type":8,"requestId":"x","clientCount":0}`, nil},
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
				if sent := hub.Published(); len(sent) > 0 {
					t.Errorf("%s was published", sent[0].Payload)
				}
				return
			}
			testkit.Eventually(t, "an answer", func() bool { return len(hub.Published()) > 0 })
			m := hub.Published()[0]
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

// A panic while a message is handled concerns that message alone.
func TestPubSub_PanicInHost(t *testing.T) {
	t.Parallel()
	hub := redistest.NewHub()
	var reported atomic.Int32
	s := start(t, hub.Driver(), options{OnFault: func(nsp string, err error) {
		if nsp == "/" && strings.Contains(err.Error(), "panic") {
			reported.Add(1)
		}
	}})
	socket := s.host.Connect(t, "socket-aaaaaaaaaaaaa")
	s.host.Listen("boom", func([]any) ([]parser.Arg, bool) { panic("boom") })
	hub.Inject("socket.io-request#/#", []byte(`{"uid":"abcdef","type":6,"data":["boom"]}`))
	hub.Inject("socket.io#/#", good)
	testkit.Eventually(t, "the good message", func() bool { return socket.Has("good") })
	if reported.Load() != 1 {
		t.Error("the panic was not reported")
	}
}

func TestPubSub_RefusesNamespaces(t *testing.T) {
	t.Parallel()
	hub := redistest.NewHub()
	s := start(t, hub.Driver(), options{})
	for _, name := range []string{"/a\r\nb", "/\x00", "/\x7f"} {
		if _, err := s.cluster.Open(adaptertest.NewHost(t, name)); err == nil {
			t.Errorf("%q was opened", name)
		}
	}
}

// A namespace may be named so that its request channel is another's response channel.
func TestPubSub_NamespaceLikeAChannel(t *testing.T) {
	t.Parallel()
	hub, a, _, _, _ := pair(t, options{})
	if _, err := a.Fetch(t.Context(), adapter.Options{}); err != nil {
		t.Fatal(err)
	}
	var request struct{ UID string }
	if err := json.Unmarshal(hub.Published()[0].Payload, &request); err != nil {
		t.Fatal(err)
	}
	other, err := a.cluster.Open(adaptertest.NewHost(t, "/#"+request.UID))
	if err != nil {
		t.Fatal(err)
	}
	if n := hub.Subscribers("socket.io-response#/#" + request.UID + "#"); n != 1 {
		t.Errorf("%d subscribers", n)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if n := hub.Subscribers("socket.io-response#/#" + request.UID + "#"); n != 1 {
		t.Errorf("%d subscribers after the other closed", n)
	}
}

// Others count the subscribers: one for each server and namespace, and none after Close.
func TestPubSub_OneSubscriptionEach(t *testing.T) {
	t.Parallel()
	hub, a, b, _, _ := pair(t, options{})
	chat, err := a.cluster.Open(adaptertest.NewHost(t, "/chat"))
	if err != nil {
		t.Fatal(err)
	}
	check := func(channel string, want int) {
		t.Helper()
		if n := hub.Subscribers(channel); n != want {
			t.Errorf("%s: %d subscribers, want %d", channel, n, want)
		}
	}
	check("socket.io-request#/#", 2)
	check("socket.io-request#/chat#", 1)
	if err := chat.Close(); err != nil {
		t.Fatal(err)
	}
	check("socket.io-request#/chat#", 0)
	if err := b.cluster.Close(); err != nil {
		t.Fatal(err)
	}
	check("socket.io-request#/#", 1)
}

// Responses that nobody waits for are counted and cost nothing.
func TestPubSub_UnknownResponses(t *testing.T) {
	t.Parallel()
	hub := redistest.NewHub()
	s := start(t, hub.Driver(), options{})
	socket := s.host.Connect(t, "socket-aaaaaaaaaaaaa")
	const flood = 20_000
	for i := range flood {
		hub.Inject("socket.io-response#/#", fmt.Appendf(nil, `{"requestId":"%06d","sockets":[]}`, i))
	}
	hub.Inject("socket.io#/#", good)
	testkit.Eventually(t, "the good message", func() bool { return socket.Has("good") })
	if st := s.stats(); st.Unknown != flood || st.Malformed != 0 || len(s.host.Faults()) > 0 {
		t.Errorf("%+v %v", st, s.host.Faults())
	}
}

// An answer that does not fit the question is no answer.
func TestPubSub_AnswerOfAnotherKind(t *testing.T) {
	t.Parallel()
	hub, a, b, _, _ := pair(t, options{})
	if err := b.cluster.Close(); err != nil {
		t.Fatal(err)
	}
	silent, err := hub.Driver().Subscribe(t.Context(), nobody{}) // a server that says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	if err := silent.Add(t.Context(), redisadapter.Topics{Channels: []string{"socket.io-request#/#"}}); err != nil {
		t.Fatal(err)
	}
	hub.Filter(func(m redisadapter.Publication) []redisadapter.Publication {
		var r struct{ RequestID string }
		if json.Unmarshal(m.Payload, &r) != nil {
			return nil
		}
		var all []redisadapter.Publication
		for _, answer := range []string{
			`{"type":8,"requestId":"%s","clientCount":1}`, `{"type":6,"requestId":"%s","data":1}`, `{"requestId":"%s"}`,
			`{"requestId":"%s","sockets":7}`, `{"requestId":"%s","sockets":[{"id":"remote","rooms":[]},{"id":""}]}`,
		} {
			all = append(all, redisadapter.Publication{Channel: "socket.io-response#/#", Payload: fmt.Appendf(nil, answer, r.RequestID)})
		}
		return all
	})
	sockets, err := a.Fetch(bounded(t), adapter.Options{})
	if err != nil || len(sockets) != 2 || sockets[1].ID != "remote" {
		t.Errorf("%+v %v", sockets, err)
	}
	testkit.Eventually(t, "all five are counted", func() bool { return a.stats().Malformed == 5 })
}

type nobody struct{}

func (nobody) Message(string, string, string) {}
func (nobody) Lost(error)                     {}
func (nobody) Restored()                      {}

// A server that says nothing makes a question end incomplete.
func TestPubSub_RequestsTimeout(t *testing.T) {
	t.Parallel()
	hub, a, _, sa, _ := pair(t, options{RequestsTimeout: time.Millisecond})
	hub.Filter(func(redisadapter.Publication) []redisadapter.Publication { return nil })
	sockets, err := a.Fetch(t.Context(), adapter.Options{})
	var inc *adapter.Incomplete
	if !errors.As(err, &inc) || !errors.Is(err, context.DeadlineExceeded) || inc.Expected != 1 || inc.Received != 0 {
		t.Errorf("%v", err)
	}
	if len(sockets) != 1 || sockets[0].ID != sa.ID() {
		t.Errorf("%+v", sockets)
	}
}

// What would harm peers is refused, and nothing is published or delivered.
func TestPubSub_RefusesToPublish(t *testing.T) {
	t.Parallel()
	hub, a, _, sa, _ := pair(t, options{})
	for _, p := range []*parser.Packet{packet("disconnect"), packet("e", func() {}), packet("connect_error")} {
		if err := a.Broadcast(t.Context(), p, adapter.Options{}); err == nil {
			t.Errorf("%q was broadcast", p.Event)
		}
		if err := a.BroadcastWithAck(t.Context(), p, adapter.Options{}, func(adapter.Answer) {}); err == nil {
			t.Errorf("%q was broadcast with acknowledgement", p.Event)
		}
	}
	if err := a.ServerSide(t.Context(), packet("connection"), nil); err == nil {
		t.Error("a reserved server-side event was sent")
	}
	if sent := hub.Published(); len(sent) > 0 || len(sa.Got()) > 0 {
		t.Errorf("%v %v", sent, sa.Got())
	}
}
