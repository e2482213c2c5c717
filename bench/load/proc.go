//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// pids are the processes under load; there may be none.
type pids []int

func parsePIDs(list string) (pids, error) {
	if list == "" {
		return nil, nil
	}
	var p pids
	for s := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(s)
		if err != nil {
			return nil, err
		}
		p = append(p, n)
	}
	return p, nil
}

// usage is the CPU time that the processes have used so far.
func (p pids) usage() (sum time.Duration, err error) {
	for _, pid := range p {
		d, err := usage(pid)
		if err != nil {
			return 0, err
		}
		sum += d
	}
	return sum, nil
}

// resident is the resident memory of the processes in bytes.
func (p pids) resident() (sum int, err error) {
	for _, pid := range p {
		n, err := resident(pid)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

// collectGarbage asks servers of ours, or Node's, to do so.
func (p pids) collectGarbage() (err error) {
	for _, pid := range p {
		err = errors.Join(err, syscall.Kill(pid, syscall.SIGUSR2))
	}
	return err
}

// usage is the CPU time that a process has used so far, user and system, to 1/100 s.
func usage(pid int) (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// Behind the name, which may contain anything, comes field 3; utime and stime are 14 and 15.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	var ticks int
	for _, f := range fields[11:13] {
		n, err := strconv.Atoi(string(f))
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}

// resident is the resident memory of a process in bytes.
func resident(pid int) (int, error) {
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, err
	}
	pages, err := strconv.Atoi(string(bytes.Fields(statm)[1]))
	return pages * os.Getpagesize(), err
}

// meter measures from its making on.
type meter struct {
	of  pids
	cpu time.Duration
	at  int64
	lat []uint32 // latencies in nanoseconds
}

func newMeter(of pids) (*meter, error) {
	cpu, err := of.usage()
	return &meter{of: of, cpu: cpu, at: clock(), lat: make([]uint32, 0, 1<<20)}, err
}

func (m *meter) add(nanoseconds int64) { m.lat = append(m.lat, uint32(min(nanoseconds, 1<<32-1))) }

func (m *meter) figures(ops int) (figures, error) {
	cpu, err := m.of.usage()
	if err != nil || ops == 0 {
		return figures{}, err
	}
	wall := float64(clock()-m.at) / 1e9
	used := (cpu - m.cpu).Seconds()
	slices.Sort(m.lat)
	return figures{
		Ops: ops, CPUPerOp: used * 1e6 / float64(ops), OpsPerSec: float64(ops) / wall, ServerCPU: used / wall,
		P50: m.quantile(.5), P99: m.quantile(.99),
	}, nil
}

// quantile needs sorted latencies; in microseconds.
func (m *meter) quantile(q float64) float64 {
	if len(m.lat) == 0 {
		return 0
	}
	return float64(m.lat[int(q*float64(len(m.lat)-1))]) / 1e3
}
