package adapter

import (
	"fmt"
	"runtime"
	"strconv"
	"testing"
)

func BenchmarkIndex_Each(b *testing.B) {
	for _, n := range []int{1, 100, 10_000} {
		for _, c := range []struct {
			name string
			o    Options
		}{
			{"all", Options{}},
			{"room", Options{Rooms: []string{"red"}}},
			{"rooms", Options{Rooms: []string{"red", "room-1"}}},
			{"except", Options{Rooms: []string{"red"}, Except: []string{"room-1"}}},
		} {
			b.Run(fmt.Sprintf("%s/%d", c.name, n), func(b *testing.B) {
				x := filled(n)
				b.ReportAllocs()
				for b.Loop() {
					x.Each(c.o, func(Member) {})
				}
			})
		}
	}
}

func BenchmarkIndex_JoinLeave(b *testing.B) {
	for _, n := range []int{1, 10_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			x := filled(n)
			m := newMember("m")
			x.Add(m)
			b.ReportAllocs()
			for b.Loop() {
				_ = x.Join(m, "red") // it is within the bound
				x.Leave(m, "red")
			}
		})
	}
}

// BenchmarkIndex_Memory reports the bytes that a member in one room costs, its id and itself left out.
func BenchmarkIndex_Memory(b *testing.B) {
	const n = 100_000
	members := make([]*member, n)
	for i := range members {
		members[i] = newMember(fmt.Sprintf("member-%013d", i))
	}
	var before, after runtime.MemStats
	var x *Index
	for b.Loop() {
		x = nil // so that what was made before does not count
		runtime.KeepAlive(x)
		runtime.GC()
		runtime.ReadMemStats(&before)
		x = NewIndex(0, nil)
		for _, m := range members {
			x.Add(m)
			_ = x.Join(m, "red") // it is within the bound
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "B/member")
	runtime.KeepAlive(x)
}
