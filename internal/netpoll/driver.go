package netpoll

import (
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// maxLoops bounds the goroutines that read for many connections, and those that write.
const maxLoops = 8

// readBuffer is the size in bytes of the buffers for reading when nothing else was asked for.
const readBuffer = 16 << 10

// New returns a driver. On Linux a few goroutines read and a few write for all plain TCP and Unix connections,
// which have neither a goroutine nor a buffer while they are idle. Other connections (TLS, pipes, other
// systems) get a goroutine that reads, and one that writes while there is something to write.
func New(cfg Config) Driver { return newDriver(cfg) }

func (cfg Config) withDefaults() Config {
	if cfg.ReadBuffer <= 0 {
		cfg.ReadBuffer = readBuffer
	}
	if cfg.WriteTimeout <= 0 {
		cfg.WriteTimeout = 10 * time.Second
	}
	return cfg
}

func newBuffers(size int) *sync.Pool {
	return &sync.Pool{New: func() any {
		b := make([]byte, size)
		return &b
	}}
}

// soloBuffers are those of connections without a driver that has others.
var soloBuffers = newBuffers(readBuffer)

// Drive drives one connection alone, with a goroutine that reads and one that writes while there is something to write.
// Both end when the connection is closed. cfg.ReadBuffer is of no effect.
func Drive(nc net.Conn, h Handler, cfg Config) Conn {
	cfg = cfg.withDefaults()
	return (&driver{cfg: cfg, buffers: soloBuffers}).Add(nc, nil, h)
}

func newDriver(cfg Config) *driver {
	cfg = cfg.withDefaults()
	d := &driver{cfg: cfg, buffers: newBuffers(cfg.ReadBuffer)}
	n := min(runtime.GOMAXPROCS(0), maxLoops)
	for range n {
		l, err := newLoop(cfg)
		if err != nil {
			break // the connections are driven the portable way, or by fewer loops
		}
		d.loops = append(d.loops, l)
		d.shared.Go(l.run)
	}
	for range n {
		f := newFlusher()
		d.flushers = append(d.flushers, f)
		d.shared.Go(f.run)
	}
	return d
}

// driver is the Driver of New.
type driver struct {
	cfg      Config
	buffers  *sync.Pool // *[]byte of cfg.ReadBuffer bytes
	loops    []*loop    // none where there is no epoll
	flushers []*flusher
	added    atomic.Uint32  // spreads the connections over loops and flushers
	shared   sync.WaitGroup // the goroutines of loops and flushers
	conns    sync.WaitGroup // those of connections: one for each while it is open, started or not, and more

	mu     sync.Mutex
	closed bool
	first  *conn         // a list, linked through the connections
	idle   chan struct{} // closed when the list becomes empty; nil while nobody waits
}

// Add implements [Driver].
func (d *driver) Add(nc net.Conn, first []byte, h Handler) Conn {
	c := &conn{d: d, nc: nc, h: h}
	if n := len(d.loops); n > 0 {
		if c.raw = rawConn(nc); c.raw != nil {
			i := int(d.added.Add(1))
			c.l, c.f = d.loops[i%n], d.flushers[i%len(d.flushers)]
			c.flags.Store(reading) // until begin is done
		}
	}
	if !d.link(c) {
		c.decided, c.err = true, ErrClosed
		c.flags.Store(closing)
		c.w.Store(dead)
		_ = nc.Close() // nothing was written that could be lost
		h.Closed(ErrClosed)
		return c
	}
	switch {
	case c.l == nil:
		go c.run(first)
	case len(first) > 0:
		d.conns.Add(1) // it cannot be zero: the connection counts
		go c.beginWith(first)
	default:
		c.begin(nil)
	}
	return c
}

// beginWith ends when what was read before has been handled.
func (c *conn) beginWith(first []byte) {
	defer c.d.conns.Done()
	c.begin(first)
}

// link takes c into the list, and counts the goroutine that ends it.
func (d *driver) link(c *conn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return false
	}
	d.conns.Add(1)
	c.next = d.first
	if c.next != nil {
		c.next.prev = c
	}
	d.first = c
	return true
}

func (d *driver) unlink(c *conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		d.first = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	}
	c.next, c.prev = nil, nil
	if d.first == nil && d.idle != nil {
		close(d.idle)
		d.idle = nil
	}
}

// Idle implements [Driver].
func (d *driver) Idle() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	idle := d.idle
	if idle == nil {
		idle = make(chan struct{})
		if d.first == nil {
			close(idle)
			return idle
		}
		d.idle = idle
	}
	return idle
}

// Close implements [Driver].
func (d *driver) Close() error {
	d.mu.Lock()
	d.closed = true
	var open []*conn
	for c := d.first; c != nil; c = c.next {
		open = append(open, c)
	}
	d.mu.Unlock()
	for _, c := range open {
		c.Close(ErrClosed)
	}
	d.conns.Wait()
	for _, l := range d.loops { // the connections needed these and the flushers to end
		l.stop()
	}
	for _, f := range d.flushers {
		f.stop()
	}
	d.shared.Wait()
	return nil
}

// buffer lends a buffer for reading; give takes it back.
func (d *driver) buffer() *[]byte {
	return d.buffers.Get().(*[]byte) //nolint:errcheck // nothing else is put
}

func (d *driver) give(b *[]byte) { d.buffers.Put(b) }
