//go:build amd64 || arm64 || riscv64 || loong64

package netpoll

import (
	"bytes"
	"io"
	"net"
	"testing"
)

// setupRaw gives a writer of a connection that no driver has.
func setupRaw(t *testing.T) (w *rawWriter, c *conn, peer net.Conn) {
	t.Helper()
	ours, peer := tcpPair(t)
	t.Cleanup(func() { _ = ours.Close() })
	w = &rawWriter{}
	w.init()
	return w, &conn{nc: ours, raw: rawConn(ours)}, peer
}

// All that is queued is written by one system call, however many pieces it is.
func TestRawWriter_OneCall(t *testing.T) {
	t.Parallel()
	many := func(n, size int) (bufs [][]byte) {
		for i := range n {
			bufs = append(bufs, bytes.Repeat([]byte{byte(i)}, size))
		}
		return bufs
	}
	tests := []struct {
		name string
		bufs [][]byte
		want int
	}{
		{"nothing", nil, 0},
		{"only empty ones", [][]byte{nil, {}}, 0},
		{"one", many(1, 64), 1},
		{"16", many(16, 64), 1},
		{"a thousand, joined", many(1000, 64), 1},
		{"with empty ones", [][]byte{nil, {1}, nil, {2}, {}}, 1},
		{"as much as is joined", many(64, joinBuffer/64), 1},
		{"more than is joined", many(65, joinBuffer/64), 1},
		{"a big one between small ones", append(append(many(3, 10), make([]byte, joinBuffer)), many(3, 10)...), 1},
		{"a byte more than is joined", many(2, joinBuffer/2+1), 1},
		{"more pieces than a call takes", many(maxPieces+1, 65), 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w, c, peer := setupRaw(t)
			want := bytes.Join(tt.bufs, nil)
			rest, err := w.write(c, tt.bufs)
			if err != nil || len(rest) > 0 || w.calls != tt.want {
				t.Fatalf("%d calls, %d pieces left, %v", w.calls, len(rest), err)
			}
			got := make([]byte, len(want))
			if _, err := io.ReadFull(peer, got); err != nil || !bytes.Equal(got, want) {
				t.Errorf("other bytes came than were written, %v", err)
			}
		})
	}
}

// A wake-up that finds thousands of messages writes them together: the calls are far fewer than they.
func TestFlusher_Coalesces(t *testing.T) {
	t.Parallel()
	w, c, peer := setupRaw(t)
	h := newFake(t)
	c.h = h
	const messages = 5000
	for range messages {
		h.queue = append(h.queue, []byte("0123456789"))
	}
	rest, _ := c.flush(w, nil)
	if len(rest) > 0 || w.calls != 1 || c.w.Load() != idle {
		t.Errorf("%d calls, %d pieces left", w.calls, len(rest))
	}
	if _, err := io.ReadFull(peer, make([]byte, 10*messages)); err != nil {
		t.Error(err)
	}
}

// What the kernel does not take is left, in order, and nothing is waited for.
func TestRawWriter_LeavesTheRest(t *testing.T) {
	t.Parallel()
	w, c, peer := setupRaw(t)
	all := pattern(32 << 20)
	var bufs [][]byte
	for p := all; len(p) > 0; p = p[1<<20:] {
		bufs = append(bufs, p[:1<<20])
	}
	rest, err := w.write(c, bufs)
	if err != nil || len(rest) == 0 {
		t.Fatal("all was taken", err)
	}
	left := bytes.Join(rest, nil)
	got := make([]byte, len(all)-len(left))
	if _, err := io.ReadFull(peer, got); err != nil || !bytes.Equal(append(got, left...), all) {
		t.Errorf("what came and what is left is not what was given, %v", err)
	}
}

// quiet is a handler that sends one frame for each wish and allocates nothing.
type quiet struct {
	frame  []byte
	wanted chan struct{}
	ends   chan error
}

func (h *quiet) Data([]byte) error { return nil }

func (h *quiet) Next(bufs [][]byte) [][]byte {
	select {
	case <-h.wanted:
		return append(bufs, h.frame)
	default:
		return bufs
	}
}

func (h *quiet) Closed(err error) { h.ends <- err }

// Not parallel: it counts the allocations of the process.
func TestConn_WakeAndWriteAllocs(t *testing.T) {
	d := newDriver(Config{})
	defer d.Close()
	ours, peer := tcpPair(t)
	h := &quiet{frame: []byte("0123456789"), wanted: make(chan struct{}, 1), ends: make(chan error, 1)}
	c := d.Add(ours, nil, h)
	buf := make([]byte, 10)
	if n := testing.AllocsPerRun(500, func() {
		h.wanted <- struct{}{}
		c.Wake()
		if _, err := io.ReadFull(peer, buf); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations for a message", n)
	}
}

// Not parallel, as above: reading by the loop.
func TestConn_ReadAllocs(t *testing.T) {
	d := newDriver(Config{})
	defer d.Close()
	ours, peer := tcpPair(t)
	h := &counted{ready: make(chan struct{}, 1), ends: make(chan error, 1)}
	d.Add(ours, nil, h)
	buf := []byte("0123456789")
	if n := testing.AllocsPerRun(500, func() {
		if _, err := peer.Write(buf); err != nil {
			t.Fatal(err)
		}
		<-h.ready
	}); n != 0 {
		t.Errorf("%v allocations for a message", n)
	}
}

// counted tells of each call of Data.
type counted struct {
	ready chan struct{}
	ends  chan error
}

func (h *counted) Data([]byte) error {
	h.ready <- struct{}{}
	return nil
}

func (h *counted) Next(bufs [][]byte) [][]byte { return bufs }

func (h *counted) Closed(err error) { h.ends <- err }

// A write to a descriptor that was closed fails; it never reaches a connection that got the number since.
func TestRawWriter_ClosedDescriptor(t *testing.T) {
	t.Parallel()
	w, c, _ := setupRaw(t)
	_ = c.nc.Close()
	other, peer := tcpPair(t)
	defer other.Close()
	if _, err := w.write(c, [][]byte{[]byte("stray")}); err == nil || w.calls != 0 {
		t.Errorf("%d calls, error %v", w.calls, err)
	}
	if _, err := other.Write([]byte("own")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 3)
	if _, err := io.ReadFull(peer, got); err != nil || string(got) != "own" {
		t.Errorf("%q %v", got, err)
	}
}
