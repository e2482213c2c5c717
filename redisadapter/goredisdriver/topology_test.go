package goredisdriver

import (
	"crypto/tls"
	"crypto/x509"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/redistest"
)

func subscribe(t *testing.T, d *driver, topics redisadapter.Topics) (*redistest.Recorder, redisadapter.Subscription) {
	t.Helper()
	r := &redistest.Recorder{}
	s, err := d.Subscribe(bounded(t), r)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Add(bounded(t), topics); err != nil {
		t.Fatal(err)
	}
	return r, s
}

// flows waits until what is published arrives.
func flows(t *testing.T, d *driver, r *redistest.Recorder, m redisadapter.Publication) {
	t.Helper()
	before := len(r.Got())
	testkit.Eventually(t, "what is published arrives", func() bool {
		_ = d.Publish(bounded(t), []redisadapter.Publication{m}) // may fail until all is well
		return len(r.Got()) > before
	})
}

func awaitRestored(t *testing.T, r *redistest.Recorder) {
	t.Helper()
	testkit.Eventually(t, "loss and return are told", func() bool {
		lost, restored := r.Losses()
		return lost > 0 && lost == restored
	})
}

func awaitLost(t *testing.T, r *redistest.Recorder) {
	t.Helper()
	testkit.Eventually(t, "the loss is told", func() bool { lost, _ := r.Losses(); return lost > 0 })
}

func TestDriver_TLS(t *testing.T) {
	t.Parallel()
	c := testkit.NewCertificate(t)
	server := testkit.StartTLSRedis(t, c)
	options := func(roots *x509.CertPool) *redis.Options {
		return &redis.Options{Addr: server.Addr, TLSConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	}
	d := driverOf(t, redis.NewClient(options(c.Roots)), Options{})
	if err := d.Connect(bounded(t)); err != nil {
		t.Fatal(err)
	}
	r, _ := subscribe(t, d, redisadapter.Topics{Channels: []string{"a"}})
	flows(t, d, r, redisadapter.Publication{Channel: "a"})
	server.Do("CLIENT", "KILL", "TYPE", "pubsub")
	awaitRestored(t, r)
	flows(t, d, r, redisadapter.Publication{Channel: "a"})

	stranger := driverOf(t, redis.NewClient(options(x509.NewCertPool())), Options{})
	if err := stranger.Connect(bounded(t)); err == nil || !strings.Contains(err.Error(), server.Addr) {
		t.Errorf("another authority: %v", err)
	}
}

func TestDriver_UnixSocket(t *testing.T) {
	t.Parallel()
	server := testkit.StartUnixRedis(t)
	d := driverOf(t, redis.NewClient(&redis.Options{Network: "unix", Addr: server.Addr}), Options{})
	r, _ := subscribe(t, d, redisadapter.Topics{Channels: []string{"a"}, Sharded: []string{"a"}})
	flows(t, d, r, redisadapter.Publication{Channel: "a"})
	flows(t, d, r, redisadapter.Publication{Channel: "a", Sharded: true})
}

// A Redis that hangs keeps its connections open: only its silence tells.
func TestDriver_Frozen(t *testing.T) {
	t.Parallel()
	server := testkit.StartRedis(t)
	d := driverOf(t, redis.NewClient(&redis.Options{Addr: server.Addr}), Options{})
	r, _ := subscribe(t, d, redisadapter.Topics{Channels: []string{"a"}})
	flows(t, d, r, redisadapter.Publication{Channel: "a"})
	server.Pause()
	awaitLost(t, r)
	server.Resume()
	awaitRestored(t, r)
	flows(t, d, r, redisadapter.Publication{Channel: "a"})
}

// Subscriptions at a replica get what is published to the master, and are counted.
func TestDriver_ReplicaSplit(t *testing.T) {
	t.Parallel()
	master := testkit.StartRedis(t)
	var drivers []*driver
	var recorders []*redistest.Recorder
	for range 2 {
		replica := testkit.StartReplica(t, master)
		sub := redis.NewClient(&redis.Options{Addr: replica.Addr})
		defer sub.Close()
		d := driverOf(t, redis.NewClient(&redis.Options{Addr: master.Addr}), Options{Subscriber: sub})
		r, _ := subscribe(t, d, redisadapter.Topics{Channels: []string{"a"}, Sharded: []string{"s"}})
		drivers, recorders = append(drivers, d), append(recorders, r)
		if reply, _ := replica.Do("PUBSUB", "NUMSUB", "a").([]any); len(reply) != 2 || reply[1] != int64(1) {
			t.Errorf("at the replica: %v", reply)
		}
		if reply, _ := master.Do("PUBSUB", "NUMSUB", "a").([]any); len(reply) != 2 || reply[1] != int64(0) {
			t.Errorf("at the master: %v", reply)
		}
	}
	for _, d := range drivers {
		for _, r := range recorders {
			flows(t, d, r, redisadapter.Publication{Channel: "a"})
			flows(t, d, r, redisadapter.Publication{Channel: "s", Sharded: true})
		}
		for _, count := range []func() (int, error){
			func() (int, error) { return d.Subscribers(bounded(t), "a") },
			func() (int, error) { return d.ShardSubscribers(bounded(t), "s") },
		} {
			if n, err := count(); n != 1 || err != nil {
				t.Errorf("%d subscribers, %v", n, err)
			}
		}
	}
}

func TestDriver_Sentinel(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func(*testkit.Redis){
		"killed": (*testkit.Redis).Stop, "frozen": (*testkit.Redis).Pause,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			master := testkit.StartRedis(t)
			replica := testkit.StartReplica(t, master)
			sentinels := testkit.StartSentinels(t, master, 3)
			d := driverOf(t, redis.NewFailoverClient(&redis.FailoverOptions{
				MasterName: sentinels.Name, SentinelAddrs: sentinels.Addrs(),
			}), Options{})
			if err := d.Connect(bounded(t)); err != nil {
				t.Fatal(err)
			}
			r, _ := subscribe(t, d, redisadapter.Topics{Channels: []string{"a"}})
			flows(t, d, r, redisadapter.Publication{Channel: "a"})
			if _, errs := d.Append(bounded(t), []redisadapter.Append{{Stream: "s", Fields: []string{"k", "v"}}}); errs != nil {
				t.Fatal(errs)
			}
			fault(master)
			testkit.Eventually(t, "another master", func() bool {
				now := sentinels.Master()
				return now != "" && now != master.Addr
			})
			awaitRestored(t, r)
			flows(t, d, r, redisadapter.Publication{Channel: "a"})
			testkit.Eventually(t, "it appends at the new master", func() bool {
				_, errs := d.Append(bounded(t), []redisadapter.Append{{Stream: "s", Fields: []string{"k", "v"}}})
				return errs == nil
			})
			if list, err := d.Read(bounded(t), "s", "0-0", 10, 0); err != nil || len(list) < 2 {
				t.Errorf("Read: %v, %v", list, err)
			}
			if name != "frozen" {
				return
			}
			master.Resume() // which takes itself for the master still, until a Sentinel tells it
			flows(t, d, r, redisadapter.Publication{Channel: "a"})
			if reply, _ := replica.Do("PUBSUB", "NUMSUB", "a").([]any); len(reply) != 2 || reply[1] != int64(1) {
				t.Errorf("at the new master: %v", reply)
			}
		})
	}
}

// cluster is three masters with a replica each, and a driver.
func startCluster(t *testing.T) (*testkit.Cluster, *driver) {
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
		if got := slotOf(name); got != c.Slot(name) {
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
