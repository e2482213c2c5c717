//go:build !linux

package testkit

import "syscall"

// mortal does nothing: a child outlives a test binary that is killed.
func mortal() *syscall.SysProcAttr { return nil }
