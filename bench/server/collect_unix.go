//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"
)

// notifyCollect asks for the signal upon which memory is given back, so that what idle connections need can be read.
func notifyCollect(c chan<- os.Signal) { signal.Notify(c, syscall.SIGUSR2) }
