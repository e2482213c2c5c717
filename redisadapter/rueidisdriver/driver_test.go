package rueidisdriver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/redisadapter"
)

func TestMain(m *testing.M) { testkit.Main(m) }

type recorder struct {
	mu       sync.Mutex
	messages []string
	lost     []error
	restored int
}

func (r *recorder) Message(pattern, channel, payload string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.messages = append(r.messages, pattern+" "+channel+" "+payload)
}

func (r *recorder) Lost(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lost = append(r.lost, err)
}

func (r *recorder) Restored() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.restored++
}

func (r *recorder) got() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.messages...)
}

func (r *recorder) losses() (lost, restored int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.lost), r.restored
}

func openDriver(t *testing.T, url string) redisadapter.Driver {
	t.Helper()
	d, err := FromURL(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func publications(channels ...string) []redisadapter.Publication {
	var batch []redisadapter.Publication
	for _, c := range channels {
		batch = append(batch, redisadapter.Publication{Channel: c})
	}
	return batch
}

func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Scale(10*time.Second))
	t.Cleanup(cancel)
	return ctx
}

func TestDriver_PublishSubscribe(t *testing.T) {
	t.Parallel()
	redis := testkit.StartRedis(t)
	for name, url := range map[string]string{"RESP3": redis.URL(), "RESP2": redis.URL() + "?protocol=2"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := openDriver(t, url)
			if err := d.Connect(bounded(t)); err != nil {
				t.Fatal(err)
			}
			r := &recorder{}
			s, err := d.Subscribe(bounded(t), r)
			if err != nil {
				t.Fatal(err)
			}
			ch, pattern := name+"-x", name+`-\**`
			var many redisadapter.Topics // more than one command
			for i := range chunk + 10 {
				many.Channels = append(many.Channels, fmt.Sprint(name, i))
			}
			for _, topics := range []redisadapter.Topics{{Channels: []string{ch}, Patterns: []string{pattern}}, many} {
				if err := s.Add(bounded(t), topics); err != nil {
					t.Fatal(err)
				}
			}
			if n, err := d.Subscribers(bounded(t), ch); n != 1 || err != nil {
				t.Errorf("%d subscribers, %v", n, err)
			}
			payload := "\x00\xff binary"
			batch := append(publications(ch, name+"-*y", name+"-other"), redisadapter.Publication{Channel: ch, Payload: []byte("2")})
			batch[0].Payload = []byte(payload)
			if errs := d.Publish(bounded(t), batch); errs != nil {
				t.Fatal(errs)
			}
			testkit.Eventually(t, "the messages", func() bool { return len(r.got()) == 3 })
			want := []string{" " + ch + " " + payload, pattern + " " + name + "-*y ", " " + ch + " 2"}
			for i, m := range r.got() {
				if m != want[i] {
					t.Errorf("%q, want %q", m, want[i])
				}
			}
			if err := s.Remove(bounded(t), redisadapter.Topics{Channels: []string{ch}, Patterns: []string{pattern}}); err != nil {
				t.Fatal(err)
			}
			if n, err := d.Subscribers(bounded(t), ch); n != 0 || err != nil {
				t.Errorf("%d subscribers, %v", n, err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if err := s.Add(bounded(t), redisadapter.Topics{Channels: []string{ch}}); err == nil {
				t.Error("Add after Close: no error")
			}
		})
	}
}

func TestDriver_Restart(t *testing.T) {
	t.Parallel()
	redis := testkit.StartRedis(t)
	d := openDriver(t, redis.URL())
	r := &recorder{}
	s, err := d.Subscribe(bounded(t), r)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Add(bounded(t), redisadapter.Topics{Channels: []string{"a", "gone"}, Patterns: []string{"p*"}}); err != nil {
		t.Fatal(err)
	}
	if err := d.Connect(bounded(t)); err != nil {
		t.Fatal(err)
	}
	redis.Stop()
	testkit.Eventually(t, "the loss is told", func() bool { lost, _ := r.losses(); return lost == 1 })
	if err := s.Add(bounded(t), redisadapter.Topics{Channels: []string{"b"}}); err == nil {
		t.Error("Add without a connection: no error")
	}
	if err := s.Remove(bounded(t), redisadapter.Topics{Channels: []string{"gone"}}); err == nil {
		t.Error("Remove without a connection: no error")
	}
	testkit.Eventually(t, "a publication that is certainly not sent", func() bool {
		errs := d.Publish(bounded(t), publications("a"))
		return len(errs) == 1 && errors.Is(errs[0], redisadapter.ErrNotSent) && strings.Contains(errs[0].Error(), redis.Addr)
	})
	redis.Start()
	testkit.Eventually(t, "all is subscribed again", func() bool { _, restored := r.losses(); return restored == 1 })
	if errs := d.Publish(bounded(t), publications("a", "b", "gone", "p1")); errs != nil {
		t.Fatal(errs)
	}
	testkit.Eventually(t, "the messages", func() bool { return len(r.got()) == 3 })
}

// Everything ends with its context, or with the driver, also where nobody answers.
func TestDriver_Mute(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp4", "127.0.0.1:0") // accepts, by the kernel, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d := openDriver(t, "redis://"+l.Addr().String())
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := d.Connect(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Errorf("Connect: %v", err)
	}
	if _, err := d.Subscribers(ctx, "c"); err == nil {
		t.Error("Subscribers: no error")
	}
	if _, err := d.Subscribe(ctx, &recorder{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Subscribe: %v", err)
	}
}

func TestDriver_Password(t *testing.T) {
	t.Parallel()
	redis := testkit.StartRedis(t)
	redis.Do("ACL", "SETUSER", "sockeye", "on", ">secret", "~*", "&*", "+@all")
	right := openDriver(t, "redis://sockeye:secret@"+redis.Addr+"/3")
	if err := right.Connect(bounded(t)); err != nil {
		t.Error(err)
	}
	wrong := openDriver(t, "redis://sockeye:hush@"+redis.Addr)
	err := wrong.Connect(bounded(t))
	if err == nil || strings.Contains(err.Error(), "hush") || !strings.Contains(err.Error(), redis.Addr) {
		t.Errorf("error %v", err)
	}
	if _, err := wrong.Subscribe(bounded(t), &recorder{}); err == nil || strings.Contains(err.Error(), "hush") {
		t.Errorf("error %v", err)
	}
}

func TestNew_Errors(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]func() (redisadapter.Driver, error){
		"no address": func() (redisadapter.Driver, error) { return New(rueidis.ClientOption{}) },
		"cluster": func() (redisadapter.Driver, error) {
			return New(rueidis.ClientOption{InitAddress: []string{"a:1", "b:1"}})
		},
		"scheme":   func() (redisadapter.Driver, error) { return FromURL("http://secret@h") },
		"no URL":   func() (redisadapter.Driver, error) { return FromURL("redis://u:secret@h:port") },
		"database": func() (redisadapter.Driver, error) { return FromURL("redis://u:secret@h/x") },
	} {
		d, err := f()
		if err == nil || d != nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, url := range []string{"redis://h", "rediss://u:p@h:1/2", "unix:///tmp/redis.sock?db=1"} {
		d, err := FromURL(url)
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		if err := d.Connect(bounded(t)); !errors.Is(err, redisadapter.ErrClosed) {
			t.Errorf("Connect after Close: %v", err)
		}
	}
}
