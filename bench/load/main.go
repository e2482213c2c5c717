//go:build linux

// Command load puts one load on a Socket.IO server on loopback, or on several of one cluster, and prints one line of JSON
// with the figures. It speaks to bench/server and its peers. The servers' CPU time and resident bytes are read from /proc.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
)

type options struct {
	scenario string
	pids     pids
	conns    int
	window   int
	payload  string
	warm     time.Duration
	measure  time.Duration
	settle   time.Duration
}

// figures of one run. CPU is that of the server, in microseconds.
type figures struct {
	Scenario  string  `json:"scenario"`
	Conns     int     `json:"conns"`
	Window    int     `json:"window"`
	Ops       int     `json:"ops"`
	CPUPerOp  float64 `json:"cpu_us_per_op"`
	OpsPerSec float64 `json:"ops_per_s"`
	P50       float64 `json:"p50_us"`
	P99       float64 `json:"p99_us"`
	Bytes     float64 `json:"bytes_per_conn,omitempty"`
	ServerCPU float64 `json:"server_cpu_share"`
}

func main() {
	o := options{}
	flag.StringVar(&o.scenario, "scenario", "echo", "fanout, echo, polling or connect")
	addrs := flag.String("addr", "127.0.0.1:3000", "addresses of the servers, on loopback, with commas; connections go to each in turn")
	pids := flag.String("pid", "", "process ids whose CPU time counts, with commas: the servers, and what they use")
	flag.IntVar(&o.conns, "n", 1000, "connections")
	flag.IntVar(&o.window, "window", 1, "broadcasts, or requests of each connection, that are under way at once")
	size := flag.Int("size", 64, "bytes of the payload")
	flag.DurationVar(&o.warm, "warm", 800*time.Millisecond, "warm-up")
	flag.DurationVar(&o.measure, "measure", 2500*time.Millisecond, "measured time")
	flag.DurationVar(&o.settle, "settle", 10*time.Second, "connect: wait before the resident bytes are read")
	flag.Parse()
	o.payload = strings.Repeat("x", *size)

	var f figures
	var err error
	if o.pids, err = parsePIDs(*pids); err == nil {
		f, err = run(o, *addrs)
	}
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(f)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench/load:", err)
		os.Exit(1)
	}
}

func run(o options, addrs string) (figures, error) {
	var servers []netip.AddrPort
	for addr := range strings.SplitSeq(addrs, ",") {
		ap, err := netip.ParseAddrPort(addr)
		if err != nil {
			return figures{}, err
		}
		servers = append(servers, ap)
	}
	runtime.LockOSThread()
	debug.SetGCPercent(800)
	l, err := newLoop(servers)
	if err != nil {
		return figures{}, err
	}
	scenarios := map[string]func(*loop, options) (figures, error){
		"fanout": fanout, "echo": echo, "polling": polling, "connect": connect,
	}
	scenario, ok := scenarios[o.scenario]
	if !ok {
		return figures{}, fmt.Errorf("unknown scenario %q", o.scenario)
	}
	f, err := scenario(l, o)
	if err == nil && l.failed > 0 {
		err = fmt.Errorf("%d connections failed, the last one: %w", l.failed, l.lastErr)
	}
	f.Scenario, f.Conns, f.Window = o.scenario, o.conns, o.window
	return f, err
}
