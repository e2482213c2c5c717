package testkit

import (
	"os/exec"
	"runtime"
	"sync"
)

// starter takes commands to start. The thread that starts them must last as long as the process does, since on Linux its
// end is what the children die of.
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

// process is a child that dies with the test binary, where the system has that.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has ended
}

func startProcess(cmd *exec.Cmd) (*process, error) {
	cmd.SysProcAttr = mortal()
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
