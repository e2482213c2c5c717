package engineio

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/eio"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/internal/ws"
)

// sendVia sends one packet to the client by the transport that it opened with.
func (f *fakeEngine) sendVia(t *testing.T, tr []string, packet string) {
	t.Helper()
	if tr[0] == "websocket" {
		s := await(t, "the socket", f.sockets)
		s.send(ws.Text, packet)
		return
	}
	f.answer(t, packet)
}

// answer answers the next poll.
func (f *fakeEngine) answer(t *testing.T, payload string) {
	t.Helper()
	timer := time.NewTimer(testkit.Scale(10 * time.Second))
	defer timer.Stop()
	select {
	case f.polls <- payload:
	case <-timer.C:
		t.Fatalf("nobody polls for %q", payload)
	}
}

func TestClient_Polling(t *testing.T) {
	t.Parallel()
	f := newFakeEngine(t)
	f.after = "\x1e4first"
	f.start()
	h := newRecorder()
	c := dialFake(t, f.URL, DialConfig{Transports: onlyPolling}, h)
	h.wantMessages(t, "text:first")
	f.answer(t, "4a\x1ebAQID\x1e6\x1e4\u20ac")
	h.wantMessages(t, "text:a", "binary:\x01\x02\x03", "text:\u20ac")
	f.answer(t, "2")
	if p := await(t, "the pong", f.posts); p != (fakePost{"3", "text/plain;charset=UTF-8"}) {
		t.Errorf("pong: %+v", p)
	}
	if err := c.Send([]byte{1, 2, 3}, true); err != nil {
		t.Fatal(err)
	}
	if p := await(t, "a post", f.posts); p.body != "bAQID" {
		t.Errorf("binary: %+v", p)
	}
	if c.Transport() != "polling" {
		t.Errorf("transport %q", c.Transport())
	}
	f.answer(t, "1")
	if err := h.wantClose(t, ReasonTransportClose); err != nil {
		t.Error(err)
	}
	if err := c.Send([]byte("x"), false); !errors.Is(err, ErrClosed) {
		t.Errorf("Send after the end: %v", err)
	}
}

func TestClient_PollingV3(t *testing.T) {
	t.Parallel()
	f := newFakeEngine(t)
	f.after = "2:40"
	delete(f.open, "maxPayload")
	f.open["pingInterval"] = 50
	f.start()
	h := newRecorder()
	c := dialFake(t, f.URL, DialConfig{Transports: onlyPolling, Protocol: 3}, h)
	h.wantMessages(t, "text:0")
	f.answer(t, "\x00\x04\xff4\u20ac\x01\x03\xff\x04\x01\x02")
	h.wantMessages(t, "text:\u20ac", "binary:\x01\x02")
	for range 2 {
		if p := await(t, "a ping", f.posts); p != (fakePost{"1:2", "text/plain;charset=UTF-8"}) {
			t.Errorf("ping: %+v", p)
		}
		f.answer(t, "1:3")
	}
	if err := c.SendPrepared(SendOptions{}, Prepare([]byte("\u20ac"), false), Prepare([]byte{1}, true)); err != nil {
		t.Fatal(err)
	}
	for {
		p := await(t, "a post", f.posts)
		if p.body == "1:2" {
			continue
		}
		if !strings.HasSuffix(p.body, "\x00\x04\xff4\u20ac\x01\x02\xff\x04\x01") || p.kind != "application/octet-stream" {
			t.Errorf("binary: %+v", p)
		}
		return
	}
}

// Messages go out in order, in bodies of at most maxPayload, except a single one that is greater.
func TestClient_SplitsByMaxPayload(t *testing.T) {
	t.Parallel()
	for _, protocol := range []int{4, 3} {
		t.Run(fmt.Sprint("protocol ", protocol), func(t *testing.T) {
			t.Parallel()
			f := newFakeEngine(t)
			f.open["maxPayload"] = 100
			f.start()
			h := newRecorder()
			c := dialFake(t, f.URL, DialConfig{Transports: onlyPolling, Protocol: protocol}, h)
			var ps []*Prepared
			var want []string
			for i := range 60 {
				m := fmt.Sprint("message ", i, strings.Repeat("\u20ac", i%9))
				if i == 30 {
					m = strings.Repeat("x", 500)
				}
				ps = append(ps, Prepare([]byte(m), i%7 == 3))
				want = append(want, m)
			}
			if err := c.SendPrepared(SendOptions{}, ps...); err != nil {
				t.Fatal(err)
			}
			format := map[string]eio.Format{"application/octet-stream": eio.V3Binary, "text/plain;charset=UTF-8": eio.V4}
			if protocol == 3 {
				format["text/plain;charset=UTF-8"] = eio.V3Text
			}
			for len(want) > 0 {
				p := await(t, "a post", f.posts)
				n := 0
				whole := len(p.body)
				dec := eio.NewDecoder(format[p.kind], []byte(p.body))
				for dec.Next() {
					if string(dec.Packet.Data) != want[0] {
						t.Fatalf("got %q, want %q", dec.Packet.Data, want[0])
					}
					want = want[1:]
					n++
				}
				if dec.Err() != nil || whole > 100 && n > 1 {
					t.Fatalf("%d packets in %d bytes, %v", n, whole, dec.Err())
				}
			}
		})
	}
}

func TestClient_WebSocket(t *testing.T) {
	t.Parallel()
	for _, deflate := range []bool{false, true} {
		t.Run(fmt.Sprint("deflate ", deflate), func(t *testing.T) {
			t.Parallel()
			f := newFakeEngine(t).start()
			h := newRecorder()
			c := dialFake(t, f.URL, DialConfig{Transports: onlyWebSocket, PerMessageDeflate: deflate}, h)
			s := await(t, "the socket", f.sockets)
			if s.deflate != deflate || c.Transport() != "websocket" {
				t.Errorf("deflate %v, transport %s", s.deflate, c.Transport())
			}
			s.send(ws.Text, "4hello")
			s.send(ws.Binary, "\x01\x02")
			s.send(ws.Text, "bAQI=")
			s.send(ws.Text, "6")
			h.wantMessages(t, "text:hello", "binary:\x01\x02", "binary:\x01\x02")
			s.send(ws.Text, "2")
			s.wantFrames(t, "text:3")
			s.send(ws.Ping, "are you there")
			s.wantFrames(t, "pong:are you there")
			long := strings.Repeat("long ", 20_000)
			for _, m := range []string{"a", long} {
				if err := c.Send([]byte(m), false); err != nil {
					t.Fatal(err)
				}
			}
			s.wantFrames(t, "text:4a", "text:4"+long)
			if err := c.Send([]byte{7}, true); err != nil {
				t.Fatal(err)
			}
			_ = c.Close() // always nil
			s.wantFrames(t, "binary:\x07", "close:", "end")
			h.wantClose(t, ReasonForcedClose)
		})
	}
}

func (s *fakeSocket) wantFrames(t *testing.T, want ...string) {
	t.Helper()
	for _, w := range want {
		if got := await(t, "frame "+w[:min(len(w), 40)], s.frames); got != w {
			t.Fatalf("frame %.60q, want %.60q", got, w)
		}
	}
}

func TestClient_WebSocketV3(t *testing.T) {
	t.Parallel()
	f := newFakeEngine(t)
	f.open["pingInterval"] = 30
	f.start()
	h := newRecorder()
	c := dialFake(t, f.URL, DialConfig{Transports: onlyWebSocket, Protocol: 3}, h)
	s := await(t, "the socket", f.sockets)
	s.send(ws.Binary, "\x04\x01\x02")
	s.send(ws.Text, "b4AQI=")
	s.send(ws.Binary, "\x09ignored")
	s.send(ws.Text, "4end")
	h.wantMessages(t, "binary:\x01\x02", "binary:\x01\x02", "text:end")
	for range 3 {
		s.wantFrames(t, "text:2")
		s.send(ws.Text, "3")
	}
	if err := c.Send([]byte{1}, true); err != nil {
		t.Fatal(err)
	}
	for got := "text:2"; got != "binary:\x04\x01"; {
		if got != "text:2" {
			t.Fatalf("frame %q", got)
		}
		got = await(t, "the message", s.frames)
	}
}

// How a WebSocket ends, and what the handler is told.
func TestClient_WebSocketEnds(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		do     func(s *fakeSocket)
		reason Reason
		frames []string
		isErr  error
	}{
		"close frame":     {func(s *fakeSocket) { s.send(ws.Close, "") }, ReasonTransportClose, []string{"close:"}, nil},
		"close, 1009":     {func(s *fakeSocket) { s.send(ws.Close, "\x03\xf1") }, ReasonTransportClose, []string{"close:\x03\xf1"}, new(peerCloseError)},
		"cut":             {func(s *fakeSocket) { _ = s.nc.Close() }, ReasonTransportClose, nil, nil},
		"close packet":    {func(s *fakeSocket) { s.send(ws.Text, "1") }, ReasonTransportClose, nil, nil},
		"unknown packet":  {func(s *fakeSocket) { s.send(ws.Text, "9") }, ReasonParseError, nil, eio.ErrMalformed},
		"empty packet":    {func(s *fakeSocket) { s.send(ws.Text, "") }, ReasonParseError, nil, eio.ErrMalformed},
		"reserved bit":    {func(s *fakeSocket) { _, _ = s.nc.Write([]byte{0xc1, 0}) }, ReasonTransportError, []string{"close:\x03\xea"}, new(ws.Error)},
		"above the limit": {func(s *fakeSocket) { s.send(ws.Text, "4"+strings.Repeat("x", 1001)) }, ReasonTransportError, []string{"close:\x03\xf1"}, new(ws.Error)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFakeEngine(t).start()
			h := newRecorder()
			dialFake(t, f.URL, DialConfig{Transports: onlyWebSocket, MaxPayload: 1000}, h)
			s := await(t, "the socket", f.sockets)
			s.send(ws.Text, "4"+strings.Repeat("y", 1000))
			h.wantMessages(t, "text:"+strings.Repeat("y", 1000))
			tc.do(s)
			err := h.wantClose(t, tc.reason)
			s.wantFrames(t, tc.frames...)
			switch want := tc.isErr.(type) { //nolint:errorlint // says which kind is wanted
			case nil:
				if err != nil {
					t.Errorf("err = %v", err)
				}
			case *peerCloseError:
				if !errors.As(err, &want) {
					t.Errorf("err = %v", err)
				}
			case *ws.Error:
				if !errors.As(err, &want) {
					t.Errorf("err = %v", err)
				}
			default:
				if !errors.Is(err, want) {
					t.Errorf("err = %v", err)
				}
			}
		})
	}
}

func TestClient_PollingEnds(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		answer string
		reason Reason
		before []string
	}{
		"malformed":       {"4a\x1e9\x1e4b", ReasonParseError, []string{"text:a"}},
		"empty":           {"", ReasonParseError, nil},
		"invalid UTF-8":   {"4a\x1e4\xff", ReasonParseError, []string{"text:a"}},
		"close":           {"4a\x1e1\x1e4b", ReasonTransportClose, []string{"text:a"}},
		"refused":         {"!400", ReasonTransportError, nil},
		"above the limit": {"4" + strings.Repeat("x", 1001), ReasonTransportError, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFakeEngine(t).start()
			h := newRecorder()
			dialFake(t, f.URL, DialConfig{Transports: onlyPolling, MaxPayload: 1000}, h)
			f.answer(t, tc.answer)
			err := h.wantClose(t, tc.reason)
			if (err != nil) != (tc.reason != ReasonTransportClose) {
				t.Errorf("err = %v", err)
			}
			h.wantMessages(t, tc.before...)
			if len(h.messages) > 0 {
				t.Errorf("%d messages more", len(h.messages))
			}
		})
	}
}

func TestClient_SilenceIsPingTimeout(t *testing.T) {
	t.Parallel()
	for _, protocol := range []int{4, 3} {
		for name, tr := range map[string][]string{"polling": onlyPolling, "websocket": onlyWebSocket} {
			t.Run(fmt.Sprint(name, " ", protocol), func(t *testing.T) {
				t.Parallel()
				f := newFakeEngine(t)
				f.open["pingInterval"], f.open["pingTimeout"] = 20, 20
				f.start()
				h := newRecorder()
				dialFake(t, f.URL, DialConfig{Transports: tr, Protocol: protocol}, h)
				h.wantClose(t, ReasonPingTimeout)
			})
		}
	}
}

func TestClient_PausedDoesNotTimeOut(t *testing.T) {
	t.Parallel()
	for name, tr := range map[string][]string{"polling": onlyPolling, "websocket": onlyWebSocket} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFakeEngine(t)
			f.start()
			h := newRecorder()
			h.onOpen = func(c *Conn) { c.Pause() }
			c := dialFake(t, f.URL, DialConfig{Transports: tr}, h)
			d, ok := c.t.(*dialed)
			if !ok {
				t.Fatalf("%T", c.t)
			}
			silence := func() { // as if all of the time-out had passed
				d.heard.Store(d.e.now() - int64(time.Hour))
				d.checkSilence()
			}
			for range 2 {
				if err := c.Send([]byte("x"), false); err != nil {
					t.Fatal(err)
				}
				silence()
			}
			if len(f.polling) > 0 || len(h.closed) > 0 {
				t.Fatal("polled or closed while paused")
			}
			if tr[0] == "websocket" {
				await(t, "the socket", f.sockets).send(ws.Text, "4a")
			}
			c.Resume()
			if tr[0] == "polling" {
				f.answer(t, "4a")
			}
			h.wantMessages(t, "text:a")
			silence()
			h.wantClose(t, ReasonPingTimeout)
		})
	}
}

func TestClient_CloseFlushes(t *testing.T) {
	t.Parallel()
	f := newFakeEngine(t).start()
	h := newRecorder()
	h.onOpen = func(c *Conn) {
		_ = c.Send([]byte("a"), false) // shows in what is posted
		_ = c.Send([]byte("b"), false)
		_ = c.Close() // always nil
	}
	c := dialFake(t, f.URL, DialConfig{Transports: onlyPolling}, h)
	h.wantClose(t, ReasonForcedClose)
	var got []string
	for len(f.posts) > 0 {
		got = append(got, strings.Split((<-f.posts).body, "\x1e")...)
	}
	if !slices.Equal(got, []string{"4a", "4b", "1"}) {
		t.Errorf("posted %q", got)
	}
	if err := c.Close(); err != nil || len(h.closed) > 0 {
		t.Errorf("second Close: %v", err)
	}
}

func TestClient_CloseWhilePaused(t *testing.T) {
	t.Parallel()
	for name, tr := range map[string][]string{"polling": onlyPolling, "websocket": onlyWebSocket} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFakeEngine(t).start()
			h := newRecorder()
			c := dialFake(t, f.URL, DialConfig{Transports: tr}, h)
			c.Pause()
			_ = c.Close() // always nil
			h.wantClose(t, ReasonForcedClose)
		})
	}
}

func TestClient_PanicClosesTheConnection(t *testing.T) {
	t.Parallel()
	for name, tr := range map[string][]string{"polling": onlyPolling, "websocket": onlyWebSocket} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFakeEngine(t).start()
			h := newRecorder()
			h.onMsg = func(*Conn, []byte) { panic("oops") }
			dialFake(t, f.URL, DialConfig{Transports: tr}, h)
			f.sendVia(t, tr, "4a")
			var pe *PanicError
			if err := h.wantClose(t, ReasonForcedClose); !errors.As(err, &pe) || pe.Value != "oops" {
				t.Errorf("err = %v", err)
			}
		})
	}
}

func TestClient_QueueFull(t *testing.T) {
	t.Parallel()
	f := newFakeEngine(t).start()
	h := newRecorder()
	h.onOpen = func(c *Conn) { // nothing is sent yet
		for range 3 {
			if err := c.Send([]byte("x"), false); err != nil {
				t.Error(err)
			}
		}
		if err := c.Send([]byte("x"), false); !errors.Is(err, ErrQueueFull) {
			t.Errorf("err = %v", err)
		}
	}
	dialFake(t, f.URL, DialConfig{Transports: onlyPolling, Queue: SendQueue{MaxPackets: 3}}, h)
	if err := h.wantClose(t, ReasonTransportError); !errors.Is(err, ErrQueueFull) {
		t.Errorf("err = %v", err)
	}
}

// A volatile message is dropped while something waits or is being sent.
func TestClient_Volatile(t *testing.T) {
	t.Parallel()
	f := newFakeEngine(t).start()
	h := newRecorder()
	h.onOpen = func(c *Conn) {
		if err := c.Send([]byte("a"), false); err != nil {
			t.Error(err)
		}
		if err := c.SendPrepared(SendOptions{Volatile: true}, Prepare([]byte("b"), false)); !errors.Is(err, ErrDropped) {
			t.Errorf("err = %v", err)
		}
	}
	c := dialFake(t, f.URL, DialConfig{Transports: onlyPolling}, h)
	testkit.Eventually(t, "a volatile message passes", func() bool {
		return c.SendPrepared(SendOptions{Volatile: true}, Prepare([]byte("c"), false)) == nil
	})
	for _, want := range []string{"4a", "4c"} {
		if p := await(t, "a post", f.posts); p.body != want {
			t.Errorf("posted %q, want %q", p.body, want)
		}
	}
}

// A pause does not keep a connection that is closing from reading the goodbye, whichever came first.
func TestClient_PausedWhileClosing(t *testing.T) {
	t.Parallel()
	f := newFakeEngine(t).start()
	h := newRecorder()
	c := dialFake(t, f.URL, DialConfig{Transports: onlyPolling}, h)
	await(t, "a poll", f.polling)
	if err := c.Send([]byte("x"), false); err != nil {
		t.Fatal(err)
	}
	await(t, "the post", f.posts)
	c.mu.Lock()
	c.state.Store(stateClosing) // as Close does, before it tells the transport
	c.mu.Unlock()
	c.Pause()
	f.answer(t, "6")
	await(t, "another poll", f.polling)
	c.t.shut()
	h.wantClose(t, ReasonForcedClose)
}
