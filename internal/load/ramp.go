package load

import (
	"context"
	"sync"
	"time"
)

const (
	// maxUnderWay bounds how many connections a worker opens at once.
	maxUnderWay = 512

	// hopeless is how many connections fail, with none that succeeds, until no further one is tried.
	hopeless = 100
)

// ramp opens the connections of the share, at its pace. It ends when each is ready or has failed, when it is hopeless,
// or when ctx ends.
func (w *worker) ramp(ctx context.Context) {
	var opening sync.WaitGroup
	slots := make(chan struct{}, maxUnderWay)
	begin, gap := clock(), float64(time.Second)/w.share.ramp()
	for i := w.share.First; i < w.share.Last && !w.hopeless(); i++ {
		if !until(ctx, begin+int64(float64(i-w.share.First)*gap)) {
			break
		}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			continue // until ends the loop
		}
		opening.Add(1)
		go w.open(ctx, i, slots, &opening)
	}
	opening.Wait()
}

func (w *worker) hopeless() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.opened > 0 {
		return false
	}
	failed := 0
	for _, n := range w.failedBy {
		failed += n
	}
	return failed >= hopeless
}

// open opens one connection. It ends when that is ready or has failed, after Config.Timeout at the latest.
func (w *worker) open(ctx context.Context, index int, slots <-chan struct{}, opening *sync.WaitGroup) {
	defer opening.Done()
	defer func() { <-slots }()
	ctx, cancel := context.WithTimeout(ctx, w.share.Config.Timeout)
	defer cancel()
	w.mu.Lock()
	w.under++
	w.mu.Unlock()
	c := &conn{w: w, index: index, decoder: w.decoder(), ready: make(chan error, 1)}
	begin := clock()
	err := c.open(ctx)
	took := clock() - begin

	w.mu.Lock()
	defer w.mu.Unlock()
	w.under--
	if err != nil {
		count(w.failedBy, reason(err), 1)
		return
	}
	w.opened++
	w.conns = append(w.conns, c)
	w.opening.add(index, took)
}
