package rueidisdriver

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/rueidis"

	"github.com/sockeye-io/sockeye/internal/redisproto"
	"github.com/sockeye-io/sockeye/redisadapter"
)

// cluster knows which master of a Redis Cluster has which slot.
type cluster struct {
	d     *Driver
	seeds []string
	turn  chan struct{} // held by the one who asks for the slots

	mu      sync.Mutex
	nodes   map[string]*node        // by address; they stay
	masters []*node                 // those that have slots
	slots   [redisproto.Slots]*node // nil where nobody has it
	chosen  *node                   // for channels and patterns
	version uint64                  // counts what was learned
}

var (
	errNoOwner  = fmt.Errorf("no master has that slot: %w", redisadapter.ErrUnavailable)
	errDisabled = errors.New("it is no node of a Redis Cluster")
)

func newCluster(d *Driver, seeds []string) *cluster {
	return &cluster{d: d, seeds: seeds, turn: make(chan struct{}, 1), nodes: map[string]*node{}}
}

// node gives the node with an address; mu is held.
func (c *cluster) node(addr string) *node {
	n := c.nodes[addr]
	if n == nil {
		n = c.d.newNode(addr, c.d.option, nil)
		c.nodes[addr] = n
	}
	return n
}

// seen gives the version.
func (c *cluster) seen() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.version
}

// learn asks for the slots, first the node that knows best, which may be nil, unless somebody has done so since the
// version was seen.
func (c *cluster) learn(ctx context.Context, best *node, seen uint64) error {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return c.d.fail(context.Cause(ctx))
	}
	if c.seen() != seen {
		return nil
	}
	var errs []error
	var doubtful *view
	for _, n := range c.candidates(best) {
		v, err := n.view(ctx)
		if err == nil && v.ok {
			c.adopt(v)
			c.giveUp()
			return nil
		}
		if err == nil {
			doubtful = v
			err = n.fail(errors.New("it says that the cluster is down"))
		} else {
			n.suspect.Store(true)
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	if doubtful != nil {
		c.adopt(doubtful)
		return nil
	}
	if len(errs) == 0 {
		errs = append(errs, c.d.fail(redisadapter.ErrUnavailable))
	}
	return errors.Join(errs...)
}

// candidates are all nodes to ask, those first that are likely to know.
func (c *cluster) candidates(best *node) []*node {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []*node
	add := func(nodes ...*node) {
		for _, n := range nodes {
			if n != nil && !slices.Contains(list, n) {
				list = append(list, n)
			}
		}
	}
	add(best, c.chosen)
	add(c.masters...)
	for _, addr := range c.seeds {
		add(c.node(addr))
	}
	for _, n := range c.nodes { // replicas, and who was a master once
		add(n)
	}
	slices.SortStableFunc(list, func(a, b *node) int { return rank(a) - rank(b) })
	return list
}

func rank(n *node) int {
	if n.suspect.Load() {
		return 1
	}
	return 0
}

// adopt makes a view that of the driver.
func (c *cluster) adopt(v *view) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.version++
	c.slots = [redisproto.Slots]*node{}
	c.masters = nil
	for _, r := range v.ranges {
		n := c.node(r.addr)
		if !slices.Contains(c.masters, n) {
			c.masters = append(c.masters, n)
		}
		for i := r.first; i <= r.last; i++ {
			c.slots[i] = n
		}
	}
	for _, addr := range v.replicas {
		c.node(addr)
	}
	if c.chosen == nil || c.chosen.suspect.Load() || !slices.Contains(c.masters, c.chosen) {
		c.choose()
	}
}

// giveUp closes the connections to those that do not answer and have no slots any more, so that nobody waits for them.
func (c *cluster) giveUp() {
	c.mu.Lock()
	masters := c.masters // they are replaced, not changed
	c.mu.Unlock()
	c.d.drop(func(conn *boundConn) bool { return conn.n.suspect.Load() && !slices.Contains(masters, conn.n) })
}

// choose picks the master for channels and patterns; mu is held.
func (c *cluster) choose() {
	fit := slices.DeleteFunc(slices.Clone(c.masters), func(n *node) bool { return n.suspect.Load() })
	if len(fit) == 0 {
		fit = c.masters
	}
	c.chosen = nil
	if len(fit) > 0 {
		c.chosen = fit[rand.IntN(len(fit))]
	}
}

// moved notes that a slot is elsewhere.
func (c *cluster) moved(slot int, addr string) *node {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.node(addr)
	c.slots[slot] = n
	if !slices.Contains(c.masters, n) {
		c.masters = append(slices.Clip(c.masters), n)
	}
	return n
}

// home is the master for channels and patterns.
func (c *cluster) home(ctx context.Context) (*node, error) {
	for range 2 {
		c.mu.Lock()
		if c.chosen != nil && c.chosen.suspect.Load() {
			c.choose()
		}
		n, seen := c.chosen, c.version
		c.mu.Unlock()
		if n != nil {
			return n, nil
		}
		if err := c.learn(ctx, nil, seen); err != nil {
			return nil, err
		}
	}
	return nil, c.d.fail(errNoOwner)
}

// owner is the master that has a slot.
func (c *cluster) owner(ctx context.Context, slot int) (*node, error) {
	for range 2 {
		n, seen := c.known(slot)
		if n != nil {
			return n, nil
		}
		if err := c.learn(ctx, nil, seen); err != nil {
			return nil, err
		}
	}
	return nil, c.d.fail(errNoOwner)
}

// known is owner without asking, and the version.
func (c *cluster) known(slot int) (*node, uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.slots[slot], c.version
}

// all gives all masters, at least one.
func (c *cluster) all(ctx context.Context) ([]*node, error) {
	if _, err := c.home(ctx); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.masters) == 0 {
		return nil, c.d.fail(errNoOwner)
	}
	return slices.Clone(c.masters), nil
}

// follow gives the node to try next, after an error of n, and whether for this one command only. It gives nil where
// trying again is of no use, or where it might do the same twice.
func (c *cluster) follow(n *node, slot int, err error) (next *node, asking bool) {
	reply := refusal(err)
	kind, rest, _ := strings.Cut(reply, " ")
	if kind != "MOVED" && kind != "ASK" {
		return nil, false
	}
	_, addr, _ := strings.Cut(rest, " ")
	addr = absolute(addr, n.addr)
	if addr == "" {
		return nil, false
	}
	if kind == "MOVED" {
		return c.moved(slot, addr), false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.node(addr), true
}

// absolute completes an address without a host, which means the host that was asked. It gives "" for what is none.
func absolute(addr, asked string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		// An IPv6 host has no brackets in redirections.
		i := strings.LastIndexByte(addr, ':')
		if i < 0 {
			return ""
		}
		host, port = addr[:i], addr[i+1:]
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return ""
	}
	if host == "" || host == "?" {
		host, _, _ = net.SplitHostPort(asked)
	}
	if strings.ContainsAny(host, "[]") {
		return ""
	}
	return net.JoinHostPort(host, port)
}

// view is what one node says of the cluster.
type view struct {
	ok       bool // it takes commands
	ranges   []slotRange
	replicas []string
}

type slotRange struct {
	first, last int
	addr        string
}

// has tells whether a node has a slot.
func (v *view) has(slot int, addr string) bool {
	return slices.ContainsFunc(v.ranges, func(r slotRange) bool {
		return r.first <= slot && slot <= r.last && r.addr == addr
	})
}

// view asks a node.
func (n *node) view(ctx context.Context) (*view, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	v := &view{}
	b := batch{
		n: 2,
		build: func(b rueidis.Builder, i int) rueidis.Completed {
			if i == 0 {
				return b.ClusterInfo().Build()
			}
			return b.ClusterSlots().Build()
		},
		take: func(i int, r rueidis.RedisResult) error {
			if i == 0 {
				text, err := r.ToString()
				v.ok = strings.Contains(text, "cluster_state:ok")
				return err
			}
			return v.read(r, n.addr)
		},
	}
	var errs []error
	for range 2 { // a connection that was lost meanwhile may be found out only now
		if errs = n.send(ctx, b, nil, nil); errs == nil || refusal(errs[1]) != "" || ctx.Err() != nil {
			break
		}
	}
	if errs == nil {
		n.suspect.Store(false)
		return v, nil
	}
	switch reply := refusal(errs[0]); {
	case strings.Contains(reply, "cluster support disabled"):
		return nil, n.fail(errDisabled)
	case reply != "" && errs[1] == nil: // CLUSTER INFO is not allowed
		v.ok = true
		n.suspect.Store(false)
		return v, nil
	}
	return nil, n.fail(errors.Join(errs...))
}

// read reads a reply to CLUSTER SLOTS.
func (v *view) read(r rueidis.RedisResult, asked string) error {
	list, err := r.ToArray()
	if err != nil {
		return err
	}
	v.ranges, v.replicas = nil, nil
	for _, m := range list {
		entry, err := m.ToArray()
		if err != nil || len(entry) < 3 {
			return errors.Join(errReply, err)
		}
		first, err1 := entry[0].AsInt64()
		last, err2 := entry[1].AsInt64()
		if err := errors.Join(err1, err2); err != nil || first < 0 || last >= redisproto.Slots {
			return errors.Join(errReply, err)
		}
		for i, m := range entry[2:] {
			addr, err := nodeAddr(m, asked)
			if err != nil {
				return err
			}
			switch {
			case addr == "":
			case i == 0:
				v.ranges = append(v.ranges, slotRange{int(first), int(last), addr})
			default:
				v.replicas = append(v.replicas, addr)
			}
		}
	}
	return nil
}

// nodeAddr reads host and port of a node, "" where it has none yet.
func nodeAddr(m rueidis.RedisMessage, asked string) (string, error) {
	list, err := m.ToArray()
	if err != nil || len(list) < 2 {
		return "", errors.Join(errReply, err)
	}
	host := ""
	if !list[0].IsNil() {
		if host, err = list[0].ToString(); err != nil {
			return "", err
		}
	}
	port, err := list[1].AsInt64()
	if err != nil {
		return "", err
	}
	return absolute(net.JoinHostPort(host, strconv.FormatInt(port, 10)), asked), nil
}
