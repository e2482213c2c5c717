package engineio

import (
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/eio"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/internal/ws"
)

// goroutines counts those whose stack has one of the words.
func goroutines(words ...string) (n int) {
	buf := make([]byte, 16<<20)
	buf = buf[:runtime.Stack(buf, true)]
	for stack := range strings.SplitSeq(string(buf), "\n\n") {
		for _, w := range words {
			if strings.Contains(stack, w) {
				n++
				break
			}
		}
	}
	return n
}

// What idle connections of the client side cost in goroutines. It is not parallel, so that it counts only its own.
//
//nolint:paralleltest // see above
func TestClient_IdleGoroutines(t *testing.T) {
	const conns = 1000
	loop := NewLoop()
	t.Cleanup(func() { _ = loop.Close() }) // always nil
	for name, tc := range map[string]struct {
		cfg   DialConfig
		conns int
		each  float64
	}{
		"websocket": {DialConfig{Transports: onlyWebSocket}, conns, 1},
		"upgrade":   {DialConfig{}, conns / 10, 1},
		"loop":      {DialConfig{Transports: onlyWebSocket, Loop: loop}, conns, 0},
		"polling":   {DialConfig{Transports: onlyPolling}, conns / 10, 1},
	} {
		t.Run(name, func(t *testing.T) {
			ours := []string{"engineio.(*dialed)", "engineio.(*clientSocket)", "netpoll.(*conn)"}
			if name == "upgrade" {
				ours = append(ours, "http.(*persistConn)") // those of polling are closed
			}
			before := goroutines(ours...) // of other tests
			url, _ := serveEcho(t, Config{PingInterval: time.Hour})
			h := newRecorder()
			h.opened = make(chan *Conn, conns)
			h.closed = make(chan recordedClose, conns)
			h.onOpen = func(c *Conn) {
				if err := c.Send([]byte("hello"), false); err != nil {
					t.Error(err)
				}
			}
			ended := make(chan struct{}, conns)
			tc.cfg.Ended = func() { ended <- struct{}{} }
			all := make([]*Conn, tc.conns)
			for i := range all {
				all[i] = dialFake(t, url, tc.cfg, h)
			}
			for range all {
				h.wantMessages(t, "text:hello")
			}
			limit := before + int(tc.each*float64(tc.conns))
			testkit.Eventually(t, "few goroutines", func() bool { return goroutines(ours...) <= limit })
			for _, c := range all {
				_ = c.Close() // always nil
			}
			for range all {
				h.wantClose(t, ReasonForcedClose)
				await(t, "the end", ended)
			}
		})
	}
}

// offlineClient gives the WebSocket of a client without a network.
func offlineClient(t testing.TB, h Handler) *clientSocket {
	t.Helper()
	d, err := newDialed(t.Context(), "http://a.test", DialConfig{Transports: onlyWebSocket}, h)
	if err != nil {
		t.Fatal(err)
	}
	s := &clientSocket{d: d, reader: ws.NewReader(&ws.ReaderConfig{MaxMessage: 1 << 20, Client: true})}
	open := eio.AppendHandshake([]byte{'0'}, eio.Handshake{SID: "sid", PingInterval: time.Hour, PingTimeout: time.Hour})
	if err := s.Message(ws.Text, open); err != nil {
		t.Fatal(err)
	}
	s.driven = &idle{}
	s.started.Store(true)
	t.Cleanup(func() { d.c.end(ReasonForcedClose, nil) })
	return s
}

func TestAllocs_ClientSend(t *testing.T) {
	s := offlineClient(t, newRecorder())
	p := Prepare([]byte("hello"), false)
	var bufs [][]byte
	// The buffer comes from a pool, which the race detector empties at random.
	if n := testing.AllocsPerRun(1000, func() {
		for range 4 {
			if err := s.d.c.SendPrepared(SendOptions{}, p); err != nil {
				t.Fatal(err)
			}
		}
		if bufs = s.Next(bufs[:0]); len(bufs) != 1 || len(bufs[0]) != 4*(2+4+6) {
			t.Fatalf("%q", bufs)
		}
		if bufs = s.Next(bufs[:0]); len(bufs) != 0 {
			t.Fatalf("%q", bufs)
		}
	}); n != 0 && !raceEnabled {
		t.Errorf("%v allocations for four messages", n)
	}
}

func TestAllocs_ClientReceive(t *testing.T) {
	h := &counting{}
	s := offlineClient(t, h)
	frame := ws.AppendFrame(nil, ws.Text, []byte("4hello"))
	b := make([]byte, len(frame))
	if n := testing.AllocsPerRun(1000, func() {
		copy(b, frame)
		if err := s.Data(b); err != nil {
			t.Fatal(err)
		}
	}); n != 0 || h.n == 0 {
		t.Errorf("%v allocations for a message, %d received", n, h.n)
	}
}

// counting is a Handler that counts messages.
type counting struct{ n int }

func (*counting) OnOpen(*Conn, *http.Request)     {}
func (h *counting) OnMessage(*Conn, []byte, bool) { h.n++ }
func (*counting) OnClose(*Conn, Reason, error)    {}

// told is a recorder that is told of the upgrade.
type told struct {
	*recorder

	upgraded chan string
}

func (h *told) OnUpgrade(c *Conn) {
	h.upgraded <- c.Transport()
	_ = c.Send([]byte("by WebSocket"), false) // shows at the server
}

// OnUpgrade comes between what polling brought and what the WebSocket brings.
func TestClient_OnUpgrade(t *testing.T) {
	t.Parallel()
	f := newUpgradable(t).start()
	h := &told{newRecorder(), make(chan string, 2)}
	dialFake(t, f.URL, DialConfig{}, h)
	s := await(t, "the socket", f.sockets)
	s.wantFrames(t, "text:2probe")
	s.send(ws.Text, "3probe")
	s.send(ws.Text, "4after")
	if got := f.release(t, s, "6"); got != "text:5" {
		t.Fatalf("frame %q", got)
	}
	if got := await(t, "the upgrade", h.upgraded); got != transportWebSocket {
		t.Errorf("transport %s", got)
	}
	s.wantFrames(t, "text:4by WebSocket")
}

// A loop that is closed ends its connections; later ones do not open.
func TestLoop_Close(t *testing.T) {
	t.Parallel()
	url, _ := serveEcho(t, Config{})
	loop := NewLoop()
	h := newRecorder()
	cfg := DialConfig{Transports: onlyWebSocket, Loop: loop}
	dialFake(t, url, cfg, h)
	for range 2 {
		if err := loop.Close(); err != nil {
			t.Error(err)
		}
	}
	h.wantClose(t, ReasonForcedClose)
	late := newRecorder()
	dialFake(t, url, cfg, late)
	late.wantClose(t, ReasonForcedClose)
}

// A server that takes nothing: the connection still ends in time when it is closed, and so does what writes.
func TestClient_CloseOfABlockedSocket(t *testing.T) {
	t.Parallel()
	f := newFakeEngine(t)
	stop := make(chan struct{})
	f.socket = func(w http.ResponseWriter, r *http.Request) bool {
		nc, _, _, err := ws.Accept(w, r, ws.AcceptOptions{})
		if err != nil {
			return true
		}
		defer nc.Close()
		_ = nc.(*net.TCPConn).SetReadBuffer(4096) // more only takes longer
		_, _ = nc.Write(ws.AppendFrame(nil, ws.Text, []byte(f.openPacket())))
		<-stop // nothing is read
		return true
	}
	f.start()
	h := newRecorder()
	ended := make(chan struct{})
	c := dialFake(t, f.URL, DialConfig{
		Transports: onlyWebSocket, Queue: SendQueue{MaxBytes: 64 << 20, MaxPackets: 100}, Ended: func() { close(ended) },
	}, h)
	for range 32 {
		if err := c.Send(make([]byte, 1<<20), true); err != nil {
			t.Fatal(err)
		}
	}
	testkit.Eventually(t, "the socket is full", func() bool {
		return c.SendPrepared(SendOptions{Volatile: true}, Prepare([]byte("v"), false)) != nil
	})
	c.end(ReasonForcedClose, nil)
	h.wantClose(t, ReasonForcedClose)
	await(t, "the end", ended)
	close(stop)
}

// An emit that finds the queue full leaves the call of OnClose to another goroutine: the connection is not over before
// that has returned.
func TestClient_EndedAfterOnClose(t *testing.T) {
	t.Parallel()
	for name, tr := range map[string][]string{"polling": onlyPolling, "websocket": onlyWebSocket} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFakeEngine(t).start()
			h := newRecorder()
			h.closed = make(chan recordedClose) // OnClose waits
			ended := make(chan struct{})
			c := dialFake(t, f.URL, DialConfig{
				Transports: tr, Queue: SendQueue{MaxPackets: 1}, Ended: func() { close(ended) },
			}, h)
			one := Prepare([]byte("x"), false)
			for c.SendPrepared(SendOptions{}, one, one) == nil { // an empty queue takes anything
				continue
			}
			testkit.Eventually(t, "only OnClose is left", func() bool { return c.holdsOfClient() == 1 })
			select {
			case <-ended:
				t.Error("ended before OnClose has returned")
			default:
			}
			h.wantClose(t, ReasonTransportError)
			await(t, "the end", ended)
		})
	}
}

// holdsOfClient counts what is not over yet of a dialed connection.
func (c *Conn) holdsOfClient() int32 {
	d, ok := c.current().(*dialed)
	if !ok {
		return -1
	}
	return d.holds.Load()
}
