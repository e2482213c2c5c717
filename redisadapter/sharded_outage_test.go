package redisadapter_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/redistest"
)

// shardChannels asks Redis which sharded channels somebody is subscribed to, sorted; not those on which our servers tell
// each other of themselves.
func shardChannels(redis *testkit.Redis) []string {
	var all []string
	list, _ := redis.Do("PUBSUB", "SHARDCHANNELS").([]any)
	for _, ch := range list {
		all = append(all, ch.(string))
	}
	slices.Sort(all)
	return slices.DeleteFunc(all, control)
}

// clients counts the connections to Redis, of a type if there is one.
func clients(redis *testkit.Redis, args ...string) int {
	list, _ := redis.Do(append([]string{"CLIENT", "LIST"}, args...)...).(string)
	return strings.Count(list, "id=")
}

// Sockets that join and leave at random leave the channels behind that fit where they are in the end, and those alone.
func TestSharded_Churn(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(t *testing.T) (redisadapter.Driver, func() []string){
		"fake": func(*testing.T) (redisadapter.Driver, func() []string) {
			hub := redistest.NewHub()
			return hub.Driver(), func() []string { return subscribed(hub) }
		},
		"redis": func(t *testing.T) (redisadapter.Driver, func() []string) {
			t.Helper()
			redis := testkit.StartRedis(t)
			return driver(t, redis), func() []string { return shardChannels(redis) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, channels := open(t)
			s := startSharded(t, d, shardedOptions{})
			sockets := four(t, s)
			var wg sync.WaitGroup
			for i, socket := range sockets {
				wg.Go(func() { // ends after its changes
					rng := rand.New(rand.NewPCG(5, uint64(i)))
					for range 2000 {
						room := "room-" + strconv.Itoa(rng.IntN(50))
						if c := (adapter.Command{Join: []string{room}}); rng.IntN(2) == 0 {
							s.host.Command(socket, c)
						} else {
							s.host.Command(socket, adapter.Command{Leave: []string{room}})
						}
					}
				})
			}
			wg.Wait()
			settle(t, s)
			want := map[string]bool{}
			for _, socket := range sockets {
				for _, room := range socket.Rooms() {
					want["socket.io#/#"+room+"#"] = true
				}
			}
			got := slices.DeleteFunc(channels(), func(ch string) bool { return !strings.HasPrefix(ch, "socket.io#/#room-") })
			if len(got) != len(want) || len(want) == 0 {
				t.Errorf("%d channels, want %d", len(got), len(want))
			}
			for _, ch := range got {
				if !want[ch] {
					t.Errorf("subscribed to %q", ch)
				}
			}
			if err := s.cluster.Close(); err != nil {
				t.Fatal(err)
			}
			if left := channels(); len(left) > 0 {
				t.Errorf("%q are left after Close", left)
			}
		})
	}
}

// four connects sockets in no room.
func four(t *testing.T, s *server) []*adaptertest.Socket {
	t.Helper()
	var all []*adaptertest.Socket
	for i := range 4 {
		all = append(all, s.host.Connect(t, fmt.Sprintf("socket-%d-aaaaaaaaaaa", i)))
	}
	return all
}

// Where the index had to drop events, since a watcher did not return for long, the channels are right nevertheless.
func TestSharded_DroppedRoomEvents(t *testing.T) {
	t.Parallel()
	hub := redistest.NewHub()
	s := startSharded(t, hub.Driver(), shardedOptions{})
	socket := s.host.Connect(t, "socket-aaaaaaaaaaaaa", "first")
	x := s.host.Index()
	entered, leave := make(chan struct{}), make(chan struct{})
	x.Watch(func(e adapter.RoomEvent) {
		if e.Room == "gate" && e.Kind == adapter.CreateRoom {
			close(entered)
			<-leave
		}
	})
	done := make(chan error, 1)
	go func() { done <- x.Join(socket, "gate") }() // ends when the gate opens
	<-entered
	const rooms = 40_000 // two events each
	for i := range rooms {
		if err := x.Join(socket, strconv.Itoa(i)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range rooms - 10 {
		x.Leave(socket, strconv.Itoa(i))
	}
	x.Leave(socket, "first")
	if x.EventsDropped() == 0 {
		t.Fatal("no event was dropped")
	}
	close(leave)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	settle(t, s)
	if n := len(subscribed(hub)); n != 2+1+10 {
		t.Errorf("subscribed to %d channels", n)
	}
}

// While Redis is away this server goes on, and what was queued is published afterwards.
func TestSharded_RedisRestart(t *testing.T) {
	t.Parallel()
	redis := testkit.StartRedis(t)
	var lost atomic.Int32
	a := startSharded(t, driver(t, redis), shardedOptions{OnFault: func(_ string, err error) {
		if strings.Contains(err.Error(), "subscription lost") {
			lost.Add(1)
		}
	}})
	b := startSharded(t, driver(t, redis), shardedOptions{})
	sa, sb := a.host.Connect(t, "socket-of-a-aaaaaaaa", "r", "old"), b.host.Connect(t, "socket-of-b-bbbbbbbb", "r")
	settle(t, a, b)
	before := shardChannels(redis)
	pid := redis.Pid()
	redis.Stop()
	testkit.Eventually(t, "the loss is known", func() bool { return a.cluster.Health() != nil && b.cluster.Health() != nil })
	if err := a.Broadcast(context.Background(), packet("queued"), adapter.Options{Rooms: []string{"r"}}); err != nil {
		t.Fatal(err)
	}
	if !sa.Has("queued") {
		t.Error("not delivered to the socket of this server")
	}
	a.host.Command(sa, adapter.Command{Join: []string{"new"}})
	a.host.Command(sa, adapter.Command{Leave: []string{"old"}})

	redis.Start()
	testkit.Eventually(t, "health is good", func() bool { return a.cluster.Health() == nil && b.cluster.Health() == nil })
	if redis.Pid() == pid || lost.Load() != 1 || a.stats().Gaps != 1 {
		t.Errorf("the fault did not happen: %d losses, %+v", lost.Load(), a.stats())
	}
	for i, ch := range before {
		before[i] = strings.Replace(ch, "#old#", "#new#", 1)
	}
	slices.Sort(before)
	testkit.Eventually(t, "the same is subscribed to", func() bool { return slices.Equal(shardChannels(redis), before) })
	if err := b.Broadcast(bounded(t), packet("after"), adapter.Options{Rooms: []string{"new"}}); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "it arrives", func() bool { return sa.Has("after") })
	if n := count(sb, "queued"); n > 1 { // it may have come before b was subscribed again
		t.Errorf("%d times", n)
	}
	sockets, err := b.Fetch(bounded(t), adapter.Options{})
	if err != nil || len(sockets) != 2 {
		t.Errorf("%v %v", sockets, err)
	}
}

// A connection that Redis ends is a gap, is counted, and all is subscribed anew.
func TestSharded_SubscriberKilled(t *testing.T) {
	t.Parallel()
	redis := testkit.StartRedis(t)
	a := startSharded(t, driver(t, redis), shardedOptions{})
	sa := a.host.Connect(t, "socket-of-a-aaaaaaaa", "r")
	settle(t, a)
	before := shardChannels(redis)
	killSubscribers(t, redis, 1)
	testkit.Eventually(t, "the gap is counted", func() bool { return a.stats().Gaps == 1 })
	testkit.Eventually(t, "health is good", func() bool { return a.cluster.Health() == nil })
	if after := shardChannels(redis); !slices.Equal(after, before) {
		t.Errorf("subscribed to %q, before to %q", after, before)
	}
	b := startSharded(t, driver(t, redis), shardedOptions{})
	if err := b.Broadcast(bounded(t), packet("after"), adapter.Options{Rooms: []string{"r"}}); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "it arrives", func() bool { return sa.Has("after") })
	if len(a.host.Faults()) == 0 {
		t.Error("the gap was not reported")
	}
}

// tooOld is a Redis that has never heard of shards.
type tooOld struct{ redisadapter.Driver }

var errUnknown = errors.New("ERR unknown subcommand 'SHARDNUMSUB'")

func (tooOld) ShardSubscribers(context.Context, string) (int, error) { return 0, errUnknown }

func TestSharded_NeedsRedis7(t *testing.T) {
	t.Parallel()
	c := redisadapter.Sharded(tooOld{redistest.NewHub().Driver()}, shardedOptions{})
	err := c.Start(bounded(t))
	if !errors.Is(err, redisadapter.ErrNoSharding) || !errors.Is(err, errUnknown) || !strings.Contains(err.Error(), "needs Redis 7") {
		t.Errorf("error %v", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	// A real one that does not know the command.
	redis := testkit.StartRedis(t, "--rename-command", "PUBSUB", "")
	c = redisadapter.Sharded(driver(t, redis), shardedOptions{})
	if err := c.Start(bounded(t)); !errors.Is(err, redisadapter.ErrNoSharding) {
		t.Errorf("error %v", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// Thousands of namespaces and rooms cost neither connections nor goroutines.
func TestSharded_Many(t *testing.T) {
	redis := testkit.StartRedis(t)
	s := startSharded(t, driver(t, redis), shardedOptions{})
	connections := clients(redis)
	routines := runtime.NumGoroutine()
	const many = 2000
	var last *adaptertest.Socket
	for i := range many {
		host := adaptertest.NewHost(t, "/n"+strconv.Itoa(i))
		if _, err := s.cluster.Open(host); err != nil {
			t.Fatal(err)
		}
		last = host.Connect(t, "socket-aaaaaaaaaaaaa", "room")
	}
	settle(t, s)
	if n := runtime.NumGoroutine() - routines; n > 10 {
		t.Errorf("%d more goroutines", n)
	}
	if n := clients(redis); n > connections {
		t.Errorf("%d connections, before %d", n, connections)
	}
	b := startSharded(t, driver(t, redis), shardedOptions{})
	host := adaptertest.NewHost(t, "/n"+strconv.Itoa(many-1))
	other, err := b.cluster.Open(host)
	if err != nil {
		t.Fatal(err)
	}
	p := packet("e")
	p.Namespace = host.Name()
	if err := other.Broadcast(bounded(t), p, adapter.Options{Rooms: []string{"room"}}); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "it arrives", func() bool { return last.Has("e") })
}
