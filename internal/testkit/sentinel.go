package testkit

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// StartReplica starts a replica of a master and waits until it has its data. args are as for StartRedis.
func StartReplica(t testing.TB, master *Redis, args ...string) *Redis {
	t.Helper()
	r := StartRedis(t, append([]string{"--replicaof", "127.0.0.1 " + strconv.Itoa(master.Port())}, args...)...)
	within(t, settling, "the replica follows", func() bool { return r.Info("replication", "master_link_status") == "up" })
	return r
}

// Sentinels are processes that watch a master and its replicas.
type Sentinels struct {
	Name  string // of the master
	Nodes []*Redis
}

// StartSentinels starts n Sentinels that have a master for down after 1 s and agree on that by majority, and waits until
// they know one another and the replicas. options are further lines for their configuration, such as
// "sentinel auth-pass mymaster secret".
func StartSentinels(t testing.TB, master *Redis, n int, options ...string) *Sentinels {
	t.Helper()
	s := &Sentinels{Name: "mymaster"}
	for range n {
		s.Nodes = append(s.Nodes, startSentinel(t, s.Name, master, n/2+1, options))
	}
	replicas := master.Info("replication", "connected_slaves")
	within(t, settling, "the Sentinels know everybody", func() bool {
		for _, node := range s.Nodes {
			state := sentinelState(node, s.Name)
			if state["num-other-sentinels"] != strconv.Itoa(n-1) || replicas != "" && state["num-slaves"] != replicas {
				return false
			}
		}
		return true
	})
	return s
}

func startSentinel(t testing.TB, name string, master *Redis, quorum int, options []string) *Redis {
	t.Helper()
	r := newRedis(t)
	r.startAnywhere(func(r *Redis, port string) []string {
		lines := append([]string{
			"port " + port,
			"bind 127.0.0.1",
			"dir " + r.dir,
			fmt.Sprintf("sentinel monitor %s 127.0.0.1 %d %d", name, master.Port(), quorum),
			"sentinel down-after-milliseconds " + name + " 1000",
			"sentinel failover-timeout " + name + " 5000",
		}, options...)
		for _, line := range options {
			if password, ok := strings.CutPrefix(line, "requirepass "); ok {
				r.Password = password
			}
		}
		file := filepath.Join(r.dir, "sentinel.conf")
		if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return []string{file, "--sentinel"}
	})
	return r
}

func sentinelState(node *Redis, name string) map[string]string {
	reply, err := node.Try("SENTINEL", "MASTER", name)
	list, ok := reply.([]any)
	if err != nil || !ok {
		return nil
	}
	state := map[string]string{}
	for i := 0; i+1 < len(list); i += 2 {
		key, _ := list[i].(string)
		state[key], _ = list[i+1].(string)
	}
	return state
}

// Addrs are the addresses of the Sentinels.
func (s *Sentinels) Addrs() []string {
	addrs := make([]string, len(s.Nodes))
	for i, n := range s.Nodes {
		addrs[i] = n.Addr
	}
	return addrs
}

// Master is the address of the master that most of those Sentinels name who answer, "" where there is no most.
func (s *Sentinels) Master() string {
	votes := map[string]int{}
	for _, n := range s.Nodes {
		reply, err := n.Try("SENTINEL", "GET-MASTER-ADDR-BY-NAME", s.Name)
		if list, ok := reply.([]any); err == nil && ok && len(list) == 2 {
			host, _ := list[0].(string)
			port, _ := list[1].(string)
			votes[net.JoinHostPort(host, port)]++
		}
	}
	for addr, n := range votes {
		if 2*n > len(s.Nodes) {
			return addr
		}
	}
	return ""
}
