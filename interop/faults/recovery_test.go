package faults

import (
	"testing"

	"github.com/sockeye-io/sockeye/internal/testkit"
)

// TestRecovery_ServerKilled: a server with clients is killed under load, round after round. Its clients come back to
// others, get their sessions back and with them all that they missed, once and in order. The server that dies emits too;
// of that may be missing only what it had not told Redis.
func TestRecovery_ServerKilled(t *testing.T) {
	t.Parallel()
	redis := testkit.StartRedis(t)
	p := plan{Kind: "streams", URL: redis.URL(), Recovery: true}
	a, b := start(t, p), start(t, p)
	wa, wb := startStorm(t, a, "a", "", true), startStorm(t, b, "b", "r", false)
	const each = 4
	recovered := 0
	n := rounds(t, 3)
	var all []*client
	for round := range n {
		victim := spawn(t, p)
		clients := make([]*client, each)
		for i := range clients {
			clients[i] = connect(t, victim.url, "r", "own")
		}
		all = append(all, clients...)
		clients[0].ask(nil, "storm", victim.url)
		starts := make([]map[string]int, each)
		for i, c := range clients {
			flows(t, c, wa, 30)
			flows(t, c, wb, 30)
			eventually(t, "what the server emits comes", func() bool { return c.count(victim.url) > 30 })
			starts[i] = map[string]int{"a": c.numbers("a")[0], "b": c.numbers("b")[0], victim.url: c.numbers(victim.url)[0]}
		}
		victim.Kill()
		if victim.Running() {
			t.Fatal("the server runs")
		}
		for i, c := range clients {
			eventually(t, "the client knows", c.ended)
			missed := wa.count()
			eventually(t, "there is more to miss", func() bool { return wa.count() > missed+20*(round+1) })
			to := []*server{a, b}[i%2]
			c.dial(to.url)
			if c.isRecovered() {
				recovered++
			} else {
				t.Errorf("round %d: client %d was not recovered", round, i)
			}
			flows(t, c, wa, 30)
			flows(t, c, wb, 30)
		}
		for i, c := range clients {
			for name, first := range starts[i] {
				got := c.numbers(name)
				if v := judge(got, first, got[len(got)-1]+1); len(v.lost)+len(v.doubled)+len(v.disordered) > 0 {
					t.Errorf("round %d: client %d: %s: %v", round, i, name, v)
				}
			}
		}
		// All of them saw the same of the server that is gone, or less where they had left.
		last := clients[0].last(victim.url)
		for _, c := range clients[1:] {
			if c.last(victim.url) != last {
				t.Errorf("round %d: the last of the killed server: %d and %d", round, last, c.last(victim.url))
			}
		}
	}
	na, nb := wa.finish(t), wb.finish(t)
	for i, c := range all {
		eventually(t, "the last numbers", func() bool { return c.last("a") == na-1 && c.last("b") == nb-1 })
		for name, end := range map[string]int{"a": na, "b": nb} {
			got := c.numbers(name)
			if v := judge(got, got[0], end); len(v.lost)+len(v.doubled)+len(v.disordered) > 0 {
				t.Errorf("client %d: %s: %v", i, name, v)
			}
		}
	}
	t.Logf("%d of %d recovered", recovered, n*each)
}
