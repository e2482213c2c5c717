//go:build !linux || !(amd64 || arm64 || riscv64 || loong64)

package netpoll

import (
	"errors"
	"net"
	"syscall"
)

// loop is never used: here all connections are portable.
type loop struct{}

func newLoop(Config) (*loop, error) { return nil, errors.ErrUnsupported }

func (l *loop) run() {}

func (l *loop) stop() {}

func (l *loop) part(*conn) {}

func (c *conn) begin([]byte) {}

func (c *conn) arm() {}

func rawConn(net.Conn) syscall.RawConn { return nil }

// rawWriter is never used.
type rawWriter struct{ portableWriter }

func (w *rawWriter) init() {}

func (c *conn) writeBlocked([][]byte) { c.d.conns.Done() }
