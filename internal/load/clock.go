package load

import (
	"context"
	"time"
)

var started = time.Now()

// clock gives nanoseconds that the processes of one machine agree on, as long as nobody sets its clock while they
// start; what is done to it later has no effect.
func clock() int64 { return started.UnixNano() + int64(time.Since(started)) }

// nap is how long a sleep is at most, so that a context that ends is noticed.
const nap = 20 * time.Millisecond

// until sleeps until the clock shows t. It is false when ctx has ended.
func until(ctx context.Context, t int64) bool {
	for ctx.Err() == nil {
		left := time.Duration(t - clock())
		if left <= 0 {
			return true
		}
		sleep(ctx, min(left, nap))
	}
	return false
}
