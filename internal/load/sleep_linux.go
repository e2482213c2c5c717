package load

import (
	"context"
	"syscall"
	"time"
)

// sleep takes a thread for its time: timers of the runtime are late by up to a millisecond, which would be taken for
// the server's.
func sleep(_ context.Context, d time.Duration) {
	t := syscall.NsecToTimespec(int64(d))
	_ = syscall.Nanosleep(&t, nil) // woken early, the caller sleeps again
}
