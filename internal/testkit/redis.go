package testkit

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Redis is a redis-server process of a test's own. It dies with the test binary at the latest.
type Redis struct {
	Addr     string // host:port on loopback, or the path of a socket
	Password string // for Do and the like; that of --requirepass to begin with

	t       testing.TB
	server  string // the program
	network string
	tls     *tls.Config // nil without TLS
	dir     string
	args    []string // all
	cmd     *process
	paused  bool
}

// StartRedis starts a redis-server without persistence on a free port and stops it with the test. args are further
// command-line arguments.
func StartRedis(t testing.TB, args ...string) *Redis {
	t.Helper()
	return startRedis(t, func(r *Redis, port string) []string {
		return append(r.settings("--port", port, "--bind", "127.0.0.1"), args...)
	})
}

// settings are arguments for a redis-server without persistence, and more.
func (r *Redis) settings(more ...string) []string {
	return append([]string{
		"--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0", "--dir", r.dir,
	}, more...)
}

// StartValkey is StartRedis with the valkey-server that is on the PATH. ok is false where there is none.
func StartValkey(t testing.TB, args ...string) (r *Redis, ok bool) {
	t.Helper()
	if _, err := exec.LookPath("valkey-server"); err != nil {
		return nil, false
	}
	r = newRedis(t)
	r.server = "valkey-server"
	r.startAnywhere(func(r *Redis, port string) []string {
		return append(r.settings("--port", port, "--bind", "127.0.0.1"), args...)
	})
	return r, true
}

// StartUnixRedis is StartRedis with a Unix socket and no port. Its URL is unix://path.
func StartUnixRedis(t testing.TB, args ...string) *Redis {
	t.Helper()
	return startRedis(t, func(r *Redis, _ string) []string {
		r.network, r.Addr = "unix", filepath.Join(r.dir, "redis.sock")
		return append(r.settings("--port", "0", "--unixsocket", r.Addr), args...)
	})
}

func startRedis(t testing.TB, args func(r *Redis, port string) []string) *Redis {
	t.Helper()
	r := newRedis(t)
	r.startAnywhere(args)
	return r
}

func newRedis(t testing.TB) *Redis {
	t.Helper()
	// A test's own directory may have a name that is too long for a socket.
	dir, err := os.MkdirTemp("", "redis") //nolint:usetesting // as said
	if err != nil {
		t.Fatal(err)
	}
	r := &Redis{t: t, server: "redis-server", network: "tcp4", dir: dir}
	t.Cleanup(func() {
		r.Stop()
		_ = os.RemoveAll(dir) // the system clears it otherwise
	})
	return r
}

// startAnywhere starts it on another port when one is taken in the meantime.
func (r *Redis) startAnywhere(args func(r *Redis, port string) []string) {
	r.t.Helper()
	if _, err := exec.LookPath(r.server); err != nil {
		Need(r.t, r.server+" on the PATH")
	}
	for range 5 {
		r.Addr = FreeAddr(r.t)
		_, port, _ := net.SplitHostPort(r.Addr) // it is ours
		r.args = args(r, port)
		if i := slices.Index(r.args, "--requirepass"); i >= 0 {
			r.Password = r.args[i+1]
		}
		if r.start() {
			return
		}
	}
	r.t.Fatalf("%s does not start: %s", r.server, r.log())
}

// FreeAddr gives a loopback address that nobody listens on at the moment. The system gives its port to nobody who asks for
// any port: those begin at 32768 or above.
func FreeAddr(t testing.TB) string {
	t.Helper()
	var err error
	for range 100 {
		var l net.Listener
		var b [2]byte
		_, _ = rand.Read(b[:]) // it never fails
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(10_000+int(binary.BigEndian.Uint16(b[:]))%20_000))
		if l, err = net.Listen("tcp4", addr); err == nil {
			if err = l.Close(); err == nil {
				return addr
			}
		}
	}
	t.Fatal(err)
	return ""
}

// Start starts it again after a Stop and waits until it answers.
func (r *Redis) Start() {
	r.t.Helper()
	if !r.start() {
		r.t.Fatalf("%s ended: %s", r.server, r.log())
	}
}

// start tells whether it answers; false means that it has ended.
func (r *Redis) start() bool {
	r.t.Helper()
	cmd := exec.Command(r.server, r.args...)
	log, err := os.Create(filepath.Join(r.dir, "log"))
	if err != nil {
		r.t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	p, err := startProcess(cmd)
	if err != nil {
		r.t.Fatal(err)
	}
	r.cmd = p
	Eventually(r.t, r.server+" answers", func() bool { return !p.running() || r.answers() })
	if !p.running() {
		r.cmd = nil
		return false
	}
	return true
}

// log gives the end of what it has logged.
func (r *Redis) log() string {
	b, err := os.ReadFile(filepath.Join(r.dir, "log"))
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-2000):])
}

// Stop kills it.
func (r *Redis) Stop() {
	if r.cmd != nil {
		r.cmd.kill()
		r.cmd = nil
		r.paused = false
	}
}

// Pause freezes it: its connections stay open and nothing is answered, until Resume.
func (r *Redis) Pause() {
	r.t.Helper()
	r.cmd.pause(r.t)
	r.paused = true
}

// Resume lets it go on after Pause.
func (r *Redis) Resume() {
	r.t.Helper()
	r.cmd.resume(r.t)
	r.paused = false
}

// Running tells whether its process runs; a paused one does.
func (r *Redis) Running() bool { return r.cmd != nil && r.cmd.running() }

// Pid is the process id while it runs.
func (r *Redis) Pid() int { return r.cmd.cmd.Process.Pid }

// URL is redis://host:port, rediss://host:port or unix://path.
func (r *Redis) URL() string {
	switch {
	case r.network == "unix":
		return "unix://" + r.Addr
	case r.tls != nil:
		return "rediss://" + r.Addr
	}
	return "redis://" + r.Addr
}

// Port is its port.
func (r *Redis) Port() int {
	_, port, _ := net.SplitHostPort(r.Addr)
	n, _ := strconv.Atoi(port) // Addr is ours
	return n
}

// Do sends a command over a connection of its own, as the default user. The reply is a string, an int64, a []any
// or nil; an error reply fails the test.
func (r *Redis) Do(args ...string) any {
	r.t.Helper()
	reply, err := r.Try(args...)
	if err != nil {
		r.t.Fatalf("redis at %s: %s: %v", r.Addr, args[0], err)
	}
	return reply
}

// Try is Do that gives an error reply as an error.
func (r *Redis) Try(args ...string) (any, error) {
	c, err := r.dial()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if r.Password != "" {
		if _, err := redisCommand(c, "AUTH", r.Password); err != nil {
			return nil, err
		}
	}
	return redisCommand(c, args...)
}

// Info gives one field of INFO, "" where it is missing or Redis does not answer.
func (r *Redis) Info(section, field string) string {
	reply, err := r.Try("INFO", section)
	if err != nil {
		return ""
	}
	text, _ := reply.(string)
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, field+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func (r *Redis) dial() (net.Conn, error) {
	d := net.Dialer{Timeout: Scale(time.Second)}
	if r.tls != nil {
		return (&tls.Dialer{NetDialer: &d, Config: r.tls}).DialContext(context.Background(), r.network, r.Addr)
	}
	return d.Dial(r.network, r.Addr)
}

// answers tells whether it answers to PING, if only to ask for another password.
func (r *Redis) answers() bool {
	_, err := r.Try("PING")
	return err == nil || strings.HasPrefix(err.Error(), "NOAUTH") || strings.HasPrefix(err.Error(), "WRONGPASS")
}
