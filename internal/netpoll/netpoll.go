// Package netpoll drives connections: it reads from them and writes to them, and tells a [Handler]
// what came and asks it what to send. How it waits is its own affair: nothing above it can tell. On
// Linux event loops serve plain TCP and Unix connections; others have a goroutine each.
//
// Not in this package: frames, queues, time-outs of the protocol.
package netpoll

import (
	"errors"
	"net"
	"time"
)

// Handler is the owner of one connection. Its methods must not block.
type Handler interface {
	// Data takes bytes as they came. p is valid during the call and may be changed. Calls do not overlap
	// and come in order; none comes after Closed. An error closes the connection with it, unless
	// CloseAfterFlush was called before.
	Data(p []byte) error

	// Next appends to bufs what is to be written next, in order, and returns it; nothing appended
	// means that there is nothing to send. The bytes must not change until written. It is asked again
	// once they are written. Calls do not overlap one another, but they may overlap Data.
	Next(bufs [][]byte) [][]byte

	// Closed is told once, after the last call of Data and of Next: nil for a Close(nil), io.EOF when the
	// peer closed.
	Closed(err error)
}

// Conn is a connection under a driver. Its methods are safe for concurrent use, never block and may
// be called from within the handler's methods, except that Next and Closed may be called by none.
type Conn interface {
	// Wake asks the driver to call Next soon. It costs little when it was asked already.
	Wake()

	// Writable tells whether all that Next gave has been taken by the kernel, or is being given to it without
	// having to wait.
	Writable() bool

	// Pause stops reading, after the call of Data under way; Resume starts it again. Pauses do not count.
	// That the peer has gone is not noticed while paused, unless something is written.
	Pause()
	Resume()

	// CloseAfterFlush ends the calls of Data, writes what Next still gives, half-closes, waits until the
	// peer closes too and closes; after the given time it closes whatever remains. The handler's
	// Closed gets err. A later Close cuts it short, but the error stays.
	CloseAfterFlush(err error, limit time.Duration)

	// Close closes at once; the handler's Closed gets err. Later closes have no effect.
	Close(err error)
}

// Driver reads and writes any number of connections.
type Driver interface {
	// Add takes over nc. first is what was already read of it and may be nil. The handler must be ready
	// to be called before Add returns. After the driver was closed, the connection is closed with
	// ErrClosed.
	Add(nc net.Conn, first []byte, h Handler) Conn

	// Idle gives a channel that is closed when there is no connection, which may be now.
	Idle() <-chan struct{}

	// Close closes every connection with ErrClosed and waits for the goroutines of the driver. It must
	// not be called by a handler.
	Close() error
}

// ErrClosed is why a connection ends when its driver is closed.
var ErrClosed = errors.New("netpoll: driver closed")

// ErrWriteTimeout is why a connection ends whose peer did not take what was to be written in time.
var ErrWriteTimeout = errors.New("netpoll: write timed out")

// Config configures a driver. Zero fields mean their defaults.
type Config struct {
	ReadBuffer   int           // bytes of the buffers that reads use, lent while there is something to read; 16 KiB
	WriteTimeout time.Duration // how long a peer may take nothing at all while something is to be written; 10 s
}
