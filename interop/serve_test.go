package interop

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/sockeye-io/sockeye/internal/testkit"
)

// front is what stands before two servers: it takes each connection to the first that accepts one.
type front struct {
	l       net.Listener
	targets []string

	mu    sync.Mutex
	conns []net.Conn
	done  sync.WaitGroup
}

func startFront(t *testing.T, targets ...string) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &front{l: l, targets: targets}
	f.done.Go(f.accept)
	t.Cleanup(func() {
		_ = l.Close() // once
		f.mu.Lock()
		for _, c := range f.conns {
			_ = c.Close() // it may have ended
		}
		f.mu.Unlock()
		f.done.Wait()
	})
	return "http://" + l.Addr().String()
}

// accept ends when the listener is closed.
func (f *front) accept() {
	for {
		c, err := f.l.Accept()
		if err != nil {
			return
		}
		var to net.Conn
		for _, target := range f.targets {
			if to, err = net.Dial("tcp", target); err == nil {
				break
			}
		}
		if err != nil {
			_ = c.Close() // nobody is there
			continue
		}
		f.mu.Lock()
		f.conns = append(f.conns, c, to)
		f.mu.Unlock()
		for _, pair := range [][2]net.Conn{{c, to}, {to, c}} {
			f.done.Go(func() { // ends with one of the connections
				_, _ = io.Copy(pair[0], pair[1]) // its end is all that matters
				_ = pair[0].Close()              // the other direction closes it, too
				_ = pair[1].Close()
			})
		}
	}
}

// startChild runs "sockeye serve" until it is told to end, and gives the address of its page and what else it prints.
func startChild(t *testing.T, program string, args ...string) (url string, lines *bufio.Reader, cmd *exec.Cmd, child *testkit.Child) {
	t.Helper()
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = out.Close() }) // nobody reads it any more
	cmd = exec.Command(program, append([]string{"serve", "--addr", "127.0.0.1:0", "--log-level", "error"}, args...)...)
	cmd.Stdout, cmd.Stderr = in, os.Stderr
	child = testkit.StartChild(t, cmd)
	_ = in.Close() // the process has its own
	lines = bufio.NewReader(out)
	said, err := lines.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	url, _, _ = strings.Cut(strings.TrimSpace(strings.TrimPrefix(said, "Sockeye listens on ")), ",")
	return url, lines, cmd, child
}

// TestServe_Signals: what the first SIGTERM does, and the second.
func TestServe_Signals(t *testing.T) {
	t.Parallel()
	program := buildServe(t)
	t.Run("drain", func(t *testing.T) { drains(t, program) })
	t.Run("second", func(t *testing.T) { endsAtOnce(t, program) })
}

// drains: a server that is told to end lets its clients, official ones, go to another by themselves, with nothing
// lost on the way.
func drains(t *testing.T, program string) {
	t.Parallel()
	redis := testkit.StartRedis(t)
	args := []string{"--redis", redis.URL(), "--redis-mode", "streams", "--recovery", "2m", "--drain-timeout", "2s"}
	one, lines, old, child := startChild(t, program, args...)
	two, _, _, _ := startChild(t, program, args...)
	host := func(url string) string { return strings.Trim(strings.TrimPrefix(url, "http://"), "/") }
	url := startFront(t, host(one), host(two))

	p := startPeer(t, "client.mjs")
	ways := map[string]list{"websocket": {"websocket"}, "polling": {"polling"}, "both": {"polling", "websocket"}}
	clients := map[string]socket{}
	for name, transports := range ways {
		c := p.open(name, url, obj{"options": obj{
			"transports": transports, "reconnection": true, "reconnectionDelay": 50, "reconnectionDelayMax": 200,
		}})
		c.connected()
		if got := c.call("join", "room"); fmt.Sprint(got) != "[map[ok:true]]" {
			t.Fatal(got)
		}
		clients[name] = c
	}
	sender := p.open("sender", two, obj{"options": obj{"transports": list{"websocket"}}})
	sender.connected()
	sender.call("join", "room")
	const before, during, after = 20, 200, 20
	publish := func(from, n int) {
		for i := from; i < from+n; i++ {
			sender.call("publish", obj{"room": "room", "event": "news", "data": i})
		}
	}
	publish(0, before)
	for _, c := range clients {
		c.wait("event:news", before)
	}
	if err := old.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	publish(before, during)
	for name, c := range clients {
		// Who polls anew just then finds the next server, which does not know it.
		if got := c.wait("disconnect", 1); got[0] != "transport close" && (name != "polling" || got[0] != "transport error") {
			t.Errorf("%s: disconnected by %v", name, got)
		}
		back := c.wait("connect", 2)
		if state, ok := back[1].(obj); !ok || state["recovered"] != true {
			t.Errorf("%s: %v", name, back)
		}
	}
	publish(before+during, after)
	for name, c := range clients {
		for i, args := range c.wait("event:news", before+during+after) {
			if a, ok := args.(list); !ok || a[0] != float64(i) {
				t.Fatalf("%s: event %d is %v", name, i, args)
			}
		}
	}
	testkit.Eventually(t, "the process has ended", func() bool { return !child.Running() })
	if rest, err := io.ReadAll(lines); err != nil || string(rest) != "Sockeye is shutting down\n" {
		t.Errorf("%q, %v", rest, err)
	}
}

// endsAtOnce: a client that does not take leave holds the server up, until it is told again.
func endsAtOnce(t *testing.T, program string) {
	t.Parallel()
	url, lines, cmd, child := startChild(t, program, "--drain-timeout", "1h")
	r, err := http.Get(url + "socket.io/?EIO=4&transport=polling") // it will never poll
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Body.Close() // nothing is read
	signal := func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Fatal(err)
		}
	}
	signal()
	if said, err := lines.ReadString('\n'); err != nil || said != "Sockeye is shutting down\n" {
		t.Fatalf("%q, %v", said, err)
	}
	testkit.Eventually(t, "the process has ended", func() bool {
		signal() // the first of these may come with the one before
		return !child.Running()
	})
	if rest, err := io.ReadAll(lines); err != nil || len(rest) > 0 {
		t.Errorf("%q, %v", rest, err)
	}
}
