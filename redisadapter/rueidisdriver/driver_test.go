package rueidisdriver

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/redistest"
)

func TestMain(m *testing.M) { testkit.Main(m) }

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

func TestDriver_Conformance(t *testing.T) {
	t.Parallel()
	for name, query := range map[string]string{"RESP3": "", "RESP2": "?protocol=2"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redistest.Drivers(t, func(t *testing.T, addr string) redisadapter.StreamDriver {
				t.Helper()
				return newStreamDriver(t, "redis://"+addr+query)
			})
		})
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
	if _, err := wrong.Subscribe(bounded(t), &redistest.Recorder{}); err == nil || strings.Contains(err.Error(), "hush") {
		t.Errorf("error %v", err)
	}
}

func TestNew_Errors(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]func() (*Driver, error){
		"no address": func() (*Driver, error) { return New(rueidis.ClientOption{}) },
		"cluster": func() (*Driver, error) {
			return New(rueidis.ClientOption{InitAddress: []string{"a:1", "b:1"}})
		},
		"scheme":   func() (*Driver, error) { return FromURL("http://secret@h") },
		"no URL":   func() (*Driver, error) { return FromURL("redis://u:secret@h:port") },
		"database": func() (*Driver, error) { return FromURL("redis://u:secret@h/x") },
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
