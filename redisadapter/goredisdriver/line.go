package goredisdriver

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/auth"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/sockeye-io/sockeye/internal/redisproto"
	"github.com/sockeye-io/sockeye/redisadapter"
)

// line is one connection to Redis, and the client that has only this one.
type line struct {
	client *redis.Client
	nc     net.Conn // a *conn or a *rawConn
	c      *conn
	age    uint64 // of its node when it was dialed
	given  atomic.Bool
	used   time.Time // by whom the line belongs to
}

// conn notes what go-redis does with a connection, and is closed when the driver is.
type conn struct {
	net.Conn

	read   atomic.Int64  // when something was read last, in ns since start
	wrote  atomic.Uint64 // bytes
	unbind func() bool
}

// start is what times of atomics count from.
var start = time.Now()

func now() int64 { return int64(time.Since(start)) }

func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.read.Store(now())
	}
	return n, err
}

func (c *conn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.wrote.Add(uint64(n))
	return n, err
}

func (c *conn) Close() error {
	c.unbind()
	return c.Conn.Close()
}

// rawConn is a conn whose end go-redis can find out before it writes.
type rawConn struct {
	*conn

	raw syscall.Conn
}

func (c *rawConn) SyscallConn() (syscall.RawConn, error) { return c.raw.SyscallConn() }

// undialed is the error of what ended before a connection was there: nothing was sent.
type undialed struct{ err error }

func (e *undialed) Error() string { return e.err.Error() }

func (e *undialed) Unwrap() error { return e.err }

func isUndialed(err error) bool {
	u := (*undialed)(nil)
	return errors.As(err, &u)
}

type dialed struct {
	nc  net.Conn
	err error
}

// dial dials as the options say, and ends with ctx and with the driver also where what dials does not.
func (d *Driver) dial(ctx context.Context, o *redis.Options) (net.Conn, error) {
	limit := o.DialTimeout
	if limit <= 0 {
		limit = dialLimit
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	defer context.AfterFunc(d.ctx, cancel)()
	if !d.enter() {
		return nil, redisadapter.ErrClosed
	}
	result := make(chan dialed)
	go d.dialing(ctx, o, result)
	select {
	case r := <-result:
		return r.nc, r.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// dialing ends when what dials does, which has a limit of its own for each step.
func (d *Driver) dialing(ctx context.Context, o *redis.Options, result chan<- dialed) {
	defer d.running.Done()
	dialer := o.Dialer
	if dialer == nil {
		dialer = redis.NewDialer(o)
	}
	network := o.Network
	if network == "" {
		network = "tcp"
	}
	nc, err := dialer(ctx, network, o.Addr)
	select {
	case result <- dialed{nc, err}:
	case <-ctx.Done():
		if nc != nil {
			_ = nc.Close() // nobody wants it any more
		}
	}
}

// open dials a connection. Nothing is said over it yet.
func (d *Driver) open(ctx context.Context, o *redis.Options) (*line, error) {
	nc, err := d.dial(ctx, o)
	if err != nil {
		return nil, &undialed{err}
	}
	redisproto.Abrupt(nc)
	c := &conn{Conn: nc}
	c.read.Store(now())
	c.unbind = context.AfterFunc(d.ctx, func() { _ = nc.Close() }) // it is lost anyway
	l := &line{nc: c, c: c, used: time.Now()}
	if raw, ok := nc.(syscall.Conn); ok {
		l.nc = &rawConn{c, raw}
	}
	mine := only(*o)
	mine.Dialer = l.give
	l.client = redis.NewClient(&mine)
	return l, nil
}

// give gives the connection once: what go-redis would dial when it is lost is not the same any more.
func (l *line) give(context.Context, string, string) (net.Conn, error) {
	if l.given.Swap(true) {
		return nil, &undialed{errLost}
	}
	return l.nc, nil
}

// hello does what go-redis does with a new connection: credentials, database, name.
func (l *line) hello(ctx context.Context) error {
	defer l.closeWith(ctx)()
	return l.client.Ping(ctx).Err()
}

// closeWith closes the connection if ctx ends before the function is called that it gives, since go-redis knows only
// deadlines.
func (l *line) closeWith(ctx context.Context) func() bool {
	return context.AfterFunc(ctx, func() { _ = l.c.Close() }) // reads and writes tell
}

func (l *line) close() {
	_ = l.client.Close() // what it says of a connection that is lost helps nobody
	_ = l.c.Close()
}

// doubtful tells whether the connection may be lost without our knowing.
func (l *line) doubtful() bool {
	_, raw := l.nc.(*rawConn)
	return !raw && time.Since(l.used) > time.Second
}

// only changes options so that a client has one connection, says everything once and nothing of its own.
func only(o redis.Options) redis.Options {
	o.MaxRetries = -1
	o.DialerRetries = 1
	o.PoolSize = 8 // of which one is used; with 1, a pool whose dial failed begins to dial by itself
	o.MaxConcurrentDials = 0
	o.MinIdleConns = 0
	o.MaxIdleConns = 0
	o.MaxActiveConns = 0
	o.PipelinePoolSize = -1
	o.ConnMaxIdleTime = -1
	o.ConnMaxLifetime = 0
	o.ContextTimeoutEnabled = true
	o.Limiter = nil
	o.Protocol = 2 // RESP3 has go-redis look for notifications before each command, and brings nothing here
	o.PushNotificationProcessor = nil
	o.ClientSideCache = nil
	o.ClientSideCacheConfig = nil
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	if o.ReadTimeout <= 0 {
		o.ReadTimeout = answerLimit
	}
	if o.WriteTimeout <= 0 {
		o.WriteTimeout = answerLimit
	}
	if p := o.StreamingCredentialsProvider; p != nil {
		// go-redis would say AUTH again over connections of its pool. Ours ask when they are made, which is when Redis
		// has closed one whose credentials are too old.
		o.StreamingCredentialsProvider = nil
		o.CredentialsProviderContext = func(context.Context) (string, string, error) { return credentials(p) }
	}
	return o
}

// deaf takes no news of credentials.
type deaf struct{}

func (*deaf) OnNext(auth.Credentials) {}

func (*deaf) OnError(error) {}

func credentials(p auth.StreamingCredentialsProvider) (user, password string, err error) {
	c, unsubscribe, err := p.Subscribe(&deaf{})
	if err != nil {
		return "", "", err
	}
	user, password = c.BasicAuth()
	return user, password, unsubscribe()
}
