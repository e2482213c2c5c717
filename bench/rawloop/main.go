//go:build linux

// Command rawloop is the floor of the benchmarks: one thread, one epoll, and between the bytes and the system
// calls as little as the load generator needs to believe in a Socket.IO server. It checks nothing and must never
// serve anything but a benchmark. HOST and PORT by environment.
package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"syscall"
	"unsafe"
)

const handshake = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"

const opening = `0{"sid":"AAAAAAAAAAAAAAAAAAAA","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`

type loop struct {
	epoll, listener int

	peers []peer // by file descriptor
	room  []int  // the file descriptors that joined
	in    []byte
	out   []byte
}

type peer struct {
	open bool   // the handshake is done
	rest []byte // an incomplete frame
}

func main() {
	runtime.LockOSThread()
	l := &loop{peers: make([]peer, 1<<15), in: make([]byte, 1<<17), out: make([]byte, 0, 1<<16)}
	if err := l.listen(os.Getenv("HOST"), os.Getenv("PORT")); err != nil {
		fmt.Fprintln(os.Stderr, "bench/rawloop:", err)
		os.Exit(1)
	}
	if err := l.run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench/rawloop:", err)
		os.Exit(1)
	}
}

func (l *loop) listen(host, port string) (err error) {
	if host == "" {
		host = "127.0.0.1"
	}
	addr, err := netip.ParseAddrPort(host + ":" + port)
	if err != nil {
		return err
	}
	if l.listener, err = syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0); err != nil {
		return err
	}
	if err = syscall.SetsockoptInt(l.listener, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return err
	}
	if err = syscall.Bind(l.listener, &syscall.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}); err != nil {
		return err
	}
	if err = syscall.Listen(l.listener, 4096); err != nil {
		return err
	}
	if l.epoll, err = syscall.EpollCreate1(syscall.EPOLL_CLOEXEC); err != nil {
		return err
	}
	return l.watch(l.listener)
}

func (l *loop) watch(fd int) error {
	return syscall.EpollCtl(l.epoll, syscall.EPOLL_CTL_ADD, fd, &syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(fd)})
}

func (l *loop) run() error {
	events := make([]syscall.EpollEvent, 1024)
	for {
		n, err := syscall.EpollWait(l.epoll, events, -1)
		if err != nil && err != syscall.EINTR {
			return err
		}
		for i := range max(n, 0) {
			if fd := int(events[i].Fd); fd == l.listener {
				l.accept()
			} else {
				l.readable(fd)
			}
		}
	}
}

func (l *loop) accept() {
	for {
		fd, _, err := syscall.Accept4(l.listener, syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
		if err != nil {
			return
		}
		l.peers[fd] = peer{}
		if syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1) != nil || l.watch(fd) != nil {
			l.drop(fd)
		}
	}
}

func (l *loop) drop(fd int) {
	for i, member := range l.room {
		if member == fd {
			l.room = append(l.room[:i], l.room[i+1:]...)
			break
		}
	}
	_ = syscall.Close(fd) // nothing is lost
}

func (l *loop) readable(fd int) {
	p := &l.peers[fd]
	have := copy(l.in, p.rest)
	n, errno := sysRead(fd, l.in[have:])
	switch {
	case errno == syscall.EAGAIN:
		return
	case errno != 0 || n == 0:
		l.drop(fd)
		return
	}
	data := l.in[:have+n]
	if !p.open {
		if !bytes.HasSuffix(data, []byte("\r\n\r\n")) {
			p.rest = bytes.Clone(data)
			return
		}
		*p = peer{open: true}
		l.write(fd, appendFrame([]byte(handshake), []byte(opening)))
		return
	}
	l.out = l.out[:0]
	for {
		payload, used := frame(data)
		if used == 0 {
			break
		}
		data = data[used:]
		l.message(fd, payload)
	}
	if len(l.out) > 0 {
		l.write(fd, l.out)
	}
	if p.rest = nil; len(data) > 0 {
		p.rest = bytes.Clone(data)
	}
}

func (l *loop) message(fd int, p []byte) {
	switch {
	case bytes.HasPrefix(p, []byte("40")):
		l.out = appendFrame(l.out, []byte(`40{"sid":"BBBBBBBBBBBBBBBBBBBB"}`))
	case bytes.HasPrefix(p, []byte(`42["join"`)):
		l.room = append(l.room, fd)
	case bytes.HasPrefix(p, []byte(`42["pub"`)):
		_, payload, _ := bytes.Cut(p, []byte(`"payload":`))
		msg := append([]byte(`42["msg",`), payload[:len(payload)-2]...)
		f := appendFrame(nil, append(msg, ']'))
		for _, member := range l.room {
			l.write(member, f)
		}
	case bytes.HasPrefix(p, []byte("42")):
		id, rest, _ := bytes.Cut(p[2:], []byte(`["echo",`))
		l.out = append(l.out, 0x81)
		if n := 3 + len(id) + len(rest); n < 126 {
			l.out = append(l.out, byte(n))
		} else {
			l.out = append(l.out, 126, byte(n>>8), byte(n))
		}
		l.out = append(append(append(append(l.out, "43"...), id...), '['), rest...)
	}
}

// frame finds the first masked frame of b and takes its mask off.
func frame(b []byte) (payload []byte, used int) {
	if len(b) < 6 {
		return nil, 0
	}
	n, head := int(b[1]&0x7f), 2
	if n == 126 {
		if len(b) < 8 {
			return nil, 0
		}
		n, head = int(binary.BigEndian.Uint16(b[2:])), 4
	}
	if used = head + 4 + n; len(b) < used {
		return nil, 0
	}
	key := binary.LittleEndian.Uint32(b[head:])
	payload = b[head+4 : used]
	p := payload
	for wide := uint64(key)<<32 | uint64(key); len(p) >= 8; p = p[8:] {
		binary.LittleEndian.PutUint64(p, binary.LittleEndian.Uint64(p)^wide)
	}
	for i := range p {
		p[i] ^= byte(key >> (8 * i & 31))
	}
	return payload, used
}

func appendFrame(dst, payload []byte) []byte {
	if len(payload) < 126 {
		dst = append(dst, 0x81, byte(len(payload)))
	} else {
		dst = append(dst, 0x81, 126, byte(len(payload)>>8), byte(len(payload)))
	}
	return append(dst, payload...)
}

func sysRead(fd int, p []byte) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall(syscall.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
	return int(n), errno
}

func (l *loop) write(fd int, p []byte) {
	for len(p) > 0 {
		n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
		switch errno {
		case 0:
			p = p[n:]
		case syscall.EAGAIN:
			runtime.Gosched()
		default:
			return // the read side will notice
		}
	}
}
