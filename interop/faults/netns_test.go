package faults

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/internal/testkit"
)

// hole is a network of its own with a Redis in it, from which packets can vanish without a trace.
type hole struct {
	t        *testing.T
	name     string
	outside  string // the devices and addresses
	inside   string
	here, to string
}

// digHole makes the network. ok is false where that is not allowed, as for users other than root.
func digHole(t *testing.T) (h *hole, ok bool) {
	t.Helper()
	n := os.Getpid() % (1 << 14) // a network of four addresses for each process
	h = &hole{
		t: t, name: fmt.Sprint("sockeye", n), outside: fmt.Sprint("sko", n), inside: fmt.Sprint("ski", n),
		here: fmt.Sprintf("10.231.%d.%d", n>>6, n&63<<2+1), to: fmt.Sprintf("10.231.%d.%d", n>>6, n&63<<2+2),
	}
	if err := h.ip("netns", "add", h.name); err != nil {
		t.Logf("no network of its own: %v", err)
		return nil, false
	}
	t.Cleanup(func() {
		_ = h.ip("link", "del", h.outside) // it may not be there
		if err := h.ip("netns", "del", h.name); err != nil {
			t.Error(err)
		}
	})
	for _, args := range [][]string{
		{"link", "add", h.outside, "type", "veth", "peer", "name", h.inside},
		{"link", "set", h.inside, "netns", h.name},
		{"addr", "add", h.here + "/30", "dev", h.outside},
		{"link", "set", h.outside, "up"},
		{"-n", h.name, "addr", "add", h.to + "/30", "dev", h.inside},
		{"-n", h.name, "link", "set", h.inside, "up"},
	} {
		if err := h.ip(args...); err != nil {
			t.Logf("no network of its own: %v", err)
			return nil, false
		}
	}
	return h, true
}

func (h *hole) ip(args ...string) error {
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

// redis starts a Redis in the network and gives its address.
func (h *hole) redis() string {
	h.t.Helper()
	cmd := exec.Command("ip", "netns", "exec", h.name, "redis-server",
		"--port", "6379", "--bind", h.to, "--protected-mode", "no", "--save", "", "--dir", h.t.TempDir())
	testkit.StartChild(h.t, cmd)
	addr := net.JoinHostPort(h.to, "6379")
	eventually(h.t, "Redis takes connections", func() bool {
		c, err := net.Dial("tcp4", addr)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	return addr
}

// swallow takes the address away from the other side: packets to it vanish, and its own do not leave.
func (h *hole) swallow(on bool) {
	h.t.Helper()
	what := "add"
	if on {
		what = "del"
	}
	if err := h.ip("-n", h.name, "addr", what, h.to+"/30", "dev", h.inside); err != nil {
		h.t.Fatal(err)
	}
}

// orphans counts connections to the other side that were closed here and that the system has not given up.
func (h *hole) orphans() int {
	h.t.Helper()
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		h.t.Fatal(err)
	}
	a := net.ParseIP(h.to).To4()
	remote := fmt.Sprintf("%02X%02X%02X%02X:%04X", a[3], a[2], a[1], a[0], 6379)
	n := 0
	for line := range strings.Lines(string(table)) {
		fields := strings.Fields(line)
		if len(fields) > 3 && fields[2] == remote && fields[3] == "04" { // FIN_WAIT1: what was sent before is not confirmed
			n++
		}
	}
	return n
}

// TestRedis_BlackHole: packets to and from Redis vanish without a trace, in both directions, for longer than servers wait.
// What they had sent is sent again when the network is back, and must not arrive a second time, as it would if the system
// still tried to deliver it for a connection that is closed. TestServer_Partitioned has the same with a proxy, which
// cannot show that.
func TestRedis_BlackHole(t *testing.T) {
	t.Parallel()
	h, ok := digHole(t)
	if !ok {
		return
	}
	f := startPair(t, plan{Kind: "streams", URL: "redis://" + h.redis() + "?write_timeout=2s"})
	wa, wb := startStorm(t, f.a, "a", "", false), startStorm(t, f.b, "b", "r", true)
	for range rounds(t, 1) {
		flows(t, f.cb, wa, 50)
		flows(t, f.ca, wb, 50)
		h.swallow(true)
		unhealthy(t, f.a, f.b)
		eventually(t, "appending fails", func() bool { return strings.Contains(fmt.Sprint(f.a.Health()), "append") })
		goesOn(t, map[*client]*storm{f.ca: wa})
		if n := h.orphans(); n > 0 {
			t.Errorf("the system goes on with %d connections that are closed", n)
		}
		h.swallow(false)
		healthy(t, f.a, f.b)
		f.meet(t)
		eventually(t, "nothing is on its way any more", func() bool { return h.orphans() == 0 })
	}
	flows(t, f.cb, wa, 50)
	n, m := wa.finish(t), wb.finish(t)
	for _, c := range []*client{f.ca, f.cb} {
		complete(t, c, wa, n)
		complete(t, c, wb, m)
	}
}
