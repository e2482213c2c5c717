package redisadapter_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/parser"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/redistest"
)

// Across restarts of a Redis that keeps its data each event comes once.
func TestStreams_RedisRestart(t *testing.T) {
	t.Parallel()
	redis := testkit.StartRedis(t, "--appendonly", "yes", "--appendfsync", "always")
	a := streamServer(t, redisDriver(t, redis.URL()), redisadapter.StreamsOptions{}, nil)
	b := streamServer(t, redisDriver(t, redis.URL()), redisadapter.StreamsOptions{}, nil)
	s := b.host.Connect(t, "bbbbbbbbbbbbbbbbbbbb")
	stormed(t, a, s, func() {
		redis.Stop()
		testkit.Eventually(t, "noticed", func() bool { return a.cluster.Health() != nil && b.cluster.Health() != nil })
		redis.Start()
		testkit.Eventually(t, "health", func() bool { return a.cluster.Health() == nil && b.cluster.Health() == nil })
	}, 2)
}

// A connection that is cut while entries are on their way leaves open which of them are there.
func TestStreams_ConnectionCut(t *testing.T) {
	t.Parallel()
	redis := testkit.StartRedis(t)
	proxy := testkit.StartProxy(t, redis.Addr)
	a := streamServer(t, redisDriver(t, "redis://"+proxy.Addr), redisadapter.StreamsOptions{}, nil)
	b := streamServer(t, redisDriver(t, redis.URL()), redisadapter.StreamsOptions{}, nil)
	s := b.host.Connect(t, "bbbbbbbbbbbbbbbbbbbb")
	stormed(t, a, s, func() {
		proxy.Cut()
		testkit.Eventually(t, "noticed", func() bool { return a.cluster.Health() != nil })
		proxy.Heal()
		testkit.Eventually(t, "health", func() bool { return a.cluster.Health() == nil })
	}, 3)
	if len(a.host.Faults()) == 0 {
		t.Error("the faults were not reported")
	}
}

// stormed has a emit numbers, while fault happens that many times, and wants each once at s.
func stormed(t *testing.T, a *server, s *adaptertest.Socket, fault func(), times int) {
	t.Helper()
	stop, ended := make(chan struct{}), make(chan int, 1)
	end := sync.OnceFunc(func() { close(stop) })
	defer end()
	go func() { // ends when stop is closed
		pace := time.NewTicker(500 * time.Microsecond)
		defer pace.Stop()
		for i := 0; ; i++ {
			select {
			case <-stop:
				ended <- i
				return
			case <-pace.C:
				if err := a.Broadcast(context.Background(), packet(strconv.Itoa(i)), adapter.Options{}); err != nil {
					t.Error(err)
				}
			}
		}
	}()
	for range times {
		n := len(s.Got())
		testkit.Eventually(t, "events", func() bool { return len(s.Got()) > n+50 })
		fault()
	}
	end()
	wantEvents(t, s, <-ended)
}

// Whatever is in the stream, the next good entry is delivered.
func TestStreams_Poison(t *testing.T) {
	t.Parallel()
	hub := redistest.NewHub()
	b := streamServer(t, hub.StreamDriver(), redisadapter.StreamsOptions{}, nil)
	s := b.host.Connect(t, "bbbbbbbbbbbbbbbbbbbb")
	good := func(event string) []string {
		return []string{
			"uid", "0123456789abcdef", "nsp", "/", "type", "3", "data",
			`{"opts":{"rooms":[],"except":[],"flags":{}},"packet":{"type":2,"data":["` + event + `"],"nsp":"/"}}`,
		}
	}
	with := func(typ, data string) []string {
		return []string{"uid", "0123456789abcdef", "nsp", "/", "type", typ, "data", data}
	}
	data := good("x")[7]
	bad := [][]string{
		{},
		{"a"},
		{"uid", "u", "nsp", "/"},
		{"uid", "u", "nsp", "/", "type", "3"},
		with("3", ""), with("3", "{"), with("3", "null"), with("3", "{}"), with("99", data), with("x", data),
		with("4", "{}"), with("5", `{"opts":{}}`), with("6", "[]"), with("9", `{"packet":7}`),
		with("3", "!!! no base64"), with("3", base64.StdEncoding.EncodeToString([]byte{0xdf, 0xff, 0xff, 0xff, 0xff})),
		with("3", base64.StdEncoding.EncodeToString([]byte(strings.Repeat("\x91", 100_000)))),
		with("3", data[:len(data)-1]), with("3", strings.Repeat("x", 1<<20)),
		with("3", `{"opts":{"rooms":7},"packet":{"type":2,"data":["no"]}}`),
	}
	for _, e := range bad {
		hub.Add("socket.io", e...)
	}
	hub.Add("socket.io", good("good")...)
	testkit.Eventually(t, "the next good one", func() bool { return s.Has("good") })
	if got := events(s); !slices.Equal(got, []string{"good"}) {
		t.Errorf("events %q", got)
	}
	if n := b.stats().Malformed; n < 15 {
		t.Errorf("%d malformed", n)
	}
	if n := len(b.host.Faults()); n == 0 || n > 4 {
		t.Errorf("%d faults reported: %v", n, b.host.Faults())
	}
	// What servers of 0.2 say to each other is none of ours.
	before := b.stats().Malformed
	for _, typ := range []string{"1", "2", "7", "8", "10", "11", "12", "13"} {
		hub.Add("socket.io", "uid", "0123456789abcdef", "nsp", "/", "type", typ)
	}
	hub.Add("socket.io", good("last")...)
	testkit.Eventually(t, "the last", func() bool { return s.Has("last") })
	if n := b.stats().Malformed - before; n > 0 {
		t.Errorf("%d malformed", n)
	}
}

// A stream that was trimmed before it was read is a gap, which is counted and reported; what is there is delivered.
func TestStreams_Trimmed(t *testing.T) {
	t.Parallel()
	hub := redistest.NewHub()
	a := streamServer(t, hub.StreamDriver(), redisadapter.StreamsOptions{}, nil)
	b := streamServer(t, hub.StreamDriver(), redisadapter.StreamsOptions{}, nil)
	s := b.host.Connect(t, "bbbbbbbbbbbbbbbbbbbb")
	a.emit(t, "before")
	testkit.Eventually(t, "the first", func() bool { return s.Has("before") })
	hub.Stop()
	testkit.Eventually(t, "noticed", func() bool { return b.cluster.Health() != nil })
	fields := hub.Entries("socket.io")[0].Fields
	fields[1] = "0123456789abcdef" // of another server
	for i := range 20 {
		fields[7] = fmt.Sprintf(`{"opts":{"rooms":[],"except":[],"flags":{}},"packet":{"type":2,"data":["%d"],"nsp":"/"}}`, i)
		hub.Add("socket.io", fields...)
	}
	hub.Trim("socket.io", 5)
	hub.Start()
	testkit.Eventually(t, "the last", func() bool { return s.Has("19") })
	if got := events(s); !slices.Equal(got, []string{"before", "15", "16", "17", "18", "19"}) {
		t.Errorf("events %q", got)
	}
	if n := b.stats().Gaps; n < 1 || n > 2 { // that of the subscription is one too
		t.Errorf("%d gaps", n)
	}
	if !slices.ContainsFunc(b.host.Faults(), func(err error) bool { return errors.Is(err, redisadapter.ErrGap) }) {
		t.Errorf("faults %v", b.host.Faults())
	}
}

// A Redis that was restarted without its data begins anew, perhaps with lower ids.
func TestStreams_BeginsAnew(t *testing.T) {
	t.Parallel()
	hub := redistest.NewHub()
	future := fmt.Sprintf("%d-7", time.Now().Add(time.Hour).UnixMilli())
	hub.Skip("socket.io", future) // the clock of the old Redis was ahead
	a := streamServer(t, hub.StreamDriver(), redisadapter.StreamsOptions{}, nil)
	b := streamServer(t, hub.StreamDriver(), redisadapter.StreamsOptions{}, nil)
	s := b.host.Connect(t, "bbbbbbbbbbbbbbbbbbbb")
	a.emit(t, "0")
	testkit.Eventually(t, "the first", func() bool { return s.Has("0") })
	hub.Stop()
	testkit.Eventually(t, "noticed", func() bool { return b.cluster.Health() != nil && a.cluster.Health() != nil })
	hub.Flush()
	hub.Start()
	testkit.Eventually(t, "health", func() bool { return b.cluster.Health() == nil && a.cluster.Health() == nil })
	a.emit(t, "1")
	wantEvents(t, s, 2)
	if !slices.ContainsFunc(b.host.Faults(), func(err error) bool { return errors.Is(err, redisadapter.ErrGap) }) {
		t.Errorf("faults %v", b.host.Faults())
	}
}

// Nothing between Start and the first read is skipped.
func TestStreams_FromStart(t *testing.T) {
	t.Parallel()
	hub := redistest.NewHub()
	a := streamServer(t, hub.StreamDriver(), redisadapter.StreamsOptions{}, nil)
	a.emit(t, "before")
	testkit.Eventually(t, "appended", func() bool { return len(hub.Entries("socket.io")) == 1 })
	c := redisadapter.Streams(hub.StreamDriver(), redisadapter.StreamsOptions{Block: quick})
	host := adaptertest.NewHost(t, "/")
	s := host.Connect(t, "bbbbbbbbbbbbbbbbbbbb")
	if _, err := c.Open(host); err != nil {
		t.Fatal(err)
	}
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.emit(t, "0")
	wantEvents(t, s, 1)
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// The official adapter writes the entries of some namespaces to a stream that it does not read.
func TestStreams_NegativeHash(t *testing.T) {
	t.Parallel()
	const nsp = "/dashboard"
	for _, ignore := range []bool{false, true} {
		t.Run(strconv.FormatBool(ignore), func(t *testing.T) {
			t.Parallel()
			hub := redistest.NewHub()
			var faults []string
			o := redisadapter.StreamsOptions{StreamCount: 2, IgnoreNegative: ignore, OnFault: func(nsp string, err error) {
				faults = append(faults, nsp+" "+err.Error()) // by Open alone
			}}
			open := func(s *server) (adapter.Adapter, *adaptertest.Host) {
				h := adaptertest.NewHost(t, nsp)
				a, err := s.cluster.Open(h)
				if err != nil {
					t.Fatal(err)
				}
				return a, h
			}
			a, _ := open(streamServer(t, hub.StreamDriver(), o, nil))
			b, host := open(streamServer(t, hub.StreamDriver(), o, nil))
			s := host.Connect(t, "bbbbbbbbbbbbbbbbbbbb")
			p := &parser.Packet{Type: parser.Event, Namespace: nsp, Event: "0"}
			if err := a.Broadcast(t.Context(), p, adapter.Options{}); err != nil {
				t.Fatal(err)
			}
			if len(hub.Entries("socket.io--1")) != 1 {
				t.Fatal("not in the stream that official servers write to")
			}
			if n, err := b.Count(t.Context(), adapter.Options{}); n != 1 || err != nil {
				t.Errorf("count %d, %v", n, err)
			}
			if ignore {
				if len(s.Got()) > 0 {
					t.Error("it came")
				}
			} else {
				wantEvents(t, s, 1)
			}
			if len(faults) != 2 || !strings.HasPrefix(faults[0], nsp+" ") || !strings.Contains(faults[0], "StreamCount") {
				t.Errorf("faults %q", faults)
			}
		})
	}
}

// What is lost with a server is lost for itself alone.
func TestStreams_Close(t *testing.T) {
	t.Parallel()
	hub := redistest.NewHub()
	b := streamServer(t, hub.StreamDriver(), redisadapter.StreamsOptions{}, nil)
	s := b.host.Connect(t, "bbbbbbbbbbbbbbbbbbbb")
	c := redisadapter.Streams(hub.StreamDriver(), redisadapter.StreamsOptions{Block: quick})
	a, err := c.Open(adaptertest.NewHost(t, "/"))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		if err := a.Broadcast(context.Background(), packet(strconv.Itoa(i)), adapter.Options{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	wantEvents(t, s, 100) // what was queued was appended
	if err := a.Broadcast(t.Context(), packet("closed"), adapter.Options{}); !errors.Is(err, redisadapter.ErrClosed) {
		t.Errorf("error %v", err)
	}
	if n := hub.Subscribers("socket.io#/#"); n != 1 {
		t.Errorf("%d subscribers", n)
	}
}

// An entry that a lost connection swallowed is appended again, though others append without a pause.
func TestStreams_OutcomeUnknownWhileOthersAppend(t *testing.T) {
	t.Parallel()
	hub := redistest.NewHub()
	a := streamServer(t, hub.StreamDriver(), redisadapter.StreamsOptions{}, nil)
	ended := make(chan struct{})
	defer func() { <-ended }()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { // ends with ctx
		defer close(ended)
		for pace := time.NewTicker(time.Millisecond); ctx.Err() == nil; <-pace.C {
			hub.Add("socket.io", "uid", "0123456789abcdef", "nsp", "/elsewhere", "type", "1")
		}
	}()
	var faults atomic.Int64
	hub.AppendFault(func(redisadapter.Append) (bool, error) {
		if faults.Add(1) == 1 {
			return false, redistest.ErrLost
		}
		return true, nil
	})
	if err := a.Broadcast(bounded(t), packet("e"), adapter.Options{}); err != nil || faults.Load() != 2 {
		t.Errorf("%v after %d tries", err, faults.Load())
	}
}
