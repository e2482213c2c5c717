package netpoll

import (
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// maxFlushers bounds the goroutines that write.
const maxFlushers = 8

// New returns a driver with a goroutine for each connection. On Linux those of plain TCP and Unix connections
// hold no buffer while there is nothing to read, and a few goroutines write for all of them. Other
// connections (TLS, pipes, other systems) get a goroutine that writes while there is something to write.
func New(cfg Config) Driver { return newDriver(cfg) }

func newDriver(cfg Config) *driver {
	if cfg.ReadBuffer <= 0 {
		cfg.ReadBuffer = 16 << 10
	}
	if cfg.WriteTimeout <= 0 {
		cfg.WriteTimeout = 10 * time.Second
	}
	d := &driver{cfg: cfg}
	d.buffers.New = func() any {
		b := make([]byte, cfg.ReadBuffer)
		return &b
	}
	d.flushers = make([]*flusher, min(runtime.GOMAXPROCS(0), maxFlushers))
	for i := range d.flushers {
		d.flushers[i] = newFlusher()
		d.writing.Go(d.flushers[i].run)
	}
	return d
}

// driver is the Driver of New.
type driver struct {
	cfg      Config
	buffers  sync.Pool // *[]byte of cfg.ReadBuffer bytes
	flushers []*flusher
	added    atomic.Uint32  // spreads the connections over the flushers
	writing  sync.WaitGroup // the flushers
	conns    sync.WaitGroup // all other goroutines

	mu     sync.Mutex
	closed bool
	first  *conn // a list, linked through the connections
}

// Add implements [Driver].
func (d *driver) Add(nc net.Conn, first []byte, h Handler) Conn {
	c := &conn{d: d, nc: nc, h: h, raw: rawConn(nc)}
	c.f = d.flushers[int(d.added.Add(1))%len(d.flushers)]
	if !d.link(c) {
		c.ended, c.err = true, ErrClosed
		c.flags.Store(closing)
		c.w.Store(dead)
		_ = nc.Close() // nothing was written that could be lost
		h.Closed(ErrClosed)
		return c
	}
	go c.run(first)
	return c
}

// link takes c into the list, and counts the goroutine that the caller starts for it.
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
	for _, f := range d.flushers { // the connections needed them to end
		f.stop()
	}
	d.writing.Wait()
	return nil
}

// buffer lends a buffer for reading; give takes it back.
func (d *driver) buffer() *[]byte {
	return d.buffers.Get().(*[]byte) //nolint:forcetypeassert // nothing else is put
}

func (d *driver) give(b *[]byte) { d.buffers.Put(b) }
