// Package rueidisdriver reaches Redis, or Valkey, through rueidis, for the adapters of redisadapter: one Redis, a master
// to publish to with a replica to subscribe at, what Sentinels watch, and a Redis Cluster.
//
// It uses one connection for commands to each Redis that gets any, one for subscriptions (in a Redis Cluster one more to
// each master that has Sharded ones) and one for each stream that is being read.
//
// A user of Redis who is not to be allowed more than that needs PING, PUBLISH, SUBSCRIBE, PSUBSCRIBE, UNSUBSCRIBE,
// PUNSUBSCRIBE and PUBSUB, with Sharded channels SPUBLISH, SSUBSCRIBE and SUNSUBSCRIBE, with streams XADD, XREAD, XRANGE,
// XINFO, SET, GET and DEL, and CLUSTER SLOTS in a Redis Cluster. CLUSTER INFO, INFO (with a replica to subscribe at) and
// ROLE (with Sentinels) are of use where they are allowed.
//
// Not in this package: what is published (redisadapter).
package rueidisdriver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/sockeye-io/sockeye/internal/redisproto"
)

// ErrAddresses is returned by New for the addresses of a Redis Cluster.
var ErrAddresses = errors.New("rueidisdriver: several addresses, and neither Sentinel.MasterSet nor NewCluster")

const (
	defaultWriteTimeout = 5 * time.Second
	probeTimeout        = time.Second // of a question about the state of Redis
	probeEvery          = time.Second // between such questions
	probeSoon           = 200 * time.Millisecond
	soonAtMost          = 50 // times in a row
	minBackoff          = 50 * time.Millisecond
	maxBackoff          = time.Second
)

// Driver implements redisadapter.StreamDriver and redisadapter.Commander. It is safe for concurrent use.
type Driver struct {
	option rueidis.ClientOption // of every connection
	addr   string               // for errors

	// Either publisher and listener, which may be the same, or cluster.
	publisher, listener *node
	cluster             *cluster
	sentinels           *sentinels // nil without Sentinel

	ctx    context.Context // of all dials and goroutines; ends with Close
	cancel context.CancelFunc

	running sync.WaitGroup // goroutines

	mu     sync.Mutex
	nodes  []*node
	conns  map[*boundConn]struct{}
	closed bool
	twins  *bool // whether publisher and listener are the same Redis by two names; nil while unknown
}

// New makes a driver with that option; nothing is dialed yet. One address is that of a Redis, several are those of the
// Sentinels that watch Sentinel.MasterSet. Where they are zero, ConnWriteTimeout, after which an unresponsive Redis counts
// as lost, is 5 s, and the buffers of a connection are 64 KiB.
func New(o rueidis.ClientOption) (*Driver, error) {
	if len(o.InitAddress) > 1 && o.Sentinel.MasterSet == "" {
		return nil, ErrAddresses
	}
	d, err := newDriver(o)
	if err != nil {
		return nil, err
	}
	if o.Sentinel.MasterSet != "" {
		d.sentinels = newSentinels(d, o)
		d.publisher = d.newNode(d.addr, d.option, d.sentinels.resolve)
	} else {
		d.publisher = d.newNode(d.addr, d.option, nil)
	}
	d.listener = d.publisher
	return d, nil
}

// NewSplit makes a driver that publishes to one Redis, and keeps streams there, and subscribes at another one, which is a
// replica of the first. Both options are as for New with one address.
//
// Redis counts only the subscribers of the one that is asked. Subscribers asks both and gives the sum, so servers that
// subscribe at a third Redis are not in it, and a Node server that publishes to the master and counts there does not see
// those that subscribe at a replica: as among Node servers, it then does not wait for their answers.
func NewSplit(publish, subscribe rueidis.ClientOption) (*Driver, error) {
	for _, o := range []rueidis.ClientOption{publish, subscribe} {
		if len(o.InitAddress) > 1 || o.Sentinel.MasterSet != "" {
			return nil, errors.New("rueidisdriver: a split is between two single Redis")
		}
	}
	d, err := newDriver(publish)
	if err != nil {
		return nil, err
	}
	if len(subscribe.InitAddress) == 0 {
		return nil, errNoAddress
	}
	d.publisher = d.newNode(d.addr, d.option, nil)
	d.listener = d.newNode(subscribe.InitAddress[0], common(subscribe), nil)
	return d, nil
}

// NewCluster makes a driver for the Redis Cluster that the addresses belong to; one that answers is enough.
//
// Channels and patterns are published and subscribed at one master, which the driver chooses, over one connection each.
// Channels of SPUBLISH, streams and keys are those of the master that has their slot, also when that changes: a channel is
// subscribed again as soon as Redis says that its slot has gone, and within about 1 s when it does not say so.
func NewCluster(o rueidis.ClientOption) (*Driver, error) {
	if o.Sentinel.MasterSet != "" || o.SelectDB != 0 {
		return nil, errors.New("rueidisdriver: a Redis Cluster has neither Sentinels nor databases")
	}
	d, err := newDriver(o)
	if err != nil {
		return nil, err
	}
	d.cluster = newCluster(d, o.InitAddress)
	return d, nil
}

var errNoAddress = errors.New("rueidisdriver: no address")

func newDriver(o rueidis.ClientOption) (*Driver, error) {
	if len(o.InitAddress) == 0 {
		return nil, errNoAddress
	}
	d := &Driver{
		option: common(o), addr: strings.Join(o.InitAddress, ", "), conns: map[*boundConn]struct{}{},
	}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	return d, nil
}

// common is what holds for every connection.
func common(o rueidis.ClientOption) rueidis.ClientOption {
	o.ForceSingleClient = true
	o.Sentinel = rueidis.SentinelOption{}
	o.DisableCache = true
	o.DisableRetry = true
	o.PipelineMultiplex = -1  // one connection, which keeps the order
	o.AlwaysPipelining = true // reads also while nothing is asked, and so notices at once that a connection is lost
	if o.ConnWriteTimeout == 0 {
		o.ConnWriteTimeout = defaultWriteTimeout
	}
	if o.ReadBufferEachConn == 0 {
		o.ReadBufferEachConn = 64 << 10
	}
	if o.WriteBufferEachConn == 0 {
		o.WriteBufferEachConn = 64 << 10
	}
	return o
}

// fail adds the address to an error.
func (d *Driver) fail(err error) error {
	if named := (*nodeError)(nil); errors.As(err, &named) {
		return err
	}
	return &nodeError{d.addr, err}
}

// nodeError says where an error is from.
type nodeError struct {
	addr string
	err  error
}

func (e *nodeError) Error() string {
	return fmt.Sprintf("rueidisdriver: redis at %s: %v", e.addr, e.err)
}

func (e *nodeError) Unwrap() error { return e.err }

// start starts a goroutine of the driver, or tells that the driver is closed.
func (d *Driver) start(f func()) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return false
	}
	d.running.Go(f)
	return true
}

// Connect sends a PING to where commands go and to where subscriptions are.
func (d *Driver) Connect(ctx context.Context) error {
	nodes := []*node{d.publisher, d.listener}
	if d.cluster != nil {
		home, err := d.cluster.home(ctx)
		if err != nil {
			return err
		}
		nodes = []*node{home}
	}
	for _, n := range slices.Compact(nodes) {
		if err := n.ready(ctx); err != nil {
			return n.fail(err)
		}
	}
	return nil
}

// at gives where a key or a sharded channel is.
func (d *Driver) at(ctx context.Context, key string) (*node, error) {
	if d.cluster == nil {
		return d.publisher, nil
	}
	return d.cluster.owner(ctx, redisproto.Slot(key))
}

// track notes a connection until it is closed.
func (d *Driver) track(c *boundConn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return false
	}
	d.conns[c] = struct{}{}
	return true
}

func (d *Driver) untrack(c *boundConn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.conns, c)
}

// drop closes the connections that which picks.
func (d *Driver) drop(which func(*boundConn) bool) {
	var conns []net.Conn
	d.mu.Lock()
	for c := range d.conns {
		if which(c) {
			conns = append(conns, c.Conn)
		}
	}
	d.mu.Unlock()
	for _, c := range conns {
		_ = c.Close() // its reader tells
	}
}

// Close closes the connections.
func (d *Driver) Close() error {
	d.cancel()
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return nil
	}
	d.closed = true
	nodes := d.nodes
	d.mu.Unlock()
	// A Redis that accepts and says nothing delays no Close.
	d.drop(func(*boundConn) bool { return true })
	d.running.Wait()
	for _, n := range nodes {
		n.close()
	}
	return nil
}
