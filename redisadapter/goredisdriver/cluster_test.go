package goredisdriver

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/internal/redisproto"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/redisadapter"
)

// startCluster gives three masters with a replica each, and a driver.
func startCluster(t *testing.T) (*testkit.Cluster, *Driver) {
	t.Helper()
	c := testkit.StartCluster(t, 3, 1)
	// One address is enough.
	d := driverOf(t, redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs()[:1]}), Options{})
	if err := d.Connect(bounded(t)); err != nil {
		t.Fatal(err)
	}
	return c, d
}

func TestDriver_Cluster(t *testing.T) {
	t.Parallel()
	c, d := startCluster(t)
	names := []string{"a", "b", "c", "d", "e", "f"}
	owners := map[int]bool{}
	for _, name := range names {
		owners[c.Owner(c.Slot(name), 0)] = true
		if got := redisproto.Slot(name); got != c.Slot(name) {
			t.Errorf("slot of %q is %d, want %d", name, got, c.Slot(name))
		}
	}
	if len(owners) != 3 {
		t.Fatalf("%v", owners)
	}
	r, s := subscribe(t, d, redisadapter.Topics{Channels: names, Patterns: []string{"p*"}, Sharded: names})
	var batch []redisadapter.Publication
	for i := range 60 {
		batch = append(batch, redisadapter.Publication{
			Channel: names[i%6], Payload: []byte{byte('0' + i/10), byte('0' + i%10)}, Sharded: i%2 == 0,
		})
	}
	if errs := d.Publish(bounded(t), append(batch, redisadapter.Publication{Channel: "pattern"})); errs != nil {
		t.Fatal(errs)
	}
	testkit.Eventually(t, "the messages", func() bool { return len(r.Got()) == 61 })
	ordered := map[string][]string{} // by what shares a connection
	for _, m := range r.Got() {
		if name := m[:3]; m[1] != 'p' && m[0] == ' ' {
			if m[4]%2 == 1 {
				name = "all that are not sharded"
			}
			ordered[name] = append(ordered[name], m[3:])
		}
	}
	for name, list := range ordered {
		if !slices.IsSorted(list) {
			t.Errorf("%s: %q", name, list)
		}
	}
	for _, name := range names {
		n, err := d.ShardSubscribers(bounded(t), name)
		m, err2 := d.Subscribers(bounded(t), name)
		if n != 1 || m != 1 || err != nil || err2 != nil {
			t.Errorf("%s: %d and %d subscribers, %v, %v", name, n, m, err, err2)
		}
		if _, errs := d.Append(bounded(t), []redisadapter.Append{{Stream: name, Fields: []string{"k", name}}}); errs != nil {
			t.Error(errs)
		}
		list, err := d.Read(bounded(t), name, "0-0", 10, 0)
		if err != nil || len(list) != 1 || list[0].Fields[1] != name {
			t.Errorf("Read: %v, %v", list, err)
		}
	}
	if err := s.Remove(bounded(t), redisadapter.Topics{Sharded: names[:3], Channels: names[3:]}); err != nil {
		t.Fatal(err)
	}
	for i, name := range names {
		n, err := d.ShardSubscribers(bounded(t), name)
		m, err2 := d.Subscribers(bounded(t), name)
		if n != i/3 || m != 1-i/3 || err != nil || err2 != nil {
			t.Errorf("%s: %d and %d subscribers, %v, %v", name, n, m, err, err2)
		}
	}
	if lost, _ := r.Losses(); lost != 0 {
		t.Errorf("lost %d times", lost)
	}
}

// The slot of a channel and of a stream moves, again and again: the subscription follows, and no entry is lost.
func TestDriver_ClusterSlotMoves(t *testing.T) {
	t.Parallel()
	c, d := startCluster(t)
	const channel = "moving"
	r, _ := subscribe(t, d, redisadapter.Topics{Sharded: []string{channel, "a", "b", "c"}, Channels: []string{channel}})
	flows(t, d, r, redisadapter.Publication{Channel: channel, Sharded: true})
	slot := c.Slot(channel)
	var ids []string
	add := func() {
		got, errs := d.Append(bounded(t), []redisadapter.Append{{Stream: channel, Fields: []string{"k", "v"}}})
		if errs != nil {
			t.Fatal(errs)
		}
		ids = append(ids, got...)
	}
	add()
	read := make(chan []redisadapter.Entry, 1)
	go func() { // ends with the entry that is added after the last move
		list, err := d.Read(t.Context(), channel, "$", 10, testkit.Scale(time.Minute))
		if err != nil {
			t.Error(err)
		}
		read <- list
	}()
	from := c.Owner(slot, 0)
	for round := 1; round <= 3; round++ {
		to := (from + 1) % 3
		c.Move(slot, from, to)
		if c.Owner(slot, from) != to {
			t.Fatal("the slot did not move")
		}
		testkit.Eventually(t, "loss and return are told", func() bool {
			lost, restored := r.Losses()
			return lost >= round && lost == restored
		})
		flows(t, d, r, redisadapter.Publication{Channel: channel, Sharded: true})
		if n, err := d.ShardSubscribers(bounded(t), channel); n != 1 || err != nil {
			t.Errorf("%d subscribers, %v", n, err)
		}
		from = to
	}
	testkit.Eventually(t, "the reader gets an entry", func() bool {
		add()
		return len(read) > 0
	})
	if list := <-read; len(list) == 0 {
		t.Error("no entry")
	}
	list, err := d.Range(bounded(t), channel, "-", "+", 1000)
	if err != nil || len(list) != len(ids) {
		t.Errorf("%d entries of %d, %v", len(list), len(ids), err)
	}
}

// While a slot is on its way, one node sends to the other, for keys that it does not have any more.
func TestDriver_ClusterSlotOnItsWay(t *testing.T) {
	t.Parallel()
	c, d := startCluster(t)
	slot := c.Slot("s")
	from := c.Owner(slot, 0)
	to := (from + 1) % 3
	c.Nodes[to].Do("CLUSTER", "SETSLOT", strconv.Itoa(slot), "IMPORTING", c.ID(from))
	c.Nodes[from].Do("CLUSTER", "SETSLOT", strconv.Itoa(slot), "MIGRATING", c.ID(to))
	entry := redisadapter.Append{Stream: "s", Fields: []string{"k", "v"}}
	ids, errs := d.Append(bounded(t), []redisadapter.Append{entry, entry})
	if errs != nil {
		t.Fatal(errs)
	}
	if _, err := c.Nodes[from].Try("XLEN", "s"); err == nil || !strings.HasPrefix(err.Error(), "ASK") {
		t.Fatalf("the slot is not on its way: %v", err)
	}
	if list, err := d.Range(bounded(t), "s", "-", "+", 10); err != nil || len(list) != 2 || list[1].ID != ids[1] {
		t.Errorf("Range: %v, %v", list, err)
	}
	read := make(chan []redisadapter.Entry, 1)
	go func() { // ends with the next entry
		list, err := d.Read(t.Context(), "s", ids[1], 10, testkit.Scale(time.Minute))
		if err != nil {
			t.Error(err)
		}
		read <- list
	}()
	if list, err := d.Read(bounded(t), "other", "0-0", 10, time.Millisecond); err != nil || len(list) != 0 {
		t.Errorf("Read of another: %v, %v", list, err)
	}
	third, errs := d.Append(bounded(t), []redisadapter.Append{entry})
	if errs != nil {
		t.Fatal(errs)
	}
	if list := <-read; len(list) != 1 || list[0].ID != third[0] {
		t.Errorf("Read: %v, want %v", list, third)
	}
	if errs := d.Set(bounded(t), []redisadapter.Key{{Name: "{s}key", Value: "v", TTL: time.Hour}}); errs != nil {
		t.Error(errs)
	}
	if v, ok, err := d.Get(bounded(t), "{s}key"); v != "v" || !ok || err != nil {
		t.Errorf("Get: %q, %t, %v", v, ok, err)
	}
	c.Move(slot, from, to)
	if list, err := d.Read(bounded(t), "s", "0-0", 10, time.Second); err != nil || len(list) != 3 {
		t.Errorf("Read after the move: %v, %v", list, err)
	}
	if there, err := d.Delete(bounded(t), "{s}key"); !there || err != nil {
		t.Errorf("Delete: %t, %v", there, err)
	}
}

func TestDriver_ClusterMasterLost(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func(*testkit.Redis){
		"killed": (*testkit.Redis).Stop, "frozen": (*testkit.Redis).Pause,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, d := startCluster(t)
			names := []string{"a", "b", "c", "d", "e", "f"}
			r, _ := subscribe(t, d, redisadapter.Topics{Sharded: names, Channels: names})
			home, err := d.pub.home(bounded(t))
			if err != nil {
				t.Fatal(err)
			}
			victim := slices.IndexFunc(c.Nodes, func(n *testkit.Redis) bool { return n.Addr == home.name })
			fault(c.Nodes[victim])
			testkit.Eventually(t, "its replica takes over", func() bool {
				return c.Nodes[3+victim].Info("replication", "role") == "master"
			})
			c.AwaitReady()
			testkit.Eventually(t, "loss and return are told", func() bool {
				lost, restored := r.Losses()
				return lost > 0 && lost == restored
			})
			for _, name := range names {
				flows(t, d, r, redisadapter.Publication{Channel: name})
				flows(t, d, r, redisadapter.Publication{Channel: name, Sharded: true})
				if n, err := d.ShardSubscribers(bounded(t), name); n != 1 || err != nil {
					t.Errorf("%d subscribers, %v", n, err)
				}
			}
		})
	}
}

// A master that becomes a replica keeps its connections.
func TestDriver_ClusterFailover(t *testing.T) {
	t.Parallel()
	c, d := startCluster(t)
	names := []string{"a", "b", "c", "d", "e", "f"}
	r, _ := subscribe(t, d, redisadapter.Topics{Sharded: names, Channels: names})
	for i := range 3 {
		c.Failover(3 + i)
	}
	c.AwaitReady()
	awaitRestored(t, r)
	for _, name := range names {
		flows(t, d, r, redisadapter.Publication{Channel: name})
		flows(t, d, r, redisadapter.Publication{Channel: name, Sharded: true})
	}
	testkit.Eventually(t, "subscriptions are at masters", func() bool {
		n, err := d.Subscribers(bounded(t), "a")
		return n == 1 && err == nil
	})
	before := len(r.Got())
	if errs := d.Publish(bounded(t), []redisadapter.Publication{{Channel: "a", Sharded: true}, {Channel: "b"}}); errs != nil {
		t.Fatal(errs)
	}
	testkit.Eventually(t, "the messages", func() bool { return len(r.Got()) >= before+2 })
	if n := len(r.Got()); n != before+2 {
		t.Errorf("%d messages, published 2", n-before)
	}
}
