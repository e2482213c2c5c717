package goredisdriver

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"
)

// teller is a node of a cluster that only tells who owns the slots.
type teller struct {
	l  net.Listener
	wg sync.WaitGroup

	mu    sync.Mutex
	owner string // of all slots
}

func startTeller(t *testing.T) *teller {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &teller{l: l}
	n.wg.Go(n.serve)
	t.Cleanup(func() {
		_ = l.Close()
		n.wg.Wait()
	})
	return n
}

func (n *teller) addr() string { return n.l.Addr().String() }

func (n *teller) tell(owner string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.owner = owner
}

// serve ends when the listener is closed.
func (n *teller) serve() {
	for {
		c, err := n.l.Accept()
		if err != nil {
			return
		}
		n.wg.Go(func() { n.answer(c) }) // ends when the other side closes
	}
}

func (n *teller) answer(c net.Conn) {
	defer c.Close()
	for r := bufio.NewReader(c); ; {
		var words []string
		line, err := r.ReadString('\n')
		count, _ := strconv.Atoi(strings.Trim(line, "*\r\n"))
		for range count {
			line, err = r.ReadString('\n')
			size, _ := strconv.Atoi(strings.Trim(line, "$\r\n"))
			word := make([]byte, size+2)
			if _, short := io.ReadFull(r, word); short != nil {
				return
			}
			words = append(words, string(word[:size]))
		}
		if err != nil || count == 0 {
			return
		}
		reply := "-ERR unknown command\r\n"
		switch words[0] {
		case "ping":
			reply = "+PONG\r\n"
		case "cluster":
			n.mu.Lock()
			host, port, _ := net.SplitHostPort(n.owner)
			n.mu.Unlock()
			reply = fmt.Sprintf("*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$%d\r\n%s\r\n:%s\r\n", len(host), host, port)
		}
		if _, err := io.WriteString(c, reply); err != nil {
			return
		}
	}
}

// A node that is cut off from the others tells what was so once. It is not believed where most others say something else.
func TestCluster_MostNodesAreRight(t *testing.T) {
	t.Parallel()
	var nodes []*teller
	var addrs []string
	for range 5 {
		n := startTeller(t)
		nodes, addrs = append(nodes, n), append(addrs, n.addr())
	}
	says := func(stale, owner int) {
		for i, n := range nodes {
			if n.tell(addrs[owner]); i == stale {
				n.tell(addrs[stale])
			}
		}
	}
	d := driverOf(t, redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs}), Options{})
	owner := func() string {
		t.Helper()
		if err := d.pub.reload(bounded(t)); err != nil {
			t.Fatal(err)
		}
		n, err := d.pub.owner(bounded(t), "a")
		if err != nil {
			t.Fatal(err)
		}
		return n.name
	}
	says(-1, 0)
	if got := owner(); got != addrs[0] {
		t.Fatalf("the owner is %s, want %s", got, addrs[0])
	}
	for round := range 4 {
		says(round, 0)
		for range 20 {
			if got := owner(); got != addrs[0] {
				t.Fatalf("round %d: the owner is %s, want %s", round, got, addrs[0])
			}
		}
	}
	says(2, 4)
	for i := 0; owner() != addrs[4]; i++ { // the first one asked may be the stale one
		if i == 100 {
			t.Fatal("news does not arrive")
		}
	}
	_ = nodes[0].l.Close() // one that does not take connections any more does not matter
	for range 20 {
		if got := owner(); got != addrs[4] {
			t.Fatalf("the owner is %s, want %s", got, addrs[4])
		}
	}
}
