package redisadapter_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/rueidisdriver"
)

func clusterDriver(t *testing.T, c *testkit.Cluster) redisadapter.StreamDriver {
	t.Helper()
	d, err := rueidisdriver.FromURL("redis+cluster://" + strings.Join(c.Addrs(), ","))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestCluster_Conformance(t *testing.T) {
	t.Parallel()
	c := testkit.StartCluster(t, 3, 0)
	for name, f := range map[string]func(d redisadapter.Driver, name string) adapter.Cluster{
		"classic": func(d redisadapter.Driver, name string) adapter.Cluster {
			return redisadapter.PubSub(d, options{Key: name})
		},
		"static": func(d redisadapter.Driver, name string) adapter.Cluster {
			return redisadapter.Sharded(d, shardedOptions{ChannelPrefix: name, Mode: redisadapter.StaticSubscriptions})
		},
		"dynamic": func(d redisadapter.Driver, name string) adapter.Cluster {
			return redisadapter.Sharded(d, shardedOptions{ChannelPrefix: "{" + name + "}"}) // which keeps the order
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := limits
			if name != "classic" {
				l = shardedLimits
			}
			adaptertest.RunServers(t, func(t *testing.T, servers int) []adapter.Cluster {
				t.Helper()
				var all []adapter.Cluster
				for range servers {
					all = append(all, f(clusterDriver(t, c), t.Name()))
				}
				return all
			}, 2, l...)
		})
	}
}

// reaches broadcasts to a room until a socket there gets one of it, as it does where some may be lost meanwhile.
func reaches(t *testing.T, from *server, to *adaptertest.Socket, room string) {
	t.Helper()
	n := 0
	testkit.Eventually(t, "a broadcast to "+room, func() bool {
		n++
		event := fmt.Sprintf("%s %s %d", t.Name(), room, n)
		if err := from.Broadcast(context.Background(), packet(event), adapter.Options{Rooms: []string{room}}); err != nil {
			t.Fatal(err)
		}
		got := to.Got()
		return len(got) > 0 && strings.HasPrefix(got[len(got)-1].Event, t.Name()+" "+room)
	})
}

// A slot with the channel of a room moves to another master; then that master is killed.
func TestCluster_RoomMoves(t *testing.T) {
	t.Parallel()
	c := testkit.StartCluster(t, 3, 1)
	a, b := startSharded(t, clusterDriver(t, c), shardedOptions{}), startSharded(t, clusterDriver(t, c), shardedOptions{})
	sb := b.host.Connect(t, "socket-of-b-bbbbbbbb")
	var rooms []string // one on each master
	for i := range 3 {
		for k := 0; ; k++ {
			room := fmt.Sprintf("room-%d", k)
			if c.Owner(c.Slot("socket.io#/#"+room+"#"), 0) == i {
				rooms = append(rooms, room)
				break
			}
		}
	}
	b.host.Command(sb, adapter.Command{Join: rooms})
	settle(t, a, b)
	for _, room := range rooms {
		reaches(t, a, sb, room)
	}
	if st := b.stats(); st.Gaps > 0 {
		t.Errorf("%+v", st)
	}
	slot := c.Slot("socket.io#/#" + rooms[0] + "#")
	c.Move(slot, 0, 1)
	if owner := c.Owner(slot, 0); owner != 1 {
		t.Fatalf("the slot is at %d", owner)
	}
	testkit.Eventually(t, "the gap is counted", func() bool { return b.stats().Gaps > 0 })
	reaches(t, a, sb, rooms[0])

	gaps := b.stats().Gaps
	c.Nodes[1].Stop()
	testkit.Eventually(t, "the gap is counted", func() bool { return b.stats().Gaps > gaps })
	for _, room := range rooms {
		reaches(t, a, sb, room)
	}
	testkit.Eventually(t, "health is good", func() bool { return a.cluster.Health() == nil && b.cluster.Health() == nil })
	sockets, err := a.Fetch(bounded(t), adapter.Options{})
	if err != nil || len(sockets) != 1 {
		t.Errorf("%v %v", sockets, err)
	}
}

// While Redis hangs this server goes on and says so; afterwards all is as before.
func TestRedisFrozen(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(t *testing.T, d redisadapter.Driver) *server{
		"classic": func(t *testing.T, d redisadapter.Driver) *server { t.Helper(); return start(t, d, options{}) },
		"sharded": func(t *testing.T, d redisadapter.Driver) *server {
			t.Helper()
			return startSharded(t, d, shardedOptions{})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redis := testkit.StartRedis(t)
			a, b := start(t, driver(t, redis)), start(t, driver(t, redis))
			sa, sb := a.host.Connect(t, "socket-of-a-aaaaaaaa", "r"), b.host.Connect(t, "socket-of-b-bbbbbbbb", "r")
			settle(t, a, b)
			redis.Pause()
			if err := a.Broadcast(context.Background(), packet("local"), adapter.Options{}); err != nil || !sa.Has("local") {
				t.Errorf("not delivered here: %v", err)
			}
			a.host.Command(sa, adapter.Command{Join: []string{"meanwhile"}})
			testkit.Eventually(t, "it is known", func() bool {
				return a.cluster.Health() != nil && b.cluster.Health() != nil && a.stats().Gaps == 1
			})
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			sockets, err := a.Fetch(ctx, adapter.Options{})
			if err == nil || len(sockets) != 1 {
				t.Errorf("%v %v", sockets, err)
			}
			redis.Resume()
			testkit.Eventually(t, "health is good", func() bool { return a.cluster.Health() == nil && b.cluster.Health() == nil })
			reaches(t, a, sb, "r")
			reaches(t, b, sa, "meanwhile")
		})
	}
}
