package redisadapter

import (
	"fmt"
	"sync/atomic"
	"time"
)

// faultKind is what faults are told apart by, so that each kind is reported at most once a second.
type faultKind uint8

const (
	faultBroadcast faultKind = iota
	faultRequest
	faultResponse
	faultAnswer
	faultPublish
	faultGap
	faultPanic
	faultEntry
	faultStream
	faultSession
	faultLoss
	faultControl
	faultKinds
)

var faultNames = [faultKinds]string{
	"broadcast", "request", "response", "answer", "publish", "subscription", "panic",
	"entry", "stream", "session", "stream", "control message",
}

const faultInterval = time.Second

// faults limits reports.
type faults struct {
	start time.Time
	last  [faultKinds]atomic.Int64 // time of the last report, in nanoseconds since start; 0 is never
	more  [faultKinds]atomic.Uint64
}

// admit tells whether a fault of that kind may be reported now, and how many were not since the last one.
func (f *faults) admit(k faultKind) (suppressed uint64, ok bool) {
	now := int64(time.Since(f.start)) + 1
	last := f.last[k].Load()
	if last != 0 && now-last < int64(faultInterval) || !f.last[k].CompareAndSwap(last, now) {
		f.more[k].Add(1)
		return 0, false
	}
	return f.more[k].Swap(0), true
}

// text makes the error of a report.
func (k faultKind) text(err error, suppressed uint64) error {
	if suppressed == 0 {
		return fmt.Errorf("redisadapter: %s: %w", faultNames[k], err)
	}
	return fmt.Errorf("redisadapter: %s (%d more not reported): %w", faultNames[k], suppressed, err)
}
