package netpoll

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// What is going on with a connection, bits of conn.flags. They are only ever set, but for paused.
const (
	paused    = 1 << iota // do not read
	draining              // CloseAfterFlush was called: drop what is read
	flushed               // draining, and all is written
	closing               // stop everything
	broken                // writing failed
	ended                 // the peer will send no more
	reading               // the loop is giving data to the handler
	finishing             // the goroutine that ends the connection was started
)

// Who writes, the values of conn.w.
const (
	idle     = iota // nobody, and nothing is to be written
	dirty           // the connection waits for its turn
	flushing        // Next is asked, and what it gives is written without waiting
	again           // as flushing, and Wake was called meanwhile
	blocked         // something waits until the peer takes it
	dead            // nobody, never again
)

// past is a deadline that wakes all who wait for the connection.
var past = time.Unix(1, 0)

// conn is a connection of a driver. A loop reads for many connections, or a goroutine for one; see run. When it
// is to end, a goroutine sees to that; see finish. One at a time, whoever brought w from idle to another value
// writes. All others only set flags and wake these.
type conn struct {
	d          *driver
	nc         net.Conn
	raw        syscall.RawConn // nil where the file descriptor cannot be used
	h          Handler
	l          *loop    // reads when raw is set
	f          *flusher // writes when raw is set
	next, prev *conn    // guarded by d.mu
	flags      atomic.Uint32
	w          atomic.Uint32

	seat   int32 // in the loop; guarded by l.mu, and so is seated
	seated bool

	mu      sync.Mutex
	armed   bool // the kernel tells the loop of it
	decided bool // err is set
	err     error
	limit   *time.Timer   // of CloseAfterFlush
	changed chan struct{} // closed when something changed that await waits for; nil while nobody does
}

func (c *conn) has(flag uint32) bool { return c.flags.Load()&flag != 0 }

// Wake implements [Conn].
func (c *conn) Wake() {
	for {
		switch c.w.Load() {
		case idle:
			if c.w.CompareAndSwap(idle, dirty) {
				c.schedule()
				return
			}
		case flushing:
			if c.w.CompareAndSwap(flushing, again) {
				return
			}
		default: // Next will be asked anyway, or never again
			return
		}
	}
}

// schedule finds a writer for a connection that has become dirty.
func (c *conn) schedule() {
	if c.raw != nil {
		c.f.add(c)
		return
	}
	// The count cannot be zero: the goroutine of the connection stays until w is dead.
	c.d.conns.Add(1)
	go c.writePortable()
}

// Writable implements [Conn].
func (c *conn) Writable() bool { return c.w.Load() != blocked }

// Pause implements [Conn].
func (c *conn) Pause() {
	if c.flags.Or(paused)&paused == 0 && c.l != nil {
		c.arm()
	}
}

// Resume implements [Conn].
func (c *conn) Resume() {
	if c.flags.And(^uint32(paused))&paused == 0 {
		return
	}
	if c.l != nil {
		c.arm()
		return
	}
	c.notify()
}

// Close implements [Conn].
func (c *conn) Close(err error) {
	c.end(err)
	if c.flags.Or(closing)&closing != 0 {
		return
	}
	c.notify()
	// Whoever waits for the connection fails now, and finish closes it.
	if c.nc.SetDeadline(past) != nil {
		_ = c.nc.Close() // it knows no deadlines, or was closed
	}
	c.startFinish()
}

// startFinish starts finish for a connection that has no goroutine of its own.
func (c *conn) startFinish() {
	if c.l != nil && c.flags.Or(finishing)&finishing == 0 {
		go c.finish()
	}
}

// end sets why the connection ends, and tells whether it was the first to do so.
func (c *conn) end(err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.decided {
		return false
	}
	c.decided, c.err = true, err
	return true
}

// CloseAfterFlush implements [Conn].
func (c *conn) CloseAfterFlush(err error, limit time.Duration) {
	if limit <= 0 {
		c.Close(err)
		return
	}
	if !c.end(err) {
		return
	}
	c.flags.Or(draining)
	c.mu.Lock()
	if !c.has(closing) {
		c.limit = time.AfterFunc(limit, c.expire)
	}
	c.mu.Unlock()
	c.notify()
	if c.l != nil {
		c.arm() // what comes now is read and dropped, also of a paused connection
		c.startFinish()
	}
	c.Wake()
}

// expire ends the time that CloseAfterFlush has.
func (c *conn) expire() { c.Close(nil) } // the error was set before

// halfClose is called by the writer when all is written after CloseAfterFlush.
func (c *conn) halfClose() {
	nc, ok := c.nc.(interface{ CloseWrite() error })
	c.flags.Or(flushed)
	if !ok || nc.CloseWrite() != nil {
		c.Close(nil) // the peer cannot be told, so it will not answer
		return
	}
	c.notify()
}

// run reads until the connection ends, and then ends it. It ends when the connection does, at the latest
// when the driver is closed, which waits for it.
func (c *conn) run(first []byte) {
	if len(first) > 0 {
		c.data(first)
	}
	c.readPortable()
	c.finish()
}

// finish ends a connection that is closing. It ends when that is done, for which the driver's Close waits.
func (c *conn) finish() {
	defer c.d.conns.Done()
	c.await(func() bool { return c.has(closing) || c.flags.Load()&(flushed|ended) == flushed|ended })
	c.Close(nil) // from here on nothing is written; the error is set already
	c.await(func() bool {
		return !c.has(reading) && (c.w.Load() == dead || c.w.CompareAndSwap(idle, dead))
	})
	c.mu.Lock()
	limit := c.limit
	c.mu.Unlock()
	if limit != nil {
		limit.Stop()
	}
	if c.l != nil {
		c.l.part(c)
	}
	c.shut()
	c.d.unlink(c)
	c.h.Closed(c.err)
}

// enter claims the handler's Data for the loop, unless nothing is to be read now.
func (c *conn) enter() bool {
	f := c.flags.Or(reading)
	if f&(closing|ended) != 0 || f&(paused|draining) == paused {
		c.leave()
		return false
	}
	return true
}

// leave ends what enter began.
func (c *conn) leave() {
	if c.flags.And(^uint32(reading))&closing != 0 {
		c.notify()
	}
}

// shut closes the connection. TLS would first write an alert, for which it would wait when the peer takes
// nothing.
func (c *conn) shut() {
	if nc, ok := c.nc.(interface{ NetConn() net.Conn }); ok && c.has(broken) {
		_ = nc.NetConn().Close() // there is nothing to be done about it
		return
	}
	_ = c.nc.Close() // there is nothing to be done about it
}

// data gives p to the handler, unless the connection is ending.
func (c *conn) data(p []byte) {
	if c.has(draining | closing) {
		return
	}
	if err := c.h.Data(p); err != nil && !c.has(draining) {
		c.Close(err)
	}
}

// stopped waits while reading is paused, and tells whether it has ended.
func (c *conn) stopped() bool {
	if c.flags.Load()&(paused|draining|closing) == paused {
		c.await(func() bool { return c.flags.Load()&(paused|draining|closing) != paused })
	}
	return c.has(closing)
}

// gone is called when the peer closed (nil) or reading failed.
func (c *conn) gone(err error) {
	c.flags.Or(ended)
	switch {
	case err != nil:
		c.Close(err)
	case c.has(draining): // what is being written is still written
		c.notify()
	default:
		c.Close(io.EOF)
	}
	if c.l != nil {
		c.arm()
	}
}

// await waits until done, which is called again after each notify.
func (c *conn) await(done func() bool) {
	for {
		c.mu.Lock()
		if done() {
			c.mu.Unlock()
			return
		}
		if c.changed == nil {
			c.changed = make(chan struct{})
		}
		changed := c.changed
		c.mu.Unlock()
		<-changed
	}
}

// notify is to be called after any change that await may wait for.
func (c *conn) notify() {
	c.mu.Lock()
	changed := c.changed
	c.changed = nil
	c.mu.Unlock()
	if changed != nil {
		close(changed)
	}
}
