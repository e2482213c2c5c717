// Package goredisdriver reaches Redis through go-redis, for the adapters of redisadapter, where a service holds a client
// already: one Redis, a master and replicas found by Sentinel, or a Redis Cluster.
//
// Not in this package: what is published (redisadapter); URLs, for which go-redis has functions of its own.
package goredisdriver

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/redisadapter"
)

var (
	// ErrClient is returned by New for a client that is neither a *redis.Client nor a *redis.ClusterClient.
	ErrClient = errors.New("goredisdriver: neither a *redis.Client nor a *redis.ClusterClient")

	errLost   = errors.New("goredisdriver: the connection is lost")
	errSilent = errors.New("goredisdriver: redis does not answer any more")
	errMoved  = errors.New("goredisdriver: another redis is the master now")
	errCut    = errors.New("goredisdriver: the replica has lost its master")
	errSlot   = errors.New("goredisdriver: the slot of a channel has moved")
)

// Options configure [New]. The zero value is for a client that publishes and subscribes at one place.
type Options struct {
	// Subscriber, if set, is where subscriptions go: a replica of the Redis that the client publishes to, also one that
	// Sentinel chooses (ReplicaOnly of redis.FailoverOptions). While a replica has lost its master, what is subscribed
	// counts as lost. What counts as subscribers are those here and there, and not those at other replicas.
	Subscriber redis.UniversalClient
}

// Driver implements redisadapter.StreamDriver and redisadapter.Commander. It is safe for concurrent use.
type Driver struct {
	pub place // for everything but subscriptions
	sub place // for subscriptions; often the same

	ctx    context.Context // of all connections; ends with Close
	cancel context.CancelFunc

	running sync.WaitGroup

	mu      sync.Mutex
	readers map[string]*reader
	closed  bool
}

// place is one Redis or a Redis Cluster.
type place interface {
	// home is the node that classic channels are published and subscribed at.
	home(ctx context.Context) (*node, error)

	// owner is the node that has the slot of a key or of a channel of SPUBLISH.
	owner(ctx context.Context, key string) (*node, error)

	// masters are all nodes that own slots.
	masters(ctx context.Context) ([]*node, error)

	// moved notes that the slot of a key is at another address, and at is that one.
	moved(key, addr string) *node
	at(addr string) *node

	// lost notes that n did not work, so that it is not chosen where there is a choice.
	lost(n *node)

	// reload looks who owns what.
	reload(ctx context.Context) error

	// sharded tells whether there is more than one node.
	sharded() bool

	close()
}

// New makes a driver of a client's options: a *redis.Client, also one of redis.NewFailoverClient, or a
// *redis.ClusterClient; another one is ErrClient. The driver has connections of its own, for which it takes over how to
// dial, TLS, credentials, OnConnect, the name, the database and the timeouts, but neither hooks nor limits nor retries, since
// a message that is sent again could be there twice. Behind Sentinel it looks every 2 s who is the master, and in a Redis
// Cluster every 0.5 to 2 s who owns the slots. The client stays the application's: closing the driver does not
// close it, and it must not be closed before. Nothing is dialed yet.
func New(client redis.UniversalClient, o Options) (*Driver, error) {
	d := &Driver{readers: map[string]*reader{}}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	var err error
	if d.pub, err = d.placeOf(client); err != nil {
		d.cancel()
		return nil, err
	}
	d.sub = d.pub
	if o.Subscriber != nil && o.Subscriber != client {
		if d.sub, err = d.placeOf(o.Subscriber); err != nil {
			d.cancel()
			return nil, err
		}
		if s, ok := d.sub.(*single); ok {
			s.n.sentinel, s.n.replica = false, true
		}
	}
	return d, nil
}

func (d *Driver) placeOf(client redis.UniversalClient) (place, error) {
	switch c := client.(type) {
	case *redis.Client:
		if c != nil {
			return newSingle(d, c), nil
		}
	case *redis.ClusterClient:
		if c != nil {
			return newCluster(d, c.Options()), nil
		}
	}
	return nil, fmt.Errorf("%w: %T", ErrClient, client)
}

// single is a place with one node.
type single struct{ n *node }

func newSingle(d *Driver, c *redis.Client) *single { return &single{newNode(d, *c.Options())} }

func (s *single) home(context.Context) (*node, error) { return s.n, nil }

func (s *single) owner(context.Context, string) (*node, error) { return s.n, nil }

func (s *single) masters(context.Context) ([]*node, error) { return []*node{s.n}, nil }

func (s *single) moved(string, string) *node { return s.n }

func (s *single) at(string) *node { return s.n }

func (s *single) lost(*node) {}

func (s *single) reload(context.Context) error { return nil }

func (s *single) sharded() bool { return false }

func (s *single) close() { s.n.close() }

// enter counts a goroutine that Close waits for. It is false once the driver is closed.
func (d *Driver) enter() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return false
	}
	d.running.Add(1)
	return true
}

// Connect sends a PING over the connection that publishes.
func (d *Driver) Connect(ctx context.Context) error {
	if d.ctx.Err() != nil {
		return redisadapter.ErrClosed
	}
	n, err := d.pub.home(ctx)
	if err != nil {
		return fmt.Errorf("goredisdriver: %w", err)
	}
	ping := redis.NewStatusCmd(ctx, "ping")
	if err = n.send(ctx, []redis.Cmder{ping}); err == nil {
		err = ping.Err()
	}
	if err != nil {
		d.pub.lost(n)
		d.refresh(ctx, d.pub)
		return n.fail(err)
	}
	return nil
}

// Subscribers sends a PUBSUB NUMSUB to each master.
func (d *Driver) Subscribers(ctx context.Context, channel string) (int, error) {
	return d.count(ctx, "numsub", channel)
}

// ShardSubscribers sends a PUBSUB SHARDNUMSUB to each master.
func (d *Driver) ShardSubscribers(ctx context.Context, channel string) (int, error) {
	return d.count(ctx, "shardnumsub", channel)
}

func (d *Driver) count(ctx context.Context, what, channel string) (int, error) {
	if d.ctx.Err() != nil {
		return 0, redisadapter.ErrClosed
	}
	sum, err := d.countAt(ctx, d.pub, what, channel)
	if err != nil || d.sub == d.pub {
		return sum, err
	}
	there, err := d.countAt(ctx, d.sub, what, channel)
	return sum + there, err
}

func (d *Driver) countAt(ctx context.Context, p place, what, channel string) (int, error) {
	sum, err := d.sum(ctx, p, what, channel)
	if err != nil && p.sharded() && ctx.Err() == nil {
		d.refresh(ctx, p) // there may be other masters by now
		sum, err = d.sum(ctx, p, what, channel)
	}
	return sum, err
}

func (d *Driver) sum(ctx context.Context, p place, what, channel string) (int, error) {
	nodes, err := p.masters(ctx)
	if err != nil {
		return 0, fmt.Errorf("goredisdriver: %w", err)
	}
	var sum atomic.Int64
	err = each(nodes, func(n *node) error {
		cmd := redis.NewSliceCmd(ctx, "pubsub", what, channel)
		if err := n.ask(ctx, cmd, true); err != nil {
			return n.fail(err)
		}
		if reply := cmd.Val(); len(reply) == 2 {
			count, _ := reply[1].(int64) // 0 for what is no number
			sum.Add(count)
		}
		return nil
	})
	return int(sum.Load()), err
}

// each calls f for all nodes at once, and gives one of their errors.
func each(nodes []*node, f func(*node) error) error {
	if len(nodes) == 1 {
		return f(nodes[0])
	}
	errs := make([]error, len(nodes))
	var wg sync.WaitGroup
	for i, n := range nodes {
		wg.Go(func() { errs[i] = f(n) }) // ends with its context, at the latest with the driver
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Close closes the connections of the driver, and not the client.
func (d *Driver) Close() error {
	d.cancel() // which closes all connections
	d.mu.Lock()
	d.closed = true
	readers := d.readers
	d.readers = nil
	d.mu.Unlock()
	d.running.Wait()
	for _, r := range readers {
		r.close()
	}
	d.pub.close()
	if d.sub != d.pub {
		d.sub.close()
	}
	return nil
}

// notSent says that what has err was certainly not sent.
func notSent(err error) error { return fmt.Errorf("%w: %w", redisadapter.ErrNotSent, err) }

const (
	dialLimit   = 5 * time.Second // where the options have none
	answerLimit = 5 * time.Second // likewise
)
