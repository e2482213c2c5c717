package testkit

import (
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"testing"
)

// starter takes commands to start. The thread that starts them must last as long as the process does, since its end is
// what the children die of (Pdeathsig).
var starter = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go startProcesses(work)
	return work
})

// startProcesses never ends.
func startProcesses(work <-chan func()) {
	runtime.LockOSThread()
	for f := range work {
		f()
	}
}

// process is a child that dies with the test binary.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has ended
}

func startProcess(cmd *exec.Cmd) (*process, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	starter() <- func() { started <- cmd.Start() }
	if err := <-started; err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, ended: make(chan struct{})}
	go p.wait()
	return p, nil
}

// wait ends when the process has ended.
func (p *process) wait() {
	_ = p.cmd.Wait() // "signal: killed" is what we want
	close(p.ended)
}

func (p *process) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended already
	<-p.ended
}

func (p *process) signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}
