//go:build amd64 || arm64 || riscv64 || loong64

package netpoll

import (
	"net"
	"syscall"
	"time"
	"unsafe"
)

// joinBuffer is how many bytes of several pieces are copied together to be written.
const joinBuffer = 64 << 10

// maxPieces is how many pieces one system call writes without copying: IOV_MAX.
const maxPieces = 1024

// rawConn gives access to the file descriptor, for the types whose methods do nothing beside using it; nil
// for others. System calls on it are made only in the callbacks of the RawConn: these hold the
// descriptor, so that it cannot have been closed and become another connection.
func rawConn(nc net.Conn) syscall.RawConn {
	var sc syscall.Conn
	switch nc := nc.(type) {
	case *net.TCPConn:
		sc = nc
	case *net.UnixConn:
		sc = nc
	default:
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil // closed; reading will say so
	}
	return raw
}

// rawWriter writes without waiting. One goroutine at a time may use it.
type rawWriter struct {
	callback func(fd uintptr) bool // w.try, made once
	join     []byte                // of joinBuffer bytes; nil = never join
	pieces   []syscall.Iovec
	msg      syscall.Msghdr
	bufs     [][]byte // what is to be written, then what is left
	err      error
	calls    int  // system calls, for the tests
	wait     bool // of a blocked connection: wait until something was written
}

func (w *rawWriter) init() {
	w.callback = w.try
	w.join = make([]byte, joinBuffer)
	w.pieces = make([]syscall.Iovec, maxPieces)
}

func (w *rawWriter) write(c *conn, bufs [][]byte) (rest [][]byte, err error) {
	if w.bufs, w.err = skip(bufs, 0), nil; len(w.bufs) == 0 {
		return nil, nil
	}
	if err = c.raw.Write(w.callback); err == nil {
		err = w.err
	}
	rest, w.bufs = w.bufs, nil
	if err != nil {
		return nil, c.writeError(err)
	}
	return rest, nil
}

// try writes until all is written or the kernel takes no more. Its result says not to wait for that, unless
// it is wanted and nothing was written at all.
func (w *rawWriter) try(fd uintptr) bool {
	progress := false
	for len(w.bufs) > 0 {
		n, want, errno := w.send(fd)
		w.calls++
		switch {
		case errno == syscall.EINTR:
		case errno == syscall.EAGAIN:
			return progress || !w.wait
		case errno != 0:
			w.err = errno
			return true
		default:
			progress = progress || n > 0
			w.bufs = skip(w.bufs, n)
			if n < want {
				return progress || !w.wait
			}
		}
	}
	return true
}

// send writes as much as goes into one system call; want is how much that was.
func (w *rawWriter) send(fd uintptr) (n, want int, errno syscall.Errno) {
	b := w.bufs[0]
	if len(w.bufs) > 1 {
		joined, ok := w.joined()
		if !ok {
			return w.sendPieces(fd)
		}
		b = joined
	}
	// As write, but without a signal when the peer has closed.
	r, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, fd, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)),
		syscall.MSG_NOSIGNAL|syscall.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0, len(b), errno
	}
	return int(r), len(b), 0 //nolint:gosec // at most len(b)
}

// joined copies all pieces together, if they are small enough.
func (w *rawWriter) joined() ([]byte, bool) {
	total := 0
	for _, b := range w.bufs {
		if total += len(b); total > len(w.join) {
			return nil, false
		}
	}
	b := w.join[:0]
	for _, piece := range w.bufs {
		b = append(b, piece...)
	}
	return b, true
}

// sendPieces writes as many pieces as one system call takes, without copying them.
func (w *rawWriter) sendPieces(fd uintptr) (n, want int, errno syscall.Errno) {
	count := 0
	for _, b := range w.bufs {
		if count == len(w.pieces) {
			break
		}
		if len(b) > 0 {
			w.pieces[count].Base = &b[0]
			w.pieces[count].SetLen(len(b))
			count++
			want += len(b)
		}
	}
	w.msg.Iov = &w.pieces[0]
	w.msg.Iovlen = uint64(count) //nolint:gosec // not negative
	r, _, errno := syscall.RawSyscall(syscall.SYS_SENDMSG, fd, uintptr(unsafe.Pointer(&w.msg)),
		syscall.MSG_NOSIGNAL|syscall.MSG_DONTWAIT)
	clear(w.pieces[:count])
	if errno != 0 {
		return 0, want, errno
	}
	return int(r), want, 0 //nolint:gosec // at most want
}

// skip takes n bytes off the front of bufs, and empty pieces that follow.
func skip(bufs [][]byte, n int) [][]byte {
	for len(bufs) > 0 && n >= len(bufs[0]) {
		n -= len(bufs[0])
		bufs = bufs[1:]
	}
	if n > 0 {
		bufs[0] = bufs[0][n:]
	}
	return bufs
}

// writeBlocked waits until the peer has taken what is left. It ends when that is done, when the peer takes nothing
// for too long, or when the connection is closed; the connection's own goroutine waits for it.
func (c *conn) writeBlocked(left [][]byte) {
	defer c.d.conns.Done()
	w := &rawWriter{wait: true, pieces: make([]syscall.Iovec, min(len(left), 64))}
	w.callback = w.try
	var err error
	for len(left) > 0 && err == nil {
		if err = c.writeDeadline(time.Now().Add(c.d.cfg.WriteTimeout)); err == nil {
			left, err = w.write(c, left)
		}
	}
	if err == nil {
		err = c.writeDeadline(time.Time{})
	}
	if err != nil {
		c.Close(err)
	}
	c.w.Store(dirty) // the flusher asks for more, or ends the writing
	c.f.add(c)
}
