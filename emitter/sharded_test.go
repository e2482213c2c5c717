package emitter_test

import (
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/emitter"
	"github.com/sockeye-io/sockeye/internal/rediswire"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/redistest"
)

// What is for one room goes where the servers of each mode listen, and everything else to all of them.
func TestSharded_Channels(t *testing.T) {
	t.Parallel()
	const (
		id  = "aaaaaaaaaaaaaaaaAAAA"
		old = "/chat#aaaaaaaaaaaaaaaaAAAA" // of a 2.x client
	)
	for mode, separate := range map[redisadapter.SubscriptionMode]map[string]bool{
		"static":          {},
		"":                {"room": true, "ä" + id[1:] + "x": true, "#": true},
		"dynamic":         {"room": true, "ä" + id[1:] + "x": true, "#": true},
		"dynamic-private": {"room": true, "ä" + id[1:] + "x": true, "#": true, id: true, old: true, "ä" + id[1:]: true},
	} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			hub := redistest.NewHub()
			e, err := emitter.Sharded(hub.Driver(), redisadapter.ShardedOptions{Mode: mode, ChannelPrefix: "mine"})
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			ctx := limited(t)
			for _, room := range []string{"room", id, old, "ä" + id[1:], "ä" + id[1:] + "x", "#"} {
				before := len(hub.Published())
				if err := e.Of("chat").To(room).EmitContext(ctx, "ev", []byte("bin")); err != nil {
					t.Fatal(err)
				}
				want := "mine#/chat#"
				if separate[room] {
					want += room + "#"
				}
				m := hub.Published()[before]
				x, err := rediswire.ParseMessage(m.Payload)
				if m.Channel != want || !m.Sharded || err != nil || x.UID != "emitter" || x.Target.Rooms[0] != room {
					t.Errorf("%s: %+v, %v", room, m, err)
				}
			}
			for name, err := range map[string]error{
				"all": e.EmitContext(ctx, "ev"), "two": e.To("a", "b").EmitContext(ctx, "ev"), "join": e.To("a").Join(ctx, "b"),
				"leave": e.To("a").Leave(ctx, "b"), "disconnect": e.To("a").Disconnect(ctx, true), "server": e.ServerSideEmit(ctx, "ev"),
			} {
				if err != nil {
					t.Error(name, err)
				}
			}
			for _, m := range hub.Published()[6:] {
				if m.Channel != "mine#/#" || !m.Sharded {
					t.Errorf("%+v", m)
				}
			}
		})
	}
}

func TestSharded_Options(t *testing.T) {
	t.Parallel()
	_, err := emitter.Sharded(redistest.NewHub().Driver(), redisadapter.ShardedOptions{Mode: "some", ChannelPrefix: "\x00"})
	if err == nil || !strings.Contains(err.Error(), "Mode") || !strings.Contains(err.Error(), "ChannelPrefix") {
		t.Error(err)
	}
}
