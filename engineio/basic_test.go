package engineio

import (
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/internal/ws"
)

func TestPolling_Echo(t *testing.T) {
	t.Parallel()
	s := newSite(t, Config{})
	q := s.poll("4")
	if r := s.do("POST", q, "4hello\x1ebAQIDBA=="); r.status != 200 || r.body != "ok" {
		t.Fatalf("%+v", r)
	}
	if r := s.do("GET", q, ""); r.status != 200 || r.body != "4hello\x1ebAQIDBA==" {
		t.Fatalf("%+v", r)
	}
	got := s.background("GET", q, "")
	c := s.h.last(t)
	pending(t, c)
	if err := c.Send([]byte("late"), false); err != nil {
		t.Fatal(err)
	}
	if r := <-got; r.body != "4late" {
		t.Fatalf("%+v", r)
	}
}

func TestWebSocket_Echo(t *testing.T) {
	t.Parallel()
	s := newSite(t, Config{})
	c := s.dial("EIO=4&transport=websocket")
	if sid := c.open(); len(sid) != 20 {
		t.Fatalf("sid %q", sid)
	}
	c.send("4hello")
	c.expect("4hello")
	c.write(ws.Binary, "\x01\x02")
	if op, b := c.frame(); op != ws.Binary || b != "\x01\x02" {
		t.Fatalf("%d %q", op, b)
	}
	big := "4" + strings.Repeat("x", 100_000)
	c.send(big)
	c.expect(big)
	c.write(ws.Close, "")
	c.expectClose(1005)
	if got := s.h.reasons(t, 1); got[0].reason != ReasonTransportClose {
		t.Fatalf("%+v", got)
	}
}

func TestUpgrade_KeepsOrder(t *testing.T) {
	t.Parallel()
	s := newSite(t, Config{})
	q := s.poll("4")
	c := s.h.last(t)
	ws := s.dial(strings.Replace(q, "polling", "websocket", 1))
	ws.send("2probe")
	ws.expect("3probe")
	if r := s.do("GET", q, ""); r.body != "6" {
		t.Fatalf("%+v", r)
	}
	_ = c.Send([]byte("one"), false)
	_ = c.Send([]byte("two"), false)
	ws.send("5", "4three")
	ws.expect("4one", "4two", "4three")
	if got := c.Transport(); got != "websocket" {
		t.Fatal(got)
	}
	if r := s.do("GET", q, ""); r.status != 400 || r.body != `{"code":3,"message":"Bad request"}` {
		t.Fatalf("%+v", r)
	}
	second := s.dial(strings.Replace(q, "polling", "websocket", 1))
	second.expectClose(1005)
	ws.send("4still")
	ws.expect("4still")
}
