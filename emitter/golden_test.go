package emitter_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/emitter"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/redistest"
)

// actions are what was done with the official emitters when they were captured, by the name of the capture.
var actions = map[string]func(ctx context.Context, e *emitter.Emitter) error{
	"emit: all": func(ctx context.Context, e *emitter.Emitter) error {
		return e.EmitContext(ctx, "ev", 1, "two", map[string]any{"a": nil})
	},
	"emit: one room": func(ctx context.Context, e *emitter.Emitter) error {
		return e.To("room1").EmitContext(ctx, "ev")
	},
	"emit: two rooms": func(ctx context.Context, e *emitter.Emitter) error {
		return e.To("room1").To("room2").EmitContext(ctx, "ev")
	},
	"emit: array of rooms": func(ctx context.Context, e *emitter.Emitter) error {
		return e.To("room1", "room2").EmitContext(ctx, "ev")
	},
	"emit: volatile": func(ctx context.Context, e *emitter.Emitter) error {
		return e.Volatile().EmitContext(ctx, "ev")
	},
	"emit: binary": func(ctx context.Context, e *emitter.Emitter) error {
		return e.EmitContext(ctx, "bin", []byte{1, 2}, map[string]any{"x": []any{[]byte{0xff}}})
	},
	"emit: namespace": func(ctx context.Context, e *emitter.Emitter) error {
		return e.Of("/chat").EmitContext(ctx, "ev")
	},
	"emit: namespace without leading slash": func(ctx context.Context, e *emitter.Emitter) error {
		return e.Of("chat").To("r").EmitContext(ctx, "ev")
	},
	"emit: except": func(ctx context.Context, e *emitter.Emitter) error {
		return e.Except("x").EmitContext(ctx, "ev")
	},
	"emit: room, except, flags": func(ctx context.Context, e *emitter.Emitter) error {
		return e.To("room1").Except("x", "y").Volatile().Compress(false).EmitContext(ctx, "ev")
	},
	"socketsJoin": func(ctx context.Context, e *emitter.Emitter) error {
		return e.To("room1").Except("x").Join(ctx, "a", "b")
	},
	"socketsJoin: all": func(ctx context.Context, e *emitter.Emitter) error { return e.Join(ctx, "a") },
	"socketsLeave":     func(ctx context.Context, e *emitter.Emitter) error { return e.To("room1").Leave(ctx, "a") },
	"disconnectSockets": func(ctx context.Context, e *emitter.Emitter) error {
		return e.Disconnect(ctx, false)
	},
	"disconnectSockets: close": func(ctx context.Context, e *emitter.Emitter) error {
		return e.To("room1").Disconnect(ctx, true)
	},
	"serverSideEmit": func(ctx context.Context, e *emitter.Emitter) error {
		return e.ServerSideEmit(ctx, "hello", 1, map[string]any{"a": 2})
	},
	"serverSideEmit: Buffer": func(ctx context.Context, e *emitter.Emitter) error {
		return e.ServerSideEmit(ctx, "hello", []byte{1})
	},
	"serverSideEmit: namespace": func(ctx context.Context, e *emitter.Emitter) error {
		return e.Of("/chat").ServerSideEmit(ctx, "hello")
	},
}

// capture is one action of an official emitter.
type capture struct {
	Name     string
	Commands []struct {
		Channel string
		Payload string   `json:"payload_hex"`
		Args    []string // of XADD, the fields alone
	}
}

// captures are those of a file that have an action here.
func captures(t *testing.T, file string) []capture {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "internal", "rediswire", "testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	var all struct{ Vectors []capture }
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	var list []capture
	for _, v := range all.Vectors {
		if actions[v.Name] != nil {
			list = append(list, v)
		}
	}
	if len(list) == 0 {
		t.Fatalf("%s has none of the actions", file)
	}
	return list
}

func TestPubSub_Golden(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"emitter-5.1.0.json", "emitter-4.1.1.json", "emitter-3.2.0.json"} {
		for _, v := range captures(t, file) {
			t.Run(file+"/"+v.Name, func(t *testing.T) {
				t.Parallel()
				hub := redistest.NewHub()
				e, err := emitter.PubSub(hub.Driver(), redisadapter.PubSubOptions{})
				if err != nil {
					t.Fatal(err)
				}
				defer e.Close()
				if err := actions[v.Name](limited(t), e); err != nil {
					t.Fatal(err)
				}
				want, err := hex.DecodeString(v.Commands[0].Payload)
				if err != nil {
					t.Fatal(err)
				}
				if file == "emitter-3.2.0.json" {
					want = modern(want)
				}
				got := hub.Published()
				if len(got) != 1 || got[0].Channel != v.Commands[0].Channel || !bytes.Equal(got[0].Payload, want) || got[0].Sharded {
					t.Errorf("got  %s %q\nwant %s %q", got[0].Channel, got[0].Payload, v.Commands[0].Channel, want)
				}
			})
		}
	}
}

// modern adds to a message of socket.io-emitter what it has not: nobody is left out.
func modern(b []byte) []byte {
	b = bytes.Replace(b, []byte("\x82\xa5rooms"), []byte("\x83\xa5rooms"), 1)
	return append(b, "\xa6except\x90"...)
}

// A question of an emitter is that of a server but for its uid.
func TestPubSub_QuestionsHaveOwnUID(t *testing.T) {
	t.Parallel()
	hub := redistest.NewHub()
	server := redisadapter.PubSub(hub.Driver(), redisadapter.PubSubOptions{})
	if err := server.Start(limited(t)); err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	open(t, server)
	e, err := emitter.PubSub(hub.Driver(), redisadapter.PubSubOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	ctx, cancel := context.WithTimeout(limited(t), 20*time.Second)
	defer cancel()
	if _, err := e.FetchSockets(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := e.EmitWithAck(ctx, "q"); err != nil {
		t.Fatal(err)
	}
	var uids []string
	for _, m := range hub.Published() {
		if m.Channel != "socket.io-request#/#" {
			continue
		}
		_, rest, ok := bytes.Cut(m.Payload, []byte("uid"))
		if !ok {
			t.Fatalf("%q", m.Payload)
		}
		uids = append(uids, string(bytes.TrimLeft(rest, "\":\xa6")[:6]))
	}
	if len(uids) != 2 || uids[0] != uids[1] || uids[0] == "emitte" {
		t.Errorf("uids %q", uids)
	}
	if n := hub.Subscribers("socket.io-request#/#"); n != 1 {
		t.Errorf("%d servers counted", n)
	}
}
