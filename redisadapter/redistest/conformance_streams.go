package redistest

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/redisadapter"
)

func appendTo(t *testing.T, d redisadapter.StreamDriver, batch ...redisadapter.Append) []string {
	t.Helper()
	ids, errs := d.Append(bounded(t), batch)
	if errs != nil || len(ids) != len(batch) {
		t.Fatal(ids, errs)
	}
	return ids
}

func entries(t *testing.T, open Open) {
	d := open(t, testkit.StartRedis(t).Addr)
	if info, err := d.Info(bounded(t), "s"); err != nil || info != (redisadapter.StreamInfo{}) {
		t.Errorf("Info of no stream: %+v, %v", info, err)
	}
	// The same name twice, an empty value, binary: it comes back as it was, in order.
	fields := []string{"uid", "a", "data", "\x00\xff", "uid", "b", "", ""}
	ids := appendTo(t, d,
		redisadapter.Append{Stream: "s", Fields: fields},
		redisadapter.Append{Stream: "other", Fields: []string{"k", "v"}},
		redisadapter.Append{Stream: "s", Fields: []string{"k", "v"}})
	list, err := d.Range(bounded(t), "s", "-", "+", 10)
	if err != nil || len(list) != 2 || list[0].ID != ids[0] || list[1].ID != ids[2] || !slices.Equal(list[0].Fields, fields) {
		t.Errorf("Range: %q, %v; ids %q", list, err, ids)
	}
	if list, err = d.Range(bounded(t), "s", ids[2], ids[2], 10); err != nil || len(list) != 1 || list[0].ID != ids[2] {
		t.Errorf("Range of one: %q, %v", list, err)
	}
	if list, err = d.Range(bounded(t), "s", "-", "+", 1); err != nil || len(list) != 1 || list[0].ID != ids[0] {
		t.Errorf("Range up to one: %q, %v", list, err)
	}
	if list, err = d.Range(bounded(t), "none", "-", "+", 1); err != nil || len(list) != 0 {
		t.Errorf("Range of no stream: %q, %v", list, err)
	}
	info, err := d.Info(bounded(t), "s")
	if err != nil || info.Length != 2 || info.FirstID != ids[0] || info.LastID != ids[2] {
		t.Errorf("Info: %+v, %v", info, err)
	}
	for i := range 500 {
		appendTo(t, d, redisadapter.Append{Stream: "short", MaxLen: 10, Fields: []string{"i", strconv.Itoa(i)}})
	}
	if info, err = d.Info(bounded(t), "short"); err != nil || info.Length >= 500 || info.Length < 10 {
		t.Errorf("Info of a short stream: %+v, %v", info, err)
	}
}

// Read waits for entries, gives them in order and without a gap, and ends with its context.
func follow(t *testing.T, open Open) {
	d := open(t, testkit.StartRedis(t).Addr)
	if list, err := d.Read(bounded(t), "s", "0-0", 10, 20*time.Millisecond); err != nil || len(list) != 0 {
		t.Errorf("Read of no stream: %q, %v", list, err)
	}
	const total = 300
	appended := make(chan []string)
	go func() { // ends when all is appended
		var ids []string
		for i := range total {
			got, errs := d.Append(context.Background(), []redisadapter.Append{{Stream: "s", Fields: []string{"i", strconv.Itoa(i)}}})
			if errs != nil {
				break
			}
			ids = append(ids, got[0])
		}
		appended <- ids
	}()
	var read []string
	for last := "0-0"; len(read) < total; {
		list, err := d.Read(bounded(t), "s", last, 7, 5*time.Second)
		if err != nil || len(list) > 7 {
			t.Fatal(len(list), err)
		}
		for _, e := range list {
			read = append(read, e.ID)
			last = e.ID
		}
	}
	if ids := <-appended; !slices.Equal(ids, read) {
		t.Errorf("appended %d, read %d entries", len(ids), len(read))
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { // ends with ctx
		_, err := d.Read(ctx, "s", "$", 1, time.Hour)
		done <- err
	}()
	cancel()
	select {
	case err := <-done:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Read: %v", err)
		}
	case <-bounded(t).Done():
		t.Fatal("Read does not end with its context")
	}
}

func keys(t *testing.T, open Open) {
	d := open(t, testkit.StartRedis(t).Addr)
	if errs := d.Set(bounded(t), []redisadapter.Key{
		{Name: "a", Value: "\x00\xff", TTL: time.Hour}, {Name: "b", TTL: time.Hour}, {Name: "c", Value: "x", TTL: time.Millisecond},
	}); errs != nil {
		t.Fatal(errs)
	}
	for name, want := range map[string]string{"a": "\x00\xff", "b": ""} {
		if v, ok, err := d.Get(bounded(t), name); v != want || !ok || err != nil {
			t.Errorf("Get of %s: %q, %t, %v", name, v, ok, err)
		}
	}
	testkit.Eventually(t, "a key expires", func() bool {
		_, ok, err := d.Get(bounded(t), "c")
		return !ok && err == nil
	})
	for _, want := range []bool{true, false} {
		if there, err := d.Delete(bounded(t), "a"); there != want || err != nil {
			t.Errorf("Delete: %t, %v; want %t", there, err, want)
		}
	}
	if _, ok, err := d.Get(bounded(t), "a"); ok || err != nil {
		t.Errorf("Get of what is deleted: %t, %v", ok, err)
	}
}

// What Redis refuses for now is not sent; what it never takes is an error of another kind; and the rest of the batch is
// not concerned.
func refused(t *testing.T, open Open) {
	redis := testkit.StartRedis(t)
	d := open(t, redis.Addr)
	if errs := d.Set(bounded(t), []redisadapter.Key{{Name: "string", Value: "v", TTL: time.Hour}}); errs != nil {
		t.Fatal(errs)
	}
	field := []string{"k", "v"}
	batch := []redisadapter.Append{{Stream: "s", Fields: field}, {Stream: "string", Fields: field}, {Stream: "s", Fields: field}}
	ids, errs := d.Append(bounded(t), batch)
	if len(errs) != 3 || errs[0] != nil || errs[1] == nil || errors.Is(errs[1], redisadapter.ErrNotSent) || errs[2] != nil ||
		ids[0] == "" || ids[2] == "" {
		t.Errorf("Append: %q, %v", ids, errs)
	}
	redis.Do("CONFIG", "SET", "min-replicas-to-write", "1")
	if _, errs = d.Append(bounded(t), batch[:1]); len(errs) != 1 || !errors.Is(errs[0], redisadapter.ErrNotSent) {
		t.Errorf("Append without replicas: %v", errs)
	}
	redis.Do("CONFIG", "SET", "min-replicas-to-write", "0")
	if _, errs = d.Append(bounded(t), batch[:1]); errs != nil {
		t.Errorf("Append: %v", errs)
	}
	if info, err := d.Info(bounded(t), "s"); err != nil || info.Length != 3 {
		t.Errorf("Info: %+v, %v", info, err)
	}
}
