package goredisdriver

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/internal/redisproto"
	"github.com/sockeye-io/sockeye/redisadapter"
)

const (
	lookLimit = 500 * time.Millisecond // for one node to tell the slots
	loadLimit = 2 * time.Second        // for all nodes together
)

var errUncovered = errors.New("no node of the cluster has the slot")

// cluster is a Redis Cluster.
type cluster struct {
	d    *Driver
	o    *redis.ClusterOptions
	load chan struct{} // holds the one token
	now  atomic.Pointer[table]

	mu     sync.Mutex
	nodes  map[string]*node // by address, all that were ever used
	choice *node            // of home
}

// table is who owns what. It does not change.
type table struct {
	owners [redisproto.Slots]*node // nil where nobody does
	all    []*node                 // masters
	known  []*node                 // masters and replicas
}

func newCluster(d *Driver, o *redis.ClusterOptions) *cluster {
	c := &cluster{d: d, o: o, load: make(chan struct{}, 1), nodes: map[string]*node{}}
	c.load <- struct{}{}
	return c
}

// at gives the node of an address.
func (c *cluster) at(addr string) *node {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.nodes[addr]
	if n == nil {
		n = newNode(c.d, c.options(addr))
		c.nodes[addr] = n
	}
	return n
}

// options are those of a connection to one node.
func (c *cluster) options(addr string) redis.Options {
	o := c.o
	return redis.Options{
		Addr: addr, ClientName: o.ClientName, Dialer: o.Dialer, OnConnect: o.OnConnect, Protocol: o.Protocol,
		Username: o.Username, Password: o.Password, CredentialsProvider: o.CredentialsProvider,
		CredentialsProviderContext:   o.CredentialsProviderContext,
		StreamingCredentialsProvider: o.StreamingCredentialsProvider,
		DialTimeout:                  o.DialTimeout, ReadTimeout: o.ReadTimeout, WriteTimeout: o.WriteTimeout,
		ReadBufferSize: o.ReadBufferSize, WriteBufferSize: o.WriteBufferSize, TLSConfig: o.TLSConfig,
		DisableIdentity: o.DisableIdentity, IdentitySuffix: o.IdentitySuffix,
	}
}

// table gives what is known, after it has been looked at once.
func (c *cluster) table(ctx context.Context) (*table, error) {
	if t := c.now.Load(); t != nil {
		return t, nil
	}
	if err := c.reload(ctx); err != nil {
		return nil, err
	}
	return c.now.Load(), nil
}

func (c *cluster) home(ctx context.Context) (*node, error) {
	t, err := c.table(ctx)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.choice == nil || !slices.Contains(t.all, c.choice) {
		c.choice = t.all[rand.IntN(len(t.all))]
	}
	return c.choice, nil
}

func (c *cluster) owner(ctx context.Context, key string) (*node, error) {
	t, err := c.table(ctx)
	if err != nil {
		return nil, err
	}
	slot := redisproto.Slot(key)
	if n := t.owners[slot]; n != nil {
		return n, nil
	}
	if err := c.reload(ctx); err != nil {
		return nil, err
	}
	if n := c.now.Load().owners[slot]; n != nil {
		return n, nil
	}
	return nil, errUncovered
}

func (c *cluster) masters(ctx context.Context) ([]*node, error) {
	t, err := c.table(ctx)
	if err != nil {
		return nil, err
	}
	return t.all, nil
}

func (c *cluster) moved(key, addr string) *node {
	n := c.at(addr)
	for slot := redisproto.Slot(key); ; {
		old := c.now.Load()
		if old == nil || old.owners[slot] == n {
			return n
		}
		t := *old
		t.owners[slot] = n
		if !slices.Contains(t.all, n) {
			t.all = append(slices.Clone(t.all), n)
		}
		if !slices.Contains(t.known, n) {
			t.known = append(slices.Clone(t.known), n)
		}
		if c.now.CompareAndSwap(old, &t) {
			return n
		}
	}
}

// lost makes home choose another node.
func (c *cluster) lost(n *node) {
	t := c.now.Load()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.choice != n || t == nil {
		return
	}
	c.choice = nil
	if i := slices.Index(t.all, n); len(t.all) > 1 && i >= 0 {
		c.choice = t.all[(i+1+rand.IntN(len(t.all)-1))%len(t.all)]
	}
}

func (c *cluster) sharded() bool { return true }

// reload asks one node who owns what. If that is news, or no answer, it takes what most nodes say: one that is cut off from
// the others goes on to tell what it knew.
func (c *cluster) reload(ctx context.Context) error {
	before := c.now.Load()
	select {
	case <-c.load:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-c.d.ctx.Done():
		return redisadapter.ErrClosed
	}
	defer func() { c.load <- struct{}{} }()
	if c.now.Load() != before {
		return nil // somebody has just done it
	}
	if c.o.ClusterSlots != nil {
		list, err := c.o.ClusterSlots(ctx)
		if err != nil {
			return err
		}
		t, err := c.read(list, "")
		if err == nil {
			c.now.Store(t)
		}
		return err
	}
	nodes := c.seeds()
	t, err := c.ask(ctx, nodes[rand.IntN(len(nodes))], lookLimit)
	if err == nil && before != nil && before.owners == t.owners {
		return nil
	}
	if err != nil || before != nil {
		t, err = c.vote(ctx, nodes)
	}
	if err == nil {
		// Where the table has changed meanwhile, that was by the word of an owner, which is better.
		c.now.CompareAndSwap(before, t)
	}
	return err
}

func (c *cluster) ask(ctx context.Context, n *node, limit time.Duration) (*table, error) {
	list, err := slotsOf(ctx, n, limit)
	if err != nil {
		return nil, n.fail(err)
	}
	return c.read(list, n.o.Addr)
}

// vote gives what most of the nodes say that answer.
func (c *cluster) vote(ctx context.Context, nodes []*node) (*table, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var mu sync.Mutex
	votes := map[*table]int{}
	err := each(nodes, func(n *node) error {
		t, err := c.ask(ctx, n, loadLimit)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		for other := range votes {
			if other.owners == t.owners {
				t = other
			}
		}
		if votes[t]++; 2*votes[t] > len(nodes) {
			cancel() // the others do not matter any more
		}
		return nil
	})
	var best *table
	for t, n := range votes {
		if best == nil || n > votes[best] {
			best = t
		}
	}
	if best == nil {
		return nil, err
	}
	return best, nil
}

func slotsOf(ctx context.Context, n *node, limit time.Duration) ([]redis.ClusterSlot, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := redis.NewClusterSlotsCmd(ctx, "cluster", "slots")
	err := n.ask(ctx, cmd, true)
	return cmd.Val(), err
}

// seeds are all nodes that may know the cluster.
func (c *cluster) seeds() []*node {
	var nodes []*node
	if t := c.now.Load(); t != nil {
		nodes = slices.Clone(t.known)
	}
	for _, addr := range c.o.Addrs {
		if n := c.at(addr); !slices.Contains(nodes, n) {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// read makes a table of what the node at origin says.
func (c *cluster) read(list []redis.ClusterSlot, origin string) (*table, error) {
	t := &table{}
	for _, r := range list {
		if len(r.Nodes) == 0 || r.Start < 0 || r.End >= redisproto.Slots {
			continue
		}
		for i, a := range r.Nodes {
			addr, ok := reachable(a.Addr, origin)
			if !ok {
				continue
			}
			n := c.at(addr)
			if !slices.Contains(t.known, n) {
				t.known = append(t.known, n)
			}
			if i > 0 {
				continue
			}
			if !slices.Contains(t.all, n) {
				t.all = append(t.all, n)
			}
			for s := r.Start; s <= r.End; s++ {
				t.owners[s] = n
			}
		}
	}
	if len(t.all) == 0 {
		return nil, errUncovered
	}
	return t, nil
}

// reachable makes an address of what a node says about one: a node that knows no name for itself, or knows itself as
// loopback, is where it was asked, and so is its port where that is 0.
func reachable(addr, origin string) (string, bool) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || host == "?" {
		return "", false
	}
	there, at, err := net.SplitHostPort(origin)
	if err != nil {
		return addr, host != ""
	}
	if host == "" || loopback(host) && !loopback(there) {
		host = there
	}
	if port == "0" {
		port = at
	}
	return net.JoinHostPort(host, port), true
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (c *cluster) close() {
	c.mu.Lock()
	nodes := make([]*node, 0, len(c.nodes))
	for _, n := range c.nodes {
		nodes = append(nodes, n)
	}
	c.mu.Unlock()
	for _, n := range nodes {
		n.close()
	}
}
