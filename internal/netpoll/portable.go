package netpoll

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// idleBuffer is the size in bytes of the buffers that wait for connections whose readiness cannot be waited
// for.
const idleBuffer = 1 << 10

// writeBuffer is the size in bytes of what is written at once to such connections: a record of TLS.
const writeBuffer = 16 << 10

var (
	idleBuffers  = sync.Pool{New: func() any { return new([idleBuffer]byte) }}
	writeBuffers = sync.Pool{New: func() any { return new([writeBuffer]byte) }}
)

// readPortable reads with a small buffer, and with a bigger one as long as they come back full.
func (c *conn) readPortable() {
	small := idleBuffers.Get().(*[idleBuffer]byte) //nolint:errcheck // nothing else is put
	defer idleBuffers.Put(small)
	more := false
	for !c.stopped() {
		if !more {
			n, ok := c.readOnce(small[:])
			if !ok {
				return
			}
			more = n == len(small)
			continue
		}
		big := c.d.buffer()
		n, ok := c.readOnce(*big)
		c.d.give(big)
		if !ok {
			return
		}
		more = n == len(*big)
	}
}

func (c *conn) readOnce(p []byte) (n int, ok bool) {
	n, err := c.nc.Read(p)
	if n > 0 {
		if c.stopped() {
			return n, false
		}
		c.data(p[:n])
	}
	switch {
	case err == nil:
		return n, true
	case errors.Is(err, io.EOF):
		c.gone(nil)
	default:
		c.gone(fmt.Errorf("netpoll: read: %w", err))
	}
	return n, false
}

// writePortable writes while there is something to write. It ends when there is not, or the connection is
// closed; the connection's own goroutine waits for it.
func (c *conn) writePortable() {
	defer c.d.conns.Done()
	w := &portableWriter{}
	c.flush(w, nil)
	if w.buf != nil {
		writeBuffers.Put(w.buf)
	}
}

// portableWriter joins pieces up to the size of its buffer and waits until they are written.
type portableWriter struct{ buf *[writeBuffer]byte }

func (w *portableWriter) write(c *conn, bufs [][]byte) (rest [][]byte, err error) {
	if w.buf == nil {
		w.buf = writeBuffers.Get().(*[writeBuffer]byte) //nolint:errcheck // nothing else is put
	}
	c.w.Store(blocked) // a Wake now needs nothing: Next is asked again in any case
	defer c.w.Store(flushing)
	n := 0
	for _, b := range bufs {
		for len(b) > 0 {
			m := copy(w.buf[n:], b)
			n, b = n+m, b[m:]
			if n < len(w.buf) {
				continue
			}
			if err := c.writeAll(w.buf[:n]); err != nil {
				return nil, err
			}
			n = 0
		}
	}
	if err := c.writeAll(w.buf[:n]); err != nil {
		return nil, err
	}
	// TLS writes while it reads, too, such as new keys: after a deadline that has passed it would never write again.
	_ = c.nc.SetWriteDeadline(time.Time{}) // it fails for a closed connection only
	return nil, nil
}

// writeAll writes a piece that is small enough for no progress within it to be no progress at all.
func (c *conn) writeAll(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	if err := c.writeDeadline(time.Now().Add(c.d.cfg.WriteTimeout)); err != nil {
		return err
	}
	_, err := c.nc.Write(p)
	return c.writeError(err)
}

// writeDeadline sets a deadline, but never after the one that Close sets.
func (c *conn) writeDeadline(t time.Time) error {
	if err := c.nc.SetWriteDeadline(t); err != nil {
		return fmt.Errorf("netpoll: write: %w", err)
	}
	if c.has(closing) {
		return ErrClosed // not seen by anybody: the error of the connection is set
	}
	return nil
}

func (c *conn) writeError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return ErrWriteTimeout
	}
	return fmt.Errorf("netpoll: write: %w", err)
}
