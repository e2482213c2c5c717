package ring

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

type taskFunc func()

func (f taskFunc) Run() { f() }

func TestPool_RunsEverything(t *testing.T) {
	t.Parallel()
	p := NewPool()
	defer p.Close()
	var n atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				if !p.Go(taskFunc(func() { n.Add(1) })) {
					t.Error("refused")
				}
			}
		})
	}
	wg.Wait()
	<-p.Quiet()
	if n.Load() != 8000 {
		t.Errorf("%d tasks ran", n.Load())
	}
}

func TestPool_TakesTheWarmestWorker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := NewPool()
		defer p.Close()
		for range 100 {
			p.Go(taskFunc(func() {}))
			synctest.Wait()
		}
		if all, busy := p.Workers(); all != 1 || busy != 0 {
			t.Errorf("%d workers, %d busy, want one idle", all, busy)
		}
	})
}

func TestPool_GrowsForBlockedTasksAndShrinksLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := NewPool()
		defer p.Close()
		release := make(chan struct{})
		for range 50 {
			p.Go(taskFunc(func() { <-release }))
		}
		synctest.Wait()
		if all, busy := p.Workers(); all != 50 || busy != 50 {
			t.Fatalf("%d workers, %d busy, want 50", all, busy)
		}
		select {
		case <-p.Quiet():
			t.Error("quiet while tasks run")
		default:
		}
		close(release)
		synctest.Wait()
		if all, busy := p.Workers(); all != 50 || busy != 0 {
			t.Fatalf("%d workers, %d busy, want 50 idle", all, busy)
		}
		// One that is needed every second stays, the others end.
		for range 25 {
			time.Sleep(time.Second)
			p.Go(taskFunc(func() {}))
			synctest.Wait()
		}
		if all, _ := p.Workers(); all != 1 {
			t.Errorf("%d workers stayed, want 1", all)
		}
		time.Sleep(3 * retireAfter)
		synctest.Wait()
		if all, _ := p.Workers(); all != 0 {
			t.Errorf("%d workers stayed idle", all)
		}
	})
}

func TestPool_Close(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := NewPool()
		p.Go(taskFunc(func() {}))
		var ended atomic.Bool
		p.Go(taskFunc(func() {
			time.Sleep(time.Minute)
			ended.Store(true)
		}))
		synctest.Wait()
		p.Close()
		if !ended.Load() {
			t.Error("Close did not wait")
		}
		if p.Go(taskFunc(func() { t.Error("ran after Close") })) {
			t.Error("accepted after Close")
		}
		p.Close()
		p.Stop()
	})
}

func TestPool_SurvivesTheEndOfAGoroutine(t *testing.T) {
	t.Parallel()
	p := NewPool()
	p.Go(taskFunc(runtime.Goexit))
	<-p.Quiet()
	p.Close()
}

func TestInWorker(t *testing.T) {
	t.Parallel()
	if InWorker() {
		t.Error("this goroutine is no worker")
	}
	p := NewPool()
	defer p.Close()
	p.Go(taskFunc(func() {
		var deep func(n int) bool
		deep = func(n int) bool {
			if n > 0 {
				return deep(n - 1)
			}
			return InWorker()
		}
		if !InWorker() || !deep(500) {
			t.Error("a task does not know its worker")
		}
	}))
	<-p.Quiet()
}

func BenchmarkPool_Go(b *testing.B) {
	p := NewPool()
	defer p.Close()
	done := make(chan struct{}, 1)
	t := taskFunc(func() { done <- struct{}{} })
	b.ReportAllocs()
	for b.Loop() {
		p.Go(t)
		<-done
	}
}
