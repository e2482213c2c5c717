//go:build !unix

package testkit

import "testing"

func (p *process) pause(t testing.TB) {
	t.Helper()
	Need(t, "a system that can stop a process and let it go on")
}

func (p *process) resume(testing.TB) {}
