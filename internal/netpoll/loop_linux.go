//go:build amd64 || arm64 || riscv64 || loong64

package netpoll

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"syscall"
	"unsafe"
)

// loopEvents is how many connections are read from before other goroutines get their turn.
const loopEvents = 256

// loop reads from many connections. Its epoll instance is itself waited for by the runtime's poller, so that no
// thread is blocked; connections are in both, and those of the runtime's are never used for reading.
//
// Readiness is level-triggered: what one read leaves in the kernel, the end of the stream included, is told again.
type loop struct {
	file   *os.File // the epoll instance
	raw    syscall.RawConn
	events []syscall.EpollEvent
	n      int // valid events
	buf    []byte

	// The connection that is read from, and the outcome.
	read  func(fd uintptr)
	got   int
	errno syscall.Errno

	ready []*conn // those of events

	mu    sync.Mutex
	seats []seat
	free  []int32 // seats that are not taken
}

// seat is a connection as the kernel knows it, by index and use. Events of an earlier use come to nothing.
type seat struct {
	c   *conn
	use int32
}

func newLoop(cfg Config) (*loop, error) {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("netpoll: epoll: %w", err)
	}
	if err := syscall.SetNonblock(fd, true); err != nil { // by which os knows that it can be waited for
		_ = syscall.Close(fd) // nothing was done with it
		return nil, fmt.Errorf("netpoll: epoll: %w", err)
	}
	l := &loop{
		file:   os.NewFile(uintptr(fd), "epoll"),
		events: make([]syscall.EpollEvent, loopEvents),
		ready:  make([]*conn, 0, loopEvents),
		buf:    make([]byte, cfg.ReadBuffer),
	}
	l.read = l.try
	if l.raw, err = l.file.SyscallConn(); err != nil {
		_ = l.file.Close() // nothing was done with it
		return nil, fmt.Errorf("netpoll: epoll: %w", err)
	}
	return l, nil
}

// run ends after stop.
func (l *loop) run() {
	wait := l.wait
	for l.raw.Read(wait) == nil {
		l.pick()
		for i, c := range l.ready {
			l.ready[i] = nil
			l.serve(c)
		}
		// What was read is handled, and what that gives is written, before more is read.
		runtime.Gosched()
	}
}

// stop ends run.
func (l *loop) stop() { _ = l.file.Close() } // nothing is written to it

// wait is called with the epoll instance when there may be events, and tells whether there are.
func (l *loop) wait(fd uintptr) bool {
	for {
		n, _, errno := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, fd, uintptr(unsafe.Pointer(&l.events[0])),
			uintptr(len(l.events)), 0, 0, 0)
		if errno == syscall.EINTR {
			continue
		}
		l.n = 0
		if errno == 0 {
			l.n = int(n) //nolint:gosec // at most loopEvents
		}
		return l.n > 0
	}
}

// pick finds the connections of the events.
func (l *loop) pick() {
	l.ready = l.ready[:0]
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.events[:l.n] {
		if s := l.seats[e.Fd]; s.use == e.Pad && s.c != nil {
			l.ready = append(l.ready, s.c)
		}
	}
}

// serve reads once.
func (l *loop) serve(c *conn) {
	if !c.enter() {
		c.arm()
		return
	}
	defer c.leave()
	// The descriptor is held during the call, so that it cannot have become another connection.
	if c.raw.Control(l.read) != nil {
		return // closed
	}
	switch {
	case l.errno == syscall.EAGAIN:
	case l.errno != 0:
		c.gone(fmt.Errorf("netpoll: read: %w", l.errno))
	case l.got == 0:
		c.gone(nil)
	default:
		c.data(l.buf[:l.got])
	}
}

func (l *loop) try(fd uintptr) {
	for {
		n, _, errno := syscall.RawSyscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(&l.buf[0])), uintptr(len(l.buf)))
		if errno != syscall.EINTR {
			l.got, l.errno = int(n), errno //nolint:gosec // at most len(l.buf)
			return
		}
	}
}

// begin makes c one of the loop's connections, after what was already read has been handled.
func (c *conn) begin(first []byte) {
	if len(first) > 0 {
		c.data(first)
	}
	c.l.take(c)
	c.arm()
}

// take gives c a seat, and leaves: who sees the seat may arm the connection, by which the loop enters.
func (l *loop) take(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.free); n > 0 {
		c.seat = l.free[n-1]
		l.free = l.free[:n-1]
	} else {
		c.seat = int32(len(l.seats)) //nolint:gosec // there are fewer file descriptors
		l.seats = append(l.seats, seat{})
	}
	l.seats[c.seat].c = c
	c.seated = true
	c.leave()
}

// part takes the seat away; later events come to nothing.
func (l *loop) part(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.seated {
		s := &l.seats[c.seat]
		s.c = nil
		s.use++
		l.free = append(l.free, c.seat)
		c.seated = false
	}
}

// arm makes the kernel tell of c, or stop that, as its flags want it. It may be called at any time.
func (c *conn) arm() {
	if err := c.rearm(); err != nil {
		c.Close(err)
	}
}

func (c *conn) rearm() error {
	c.l.mu.Lock()
	id, ok := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: c.seat}, c.seated
	if ok {
		id.Pad = c.l.seats[c.seat].use
	}
	c.l.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.flags.Load()
	want := ok && f&(closing|ended) == 0 && f&(paused|draining) != paused
	if want == c.armed {
		return nil
	}
	op := syscall.EPOLL_CTL_DEL
	if want {
		op = syscall.EPOLL_CTL_ADD
	}
	var failed error
	err := c.raw.Control(func(fd uintptr) { failed = c.l.control(op, int(fd), &id) })
	if err != nil || failed != nil {
		if want {
			return fmt.Errorf("netpoll: epoll: %w", joinErrors(err, failed))
		}
		return nil // closed
	}
	c.armed = want
	return nil
}

func (l *loop) control(op, fd int, e *syscall.EpollEvent) (err error) {
	cerr := l.raw.Control(func(ep uintptr) { err = syscall.EpollCtl(int(ep), op, fd, e) })
	return joinErrors(cerr, err)
}

func joinErrors(a, b error) error {
	if a != nil {
		return a
	}
	return b
}
