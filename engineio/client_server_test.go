package engineio

import (
	"bytes"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/testkit"
)

// serveEcho runs a server that sends everything back.
func serveEcho(t *testing.T, cfg Config) (url string, h *echo) {
	t.Helper()
	h = &echo{}
	s, err := NewServer(cfg, h)
	if err != nil {
		t.Fatal(err)
	}
	hs := httptest.NewServer(s)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		hs.CloseClientConnections()
		hs.Close()
	})
	return hs.URL, h
}

var allTransports = map[string][]string{
	"polling": {"polling"}, "websocket": {"websocket"}, "upgrade": {"polling", "websocket"},
}

// Client and server of this package, each transport and protocol: text and binary of all sizes, in order, through
// several heartbeats.
func TestClientAndServer(t *testing.T) {
	t.Parallel()
	for _, protocol := range []int{4, 3} {
		for name, transports := range allTransports {
			for _, deflate := range []bool{false, true} {
				t.Run(fmt.Sprint(name, " ", protocol, " ", deflate), func(t *testing.T) {
					t.Parallel()
					url, server := serveEcho(t, Config{
						AllowEIO3: true, PingInterval: 100 * time.Millisecond, PingTimeout: testkit.Scale(20 * time.Second),
						PerMessageDeflate: deflate, MaxPayload: 200_000,
					})
					h := newRecorder()
					c := dialFake(t, url, DialConfig{Transports: transports, Protocol: protocol, PerMessageDeflate: deflate}, h)
					exchange(t, c, h, 200)
					if name == "upgrade" {
						for c.Transport() != "websocket" {
							exchange(t, c, h, 5)
						}
					}
					for range 3 { // each takes a heartbeat
						time.Sleep(100 * time.Millisecond) // the heartbeat is real
						exchange(t, c, h, 10)
					}
					_ = c.Close() // always nil
					h.wantClose(t, ReasonForcedClose)
					if got := server.reasons(t, 1); got[0].reason != ReasonTransportClose {
						t.Errorf("the server saw %+v", got)
					}
				})
			}
		}
	}
}

// exchange sends n messages and wants them back.
func exchange(t *testing.T, c *Conn, h *recorder, n int) {
	t.Helper()
	want := make([]string, 0, n)
	for i := range n {
		data := fmt.Append(nil, i, "\u20ac\U0001f600", strings.Repeat("x", i*i%5000))
		binary := i%3 == 0
		if binary {
			data = append(data, 0, 0x1e, 0xff)
		}
		if i == n/2 {
			data = bytes.Repeat(data, 150_000/len(data)*3/4)
		}
		for c.Send(data, binary) != nil {
			t.Fatal("cannot send")
		}
		kind := "text:"
		if binary {
			kind = "binary:"
		}
		want = append(want, kind+string(data))
	}
	h.wantMessages(t, want...)
}

// The server closes: what it sent before arrives.
func TestClientAndServer_ServerCloses(t *testing.T) {
	t.Parallel()
	for _, protocol := range []int{4, 3} {
		for name, transports := range allTransports {
			t.Run(fmt.Sprint(name, " ", protocol), func(t *testing.T) {
				t.Parallel()
				url, server := serveEcho(t, Config{AllowEIO3: true})
				server.message = func(c *Conn, data []byte, binary bool) {
					_ = c.Send(data, binary)           // shows at the client
					_ = c.Send([]byte("last"), binary) // shows at the client
					_ = c.Close()                      // always nil
				}
				h := newRecorder()
				c := dialFake(t, url, DialConfig{Transports: transports, Protocol: protocol}, h)
				if err := c.Send([]byte("a"), false); err != nil {
					t.Fatal(err)
				}
				h.wantMessages(t, "text:a", "text:last")
				h.wantClose(t, ReasonTransportClose)
				if got := server.reasons(t, 1); got[0].reason != ReasonForcedClose {
					t.Errorf("the server saw %+v", got)
				}
			})
		}
	}
}
