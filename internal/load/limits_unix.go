//go:build unix

package load

import "syscall"

// Files is how many files a process may have open; the runtime of Go has raised that to what the system allows.
// 0 = unknown.
func Files() int {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) != nil || l.Cur > 1<<30 {
		return 0
	}
	return int(l.Cur)
}
