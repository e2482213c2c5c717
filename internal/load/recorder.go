package load

import (
	"runtime"
	"sync"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// recorder is a histogram that many goroutines add to: one part for each processor.
type recorder struct{ parts []recorderPart }

type recorderPart struct {
	mu sync.Mutex
	h  *hdrhistogram.Histogram

	_ [48]byte // a cache line each
}

func newRecorder() *recorder {
	r := &recorder{parts: make([]recorderPart, runtime.GOMAXPROCS(0))}
	for i := range r.parts {
		r.parts[i].h = newHistogram()
	}
	return r
}

// add records a time in nanoseconds. key spreads the adders over the parts.
func (r *recorder) add(key int, ns int64) {
	p := &r.parts[key%len(r.parts)]
	p.mu.Lock()
	_ = p.h.RecordValue(min(max(ns, 0), longest)) // it is within the bounds
	p.mu.Unlock()
}

// take gives what was recorded since the last call.
func (r *recorder) take() *hdrhistogram.Histogram {
	sum := newHistogram()
	for i := range r.parts {
		p := &r.parts[i]
		p.mu.Lock()
		sum.Merge(p.h)
		p.h.Reset()
		p.mu.Unlock()
	}
	return sum
}
