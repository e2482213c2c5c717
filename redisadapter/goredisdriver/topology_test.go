package goredisdriver

import (
	"crypto/tls"
	"crypto/x509"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/redistest"
)

func subscribe(t *testing.T, d *Driver, topics redisadapter.Topics) (*redistest.Recorder, redisadapter.Subscription) {
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
func flows(t *testing.T, d *Driver, r *redistest.Recorder, m redisadapter.Publication) {
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
	var drivers []*Driver
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
