package presence

import (
	"strconv"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/redisadapter/rueidisdriver"
)

// BenchmarkJoin is what 10,000 users cost who come and go, in the namespace and in one of 100 rooms each, and
// BenchmarkRefresh what they cost while they stay.
func BenchmarkJoin(b *testing.B) {
	s, l := filled(b)
	b.ReportAllocs()
	for b.Loop() {
		for i := range 10_000 {
			l.remove(strconv.Itoa(i))
		}
		_, leaves, _ := l.take(time.Now(), 0)
		if list, err := s.leave(b.Context(), leaves); err != nil || len(list) != 20_000 {
			b.Fatal(len(list), err)
		}
		fill(l)
		joins, _, _ := l.take(time.Now(), 0)
		if list, err := s.join(b.Context(), joins); err != nil || len(list) != 20_000 {
			b.Fatal(len(list), err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/40_000, "us/change")
}

func BenchmarkRefresh(b *testing.B) {
	s, l := filled(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.refresh(b.Context(), l, false); err != nil {
			b.Fatal(err)
		}
	}
}

func filled(b *testing.B) (*shared, *local) {
	b.Helper()
	d, err := rueidisdriver.FromURL("redis://" + testkit.StartRedis(b).Addr)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = d.Close() }) // it returns nil
	s, l := newRedis(d, defaultPrefix, "/", time.Minute), newLocal(func() {})
	fill(l)
	joins, _, _ := l.take(time.Now(), 0)
	if list, err := s.join(b.Context(), joins); err != nil || len(list) != 20_000 {
		b.Fatal(len(list), err)
	}
	return s, l
}

func fill(l *local) {
	for i := range 10_000 {
		id := strconv.Itoa(i)
		l.add(id, id, nil, true)
		l.join(id, "room "+strconv.Itoa(i%100))
	}
}

// A socket of a user who is there already changes nothing in the store.
func TestLocal_SecondSocketIsFree(t *testing.T) {
	l := newLocal(func() {})
	l.add("1", "user", nil, true)
	l.join("1", "room")
	if joins, _, _ := l.take(time.Now(), 0); len(joins) != 2 {
		t.Fatalf("%+v", joins)
	}
	for range 3 {
		l.add("2", "user", nil, true)
		l.join("2", "room")
		l.remove("2")
	}
	joins, leaves, next := l.take(time.Now(), time.Hour)
	if len(joins)+len(leaves) > 0 || !next.IsZero() {
		t.Errorf("%+v %+v %v", joins, leaves, next)
	}
}

// Who comes again within the grace was never gone, and its end is counted from the last going.
func TestLocal_Grace(t *testing.T) {
	l := newLocal(func() {})
	now := time.Now()
	take := func(at time.Duration, joined, left int, next time.Duration) {
		t.Helper()
		joins, leaves, due := l.take(now.Add(at), time.Second)
		if len(joins) != joined || len(leaves) != left || !due.IsZero() && due.Sub(now) != next || due.IsZero() && next > 0 {
			t.Errorf("at %v: %d joined, %d left, next %v", at, len(joins), len(leaves), due.Sub(now))
		}
	}
	l.add("1", "user", nil, true)
	take(0, 1, 0, 0)
	l.remove("1")
	take(0, 0, 0, time.Second)
	l.add("2", "user", nil, true)
	take(500*time.Millisecond, 0, 0, time.Second)
	l.remove("2")
	take(900*time.Millisecond, 0, 0, time.Second)
	take(time.Second, 0, 0, 1900*time.Millisecond)
	take(1900*time.Millisecond, 0, 1, 0)
	if l.has("", "user") {
		t.Error("still there")
	}
}
