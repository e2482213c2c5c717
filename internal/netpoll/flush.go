package netpoll

import "sync"

// writer writes what Next gives. rest is what the kernel did not take, part of bufs.
type writer interface {
	write(c *conn, bufs [][]byte) (rest [][]byte, err error)
}

// flush asks Next and writes until there is nothing more, and then brings w from dirty to idle, or to dead if
// the connection is closing. When the kernel takes no more, w is blocked, and what is left is returned.
// bufs is used for what Next gives; it comes back to be used again.
func (c *conn) flush(w writer, bufs [][]byte) (rest, used [][]byte) {
	c.w.Store(flushing)
	for !c.has(closing) {
		// As of before Next is asked: who begins to drain meanwhile may have queued more, and wakes it again.
		f := c.flags.Load()
		if f&flushed == 0 {
			bufs = c.h.Next(bufs[:0])
		}
		if f&flushed != 0 || len(bufs) == 0 {
			if f&(draining|flushed) == draining {
				c.halfClose()
			}
			if c.w.CompareAndSwap(flushing, idle) {
				c.retire()
				return nil, bufs
			}
			c.w.Store(flushing) // it was again
			continue
		}
		rest, err := w.write(c, bufs)
		if err != nil {
			c.flags.Or(broken)
			c.Close(err)
		} else if len(rest) > 0 {
			return rest, bufs
		}
		clear(bufs) // so that what was written can be freed
		bufs = bufs[:0]
	}
	c.w.Store(dead)
	c.notify()
	return nil, bufs
}

// retire brings w from idle to dead if the connection began to close before it became idle: then its goroutine
// may wait for that.
func (c *conn) retire() {
	if c.has(closing) && c.w.CompareAndSwap(idle, dead) {
		c.notify()
	}
}

// flusher writes for many connections. Connections that have something to write wait in a list, which
// it works off in one go, so that what comes in the meantime is written together.
type flusher struct {
	wake chan struct{} // of capacity 1
	raw  rawWriter
	bufs [][]byte

	mu       sync.Mutex
	list     []*conn
	sleeping bool // the next to add something has to wake it
	stopping bool
}

func newFlusher() *flusher {
	f := &flusher{wake: make(chan struct{}, 1)}
	f.raw.init()
	return f
}

// add puts a dirty connection on the list.
func (f *flusher) add(c *conn) {
	f.mu.Lock()
	f.list = append(f.list, c)
	wake := f.sleeping
	f.sleeping = false
	f.mu.Unlock()
	if wake {
		f.wake <- struct{}{}
	}
}

// stop ends run once the list is empty.
func (f *flusher) stop() {
	f.mu.Lock()
	f.stopping = true
	wake := f.sleeping
	f.sleeping = false
	f.mu.Unlock()
	if wake {
		f.wake <- struct{}{}
	}
}

// run ends after stop, which the driver's Close calls; that also waits for it.
func (f *flusher) run() {
	var list []*conn
	for {
		list = f.take(list)
		if list == nil {
			return
		}
		for i, c := range list {
			list[i] = nil
			f.flush(c)
		}
	}
}

// take waits for a list and gives it in exchange for an empty one; nil after stop.
func (f *flusher) take(empty []*conn) []*conn {
	f.mu.Lock()
	for len(f.list) == 0 {
		if f.stopping {
			f.mu.Unlock()
			return nil
		}
		f.sleeping = true
		f.mu.Unlock()
		<-f.wake
		f.mu.Lock()
	}
	list := f.list
	f.list = empty[:0]
	f.mu.Unlock()
	return list
}

func (f *flusher) flush(c *conn) {
	rest, used := c.flush(&f.raw, f.bufs)
	f.bufs = used
	if len(rest) == 0 {
		return
	}
	left := append([][]byte(nil), rest...)
	clear(used)
	c.w.Store(blocked)
	// The count cannot be zero: the goroutine of the connection stays until w is dead.
	c.d.conns.Add(1)
	go c.writeBlocked(left)
}
