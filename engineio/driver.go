package engineio

// Temporary: until internal/netpoll has a driver.

import (
	"net"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/internal/netpoll"
)

type shim struct {
	cfg    netpoll.Config
	mu     sync.Mutex
	conns  map[*sconn]bool
	wg     sync.WaitGroup
	closed bool
}

func newDriver() netpoll.Driver {
	cfg := netpoll.Config{WriteTimeout: writeTimeout}
	return &shim{cfg: cfg, conns: map[*sconn]bool{}}
}

type sconn struct {
	d                            *shim
	nc                           net.Conn
	h                            netpoll.Handler
	mu                           sync.Mutex
	cond                         *sync.Cond
	dirty, closing, paused, dead bool
	err                          error
	wdone                        chan struct{}
}

func (d *shim) Add(nc net.Conn, first []byte, h netpoll.Handler) netpoll.Conn {
	c := &sconn{d: d, nc: nc, h: h, wdone: make(chan struct{})}
	c.cond = sync.NewCond(&c.mu)
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		nc.Close()
		h.Closed(netpoll.ErrClosed)
		return c
	}
	d.conns[c] = true
	d.wg.Add(2)
	d.mu.Unlock()
	go c.read(first)
	go c.write()
	return c
}
func (c *sconn) read(first []byte) {
	defer c.d.wg.Done()
	var err error
	if len(first) > 0 {
		err = c.h.Data(first)
	}
	buf := make([]byte, 16384)
	for err == nil {
		c.mu.Lock()
		for c.paused && !c.dead && !c.closing {
			c.cond.Wait()
		}
		stop := c.dead || c.closing
		c.mu.Unlock()
		if stop {
			break
		}
		var n int
		n, err = c.nc.Read(buf)
		c.mu.Lock()
		stop = c.dead || c.closing
		c.mu.Unlock()
		if stop {
			err = nil
			break
		}
		if n > 0 {
			if e := c.h.Data(buf[:n]); e != nil {
				err = e
			}
		}
	}
	if err != nil {
		c.Close(err)
	}
	<-c.wdone
	c.mu.Lock()
	e := c.err
	c.mu.Unlock()
	c.h.Closed(e)
	c.d.mu.Lock()
	delete(c.d.conns, c)
	c.d.mu.Unlock()
}
func (c *sconn) write() {
	defer c.d.wg.Done()
	defer close(c.wdone)
	for {
		c.mu.Lock()
		for !c.dirty && !c.dead && !c.closing {
			c.cond.Wait()
		}
		if c.dead {
			c.mu.Unlock()
			return
		}
		c.dirty = false
		closing := c.closing
		c.mu.Unlock()
		bufs := c.h.Next(nil)
		if len(bufs) == 0 {
			if closing {
				break
			}
			continue
		}
		c.mu.Lock()
		c.dirty = true
		c.mu.Unlock()
		c.nc.SetWriteDeadline(time.Now().Add(c.d.cfg.WriteTimeout))
		nb := net.Buffers(bufs)
		if _, err := nb.WriteTo(c.nc); err != nil {
			if e, ok := err.(net.Error); ok && e.Timeout() {
				err = netpoll.ErrWriteTimeout
			}
			c.Close(err)
			return
		}
	}
	c.nc.Close()
}
func (c *sconn) Wake()          { c.mu.Lock(); c.dirty = true; c.cond.Broadcast(); c.mu.Unlock() }
func (c *sconn) Writable() bool { return true }
func (c *sconn) Pause()         { c.mu.Lock(); c.paused = true; c.mu.Unlock() }
func (c *sconn) Resume()        { c.mu.Lock(); c.paused = false; c.cond.Broadcast(); c.mu.Unlock() }
func (c *sconn) CloseAfterFlush(err error, l time.Duration) {
	c.mu.Lock()
	if !c.closing && !c.dead {
		c.closing = true
		c.err = err
		c.nc.SetReadDeadline(time.Now())
	}
	c.cond.Broadcast()
	c.mu.Unlock()
}
func (c *sconn) Close(err error) {
	c.mu.Lock()
	if !c.dead {
		if c.err == nil && !c.closing {
			c.err = err
		}
		c.dead = true
		c.nc.Close()
	}
	c.cond.Broadcast()
	c.mu.Unlock()
}
func (d *shim) Close() error {
	d.mu.Lock()
	d.closed = true
	for c := range d.conns {
		go c.Close(netpoll.ErrClosed)
	}
	d.mu.Unlock()
	d.wg.Wait()
	return nil
}
