package netpoll

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// portable hides what a connection is, so that it is driven the portable way.
type portable struct{ net.Conn }

func (p portable) CloseWrite() error { return p.Conn.(*net.TCPConn).CloseWrite() }

// kinds are the connections that every test runs over.
var kinds = []struct {
	name string
	pair func(t testing.TB) (ours, peer net.Conn)
}{
	{"tcp", tcpPair},
	{"portable", func(t testing.TB) (ours, peer net.Conn) {
		ours, peer = tcpPair(t)
		return portable{ours}, peer
	}},
	{"tls", tlsPair},
	{"unix", unixPair},
}

func each(t *testing.T, test func(t *testing.T, pair func(testing.TB) (ours, peer net.Conn))) {
	t.Helper()
	t.Parallel()
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			test(t, k.pair)
		})
	}
}

func tcpPair(t testing.TB) (ours, peer net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return connect(t, l)
}

func unixPair(t testing.TB) (ours, peer net.Conn) {
	t.Helper()
	l, err := net.Listen("unix", t.TempDir()+"/s")
	if err != nil {
		t.Fatal(err)
	}
	return connect(t, l)
}

func connect(t testing.TB, l net.Listener) (ours, peer net.Conn) {
	t.Helper()
	defer l.Close()
	peer, err := net.Dial(l.Addr().Network(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if ours, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	_ = peer.SetDeadline(time.Now().Add(testkit.Scale(30 * time.Second)))
	t.Cleanup(func() { _ = peer.Close() })
	return ours, peer
}

var certificate = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})

func tlsPair(t testing.TB) (ours, peer net.Conn) {
	t.Helper()
	ours, peer = tcpPair(t)
	server := tls.Server(ours, &tls.Config{Certificates: []tls.Certificate{certificate()}})
	client := tls.Client(peer, &tls.Config{InsecureSkipVerify: true})
	done := make(chan error, 1)
	go func() { done <- server.Handshake() }() // ends with the handshake
	if err := errors.Join(client.Handshake(), <-done); err != nil {
		t.Fatal(err)
	}
	return server, client
}

// fake is a handler with a queue, which checks that it is called as it should be.
type fake struct {
	t      testing.TB
	onData func(p []byte) error
	onIdle func()     // called by Next once, when it has nothing, before it returns
	ends   chan error // what Closed was given

	mu     sync.Mutex
	in     []byte
	calls  int
	queue  [][]byte
	closed bool
	inData bool
	inNext bool
}

func newFake(t testing.TB) *fake { return &fake{t: t, ends: make(chan error, 2)} }

func (h *fake) enter(in *bool, what string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		h.t.Errorf("%s after Closed", what)
	}
	if *in {
		h.t.Errorf("calls of %s overlap", what)
	}
	*in = true
}

func (h *fake) Data(p []byte) error {
	h.enter(&h.inData, "Data")
	h.mu.Lock()
	h.in = append(h.in, p...)
	h.calls++
	h.inData = false
	f := h.onData
	h.mu.Unlock()
	clear(p) // it may be changed
	if f != nil {
		return f(p)
	}
	return nil
}

func (h *fake) Next(bufs [][]byte) [][]byte {
	h.enter(&h.inNext, "Next")
	h.mu.Lock()
	bufs = append(bufs, h.queue...)
	h.queue = h.queue[:0]
	var f func()
	if len(bufs) == 0 {
		f, h.onIdle = h.onIdle, nil
	}
	h.mu.Unlock()
	if f != nil {
		f()
	}
	h.mu.Lock()
	h.inNext = false
	h.mu.Unlock()
	return bufs
}

func (h *fake) Closed(err error) {
	h.mu.Lock()
	if h.closed || h.inData || h.inNext {
		h.t.Error("Closed twice or during another call")
	}
	h.closed = true
	h.mu.Unlock()
	h.ends <- err
}

func (h *fake) send(c Conn, bs ...[]byte) {
	h.mu.Lock()
	h.queue = append(h.queue, bs...)
	h.mu.Unlock()
	c.Wake()
}

func (h *fake) received() []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	return bytes.Clone(h.in)
}

// end waits for Closed.
func (h *fake) end() error {
	h.t.Helper()
	select {
	case err := <-h.ends:
		return err
	case <-time.After(testkit.Scale(20 * time.Second)):
		h.t.Fatal("Closed was not called")
		return nil
	}
}

func setup(t testing.TB, cfg Config) *driver {
	t.Helper()
	d := newDriver(cfg)
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func pattern(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i>>16 ^ i>>8 ^ i)
	}
	return p
}

func TestConn_BothWays(t *testing.T) {
	each(t, func(t *testing.T, pair func(testing.TB) (net.Conn, net.Conn)) {
		d, h := setup(t, Config{ReadBuffer: 4096}), newFake(t)
		ours, peer := pair(t)
		want := append([]byte("first"), pattern(3<<20)...)
		c := d.Add(ours, []byte("first"), h)
		go func() { // ends when all is written
			_, _ = peer.Write(want[5:])
			_ = peer.(interface{ CloseWrite() error }).CloseWrite()
		}()
		if err := h.end(); !errors.Is(err, io.EOF) {
			t.Errorf("end: %v", err)
		}
		if !bytes.Equal(h.received(), want) {
			t.Errorf("%d bytes came, or others than those sent", len(h.received()))
		}
		c.Wake() // nothing happens any more
		c.Pause()
		c.Resume()
		c.Close(nil)
		c.CloseAfterFlush(nil, time.Second)
	})
}

// A peer that sends and closes at once is noticed, however the two come together.
func TestConn_DataAndEndTogether(t *testing.T) {
	each(t, func(t *testing.T, pair func(testing.TB) (net.Conn, net.Conn)) {
		d := setup(t, Config{})
		for range 100 {
			h := newFake(t)
			ours, peer := pair(t)
			d.Add(ours, nil, h)
			_, _ = peer.Write([]byte("bye")) // the check is below
			_ = peer.Close()
			if err := h.end(); !errors.Is(err, io.EOF) || string(h.received()) != "bye" {
				t.Fatalf("%v, %q", err, h.received())
			}
		}
	})
}

func TestConn_Write(t *testing.T) {
	each(t, func(t *testing.T, pair func(testing.TB) (net.Conn, net.Conn)) {
		d, h := setup(t, Config{}), newFake(t)
		ours, peer := pair(t)
		c := d.Add(ours, nil, h)
		all := pattern(9 << 20)
		rest := all
		cut := func(n int) []byte {
			var b []byte
			b, rest = rest[:n:n], rest[n:]
			return b
		}
		h.send(c, nil, cut(1), nil, cut(10), []byte{}) // small, with empty ones
		h.send(c, cut(3<<20))                          // big
		for range 3000 {                               // many
			h.send(c, cut(100))
		}
		var many [][]byte
		for range 3000 {
			many = append(many, cut(100))
		}
		h.send(c, many...)
		h.send(c, cut(2), cut(1<<20), cut(2), cut(1<<20)) // mixed
		h.send(c, rest)
		got := make([]byte, len(all))
		if _, err := io.ReadFull(peer, got); err != nil || !bytes.Equal(got, all) {
			t.Errorf("%v, or other bytes than those sent", err)
		}
		testkit.Eventually(t, "writable", c.Writable)
		h.send(c, []byte("after"))
		if _, err := io.ReadFull(peer, got[:5]); err != nil || string(got[:5]) != "after" {
			t.Errorf("%v %q", err, got[:5])
		}
	})
}

func TestConn_SlowReader(t *testing.T) {
	each(t, func(t *testing.T, pair func(testing.TB) (net.Conn, net.Conn)) {
		d, h := setup(t, Config{WriteTimeout: 100 * time.Millisecond}), newFake(t)
		ours, _ := pair(t)
		c := d.Add(ours, nil, h)
		h.send(c, pattern(16<<20))
		testkit.Eventually(t, "not writable, or over", func() bool { return !c.Writable() || len(h.ends) > 0 })
		if err := h.end(); !errors.Is(err, ErrWriteTimeout) {
			t.Errorf("end: %v", err)
		}
	})
}

// A peer that takes little but something within the time is kept.
func TestConn_SlowButAlive(t *testing.T) {
	each(t, func(t *testing.T, pair func(testing.TB) (net.Conn, net.Conn)) {
		d, h := setup(t, Config{WriteTimeout: testkit.Scale(20 * time.Second)}), newFake(t)
		ours, peer := pair(t)
		if tcp, ok := peer.(*net.TCPConn); ok {
			_ = tcp.SetReadBuffer(64 << 10) // so that the kernels hold less
		}
		c := d.Add(ours, nil, h)
		all := pattern(16 << 20)
		h.send(c, all)
		testkit.Eventually(t, "not writable", func() bool { return !c.Writable() })
		got, buf := 0, make([]byte, 1<<20)
		for tick := time.NewTicker(20 * time.Millisecond); got < len(all); <-tick.C {
			n, err := io.ReadFull(peer, buf)
			if err != nil || !bytes.Equal(buf[:n], all[got:got+n]) {
				t.Fatal("cut", err, got)
			}
			got += n
		}
		testkit.Eventually(t, "writable", c.Writable)
		c.Close(nil)
		if err := h.end(); err != nil {
			t.Errorf("end: %v", err)
		}
	})
}

func TestConn_Reset(t *testing.T) {
	each(t, func(t *testing.T, pair func(testing.TB) (net.Conn, net.Conn)) {
		d := setup(t, Config{})
		for _, sending := range []bool{false, true} {
			h := newFake(t)
			ours, peer := pair(t)
			c := d.Add(ours, nil, h)
			if sending {
				h.send(c, pattern(16<<20))
				testkit.Eventually(t, "not writable", func() bool { return !c.Writable() })
			}
			if nc, ok := peer.(*tls.Conn); ok {
				peer = nc.NetConn()
			}
			if tcp, ok := peer.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0) // the close below is a reset
			}
			_ = peer.Close()
			if err := h.end(); err == nil || errors.Is(err, ErrWriteTimeout) {
				t.Errorf("end: %v", err)
			}
		}
	})
}

func TestConn_DataError(t *testing.T) {
	each(t, func(t *testing.T, pair func(testing.TB) (net.Conn, net.Conn)) {
		d, h := setup(t, Config{}), newFake(t)
		bad := errors.New("bad")
		h.onData = func([]byte) error { return bad }
		ours, peer := pair(t)
		d.Add(ours, nil, h)
		_, _ = peer.Write([]byte("x")) // the check is below
		if err := h.end(); !errors.Is(err, bad) {
			t.Errorf("end: %v", err)
		}
	})
}

// Every method may be called from within Data.
func TestConn_CallsFromData(t *testing.T) {
	boom := errors.New("boom")
	calls := map[string]func(c Conn, h *fake){
		"close":             func(c Conn, _ *fake) { c.Close(boom) },
		"close after flush": func(c Conn, h *fake) { h.send(c, []byte("last")); c.CloseAfterFlush(boom, time.Minute) },
		"both":              func(c Conn, _ *fake) { c.CloseAfterFlush(boom, time.Minute); c.Close(nil) },
		"wake and pause":    func(c Conn, _ *fake) { c.Wake(); c.Pause(); c.Writable(); c.Resume(); c.Close(boom) },
	}
	each(t, func(t *testing.T, pair func(testing.TB) (net.Conn, net.Conn)) {
		d := setup(t, Config{})
		for name, call := range calls {
			h := newFake(t)
			ours, peer := pair(t)
			ready := make(chan Conn, 1)
			h.onData = func([]byte) error { call(<-ready, h); return nil }
			ready <- d.Add(ours, nil, h)
			_, _ = peer.Write([]byte("x")) // the check is below
			if name == "close after flush" {
				if got, err := io.ReadAll(peer); string(got) != "last" || err != nil {
					t.Errorf("%s: %q %v", name, got, err)
				}
				_ = peer.Close()
			}
			if err := h.end(); !errors.Is(err, boom) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func TestConn_Pause(t *testing.T) {
	each(t, func(t *testing.T, pair func(testing.TB) (net.Conn, net.Conn)) {
		d, h := setup(t, Config{ReadBuffer: 4096}), newFake(t)
		ours, peer := pair(t)
		ready := make(chan Conn, 1)
		h.onData = func([]byte) error { // pauses at once, each time
			c := <-ready
			c.Pause()
			ready <- c
			return nil
		}
		c := d.Add(ours, nil, h)
		ready <- c
		count := func() int {
			h.mu.Lock()
			defer h.mu.Unlock()
			return h.calls
		}
		_, _ = peer.Write([]byte("one")) // the check is below
		testkit.Eventually(t, "the first call", func() bool { return count() == 1 })
		_, _ = peer.Write([]byte("two")) // the check is below
		h.send(c, []byte("out"))         // writing goes on
		got := make([]byte, 3)
		if _, err := io.ReadFull(peer, got); err != nil || count() != 1 {
			t.Errorf("%v, %d calls while paused", err, count())
		}
		c.Resume()
		testkit.Eventually(t, "the second call", func() bool { return count() == 2 })
		if string(h.received()) != "onetwo" {
			t.Errorf("%q", h.received())
		}
		c.Close(nil) // while paused
		if err := h.end(); err != nil {
			t.Error(err)
		}
	})
}

// A paused connection pushes back: the peer cannot write without end.
func TestConn_PausePushesBack(t *testing.T) {
	each(t, func(t *testing.T, pair func(testing.TB) (net.Conn, net.Conn)) {
		d, h := setup(t, Config{}), newFake(t)
		ours, peer := pair(t)
		c := d.Add(ours, nil, h)
		c.Pause()
		_ = peer.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
		if _, err := peer.Write(pattern(64 << 20)); err == nil {
			t.Error("all was taken")
		}
		if n := len(h.received()); n > 64<<10 {
			t.Errorf("%d bytes came while paused", n)
		}
		c.Close(nil)
		_ = h.end() // nil, or what the peer's failed write gave
	})
}

func TestConn_CloseAfterFlush(t *testing.T) {
	each(t, func(t *testing.T, pair func(testing.TB) (net.Conn, net.Conn)) {
		bye := errors.New("bye")
		d, h := setup(t, Config{}), newFake(t)
		ours, peer := pair(t)
		c := d.Add(ours, nil, h)
		all := pattern(5 << 20)
		h.send(c, all)
		c.CloseAfterFlush(bye, testkit.Scale(20*time.Second))
		go func() { // ends when the connection is closed
			_, _ = peer.Write(pattern(1 << 20)) // is dropped, and does not destroy what is sent
		}()
		got, err := io.ReadAll(peer)
		if err != nil || !bytes.Equal(got, all) {
			t.Errorf("%d bytes of %d, %v", len(got), len(all), err)
		}
		if len(h.ends) != 0 {
			t.Error("closed before the peer did")
		}
		_ = peer.Close()
		if err := h.end(); !errors.Is(err, bye) || len(h.received()) != 0 {
			t.Errorf("end: %v; %d bytes came", err, len(h.received()))
		}
	})
}

// What is queued while Next finds nothing is sent too, when it is to be the last.
func TestConn_CloseAfterFlushDuringNext(t *testing.T) {
	each(t, func(t *testing.T, pair func(testing.TB) (net.Conn, net.Conn)) {
		bye := errors.New("bye")
		d, h := setup(t, Config{}), newFake(t)
		ours, peer := pair(t)
		c := d.Add(ours, nil, h)
		h.mu.Lock()
		h.onIdle = func() {
			h.send(c, []byte("last"))
			c.CloseAfterFlush(bye, testkit.Scale(20*time.Second))
		}
		h.mu.Unlock()
		c.Wake()
		if got, err := io.ReadAll(peer); err != nil || string(got) != "last" {
			t.Errorf("%q, %v", got, err)
		}
		_ = peer.Close()
		if err := h.end(); !errors.Is(err, bye) {
			t.Errorf("end: %v", err)
		}
	})
}

func TestConn_CloseAfterFlushIsLimited(t *testing.T) {
	each(t, func(t *testing.T, pair func(testing.TB) (net.Conn, net.Conn)) {
		bye := errors.New("bye")
		d := setup(t, Config{})
		for _, size := range []int{0, 16 << 20} { // the peer does not close; does not read
			h := newFake(t)
			ours, _ := pair(t)
			c := d.Add(ours, nil, h)
			h.send(c, pattern(size))
			c.CloseAfterFlush(bye, 50*time.Millisecond)
			c.CloseAfterFlush(nil, time.Hour)
			if err := h.end(); !errors.Is(err, bye) {
				t.Errorf("end: %v", err)
			}
		}
		h := newFake(t)
		ours, _ := pair(t)
		c := d.Add(ours, nil, h)
		c.CloseAfterFlush(bye, 0)
		if err := h.end(); !errors.Is(err, bye) {
			t.Errorf("end: %v", err)
		}
	})
}

// What a peer sends before it half-closes does not keep it from getting what is on the way.
func TestConn_CloseAfterFlushToHalfClosed(t *testing.T) {
	each(t, func(t *testing.T, pair func(testing.TB) (net.Conn, net.Conn)) {
		d, h := setup(t, Config{}), newFake(t)
		ours, peer := pair(t)
		ready := make(chan Conn, 1)
		h.onData = func([]byte) error {
			c := <-ready
			h.send(c, pattern(1<<20))
			c.CloseAfterFlush(nil, testkit.Scale(20*time.Second))
			return errors.New("has no effect")
		}
		ready <- d.Add(ours, nil, h)
		_, _ = peer.Write([]byte("close")) // the check is below
		_ = peer.(interface{ CloseWrite() error }).CloseWrite()
		if got, err := io.ReadAll(peer); err != nil || len(got) != 1<<20 {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		if err := h.end(); err != nil {
			t.Errorf("end: %v", err)
		}
	})
}

func TestConn_Pipe(t *testing.T) {
	t.Parallel()
	d, h := setup(t, Config{}), newFake(t)
	ours, peer := net.Pipe()
	c := d.Add(ours, nil, h)
	h.send(c, []byte("out"))
	got := make([]byte, 3)
	if _, err := io.ReadFull(peer, got); err != nil || string(got) != "out" {
		t.Errorf("%q %v", got, err)
	}
	if _, err := peer.Write([]byte("in")); err != nil {
		t.Error(err)
	}
	testkit.Eventually(t, "in", func() bool { return string(h.received()) == "in" })
	c.CloseAfterFlush(nil, time.Hour) // it cannot be half-closed
	if err := h.end(); err != nil {
		t.Error(err)
	}
}

// noDeadlines is a connection whose deadlines do not work.
type noDeadlines struct{ net.Conn }

func (noDeadlines) SetDeadline(time.Time) error { return errors.ErrUnsupported }

func TestConn_NoDeadlines(t *testing.T) {
	t.Parallel()
	d, h := setup(t, Config{}), newFake(t)
	ours, _ := tcpPair(t)
	c := d.Add(noDeadlines{ours}, nil, h)
	c.Close(io.ErrUnexpectedEOF)
	if err := h.end(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
}

func TestDriver_Close(t *testing.T) {
	each(t, func(t *testing.T, pair func(testing.TB) (net.Conn, net.Conn)) {
		d := setup(t, Config{})
		var hs []*fake
		for i := range 20 {
			h := newFake(t)
			ours, _ := pair(t)
			c := d.Add(ours, nil, h)
			switch i % 4 {
			case 1:
				c.Pause()
			case 2:
				h.send(c, pattern(16<<20))
			case 3:
				c.CloseAfterFlush(ErrClosed, time.Hour)
			}
			hs = append(hs, h)
		}
		if err := errors.Join(d.Close(), d.Close()); err != nil {
			t.Error(err)
		}
		for _, h := range hs {
			if len(h.ends) != 1 {
				t.Fatal("Closed was not called before Close returned")
			}
			if err := <-h.ends; !errors.Is(err, ErrClosed) {
				t.Error(err)
			}
		}
		h := newFake(t)
		ours, peer := pair(t)
		c := d.Add(ours, []byte("x"), h)
		c.Wake()
		c.Close(nil)
		if err := h.end(); !errors.Is(err, ErrClosed) || len(h.received()) != 0 {
			t.Error(err)
		}
		if _, err := peer.Read(make([]byte, 1)); err == nil {
			t.Error("still open")
		}
	})
}

func TestDriver_Idle(t *testing.T) {
	each(t, func(t *testing.T, pair func(testing.TB) (net.Conn, net.Conn)) {
		d := setup(t, Config{})
		<-d.Idle()
		h := newFake(t)
		ours, _ := pair(t)
		c := d.Add(ours, nil, h)
		idle := d.Idle()
		if d.Idle() != idle {
			t.Error("another channel for the same")
		}
		select {
		case <-idle:
			t.Error("idle with a connection")
		default:
		}
		c.Close(nil)
		<-idle
		if err := h.end(); err != nil {
			t.Error(err)
		}
	})
}
