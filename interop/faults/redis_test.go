package faults

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/internal/testkit"
)

// pair is two servers on one Redis with a client each, which is in the room "r".
type pair struct {
	a, b   *server
	ca, cb *client
}

func startPair(t *testing.T, p plan) *pair {
	t.Helper()
	f := &pair{a: start(t, p), b: start(t, p)}
	f.ca, f.cb = connect(t, f.a.url, "r"), connect(t, f.b.url, "r")
	f.meet(t)
	return f
}

// meet waits until what either server emits arrives at the other one, in each way.
func (f *pair) meet(t *testing.T) {
	t.Helper()
	f.a.settled(t)
	f.b.settled(t)
	for _, room := range []string{"", "r"} {
		reaches(t, f.a, room, f.cb)
		reaches(t, f.b, room, f.ca)
	}
}

// goesOn checks that the clients of servers that emit get more, as they must whatever happens to Redis.
func goesOn(t *testing.T, clients map[*client]*storm) {
	t.Helper()
	for c, w := range clients {
		n := c.count(w.name)
		eventually(t, "clients of this server get what it emits", func() bool { return c.count(w.name) > n+50 })
	}
}

// flows waits until numbers come.
func flows(t *testing.T, c *client, w *storm, n int) {
	t.Helper()
	first := c.count(w.name)
	eventually(t, "numbers of "+w.name+" come", func() bool { return c.count(w.name) >= first+n })
}

// TestRedis_Restart: Redis is killed and comes back without its data. What is emitted meanwhile reaches clients of the
// same server without a pause; the gap is counted and reported; afterwards all is as before.
func TestRedis_Restart(t *testing.T) {
	t.Parallel()
	forKinds(t, func(t *testing.T, kind string) {
		t.Helper()
		redis := testkit.StartRedis(t)
		f := startPair(t, plan{Kind: kind, URL: redis.URL()})
		all, room := startStorm(t, f.a, "all", "", false), startStorm(t, f.a, "room", "r", false)
		flows(t, f.cb, all, 50)
		flows(t, f.cb, room, 50)
		gaps := f.b.stats().Gaps
		pid := redis.Pid()
		redis.Stop()
		unhealthy(t, f.a, f.b)
		if redis.Running() {
			t.Error("Redis runs")
		}
		goesOn(t, map[*client]*storm{f.ca: all})
		goesOn(t, map[*client]*storm{f.ca: room})
		redis.Start()
		if redis.Pid() == pid {
			t.Error("it is the same process")
		}
		healthy(t, f.a, f.b)
		f.meet(t)
		n, m := all.finish(t), room.finish(t)
		complete(t, f.ca, all, n)
		complete(t, f.ca, room, m)
		reaches(t, f.a, "", f.cb) // and with it all that was emitted before
		reaches(t, f.a, "r", f.cb)
		judged := ordered
		if kind == "streams" {
			judged = orderedButOneTurn
		}
		t.Logf("%d of %d and %d of %d lost", judged(t, f.cb, all, n), n, judged(t, f.cb, room, m), m)
		if f.b.stats().Gaps <= gaps || !f.b.reported("lost") {
			t.Errorf("the gap was not counted and reported: %+v, %v", f.b.stats(), f.b.allFaults())
		}
	})
}

// TestRedis_RestartWithData: what is in a stream survives a Redis that is killed and keeps its data, and what was on its
// way arrives once.
func TestRedis_RestartWithData(t *testing.T) {
	t.Parallel()
	redis := testkit.StartRedis(t, "--appendonly", "yes", "--appendfsync", "always")
	f := startPair(t, plan{Kind: "streams", URL: redis.URL()})
	wa, wb := startStorm(t, f.a, "a", "", false), startStorm(t, f.b, "b", "r", true)
	for range rounds(t, 2) {
		flows(t, f.cb, wa, 100)
		flows(t, f.ca, wb, 50)
		pid := redis.Pid()
		redis.Stop()
		unhealthy(t, f.a, f.b)
		goesOn(t, map[*client]*storm{f.ca: wa})
		redis.Start()
		if redis.Pid() == pid {
			t.Error("it is the same process")
		}
		healthy(t, f.a, f.b)
	}
	flows(t, f.cb, wa, 100)
	n, m := wa.finish(t), wb.finish(t)
	for _, c := range []*client{f.ca, f.cb} {
		complete(t, c, wa, n)
		complete(t, c, wb, m)
	}
}

// TestRedis_Frozen: Redis stands still for so long that it is noticed.
func TestRedis_Frozen(t *testing.T) {
	t.Parallel()
	forKinds(t, func(t *testing.T, kind string) {
		t.Helper()
		redis := testkit.StartRedis(t)
		f := startPair(t, plan{Kind: kind, URL: redis.URL() + "?write_timeout=2s"})
		w := startStorm(t, f.a, "a", "", false)
		flows(t, f.cb, w, 50)
		for range rounds(t, 1) {
			redis.Pause()
			eventually(t, "Redis stands still", func() bool { return still(t, redis.Pid()) })
			unhealthy(t, f.a, f.b)
			goesOn(t, map[*client]*storm{f.ca: w})
			redis.Resume()
			healthy(t, f.a, f.b)
			f.meet(t)
		}
		n := w.finish(t)
		complete(t, f.ca, w, n)
		if kind == "streams" {
			complete(t, f.cb, w, n)
			return
		}
		reaches(t, f.a, "", f.cb)
		t.Logf("%d of %d lost", ordered(t, f.cb, w, n), n)
		if f.b.stats().Gaps == 0 || !f.b.reported("lost") {
			t.Errorf("the gap was not counted and reported: %+v, %v", f.b.stats(), f.b.allFaults())
		}
	})
}

// still tells whether a process was stopped.
func still(t *testing.T, pid int) bool {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if os.IsNotExist(err) {
		testkit.Need(t, "/proc, to see whether a process stands still")
	}
	return bytes.Contains(stat, []byte(") T "))
}

// TestRedis_ConnectionsKilled: Redis ends the connections that subscribe, and then those that publish.
func TestRedis_ConnectionsKilled(t *testing.T) {
	t.Parallel()
	forKinds(t, func(t *testing.T, kind string) {
		t.Helper()
		redis := testkit.StartRedis(t)
		f := startPair(t, plan{Kind: kind, URL: redis.URL()})
		w := startStorm(t, f.a, "a", "", false)
		for range rounds(t, 2) {
			flows(t, f.cb, w, 50)
			before := f.b.stats().Gaps
			if n := redis.Do("CLIENT", "KILL", "TYPE", "pubsub"); n != int64(2) {
				t.Errorf("%v connections killed, want 2", n)
			}
			eventually(t, "the gap is counted", func() bool { return f.b.stats().Gaps > before })
			f.meet(t)
			if n, _ := redis.Do("CLIENT", "KILL", "TYPE", "normal").(int64); n < 2 {
				t.Errorf("%d connections killed", n)
			}
			healthy(t, f.a, f.b)
			f.meet(t)
		}
		n := w.finish(t)
		complete(t, f.ca, w, n)
		if kind == "streams" {
			complete(t, f.cb, w, n)
			return
		}
		reaches(t, f.a, "", f.cb)
		t.Logf("%d of %d lost", ordered(t, f.cb, w, n), n)
		if !f.b.reported("lost") {
			t.Errorf("the gap was not reported: %v", f.b.allFaults())
		}
	})
}

// TestRedis_OutputBuffer: a server stands still under load until Redis gives its connection up. With streams nothing is
// lost by that.
func TestRedis_OutputBuffer(t *testing.T) {
	t.Parallel()
	forKinds(t, func(t *testing.T, kind string) {
		t.Helper()
		redis := testkit.StartRedis(t)
		redis.Do("CONFIG", "SET", "client-output-buffer-limit", "pubsub 1mb 0 0")
		p := plan{Kind: kind, URL: redis.URL()}
		a, b := start(t, p), spawn(t, p)
		cb := connect(t, b.url, "r")
		reaches(t, a, "", cb)
		w := startStorm(t, a, "a", "", false)
		flows(t, cb, w, 50)
		subscribers := func() int {
			text, _ := redis.Do("CLIENT", "LIST", "TYPE", "pubsub").(string)
			return strings.Count(text, "\n")
		}
		if n := subscribers(); n != 2 {
			t.Fatalf("%d subscribers", n)
		}
		b.Pause()
		load := strings.Repeat("x", 16<<10)
		if kind != "streams" {
			for i := 0; i < 4000 && subscribers() == 2; i++ {
				for range 8 {
					if err := a.EmitContext(bounded(t), "load", load); err != nil {
						t.Fatal(err)
					}
				}
			}
			if n := subscribers(); n != 1 {
				t.Fatalf("%d subscribers, want 1", n)
			}
		} else {
			first := w.count()
			eventually(t, "the load of a while", func() bool { return w.count() > first+200 })
			for range 100 {
				if err := a.EmitContext(bounded(t), "load", load); err != nil {
					t.Fatal(err)
				}
			}
		}
		b.Resume()
		reaches(t, a, "", cb)
		reaches(t, a, "r", cb)
		n := w.finish(t)
		if kind == "streams" {
			complete(t, cb, w, n)
			return
		}
		reaches(t, a, "", cb)
		t.Logf("%d of %d lost", ordered(t, cb, w, n), n)
		var stats struct{ Gaps int }
		if cb.ask(&stats, "stats"); stats.Gaps != 1 {
			t.Errorf("%d gaps", stats.Gaps)
		}
	})
}
