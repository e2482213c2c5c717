//go:build amd64 || arm64 || riscv64 || loong64

package netpoll

import (
	"bytes"
	"errors"
	"io"
	"net"
	"runtime"
	"testing"

	"github.com/sockeye-io/sockeye/internal/testkit"
)

// Not parallel: it counts the goroutines of the process.
func TestLoop_NoGoroutineForAnIdleConnection(t *testing.T) {
	d := newDriver(Config{})
	defer d.Close()
	var hs []*fake
	var peers []net.Conn
	before := runtime.NumGoroutine()
	for range 50 {
		ours, peer := tcpPair(t)
		h := newFake(t)
		d.Add(ours, nil, h)
		hs, peers = append(hs, h), append(peers, peer)
	}
	for i, p := range peers {
		if _, err := p.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, "the loop reads", func() bool {
			hs[i].mu.Lock()
			defer hs[i].mu.Unlock()
			return string(hs[i].in) == "hello"
		})
	}
	testkit.Eventually(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before })
}

// A seat is used again, and what the kernel told of its earlier use is not taken for the new connection's.
func TestLoop_SeatsAreUsedAgain(t *testing.T) {
	t.Parallel()
	d := newDriver(Config{})
	defer d.Close()
	for range 200 {
		ours, peer := tcpPair(t)
		h := newFake(t)
		c := d.Add(ours, nil, h)
		go func() { _, _ = peer.Write([]byte("x")) }() // it races with the end, and may fail
		c.Close(io.ErrUnexpectedEOF)
		if err := <-h.ends; !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatal(err)
		}
	}
	total := 0
	for _, l := range d.loops {
		l.mu.Lock()
		total += len(l.seats)
		if len(l.free) != len(l.seats) {
			t.Errorf("%d of %d seats are free", len(l.free), len(l.seats))
		}
		l.mu.Unlock()
	}
	if total > 2*len(d.loops) {
		t.Errorf("%d seats for one connection at a time", total)
	}
}

// What was read with the handshake comes before what the kernel has, and in one piece with it.
func TestLoop_FirstBytesComeFirst(t *testing.T) {
	t.Parallel()
	d := newDriver(Config{})
	defer d.Close()
	for range 50 {
		ours, peer := tcpPair(t)
		if _, err := peer.Write([]byte("second")); err != nil {
			t.Fatal(err)
		}
		h := newFake(t)
		d.Add(ours, []byte("first,"), h)
		testkit.Eventually(t, "all is read", func() bool {
			h.mu.Lock()
			defer h.mu.Unlock()
			return bytes.Equal(h.in, []byte("first,second"))
		})
	}
}

// A connection that the loop may be told of is not claimed any more for what was read before: else that claim would end
// within the loop's, and the connection with it while Data is called.
func TestLoop_SeatIsTakenLast(t *testing.T) {
	t.Parallel()
	d := newDriver(Config{})
	defer d.Close()
	ours, _ := tcpPair(t)
	h := newFake(t)
	c := &conn{d: d, nc: ours, raw: rawConn(ours), h: h, l: d.loops[0], f: d.flushers[0]}
	c.flags.Store(reading)
	d.link(c)
	c.l.take(c)
	if c.has(reading) {
		t.Error("seated, and claimed")
		c.leave()
	}
	c.Close(nil)
	if err := h.end(); err != nil {
		t.Error(err)
	}
}
