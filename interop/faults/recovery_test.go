package faults

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/testkit"
)

// returning are clients that lose their server and come back to others, while a and b emit all the time.
type returning struct {
	t         *testing.T
	p         plan
	a, b      *server
	wa, wb    *storm
	recovered int
}

func startReturning(t *testing.T) *returning {
	t.Helper()
	redis := testkit.StartRedis(t)
	f := &returning{t: t, p: plan{Kind: "streams", URL: redis.URL(), Recovery: true}}
	f.a, f.b = start(t, f.p), start(t, f.p)
	f.wa, f.wb = startStorm(t, f.a, "a", "", true), startStorm(t, f.b, "b", "r", false)
	return f
}

// connect connects clients to a server, and has them get numbers.
func (f *returning) connect(url string, n int) []*client {
	f.t.Helper()
	clients := make([]*client, n)
	for i := range clients {
		clients[i] = connect(f.t, url, "r", "own")
	}
	for _, c := range clients {
		f.flow(c)
	}
	return clients
}

func (f *returning) flow(c *client) {
	f.t.Helper()
	flows(f.t, c, f.wa, 30)
	flows(f.t, c, f.wb, 30)
}

// back has clients come back to a and b in turn, when they have missed something. Each must get its session back.
func (f *returning) back(clients []*client) {
	f.t.Helper()
	missed := f.wa.count()
	eventually(f.t, "there is something to miss", func() bool { return f.wa.count() > missed+20 })
	for i, c := range clients {
		c.dial([]*server{f.a, f.b}[i%2].url)
		if c.isRecovered() {
			f.recovered++
		} else {
			f.t.Errorf("client %d was not recovered", i)
		}
	}
	for _, c := range clients {
		f.flow(c)
	}
}

// whole checks that from the first to the last number of each publisher that a client got, none is missing and each came
// once and in order.
func whole(t *testing.T, clients []*client, publishers ...string) {
	t.Helper()
	for i, c := range clients {
		for _, name := range publishers {
			got := c.numbers(name)
			if len(got) == 0 {
				t.Errorf("client %d: nothing of %s", i, name)
				continue
			}
			if v := judge(got, got[0], got[len(got)-1]+1); len(v.lost)+len(v.doubled)+len(v.disordered) > 0 {
				t.Errorf("client %d: %s: %v", i, name, v)
			}
		}
	}
}

// TestRecovery_ServerKilled: a server with clients is killed under load, round after round. Its clients come back to
// others, get their sessions back and with them all that they missed, once and in order, also what the server that was
// killed had emitted.
func TestRecovery_ServerKilled(t *testing.T) {
	t.Parallel()
	f := startReturning(t)
	n := rounds(t, 3)
	for range n {
		victim := spawn(t, f.p)
		clients := f.connect(victim.url, 4)
		clients[0].ask(nil, "storm", victim.url)
		for _, c := range clients {
			eventually(t, "what the server emits comes", func() bool { return c.count(victim.url) > 30 })
		}
		victim.Kill()
		if victim.Running() {
			t.Fatal("the server runs")
		}
		for _, c := range clients {
			eventually(t, "the client knows", c.ended)
		}
		f.back(clients)
		whole(t, clients, "a", "b", victim.url)
		for _, c := range clients { // all have what is in the stream, which is all that any of them has seen
			if first, last := clients[0].last(victim.url), c.last(victim.url); first != last {
				t.Errorf("the last number of the killed server is %d and %d", first, last)
			}
			c.close()
		}
	}
	t.Logf("%d of %d recovered", f.recovered, 4*n)
}

// TestRecovery_ServerFrozen: a server stands still, and its clients go elsewhere. When it goes on it takes none of their
// sessions back, and they get nothing twice.
func TestRecovery_ServerFrozen(t *testing.T) {
	t.Parallel()
	f := startReturning(t)
	n := rounds(t, 1)
	for range n {
		victim := spawn(t, f.p)
		clients := f.connect(victim.url, 4)
		victim.Pause()
		for _, c := range clients {
			c.close()
		}
		f.back(clients)
		victim.Resume()
		eventually(t, "it goes on", func() bool { return f.a.stats().Servers == 2 })
		witness := connect(t, victim.url, "r")
		f.flow(witness)
		for _, c := range clients { // its session is good for another time
			c.close()
		}
		f.back(clients)
		whole(t, clients, "a", "b")
		for _, c := range append(clients, witness) {
			c.close()
		}
		victim.Kill()
		eventually(t, "it is gone", func() bool { return f.a.stats().Servers == 1 })
	}
	t.Logf("%d of %d recovered", f.recovered, 8*n)
}

// TestRecovery_RollingRestart: servers shut down in order, one after the other, and others start. Clients lose nothing.
func TestRecovery_RollingRestart(t *testing.T) {
	t.Parallel()
	f := startReturning(t)
	n := rounds(t, 3)
	s := start(t, f.p)
	clients := f.connect(s.url, 4)
	for range n {
		next := start(t, f.p)
		ctx, cancel := context.WithTimeout(t.Context(), testkit.Scale(20*time.Second))
		if err := s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		cancel()
		s = next
		for _, c := range clients {
			eventually(t, "the client knows", c.ended)
			c.dial(s.url)
			if !c.isRecovered() {
				t.Error("not recovered")
			}
			f.flow(c)
		}
	}
	whole(t, clients, "a", "b")
}

// TestRecovery_Trimmed: a client stays away for longer than the stream reaches back. It is not recovered, rather than in
// part, and goes on as a new one.
func TestRecovery_Trimmed(t *testing.T) {
	t.Parallel()
	redis := testkit.StartRedis(t)
	p := plan{Kind: "streams", URL: redis.URL(), Recovery: true, MaxLen: 100}
	a, b := start(t, p), start(t, p)
	c := connect(t, a.url, "r")
	w := startStorm(t, b, "b", "", true)
	flows(t, c, w, 50)
	c.close()
	away := w.count()
	eventually(t, "the stream was trimmed", func() bool { return w.count() > away+1000 })
	if n, _ := redis.Do("XLEN", "socket.io").(int64); n > 500 {
		t.Errorf("%d entries", n)
	}
	before := c.count("b")
	c.dial(b.url)
	if c.isRecovered() {
		t.Error("recovered, with a gap")
	}
	flows(t, c, w, 50)
	w.end()
	if got := c.numbers("b"); got[before] < away || !slices.IsSorted(got) {
		t.Errorf("after %d came %d", got[before-1], got[before])
	}
}
