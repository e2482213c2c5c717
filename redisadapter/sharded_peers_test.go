package redisadapter_test

import (
	"bytes"
	"context"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/parser"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/redistest"
)

// shardedGood is a message that another server may send.
var shardedGood = []byte(
	`{"type":3,"data":{"packet":{"type":2,"data":["good"]},"opts":{"rooms":[],"except":[],"flags":{}}},` +
		`"uid":"0123456789abcdef","nsp":"/"}`)

var (
	anyID      = regexp.MustCompile(`[0-9a-f]{16}`)
	anyTimeout = regexp.MustCompile(`"timeout":\d+`)
)

// normal makes messages comparable that differ in ids and in the time that is left.
func normal(b []byte) string {
	return string(anyTimeout.ReplaceAll(anyID.ReplaceAll(b, []byte("<id>")), []byte(`"timeout":0`)))
}

// What is published has the bytes of the official adapter, on its channels.
func TestSharded_GoldenRequests(t *testing.T) {
	t.Parallel()
	to := func(rooms ...string) adapter.Options { return adapter.Options{Rooms: rooms} }
	emit := func(o adapter.Options, event string, args ...any) func(context.Context, adapter.Adapter) {
		return func(ctx context.Context, a adapter.Adapter) { _ = a.Broadcast(ctx, packet(event, args...), o) }
	}
	ask := func(o adapter.Options, event string, args ...any) func(context.Context, adapter.Adapter) {
		return func(ctx context.Context, a adapter.Adapter) {
			_ = a.BroadcastWithAck(ctx, packet(event, args...), o, func(adapter.Answer) {})
		}
	}
	command := func(c adapter.Command, o adapter.Options) func(context.Context, adapter.Adapter) {
		return func(ctx context.Context, a adapter.Adapter) { _ = a.Command(ctx, c, o) }
	}
	tell := func(event string, each func(adapter.Answer), args ...any) func(context.Context, adapter.Adapter) {
		return func(ctx context.Context, a adapter.Adapter) { _ = a.ServerSide(ctx, packet(event, args...), each) }
	}
	answered := func(adapter.Answer) {}
	for name, do := range map[string]func(context.Context, adapter.Adapter){
		"broadcast: all": emit(to(), "ev", 1, "two", struct {
			A any   `json:"a"`
			B []any `json:"b"`
		}{nil, []any{true, 1.5}}),
		"broadcast: no arguments":                                     emit(to(), "ev"),
		"broadcast: one room":                                         emit(to("room1"), "ev"),
		"broadcast: one room unknown everywhere":                      emit(to("nowhere"), "ev"),
		"broadcast: two rooms":                                        emit(to("room1", "onB"), "ev"),
		"broadcast: except a room":                                    emit(adapter.Options{Except: []string{"onB"}}, "ev"),
		"broadcast: room and except":                                  emit(adapter.Options{Rooms: []string{"room1"}, Except: []string{"onA", "x"}}, "ev"),
		"broadcast: one socket id":                                    emit(to("kzrYk8RHzikduT5yAAAB"), "ev"),
		"broadcast: volatile flag":                                    emit(adapter.Options{Flags: adapter.Flags{Volatile: true}}, "ev"),
		"broadcast: compress(false)":                                  emit(adapter.Options{Flags: adapter.Flags{NoCompress: true}}, "ev"),
		"broadcast: binary":                                           emit(to(), "bin", []byte{1, 2, 255}, map[string]any{"deep": []any{[]byte{}}}),
		"broadcast: unicode and odd room names":                       emit(to("ру#м*[1]"), "€\U0001F600"),
		"broadcast: into that room":                                   emit(to("pub"), "ev"),
		"broadcast: public room whose name has 20 characters":         emit(to("xxxxxxxxxxxxxxxxxxxx"), "ev"),
		"broadcast with acknowledgement: everyone answers":            ask(to(), "q", "x"),
		"broadcast with acknowledgement: nobody in the room":          ask(to("nowhere"), "q"),
		"broadcast with acknowledgement: volatile and compress flags": ask(adapter.Options{Flags: adapter.Flags{Volatile: true, NoCompress: true}}, "q"),
		"fetchSockets: all":                                           func(ctx context.Context, a adapter.Adapter) { _, _ = a.Fetch(ctx, to()) },
		"fetchSockets: room and except": func(ctx context.Context, a adapter.Adapter) {
			_, _ = a.Fetch(ctx, adapter.Options{Rooms: []string{"room1"}, Except: []string{"onA"}})
		},
		"socketsJoin: all":                     command(adapter.Command{Join: []string{"j1"}}, to()),
		"socketsJoin: filtered, several rooms": command(adapter.Command{Join: []string{"j2", "j3"}}, adapter.Options{Rooms: []string{"onB"}, Except: []string{"x"}}),
		"socketsLeave":                         command(adapter.Command{Leave: []string{"j2", "j1"}}, to("onB")),
		"disconnectSockets: close=true":        command(adapter.Command{Disconnect: true, CloseConn: true}, to("room1")),
		"serverSideEmit": tell("hello", nil, 1, struct {
			A int `json:"a"`
		}{2}),
		"serverSideEmit: with acknowledgement":         tell("hello", answered, "x"),
		"serverSideEmit: Buffer becomes JSON":          tell("hello", nil, []byte{1, 2}),
		"serverSideEmit: acknowledgement never called": tell("mute", answered),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hub, a, _, _, _ := shardedPair(t, shardedOptions{})
			hub.Filter(func(redisadapter.Publication) []redisadapter.Publication { return nil }) // nobody answers
			ctx, cancel := context.WithTimeout(t.Context(), testkit.Scale(50*time.Millisecond))
			defer cancel()
			do(ctx, a)
			testkit.Eventually(t, "something is published", func() bool { return len(published(hub)) > 0 })
			sent := published(hub)
			all := vectors(t, "sharded-dynamic.json")
			i := slices.IndexFunc(all, func(v vector) bool { return v.Name == name })
			if i < 0 {
				t.Fatal("no such vector")
			}
			commands := all[i].Commands
			c := commands[slices.IndexFunc(commands, func(c wireCommand) bool { return c.Command == "SPUBLISH" })]
			if got, want := normal(sent[0].Payload), normal(unhex(t, c.Payload)); sent[0].Channel != c.Channel || got != want {
				t.Errorf("%s: %q\nwant %s: %q", sent[0].Channel, got, c.Channel, want)
			}
		})
	}
}

// What the official adapter asks gets the answers that it gave itself.
func TestSharded_GoldenAnswers(t *testing.T) {
	t.Parallel()
	hub := redistest.NewHub()
	s := startSharded(t, hub.Driver(), shardedOptions{})
	socket := s.host.Connect(t, "socket-aaaaaaaaaaaaa", "room1", "onB", "kzrYk8RHzikduT5yAAAB")
	socket.Answer(func([]any) []parser.Arg { return packet("", "ack from b").Args })
	s.host.Listen("hello", func([]any) ([]parser.Arg, bool) { return packet("", "from B").Args, true })
	settle(t, s)
	asked := 0
	for _, v := range vectors(t, "sharded-dynamic.json") {
		if !strings.Contains(v.Name, "acknowledgement: ") && v.Name != "serverSideEmit: with acknowledgement" ||
			strings.Contains(v.Name, "silent") || strings.Contains(v.Name, "never") {
			continue
		}
		before := len(published(hub))
		hub.InjectSharded(v.Commands[0].Channel, unhex(t, v.Commands[0].Payload))
		answers := v.Commands[1:]
		testkit.Eventually(t, "the answers: "+v.Name, func() bool { return len(published(hub)) == before+len(answers) })
		for i, m := range published(hub)[before:] {
			if want := unhex(t, answers[i].Payload); m.Channel != answers[i].Channel || normal(m.Payload) != normal(want) {
				t.Errorf("%s: %s: %q, want %s: %q", v.Name, m.Channel, m.Payload, answers[i].Channel, want)
			}
		}
		asked++
	}
	if asked < 5 || s.stats().Malformed > 0 {
		t.Errorf("%d questions, %+v", asked, s.stats())
	}
}

// T23: whatever arrives on whichever channel is survived, and the next good message is delivered.
func TestSharded_Malformed(t *testing.T) {
	t.Parallel()
	hub := redistest.NewHub()
	s := startSharded(t, hub.Driver(), shardedOptions{})
	socket := s.host.Connect(t, "socket-aaaaaaaaaaaaa", "r")
	settle(t, s)
	channels := subscribed(hub)
	if len(channels) != 3 {
		t.Fatal(channels)
	}
	good := 0
	next := func(what string) {
		t.Helper()
		hub.InjectSharded("socket.io#/#", shardedGood)
		good++
		testkit.Eventually(t, "the good message after "+what, func() bool { return count(socket, "good") == good })
	}
	for _, v := range vectors(t, "malformed-messages.json") {
		for _, channel := range channels {
			hub.InjectSharded(channel, unhex(t, v.Payload))
		}
		next(v.Name)
	}
	for i := range shardedGood {
		for _, channel := range channels {
			hub.InjectSharded(channel, shardedGood[:i])
		}
	}
	next("every prefix")
	stats := s.stats()
	if stats.Malformed < uint64(len(shardedGood)*len(channels)) || len(s.host.Faults()) == 0 {
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

// An answer that does not fit the question, or that nobody waits for, is no answer.
func TestSharded_OddAnswers(t *testing.T) {
	t.Parallel()
	hub, a, b, _, _ := shardedPair(t, shardedOptions{})
	hub.Filter(func(m redisadapter.Publication) []redisadapter.Publication {
		id := regexp.MustCompile(`"requestId":"([0-9a-f]{16})"`).FindSubmatch(m.Payload)
		uid := regexp.MustCompile(`"uid":"([0-9a-f]{16})"`).FindSubmatch(m.Payload)
		if id == nil || !bytes.HasPrefix(m.Payload, []byte(`{"type":7,`)) {
			return []redisadapter.Publication{m}
		}
		all := []redisadapter.Publication{m}
		for _, answer := range []string{
			`{"type":11,"data":{"requestId":"ID","clientCount":1},"uid":"x","nsp":"/"}`,
			`{"type":12,"data":{"requestId":"ID","packet":1},"uid":"x","nsp":"/"}`,
			`{"type":10,"data":{"requestId":"ID","packet":1},"uid":"x","nsp":"/"}`,
			`{"type":8,"data":{"requestId":"ID"},"uid":"x","nsp":"/"}`,
			`{"type":8,"data":{"requestId":"0000000000000000","sockets":[]},"uid":"x","nsp":"/"}`, // of nobody's question
		} {
			payload := strings.ReplaceAll(answer, "ID", string(id[1]))
			all = append(all, redisadapter.Publication{
				Channel: "socket.io#/#" + string(uid[1]) + "#", Payload: []byte(payload), Sharded: true,
			})
		}
		return all
	})
	sockets, err := a.Fetch(bounded(t), adapter.Options{})
	if err != nil || len(sockets) != 2 {
		t.Errorf("%+v %v", sockets, err)
	}
	testkit.Eventually(t, "all five are counted", func() bool {
		return a.stats().Malformed == 4 && a.stats().Unknown == 1
	})
	if b.stats().Malformed > 0 {
		t.Errorf("%+v", b.stats())
	}
}
