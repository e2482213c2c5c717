package rueidisdriver

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/redisproto"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/redistest"
)

// bundle is a driver with a subscription.
type bundle struct {
	redisadapter.StreamDriver
	redisadapter.Subscription
	*redistest.Recorder

	sent atomic.Int64
}

func subscribed(t *testing.T, d redisadapter.StreamDriver, topics redisadapter.Topics) *bundle {
	t.Helper()
	b := &bundle{StreamDriver: d, Recorder: &redistest.Recorder{}}
	var err error
	if b.Subscription, err = d.Subscribe(bounded(t), b.Recorder); err != nil {
		t.Fatal(err)
	}
	if err := b.Add(bounded(t), topics); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bundle) Close() error { return b.Subscription.Close() }

// reaches publishes to a channel until a message arrives, as it does where messages may be lost meanwhile.
func (b *bundle) reaches(t *testing.T, channel string, sharded bool) {
	t.Helper()
	first := b.sent.Load()
	testkit.Eventually(t, "a message on "+channel, func() bool {
		payload := strconv.FormatInt(b.sent.Add(1), 10)
		_ = b.Publish(bounded(t), []redisadapter.Publication{ // it is tried again
			{Channel: channel, Payload: []byte(payload), Sharded: sharded},
		})
		return slices.ContainsFunc(b.Got(), func(m string) bool {
			var n int64
			fields := strings.Fields(m)
			_, err := fmt.Sscan(fields[len(fields)-1], &n)
			return err == nil && n > first && fields[len(fields)-2] == channel
		})
	})
}

// quiet fails when anything was lost.
func (b *bundle) quiet(t *testing.T) {
	t.Helper()
	if lost, _ := b.Losses(); lost != 0 {
		t.Errorf("lost: %v", b.Errs())
	}
}

func (b *bundle) lostOnce(t *testing.T) {
	t.Helper()
	testkit.Eventually(t, "the loss is told", func() bool { lost, _ := b.Losses(); return lost > 0 })
	testkit.Eventually(t, "the end of the loss is told", func() bool { lost, restored := b.Losses(); return lost == restored })
}

// channelsOn gives channels whose slots Nodes[i] has.
func channelsOn(c *testkit.Cluster, i, n int) []string {
	var list []string
	for k := 0; len(list) < n; k++ {
		if ch := fmt.Sprint("ch", k); c.Owner(redisproto.Slot(ch), i) == i {
			list = append(list, ch)
		}
	}
	return list
}

func clusterURL(c *testkit.Cluster) string { return "redis+cluster://" + strings.Join(c.Addrs(), ",") }

func freePort(t *testing.T) string {
	t.Helper()
	_, port, _ := strings.Cut(testkit.FreeAddr(t), ":")
	return port
}

func TestCluster(t *testing.T) {
	t.Parallel()
	c := testkit.StartCluster(t, 3, 1)
	d := newStreamDriver(t, clusterURL(c))
	if err := d.Connect(bounded(t)); err != nil {
		t.Fatal(err)
	}
	topics := redisadapter.Topics{Channels: []string{"a", "b"}, Patterns: []string{"p*"}}
	for i := range 3 {
		topics.Sharded = append(topics.Sharded, channelsOn(c, i, 30)...)
	}
	b := subscribed(t, d, topics)
	for _, ch := range []string{"a", "b", "p1"} {
		b.reaches(t, ch, false)
	}
	for _, ch := range topics.Sharded {
		b.reaches(t, ch, true)
	}
	if n, err := d.Subscribers(bounded(t), "a"); n != 1 || err != nil {
		t.Errorf("%d subscribers, %v", n, err)
	}
	if n, err := d.ShardSubscribers(bounded(t), topics.Sharded[0]); n != 1 || err != nil {
		t.Errorf("%d subscribers, %v", n, err)
	}
	if err := b.Remove(bounded(t), redisadapter.Topics{Channels: []string{"a"}, Sharded: topics.Sharded[:40]}); err != nil {
		t.Fatal(err)
	}
	if n, err := d.ShardSubscribers(bounded(t), topics.Sharded[0]); n != 0 || err != nil {
		t.Errorf("%d subscribers, %v", n, err)
	}
	for i := range 10 {
		checkStreams(t, d, fmt.Sprint("stream", i))
	}
	b.quiet(t)
}

// A slot moves while its channel is subscribed and its stream is read.
func TestCluster_SlotMoves(t *testing.T) {
	t.Parallel()
	for name, query := range map[string]string{"RESP3": "", "RESP2": "?protocol=2"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checkSlotMoves(t, query)
		})
	}
}

func checkSlotMoves(t *testing.T, query string) {
	t.Helper()
	c := testkit.StartCluster(t, 3, 0)
	d := newStreamDriver(t, clusterURL(c)+query)
	chs := channelsOn(c, 0, 2)
	b := subscribed(t, d, redisadapter.Topics{Channels: []string{"classic"}, Sharded: chs})
	b.reaches(t, chs[0], true)
	stream := chs[0]
	last := mustAppend(t, d, stream, "1")[0]
	slot := c.Slot(chs[0])
	start := time.Now()
	c.Move(slot, 0, 1)
	if owner := c.Owner(slot, 0); owner != 1 {
		t.Fatalf("the slot is at %d", owner)
	}
	b.lostOnce(t)
	t.Logf("moved and subscribed again after %v", time.Since(start))
	b.reaches(t, chs[0], true)
	b.reaches(t, chs[1], true)
	mustAppend(t, d, stream, "2")
	got, err := d.Read(bounded(t), stream, last, 10, 1)
	if err != nil || !slices.Equal(valuesOf(got), []string{"2"}) {
		t.Errorf("%+v, %v", got, err)
	}
	if n, err := d.ShardSubscribers(bounded(t), chs[0]); n != 1 || err != nil {
		t.Errorf("%d subscribers, %v", n, err)
	}
	if err := b.Remove(bounded(t), redisadapter.Topics{Sharded: chs}); err != nil {
		t.Fatal(err)
	}
	if n, err := d.ShardSubscribers(bounded(t), chs[0]); n != 0 || err != nil {
		t.Errorf("%d subscribers, %v", n, err)
	}
	// And a move while nothing is subscribed there, which only MOVED tells.
	c.Move(slot, 1, 2)
	if err := b.Add(bounded(t), redisadapter.Topics{Sharded: chs[:1]}); err != nil {
		t.Fatal(err)
	}
	b.reaches(t, chs[0], true)
	if errs := d.Publish(bounded(t), []redisadapter.Publication{{Channel: chs[0], Sharded: true}}); errs != nil {
		t.Error(errs)
	}
}

func TestCluster_MasterKilled(t *testing.T) {
	t.Parallel()
	c := testkit.StartCluster(t, 3, 1)
	d := newStreamDriver(t, clusterURL(c))
	var chs []string
	for i := range 3 {
		chs = append(chs, channelsOn(c, i, 2)...)
	}
	b := subscribed(t, d, redisadapter.Topics{Channels: []string{"classic"}, Sharded: chs})
	mustAppend(t, d, chs[0], "1")
	c.Nodes[0].Stop()
	b.lostOnce(t)
	for _, ch := range chs {
		b.reaches(t, ch, true)
	}
	b.reaches(t, "classic", false)
	testkit.Eventually(t, "all know that the replica has the slot", func() bool { return c.Owner(redisproto.Slot(chs[0]), 1) == 3 })
	testkit.Eventually(t, "the stream takes entries", func() bool {
		_, errs := d.Append(bounded(t), appends(chs[0], "2"))
		return errs == nil
	})
}
