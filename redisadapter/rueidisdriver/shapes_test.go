package rueidisdriver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/redistest"
)

// option is that of a driver that has a Redis for lost soon.
func option(addrs ...string) rueidis.ClientOption {
	return rueidis.ClientOption{InitAddress: addrs, ConnWriteTimeout: testkit.Scale(2 * time.Second)}
}

func closing(t *testing.T, d *Driver, err error) *Driver {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() }) // it returns nil
	return d
}

// everything checks what a driver can do where one Redis has everything.
func everything(t *testing.T, d redisadapter.StreamDriver) {
	t.Helper()
	if err := d.Connect(bounded(t)); err != nil {
		t.Fatal(err)
	}
	b := subscribed(t, d, redisadapter.Topics{Channels: []string{"c"}, Patterns: []string{"p*"}, Sharded: []string{"s"}})
	for _, ch := range []string{"c", "p1"} {
		b.reaches(t, ch, false)
	}
	b.reaches(t, "s", true)
	counts := map[string]func(context.Context, string) (int, error){"c": d.Subscribers, "s": d.ShardSubscribers}
	for ch, count := range counts {
		if n, err := count(bounded(t), ch); n != 1 || err != nil {
			t.Errorf("%s: %d subscribers, %v", ch, n, err)
		}
	}
	checkStreams(t, d, "stream")
	b.quiet(t)
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	for ch, count := range counts {
		testkit.Eventually(t, "nobody is subscribed", func() bool { n, _ := count(bounded(t), ch); return n == 0 })
	}
}

func TestSplit(t *testing.T) {
	t.Parallel()
	master := testkit.StartRedis(t)
	var bundles []*bundle
	var replicas []*testkit.Redis
	for range 2 {
		replica := testkit.StartReplica(t, master)
		d, err := FromURLs(master.URL(), replica.URL())
		d = closing(t, d, err)
		if err := d.Connect(bounded(t)); err != nil {
			t.Fatal(err)
		}
		replicas = append(replicas, replica)
		bundles = append(bundles, subscribed(t, d, redisadapter.Topics{Channels: []string{"c"}, Sharded: []string{"s"}}))
	}
	for i, b := range bundles {
		b.reaches(t, "c", false)
		b.reaches(t, "s", true)
		if n, err := b.Subscribers(bounded(t), "c"); n != 1 || err != nil {
			t.Errorf("server %d: %d subscribers, %v", i, n, err)
		}
		if n := fmt.Sprint(replicas[i].Do("PUBSUB", "NUMSUB", "c")); n != "[c 1]" {
			t.Errorf("replica %d: %s subscribers", i, n)
		}
		checkStreams(t, b, fmt.Sprint("stream", i))
		b.quiet(t)
	}
	if n := fmt.Sprint(master.Do("PUBSUB", "NUMSUB", "c")); n != "[c 0]" {
		t.Errorf("master: %s subscribers", n)
	}
}

// One Redis by two names is counted once.
func TestSplit_Same(t *testing.T) {
	t.Parallel()
	redis := testkit.StartRedis(t)
	d, err := FromURLs(redis.URL(), "redis://localhost:"+strconv.Itoa(redis.Port()))
	everything(t, closing(t, d, err))
}

func TestSentinel(t *testing.T) {
	t.Parallel()
	master := testkit.StartRedis(t, "--requirepass", "s3cret", "--masterauth", "s3cret")
	replica := testkit.StartRedis(t, "--replicaof", fmt.Sprint("127.0.0.1 ", master.Port()), "--masterauth", "s3cret")
	testkit.Eventually(t, "the replica follows", func() bool { return replica.Info("replication", "master_link_status") == "up" })
	replica.Do("CONFIG", "SET", "requirepass", "s3cret")
	s := testkit.StartSentinels(t, master, 3, "sentinel auth-pass mymaster s3cret", "requirepass gu4rd", "sentinel sentinel-pass gu4rd")
	url := "redis+sentinel://:s3cret@" + strings.Join(s.Addrs(), ",") + "/mymaster?sentinel_password=gu4rd"
	d := newStreamDriver(t, url)
	everything(t, d)
	b := subscribed(t, d, redisadapter.Topics{Channels: []string{"after"}})
	master.Stop()
	b.lostOnce(t)
	b.reaches(t, "after", false)
	testkit.Eventually(t, "the stream takes entries", func() bool {
		_, errs := d.Append(bounded(t), appends("stream", "2"))
		return errs == nil
	})
	for _, tt := range []struct{ name, from, to, addr string }{
		{"name", "/mymaster", "/other", s.Addrs()[0]},
		{"password", "s3cret", "wr0ng", replica.Addr},
		{"password of the Sentinels", "gu4rd", "wr0ng", s.Addrs()[0]},
	} {
		err := newStreamDriver(t, strings.Replace(url, tt.from, tt.to, 1)).Connect(bounded(t))
		if err == nil || !strings.Contains(err.Error(), tt.addr) || strings.Contains(err.Error(), "wr0ng") {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	right, wrong := testkit.NewCertificate(t), testkit.NewCertificate(t)
	redis := testkit.StartTLSRedis(t, right)
	o := option(redis.Addr)
	o.TLSConfig = &tls.Config{RootCAs: right.Roots, MinVersion: tls.VersionTLS12}
	d, err := New(o)
	everything(t, closing(t, d, err))
	everything(t, newStreamDriver(t, "rediss://localhost:"+strconv.Itoa(redis.Port())+"/1?skip_verify=true"))
	o.TLSConfig = &tls.Config{RootCAs: wrong.Roots, MinVersion: tls.VersionTLS12}
	o.Password = "hush"
	d, err = New(o)
	err = closing(t, d, err).Connect(bounded(t))
	unknown := (*tls.CertificateVerificationError)(nil)
	if !errors.As(err, &unknown) || !strings.Contains(err.Error(), redis.Addr) || strings.Contains(err.Error(), "hush") {
		t.Errorf("error %v", err)
	}
}

func TestTLS_Cluster(t *testing.T) {
	t.Parallel()
	cert := testkit.NewCertificate(t)
	c := testkit.StartCluster(t, 1, 0, "--tls-cluster", "yes", "--tls-port", freePort(t), "--tls-cert-file", cert.CertFile,
		"--tls-key-file", cert.KeyFile, "--tls-ca-cert-file", cert.Authority, "--tls-auth-clients", "no")
	port := c.Nodes[0].Do("CONFIG", "GET", "tls-port").([]any)[1].(string)
	o := option("localhost:" + port)
	o.TLSConfig = &tls.Config{RootCAs: cert.Roots, MinVersion: tls.VersionTLS12}
	d, err := NewCluster(o)
	everything(t, closing(t, d, err))
}

func TestUnixSocket(t *testing.T) {
	t.Parallel()
	redis := testkit.StartUnixRedis(t)
	everything(t, newStreamDriver(t, redis.URL()))
	redis.Stop()
	if err := newStreamDriver(t, redis.URL()).Connect(bounded(t)); err == nil || !strings.Contains(err.Error(), redis.Addr) {
		t.Errorf("error %v", err)
	}
}

func TestValkey(t *testing.T) {
	t.Parallel()
	valkey, ok := testkit.StartValkey(t)
	if !ok {
		t.Log("missing: valkey-server on the PATH; nothing was tested")
		return
	}
	everything(t, newStreamDriver(t, strings.Replace(valkey.URL(), "redis://", "valkey://", 1)))
}

// A user who may do only what is needed.
func TestACL(t *testing.T) {
	t.Parallel()
	allowed := []string{
		"ACL", "SETUSER", "app", "on", ">hush", "~*", "&*", "-@all", "+ping", "+publish", "+spublish", "+subscribe",
		"+psubscribe", "+ssubscribe", "+unsubscribe", "+punsubscribe", "+sunsubscribe", "+pubsub", "+xadd", "+xread",
		"+xrange", "+xinfo", "+set", "+get", "+del",
	}
	t.Run("single", func(t *testing.T) {
		t.Parallel()
		redis := testkit.StartRedis(t)
		redis.Do(allowed...)
		everything(t, newStreamDriver(t, "redis://app:hush@"+redis.Addr))
	})
	t.Run("split", func(t *testing.T) {
		t.Parallel()
		redis := testkit.StartRedis(t)
		replica := testkit.StartReplica(t, redis)
		redis.Do(allowed...)
		replica.Do(allowed...)
		d, err := FromURLs("redis://app:hush@"+redis.Addr, "redis://app:hush@"+replica.Addr)
		everything(t, closing(t, d, err))
	})
	t.Run("cluster", func(t *testing.T) {
		t.Parallel()
		c := testkit.StartCluster(t, 2, 0)
		for _, n := range c.Nodes {
			n.Do(append(slices.Clip(allowed), "+cluster|slots")...)
		}
		everything(t, newStreamDriver(t, "redis+cluster://app:hush@"+c.Nodes[0].Addr))
	})
}

// A Redis that is frozen is found out, on both sides, and all goes on when it does.
func TestDriver_Frozen(t *testing.T) {
	t.Parallel()
	redis := testkit.StartRedis(t)
	d, err := New(option(redis.Addr))
	b := subscribed(t, closing(t, d, err), redisadapter.Topics{Channels: []string{"c"}, Sharded: []string{"s"}})
	mustAppend(t, d, "stream", "1")
	redis.Pause()
	testkit.Eventually(t, "the loss is told", func() bool { lost, _ := b.Losses(); return lost == 1 })
	if errs := d.Publish(bounded(t), publications("c")); len(errs) != 1 || errs[0] == nil {
		t.Errorf("frozen: %v", errs)
	}
	if _, err := d.Read(bounded(t), "stream", "$", 1, time.Millisecond); err == nil {
		t.Error("frozen: Read gives no error")
	}
	redis.Resume()
	testkit.Eventually(t, "the end of the loss is told", func() bool { _, restored := b.Losses(); return restored == 1 })
	b.reaches(t, "c", false)
	b.reaches(t, "s", true)
}

// A cut through which nothing comes back is found out like one that closes connections.
func TestDriver_Proxy(t *testing.T) {
	t.Parallel()
	redis := testkit.StartRedis(t)
	for name, resp2 := range map[string]bool{"RESP3": false, "RESP2": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := testkit.StartProxy(t, redis.Addr)
			o := option(p.Addr)
			o.AlwaysRESP2 = resp2
			d, err := New(o)
			b := subscribed(t, closing(t, d, err), redisadapter.Topics{Channels: []string{"c"}})
			for i, fault := range []func(){
				p.Cut, func() { p.Hang(testkit.ToClient) }, func() { p.Hang(testkit.ToServer) },
			} {
				b.reaches(t, "c", false)
				fault()
				testkit.Eventually(t, "the loss is told", func() bool { lost, _ := b.Losses(); return lost == i+1 })
				p.Heal()
				testkit.Eventually(t, "the end of the loss is told", func() bool { _, restored := b.Losses(); return restored == i+1 })
			}
			b.reaches(t, "c", false)
		})
	}
}

// What Redis does not allow is told to who asks for it, and nothing else is lost with it.
func TestSubscription_Forbidden(t *testing.T) {
	t.Parallel()
	redis := testkit.StartRedis(t)
	redis.Do("ACL", "SETUSER", "app", "on", ">hush", "+@all", "resetchannels", "&ok*")
	check := func(t *testing.T, d redisadapter.StreamDriver) {
		t.Helper()
		b := subscribed(t, d, redisadapter.Topics{Channels: []string{"ok"}, Sharded: []string{"ok"}})
		var wg sync.WaitGroup
		for i := range 40 { // several at once are told together
			wg.Go(func() {
				ch, allowed := fmt.Sprint("no", i), i%2 == 0
				if allowed {
					ch = fmt.Sprint("ok", i)
				}
				for _, topics := range []redisadapter.Topics{{Channels: []string{ch}}, {Sharded: []string{ch}}} {
					err := b.Add(bounded(t), topics)
					if (err == nil) != allowed || errors.Is(err, redisadapter.ErrForbidden) == allowed {
						t.Errorf("%s: %v", ch, err)
					}
				}
			})
		}
		wg.Wait()
		b.reaches(t, "ok", false)
		b.reaches(t, "ok20", true)
		b.quiet(t)
	}
	t.Run("single", func(t *testing.T) {
		t.Parallel()
		check(t, newStreamDriver(t, "redis://app:hush@"+redis.Addr))
	})
	t.Run("cluster", func(t *testing.T) {
		t.Parallel()
		c := testkit.StartCluster(t, 1, 0)
		c.Nodes[0].Do("ACL", "SETUSER", "app", "on", ">hush", "+@all", "resetchannels", "&ok*")
		check(t, newStreamDriver(t, "redis+cluster://app:hush@"+c.Nodes[0].Addr))
		// The address of one node is not that of a cluster.
		d := newStreamDriver(t, "redis://"+c.Nodes[0].Addr)
		b := subscribed(t, d, redisadapter.Topics{Channels: []string{"c"}})
		b.reaches(t, "c", false)
	})
	t.Run("no cluster", func(t *testing.T) {
		t.Parallel()
		err := newStreamDriver(t, "redis+cluster://app:hush@"+redis.Addr).Connect(bounded(t))
		if !errors.Is(err, errDisabled) {
			t.Errorf("error %v", err)
		}
	})
}

// slow is a receiver that is behind.
type slow struct {
	redistest.Recorder

	entered chan struct{}
	release chan struct{}
}

func (s *slow) Message(pattern, channel, payload string) {
	s.entered <- struct{}{}
	<-s.release
	s.Recorder.Message(pattern, channel, payload)
}

// A receiver that is behind for longer than a Redis may be silent is not taken for a silent Redis.
func TestSubscription_Behind(t *testing.T) {
	t.Parallel()
	redis := testkit.StartRedis(t)
	o := option(redis.Addr)
	o.ConnWriteTimeout = testkit.Scale(300 * time.Millisecond)
	d, err := New(o)
	closing(t, d, err)
	r := &slow{entered: make(chan struct{}), release: make(chan struct{})}
	s, err := d.Subscribe(bounded(t), r)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Add(bounded(t), redisadapter.Topics{Channels: []string{"c"}}); err != nil {
		t.Fatal(err)
	}
	redis.Do("PUBLISH", "c", "x")
	<-r.entered
	added := make(chan error, 1)
	go func() { added <- s.Add(bounded(t), redisadapter.Topics{Channels: []string{"d"}}) }()
	testkit.Eventually(t, "Redis has the subscription", func() bool {
		return fmt.Sprint(redis.Do("PUBSUB", "NUMSUB", "d")) == "[d 1]"
	})
	timer := time.NewTimer(3 * o.ConnWriteTimeout)
	<-timer.C
	close(r.release)
	if err := <-added; err != nil {
		t.Error(err)
	}
	if lost, _ := r.Losses(); lost != 0 {
		t.Errorf("lost: %v", r.Errs())
	}
}

func TestFromURL(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{
		"redis://h":                                     "h:6379",
		"rediss://u:p@h:1/2":                            "h:1 tls 2 u p",
		"valkeys://h":                                   "h:6379 tls",
		"unix:///tmp/redis.sock?db=1":                   "/tmp/redis.sock 1",
		"redis+cluster://h1":                            "h1:6379",
		"rediss+cluster://u:p@h1:1,h2,[::1]:3/0":        "h1:1,h2:6379,[::1]:3 tls u p",
		"redis+sentinel://h1:1,h2/m":                    "h1:1,h2:26379 of m",
		"valkey+sentinel://u:p%40@h1,h2/m/4?protocol=2": "h1:26379,h2:26379 of m 4 u p@ resp2",
		"rediss+sentinel://h/m?sentinel_user=a&sentinel_password=b": "h:26379 of m as a b tls",
	} {
		o, _, err := parse(s)
		if err != nil {
			t.Errorf("%s: %v", s, err)
			continue
		}
		got := strings.Join(o.InitAddress, ",")
		if o.Sentinel.MasterSet != "" {
			got += " of " + o.Sentinel.MasterSet
		}
		if o.Sentinel.Username != "" {
			got += " as " + o.Sentinel.Username + " " + o.Sentinel.Password
		}
		if o.TLSConfig != nil {
			got += " tls"
		}
		if o.SelectDB != 0 {
			got += fmt.Sprint(" ", o.SelectDB)
		}
		if o.Username != "" {
			got += " " + o.Username + " " + o.Password
		}
		if o.AlwaysRESP2 {
			got += " resp2"
		}
		if got != want {
			t.Errorf("%s: %q, want %q", s, got, want)
		}
		d, err := FromURL(s)
		closing(t, d, err)
	}
	for _, s := range []string{
		"", "h:1", "http://secret@h", "redis://u:secret@h:port", "redis://u:secret@h/x", "redis+other://u:secret@h",
		"unix+cluster://u:secret@/x", "redis+cluster://u:secret@", "redis+cluster://u:secret@h,", "redis+cluster://u:secret@h:x",
		"redis+cluster://u:secret@h/1", "redis+sentinel://u:secret@h", "redis+sentinel://u:secret@h/m/x",
		"redis+sentinel://u:%secret@h/m", "redis://secret@h\x00",
	} {
		if d, err := FromURL(s); err == nil || d != nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", s, err)
		}
	}
	for _, s := range []string{"redis+cluster://h", "http://secret@h"} {
		if _, err := FromURLs("redis://h", s); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", s, err)
		}
		if _, err := FromURLs(s, "redis://h"); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", s, err)
		}
	}
}
