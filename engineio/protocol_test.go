package engineio

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/internal/ws"
)

// The cases of the test suite of the Engine.IO protocol. Only where they are the subject are the ping interval, and the
// timeout, as short as there: a busy machine may take longer for anything, and a ping would come in between.

const (
	pollQuery   = "EIO=4&transport=polling"
	socketQuery = "EIO=4&transport=websocket"
)

func protocolSite(t *testing.T) *site {
	t.Helper()
	t.Parallel()
	return newSite(t, Config{})
}

func pingingSite(t *testing.T) *site {
	t.Helper()
	t.Parallel()
	return newSite(t, Config{PingInterval: 300 * time.Millisecond})
}

func impatientSite(t *testing.T) *site {
	t.Helper()
	t.Parallel()
	return newSite(t, Config{PingInterval: 300 * time.Millisecond, PingTimeout: 200 * time.Millisecond})
}

func checkOpen(t *testing.T, packet string, upgrades ...string) {
	t.Helper()
	if !strings.HasPrefix(packet, "0") {
		t.Fatalf("not an open packet: %q", packet)
	}
	var keys map[string]any
	var open struct {
		SID                                   string
		Upgrades                              []string
		PingInterval, PingTimeout, MaxPayload int
	}
	for _, dst := range []any{&keys, &open} {
		if err := json.Unmarshal([]byte(packet[1:]), dst); err != nil {
			t.Fatal(err)
		}
	}
	if len(keys) != 5 || len(open.SID) != 20 || open.Upgrades == nil || !slices.Equal(open.Upgrades, upgrades) ||
		open.PingInterval != 25_000 || open.PingTimeout != 20_000 || open.MaxPayload != 1_000_000 {
		t.Errorf("%s", packet)
	}
}

func TestProtocol_HandshakePolling(t *testing.T) {
	s := protocolSite(t)
	r := s.do("GET", pollQuery, "")
	if r.status != 200 {
		t.Fatal(r.status)
	}
	checkOpen(t, r.body, "websocket")
}

func TestProtocol_HandshakePollingRefused(t *testing.T) {
	s := protocolSite(t)
	for _, tc := range []struct{ name, method, query string }{
		{"no version", "GET", "transport=polling"},
		{"odd version", "GET", "EIO=abc&transport=polling"},
		{"no transport", "GET", "EIO=4"},
		{"odd transport", "GET", "EIO=4&transport=abc"},
		{"post", "POST", pollQuery},
		{"put", "PUT", pollQuery},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if r := s.do(tc.method, tc.query, ""); r.status != 400 {
				t.Errorf("%+v", r)
			}
		})
	}
}

func TestProtocol_HandshakeWebSocket(t *testing.T) {
	s := protocolSite(t)
	_, packet := s.dial(socketQuery).frame()
	checkOpen(t, packet, []string{}...)
}

func TestProtocol_HandshakeWebSocketRefused(t *testing.T) {
	s := protocolSite(t)
	for _, tc := range []struct{ name, query string }{
		{"no version", "transport=websocket"},
		{"odd version", "EIO=abc&transport=websocket"},
		{"no transport", "EIO=4"},
		{"odd transport", "EIO=4&transport=abc"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, r := s.handshake(tc.query); r.StatusCode != http.StatusBadRequest {
				t.Error(r.Status)
			}
		})
	}
}

func TestProtocol_MessagesPolling(t *testing.T) {
	s := protocolSite(t)
	for _, tc := range []struct{ name, payload string }{
		{"one text", "4hello"},
		{"several texts", "4test1\x1e4test2\x1e4test3"},
		{"text and binary", "4hello\x1ebAQIDBA=="},
	} {
		t.Run(tc.name, func(t *testing.T) {
			q := s.poll("4")
			if r := s.do("POST", q, tc.payload); r.status != 200 || r.body != "ok" {
				t.Fatalf("%+v", r)
			}
			if r := s.do("GET", q, ""); r.status != 200 || r.body != tc.payload {
				t.Errorf("%+v", r)
			}
		})
	}
}

func TestProtocol_InvalidPacketPolling(t *testing.T) {
	s := protocolSite(t)
	q := s.poll("4")
	s.do("POST", q, "abc")
	if r := s.do("GET", q, ""); r.status != 400 {
		t.Errorf("%+v", r)
	}
}

func TestProtocol_DuplicatePoll(t *testing.T) {
	s := protocolSite(t)
	q := s.poll("4")
	first := s.background("GET", q, "")
	pending(t, s.h.last(t))
	if r := s.do("GET", q+"&t=burst", ""); r.status != 400 {
		t.Errorf("second: %+v", r)
	}
	if r := <-first; r.status != 200 || r.body != "1" {
		t.Errorf("first: %+v", r)
	}
	if r := s.do("GET", q, ""); r.status != 400 {
		t.Errorf("after: %+v", r)
	}
}

func TestProtocol_MessagesWebSocket(t *testing.T) {
	s := protocolSite(t)
	for _, tc := range []struct {
		name, payload string
		op            ws.Op
	}{
		{"text", "4hello", ws.Text},
		{"binary", "\x01\x02\x03\x04", ws.Binary},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := s.dial(socketQuery)
			c.open()
			c.write(tc.op, tc.payload)
			if op, got := c.frame(); op != tc.op || got != tc.payload {
				t.Errorf("%d %q", op, got)
			}
		})
	}
}

func TestProtocol_InvalidPacketWebSocket(t *testing.T) {
	s := protocolSite(t)
	c := s.dial(socketQuery)
	c.open()
	c.send("abc")
	c.expectClose(1005)
}

func TestProtocol_HeartbeatPolling(t *testing.T) {
	s := pingingSite(t)
	q := s.poll("4")
	for range 3 {
		if r := s.do("GET", q, ""); r.status != 200 || r.body != "2" {
			t.Fatalf("%+v", r)
		}
		if r := s.do("POST", q, "3"); r.status != 200 {
			t.Fatalf("%+v", r)
		}
	}
}

func TestProtocol_PingTimeoutPolling(t *testing.T) {
	s := impatientSite(t)
	q := s.poll("4")
	if got := s.h.reasons(t, 1)[0].reason; got != ReasonPingTimeout {
		t.Error(got)
	}
	if r := s.do("GET", q, ""); r.status != 400 {
		t.Errorf("%+v", r)
	}
}

func TestProtocol_HeartbeatWebSocket(t *testing.T) {
	s := pingingSite(t)
	c := s.dial(socketQuery)
	c.open()
	for range 3 {
		c.expect("2")
		c.send("3")
	}
}

func TestProtocol_PingTimeoutWebSocket(t *testing.T) {
	s := impatientSite(t)
	c := s.dial(socketQuery)
	c.open()
	c.expect("2")
	c.expectClose(1005)
	if got := s.h.reasons(t, 1)[0].reason; got != ReasonPingTimeout {
		t.Error(got)
	}
}

func TestProtocol_ClosePolling(t *testing.T) {
	s := protocolSite(t)
	q := s.poll("4")
	poll := s.background("GET", q, "")
	pending(t, s.h.last(t))
	if r := s.do("POST", q, "1"); r.status != 200 {
		t.Errorf("%+v", r)
	}
	if r := <-poll; r.status != 200 || r.body != "6" {
		t.Errorf("%+v", r)
	}
	if r := s.do("GET", q, ""); r.status != 400 {
		t.Errorf("%+v", r)
	}
}

func TestProtocol_CloseWebSocket(t *testing.T) {
	s := impatientSite(t)
	c := s.dial(socketQuery)
	c.open()
	c.send("1")
	c.expect("2") // the packet is ignored, as in Node: it is the heartbeat that closes
	c.expectClose(1005)
}

func TestProtocol_Upgrade(t *testing.T) {
	s := protocolSite(t)
	q := s.poll("4")
	c := s.dial(strings.Replace(q, "polling", "websocket", 1))
	c.send("2probe")
	c.expect("3probe")
	if r := s.do("GET", q, ""); r.status != 200 || r.body != "6" {
		t.Fatalf("%+v", r)
	}
	c.send("5", "4hello")
	c.expect("4hello")
}

// upgraded opens a session by polling and moves it to a WebSocket.
func upgraded(t *testing.T, s *site) (c *socket, query string) {
	t.Helper()
	query = s.poll("4")
	c = s.dial(strings.Replace(query, "polling", "websocket", 1))
	c.send("2probe", "5")
	c.expect("3probe")
	testkit.Eventually(t, "the upgrade", func() bool { return s.h.last(t).Transport() == "websocket" })
	return c, query
}

func TestProtocol_RequestAfterUpgrade(t *testing.T) {
	s := protocolSite(t)
	c, q := upgraded(t, s)
	if r := s.do("GET", q, ""); r.status != 400 {
		t.Errorf("%+v", r)
	}
	c.send("4hello")
	c.expect("4hello")
}

func TestProtocol_WebSocketAfterUpgrade(t *testing.T) {
	s := protocolSite(t)
	c, q := upgraded(t, s)
	s.dial(strings.Replace(q, "polling", "websocket", 1)).expectClose(1005)
	c.send("4hello")
	c.expect("4hello")
}
