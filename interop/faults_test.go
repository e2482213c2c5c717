//go:build unix

package interop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/testkit"
)

// TestCluster_Close: a server of ours that goes is not waited for.
func TestCluster_Close(t *testing.T) {
	t.Parallel()
	forKinds(t, testClose)
}

func testClose(t *testing.T, k kind) {
	t.Helper()
	c := startCluster(t, clusterOptions{kind: k})
	g, ok := c.servers["go2"].(*goServer)
	if !ok {
		t.Skip("only Node servers")
	}
	if err := g.s.Close(); err != nil {
		t.Fatal(err)
	}
	c.drop("go2-a", "go2-b", "go2-c")
	c.gone("go2")
}

// gone checks that the servers but one are a whole cluster, with three clients each.
func (c *cluster) gone(server string) {
	c.t.Helper()
	for _, from := range c.order {
		if from == server {
			continue
		}
		s := c.servers[from]
		replies, timedOut := s.call(selection{NSP: "/"}, limit, "question", 1)
		same(c.t, from+": acks", list{replies, timedOut}, list{list{1, 1, 1, 1, 1, 1}, false})
		same(c.t, from+": fetch", len(s.fetch(selection{NSP: "/"})), 6)
	}
}

// signal stops, continues or kills the process of a Node server.
func (n *nodeServer) signal(s syscall.Signal) {
	n.p.t.Helper()
	if err := n.p.process.Signal(s); err != nil {
		n.p.t.Fatal(err)
	}
}

// freeze stops a Node server and waits until it stands still.
func (n *nodeServer) freeze() {
	n.p.t.Helper()
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		testkit.Need(n.p.t, "/proc, to see whether a process stands still")
	}
	n.signal(syscall.SIGSTOP)
	eventually(n.p.t, "the Node server stands still", func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n.p.process.Pid))
		return err == nil && bytes.Contains(stat, []byte(") T "))
	})
}

// unanswered checks that questions of one of our servers give what the others know when their time is over, with an
// error, while a server that counts is mute.
func (c *cluster) unanswered(g *goServer) {
	t := c.t
	t.Helper()
	// Long enough for the other server's answers, and all of it is waited for.
	const wait = time.Second
	in := func(ask func(ctx context.Context)) {
		ctx, cancel := g.context(wait)
		defer cancel()
		ask(ctx)
	}
	in(func(ctx context.Context) {
		found, err := g.choose(selection{NSP: "/"}).FetchSockets(ctx)
		if i, ok := errors.AsType[*adapter.Incomplete](err); !ok || i.SilentServers+len(i.MissingServers) != 1 {
			t.Errorf("fetch: %v, want an *adapter.Incomplete with one server", err)
		}
		same(t, "fetched", len(found), 6)
	})
	in(func(ctx context.Context) {
		n, err := g.choose(selection{NSP: "/"}).Count(ctx)
		if _, ok := errors.AsType[*adapter.Incomplete](err); !ok {
			t.Errorf("count: %v, want an *adapter.Incomplete", err)
		}
		same(t, "counted", n, 6)
	})
	in(func(ctx context.Context) {
		replies, err := g.s.Of("/").ServerSideEmitWithAck(ctx, "hello", 1)
		if _, ok := errors.AsType[*sockeye.AckError](err); !ok {
			t.Errorf("server-side acks: %v, want an *AckError", err)
		}
		same(t, "server-side replies", len(replies), 1)
	})
	in(func(ctx context.Context) {
		replies, err := g.choose(selection{NSP: "/"}).EmitWithAck(ctx, "question", "x")
		if _, ok := errors.AsType[*sockeye.AckError](err); !ok {
			t.Errorf("acks: %v, want an *AckError", err)
		}
		same(t, "replies", len(replies), 6)
	})
}

// TestCluster_FrozenNode: a Node server stands still while ours ask it. They give what they have, and it catches up.
func TestCluster_FrozenNode(t *testing.T) {
	t.Parallel()
	forKinds(t, testFrozenNode)
}

func testFrozenNode(t *testing.T, k kind) {
	t.Helper()
	c := startCluster(t, clusterOptions{kind: k})
	g, ok := c.servers["go1"].(*goServer)
	if !ok {
		t.Skip("only Node servers")
	}
	node := c.servers["node"].(*nodeServer)
	for _, name := range c.order {
		c.servers[name].listen("/", "hello", obj{"from": name})
	}
	node.freeze()
	c.unanswered(g)
	g.emit(selection{NSP: "/", Rooms: []string{"blue"}}, "news", deep())
	c.clients["go1-b"].want("news", deep())
	c.clients["go2-b"].want("news", deep())
	same(t, "event at the frozen server", c.clients["node-b"].events(), nil)

	node.signal(syscall.SIGCONT)
	c.clients["node-b"].want("news", deep())
	same(t, "fetched", len(g.fetch(selection{NSP: "/"})), 9)
	c.forget()
	g.emit(selection{NSP: "/"}, "more", 1)
	same(t, "all", c.got("go1", "more", 1), all("a", "b", "c"))
}

// TestCluster_KilledNode: a Node server is killed while ours wait for its answers. From then on nobody waits for it.
func TestCluster_KilledNode(t *testing.T) {
	t.Parallel()
	forKinds(t, testKilledNode)
}

func testKilledNode(t *testing.T, k kind) {
	t.Helper()
	c := startCluster(t, clusterOptions{kind: k})
	g, ok := c.servers["go1"].(*goServer)
	if !ok {
		t.Skip("only Node servers")
	}
	for _, name := range c.order {
		c.servers[name].listen("/", "hello", obj{"from": name})
	}
	node := c.servers["node"].(*nodeServer)
	node.freeze()
	ctx, cancel := g.context(2 * time.Second)
	defer cancel()
	done := make(chan error)
	go func() { // ends when ctx does, or before
		replies, err := g.s.Of("/").ServerSideEmitWithAck(ctx, "hello", 1)
		if len(replies) != 1 {
			t.Errorf("%d replies", len(replies))
		}
		done <- err
	}()
	c.servers["go2"].heard("hello", 1) // so the question is under way
	node.signal(syscall.SIGKILL)
	if err, ok := errors.AsType[*sockeye.AckError](<-done); !ok {
		t.Errorf("%v, want an *AckError", err)
	}
	c.drop("node-a", "node-b", "node-c")
	c.gone("node")
	c.forget()
	g.emit(selection{NSP: "/"}, "news", 1)
	same(t, "who is there", c.got("go1", "news", 1), []string{"go1-a", "go1-b", "go1-c", "go2-a", "go2-b", "go2-c"})
}
