package testkit

import (
	"net"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	clusterSlots = 16384
	settling     = 40 * time.Second // the limit for several processes to agree
)

// Cluster is a Redis Cluster of a test's own.
type Cluster struct {
	Nodes []*Redis // the masters first, then their replicas: of the first, of the second, ...

	t       testing.TB
	masters int
	bus     []string // ports of Nodes
}

// StartCluster starts that many masters, which share the slots evenly, with that many replicas each, and waits until
// all agree on everything. A node is taken for dead after 2 s. args are as for StartRedis.
func StartCluster(t testing.TB, masters, replicas int, args ...string) *Cluster {
	t.Helper()
	c := &Cluster{t: t, masters: masters}
	for range masters * (1 + replicas) {
		var bus string
		c.Nodes = append(c.Nodes, startRedis(t, func(r *Redis, port string) []string {
			_, bus, _ = net.SplitHostPort(FreeAddr(t))
			return append(r.settings(
				"--port", port, "--bind", "127.0.0.1", "--cluster-enabled", "yes", "--cluster-port", bus,
				"--cluster-node-timeout", "2000", "--cluster-allow-replica-migration", "no",
			), args...)
		}))
		c.bus = append(c.bus, bus)
	}
	for i, n := range c.Nodes {
		n.Do("CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i+1))
		if i < masters {
			first, last := i*clusterSlots/masters, (i+1)*clusterSlots/masters-1
			n.Do("CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(first), strconv.Itoa(last))
		}
		for j, other := range c.Nodes[:i] { // everybody to everybody, so that nobody waits for gossip
			n.Do("CLUSTER", "MEET", "127.0.0.1", strconv.Itoa(other.Port()), c.bus[j])
		}
	}
	within(t, settling, "the nodes know one another", func() bool {
		for _, n := range c.Nodes {
			if c.known(n) != len(c.Nodes) {
				return false
			}
		}
		return true
	})
	for i, n := range c.Nodes[masters:] {
		n.Do("CLUSTER", "REPLICATE", c.ID(i/replicas))
	}
	c.AwaitReady()
	return c
}

// known counts the nodes that a node knows for good.
func (c *Cluster) known(n *Redis) int {
	known := 0
	text, _ := n.Do("CLUSTER", "NODES").(string)
	for line := range strings.Lines(text) {
		if !strings.Contains(line, "handshake") && !strings.Contains(line, "noaddr") {
			known++
		}
	}
	return known
}

// AwaitReady waits until every node that runs and is not paused says that all is well and knows the replicas.
func (c *Cluster) AwaitReady() {
	c.t.Helper()
	within(c.t, settling, "the cluster is ready", func() bool {
		for _, n := range c.Nodes {
			if n.Running() && !n.paused && !c.ready(n) {
				return false
			}
		}
		return true
	})
}

func (c *Cluster) ready(n *Redis) bool {
	reply, err := n.Try("CLUSTER", "INFO")
	text, _ := reply.(string)
	if err != nil || !strings.Contains(text, "cluster_state:ok") || !strings.Contains(text, "cluster_slots_ok:16384") {
		return false
	}
	reply, err = n.Try("CLUSTER", "NODES")
	text, _ = reply.(string)
	if err != nil || strings.Count(text, "slave") < len(c.Nodes)-c.masters && c.complete() {
		return false
	}
	return n.Info("replication", "role") == "master" || n.Info("replication", "master_link_status") == "up"
}

func (c *Cluster) complete() bool {
	for _, n := range c.Nodes {
		if !n.Running() || n.paused {
			return false
		}
	}
	return true
}

// Addrs are the addresses of all nodes.
func (c *Cluster) Addrs() []string {
	addrs := make([]string, len(c.Nodes))
	for i, n := range c.Nodes {
		addrs[i] = n.Addr
	}
	return addrs
}

// ID is the id of Nodes[i].
func (c *Cluster) ID(i int) string {
	c.t.Helper()
	id, _ := c.Nodes[i].Do("CLUSTER", "MYID").(string)
	return id
}

// Slot is the slot of a key or a channel.
func (c *Cluster) Slot(key string) int {
	c.t.Helper()
	for _, n := range c.Nodes {
		if n.Running() && !n.paused {
			slot, _ := n.Do("CLUSTER", "KEYSLOT", key).(int64)
			return int(slot)
		}
	}
	c.t.Fatal("no node runs")
	return 0
}

// Owner is the index in Nodes of the master that has a slot in the opinion of Nodes[by], -1 where it has none.
func (c *Cluster) Owner(slot, by int) int {
	c.t.Helper()
	ranges, _ := c.Nodes[by].Do("CLUSTER", "SLOTS").([]any)
	for _, r := range ranges {
		list, _ := r.([]any)
		first, _ := list[0].(int64)
		last, _ := list[1].(int64)
		if slot < int(first) || slot > int(last) {
			continue
		}
		master, _ := list[2].([]any)
		port, _ := master[1].(int64)
		for i, n := range c.Nodes {
			if n.Port() == int(port) {
				return i
			}
		}
	}
	return -1
}

// Move moves a slot from one master to another with its keys, as redis-cli does, and waits until all nodes that run agree.
func (c *Cluster) Move(slot, from, to int) {
	c.t.Helper()
	s := strconv.Itoa(slot)
	src, dst := c.Nodes[from], c.Nodes[to]
	dst.Do("CLUSTER", "SETSLOT", s, "IMPORTING", c.ID(from))
	src.Do("CLUSTER", "SETSLOT", s, "MIGRATING", c.ID(to))
	for {
		keys, _ := src.Do("CLUSTER", "GETKEYSINSLOT", s, "100").([]any)
		if len(keys) == 0 {
			break
		}
		args := []string{"MIGRATE", "127.0.0.1", strconv.Itoa(dst.Port()), "", "0", "5000", "KEYS"}
		for _, k := range keys {
			key, _ := k.(string)
			args = append(args, key)
		}
		src.Do(args...)
	}
	dst.Do("CLUSTER", "SETSLOT", s, "NODE", c.ID(to))
	src.Do("CLUSTER", "SETSLOT", s, "NODE", c.ID(to))
	within(c.t, settling, "all know where the slot is", func() bool {
		for i, n := range c.Nodes {
			if n.Running() && !n.paused && c.Owner(slot, i) != to {
				return false
			}
		}
		return true
	})
}

// Failover has a replica take over from its master, which goes on as its replica.
func (c *Cluster) Failover(replica int) {
	c.t.Helper()
	c.Nodes[replica].Do("CLUSTER", "FAILOVER")
	within(c.t, settling, "the replica is a master", func() bool {
		return c.Nodes[replica].Info("replication", "role") == "master"
	})
}
