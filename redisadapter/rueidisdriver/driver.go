// Package rueidisdriver reaches Redis through rueidis, for the adapters of redisadapter. It uses two connections, one
// to publish and one to subscribe.
//
// Not in this package: what is published (redisadapter); Redis Cluster.
package rueidisdriver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/sockeye-io/sockeye/redisadapter"
)

// ErrCluster is returned by New for the addresses of a Redis Cluster.
var ErrCluster = errors.New("rueidisdriver: redis cluster is not supported")

const defaultWriteTimeout = 5 * time.Second

// driver implements redisadapter.Driver.
type driver struct {
	option rueidis.ClientOption
	addr   string // for errors

	ctx    context.Context // of all dials; ends with Close
	cancel context.CancelFunc

	making atomic.Bool // the client is being made, which shall not dial

	running sync.WaitGroup // goroutines of subscriptions

	mu     sync.Mutex
	client rueidis.Client // made at first use
	closed bool
}

// New makes a driver with that option; nothing is dialed yet. Several addresses are those of Sentinels: a Redis
// Cluster is ErrCluster. Where they are zero, ConnWriteTimeout, after which an unresponsive Redis counts as lost, is 5 s,
// and the buffers of a connection are 64 KiB.
func New(o rueidis.ClientOption) (redisadapter.Driver, error) {
	if len(o.InitAddress) == 0 {
		return nil, errors.New("rueidisdriver: no address")
	}
	if o.Sentinel.MasterSet == "" {
		if len(o.InitAddress) > 1 {
			return nil, ErrCluster
		}
		o.ForceSingleClient = true
	}
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
	d := &driver{
		addr: strings.Join(o.InitAddress, ", "),
	}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	o.DialCtxFn = d.dialer(o)
	d.option = o
	return d, nil
}

// FromURL makes a driver from redis://, rediss:// or unix:// with user, password and database as
// redis-cli takes them. Errors do not repeat the URL, since it may have a password.
func FromURL(s string) (redisadapter.Driver, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, errors.New("rueidisdriver: malformed URL")
	}
	switch u.Scheme {
	case "redis", "rediss", "unix", "valkey", "valkeys":
	default:
		return nil, fmt.Errorf("rueidisdriver: scheme %q is none of redis, rediss and unix", u.Scheme)
	}
	o, err := rueidis.ParseURL(s)
	if err != nil {
		return nil, fmt.Errorf("rueidisdriver: URL of %s: malformed database or option", u.Host)
	}
	return New(o)
}

// dialError is the error of a dial: nothing was sent.
type dialError struct{ err error }

func (e *dialError) Error() string { return e.err.Error() }

func (e *dialError) Unwrap() error { return e.err }

var errNotYet = errors.New("rueidisdriver: not yet")

// dialer makes dials end with the driver, and their errors known as such.
func (d *driver) dialer(
	o rueidis.ClientOption,
) func(context.Context, string, *net.Dialer, *tls.Config) (net.Conn, error) {
	return func(ctx context.Context, addr string, dialer *net.Dialer, config *tls.Config) (net.Conn, error) {
		if d.making.Load() {
			return nil, errNotYet
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(d.ctx, cancel)()
		nc, err := dial(ctx, o, addr, dialer, config)
		if err != nil {
			return nil, &dialError{err}
		}
		return &boundConn{nc, context.AfterFunc(d.ctx, func() { _ = nc.Close() })}, nil
	}
}

// boundConn is closed when the driver is, so that a Redis that accepts and says nothing delays no Close.
type boundConn struct {
	net.Conn

	unbind func() bool
}

func (c *boundConn) Close() error {
	c.unbind()
	return c.Conn.Close()
}

func dial(ctx context.Context, o rueidis.ClientOption, addr string, dialer *net.Dialer, config *tls.Config) (net.Conn, error) {
	switch {
	case o.DialCtxFn != nil:
		return o.DialCtxFn(ctx, addr, dialer, config)
	case config != nil:
		return (&tls.Dialer{NetDialer: dialer, Config: config}).DialContext(ctx, "tcp", addr)
	default:
		return dialer.DialContext(ctx, "tcp", addr)
	}
}

// use gives the client, which it makes at the first call. With Sentinel that takes as long as reaching one of them.
func (d *driver) use() (rueidis.Client, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, redisadapter.ErrClosed
	}
	if d.client != nil {
		return d.client, nil
	}
	single := d.option.ForceSingleClient
	d.making.Store(single)
	client, err := rueidis.NewClient(d.option)
	d.making.Store(false)
	// For a single Redis there is a client in spite of the error, which dials when it is used, under a context.
	if undialed := single && errors.Is(err, errNotYet); client == nil || err != nil && !undialed {
		if client != nil {
			client.Close()
		}
		return nil, d.fail(err)
	}
	d.client = client
	return client, nil
}

// fail adds the address to an error.
func (d *driver) fail(err error) error {
	return fmt.Errorf("rueidisdriver: redis at %s: %w", d.addr, err)
}

// Connect sends a PING.
func (d *driver) Connect(ctx context.Context) error {
	client, err := d.use()
	if err != nil {
		return err
	}
	if err := client.Do(ctx, client.B().Ping().Build()).Error(); err != nil {
		return d.fail(err)
	}
	return nil
}

// Publish sends the batch in one pipeline.
func (d *driver) Publish(ctx context.Context, messages []redisadapter.Publication) []error {
	return d.run(ctx, batch{
		n: len(messages),
		build: func(b rueidis.Builder, i int) rueidis.Completed {
			m := &messages[i]
			// The payload does not change and is only read.
			payload := rueidis.BinaryString(m.Payload)
			if m.Sharded {
				return b.Spublish().Channel(m.Channel).Message(payload).Build()
			}
			return b.Publish().Channel(m.Channel).Message(payload).Build()
		},
	})
}

// Subscribers sends a PUBSUB NUMSUB.
func (d *driver) Subscribers(ctx context.Context, channel string) (int, error) {
	return d.count(ctx, channel, func(c rueidis.Client) rueidis.Completed {
		return c.B().PubsubNumsub().Channel(channel).Build()
	})
}

// ShardSubscribers sends a PUBSUB SHARDNUMSUB.
func (d *driver) ShardSubscribers(ctx context.Context, channel string) (int, error) {
	return d.count(ctx, channel, func(c rueidis.Client) rueidis.Completed {
		return c.B().PubsubShardnumsub().Channel(channel).Build()
	})
}

func (d *driver) count(
	ctx context.Context, channel string, command func(rueidis.Client) rueidis.Completed,
) (int, error) {
	client, err := d.use()
	if err != nil {
		return 0, err
	}
	r, err := d.ask(ctx, func(rueidis.Builder) rueidis.Completed { return command(client) })
	if err != nil {
		return 0, err
	}
	counts, err := r.AsIntMap()
	if err != nil {
		return 0, d.fail(err)
	}
	return int(counts[channel]), nil
}

// ask sends a command that changes nothing, twice where the connection is found to be lost.
func (d *driver) ask(ctx context.Context, build func(rueidis.Builder) rueidis.Completed) (r rueidis.RedisResult, err error) {
	client, err := d.use()
	if err != nil {
		return r, err
	}
	for range 2 {
		r = client.Do(ctx, build(client.B()))
		if err = r.NonRedisError(); err == nil || ctx.Err() != nil {
			break
		}
	}
	if err = r.Error(); err != nil && !rueidis.IsRedisNil(err) {
		return r, d.fail(err)
	}
	return r, err
}

// Close closes the connections.
func (d *driver) Close() error {
	d.cancel()
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return nil
	}
	d.closed = true
	client := d.client
	d.mu.Unlock()
	d.running.Wait() // their contexts are done
	if client != nil {
		client.Close()
	}
	return nil
}
