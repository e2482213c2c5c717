//go:build linux

// Command compare measures Sockeye's server beside a raw loop and official Node, in one run: each as a process of
// its own on the first processor, the load on the second, a fresh server for each scenario, the servers in turn. It
// prints a table of medians in Markdown, and each goal as a ratio to its reference of the same run. Then it measures
// broadcasts of a cluster, two servers and one Redis, beside official Node. Run it from the root of the project:
//
//	go run ./bench/compare [-runs 3] [-only fanout5000,echo1000]
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// host is an address of the loopback range that nothing else dials from, so that no connection of the past holds a port.
const host = "127.0.0.79"

type scenario struct {
	name      string
	args      string
	per       string  // what an operation is
	goal      float64 // the ratio to the reference at most
	reference string
	memory    bool // compare resident bytes, not CPU time
}

var scenarios = []scenario{
	{"fanout5000", "-scenario fanout -n 5000", "delivery, one broadcast at a time, 5,000 sockets", 4.5 / 3.5, "raw", false},
	{"fanout1000w8", "-scenario fanout -n 1000 -window 8", "delivery, 8 broadcasts outstanding, 1,000 sockets", 0.8 / 2.2, "raw", false},
	{"echo1000", "-scenario echo -n 1000", "echo with ack, 1,000 connections, one outstanding each", 7.5 / 3.9, "raw", false},
	{"echo100w8", "-scenario echo -n 100 -window 8", "echo with ack, 100 connections, 8 outstanding each", 2.4 / 0.5, "raw", false},
	{"polling", "-scenario polling -n 100", "long-polling round trip, 100 clients", 30. / 62, "node", false},
	{"idle", "-scenario connect -n 10000", "idle connection, 10,000, after 10 s: resident bytes", 6000. / 13316, "node", true},
	{"connect", "-scenario connect -n 10000 -settle 1s", "new connection", 75. / 258, "node", false},
}

var servers = []string{"raw", "sockeye", "node"}

type bench struct {
	dir     string // where the programs are built
	runs    int
	port    int
	started []*exec.Cmd
}

// sample is what the load generator prints, as far as it is needed here.
type sample struct {
	CPU   float64 `json:"cpu_us_per_op"`
	P50   float64 `json:"p50_us"`
	P99   float64 `json:"p99_us"`
	Bytes float64 `json:"bytes_per_conn"`
}

func main() {
	runs := flag.Int("runs", 3, "runs of each scenario and server; the median counts")
	only := flag.String("only", "", "scenarios to run, with commas; default all")
	flag.Parse()
	if err := run(*runs, *only); err != nil {
		fmt.Fprintln(os.Stderr, "bench/compare:", err)
		os.Exit(1)
	}
}

func run(runs int, only string) error {
	dir, err := os.MkdirTemp("", "sockeye-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	for _, p := range []string{"server", "rawloop", "load", "publish"} {
		if out, err := exec.Command("go", "build", "-o", filepath.Join(dir, p), "./bench/"+p).CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", p, err, out)
		}
	}
	if _, err := os.Stat("interop/node/node_modules/socket.io"); err != nil {
		return errors.New("the official server is not installed: run `npm ci` in interop/node")
	}
	b := &bench{dir: dir, runs: runs, port: 21000}
	wanted := func(name string) bool { return only == "" || slices.Contains(strings.Split(only, ","), name) }
	fmt.Printf("Server CPU in microseconds, median of %d (least to most).\n\n", runs)
	fmt.Println("| per | raw loop | Sockeye | Node | ratio | goal | |\n|---|---|---|---|---|---|---|")
	for _, s := range scenarios {
		if !wanted(s.name) {
			continue
		}
		row, err := b.measure(s)
		if err != nil {
			return err
		}
		fmt.Println(row)
	}
	fmt.Print("\nCPU of two servers and their Redis in microseconds; latency in microseconds.\n\n")
	fmt.Println("| per | Sockeye | p50 / p99 | Node | p50 / p99 | ratio | goal | |\n|---|---|---|---|---|---|---|---|")
	for _, s := range clusterScenarios {
		if !wanted(s.name) {
			continue
		}
		row, err := b.measureCluster(s)
		if err != nil {
			return err
		}
		fmt.Println(row)
	}
	if wanted("publish") {
		line, err := b.publish()
		if err != nil {
			return err
		}
		fmt.Println("\n" + line)
	}
	return nil
}

func (b *bench) measure(s scenario) (string, error) {
	got := map[string][]float64{}
	for range b.runs {
		for _, server := range servers {
			if server == "raw" && (s.reference == "node") {
				continue // it speaks WebSocket only, and keeps nothing for a connection
			}
			v, err := b.once(server, s)
			if err != nil {
				return "", fmt.Errorf("%s, %s: %w", s.name, server, err)
			}
			if s.memory {
				got[server] = append(got[server], v.Bytes)
			} else {
				got[server] = append(got[server], v.CPU)
			}
		}
	}
	cells := []string{s.per}
	for _, server := range servers {
		cells = append(cells, cell(got[server]))
	}
	ratio := median(got["sockeye"]) / median(got[s.reference])
	verdict := "holds"
	if ratio > s.goal {
		verdict = "missed"
	}
	cells = append(cells, fmt.Sprintf("%.2f of %s", ratio, s.reference), fmt.Sprintf("≤ %.2f", s.goal), verdict)
	return "| " + strings.Join(cells, " | ") + " |", nil
}

func cell(v []float64) string {
	switch {
	case len(v) == 0:
		return "–"
	case median(v) >= 1000:
		return fmt.Sprintf("%.0f (%.0f–%.0f)", median(v), slices.Min(v), slices.Max(v))
	}
	return fmt.Sprintf("%.2f (%.2f–%.2f)", median(v), slices.Min(v), slices.Max(v))
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// once starts a server, puts the load on it and stops it.
func (b *bench) once(server string, s scenario) (v sample, err error) {
	b.port++
	cmd := b.command(server)
	cmd.Env = b.environment()
	addr := net.JoinHostPort(host, strconv.Itoa(b.port))
	defer b.stop()
	if err := b.start(cmd, addr); err != nil {
		return v, err
	}
	out, err := b.load(addr, strconv.Itoa(cmd.Process.Pid), strings.Fields(s.args)...)
	if err != nil {
		return v, err
	}
	return v, json.Unmarshal(out, &v)
}

func (b *bench) command(server string) *exec.Cmd {
	switch server {
	case "raw":
		return exec.Command("taskset", "-c", "0", filepath.Join(b.dir, "rawloop"))
	case "sockeye":
		return exec.Command("taskset", "-c", "0", filepath.Join(b.dir, "server"))
	}
	return exec.Command("taskset", "-c", "0", "node", "--expose-gc", "bench/node/server.js")
}

func listening(addr string) error {
	for deadline := time.Now().Add(10 * time.Second); ; {
		c, err := net.Dial("tcp4", addr)
		if err == nil {
			return c.Close()
		}
		if !errors.Is(err, syscall.ECONNREFUSED) || time.Now().After(deadline) {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
}
