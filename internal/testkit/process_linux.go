package testkit

import "syscall"

// mortal has a child die with the thread that started it.
func mortal() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
