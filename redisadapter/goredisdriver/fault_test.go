package goredisdriver

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/redistest"
)

// An entry whose answer does not arrive may be there: it is not sent again, whatever the client's options say.
func TestDriver_NothingTwice(t *testing.T) {
	t.Parallel()
	server := testkit.StartRedis(t)
	proxy := testkit.StartProxy(t, server.Addr)
	d := driverOf(t, redis.NewClient(&redis.Options{
		Addr: proxy.Addr, MaxRetries: 5, ReadTimeout: testkit.Scale(200 * time.Millisecond),
	}), Options{})
	if err := d.Connect(bounded(t)); err != nil {
		t.Fatal(err)
	}
	entry := []redisadapter.Append{{Stream: "s", Fields: []string{"k", "v"}}}
	proxy.Hang(testkit.ToClient)
	_, errs := d.Append(bounded(t), entry)
	if len(errs) != 1 || errs[0] == nil || errors.Is(errs[0], redisadapter.ErrNotSent) {
		t.Errorf("Append without an answer: %v", errs)
	}
	testkit.Eventually(t, "the entry is there", func() bool { return server.Do("XLEN", "s") == int64(1) })
	proxy.Cut()
	for range 3 {
		if _, errs = d.Append(bounded(t), entry); len(errs) != 1 || !errors.Is(errs[0], redisadapter.ErrNotSent) {
			t.Errorf("Append without a connection: %v", errs)
		}
	}
	proxy.Heal()
	testkit.Eventually(t, "it appends", func() bool {
		_, errs := d.Append(bounded(t), entry)
		return errs == nil
	})
	if n := server.Do("XLEN", "s"); n != int64(2) {
		t.Errorf("%v entries", n)
	}
}

// slow is a receiver that is behind until it is let go.
type slow struct {
	redistest.Recorder

	gate chan struct{}
}

func (s *slow) Message(pattern, channel, payload string) {
	<-s.gate
	s.Recorder.Message(pattern, channel, "")
}

// Redis ends a connection whose reader is too far behind.
func TestDriver_OutputBuffer(t *testing.T) {
	t.Parallel()
	server := testkit.StartRedis(t, "--client-output-buffer-limit", "pubsub 100kb 0 0")
	d := driverOf(t, redis.NewClient(&redis.Options{Addr: server.Addr}), Options{})
	r := &slow{gate: make(chan struct{})}
	s, err := d.Subscribe(bounded(t), r)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Add(bounded(t), redisadapter.Topics{Channels: []string{"a"}}); err != nil {
		t.Fatal(err)
	}
	big := []redisadapter.Publication{{Channel: "a", Payload: make([]byte, 1<<20)}}
	testkit.Eventually(t, "Redis ends the connection", func() bool {
		if errs := d.Publish(bounded(t), big); errs != nil {
			t.Fatal(errs)
		}
		list, _ := server.Do("CLIENT", "LIST", "TYPE", "pubsub").(string)
		return list == ""
	})
	close(r.gate)
	awaitRestored(t, &r.Recorder)
	flows(t, d, &r.Recorder, redisadapter.Publication{Channel: "a"})
}

// A replica without its master says nothing any more, and answers to each ping.
func TestDriver_ReplicaCut(t *testing.T) {
	t.Parallel()
	master := testkit.StartRedis(t)
	sub := redis.NewClient(&redis.Options{Addr: testkit.StartReplica(t, master).Addr})
	defer sub.Close()
	d := driverOf(t, redis.NewClient(&redis.Options{Addr: master.Addr}), Options{Subscriber: sub})
	r, _ := subscribe(t, d, redisadapter.Topics{Channels: []string{"a"}})
	flows(t, d, r, redisadapter.Publication{Channel: "a"})
	master.Stop()
	awaitLost(t, r)
	master.Start()
	awaitRestored(t, r)
	flows(t, d, r, redisadapter.Publication{Channel: "a"})
	if lost, restored := r.Losses(); lost != 1 || restored != 1 {
		t.Errorf("lost %d times, restored %d times", lost, restored)
	}
}

// Thousands of channels come back in few commands.
func TestDriver_ManyChannelsComeBack(t *testing.T) {
	t.Parallel()
	server := testkit.StartRedis(t)
	d := driverOf(t, redis.NewClient(&redis.Options{Addr: server.Addr}), Options{})
	var topics redisadapter.Topics
	for i := range 5000 {
		topics.Channels = append(topics.Channels, strings.Repeat("x", i%50)+string(rune('a'+i%26))+time.Duration(i).String())
	}
	r, s := subscribe(t, d, topics)
	server.Do("CLIENT", "KILL", "TYPE", "pubsub")
	awaitRestored(t, r)
	for _, c := range []string{topics.Channels[0], topics.Channels[4999]} {
		if n, err := d.Subscribers(bounded(t), c); n != 1 || err != nil {
			t.Errorf("%d subscribers, %v", n, err)
		}
	}
	if err := s.Remove(bounded(t), topics); err != nil {
		t.Fatal(err)
	}
	if list, _ := server.Do("PUBSUB", "CHANNELS").([]any); len(list) != 0 {
		t.Errorf("%d channels are left", len(list))
	}
}

func TestReachable(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ addr, origin, want string }{
		{"10.0.0.1:6379", "10.0.0.2:7000", "10.0.0.1:6379"},
		{":6379", "10.0.0.2:7000", "10.0.0.2:6379"},
		{"127.0.0.1:6379", "10.0.0.2:7000", "10.0.0.2:6379"},
		{"127.0.0.1:6379", "127.0.0.1:7000", "127.0.0.1:6379"},
		{"127.0.0.1:6379", "localhost:7000", "127.0.0.1:6379"},
		{"10.0.0.1:0", "10.0.0.2:7000", "10.0.0.1:7000"},
		{"[::1]:6379", "[fe80::1]:7000", "[fe80::1]:6379"},
		{"10.0.0.1:6379", "", "10.0.0.1:6379"},
		{"?:6379", "10.0.0.2:7000", ""},
		{":6379", "", ""},
		{"nonsense", "10.0.0.2:7000", ""},
	} {
		if got, ok := reachable(c.addr, c.origin); ok != (c.want != "") || ok && got != c.want {
			t.Errorf("%s told by %s: %q, %t; want %q", c.addr, c.origin, got, ok, c.want)
		}
	}
}

// What a Redis says is read with care too: it may be another program, or one behind a proxy.
func TestEntries_Malformed(t *testing.T) {
	t.Parallel()
	good := []any{"1-0", []any{"k", "v"}}
	list, err := entries([]any{good, []any{"2-0", nil}})
	if err != nil || !reflect.DeepEqual(list, []redisadapter.Entry{{ID: "1-0", Fields: []string{"k", "v"}}}) {
		t.Errorf("%v, %v", list, err)
	}
	for name, reply := range map[string]any{
		"text": "x", "nothing": nil, "no pair": []any{"1-0"}, "id": []any{int64(1), []any{}}, "fields": []any{"1-0", "x"},
		"field": []any{"1-0", []any{"k", int64(1)}},
	} {
		if _, err := entries([]any{good, reply}); !errors.Is(err, errReply) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, reply := range map[string][]any{
		"empty": {}, "two": {good, good}, "text": {"x"}, "one": {[]any{"s"}}, "no list": {[]any{"s", "x"}},
		"entry": {[]any{"s", []any{"x"}}},
	} {
		if _, err := streamEntries(reply); !errors.Is(err, errReply) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
