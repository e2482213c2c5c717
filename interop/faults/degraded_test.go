package faults

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/testkit"
)

// TestRedis_Slow: Redis is 200 ms away. Clients of a server get what it emits long before those of others do, and what
// it emits in a burst shares round trips.
func TestRedis_Slow(t *testing.T) {
	t.Parallel()
	forKinds(t, func(t *testing.T, kind string) {
		t.Helper()
		redis := testkit.StartRedis(t)
		proxy := testkit.StartProxy(t, redis.Addr)
		far, near := plan{Kind: kind, URL: "redis://" + proxy.Addr}, plan{Kind: kind, URL: redis.URL()}
		f := &pair{a: start(t, far), b: start(t, near)}
		f.ca, f.cb = connect(t, f.a.url, "r"), connect(t, f.b.url, "r")
		f.meet(t)
		one := start(t, far)
		proxy.Delay(testkit.ToServer, 200*time.Millisecond)
		w := startStorm(t, f.a, "a", "", false)
		eventually(t, "clients of this server are ahead", func() bool { return f.ca.count("a") >= f.cb.count("a")+50 })
		n := w.finish(t)
		complete(t, f.ca, w, n)
		complete(t, f.cb, w, n)

		const burst = 2000
		for i := range burst {
			if err := f.a.Emit("n", "burst", i); err != nil {
				t.Fatal(err)
			}
		}
		turns := 0
		for ; f.cb.count("burst") < burst; turns++ {
			if err := one.EmitContext(bounded(t), "turn"); err != nil {
				t.Fatal(err)
			}
		}
		if turns > burst/20 {
			t.Errorf("%d messages took %d round trips", burst, turns)
		}
		if v := judge(f.cb.numbers("burst"), 0, burst); len(v.lost)+len(v.doubled)+len(v.disordered) > 0 {
			t.Error(v)
		}
		if f.a.stats().Gaps+f.b.stats().Gaps > 0 {
			t.Errorf("gaps: %+v %+v", f.a.stats(), f.b.stats())
		}
	})
}

const (
	user     = "app"
	userPass = "app-secret"
)

// refusals are ways for Redis to say no to what it has taken before. Of those that concern only writes, pub/sub, which
// is none, must not notice anything.
var refusals = []struct {
	name       string
	begin, end [][]string
	text       string // in the error
	all        bool   // not only writes
}{
	{
		"out of memory",
		[][]string{{"CONFIG", "SET", "maxmemory", "1"}},
		[][]string{{"CONFIG", "SET", "maxmemory", "0"}},
		"OOM", false,
	},
	{
		"read only",
		[][]string{{"REPLICAOF", "127.0.0.1", "1"}},
		[][]string{{"REPLICAOF", "NO", "ONE"}},
		"READONLY", false,
	},
	{
		"user switched off",
		[][]string{{"ACL", "SETUSER", user, "off"}, {"CLIENT", "KILL", "USER", user}},
		[][]string{{"ACL", "SETUSER", user, "on"}},
		"WRONGPASS", true,
	},
	{
		"commands forbidden",
		[][]string{{"ACL", "SETUSER", user, "-publish", "-spublish", "-xadd"}},
		[][]string{{"ACL", "SETUSER", user, "+@all"}},
		"NOPERM", true,
	},
}

// TestRedis_Refuses: Redis answers and refuses. That is told by Health and reported, clients of the same server notice
// nothing, and what can be tried again is, until Redis takes it.
func TestRedis_Refuses(t *testing.T) {
	t.Parallel()
	forKinds(t, func(t *testing.T, kind string) {
		t.Helper()
		redis := testkit.StartRedis(t, "--user", user, "on", ">"+userPass, "~*", "&*", "+@all")
		url := strings.Replace(redis.URL(), "//", "//"+user+":"+userPass+"@", 1)
		f := startPair(t, plan{Kind: kind, URL: url})
		w := startStorm(t, f.a, "a", "", false)
		for _, r := range refusals {
			flows(t, f.cb, w, 50)
			for _, command := range r.begin {
				redis.Do(command...)
			}
			if kind == "streams" || r.all {
				unhealthy(t, f.a)
				eventually(t, r.name+" is said", func() bool {
					return strings.Contains(fmt.Sprint(f.a.Health()), r.text) || f.a.reported(r.text)
				})
			} else {
				flows(t, f.cb, w, 50)
			}
			goesOn(t, map[*client]*storm{f.ca: w})
			for _, command := range r.end {
				redis.Do(command...)
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
	})
}

// oddRooms are names that could be taken for something else in the name of a channel.
func oddRooms(ids ...string) []string {
	return append(ids, "#", "##", "x", "x#", "#x", "*", "?", "[a", "[a]", `\`, " ", "two words", "/", "/chat",
		"-request#/#", "\u00e4\u20ac", "\U0001f41f", "\x00", "\r\nPING\r\n", "a,b", "\"{", "__proto__",
		strings.Repeat("r", 20), strings.Repeat("\u20ac", 170), strings.Repeat("m", 512))
}

// TestRooms_Odd: whatever a room is called, its clients on either server get what is for it as those of one server alone
// do: once, and no others do.
func TestRooms_Odd(t *testing.T) {
	t.Parallel()
	forKinds(t, func(t *testing.T, kind string) {
		t.Helper()
		redis := testkit.StartRedis(t)
		f := startPair(t, plan{Kind: kind, URL: redis.URL()})
		rooms := oddRooms(f.ca.id(), f.cb.id())
		type member struct {
			*client
			room string
		}
		var members []member
		for _, s := range []*server{f.a, f.b} {
			for _, room := range rooms {
				members = append(members, member{connect(t, s.url, room), room})
			}
		}
		f.a.settled(t)
		f.b.settled(t)
		for i, room := range rooms {
			for _, s := range []*server{f.a, f.b} {
				if err := s.To(room).EmitContext(bounded(t), fmt.Sprint("to ", i)); err != nil {
					t.Fatal(err)
				}
				if err := s.To("none", room).Except("no").EmitContext(bounded(t), fmt.Sprint("also to ", i)); err != nil {
					t.Fatal(err)
				}
				if err := s.Of("/").All().Except(room).EmitContext(bounded(t), fmt.Sprint("all but ", i)); err != nil {
					t.Fatal(err)
				}
				n, err := s.To(room).Count(context.WithoutCancel(t.Context()))
				want := 2
				if i < 2 {
					want = 3 // the one whose own room it is
				}
				if err != nil || n != want {
					t.Errorf("%q: %d sockets, want %d: %v", room, n, want, err)
				}
			}
		}
		want := 4 + 2*(len(rooms)-1)
		for _, m := range members {
			eventually(t, "all events", func() bool { return m.total() >= want })
			for i, room := range rooms {
				to, but := 2, 0
				if room != m.room {
					to, but = 0, 2
				}
				got := []int{m.times(fmt.Sprint("to ", i)), m.times(fmt.Sprint("also to ", i)), m.times(fmt.Sprint("all but ", i))}
				if got[0] != to || got[1] != to || got[2] != but {
					t.Errorf("client in %q: what is for %q came %d times", m.room, room, got)
				}
			}
		}
		for i, c := range []*client{f.ca, f.cb} {
			if n := c.times(fmt.Sprint("to ", i)); n != 2 {
				t.Errorf("what is for an id came %d times", n)
			}
		}
	})
}
