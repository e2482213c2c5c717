package redisadapter_test

import (
	"context"
	"encoding/base64"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/rediswire"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/parser"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/goredisdriver"
)

// watched is a driver whose user is told when it has read something.
type watched struct {
	redisadapter.StreamDriver
	redisadapter.Commander

	got, ran atomic.Pointer[func()]
}

func (d *watched) Get(ctx context.Context, key string) (string, bool, error) {
	value, ok, err := d.StreamDriver.Get(ctx, key)
	if f := d.got.Load(); f != nil && key == testKey {
		(*f)()
	}
	return value, ok, err
}

func (d *watched) DoAll(ctx context.Context, batch []redisadapter.Command) ([]any, []error) {
	replies, errs := d.Commander.DoAll(ctx, batch)
	if f := d.ran.Load(); f != nil {
		(*f)()
	}
	return replies, errs
}

// nodeBlob is a session as an official server stores it.
var nodeBlob = base64.StdEncoding.EncodeToString([]byte("\x84\xa3sid\xb4" + testSID + "\xa3pid\xb4" + testPID +
	"\xa5rooms\x92\xb4" + testSID + "\xa1r\xa4data\x81\xa1n\x07"))

// rivals are servers that may all restore one session.
type rivals struct {
	t       *testing.T
	redis   *watched // of nobody's
	drivers []*watched
	servers []*server
	offset  string
}

func startRivals(t *testing.T, open func() redisadapter.StreamDriver) *rivals {
	t.Helper()
	watch := func() *watched {
		d := open()
		c, ok := d.(redisadapter.Commander)
		if !ok {
			t.Fatal("it runs no commands")
		}
		return &watched{StreamDriver: d, Commander: c}
	}
	r := &rivals{t: t, redis: watch()}
	t.Cleanup(func() {
		if err := r.redis.Close(); err != nil {
			t.Error(err)
		}
	})
	for range 3 {
		d := watch()
		s, _ := recoveringServer(t, d, adapter.RecoveryOptions{})
		r.drivers, r.servers = append(r.drivers, d), append(r.servers, s)
	}
	s := r.servers[0].host.Connect(t, "aaaaaaaaaaaaaaaaaaaa")
	r.servers[0].emit(t, "first")
	testkit.Eventually(t, "delivered", func() bool { return s.Has("first") })
	if r.offset = offsetOf(s); r.offset == "-" { // the machine was slow
		es, err := r.redis.Range(t.Context(), "socket.io", "-", "+", 1)
		if err != nil || len(es) == 0 {
			t.Fatal(es, err)
		}
		r.offset = es[0].ID
	}
	r.store(nodeBlob)
	return r
}

func (r *rivals) store(value string) {
	r.t.Helper()
	if errs := r.redis.Set(r.t.Context(), []redisadapter.Key{{Name: testKey, Value: value, TTL: time.Hour}}); errs != nil {
		r.t.Fatal(errs)
	}
}

// restore restores the session at a server, which calls resume.
func (r *rivals) restore(server int, resume func()) error {
	rec, _ := r.servers[server].Adapter.(adapter.Recoverer)
	return rec.Restore(r.t.Context(), testPID, r.offset, func(adapter.Session, []*parser.Packet) error {
		resume()
		return nil
	})
}

// begin is restore in another goroutine.
func (r *rivals) begin(server int) <-chan error {
	done := make(chan error, 1)
	go func() { done <- r.restore(server, func() {}) }() // ends when the session is restored or not
	return done
}

// once gives a function that closes the channel when it is called for the first time.
func once() (called chan struct{}, f *func()) {
	called = make(chan struct{})
	var done atomic.Bool
	g := func() {
		if done.CompareAndSwap(false, true) {
			close(called)
		}
	}
	return called, &g
}

// goroutine is how the stack of this goroutine begins.
func goroutine() string {
	b := make([]byte, 64)
	header, _, _ := strings.Cut(string(b[:runtime.Stack(b, false)]), "[")
	return header
}

// stands tells whether a goroutine waits for something in a function.
func stands(goroutine, function string) bool {
	b := make([]byte, 4<<20)
	_, b2, _ := strings.Cut("\n\n"+string(b[:runtime.Stack(b, true)]), "\n\n"+goroutine)
	stack, _, _ := strings.Cut(b2, "\n\n")
	return strings.HasPrefix(stack, "[select") && strings.Contains(stack, function)
}

// claimWorlds are all drivers, each with one Redis and with a Redis Cluster.
func claimWorlds(t *testing.T, f func(t *testing.T, open func() redisadapter.StreamDriver)) {
	t.Helper()
	goredis := func(t *testing.T, client redis.UniversalClient) redisadapter.StreamDriver {
		t.Helper()
		d, err := goredisdriver.New(client, goredisdriver.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = client.Close() })
		return d
	}
	t.Run("single", func(t *testing.T) {
		t.Parallel()
		t.Run("rueidis", func(t *testing.T) {
			t.Parallel()
			server := testkit.StartRedis(t)
			f(t, func() redisadapter.StreamDriver { return redisDriver(t, server.URL()) })
		})
		t.Run("go-redis", func(t *testing.T) {
			t.Parallel()
			server := testkit.StartRedis(t)
			f(t, func() redisadapter.StreamDriver {
				return goredis(t, redis.NewClient(&redis.Options{Addr: server.Addr}))
			})
		})
	})
	t.Run("cluster", func(t *testing.T) {
		t.Parallel()
		t.Run("rueidis", func(t *testing.T) {
			t.Parallel()
			c := testkit.StartCluster(t, 3, 0)
			f(t, func() redisadapter.StreamDriver {
				return clusterDriver(t, c)
			})
		})
		t.Run("go-redis", func(t *testing.T) {
			t.Parallel()
			c := testkit.StartCluster(t, 3, 0)
			f(t, func() redisadapter.StreamDriver {
				return goredis(t, redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs()}))
			})
		})
	})
}

// contests are ways in which two restore one session at the same moment.
var contests = map[string]func(r *rivals) []error{
	// The other has read it before the first has taken it, and wants to take it when that has stored it again.
	"both have read it": func(r *rivals) []error {
		read, signal := once()
		goOn := make(chan struct{})
		hold := func() { (*signal)(); <-goOn }
		r.drivers[1].got.Store(&hold)
		other := r.begin(1)
		<-read
		first := r.restore(0, func() {})
		close(goOn)
		return []error{first, <-other}
	},
	// The other reads it when the first has taken it, whose client does not know that yet.
	"one has taken it": func(r *rivals) []error {
		read, signal := once()
		r.drivers[1].got.Store(signal)
		var other <-chan error
		first := r.restore(0, func() {
			other = r.begin(1)
			<-read
		})
		return []error{first, <-other}
	},
	// A client that comes back a second time, to the same server.
	"on one server": func(r *rivals) []error {
		other, id := make(chan error, 1), make(chan string, 1)
		first := r.restore(0, func() {
			go func() { // ends when the session is restored or not
				id <- goroutine()
				other <- r.restore(0, func() {})
			}()
			waiting := <-id
			testkit.Eventually(r.t, "the other waits", func() bool { return stands(waiting, "(*keeper).enter") })
		})
		return []error{first, <-other}
	},
	"many": func(r *rivals) []error {
		var reading atomic.Int32
		all := make(chan struct{})
		hold := func() {
			if reading.Add(1) == int32(len(r.servers)) {
				close(all)
			}
			<-all
		}
		var done []<-chan error
		for i, d := range r.drivers {
			d.got.Store(&hold)
			done = append(done, r.begin(i))
		}
		var errs []error
		for _, d := range done {
			errs = append(errs, <-d)
		}
		return errs
	},
}

// Of those who restore a session at the same moment one wins, and the others' clients begin anew. The session goes on.
func TestStreamsRecovery_OneWins(t *testing.T) {
	t.Parallel()
	claimWorlds(t, func(t *testing.T, open func() redisadapter.StreamDriver) {
		t.Helper()
		for name, contest := range contests {
			t.Run(name, func(t *testing.T) {
				r := startRivals(t, open)
				errs := contest(r)
				won := 0
				for _, err := range errs {
					if err == nil {
						won++
					} else if !errors.Is(err, adapter.ErrNotRecoverable) || errors.Is(err, redisadapter.ErrUnavailable) {
						t.Error(err)
					}
				}
				if won != 1 {
					t.Errorf("%d of %d win: %v", won, len(errs), errs)
				}
				testkit.Eventually(t, "the session goes on", func() bool { return r.restore(2, func() {}) == nil })
			})
		}
	})
}

// A session that another server is restoring is waited for, also where that server is gone; and who takes too long has
// lost it.
func TestStreamsRecovery_Lease(t *testing.T) {
	t.Parallel()
	redis := testkit.StartRedis(t)
	open := func() redisadapter.StreamDriver { return redisDriver(t, redis.URL()) }
	t.Run("its server is gone", func(t *testing.T) {
		r := startRivals(t, open)
		s, err := rediswire.ParseSession(nodeBlob)
		if err != nil {
			t.Fatal(err)
		}
		s.Turn, s.Pending = "of one that is gone", true
		b, err := rediswire.AppendSession(nil, &s)
		if err != nil {
			t.Fatal(err)
		}
		r.store(string(b))
		begun := time.Now()
		if err := r.restore(1, func() {}); err != nil {
			t.Error(err)
		}
		if time.Since(begun) < 2*time.Second {
			t.Error("it was not waited for")
		}
	})
	t.Run("it is slow", func(t *testing.T) {
		r := startRivals(t, open)
		late := func() { time.Sleep(2100 * time.Millisecond) }
		r.drivers[0].ran.Store(&late)
		if err := r.restore(0, func() {}); !errors.Is(err, adapter.ErrNotRecoverable) {
			t.Error(err)
		}
		r.drivers[0].ran.Store(nil)
		testkit.Eventually(t, "another may have it", func() bool { return r.restore(1, func() {}) == nil })
	})
}

// A session that a Node server takes at the same moment is that one's, and nothing is left in its place.
func TestStreamsRecovery_NodeWins(t *testing.T) {
	t.Parallel()
	claimWorlds(t, func(t *testing.T, open func() redisadapter.StreamDriver) {
		t.Helper()
		r := startRivals(t, open)
		take := func() {
			if ok, err := r.redis.Delete(t.Context(), testKey); !ok || err != nil { // as MULTI, GET, DEL, EXEC
				t.Error(ok, err)
			}
		}
		r.drivers[0].got.Store(&take)
		if err := r.restore(0, func() {}); !errors.Is(err, adapter.ErrNotRecoverable) {
			t.Error(err)
		}
		if value, ok, err := r.redis.Get(t.Context(), testKey); ok || err != nil {
			t.Errorf("left %q %v", value, err)
		}
	})
}

// A session that its server writes again while another one restores it is restored as it is then.
func TestStreamsRecovery_OwnerWrites(t *testing.T) {
	t.Parallel()
	claimWorlds(t, func(t *testing.T, open func() redisadapter.StreamDriver) {
		t.Helper()
		r := startRivals(t, open)
		if _, err := r.redis.Delete(t.Context(), testKey); err != nil {
			t.Fatal(err)
		}
		s := r.servers[0].host.Connect(t, testSID, "red")
		k, _ := r.servers[0].Adapter.(adapter.SessionKeeper)
		k.Track(s, snapshot(s))
		stored := func(room string) bool {
			value, _, err := r.redis.Get(t.Context(), testKey)
			got, parsed := rediswire.ParseSession(value)
			return err == nil && parsed == nil && slices.Contains(got.Rooms, room)
		}
		testkit.Eventually(t, "kept", func() bool { return stored("red") })
		var written bool
		write := func() {
			if !written {
				written = true
				if err := r.servers[0].host.Index().Join(s, "blue"); err != nil {
					t.Error(err)
				}
				testkit.Eventually(t, "written", func() bool { return stored("blue") })
			}
		}
		r.drivers[1].got.Store(&write)
		session, _, err := restore(t, r.servers[1], testPID, r.offset)
		if err != nil || !slices.Contains(session.Rooms, "blue") {
			t.Errorf("%+v %v", session, err)
		}
		// What its old server writes now is too late.
		if err := r.servers[0].host.Index().Join(s, "green"); err != nil {
			t.Fatal(err)
		}
		last := snapshot(s)()
		k.Untrack(s, &last)
		if err := r.servers[0].cluster.Close(); err != nil {
			t.Fatal(err)
		}
		if !stored("blue") || stored("green") {
			t.Error("the old server has overwritten it")
		}
	})
}

// A user of Redis who may not run scripts has recovery too, and is told what that costs.
func TestStreamsRecovery_NoScripts(t *testing.T) {
	t.Parallel()
	for name, right := range map[string]string{"without": "+get", "with": "+eval"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redis := testkit.StartRedis(t)
			redis.Do("ACL", "SETUSER", "app", "on", ">secret", "resetchannels", "&socket.io*", "~socket.io*", "~sio:session:*",
				"+@connection", "+@pubsub", "+xadd", "+xread", "+xrange", "+xinfo", "+set", "+get", "+del", right)
			r := startRivals(t, func() redisadapter.StreamDriver { return redisDriver(t, "redis://app:secret@"+redis.Addr) })
			if err := r.restore(1, func() {}); err != nil {
				t.Error(err)
			}
			testkit.Eventually(t, "another has it then", func() bool { return r.restore(2, func() {}) == nil })
			if faults := r.servers[1].host.Faults(); (len(faults) > 0) != (name == "without") {
				t.Errorf("faults %v", faults)
			}
		})
	}
}
