package redisadapter_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/internal/rediswire"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/redisadapter"
)

// Who missed what another server opened or closed asks for it.
func TestMembers_MissedMessages(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, kind string) {
		w := threeServers(t, kind)
		closed, err := w.servers[1].cluster.Open(adaptertest.NewHost(t, "/closed"))
		if err != nil {
			t.Fatal(err)
		}
		a, err := w.servers[0].cluster.Open(adaptertest.NewHost(t, "/closed"))
		if err != nil {
			t.Fatal(err)
		}
		pass(t, time.Second)
		dropped := 0
		w.hub.Filter(func(m redisadapter.Publication) []redisadapter.Publication {
			if control(m.Channel) {
				dropped++
				return nil
			}
			return []redisadapter.Publication{m}
		})
		if err := closed.Close(); err != nil {
			t.Fatal(err)
		}
		var opened adapter.Adapter
		for i, s := range w.servers {
			x, err := s.cluster.Open(adaptertest.NewHost(t, "/opened"))
			if err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				opened = x
			}
		}
		pass(t, 30*time.Second)
		w.hub.Filter(nil)
		if dropped < 3*30 {
			t.Fatalf("only %d messages were dropped", dropped)
		}
		pass(t, 3*time.Second)
		if n := w.servers[0].stats().Servers; n != 2 {
			t.Errorf("%d servers", n)
		}
		for _, d := range w.drivers {
			d.split.Store(true) // so that only who is known is waited for
		}
		w.drivers[1].frozen.Store(true)
		for name, c := range map[string]struct {
			a       adapter.Adapter
			missing int
		}{"opened": {opened, 1}, "closed": {a, 0}} {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			_, err := c.a.Count(ctx, adapter.Options{})
			cancel()
			var inc *adapter.Incomplete
			if errors.As(err, &inc) != (c.missing > 0) {
				t.Errorf("%s: %v", name, err)
			} else if inc != nil && (inc.Received != 1 && kind != "sharded" || len(inc.MissingServers) < c.missing) {
				t.Errorf("%s: %+v", name, inc)
			}
		}
	})
}

// Nobody disappears while Redis stands still, nor because of that afterwards.
func TestMembers_RedisAway(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, kind string) {
		w := threeServers(t, kind)
		w.answering()
		w.hub.Stop()
		pass(t, time.Minute)
		if n := w.servers[0].stats().Servers; n != 2 {
			t.Errorf("%d servers meanwhile", n)
		}
		for what, ask := range questions {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			n, err := ask(ctx, w.servers[0])
			cancel()
			if err == nil || n != 1 {
				t.Errorf("%s: %d, %v", what, n, err)
			}
		}
		w.hub.Start()
		pass(t, 5*time.Second)
		if n := w.servers[0].stats().Servers; n != 2 {
			t.Errorf("%d servers afterwards", n)
		}
		for what, ask := range questions {
			if n, err := ask(t.Context(), w.servers[0]); n != 3 || err != nil {
				t.Errorf("%s: %d, %v", what, n, err)
			}
		}
	})
}

// What the classic adapter answers to its kind comes with a name, and to others as Node does.
func TestMembers_ClassicAnswersByName(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := threeServers(t, "classic")
		w.answering()
		var from []string
		each := func(x adapter.Answer) { from = append(from, x.Server) }
		if err := w.servers[0].BroadcastWithAck(t.Context(), packet("q"), adapter.Options{Rooms: []string{"r2"}}, each); err != nil {
			t.Fatal(err)
		}
		if err := w.servers[0].ServerSide(t.Context(), packet("q"), each); err != nil {
			t.Fatal(err)
		}
		if len(from) != 3 || from[0] != w.uids[2] || from[1] == from[2] || from[1] == "" || from[2] == "" {
			t.Errorf("from %q, servers %q", from, w.uids)
		}
		for _, m := range published(w.hub) {
			if strings.HasPrefix(m.Channel, "socket.io-response#") {
				t.Errorf("%s was published on %s", m.Payload, m.Channel)
			}
		}
		w.hub.Inject("socket.io-request#/#", []byte(`{"uid":"abcdef","requestId":"x","type":5,"opts":{"rooms":["r1"],"except":[]}}`))
		synctest.Wait()
		official := 0
		for _, m := range published(w.hub) {
			if m.Channel == "socket.io-response#/#" && strings.HasPrefix(string(m.Payload), `{"requestId":"x"`) {
				official++
			}
		}
		if official != 3 {
			t.Errorf("%d answers to a stranger", official)
		}
	})
}

// controlChannels are those of a trio.
func controlChannels(w *trio) []string {
	seen := map[string]bool{}
	var all []string
	for _, m := range w.hub.Published() {
		if control(m.Channel) && !seen[m.Channel] {
			seen[m.Channel] = true
			all = append(all, m.Channel)
		}
	}
	return all
}

// T23: whatever arrives on the channels for our servers alone is survived and counted.
func TestMembers_Malformed(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, kind string) {
		w := threeServers(t, kind)
		w.answering()
		for _, ask := range questions {
			if n, err := ask(t.Context(), w.servers[0]); n != 3 || err != nil {
				t.Fatal(n, err)
			}
		}
		inject := w.hub.Inject
		if strings.Contains(kind, "sharded") {
			inject = w.hub.InjectSharded
		}
		channels := controlChannels(w)
		var corpus [][]byte
		for _, m := range w.hub.Published() {
			if control(m.Channel) {
				corpus = append(corpus, m.Payload)
			}
		}
		if len(channels) < 4 {
			t.Fatal(channels)
		}
		rng := rand.New(rand.NewPCG(5, 6))
		for i := range 5000 {
			channel := channels[i%len(channels)]
			switch m := corpus[rng.IntN(len(corpus))]; i % 4 {
			case 0:
				inject(channel, m[:rng.IntN(len(m))])
			case 1:
				inject(channel, []byte("garbage"))
			default:
				inject(channel, mutated(rng, corpus))
			}
		}
		inject(channels[0], make([]byte, 1<<20))
		pass(t, time.Second)
		if st := w.servers[0].stats(); st.Malformed == 0 {
			t.Errorf("%+v", st)
		}
		if n := len(w.servers[0].host.Faults()); n > 0 {
			t.Errorf("%d faults of the namespace", n)
		}
		pass(t, 2*time.Minute)          // who was invented is forgotten
		for _, ask := range questions { // what is wrong of who is there is found by his silence
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, _ = ask(ctx, w.servers[0])
			cancel()
		}
		pass(t, 2*time.Second)
		for what, ask := range questions {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			n, err := ask(ctx, w.servers[0])
			cancel()
			if n != 3 || err != nil {
				t.Errorf("%s: %d, %v", what, n, err)
			}
		}
	})
}

// The number of servers that are known is bounded, and invented ones disappear.
func TestMembers_Bounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := threeServers(t, "classic")
		for i := range 5000 {
			w.hub.Inject("socket.io-sockeye##", rediswire.AppendControl(nil, &rediswire.Control{
				Kind: rediswire.ControlHello, Server: fmt.Sprint("invented", i), Serial: 1,
				Members: []rediswire.ControlMember{{Namespace: "/", UID: strconv.Itoa(i)}, {Namespace: "/elsewhere", UID: "x"}},
			}))
		}
		synctest.Wait()
		if n := w.servers[0].stats().Servers; n != 1024 {
			t.Errorf("%d servers", n)
		}
		pass(t, 5*time.Second)
		if n := w.servers[0].stats().Servers; n != 2 {
			t.Errorf("%d servers when nothing is heard of the invented", n)
		}
		if found, err := w.servers[0].Fetch(t.Context(), adapter.Options{}); len(found) != 3 || err != nil {
			t.Errorf("%d, %v", len(found), err)
		}
	})
}

// expected counts the servers whose answers a question would wait for.
func expected(s *server) int {
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // so that it waits for none
	_, err := s.Count(ctx, adapter.Options{})
	var inc *adapter.Incomplete
	if !errors.As(err, &inc) {
		return 0
	}
	return inc.Expected
}

// The same with a real Redis: a server that ends without a word is named before the timeout of questions.
func TestMembers_KilledRedis(t *testing.T) {
	t.Parallel()
	for kind, cluster := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			redis := testkit.StartRedis(t)
			var servers [3]*server
			var drivers [3]*severable
			for i := range servers {
				drivers[i] = &severable{StreamDriver: driver(t, redis).(redisadapter.StreamDriver)}
				servers[i] = startCluster(t, cluster(drivers[i]))
				servers[i].host.Connect(t, fmt.Sprintf("socket-%d-aaaaaaaaaaa", i), "r")
			}
			for i, s := range servers[:2] {
				drivers[i].split.Store(true) // so that only who is known is expected
				testkit.Eventually(t, "they know each other", func() bool { return expected(s) == 2 })
				drivers[i].split.Store(false)
			}
			drivers[2].kill(t)
			found, err := servers[0].Fetch(bounded(t), adapter.Options{})
			var inc *adapter.Incomplete
			if !errors.As(err, &inc) || !errors.Is(err, adapter.ErrServerLeft) || len(inc.MissingServers) != 1 || len(found) != 2 {
				t.Errorf("%d, %v", len(found), err)
			}
			if n, err := servers[1].Count(bounded(t), adapter.Options{}); err != nil && !errors.Is(err, adapter.ErrServerLeft) || n != 2 {
				t.Errorf("count: %d, %v", n, err)
			}
		})
	}
}
