package faults

import (
	"testing"

	"github.com/sockeye-io/sockeye/internal/testkit"
)

// partitions are ways to come between a server and Redis.
var partitions = []struct {
	name  string
	begin func(p *testkit.Proxy)
}{
	{"cut", (*testkit.Proxy).Cut},
	{"to Redis", func(p *testkit.Proxy) { p.Hang(testkit.ToServer) }},
	{"from Redis", func(p *testkit.Proxy) { p.Hang(testkit.ToClient) }},
	{"both ways", func(p *testkit.Proxy) { p.Hang(testkit.ToServer); p.Hang(testkit.ToClient) }},
}

// TestServer_Partitioned: one server does not reach Redis, or does not hear it. It knows, its clients get on, as those of
// the other one do, and it is found again. What hung on its way arrives afterwards, where nobody waits for it any more.
func TestServer_Partitioned(t *testing.T) {
	t.Parallel()
	forKinds(t, func(t *testing.T, kind string) {
		t.Helper()
		redis := testkit.StartRedis(t)
		proxy := testkit.StartProxy(t, redis.Addr)
		f := &pair{
			a: start(t, plan{Kind: kind, URL: "redis://" + proxy.Addr + "?write_timeout=1s"}),
			b: start(t, plan{Kind: kind, URL: redis.URL()}),
		}
		f.ca, f.cb = connect(t, f.a.url, "r"), connect(t, f.b.url, "r")
		f.meet(t)
		wa, wb := startStorm(t, f.a, "a", "", false), startStorm(t, f.b, "b", "r", false)
		for range rounds(t, 1) {
			for _, p := range partitions {
				flows(t, f.cb, wa, 50)
				flows(t, f.ca, wb, 50)
				taken := proxy.Connections()
				p.begin(proxy)
				unhealthy(t, f.a)
				goesOn(t, map[*client]*storm{f.ca: wa})
				goesOn(t, map[*client]*storm{f.cb: wb})
				if err := f.b.Health(); err != nil {
					t.Errorf("%s: the other server: %v", p.name, err)
				}
				eventually(t, "it tries again", func() bool { return proxy.Connections() > taken })
				proxy.Heal()
				healthy(t, f.a)
				f.meet(t)
			}
		}
		na, nb := wa.finish(t), wb.finish(t)
		complete(t, f.ca, wa, na)
		complete(t, f.cb, wb, nb)
		if kind == "streams" {
			complete(t, f.cb, wa, na)
			complete(t, f.ca, wb, nb)
			return
		}
		f.meet(t)
		t.Logf("%d of %d and %d of %d lost", ordered(t, f.cb, wa, na), na, ordered(t, f.ca, wb, nb), nb)
		if f.a.stats().Gaps == 0 || !f.a.reported("lost") {
			t.Errorf("the gaps were not counted and reported: %+v", f.a.stats())
		}
	})
}
