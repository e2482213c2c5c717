package main

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/testkit"
)

// shareRoom has a client on each of two servers join a room, and each hear what the other publishes there. It gives one.
func shareRoom(t *testing.T, one, two process) *chatter {
	t.Helper()
	a, b := join(t, one.url), join(t, two.url)
	for _, c := range []*chatter{a, b} {
		c.send(`20["join","room"]`)
		c.want(`30[{"ok":true}]`)
	}
	for i, from := range []*chatter{a, b} {
		to := []*chatter{b, a}[i]
		// A room may have a channel of its own, which the other server subscribes to by and by.
		heard := fmt.Sprintf(`2["news","from %d"]`, i)
		testkit.Eventually(t, heard, func() bool {
			from.send(fmt.Sprintf(`2["publish",{"room":"room","event":"news","data":"from %d"}]`, i))
			return to.has(heard, 50*time.Millisecond)
		})
	}
	return a
}

// knowEachOther is shareRoom, and each server is told of the socket of the other. Servers that listen at replicas of their
// own cannot be counted, and know each other when they have told of themselves.
func knowEachOther(t *testing.T, one, two process) {
	t.Helper()
	a := shareRoom(t, one, two)
	testkit.Eventually(t, "both are here", func() bool {
		a.send(`21["sockeye:who","room"]`)
		for {
			if rest, ok := strings.CutPrefix(a.next(), "31"); ok {
				return strings.Count(rest, `"id"`) == 2
			}
		}
	})
}

// has tells whether a packet comes within the time; what comes before it is dropped.
func (c *chatter) has(packet string, within time.Duration) bool {
	limit := time.After(testkit.Scale(within))
	for {
		select {
		case got := <-c.in:
			if got == packet {
				return true
			}
		case <-limit:
			return false
		}
	}
}

// next gives the next packet.
func (c *chatter) next() string {
	c.t.Helper()
	select {
	case got := <-c.in:
		return got
	case <-time.After(testkit.Scale(20 * time.Second)):
		c.t.Fatal("nothing received")
		return ""
	}
}

func TestServe_Modes(t *testing.T) {
	t.Parallel()
	for mode, other := range map[string]string{"pubsub": "classic", "sharded": "sharded", "streams": "streams"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			r := testkit.StartRedis(t)
			one := serving(t, nil, "--addr", "127.0.0.1:0", "--redis", r.URL(), "--redis-mode", mode)
			two := serving(t, nil, "--addr", "127.0.0.1:0", "--redis", r.URL(), "--redis-mode", other)
			want := ", with Redis at " + r.Addr + ", " + mode + "\n"
			if mode == modePubSub {
				want = ", with Redis at " + r.Addr + "\n"
			}
			if !strings.HasSuffix(one.out.String(), want) {
				t.Errorf("says %q", one.out)
			}
			knowEachOther(t, one, two)
			for _, p := range []process{one, two} {
				if _, body := fetch(t, p.url+"/healthz"); strings.TrimSpace(body) != `{"status":"ok","redis":"ok"}` {
					t.Error(body)
				}
				if code := p.stop(); code != exitOK {
					t.Errorf("exit %d: %s", code, p.errors)
				}
			}
		})
	}
}

// TestServe_ReplicaSplit: both publish to the master, and each listens at a replica of its own.
func TestServe_ReplicaSplit(t *testing.T) {
	t.Parallel()
	master := testkit.StartRedis(t)
	one, two := testkit.StartReplica(t, master), testkit.StartReplica(t, master)
	for _, mode := range []string{modePubSub, modeStreams} {
		p := serving(t, nil, "--addr", "127.0.0.1:0",
			"--redis", master.URL(), "--redis-sub", one.URL(), "--redis-mode", mode, "--redis-prefix", mode)
		if want := "Redis at " + master.Addr + " (subscribed at " + one.Addr + ")"; !strings.Contains(p.out.String(), want) {
			t.Errorf("says %q", p.out)
		}
		q := serving(t, environment{
			"PUB_HOST": "127.0.0.1", "PUB_PORT": strconv.Itoa(master.Port()), "SUB_HOST": "127.0.0.1", "SUB_PORT": strconv.Itoa(two.Port()),
			"REDIS_HOST": "unused",
		}, "--addr", "127.0.0.1:0", "--redis-mode", mode, "--redis-prefix", mode)
		knowEachOther(t, p, q)
	}
}

func TestServe_Sentinel(t *testing.T) {
	t.Parallel()
	master := testkit.StartRedis(t)
	testkit.StartReplica(t, master)
	s := testkit.StartSentinels(t, master, 3)
	url := "redis+sentinel://" + strings.Join(s.Addrs(), ",") + "/" + s.Name
	var both [2]process
	for i := range both {
		both[i] = serving(t, nil, "--addr", "127.0.0.1:0", "--redis", url)
	}
	knowEachOther(t, both[0], both[1])
}

func TestServe_RedisCluster(t *testing.T) {
	t.Parallel()
	c := testkit.StartCluster(t, 3, 0)
	url := "redis+cluster://" + strings.Join(c.Addrs(), ",")
	for _, mode := range []string{modePubSub, modeSharded, modeStreams} {
		var both [2]process
		for i := range both {
			both[i] = serving(t, nil, "--addr", "127.0.0.1:0", "--redis", url, "--redis-mode", mode, "--redis-prefix", mode)
		}
		knowEachOther(t, both[0], both[1])
	}
}

// TestServe_PrefixInUse: streams and pubsub on the same names do not go together.
func TestServe_PrefixInUse(t *testing.T) {
	t.Parallel()
	r := testkit.StartRedis(t)
	serving(t, nil, "--addr", "127.0.0.1:0", "--redis", r.URL())
	streams := []string{"--addr", "127.0.0.1:0", "--redis", r.URL(), "--redis-mode", "streams"}
	code, _, errs := command(t, nil, append([]string{"serve"}, streams...)...)
	if code != exitError || !strings.Contains(errs, "--redis-prefix") || strings.Count(errs, "\n") != 1 {
		t.Errorf("exit %d: %s", code, errs)
	}
	one := serving(t, nil, append(streams, "--redis-prefix", "other")...)
	two := serving(t, nil, append(streams, "--redis-prefix", "other")...)
	knowEachOther(t, one, two)
}

// TestServe_NoSharding: a Redis that does not know what sharded asks is too old, or forbids it.
func TestServe_NoSharding(t *testing.T) {
	t.Parallel()
	r := testkit.StartRedis(t, "--rename-command", "PUBSUB", "")
	code, _, errs := command(t, nil, "serve", "--addr", "127.0.0.1:0", "--redis", r.URL(), "--redis-mode", "sharded")
	if code != exitError || !strings.Contains(errs, "needs Redis 7: ") || strings.Count(errs, "\n") != 1 {
		t.Errorf("exit %d: %s", code, errs)
	}
	t.Log(errs)
}

// TestServe_StreamsOutage: with streams what was sent while Redis was away arrives afterwards.
func TestServe_StreamsOutage(t *testing.T) {
	t.Parallel()
	r := testkit.StartRedis(t, "--appendonly", "yes", "--appendfsync", "always")
	args := []string{"--addr", "127.0.0.1:0", "--redis", r.URL(), "--redis-mode", "streams"}
	one, two := serving(t, nil, args...), serving(t, nil, args...)
	a, far := join(t, one.url), join(t, two.url)
	health := func(want string) {
		t.Helper()
		for _, p := range []process{one, two} {
			testkit.Eventually(t, "healthz says "+want, func() bool {
				_, body := fetch(t, p.url+"/healthz")
				return strings.TrimSpace(body) == want
			})
		}
	}
	a.send(`2["message","before"]`)
	far.want(`2["message","before"]`)
	r.Stop()
	health(`{"status":"degraded","redis":"degraded"}`)
	near := join(t, one.url)
	a.send(`2["message","meanwhile"]`)
	near.want(`2["message","meanwhile"]`)
	r.Start()
	far.want(`2["message","meanwhile"]`)
	health(`{"status":"ok","redis":"ok"}`)
	a.send(`2["message","after"]`)
	far.want(`2["message","after"]`)
}
