//go:build unix

package front

import "syscall"

// MaxFiles is how many files the process may have open, 0 if that is not known.
func MaxFiles() int {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 0
	}
	return int(min(uint64(l.Cur), 1<<30)) //nolint:unconvert // its type differs between systems
}
