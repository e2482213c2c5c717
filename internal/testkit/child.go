package testkit

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// Child is a process of a test's own, such as the test binary itself with another purpose. It dies with the test at the
// latest.
type Child struct {
	t testing.TB
	p *process
}

// StartChild starts a command, whose streams are set already.
func StartChild(t testing.TB, cmd *exec.Cmd) *Child {
	t.Helper()
	p, err := startProcess(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	return &Child{t, p}
}

// Kill ends it as kill -9 does and waits until it has ended.
func (c *Child) Kill() { c.p.kill() }

// Terminate sends SIGTERM, or kills it where there is no such thing.
func (c *Child) Terminate() {
	if c.p.cmd.Process.Signal(syscall.SIGTERM) != nil {
		_ = c.p.cmd.Process.Kill() // it may have ended already
	}
}

// Wait waits until it has ended and gives its exit code, -1 where a signal has ended it.
func (c *Child) Wait() int {
	<-c.p.ended
	return c.p.cmd.ProcessState.ExitCode()
}

// Running tells whether it has not ended; a paused one has not.
func (c *Child) Running() bool { return c.p.running() }

// Pause stops it with SIGSTOP and waits until it stands still.
func (c *Child) Pause() {
	c.t.Helper()
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		Need(c.t, "/proc, to see whether a process stands still")
	}
	c.p.pause(c.t)
	Eventually(c.t, "the process stands still", func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.p.cmd.Process.Pid))
		return err == nil && bytes.Contains(stat, []byte(") T "))
	})
}

// Resume lets it go on after Pause.
func (c *Child) Resume() {
	c.t.Helper()
	c.p.resume(c.t)
}

// Within is Eventually with another limit, for what takes several processes to agree.
func Within(t testing.TB, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	within(t, limit, what, ok)
}
