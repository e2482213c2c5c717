package faults

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/internal/testkit"
)

// trio is a pair of servers for each kind of adapter, on the same Redis, with servers that emit all the time.
type trio struct {
	t     *testing.T
	pairs map[string]*pair
	a, b  map[string]*storm // what the servers of a pair emit, by kind
	keys  map[string]string

	// wanders says that what is published may come by another master than before. The last messages by the old one then
	// race with the first by the new one.
	wanders bool

	// ends counts masters that were killed or frozen. In one turn Redis gives an entry to who reads, to its replicas and
	// confirms it. Where it ends in between, an entry that was confirmed may be lost, or one that was not is appended
	// again though a server has it: those of the last turn, here one for each storm, since storms wait.
	ends int
}

// startTrio starts the servers. With streams they wait for each event until Redis has accepted it.
func startTrio(t *testing.T, url string, keys map[string]string) *trio {
	t.Helper()
	f := &trio{t: t, pairs: map[string]*pair{}, a: map[string]*storm{}, b: map[string]*storm{}, keys: keys}
	for _, kind := range kinds {
		f.pairs[kind] = startPair(t, plan{Kind: kind, URL: url, Key: keys[kind]})
	}
	for kind, p := range f.pairs {
		f.a[kind] = startStorm(t, p.a, "a", "", kind == "streams")
		f.b[kind] = startStorm(t, p.b, "b", "r", kind == "streams")
	}
	f.flow()
	return f
}

// flow waits until everything works: what servers emit arrives at the others.
func (f *trio) flow() {
	f.t.Helper()
	f.t.Logf("streams: %d and %d so far", f.a["streams"].count(), f.b["streams"].count())
	for kind, p := range f.pairs {
		healthy(f.t, p.a, p.b)
		flows(f.t, p.cb, f.a[kind], 50)
		flows(f.t, p.ca, f.b[kind], 50)
	}
}

// gaps counts those that a server has had.
func (f *trio) gaps(kind string) uint64 { return f.pairs[kind].b.stats().Gaps }

// finish ends the storms. With streams nothing that a Redis accepted and outlived may be lost; with pub/sub nothing may be
// doubled; clients of a server get all that it emits, once.
func (f *trio) finish() {
	f.t.Helper()
	for kind, p := range f.pairs {
		n, m := f.a[kind].finish(f.t), f.b[kind].finish(f.t)
		complete(f.t, p.ca, f.a[kind], n)
		complete(f.t, p.cb, f.b[kind], m)
		if kind == "streams" {
			f.accepted(p.cb, f.a[kind], n)
			f.accepted(p.ca, f.b[kind], m)
			continue
		}
		p.meet(f.t)
		if f.wanders {
			lostN, outN := once(f.t, p.cb, f.a[kind], n)
			lostM, outM := once(f.t, p.ca, f.b[kind], m)
			f.t.Logf("%s: %d of %d and %d of %d lost, %d and %d out of order", kind, lostN, n, lostM, m, outN, outM)
			continue
		}
		f.t.Logf("%s: %d of %d and %d of %d lost",
			kind, ordered(f.t, p.cb, f.a[kind], n), n, ordered(f.t, p.ca, f.b[kind], m), m)
	}
}

// accepted checks that all that Redis accepted came, once and in order, but for what a master may take with it.
func (f *trio) accepted(c *client, w *storm, n int) {
	f.t.Helper()
	eventually(f.t, "the last number of "+w.name, func() bool { return c.last(w.name) == n-1 })
	v := judge(c.numbers(w.name), 0, n)
	if len(v.disordered) > 0 || len(v.lost) > f.ends || len(v.doubled) > f.ends {
		f.t.Errorf("%s: of %d: %v", w.name, n, v)
	}
	f.t.Logf("streams: of %d with %d masters that ended: %v", n, f.ends, v)
}

// keysAt gives keys for which the channels of the sharded adapter for all rooms, and the stream, are at Nodes[owner].
func keysAt(c *testkit.Cluster, owner int) map[string]string {
	find := func(suffix string) string {
		for k := 0; ; k++ {
			if key := fmt.Sprintf("key%d", k); c.Owner(c.Slot(key+suffix), 0) == owner {
				return key
			}
		}
	}
	return map[string]string{"classic": "classic", "sharded": find("#/#"), "streams": find("")}
}

// TestCluster_Faults: in a Redis Cluster the slots of the channel and of the stream move, a replica takes over by command,
// then its master is killed, and the one after it stands still.
func TestCluster_Faults(t *testing.T) {
	t.Parallel()
	c := testkit.StartCluster(t, 3, 1)
	keys := keysAt(c, 0)
	f := startTrio(t, "redis+cluster://"+strings.Join(c.Addrs(), ",")+"?write_timeout=2s", keys)
	f.wanders = true
	slots := []int{c.Slot(keys["sharded"] + "#/#"), c.Slot(keys["streams"])}
	at := func(slot, node int) bool { return c.Owner(slot, node) == node }

	for range rounds(t, 1) {
		for _, way := range [][2]int{{0, 1}, {1, 0}, {0, 1}} {
			before := f.gaps("sharded")
			for _, slot := range slots {
				c.Move(slot, way[0], way[1])
				if !at(slot, way[1]) {
					t.Fatalf("slot %d is not at %d", slot, way[1])
				}
			}
			eventually(t, "the gap is counted", func() bool { return f.gaps("sharded") > before })
			f.flow()
		}
		c.Move(slots[0], 1, 0)
		if slots[1] != slots[0] {
			c.Move(slots[1], 1, 0)
		}
		f.flow()
	}

	before := f.gaps("sharded")
	c.Failover(3)
	eventually(t, "the replica has the slots", func() bool { return at(slots[0], 3) && at(slots[1], 3) })
	eventually(t, "the gap is counted", func() bool { return f.gaps("sharded") > before })
	f.flow()

	follows := func(i, master int) {
		eventually(t, "it follows, and its master knows", func() bool {
			n := c.Nodes[i]
			return n.Info("replication", "role") == "slave" && n.Info("replication", "master_link_status") == "up" &&
				strings.Contains(c.Nodes[master].Info("replication", "slave0"), "state=online")
		})
	}
	follows(0, 3)
	before = f.gaps("sharded")
	c.Nodes[3].Stop()
	f.ends++
	eventually(t, "the other one has the slots", func() bool { return at(slots[0], 0) && at(slots[1], 0) })
	eventually(t, "the gap is counted", func() bool { return f.gaps("sharded") > before })
	f.flow()

	c.Nodes[3].Start()
	follows(3, 0)
	before = f.gaps("sharded")
	c.Nodes[0].Pause()
	f.ends++
	eventually(t, "it stands still", func() bool { return still(t, c.Nodes[0].Pid()) })
	eventually(t, "the other one has the slots", func() bool { return at(slots[0], 3) && at(slots[1], 3) })
	eventually(t, "the gap is counted", func() bool { return f.gaps("sharded") > before })
	f.flow()
	c.Nodes[0].Resume()
	follows(0, 3)
	f.flow()
	f.finish()
}

const (
	password  = "secret"  // of who uses Redis
	processes = "between" // of Redis and Sentinels for each other
)

// watched is a master with two replicas, which takes no writes without any, and three Sentinels. What they say to each
// other is said as users of their own.
type watched struct {
	t         *testing.T
	nodes     []*testkit.Redis
	sentinels *testkit.Sentinels
}

func startWatched(t *testing.T) *watched {
	t.Helper()
	args := []string{
		"--requirepass", password, "--min-replicas-to-write", "1", "--min-replicas-max-lag", "2",
		"--masteruser", "replica", "--masterauth", processes,
		"--user", "replica", "on", ">" + processes, "+psync", "+replconf", "+ping",
		"--user", "sentinel", "on", ">" + processes, "allchannels", "+@all",
	}
	master := testkit.StartRedis(t, args...)
	w := &watched{t: t, nodes: []*testkit.Redis{master, testkit.StartReplica(t, master, args...), testkit.StartReplica(t, master, args...)}}
	eventually(t, "it has replicas", func() bool { return master.Info("replication", "min_slaves_good_slaves") == "2" })
	w.sentinels = testkit.StartSentinels(t, master, 3,
		"sentinel auth-user mymaster sentinel", "sentinel auth-pass mymaster "+processes)
	return w
}

func (w *watched) url() string {
	return "redis+sentinel://:" + password + "@" + strings.Join(w.sentinels.Addrs(), ",") + "/" + w.sentinels.Name
}

// master is the one that the Sentinels name.
func (w *watched) master() *testkit.Redis {
	addr := w.sentinels.Master()
	for _, n := range w.nodes {
		if n.Addr == addr {
			return n
		}
	}
	return nil
}

// promoted waits until another one is the master.
func (w *watched) promoted(old *testkit.Redis) *testkit.Redis {
	w.t.Helper()
	var master *testkit.Redis
	eventually(w.t, "a replica is promoted", func() bool {
		master = w.master()
		return master != nil && master != old && master.Info("replication", "role") == "master"
	})
	return master
}

// deposed waits until a master is a replica.
func (w *watched) deposed(old *testkit.Redis) {
	w.t.Helper()
	eventually(w.t, "the old master is a replica", func() bool { return old.Info("replication", "role") == "slave" })
}

func watchedKeys() map[string]string {
	return map[string]string{"classic": "classic", "sharded": "sharded", "streams": "streams"}
}

// TestSentinel_MasterKilled: the master is killed, and comes back when another one has taken over.
func TestSentinel_MasterKilled(t *testing.T) {
	t.Parallel()
	w := startWatched(t)
	f := startTrio(t, w.url(), watchedKeys())
	for range rounds(t, 1) {
		old := w.master()
		old.Stop()
		f.ends++
		w.promoted(old)
		f.flow()
		old.Start()
		w.deposed(old)
		f.flow()
	}
	f.finish()
}

// TestSentinel_MasterFrozen: the master stands still, and goes on when another one has taken over.
func TestSentinel_MasterFrozen(t *testing.T) {
	t.Parallel()
	w := startWatched(t)
	f := startTrio(t, w.url()+"?write_timeout=2s", watchedKeys())
	for range rounds(t, 1) {
		old := w.master()
		old.Pause()
		f.ends++
		eventually(t, "it stands still", func() bool { return still(t, old.Pid()) })
		w.promoted(old)
		f.flow()
		old.Resume()
		w.deposed(old)
		f.flow()
	}
	f.finish()
}

// TestSentinel_SplitBrain: neither the replicas nor the Sentinels reach the master any more, but the servers do. It takes
// no more entries, which the servers try again, until another one has taken over. Then there are two masters.
func TestSentinel_SplitBrain(t *testing.T) {
	t.Parallel()
	w := startWatched(t)
	f := startTrio(t, w.url(), watchedKeys())
	for range rounds(t, 1) {
		old := w.master()
		for _, user := range []string{"replica", "sentinel"} {
			old.Do("ACL", "SETUSER", user, "off")
			old.Do("CLIENT", "KILL", "USER", user)
		}
		if _, err := old.Try("XADD", "other", "*", "a", "b"); err == nil || !strings.HasPrefix(err.Error(), "NOREPLICAS") {
			t.Errorf("an entry was accepted: %v", err)
		}
		w.promoted(old)
		if old.Info("replication", "role") != "master" {
			t.Error("there is one master")
		}
		f.flow()
		for _, user := range []string{"replica", "sentinel"} {
			old.Do("ACL", "SETUSER", user, "on")
		}
		w.deposed(old)
		f.flow()
	}
	if s := f.pairs["streams"].a; !s.reported("NOREPLICAS") && !f.pairs["streams"].b.reported("NOREPLICAS") {
		t.Errorf("no entry was refused: %v", s.allFaults())
	}
	f.finish()
}
