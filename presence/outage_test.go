package presence_test

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/presence"
)

const childEnv = "SOCKEYE_PRESENCE_CHILD"

// shortExpiry makes the tests short; nothing here fails because it takes longer.
const shortExpiry = 4 * time.Second

// TestChild is the server of a process of its own, for the tests that kill one.
func TestChild(t *testing.T) {
	url := os.Getenv(childEnv)
	if url == "" {
		return
	}
	n := overRueidis(t, url, presence.Options{Expiry: shortExpiry, Grace: -1})
	_, _ = os.Stdout.WriteString("at " + n.url + "\n") // a parent that is gone needs nothing
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')  // ends with the parent
}

// startServer starts a server in a process of its own and gives its address.
func startServer(t *testing.T, redis string) (*testkit.Child, string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestChild$")
	cmd.Env = append(os.Environ(), childEnv+"="+redis)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	in, keep, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = keep.Close() })
	cmd.Stdout, cmd.Stdin = w, in
	child := testkit.StartChild(t, cmd)
	_, _ = w.Close(), in.Close()
	t.Cleanup(func() { _ = r.Close() })
	for s := bufio.NewScanner(r); s.Scan(); {
		if _, url, ok := strings.Cut(s.Text(), "at "); ok {
			return child, url
		}
	}
	t.Fatal("the server has not started")
	return nil, ""
}

// The users of a killed server go once, also from rooms in which nobody else is; those of a paused one go and come back.
func TestPresence_ServerKilled(t *testing.T) {
	t.Parallel()
	url := "redis://" + testkit.StartRedis(t).Addr
	o := presence.Options{Expiry: shortExpiry, Grace: -1}
	nodes := []*node{overRueidis(t, url, o), overRueidis(t, url, o)}
	killed, there := startServer(t, url)
	far := &node{t: t, url: there}
	far.connect("a", "r", "alone")
	far.connect("b", "r")
	nodes[0].connect("b", "r")
	for _, n := range nodes {
		n.sees("r", "a", "b")
		n.sees("alone", "a")
		n.hears("+/a", "+/b", "+r/a", "+r/b", "+alone/a")
	}
	killed.Kill()
	for _, n := range nodes {
		n.sees("", "b")
		n.sees("r", "b")
		n.sees("alone")
		n.hears("+/a", "+/b", "+r/a", "+r/b", "+alone/a", "-/a", "-r/a", "-alone/a")
	}
	paused, there := startServer(t, url)
	far.url = there
	far.connect("c")
	nodes[0].sees("", "b", "c")
	paused.Pause()
	nodes[0].sees("", "b")
	paused.Resume()
	nodes[0].sees("", "b", "c")
	if err := errors.Join(nodes[0].faulty(), nodes[1].faulty()); err != nil {
		t.Error(err)
	}
}

// While Redis is away questions are answered from the own sockets; afterwards an empty one is filled again.
func TestPresence_RedisRestarted(t *testing.T) {
	t.Parallel()
	redis := testkit.StartRedis(t, "--save", "")
	url := "redis://" + redis.Addr
	o := presence.Options{Expiry: shortExpiry, Grace: -1}
	nodes := []*node{overRueidis(t, url, o), overRueidis(t, url, o)}
	a := nodes[0].connect("a", "r")
	nodes[1].connect("b", "r")
	for _, n := range nodes {
		n.sees("r", "a", "b")
	}
	redis.Stop()
	if ok, err := nodes[0].Online(t.Context(), "b"); ok || !errors.Is(err, presence.ErrPartial) {
		t.Errorf("%t, %v", ok, err)
	}
	if ok, err := nodes[0].Online(t.Context(), "a"); !ok || !errors.Is(err, presence.ErrPartial) {
		t.Errorf("%t, %v", ok, err)
	}
	if page, err := nodes[0].UsersInRoom(t.Context(), "r", "", 10); len(page.Users) != 1 || !errors.Is(err, presence.ErrPartial) {
		t.Errorf("%+v, %v", page, err)
	}
	if n, err := nodes[0].Count(t.Context()); n != 1 || !errors.Is(err, presence.ErrPartial) {
		t.Errorf("%d, %v", n, err)
	}
	if err := a.Manager().Close(); err != nil {
		t.Fatal(err)
	}
	nodes[0].connect("c", "r")
	testkit.Eventually(t, "the outage is reported", func() bool { return nodes[0].faulty() != nil })
	redis.Start()
	if got := redis.Do("DBSIZE"); got == int64(-1) {
		t.Error("the database was not empty")
	}
	for _, n := range nodes {
		n.sees("r", "b", "c")
		n.sees("", "b", "c")
	}
	// A Redis that has lost everything without anybody noticing.
	redis.Do("FLUSHALL")
	for _, n := range nodes {
		n.sees("r", "b", "c")
	}
}

// Servers that are closed leave no users behind, and no keys.
func TestPresence_Closed(t *testing.T) {
	t.Parallel()
	redis := testkit.StartRedis(t)
	o := presence.Options{Expiry: shortExpiry, Grace: -1}
	first := overRueidis(t, "redis://"+redis.Addr, o)
	first.connect("a", "r")
	first.sees("r", "a")
	second := overRueidis(t, "redis://"+redis.Addr, o)
	second.sees("r", "a")
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second.sees("r")
	second.sees("")
	second.hears("-r/a", "-/a")
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	testkit.Within(t, testkit.Scale(10*shortExpiry+10*time.Second), "all keys expire", func() bool {
		keys, _ := redis.Do("KEYS", "sockeye:presence*").([]any)
		return len(keys) == 0
	})
}
