package rueidisdriver

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/redis/rueidis"

	"github.com/sockeye-io/sockeye/internal/redisproto"
	"github.com/sockeye-io/sockeye/redisadapter"
)

// node is one Redis.
type node struct {
	d       *Driver
	addr    string // for errors, and to dial where there is no resolve
	option  rueidis.ClientOption
	resolve func(context.Context) (string, error) // what to dial, nil for addr

	live    atomic.Bool // the connection for commands has answered, and was not lost since
	suspect atomic.Bool // it did not answer the last time
	making  atomic.Bool // a client is being made, which shall not dial

	mu       sync.Mutex
	commands rueidis.Client // made at first use
	own      rueidis.Client // for those who need a connection of their own; made at first use
	closed   bool
}

// newNode makes a node, whose connections the driver closes.
func (d *Driver) newNode(addr string, o rueidis.ClientOption, resolve func(context.Context) (string, error)) *node {
	n := &node{d: d, addr: addr, option: o, resolve: resolve}
	n.option.InitAddress = []string{addr}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.nodes = append(d.nodes, n)
	return n
}

// dialError is the error of a dial: nothing was sent.
type dialError struct{ err error }

func (e *dialError) Error() string { return e.err.Error() }

func (e *dialError) Unwrap() error { return e.err }

var errNotYet = errors.New("rueidisdriver: not yet")

// boundConn is closed with the driver.
type boundConn struct {
	net.Conn

	n    *node
	addr string       // that was dialed
	live *atomic.Bool // false when it is closed; may be nil
}

func (c *boundConn) Close() error {
	if c.live != nil {
		c.live.Store(false)
	}
	c.n.d.untrack(c)
	return c.Conn.Close()
}

// dialer makes dials end with the driver, and their errors known as such.
func (n *node) dialer(
	live *atomic.Bool,
) func(context.Context, string, *net.Dialer, *tls.Config) (net.Conn, error) {
	return func(ctx context.Context, addr string, dialer *net.Dialer, config *tls.Config) (net.Conn, error) {
		if n.making.Load() {
			return nil, errNotYet
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(n.d.ctx, cancel)()
		if n.resolve != nil {
			var err error
			if addr, err = n.resolve(ctx); err != nil {
				return nil, &dialError{err}
			}
		}
		nc, err := n.dial(ctx, addr, dialer, config)
		if err != nil {
			return nil, &dialError{err}
		}
		redisproto.Abrupt(nc)
		c := &boundConn{Conn: nc, n: n, addr: addr, live: live}
		if !n.d.track(c) {
			_ = nc.Close() // the driver is closed
			return nil, &dialError{redisadapter.ErrClosed}
		}
		return c, nil
	}
}

func (n *node) dial(ctx context.Context, addr string, dialer *net.Dialer, config *tls.Config) (net.Conn, error) {
	switch {
	case n.option.DialCtxFn != nil:
		return n.option.DialCtxFn(ctx, addr, dialer, config)
	case config != nil:
		return (&tls.Dialer{NetDialer: dialer, Config: config}).DialContext(ctx, "tcp", addr)
	default:
		return dialer.DialContext(ctx, "tcp", addr)
	}
}

// client gives the client for commands, which share one connection.
func (n *node) client() (rueidis.Client, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.commands == nil && !n.closed {
		o := n.option
		o.DialCtxFn = n.dialer(&n.live)
		var err error
		if n.commands, err = n.make(o); err != nil {
			return nil, err
		}
	}
	if n.closed {
		return nil, redisadapter.ErrClosed
	}
	return n.commands, nil
}

// dedicated gives the client for those who need a connection of their own. They look themselves whether it lives.
func (n *node) dedicated() (rueidis.Client, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.own == nil && !n.closed {
		o := n.option
		o.DialCtxFn = n.dialer(nil)
		o.Dialer.KeepAlive = -1 // no PING: it would take one whose receiver is behind for dead
		o.RingScaleEachConn = 6 // no more are ever under way
		var err error
		if n.own, err = n.make(o); err != nil {
			return nil, err
		}
	}
	if n.closed {
		return nil, redisadapter.ErrClosed
	}
	return n.own, nil
}

// make makes a client that does not dial before it is used, under a context.
func (n *node) make(o rueidis.ClientOption) (rueidis.Client, error) {
	n.making.Store(true)
	defer n.making.Store(false)
	client, err := rueidis.NewClient(o)
	// There is a client in spite of the error.
	if client == nil || err != nil && !errors.Is(err, errNotYet) {
		if client != nil {
			client.Close()
		}
		return nil, err
	}
	return client, nil
}

// ready returns nil when the connection for commands stands. After an error nothing was sent.
func (n *node) ready(ctx context.Context) error {
	if n.live.Load() {
		return nil
	}
	client, err := n.client()
	if err != nil {
		return err
	}
	for range 2 { // a connection that was lost meanwhile may be found out only now
		err = client.Do(ctx, client.B().Ping().Build()).Error()
		if reply := refusal(err); err == nil || reply != "" || ctx.Err() != nil {
			break
		}
	}
	if err != nil && !answered(refusal(err)) {
		if ctx.Err() == nil {
			n.suspect.Store(true)
		}
		return err
	}
	n.suspect.Store(false)
	n.live.Store(true)
	return nil
}

// answered tells whether an error reply to PING is of a Redis that takes commands: PING alone is not allowed.
func answered(reply string) bool { return strings.HasPrefix(reply, "NOPERM") }

// fail adds the address to an error.
func (n *node) fail(err error) error {
	if named := (*nodeError)(nil); errors.As(err, &named) {
		return err
	}
	return &nodeError{n.addr, err}
}

func (n *node) close() {
	n.mu.Lock()
	n.closed = true
	clients := []rueidis.Client{n.commands, n.own}
	n.mu.Unlock()
	for _, c := range clients {
		if c != nil {
			c.Close()
		}
	}
}
