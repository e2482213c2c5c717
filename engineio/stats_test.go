package engineio

import (
	"context"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/internal/ws"
)

// transports gives "polling/3" and so on with the open and the opened connections, where there were any.
func (s *Stats) transports() map[string][2]int {
	all := map[string][2]int{}
	for _, t := range s.Transports {
		if t.Open != 0 || t.Opened != 0 {
			all[t.Transport+"/"+digit(t.Protocol)] = [2]int{t.Open, int(t.Opened)}
		}
	}
	return all
}

func (s *Stats) closed(r Reason) uint64 {
	for _, c := range s.Closed {
		if c.Reason == r {
			return c.Count
		}
	}
	return 0
}

// upgradeHandler is told of upgrades.
type upgradeHandler struct {
	*echo

	upgraded chan *Conn
}

func (h *upgradeHandler) OnUpgrade(c *Conn) { h.upgraded <- c }

func TestStats_Connections(t *testing.T) {
	t.Parallel()
	h := &upgradeHandler{&echo{}, make(chan *Conn, 1)}
	srv, err := NewServer(Config{AllowEIO3: true}, h)
	if err != nil {
		t.Fatal(err)
	}
	s := siteOf(t, srv)
	s.h = h.echo
	q := s.poll("4")
	c := h.last(t)
	_ = s.poll("3")
	direct := s.dial("EIO=4&transport=websocket")
	_ = direct.open()
	check := func(when string, want map[string][2]int) {
		t.Helper()
		st := s.s.Stats()
		got := st.transports()
		for name, n := range want {
			if got[name] != n {
				t.Errorf("%s: %s: %v, want %v", when, name, got[name], n)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%s: %v, want %v", when, got, want)
		}
	}
	check("open", map[string][2]int{"polling/4": {1, 1}, "polling/3": {1, 1}, "websocket/4": {1, 1}})

	up := s.dial(strings.Replace(q, "polling", "websocket", 1))
	up.send("2probe")
	up.expect("3probe")
	if r := s.do("GET", q, ""); r.body != "6" {
		t.Fatalf("%+v", r)
	}
	up.send("5", "4x")
	up.expect("4x")
	if got := <-h.upgraded; got != c || got.Transport() != transportWebSocket {
		t.Errorf("OnUpgrade was told of another connection")
	}
	check("upgraded", map[string][2]int{"polling/4": {0, 1}, "polling/3": {1, 1}, "websocket/4": {2, 1}})

	up.write(ws.Close, "")
	direct.send("x")
	h.reasons(t, 2)
	check("closed", map[string][2]int{"polling/4": {0, 1}, "polling/3": {1, 1}, "websocket/4": {0, 1}})
	for _, query := range []string{"EIO=4&transport=abc", q, "EIO=4&transport=polling&sid=" + strings.Repeat("x", 20)} {
		if r := s.do("GET", query, ""); r.status != 400 {
			t.Fatalf("%+v", r)
		}
	}
	st := s.s.Stats()
	if st.Upgraded != 1 || st.closed(ReasonTransportClose) != 1 || st.closed(ReasonParseError) != 1 {
		t.Errorf("%+v", st)
	}
	if st.Refused != [6]uint64{CodeTransportUnknown: 1, CodeSessionUnknown: 2} {
		t.Errorf("refused: %v", st.Refused)
	}
	s.s.Drain()
	if r := s.do("GET", "EIO=4&transport=polling", ""); r.status != 503 {
		t.Fatalf("%+v", r)
	}
	if now := s.s.Stats(); now.Busy != 1 || now.Refused != st.Refused {
		t.Errorf("while draining: %+v", now)
	}
	if err := s.s.Close(); err != nil {
		t.Fatal(err)
	}
	if st = s.s.Stats(); st.Transports[0].Open != 0 || st.closed(ReasonForcedClose) != 1 {
		t.Errorf("after Close: %+v", st)
	}
}

// Messages are counted with their bytes, by each transport; what carries no message is not.
func TestStats_Messages(t *testing.T) {
	t.Parallel()
	s := newSite(t, Config{AllowEIO3: true})
	traffic := func() [4]uint64 {
		st := s.s.Stats()
		return [4]uint64{st.PacketsIn, st.BytesIn, st.PacketsOut, st.BytesOut}
	}
	if n := traffic(); n != [4]uint64{} {
		t.Fatalf("%v before anything", n)
	}
	q := s.poll("4")
	if r := s.do("POST", q, "4hello\x1ebAQIDBA=="); r.status != 200 {
		t.Fatalf("%+v", r)
	}
	if n := traffic(); n != [4]uint64{2, 9, 0, 0} {
		t.Errorf("%v when nothing is polled", n)
	}
	if r := s.do("GET", q, ""); r.body != "4hello\x1ebAQIDBA==" {
		t.Fatalf("%+v", r)
	}
	if n := traffic(); n != [4]uint64{2, 9, 2, 9} {
		t.Errorf("%v after polling", n)
	}
	c := s.dial("EIO=4&transport=websocket")
	_ = c.open()
	c.write(ws.Ping, "")
	c.send("4abc")
	if op, _ := c.frame(); op != ws.Pong {
		t.Fatalf("%v", op)
	}
	c.expect("4abc")
	testkit.Eventually(t, "the count", func() bool { return traffic() == [4]uint64{3, 12, 3, 12} })
}

func TestStats_FullQueue(t *testing.T) {
	t.Parallel()
	send := func(t *testing.T, policy FullPolicy) (*site, Stats) {
		t.Helper()
		s := newSite(t, Config{Queue: SendQueue{MaxPackets: 2, OnFull: policy}})
		_ = s.poll("4")
		c := s.h.last(t)
		for range 5 {
			_ = c.Send([]byte("x"), false)
		}
		return s, s.s.Stats()
	}
	for _, tc := range []struct {
		name               string
		policy             FullPolicy
		overflows, dropped uint64
	}{
		{"close", CloseConnection, 1, 0},
		{"newest", DropNewest, 0, 3},
		{"oldest", DropOldest, 0, 3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s, st := send(t, tc.policy)
			if st.Overflows != tc.overflows || st.Dropped != tc.dropped {
				t.Errorf("%d overflows, %d dropped", st.Overflows, st.Dropped)
			}
			if tc.policy == CloseConnection {
				s.h.reasons(t, 1)
			}
		})
	}
	t.Run("volatile", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, Config{})
		_ = s.poll("4")
		p := Prepare([]byte("x"), false)
		if err := s.h.last(t).SendPrepared(SendOptions{Volatile: true}, p, p); err == nil {
			t.Error("nobody polls, and it is not dropped")
		}
		if st := s.s.Stats(); st.VolatileDropped != 2 {
			t.Errorf("%+v", st)
		}
	})
}

// A connection that Dial made counts nothing, and a handler need not care for upgrades.
func TestStats_ClientHasNone(t *testing.T) {
	t.Parallel()
	s := newSite(t, Config{})
	h := &echo{message: func(*Conn, []byte, bool) {}}
	c, err := Dial(context.Background(), s.http.URL+"/engine.io/", DialConfig{}, h)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Send([]byte("x"), false); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the message", func() bool { return s.s.Stats().PacketsIn == 1 })
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	h.reasons(t, 1)
}

func TestAllocs_Stats(t *testing.T) {
	s := newSite(t, Config{})
	if n := testing.AllocsPerRun(100, func() {
		if st := s.s.Stats(); st.PacketsIn != 0 {
			t.Fatal(st)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
