package redisadapter_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/parser"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/redistest"
)

type shardedOptions = redisadapter.ShardedOptions

var modes = []redisadapter.SubscriptionMode{
	redisadapter.StaticSubscriptions, redisadapter.DynamicSubscriptions, redisadapter.DynamicPrivateSubscriptions,
}

var shardedLimits = []adaptertest.Limit{
	adaptertest.FirstAckArgument, adaptertest.AckSocketUnknown, adaptertest.FirstServerAnswer,
}

func TestSharded_ConformanceFake(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			adaptertest.Run(t, func(t *testing.T, servers int) []adapter.Cluster {
				t.Helper()
				hub := redistest.NewHub()
				var all []adapter.Cluster
				for range servers {
					all = append(all, redisadapter.Sharded(hub.Driver(), shardedOptions{Mode: mode}))
				}
				return all
			}, shardedLimits...)
		})
	}
}

func TestSharded_ConformanceRedis(t *testing.T) {
	t.Parallel()
	redis := testkit.StartRedis(t)
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			adaptertest.Run(t, func(t *testing.T, servers int) []adapter.Cluster {
				t.Helper()
				var all []adapter.Cluster
				for range servers {
					o := shardedOptions{Mode: mode, ChannelPrefix: t.Name()}
					all = append(all, redisadapter.Sharded(driver(t, redis), o))
				}
				return all
			}, shardedLimits...)
		})
	}
}

func settle(t *testing.T, servers ...*server) {
	t.Helper()
	for _, s := range servers {
		if err := s.cluster.(interface {
			Settled(ctx context.Context) error
		}).Settled(bounded(t)); err != nil {
			t.Fatal(err)
		}
	}
}

// shardedPair is two servers on one hub, with a socket each, in the room "r" and in "a" or "b".
func shardedPair(t *testing.T, o shardedOptions) (hub *redistest.Hub, a, b *server, sa, sb *adaptertest.Socket) {
	t.Helper()
	hub = redistest.NewHub()
	a, b = startSharded(t, hub.Driver(), o), startSharded(t, hub.Driver(), o)
	sa = a.host.Connect(t, "socket-of-a-aaaaaaaa", "r", "a")
	sb = b.host.Connect(t, "socket-of-b-bbbbbbbb", "r", "b")
	settle(t, a, b)
	return hub, a, b, sa, sb
}

const (
	twenty = "twenty-characters-20"
	legacy = "/chat#legacyid-legacyid00"     // of a 2.x client in another namespace
	fish20 = "\U0001F41F345678901234567890"  // in UTF-16
	fish21 = "\U0001F41F3456789012345678901" // 20 characters
)

// What is subscribed to, and where what is sent to one room goes.
func TestSharded_Modes(t *testing.T) {
	t.Parallel()
	const all = "socket.io#/#"
	for _, c := range []struct {
		mode redisadapter.SubscriptionMode
		subs []string          // beside the common and the own channel
		to   map[string]string // room to channel
	}{
		{"static", nil, map[string]string{"r": all, twenty: all, legacy: all, "": all, "socket-of-a-aaaaaaaa": all}},
		{"dynamic", []string{"", legacy, "r", twenty, "x#y"}, map[string]string{
			"r": all + "r#", "nobody": all + "nobody#", twenty: all, "socket-of-a-aaaaaaaa": all, legacy: all + legacy + "#",
			"/#legacyid-legacyid00": all,
			"":                      all + "#", "x#y": all + "x#y#", fish21: all + fish21 + "#", fish20: all,
		}},
		{"dynamic-private", []string{"", legacy, "r", "socket-of-a-aaaaaaaa", twenty, "x#y"}, map[string]string{
			"r": all + "r#", twenty: all + twenty + "#", "socket-of-a-aaaaaaaa": all + "socket-of-a-aaaaaaaa#", "": all + "#",
		}},
	} {
		t.Run(string(c.mode), func(t *testing.T) {
			t.Parallel()
			hub := redistest.NewHub()
			s := startSharded(t, hub.Driver(), shardedOptions{Mode: c.mode})
			socket := s.host.Connect(t, "socket-of-a-aaaaaaaa", "r", twenty, "", "x#y")
			other := s.host.Connect(t, legacy, "r")
			settle(t, s)
			var got []string
			for _, ch := range subscribed(hub) {
				room, ok := strings.CutSuffix(strings.TrimPrefix(ch, all), "#")
				if ok && !isUID(room) {
					got = append(got, room)
				}
			}
			if !slices.Equal(got, c.subs) {
				t.Errorf("subscribed to %q, want %q", got, c.subs)
			}
			for room, channel := range c.to {
				n := len(published(hub))
				if err := s.Broadcast(t.Context(), packet("e"), adapter.Options{Rooms: []string{room}}); err != nil {
					t.Fatal(err)
				}
				if sent := published(hub)[n]; sent.Channel != channel || !sent.Sharded {
					t.Errorf("to %q by %q, want %q", room, sent.Channel, channel)
				}
			}
			socket.Disconnect()
			other.Disconnect()
			settle(t, s)
			if got := subscribed(hub); len(got) != 2 {
				t.Errorf("subscribed to %q when nobody is there", got)
			}
		})
	}
}

func isUID(s string) bool {
	return len(s) == 16 && strings.Trim(s, "0123456789abcdef") == ""
}

// Namespaces and rooms whose channels have one name are kept apart by what the messages say.
func TestSharded_NamespaceLikeARoom(t *testing.T) {
	t.Parallel()
	hub, a, b, sa, sb := shardedPair(t, shardedOptions{})
	host := adaptertest.NewHost(t, "/#r") // its common channel is that of room r
	other, err := b.cluster.Open(host)
	if err != nil {
		t.Fatal(err)
	}
	socket := host.Connect(t, "socket-ccccccccccccc", "x")
	if err := a.Broadcast(bounded(t), packet("to r"), adapter.Options{Rooms: []string{"r"}}); err != nil {
		t.Fatal(err)
	}
	p := packet("to the other")
	p.Namespace = "/#r"
	if err := other.Broadcast(bounded(t), p, adapter.Options{}); err != nil {
		t.Fatal(err)
	}
	if err := b.Broadcast(bounded(t), packet("last"), adapter.Options{Rooms: []string{"r"}}); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the last", func() bool { return sa.Has("last") && sb.Has("to r") })
	if got(sa)[0] != "to r" || len(sa.Got()) != 2 || !slices.Equal(got(socket), []string{"to the other"}) {
		t.Errorf("%q %q", got(sa), got(socket))
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if n := hub.ShardSubscribers("socket.io#/#r#"); n != 2 {
		t.Errorf("%d subscribers of the room after the namespace was closed", n)
	}
}

// The whole answer of who asks is on its own channel, and by name.
func TestSharded_AnswersNameTheirServer(t *testing.T) {
	t.Parallel()
	hub, a, _, _, sb := shardedPair(t, shardedOptions{})
	sb.Answer(func([]any) []parser.Arg { return packet("", "yes").Args })
	var server string
	err := a.BroadcastWithAck(bounded(t), packet("q"), adapter.Options{Rooms: []string{"b"}}, func(x adapter.Answer) {
		server = x.Server
	})
	if err != nil || !isUID(server) {
		t.Fatal(server, err)
	}
	sockets, err := a.Fetch(bounded(t), adapter.Options{Rooms: []string{"b"}})
	if err != nil || len(sockets) != 1 || sockets[0].Server != server {
		t.Errorf("%+v %v", sockets, err)
	}
	for _, m := range published(hub) {
		if strings.Contains(string(m.Payload), `"uid":"`+server) && !isUID(m.Channel[len("socket.io#/#"):len(m.Channel)-1]) {
			t.Errorf("answered on %q", m.Channel)
		}
	}
}

// A server that says nothing makes a question end incomplete.
func TestSharded_RequestsTimeout(t *testing.T) {
	t.Parallel()
	hub, a, _, _, _ := shardedPair(t, shardedOptions{RequestsTimeout: time.Millisecond})
	hub.Filter(func(redisadapter.Publication) []redisadapter.Publication { return nil })
	sockets, err := a.Fetch(t.Context(), adapter.Options{})
	var inc *adapter.Incomplete
	if !errors.As(err, &inc) || !errors.Is(err, context.DeadlineExceeded) || len(sockets) != 1 {
		t.Errorf("%v %v", sockets, err)
	}
}

// What would harm peers is refused, and nothing is published or delivered.
func TestSharded_RefusesToPublish(t *testing.T) {
	t.Parallel()
	hub, a, _, sa, _ := shardedPair(t, shardedOptions{})
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
	for _, name := range []string{"/a\r\nb", "/\x00", "/\x7f"} {
		if _, err := a.cluster.Open(adaptertest.NewHost(t, name)); err == nil {
			t.Errorf("%q was opened", name)
		}
	}
}

func TestSharded_Options(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]shardedOptions{
		"prefix": {ChannelPrefix: "a\n"}, "timeout": {RequestsTimeout: -1}, "queue": {PublishQueue: -1},
		"bytes": {PublishQueueBytes: -1}, "mode": {Mode: "sometimes"},
	} {
		c := redisadapter.Sharded(redistest.NewHub().Driver(), o)
		if err := c.Start(t.Context()); err == nil {
			t.Errorf("%s: no error", name)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Connection state recovery with an adapter that cannot do it is a mistake that the server finds when it is made.
func TestRecovery_NeedsStreams(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]adapter.Cluster{
		"classic": redisadapter.PubSub(redistest.NewHub().Driver(), options{}),
		"sharded": redisadapter.Sharded(redistest.NewHub().Driver(), shardedOptions{}),
	} {
		if rc, ok := c.(adapter.RecoveryCluster); ok && rc.Recoverable() {
			t.Errorf("%s claims to recover", name)
		}
	}
}
