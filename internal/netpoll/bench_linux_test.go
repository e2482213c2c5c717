//go:build amd64 || arm64 || riscv64 || loong64

package netpoll

import (
	"io"
	"net"
	"sync/atomic"
	"testing"
)

// BenchmarkBroadcast gives one frame of 66 bytes to each of 2,000 connections, by the driver and by a loop of
// writes. An operation is one delivery; what the peers read is not counted.
func BenchmarkBroadcast(b *testing.B) {
	const conns, between = 2000, 32 // broadcasts before the peers read, which fit into the kernel's buffers
	frame := make([]byte, 66)
	all := make([]net.Conn, conns)
	peers := make([]net.Conn, conns)
	run := func(b *testing.B, broadcast func()) {
		b.Helper()
		buf := make([]byte, between*len(frame))
		b.ReportAllocs()
		for i := 0; i < b.N; {
			n := 0
			b.StartTimer()
			for ; n < between && i < b.N; n++ {
				broadcast()
				i += conns
			}
			b.StopTimer()
			for _, p := range peers {
				if _, err := io.ReadFull(p, buf[:n*len(frame)]); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	for i := range all {
		all[i], peers[i] = tcpPair(b)
		defer peers[i].Close()
	}
	b.Run("writes", func(b *testing.B) {
		run(b, func() {
			for _, c := range all {
				if _, err := c.Write(frame); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
	d := newDriver(Config{})
	defer d.Close()
	var left atomic.Int64
	done := make(chan struct{}, 1)
	hs := make([]*receiver, conns)
	for i, c := range all {
		hs[i] = &receiver{frame: frame, left: &left, done: done}
		hs[i].c = d.Add(c, nil, hs[i])
	}
	b.Run("driver", func(b *testing.B) {
		run(b, func() {
			left.Store(conns)
			for _, h := range hs {
				h.wanted.Store(true)
				h.c.Wake()
			}
			<-done
		})
	})
}

// receiver is a handler that gives one frame when it is wanted, and tells when it was the last.
type receiver struct {
	frame  []byte
	wanted atomic.Bool
	given  bool
	left   *atomic.Int64
	done   chan<- struct{}
	c      Conn
}

func (h *receiver) Data([]byte) error { return nil }

func (h *receiver) Next(bufs [][]byte) [][]byte {
	if h.given && h.left.Add(-1) == 0 { // asked again: it is written
		h.done <- struct{}{}
	}
	if h.given = h.wanted.CompareAndSwap(true, false); h.given {
		return append(bufs, h.frame)
	}
	return bufs
}

func (h *receiver) Closed(error) {}
