package ring

import (
	"runtime"
	"strings"
	"sync"
	"time"
)

// retireAfter is how long a worker may be idle: at least that, at most twice that.
const retireAfter = 10 * time.Second

// Task is what a worker does.
type Task interface{ Run() }

// Pool runs tasks on standing goroutines. The one that became idle last is given the next task, so that its
// stack is warm; there is a new one when none is idle, since tasks may block, and those that were not needed
// for some seconds end. How many there can be is bounded by what its owner has under way at one time.
// It is safe for concurrent use.
type Pool struct {
	working sync.WaitGroup // the workers

	mu      sync.Mutex
	idle    []*worker
	low     int         // the fewest idle workers since the last sweep
	timer   *time.Timer // sweeps; nil while no worker is idle
	waiters []chan struct{}
	busy    int
	closed  bool
}

type worker struct {
	p    *Pool
	task chan Task // of one element: giving never blocks
}

// NewPool returns a pool without workers.
func NewPool() *Pool { return &Pool{} }

// Go runs t soon. It never blocks. On a closed pool it tells false and t is not run.
func (p *Pool) Go(t Task) bool {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return false
	}
	p.busy++
	if n := len(p.idle); n > 0 {
		w := p.idle[n-1]
		p.idle[n-1] = nil
		p.idle = p.idle[:n-1]
		p.low = min(p.low, n-1)
		p.mu.Unlock()
		w.task <- t
		return true
	}
	p.working.Add(1)
	p.mu.Unlock()
	w := &worker{p: p, task: make(chan Task, 1)}
	go w.work(t)
	return true
}

// work runs tasks. It ends when the pool is closed or a sweep finds the worker idle for too long.
func (w *worker) work(t Task) {
	defer w.p.working.Done()
	for ok := true; ok; t, ok = <-w.task {
		w.run(t)
		if !w.p.rest(w) {
			return
		}
	}
}

// run is a frame of its own, by which InWorker knows a worker. A task must not panic; if one ends its
// goroutine, the pool stays in order.
func (w *worker) run(t Task) {
	ended := false
	defer func() {
		if !ended {
			w.p.done()
		}
	}()
	t.Run()
	ended = true
}

// done counts a task whose goroutine ends with it.
func (p *Pool) done() {
	p.mu.Lock()
	p.finished()
	p.mu.Unlock()
}

// rest puts w to the idle ones, or tells false if the pool is closed.
func (p *Pool) rest(w *worker) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.finished()
	if p.closed {
		return false
	}
	p.idle = append(p.idle, w)
	if p.timer == nil {
		p.low = 0
		p.timer = time.AfterFunc(retireAfter, p.sweep)
	}
	return true
}

// finished is called under mu when a task has ended.
func (p *Pool) finished() {
	p.busy--
	if p.busy == 0 {
		for _, c := range p.waiters {
			close(c)
		}
		p.waiters = nil
	}
}

// sweep ends the workers that were idle since the last sweep: as many as there were idle at the least.
func (p *Pool) sweep() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	for _, w := range p.idle[:p.low] {
		close(w.task)
	}
	p.idle = append([]*worker(nil), p.idle[p.low:]...)
	p.low = len(p.idle)
	if p.low == 0 {
		p.timer = nil
		return
	}
	p.timer.Reset(retireAfter)
}

// Quiet returns a channel that is closed when no task is under way, which may be now.
func (p *Pool) Quiet() <-chan struct{} {
	c := make(chan struct{})
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.busy == 0 {
		close(c)
	} else {
		p.waiters = append(p.waiters, c)
	}
	return c
}

// Stop refuses further tasks and lets the workers end with what they do, for which it does not wait.
func (p *Pool) Stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.closed = true
	if p.timer != nil {
		p.timer.Stop()
	}
	for _, w := range p.idle {
		close(w.task)
	}
	p.idle = nil
}

// Close is Stop and waits for the workers. It must not be called by a task: see InWorker.
func (p *Pool) Close() {
	p.Stop()
	p.working.Wait()
}

// Workers counts the goroutines, and those of them that have a task.
func (p *Pool) Workers() (all, busy int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.idle) + p.busy, p.busy
}

// InWorker tells whether the calling goroutine is the worker of a pool. It reads the stack, so it is for rare
// calls.
func InWorker() bool {
	var pcs [64]uintptr
	for skip := 1; ; {
		n := runtime.Callers(skip, pcs[:])
		if n == 0 {
			return false
		}
		frames := runtime.CallersFrames(pcs[:n])
		for {
			f, more := frames.Next()
			if strings.HasSuffix(f.Function, "internal/ring.(*worker).run") {
				return true
			}
			if !more {
				break
			}
		}
		skip += n
	}
}
