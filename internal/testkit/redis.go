package testkit

import (
	"net"
	"os/exec"
	"strconv"
	"testing"
	"time"
)

// Redis is a redis-server process of a test's own.
type Redis struct {
	Addr string // host:port on loopback

	t    testing.TB
	dir  string
	args []string
	cmd  *exec.Cmd
}

// StartRedis starts a redis-server without persistence on a free port and stops it with the test. args are further
// command-line arguments.
func StartRedis(t testing.TB, args ...string) *Redis {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		Need(t, "redis-server on the PATH")
	}
	r := &Redis{Addr: FreeAddr(t), t: t, dir: t.TempDir(), args: args}
	r.Start()
	t.Cleanup(r.Stop)
	return r
}

// FreeAddr gives a loopback address that nobody listens on at the moment.
func FreeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// Start starts it, again after a Stop, and waits until it answers.
func (r *Redis) Start() {
	r.t.Helper()
	_, port, _ := net.SplitHostPort(r.Addr)
	args := append([]string{"--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", r.dir}, r.args...)
	r.cmd = exec.Command("redis-server", args...)
	if err := r.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	Eventually(r.t, "redis-server answers", func() bool { return ping(r.Addr) })
}

// Stop kills it.
func (r *Redis) Stop() {
	if r.cmd != nil {
		_ = r.cmd.Process.Kill() // it may have ended already
		_ = r.cmd.Wait()         // "signal: killed" is what we want
		r.cmd = nil
	}
}

// Pid is the process id while it runs.
func (r *Redis) Pid() int { return r.cmd.Process.Pid }

// URL is redis://host:port.
func (r *Redis) URL() string { return "redis://" + r.Addr }

// Port is its port.
func (r *Redis) Port() int {
	_, port, _ := net.SplitHostPort(r.Addr)
	n, _ := strconv.Atoi(port) // Addr is ours
	return n
}

func ping(addr string) bool {
	c, err := net.DialTimeout("tcp4", addr, time.Second)
	if err != nil {
		return false
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Second)) // a TCP connection has deadlines
	if _, err := c.Write([]byte("PING\r\n")); err != nil {
		return false
	}
	buf := make([]byte, 7)
	n, err := c.Read(buf)
	return err == nil && string(buf[:n]) == "+PONG\r\n"
}
