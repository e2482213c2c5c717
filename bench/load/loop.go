//go:build linux

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"time"
	"unsafe"
)

// loop drives any number of client connections from one thread: raw sockets, one epoll, no goroutine.
type loop struct {
	epoll   int
	servers []syscall.SockaddrInet4
	dialed  int
	host    string // host:port, for requests
	byFD    []*client
	events  []syscall.EpollEvent
	buf     []byte
	spin    bool  // never sleep, so that the server is not charged for waking us up
	now     int64 // when the last event was read, in nanoseconds

	failed  int // connections that ended by themselves
	lastErr error
}

// client is one connection. Its stage is the scenario's affair.
type client struct {
	fd        int
	connected bool
	closed    bool
	rest      []byte // an incomplete frame or answer
	out       []byte // what is to be written when the event has been served
	late      []byte // what the kernel did not take
	armed     bool   // waiting for writability

	feed  func(c *client, p []byte) (used int) // parses what came
	ready func(c *client)                      // the TCP connection is there

	sid   string
	stage int
	seq   uint32
	got   int
	sent  []int64 // when request seq was sent, by seq modulo the length
}

func newLoop(addrs []netip.AddrPort) (*loop, error) {
	servers := make([]syscall.SockaddrInet4, len(addrs))
	for i, addr := range addrs {
		if !addr.Addr().IsLoopback() || !addr.Addr().Is4() {
			return nil, fmt.Errorf("%v is not an IPv4 loopback address", addr)
		}
		servers[i] = syscall.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}
	}
	epoll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	return &loop{
		epoll:   epoll,
		servers: servers,
		host:    addrs[0].String(),
		byFD:    make([]*client, 1<<15),
		events:  make([]syscall.EpollEvent, 1024),
		buf:     make([]byte, 1<<18),
	}, nil
}

// dial opens a connection to the next server.
func (l *loop) dial(ready func(*client)) (*client, error) {
	server := l.servers[l.dialed%len(l.servers)]
	l.dialed++
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	c := &client{fd: fd, ready: ready, armed: true}
	err = errors.Join(
		syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1),
		// A reset instead of TIME-WAIT: thousands of connections are opened and dropped.
		syscall.SetsockoptLinger(fd, syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1}),
	)
	if err == nil {
		if err = syscall.Connect(fd, &server); errors.Is(err, syscall.EINPROGRESS) {
			err = nil
		}
	}
	if err == nil {
		err = syscall.EpollCtl(l.epoll, syscall.EPOLL_CTL_ADD, fd, &syscall.EpollEvent{Events: syscall.EPOLLIN | syscall.EPOLLOUT, Fd: int32(fd)})
	}
	if err != nil {
		_ = syscall.Close(fd) // the first error is the one to report
		return nil, err
	}
	l.byFD[fd] = c
	return c, nil
}

func (l *loop) drop(c *client, why error) {
	if c.closed {
		return
	}
	c.closed = true
	l.byFD[c.fd] = nil
	_ = syscall.Close(c.fd) // a reset cannot fail usefully
	if why != nil {
		l.failed++
		l.lastErr = why
	}
}

func (l *loop) dropAll() {
	for _, c := range l.byFD {
		if c != nil {
			l.drop(c, nil)
		}
	}
}

// serve waits for events, at most for the given time, and serves them.
func (l *loop) serve(limit time.Duration) error {
	n, err := l.wait(limit)
	if err != nil {
		return err
	}
	l.now = clock()
	for _, ev := range l.events[:n] {
		c := l.byFD[ev.Fd]
		if c == nil {
			continue
		}
		if ev.Events&syscall.EPOLLOUT != 0 {
			l.writable(c)
		}
		if ev.Events&^syscall.EPOLLOUT != 0 && !c.closed {
			l.readable(c)
		}
		if !c.closed {
			l.flush(c)
		}
	}
	return nil
}

func (l *loop) wait(limit time.Duration) (int, error) {
	if !l.spin {
		n, err := syscall.EpollWait(l.epoll, l.events, int(limit.Milliseconds())+1)
		if errors.Is(err, syscall.EINTR) {
			return 0, nil
		}
		return n, err
	}
	for end := clock() + int64(limit); ; {
		n, _, errno := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(l.epoll), uintptr(unsafe.Pointer(&l.events[0])),
			uintptr(len(l.events)), 0, 0, 0)
		if errno != 0 {
			return 0, errno
		}
		if n > 0 || clock() > end {
			return int(n), nil
		}
	}
}

// serveFor serves events for a time.
func (l *loop) serveFor(d time.Duration) error {
	for end := clock() + int64(d); clock() < end; {
		if err := l.serve(min(time.Duration(end-clock()), 100*time.Millisecond)); err != nil {
			return err
		}
	}
	return nil
}

func (l *loop) writable(c *client) {
	if !c.connected {
		if code, err := syscall.GetsockoptInt(c.fd, syscall.SOL_SOCKET, syscall.SO_ERROR); err != nil || code != 0 {
			l.drop(c, fmt.Errorf("connect: %w", syscall.Errno(code)))
			return
		}
		c.connected = true
		l.arm(c, false)
		c.ready(c)
		return
	}
	late := c.late
	c.late = nil
	l.arm(c, false)
	l.write(c, late)
}

func (l *loop) readable(c *client) {
	have := copy(l.buf, c.rest)
	n, _, errno := syscall.RawSyscall(syscall.SYS_READ, uintptr(c.fd), uintptr(unsafe.Pointer(&l.buf[have])), uintptr(len(l.buf)-have))
	switch {
	case errno == syscall.EAGAIN:
		return
	case errno != 0:
		l.drop(c, errno)
		return
	case n == 0:
		l.drop(c, errors.New("closed by the server"))
		return
	}
	l.now = clock()
	data := l.buf[:have+int(n)]
	for len(data) > 0 && !c.closed {
		used := c.feed(c, data)
		if used == 0 {
			break
		}
		data = data[used:]
	}
	if c.rest = c.rest[:0]; len(data) > 0 {
		c.rest = append(c.rest, data...)
	} else if cap(c.rest) > 0 {
		c.rest = nil
	}
}

// flush writes what the event's handlers appended to c.out, in one go.
func (l *loop) flush(c *client) {
	if len(c.out) > 0 {
		out := c.out
		c.out = c.out[:0]
		l.write(c, out)
	}
}

func (l *loop) write(c *client, p []byte) {
	if len(c.late) > 0 {
		c.late = append(c.late, p...)
		return
	}
	n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, uintptr(c.fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
	switch {
	case errno == syscall.EAGAIN:
		n = 0
	case errno != 0:
		l.drop(c, errno)
		return
	}
	if int(n) < len(p) {
		c.late = append(c.late, p[n:]...)
		l.arm(c, true)
	}
}

func (l *loop) arm(c *client, on bool) {
	if c.armed == on {
		return
	}
	c.armed = on
	ev := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(c.fd)}
	if on {
		ev.Events |= syscall.EPOLLOUT
	}
	if err := syscall.EpollCtl(l.epoll, syscall.EPOLL_CTL_MOD, c.fd, &ev); err != nil {
		l.drop(c, err)
	}
}

var mask = [4]byte{0x5a, 0xc3, 0x17, 0x88}

// appendText appends a masked text frame.
func appendText(dst, payload []byte) []byte {
	switch n := len(payload); {
	case n < 126:
		dst = append(dst, 0x81, 0x80|byte(n))
	case n < 1<<16:
		dst = append(dst, 0x81, 0x80|126, byte(n>>8), byte(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, 0x81, 0x80|127), uint64(n))
	}
	dst = append(dst, mask[:]...)
	for i, b := range payload {
		dst = append(dst, b^mask[i&3])
	}
	return dst
}

// frame finds the first frame of a server.
func frame(p []byte) (op byte, payload []byte, used int) {
	if len(p) < 2 {
		return 0, nil, 0
	}
	n, head := int(p[1]&0x7f), 2
	switch n {
	case 126:
		if len(p) < 4 {
			return 0, nil, 0
		}
		n, head = int(binary.BigEndian.Uint16(p[2:])), 4
	case 127:
		if len(p) < 10 {
			return 0, nil, 0
		}
		n, head = int(binary.BigEndian.Uint64(p[2:])), 10
	}
	if len(p) < head+n {
		return 0, nil, 0
	}
	return p[0] & 15, p[head : head+n], head + n
}

var start = time.Now()

// clock is monotonic, in nanoseconds.
func clock() int64 { return int64(time.Since(start)) }
