package rueidisdriver

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/sockeye-io/sockeye/internal/redisproto"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/redisadapter"
)

// writer appends one entry after another and remembers those that Redis has accepted.
type writer struct {
	d      redisadapter.StreamDriver
	stream string
	stop   chan struct{}
	ended  sync.WaitGroup

	mu       sync.Mutex
	accepted []string
	failed   int
}

func startWriter(t *testing.T, d redisadapter.StreamDriver, stream string) *writer {
	t.Helper()
	w := &writer{d: d, stream: stream, stop: make(chan struct{})}
	w.ended.Go(func() { w.run(t) })
	return w
}

// run ends when stop is closed.
func (w *writer) run(t *testing.T) {
	for i := 0; ; i++ {
		select {
		case <-w.stop:
			return
		default:
		}
		value := strconv.Itoa(i)
		_, errs := w.d.Append(t.Context(), appends(w.stream, value))
		w.mu.Lock()
		if errs == nil {
			w.accepted = append(w.accepted, value)
		} else {
			w.failed++
		}
		w.mu.Unlock()
		if errs != nil {
			sleep(t.Context(), minBackoff)
		}
	}
}

func (w *writer) counts() (accepted, failed int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.accepted), w.failed
}

// goesOn waits until more is accepted.
func (w *writer) goesOn(t *testing.T) {
	t.Helper()
	before, _ := w.counts()
	testkit.Eventually(t, "entries are accepted", func() bool { n, _ := w.counts(); return n > before+10 })
}

// fails waits until something is not accepted.
func (w *writer) fails(t *testing.T) {
	t.Helper()
	testkit.Eventually(t, "an entry is not accepted", func() bool { _, n := w.counts(); return n > 0 })
}

// complete fails when an accepted entry is not there.
func (w *writer) complete(t *testing.T) {
	t.Helper()
	close(w.stop)
	w.ended.Wait()
	there, err := w.d.Range(bounded(t), w.stream, "-", "+", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]bool{}
	for _, v := range valuesOf(there) {
		values[v] = true
	}
	lost := slices.DeleteFunc(w.accepted, func(v string) bool { return values[v] })
	if len(lost) > 0 {
		t.Errorf("%d of %d accepted entries are lost: %s ...", len(lost), len(lost)+len(there), lost[0])
	}
}

// The master freezes; what it has not accepted is not lost in silence.
func TestSentinel_MasterFrozen(t *testing.T) {
	t.Parallel()
	master := testkit.StartRedis(t, "--min-replicas-to-write", "1", "--min-replicas-max-lag", "2")
	replica := testkit.StartReplica(t, master)
	s := testkit.StartSentinels(t, master, 3)
	d := newStreamDriver(t, "redis+sentinel://"+strings.Join(s.Addrs(), ",")+"/"+s.Name)
	b := subscribed(t, d, redisadapter.Topics{Channels: []string{"c"}})
	w := startWriter(t, d, "stream")
	w.goesOn(t)
	master.Pause()
	b.lostOnce(t)
	w.fails(t)
	if got := s.Master(); got != replica.Addr {
		t.Errorf("master %s, want %s", got, replica.Addr)
	}
	w.goesOn(t)
	b.reaches(t, "c", false)
	master.Resume() // it takes itself for a master until a Sentinel tells it otherwise
	w.goesOn(t)
	b.reaches(t, "c", false)
	w.complete(t)
}

// The master is deposed while it runs.
func TestSentinel_Failover(t *testing.T) {
	t.Parallel()
	master := testkit.StartRedis(t)
	replica := testkit.StartReplica(t, master)
	s := testkit.StartSentinels(t, master, 3)
	d := newStreamDriver(t, "redis+sentinel://"+strings.Join(s.Addrs(), ",")+"/"+s.Name)
	b := subscribed(t, d, redisadapter.Topics{Channels: []string{"c"}})
	w := startWriter(t, d, "stream")
	w.goesOn(t)
	s.Nodes[0].Do("SENTINEL", "FAILOVER", s.Name)
	b.lostOnce(t)
	testkit.Eventually(t, "the replica is the master", func() bool { return s.Master() == replica.Addr })
	w.goesOn(t)
	b.reaches(t, "c", false)
	close(w.stop)
	w.ended.Wait()
}

// The Sentinels have deposed a master that runs on and that they cannot tell so.
func TestSentinel_Deposed(t *testing.T) {
	t.Parallel()
	master := testkit.StartRedis(t)
	replica := testkit.StartReplica(t, master)
	for _, r := range []*testkit.Redis{master, replica} {
		r.Do("ACL", "SETUSER", "sentinel", "on", ">watch", "~*", "&*", "+@all")
	}
	s := testkit.StartSentinels(t, master, 3, "sentinel auth-user mymaster sentinel", "sentinel auth-pass mymaster watch")
	d := newStreamDriver(t, "redis+sentinel://"+strings.Join(s.Addrs(), ",")+"/"+s.Name)
	b := subscribed(t, d, redisadapter.Topics{Channels: []string{"c"}})
	b.reaches(t, "c", false)
	mustAppend(t, d, "stream", "1")
	master.Do("ACL", "SETUSER", "sentinel", "-@all") // to them it is down now
	b.lostOnce(t)
	b.reaches(t, "c", false)
	mustAppend(t, d, "stream", "2")
	if role := master.Info("replication", "role"); role != "master" {
		t.Errorf("the old master is a %s", role)
	}
	if n := replica.Do("XLEN", "stream"); n != int64(2) {
		t.Errorf("%v entries", n)
	}
}

func TestCluster_MasterFrozen(t *testing.T) {
	t.Parallel()
	c := testkit.StartCluster(t, 3, 1, "--min-replicas-to-write", "0")
	d := newStreamDriver(t, clusterURL(c))
	var chs []string
	for i := range 3 {
		chs = append(chs, channelsOn(c, i, 1)...)
	}
	b := subscribed(t, d, redisadapter.Topics{Channels: []string{"classic"}, Sharded: chs})
	mustAppend(t, d, chs[0], "1")
	c.Nodes[0].Pause()
	b.lostOnce(t)
	for _, ch := range chs {
		b.reaches(t, ch, true)
	}
	b.reaches(t, "classic", false)
	testkit.Eventually(t, "all know that the replica has the slot", func() bool { return c.Owner(redisproto.Slot(chs[0]), 1) == 3 })
	mustAppend(t, d, chs[0], "2")
	c.Nodes[0].Resume()
	testkit.Eventually(t, "the old master follows", func() bool { return c.Nodes[0].Info("replication", "role") == "slave" })
	for _, ch := range chs {
		b.reaches(t, ch, true)
	}
}

func TestCluster_Failover(t *testing.T) {
	t.Parallel()
	c := testkit.StartCluster(t, 2, 1)
	d := newStreamDriver(t, clusterURL(c))
	chs := channelsOn(c, 0, 3)
	b := subscribed(t, d, redisadapter.Topics{Channels: []string{"classic"}, Sharded: chs})
	w := startWriter(t, d, chs[0])
	w.goesOn(t)
	c.Failover(2)
	b.lostOnce(t)
	for _, ch := range chs {
		b.reaches(t, ch, true)
	}
	b.reaches(t, "classic", false)
	w.goesOn(t)
	w.complete(t)
}

// A slot moves and Redis does not say so.
func TestCluster_SilentMove(t *testing.T) {
	t.Parallel()
	c := testkit.StartCluster(t, 2, 0)
	d := newStreamDriver(t, clusterURL(c))
	ch := channelsOn(c, 0, 1)[0]
	b := subscribed(t, d, redisadapter.Topics{Sharded: []string{ch}})
	b.reaches(t, ch, true)
	s := b.Subscription.(*subscription)
	s.mu.Lock()
	s.sharded[ch].leaving[ch] = 1 // the driver takes what Redis says for its own doing
	s.mu.Unlock()
	c.Move(redisproto.Slot(ch), 0, 1)
	b.lostOnce(t)
	b.reaches(t, ch, true)
}

// Connections that are killed one by one come back one by one.
func TestCluster_ClientsKilled(t *testing.T) {
	t.Parallel()
	c := testkit.StartCluster(t, 3, 0)
	d := newStreamDriver(t, clusterURL(c))
	var chs []string
	for i := range 3 {
		chs = append(chs, channelsOn(c, i, 2)...)
	}
	b := subscribed(t, d, redisadapter.Topics{Channels: []string{"classic"}, Sharded: chs})
	killed := 0
	for i, n := range c.Nodes {
		lost, _ := b.Losses()
		count, _ := n.Do("CLIENT", "KILL", "TYPE", "pubsub").(int64)
		killed += int(count)
		if count == 0 {
			t.Fatalf("node %d has no subscriber", i)
		}
		testkit.Eventually(t, "the loss is told, and its end", func() bool {
			l, restored := b.Losses()
			return l > lost && l == restored
		})
		for _, ch := range chs {
			b.reaches(t, ch, true)
		}
		b.reaches(t, "classic", false)
	}
	if killed != 4 { // one for channels, and one to each master for those that are Sharded
		t.Errorf("%d connections", killed)
	}
}

// A driver closes while nobody answers it.
func TestCluster_CloseFrozen(t *testing.T) {
	t.Parallel()
	c := testkit.StartCluster(t, 2, 0)
	d := newStreamDriver(t, clusterURL(c))
	b := subscribed(t, d, redisadapter.Topics{Channels: []string{"c"}, Sharded: slices.Concat(channelsOn(c, 0, 1), channelsOn(c, 1, 1))})
	stream := channelsOn(c, 0, 1)[0]
	mustAppend(t, d, stream, "1")
	for _, n := range c.Nodes {
		n.Pause()
	}
	results := make(chan error, 4)
	go func() { results <- b.Add(t.Context(), redisadapter.Topics{Sharded: []string{"other"}}) }()
	go func() { results <- errors.Join(d.Publish(t.Context(), publications("c"))...) }()
	go func() { _, err := d.Read(t.Context(), stream, "$", 1, 1<<40); results <- err }()
	go func() { _, err := d.Subscribers(t.Context(), "c"); results <- err }()
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	for range cap(results) {
		if err := <-results; err == nil {
			t.Error("no error")
		}
	}
}
