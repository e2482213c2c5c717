//go:build !linux || !(amd64 || arm64 || riscv64 || loong64)

package netpoll

import (
	"net"
	"syscall"
)

// rawConn gives nil: here all connections are portable.
func rawConn(net.Conn) syscall.RawConn { return nil }

// rawWriter is never used: no connection is raw.
type rawWriter struct{ portableWriter }

func (w *rawWriter) init() {}

func (c *conn) readRaw() { c.readPortable() }

func (c *conn) writeBlocked([][]byte) { c.d.conns.Done() }
