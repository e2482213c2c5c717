//go:build !unix

package main

import "os"

// notifyCollect does nothing: there is no such signal here.
func notifyCollect(chan<- os.Signal) {}
