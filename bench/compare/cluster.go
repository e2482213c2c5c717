//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// clusterScenario is a broadcast over two servers that share one Redis, all three on the first processor. An operation
// is what per says; the CPU time is that of all three.
type clusterScenario struct {
	name    string
	adapter string
	conns   int
	window  int
	per     string
	perOp   float64 // deliveries of one operation
	goal    float64 // the ratio to Node at most
}

var clusterScenarios = []clusterScenario{
	{"classic1000", "classic", 1000, 1, "delivery, 1,000 sockets on two servers, classic", 1, 5.0 / 7.6},
	{"sharded1000", "sharded", 1000, 1, "delivery, 1,000 sockets on two servers, sharded", 1, 5.0 / 7.3},
	{"streams1000", "streams", 1000, 1, "delivery, 1,000 sockets on two servers, streams", 1, 5.0 / 7.8},
	{"classic10w32", "classic", 10, 32, "broadcast, 32 outstanding, 10 sockets on two servers, classic", 10, 30. / 83},
	{"sharded10w32", "sharded", 10, 32, "broadcast, 32 outstanding, 10 sockets on two servers, sharded", 10, 30. / 80},
	{"streams10w32", "streams", 10, 32, "broadcast, 32 outstanding, 10 sockets on two servers, streams", 10, 30. / 110},
}

func (b *bench) measureCluster(s clusterScenario) (string, error) {
	cpu, p50, p99 := map[string][]float64{}, map[string][]float64{}, map[string][]float64{}
	for range b.runs {
		for _, server := range []string{"sockeye", "node"} {
			v, err := b.onceCluster(server, s)
			if err != nil {
				return "", fmt.Errorf("%s, %s: %w", s.name, server, err)
			}
			cpu[server] = append(cpu[server], v.CPU*s.perOp)
			p50[server] = append(p50[server], v.P50)
			p99[server] = append(p99[server], v.P99)
		}
	}
	cells := []string{s.per}
	for _, server := range []string{"sockeye", "node"} {
		cells = append(cells, cell(cpu[server]), fmt.Sprintf("%.0f / %.0f", median(p50[server]), median(p99[server])))
	}
	ratio := median(cpu["sockeye"]) / median(cpu["node"])
	verdict := "holds"
	if ratio > s.goal {
		verdict = "missed"
	}
	cells = append(cells, fmt.Sprintf("%.2f", ratio), fmt.Sprintf("≤ %.2f", s.goal), verdict)
	return "| " + strings.Join(cells, " | ") + " |", nil
}

// onceCluster starts a Redis and two servers, puts the load on them and stops them.
func (b *bench) onceCluster(server string, s clusterScenario) (v sample, err error) {
	b.port++
	redis := net.JoinHostPort(host, strconv.Itoa(b.port))
	defer b.stop()
	if err := b.redis("0", redis); err != nil {
		return v, err
	}
	addrs := make([]string, 2)
	for i := range addrs {
		b.port++
		addrs[i] = net.JoinHostPort(host, strconv.Itoa(b.port))
		cmd := b.command(server)
		cmd.Env = b.environment("REDIS="+redis, "ADAPTER="+s.adapter)
		if err := b.start(cmd, addrs[i]); err != nil {
			return v, err
		}
	}
	var pids []string
	for _, cmd := range b.started {
		pids = append(pids, strconv.Itoa(cmd.Process.Pid))
	}
	out, err := b.load(strings.Join(addrs, ","), strings.Join(pids, ","), "-scenario", "fanout",
		"-n", strconv.Itoa(s.conns), "-window", strconv.Itoa(s.window))
	if err != nil {
		return v, err
	}
	return v, json.Unmarshal(out, &v)
}

// publishGoal is how many messages a second one server on one processor publishes at least, with Redis on the other.
const publishGoal = 200_000

// publish measures bench/publish.
func (b *bench) publish() (string, error) {
	var rates []float64
	for range b.runs {
		rate, err := b.publishOnce()
		if err != nil {
			return "", fmt.Errorf("publish: %w", err)
		}
		rates = append(rates, rate)
	}
	verdict := "holds"
	if median(rates) < publishGoal {
		verdict = "missed"
	}
	return fmt.Sprintf("Messages published per second by one server: %s; goal ≥ %d: %s", cell(rates), publishGoal, verdict), nil
}

func (b *bench) publishOnce() (rate float64, err error) {
	b.port++
	redis := net.JoinHostPort(host, strconv.Itoa(b.port))
	defer b.stop()
	if err := b.redis("1", redis); err != nil {
		return 0, err
	}
	cmd := exec.Command("taskset", "-c", "0", filepath.Join(b.dir, "publish"), "-redis", redis)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return 0, err
	}
	_, err = fmt.Sscanf(string(out), "%f messages/s", &rate)
	return rate, err
}

// redis starts a Redis on a processor.
func (b *bench) redis(processor, addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	return b.start(exec.Command("taskset", "-c", processor, "redis-server", "--port", port, "--bind", host,
		"--save", "", "--appendonly", "no", "--loglevel", "warning", "--dir", b.dir), addr)
}

// start starts a server and waits until it listens.
func (b *bench) start(cmd *exec.Cmd, addr string) error {
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	b.started = append(b.started, cmd)
	return listening(addr)
}

// stop kills what was started, which serves nobody else: the servers before their Redis.
func (b *bench) stop() {
	for _, cmd := range slices.Backward(b.started) {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // "signal: killed" is what we want
	}
	b.started = nil
}

// environment is that of a server.
func (b *bench) environment(more ...string) []string {
	return append(append(os.Environ(), "HOST="+host, "PORT="+strconv.Itoa(b.port), "NODE_PATH=interop/node/node_modules",
		"NODE_ENV=production"), more...)
}

// load runs the load generator on the second processor.
func (b *bench) load(addrs, pids string, args ...string) ([]byte, error) {
	cmd := exec.Command("taskset", append([]string{"-c", "1", filepath.Join(b.dir, "load"), "-addr", addrs, "-pid", pids}, args...)...)
	cmd.Stderr = os.Stderr
	return cmd.Output()
}
