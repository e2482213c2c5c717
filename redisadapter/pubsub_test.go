package redisadapter_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
	a, b, sa, sb = pairOn(t, hub, o)
	return hub, a, b, sa, sb
}

// strangers is a pair of servers that do not know each other as of one kind.
func strangers(t *testing.T, o options) (hub *redistest.Hub, a, b *server, sa, sb *adaptertest.Socket) {
	t.Helper()
	hub = redistest.NewHub()
	hub.Filter(func(m redisadapter.Publication) []redisadapter.Publication {
		if control(m.Channel) {
			return nil
		}
		return []redisadapter.Publication{m}
	})
	a, b, sa, sb = pairOn(t, hub, o)
	return hub, a, b, sa, sb
}

func pairOn(t *testing.T, hub *redistest.Hub, o options) (a, b *server, sa, sb *adaptertest.Socket) {
	t.Helper()
	a, b = start(t, hub.Driver(), o), start(t, hub.Driver(), o)
	sa = a.host.Connect(t, "socket-of-a-aaaaaaaa", "r", "a")
	sb = b.host.Connect(t, "socket-of-b-bbbbbbbb", "r", "b")
	return a, b, sa, sb
}

// control tells whether a channel is one on which our servers tell each other of themselves.
func control(channel string) bool { return strings.Contains(channel, "-sockeye#") }

// subscribed are the other channels of SPUBLISH that somebody is subscribed to.
func subscribed(hub *redistest.Hub) []string {
	return slices.DeleteFunc(hub.ShardChannels(), control)
}

// published is what was published on other channels.
func published(hub *redistest.Hub) []redisadapter.Publication {
	return slices.DeleteFunc(hub.Published(), func(m redisadapter.Publication) bool { return control(m.Channel) })
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
	for _, m := range published(hub) {
		channels = append(channels, m.Channel)
	}
	want := []string{"socket.io#/#", "socket.io#/#", "socket.io#/#b#", "socket.io#/#b#", "socket.io#/#"}
	if !slices.Equal(channels, want) {
		t.Errorf("channels %q, want %q", channels, want)
	}
}

func TestPubSub_AckIsTheFirstArgumentAndNoArray(t *testing.T) {
	t.Parallel()
	hub, a, _, sa, sb := strangers(t, options{})
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
	for _, m := range published(hub) {
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
	hub, a, b, _, _ := strangers(t, options{SpecificResponses: true})
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
	last := published(hub)[len(published(hub))-1]
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
	if m := published(hub)[0].Payload; !bytes.HasSuffix(m, []byte("\xa5flags\x80")) {
		t.Errorf("%q", m)
	}
}

func TestPubSub_SpecificResponses(t *testing.T) {
	t.Parallel()
	for name, specific := range map[string]bool{"common": false, "specific": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hub, a, _, _, _ := strangers(t, options{Key: "custom", SpecificResponses: specific})
			if _, err := a.Fetch(t.Context(), adapter.Options{}); err != nil {
				t.Fatal(err)
			}
			sent := published(hub)
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
	if err := json.Unmarshal(published(hub)[0].Payload, &request); err != nil {
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
	if sent := published(hub); len(sent) > 0 || len(sa.Got()) > 0 {
		t.Errorf("%v %v", sent, sa.Got())
	}
}
