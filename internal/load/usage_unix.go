//go:build unix

package load

import (
	"runtime"
	"syscall"
	"time"
)

// usage is the CPU time that this process has used, and the resident bytes that it had at most.
func usage() (cpu time.Duration, peak int64) {
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) != nil {
		return 0, 0
	}
	peak = int64(r.Maxrss) //nolint:unconvert // it is an int32 on some systems
	if runtime.GOOS != "darwin" && runtime.GOOS != "ios" {
		peak *= 1024
	}
	return time.Duration(syscall.TimevalToNsec(r.Utime) + syscall.TimevalToNsec(r.Stime)), peak
}
