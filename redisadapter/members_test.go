package redisadapter_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/parser"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/redistest"
)

// severable is a driver whose server can be frozen and killed: then nothing goes in or out any more.
type severable struct {
	redisadapter.StreamDriver

	frozen atomic.Bool
	split  atomic.Bool // servers subscribe where nobody is counted
	sub    redisadapter.Subscription

	receiver redisadapter.Receiver
}

func (d *severable) Publish(ctx context.Context, batch []redisadapter.Publication) []error {
	if !d.frozen.Load() {
		return d.StreamDriver.Publish(ctx, batch)
	}
	errs := make([]error, len(batch))
	for i := range errs {
		errs[i] = redistest.ErrDown
	}
	return errs
}

func (d *severable) Subscribe(ctx context.Context, r redisadapter.Receiver) (redisadapter.Subscription, error) {
	sub, err := d.StreamDriver.Subscribe(ctx, deaf{r, d})
	d.sub, d.receiver = sub, r
	return sub, err
}

func (d *severable) Subscribers(ctx context.Context, channel string) (int, error) {
	if d.split.Load() {
		return 0, nil
	}
	return d.StreamDriver.Subscribers(ctx, channel)
}

func (d *severable) ShardSubscribers(ctx context.Context, channel string) (int, error) {
	if d.split.Load() {
		return 0, nil
	}
	return d.StreamDriver.ShardSubscribers(ctx, channel)
}

// kill ends the server without a word, and its connections.
func (d *severable) kill(t *testing.T) {
	t.Helper()
	d.frozen.Store(true)
	if err := d.sub.Close(); err != nil {
		t.Fatal(err)
	}
}

type deaf struct {
	redisadapter.Receiver
	d *severable
}

func (r deaf) Message(pattern, channel, payload string) {
	if !r.d.frozen.Load() {
		r.Receiver.Message(pattern, channel, payload)
	}
}

// kinds are the three adapters.
var kinds = map[string]func(d redisadapter.StreamDriver) adapter.Cluster{
	"classic": func(d redisadapter.StreamDriver) adapter.Cluster { return redisadapter.PubSub(d, options{}) },
	"sharded": func(d redisadapter.StreamDriver) adapter.Cluster { return redisadapter.Sharded(d, shardedOptions{}) },
	"streams": func(d redisadapter.StreamDriver) adapter.Cluster {
		return redisadapter.Streams(d, redisadapter.StreamsOptions{})
	},
	"streams, sharded": func(d redisadapter.StreamDriver) adapter.Cluster {
		return redisadapter.Streams(d, redisadapter.StreamsOptions{ShardedPubSub: true})
	},
}

// counted is the channel by whose subscribers Node counts servers.
func counted(kind string) string {
	if kind == "classic" {
		return "socket.io-request#/#"
	}
	return "socket.io#/#"
}

// trio is three servers of one kind with one socket each, in the room "r" and one of its own, that know each other.
type trio struct {
	hub     *redistest.Hub
	drivers [3]*severable
	servers [3]*server
	sockets [3]*adaptertest.Socket
	uids    [3]string // as the first server knows the others
}

// threeServers is to be called in a bubble.
func threeServers(t *testing.T, kind string) *trio {
	t.Helper()
	w := &trio{hub: redistest.NewHub()}
	for i := range w.servers {
		w.drivers[i] = &severable{StreamDriver: w.hub.StreamDriver()}
		w.servers[i] = startCluster(t, kinds[kind](w.drivers[i]))
		w.sockets[i] = w.servers[i].host.Connect(t, fmt.Sprintf("socket-%d-aaaaaaaaaaa", i), "r", fmt.Sprintf("r%d", i))
	}
	pass(t, time.Second)
	found, err := w.servers[0].Fetch(t.Context(), adapter.Options{})
	if err != nil || len(found) != 3 {
		t.Fatal(found, err)
	}
	for i := range w.uids {
		for _, r := range found {
			if r.ID == w.sockets[i].ID() {
				w.uids[i] = r.Server
			}
		}
	}
	if w.uids[1] == "" || w.uids[2] == "" || w.uids[1] == w.uids[2] {
		t.Fatalf("servers %q", w.uids)
	}
	return w
}

// pass lets time pass in a bubble.
func pass(t *testing.T, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	<-ctx.Done()
	synctest.Wait()
}

// eachKind runs f in a bubble for each kind of adapter.
func eachKind(t *testing.T, f func(t *testing.T, kind string)) {
	t.Helper()
	for kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { f(t, kind) })
		})
	}
}

// question asks all servers, and gives how many answered.
type question func(ctx context.Context, s *server) (int, error)

var questions = map[string]question{
	"fetch": func(ctx context.Context, s *server) (int, error) {
		found, err := s.Fetch(ctx, adapter.Options{})
		return len(found), err
	},
	"count": func(ctx context.Context, s *server) (int, error) { return s.Count(ctx, adapter.Options{}) },
	"rooms": func(ctx context.Context, s *server) (int, error) {
		sizes, err := s.Adapter.(adapter.RoomLister).Rooms(ctx, adapter.Options{})
		return sizes["r"], err
	},
	"ack": func(ctx context.Context, s *server) (n int, err error) {
		err = s.BroadcastWithAck(ctx, packet("q"), adapter.Options{}, func(adapter.Answer) { n++ })
		return n, err
	},
	"server side": func(ctx context.Context, s *server) (n int, err error) {
		err = s.ServerSide(ctx, packet("q"), func(adapter.Answer) { n++ })
		return n + 1, err // it does not ask itself
	},
}

// answering makes all servers answer all questions.
func (w *trio) answering() {
	for i, s := range w.servers {
		s.host.Listen("q", func([]any) ([]parser.Arg, bool) { return packet("", "yes").Args, true })
		w.sockets[i].Answer(func([]any) []parser.Arg { return packet("", "yes").Args })
	}
}

// A server that is killed is named, and not waited for until the deadline.
func TestMembers_Killed(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, kind string) {
		for what, ask := range questions {
			w := threeServers(t, kind)
			w.answering()
			w.drivers[2].kill(t)
			began := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			n, err := ask(ctx, w.servers[0])
			cancel()
			var inc *adapter.Incomplete
			if !errors.As(err, &inc) || !errors.Is(err, adapter.ErrServerLeft) || n != 2 {
				t.Fatalf("%s: %d, %v", what, n, err)
			}
			if !slices.Equal(inc.MissingServers, w.uids[2:]) || inc.SilentServers != 0 {
				t.Errorf("%s: %+v", what, inc)
			}
			if waited := time.Since(began); waited >= 5*time.Second {
				t.Errorf("%s: waited for %v", what, waited)
			}
			if n, err := ask(t.Context(), w.servers[0]); n != 2 || err != nil {
				t.Errorf("%s: afterwards %d, %v", what, n, err)
			}
			if n := w.servers[0].stats().Servers; n != 1 {
				t.Errorf("%s: %d servers", what, n)
			}
		}
	})
}

// A server that is killed after it has said how many sockets it asked is not waited for either.
func TestMembers_KilledAfterItCounted(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, kind string) {
		w := threeServers(t, kind)
		w.answering()
		w.sockets[2].Answer(nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		n := 0
		done := make(chan error, 1)
		go func() { // ends when the question does
			done <- w.servers[0].BroadcastWithAck(ctx, packet("q"), adapter.Options{}, func(adapter.Answer) { n++ })
		}()
		synctest.Wait()
		w.drivers[2].kill(t)
		err := <-done
		var inc *adapter.Incomplete
		if !errors.As(err, &inc) || !errors.Is(err, adapter.ErrServerLeft) || n != 2 {
			t.Fatalf("%d, %v", n, err)
		}
		if inc.Expected != 3 || inc.Received != 2 || !slices.Equal(inc.MissingServers, w.uids[2:]) {
			t.Errorf("%+v", inc)
		}
	})
}

// A server that is frozen is named at the deadline, also when it was silent for long, and comes back.
func TestMembers_Frozen(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, kind string) {
		for what, ask := range questions {
			w := threeServers(t, kind)
			w.answering()
			w.drivers[2].frozen.Store(true)
			for _, after := range []time.Duration{0, 10 * time.Second} {
				pass(t, after)
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				n, err := ask(ctx, w.servers[0])
				cancel()
				var inc *adapter.Incomplete
				if !errors.As(err, &inc) || !errors.Is(err, context.DeadlineExceeded) || n != 2 {
					t.Fatalf("%s after %v: %d, %v", what, after, n, err)
				}
				if !slices.Equal(inc.MissingServers, w.uids[2:]) || inc.SilentServers != 0 {
					t.Errorf("%s after %v: %+v", what, after, inc)
				}
			}
			if n := w.servers[0].stats().Servers; n != 1 {
				t.Errorf("%s: %d servers", what, n)
			}
			w.drivers[2].frozen.Store(false)
			pass(t, 2*time.Second)
			if n, err := ask(t.Context(), w.servers[0]); n != 3 || err != nil {
				t.Errorf("%s: afterwards %d, %v", what, n, err)
			}
		}
	})
}

// A server that closes in order is not missed, and known to be gone at once.
func TestMembers_Closed(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, kind string) {
		w := threeServers(t, kind)
		w.answering()
		if err := w.servers[2].Close(); err != nil {
			t.Fatal(err)
		}
		for what, ask := range questions {
			if n, err := ask(t.Context(), w.servers[0]); n != 2 || err != nil {
				t.Errorf("%s: namespace closed: %d, %v", what, n, err)
			}
		}
		if err := w.servers[1].cluster.Close(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := w.servers[0].stats().Servers; n != 1 {
			t.Errorf("%d servers", n)
		}
		for what, ask := range questions {
			if n, err := ask(t.Context(), w.servers[0]); n != 1 || err != nil {
				t.Errorf("%s: server closed: %d, %v", what, n, err)
			}
		}
	})
}

// listen is a stranger that is counted as a server and never answers.
type listen struct{}

func (listen) Message(string, string, string) {}
func (listen) Lost(error)                     {}
func (listen) Restored()                      {}

// Servers that do not announce themselves are counted as Node counts them.
func TestMembers_BesideAStranger(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, kind string) {
		w := threeServers(t, kind)
		w.answering()
		d := w.hub.Driver()
		sub, err := d.Subscribe(t.Context(), listen{})
		if err != nil {
			t.Fatal(err)
		}
		defer sub.Close()
		topics := redisadapter.Topics{Channels: []string{counted(kind)}}
		if strings.Contains(kind, "sharded") {
			topics = redisadapter.Topics{Sharded: topics.Channels}
		}
		if err := sub.Add(t.Context(), topics); err != nil {
			t.Fatal(err)
		}
		for what, ask := range questions {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			n, err := ask(ctx, w.servers[0])
			cancel()
			var inc *adapter.Incomplete
			if !errors.As(err, &inc) || !errors.Is(err, context.DeadlineExceeded) || n != 3 {
				t.Fatalf("%s: %d, %v", what, n, err)
			}
			if len(inc.MissingServers) > 0 || inc.SilentServers != 1 {
				t.Errorf("%s: %+v", what, inc)
			}
		}
	})
}

// Where servers subscribe at replicas the master counts none of them. They know each other nevertheless.
func TestMembers_BehindReplicas(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, kind string) {
		w := threeServers(t, kind)
		w.answering()
		for _, d := range w.drivers {
			d.split.Store(true)
		}
		for what, ask := range questions {
			if n, err := ask(t.Context(), w.servers[0]); n != 3 || err != nil {
				t.Errorf("%s: %d, %v", what, n, err)
			}
		}
	})
}

// Among our servers only numbers and names travel, however many there are.
func TestMembers_CountAndRooms(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, kind string) {
		w := threeServers(t, kind)
		x := w.servers[1].host.Index()
		m, _ := x.Lookup(w.sockets[1].ID())
		want := map[string]int{"r": 3, "r0": 1, "r1": 1, "r2": 1, "\xff": 1}
		for i := range adapter.DefaultMaxRooms - 10 {
			name := fmt.Sprintf("room %d", i)
			want[name] = 1
			if err := x.Join(m, name); err != nil {
				t.Fatal(err)
			}
		}
		if err := x.Join(m, "\xff"); err != nil {
			t.Fatal(err)
		}
		for i := range 10 {
			s := w.servers[1].host.Connect(t, fmt.Sprintf("many-%d", i))
			for j := range adapter.DefaultMaxRooms {
				name := fmt.Sprintf("many %d %d", i, j)
				want[name] = 1
				if err := x.Join(s, name); err != nil {
					t.Fatal(err)
				}
			}
		}
		before := len(published(w.hub))
		lister := w.servers[0].Adapter.(adapter.RoomLister)
		if got, err := lister.Rooms(t.Context(), adapter.Options{}); err != nil || !maps.Equal(got, want) {
			t.Errorf("%d rooms, %v; want %d", len(got), err, len(want))
		}
		o := adapter.Options{Rooms: []string{"r1", "r2", "r0"}, Except: []string{"r2"}}
		if n, err := w.servers[0].Count(t.Context(), o); n != 2 || err != nil {
			t.Error(n, err)
		}
		if got, err := lister.Rooms(t.Context(), adapter.Options{Except: []string{"room 1", "many 3 3"}}); err != nil ||
			got["r"] != 2 || got["many 3 4"] != 0 || got["many 4 4"] != 1 {
			t.Errorf("%d rooms, %v", len(got), err)
		}
		o.Flags.Local = true
		if n, err := w.servers[0].Count(t.Context(), o); n != 1 || err != nil {
			t.Error(n, err)
		}
		if got, err := lister.Rooms(t.Context(), o); err != nil || !maps.Equal(got, map[string]int{"r": 1, "r0": 1}) {
			t.Error(got, err)
		}
		if n := len(published(w.hub)) - before; n > 0 {
			t.Errorf("%d other messages were published", n)
		}
	})
}

// openMany opens namespaces at all servers.
func openMany(t *testing.T, w *trio, names int) [3][]adapter.Adapter {
	t.Helper()
	var all [3][]adapter.Adapter
	for i, s := range w.servers {
		for n := range names {
			a, err := s.cluster.Open(adaptertest.NewHost(t, fmt.Sprintf("/%d", n)))
			if err != nil {
				t.Fatal(err)
			}
			all[i] = append(all[i], a)
		}
	}
	return all
}

// The number of messages does not grow with the number of namespaces times that of servers.
func TestMembers_ManyNamespaces(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const names = 1000
		w := threeServers(t, "classic")
		before := len(w.hub.Published())
		all := openMany(t, w, names)
		pass(t, time.Second)
		if n := len(w.hub.Published()) - before; n > 60 {
			t.Errorf("%d messages to open %d namespaces at 3 servers", n, names)
		}
		w.drivers[0].split.Store(true) // so that only who is known is waited for
		w.drivers[2].frozen.Store(true)
		for _, a := range all[0] {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			_, err := a.Count(ctx, adapter.Options{})
			cancel()
			var inc *adapter.Incomplete
			if !errors.As(err, &inc) || inc.Expected != 2 || inc.Received != 1 || len(inc.MissingServers) != 1 {
				t.Fatalf("%v %+v", err, inc)
			}
		}
		w.drivers[2].frozen.Store(false)
		before = len(w.hub.Published())
		for _, a := range all[2] {
			if err := a.Close(); err != nil {
				t.Fatal(err)
			}
		}
		pass(t, time.Second)
		if n := len(w.hub.Published()) - before; n > 60 {
			t.Errorf("%d messages to close %d namespaces", n, names)
		}
		for _, a := range all[0] {
			if _, err := a.Count(t.Context(), adapter.Options{}); err != nil {
				t.Fatal(err)
			}
		}
	})
}
