//go:build !linux

package main

import "time"

// cpuTime is not measured here.
func cpuTime() time.Duration { return 0 }

// resident is not measured here.
func resident() int64 { return 0 }
