package rueidisdriver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/redisadapter"
)

func newStreamDriver(t *testing.T, url string) redisadapter.StreamDriver {
	t.Helper()
	return openDriver(t, url).(redisadapter.StreamDriver)
}

func appends(stream string, values ...string) []redisadapter.Append {
	var batch []redisadapter.Append
	for _, v := range values {
		batch = append(batch, redisadapter.Append{Stream: stream, Fields: []string{"v", v, "a", "1"}})
	}
	return batch
}

// mustAppend gives the ids.
func mustAppend(t *testing.T, d redisadapter.StreamDriver, stream string, values ...string) []string {
	t.Helper()
	ids, errs := d.Append(bounded(t), appends(stream, values...))
	if errs != nil || len(ids) != len(values) {
		t.Fatalf("%d ids, %v", len(ids), errs)
	}
	return ids
}

func valuesOf(entries []redisadapter.Entry) []string {
	var values []string
	for _, e := range entries {
		values = append(values, e.Fields[1])
	}
	return values
}

func checkStreams(t *testing.T, d redisadapter.StreamDriver, stream string) {
	t.Helper()
	if info, err := d.Info(bounded(t), stream); err != nil || info != (redisadapter.StreamInfo{}) {
		t.Errorf("no stream: %+v, %v", info, err)
	}
	ids := mustAppend(t, d, stream, "1", "2", "\x00\xff")
	info, err := d.Info(bounded(t), stream)
	if err != nil || info.Length != 3 || info.FirstID != ids[0] || info.LastID != ids[2] {
		t.Errorf("%+v, %v", info, err)
	}
	got, err := d.Read(bounded(t), stream, ids[0], 10, time.Second)
	if err != nil || len(got) != 2 || got[1].ID != ids[2] || !slices.Equal(got[1].Fields, []string{"v", "\x00\xff", "a", "1"}) {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err = d.Read(bounded(t), stream, "0-0", 1, time.Second); err != nil || len(got) != 1 || got[0].ID != ids[0] {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err = d.Read(bounded(t), stream, ids[2], 10, time.Millisecond); err != nil || len(got) != 0 {
		t.Errorf("nothing to read: %+v, %v", got, err)
	}
	if got, err = d.Range(bounded(t), stream, "-", "+", 2); err != nil || !slices.Equal(valuesOf(got), []string{"1", "2"}) {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err = d.Range(bounded(t), stream+"no", "-", "+", 2); err != nil || len(got) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	if errs := d.Set(bounded(t), []redisadapter.Key{
		{Name: stream + "k1", Value: "v1", TTL: time.Minute}, {Name: stream + "k2", Value: "", TTL: time.Minute},
	}); errs != nil {
		t.Error(errs)
	}
	for key, want := range map[string]string{"k1": "v1", "k2": ""} {
		if v, ok, err := d.Get(bounded(t), stream+key); v != want || !ok || err != nil {
			t.Errorf("%s: %q, %v, %v", key, v, ok, err)
		}
		if there, err := d.Delete(bounded(t), stream+key); !there || err != nil {
			t.Errorf("%s: %v, %v", key, there, err)
		}
		if there, err := d.Delete(bounded(t), stream+key); there || err != nil {
			t.Errorf("%s: %v, %v", key, there, err)
		}
		if v, ok, err := d.Get(bounded(t), stream+key); v != "" || ok || err != nil {
			t.Errorf("%s: %q, %v, %v", key, v, ok, err)
		}
	}
}

func TestDriver_Read_Waits(t *testing.T) {
	t.Parallel()
	redis := testkit.StartRedis(t)
	d := newStreamDriver(t, redis.URL())
	type result struct {
		entries []redisadapter.Entry
		err     error
	}
	results := make(chan result)
	for i := range 3 { // each over a connection of its own
		go func() {
			e, err := d.Read(bounded(t), fmt.Sprint("s", i), "0-0", 10, time.Minute)
			results <- result{e, err}
		}()
	}
	testkit.Eventually(t, "all block", func() bool {
		return redis.Info("clients", "blocked_clients") == "3"
	})
	for i := range 3 {
		mustAppend(t, d, fmt.Sprint("s", i), "x")
	}
	for range 3 {
		if r := <-results; r.err != nil || len(r.entries) != 1 {
			t.Errorf("%+v", r)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		e, err := d.Read(ctx, "s", "0-0", 10, time.Minute)
		results <- result{e, err}
	}()
	testkit.Eventually(t, "it blocks", func() bool { return redis.Info("clients", "blocked_clients") == "1" })
	cancel()
	if r := <-results; !errors.Is(r.err, context.Canceled) {
		t.Errorf("%+v", r)
	}
	testkit.Eventually(t, "Redis forgets it", func() bool { return redis.Info("clients", "blocked_clients") == "0" })
}

func TestDriver_Append_MaxLen(t *testing.T) {
	t.Parallel()
	redis := testkit.StartRedis(t, "--stream-node-max-entries", "1")
	d := newStreamDriver(t, redis.URL())
	var batch []redisadapter.Append
	for range 20 {
		batch = append(batch, redisadapter.Append{Stream: "s", MaxLen: 10, Fields: []string{"a", "b"}})
	}
	ids, errs := d.Append(bounded(t), batch)
	if errs != nil {
		t.Fatal(errs)
	}
	info, err := d.Info(bounded(t), "s")
	if err != nil || info.Length != 10 || info.FirstID != ids[10] || info.LastID != ids[19] {
		t.Errorf("%+v, %v", info, err)
	}
	redis.Do("XDEL", "s", ids[19], ids[18])
	if info, err = d.Info(bounded(t), "s"); err != nil || info.LastID != ids[19] || info.LastDeleted != ids[19] {
		t.Errorf("%+v, %v", info, err)
	}
	redis.Do("XTRIM", "s", "MAXLEN", "0")
	if info, err = d.Info(bounded(t), "s"); err != nil || info.Length != 0 || info.FirstID != "" || info.LastID != ids[19] {
		t.Errorf("%+v, %v", info, err)
	}
}

// One command alone is refused, and those that Redis may take later are known to be not sent.
func TestDriver_Refused(t *testing.T) {
	t.Parallel()
	redis := testkit.StartRedis(t)
	d := newStreamDriver(t, redis.URL())
	redis.Do("SET", "string", "x")
	ids, errs := d.Append(bounded(t), append(appends("s", "1"), append(appends("string", "2"), appends("s", "3")...)...))
	if len(errs) != 3 || errs[0] != nil || errs[1] == nil || errs[2] != nil || ids[0] == "" || ids[1] != "" || ids[2] == "" {
		t.Errorf("%q, %v", ids, errs)
	}
	if errors.Is(errs[1], redisadapter.ErrNotSent) {
		t.Errorf("to be sent again: %v", errs[1])
	}
	for _, tt := range []struct {
		name      string
		set, back []string
	}{
		{"NOREPLICAS", []string{"CONFIG", "SET", "min-replicas-to-write", "1"}, []string{"CONFIG", "SET", "min-replicas-to-write", "0"}},
		{"OOM", []string{"CONFIG", "SET", "maxmemory", "1"}, []string{"CONFIG", "SET", "maxmemory", "0"}},
		{"READONLY", []string{"REPLICAOF", "127.0.0.1", "1"}, []string{"REPLICAOF", "NO", "ONE"}},
	} {
		redis.Do(tt.set...)
		_, errs := d.Append(bounded(t), appends("s", "1"))
		if len(errs) != 1 || !errors.Is(errs[0], redisadapter.ErrNotSent) || !strings.Contains(errs[0].Error(), tt.name) {
			t.Errorf("%s: %v", tt.name, errs)
		}
		redis.Do(tt.back...)
		mustAppend(t, d, "s", "1")
	}
	if errs := d.Set(bounded(t), []redisadapter.Key{{Name: "s", Value: "", TTL: time.Second}}); errs != nil {
		t.Error(errs)
	}
	if _, err := d.Read(bounded(t), "s", "0-0", 1, time.Second); err == nil {
		t.Error("a string is read as a stream")
	}
	if _, err := d.Info(bounded(t), "s"); err == nil {
		t.Error("a string is a stream")
	}
	if _, err := d.Range(bounded(t), "s", "-", "+", 1); err == nil {
		t.Error("a string is a stream")
	}
}
