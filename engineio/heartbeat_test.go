package engineio

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/internal/eio"
	"github.com/sockeye-io/sockeye/internal/ws"
)

// still is a transport that remembers what was asked of it.
type still struct {
	woken int
	ended Reason
}

func (*still) name() string   { return "still" }
func (t *still) wake()        { t.woken++ }
func (*still) writable() bool { return false }
func (*still) flow()          {}
func (*still) shut()          {}
func (t *still) cut(r Reason) { t.ended = r }

// beating gives a connection over no network, in a bubble of synctest.
func beating(t *testing.T, protocol int) (*Conn, *still) {
	t.Helper()
	return beatingEvery(t, protocol, 25*time.Second, 20*time.Second)
}

func beatingEvery(t *testing.T, protocol int, interval, timeout time.Duration) (*Conn, *still) {
	t.Helper()
	e := &env{
		handler: &echo{message: func(*Conn, []byte, bool) {}}, queue: SendQueue{}.withDefaults(),
		interval: interval, timeout: timeout, start: time.Now(), fault: func(error) {},
	}
	e.wheel = newWheel(e.start, min(e.interval, e.timeout))
	t.Cleanup(e.wheel.close)
	c := newConn(e, "sid", protocol, "")
	tr := &still{}
	c.t = tr
	c.startHeartbeat()
	c.leave()
	return c, tr
}

// after lets time pass, and half a second for the wheel.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (c *Conn) takePing() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	had := c.ctl&ctlPing != 0
	c.ctl = 0
	return had
}

func (t *still) reason(c *Conn) Reason {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reason
}

func TestHeartbeat_Protocol4(t *testing.T) {
	t.Parallel()
	const slack = 500 * time.Millisecond
	pong, message := eio.Packet{Type: eio.Pong}, eio.Packet{Type: eio.Message}
	t.Run("silence", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, tr := beating(t, 4)
			after(24900 * time.Millisecond)
			if c.takePing() {
				t.Fatal("too early")
			}
			after(100*time.Millisecond + slack)
			if !c.takePing() {
				t.Fatal("no ping")
			}
			after(19400 * time.Millisecond)
			if tr.reason(c) != "" {
				t.Fatal("too early")
			}
			after(100*time.Millisecond + slack)
			if tr.reason(c) != ReasonPingTimeout || tr.ended != ReasonPingTimeout {
				t.Fatal(tr.reason(c))
			}
		})
	})
	t.Run("pongs", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, tr := beating(t, 4)
			for range 10 {
				after(25*time.Second + slack)
				if !c.takePing() || !c.receive(pong) {
					t.Fatal("no ping", tr.reason(c))
				}
			}
		})
	})
	t.Run("another packet extends once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, tr := beating(t, 4)
			after(25*time.Second + slack)
			after(10 * time.Second)
			c.receive(message)
			after(15 * time.Second)
			if tr.reason(c) != "" {
				t.Fatal("not extended")
			}
			c.receive(message)
			after(5*time.Second + slack)
			if tr.reason(c) != ReasonPingTimeout {
				t.Fatal("extended twice")
			}
		})
	})
	t.Run("forged pongs do not extend", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, tr := beating(t, 4)
			for range 25 {
				c.receive(pong)
				after(time.Second)
			}
			after(slack)
			if !c.takePing() {
				t.Fatal("pongs put the ping off")
			}
			c.receive(pong)
			for range 3 {
				c.receive(pong)
			}
			after(25*time.Second + slack)
			if !c.takePing() {
				t.Fatal("no ping")
			}
			after(20*time.Second + slack)
			if tr.reason(c) != ReasonPingTimeout {
				t.Fatal(tr.reason(c))
			}
		})
	})
	t.Run("flood of pongs", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, tr := beating(t, 4)
			for i := range maxControlRate {
				if !c.receive(pong) {
					t.Fatal("closed by", i)
				}
			}
			if c.receive(pong) || tr.reason(c) != ReasonTransportError {
				t.Fatal(tr.reason(c))
			}
		})
	})
	t.Run("paused", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, tr := beating(t, 4)
			c.Pause()
			for range 5 {
				after(45 * time.Second)
				if !c.takePing() {
					t.Fatal("no ping")
				}
			}
			c.Resume()
			after(19 * time.Second)
			if tr.reason(c) != "" {
				t.Fatal("no time for the pong")
			}
			after(time.Second + slack)
			if tr.reason(c) != ReasonPingTimeout {
				t.Fatal("never fails")
			}
		})
	})
	t.Run("paused, with a long timeout", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, tr := beatingEvery(t, 4, time.Second, 20*time.Second)
			after(time.Second + 20*time.Millisecond)
			if !c.takePing() {
				t.Fatal("no ping")
			}
			c.Pause() // while a pong is awaited
			pings := 1
			for range 600 { // the peer would give up after 21 s without a ping
				after(time.Second + 20*time.Millisecond)
				if c.takePing() {
					pings++
				}
			}
			if pings < 590 {
				t.Fatalf("%d pings in 10 minutes", pings)
			}
			c.Resume()
			for range pings { // all at once, but not one more than was asked for
				if !c.receive(pong) {
					t.Fatal("a flood?", tr.reason(c))
				}
			}
			for range maxControlRate {
				c.receive(pong)
			}
			if c.receive(pong) {
				t.Fatal("pongs that nobody asked for are not counted")
			}
		})
	})
	t.Run("ping from the client", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, tr := beating(t, 4)
			if c.receive(eio.Packet{Type: eio.Ping}) || tr.reason(c) != ReasonTransportError {
				t.Fatal(tr.reason(c))
			}
		})
	})
}

// A pong that is behind what the peer sent before must keep neither side from knowing of the other: the peer waits for
// a ping 45 s.
func TestHeartbeat_PongBehindABacklog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, tr := beating(t, 4)
		last := time.Now()
		for range 300 {
			c.Pause()
			after(700 * time.Millisecond)
			c.receive(eio.Packet{Type: eio.Message})
			c.Resume()
			if c.takePing() {
				last = time.Now()
			}
			if since := time.Since(last); since > 40*time.Second {
				t.Fatalf("no ping for %v", since)
			}
		}
		if r := tr.reason(c); r != "" {
			t.Fatal(r)
		}
	})
}

func TestHeartbeat_Protocol3(t *testing.T) {
	t.Parallel()
	ping := eio.Packet{Type: eio.Ping, Data: []byte("x")}
	t.Run("pings", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, tr := beating(t, 3)
			for range 5 {
				after(44 * time.Second)
				if !c.receive(ping) || c.ctl != ctlPong {
					t.Fatal(tr.reason(c))
				}
			}
			after(44 * time.Second)
			if tr.reason(c) != "" {
				t.Fatal(tr.reason(c))
			}
			after(1500 * time.Millisecond)
			if tr.reason(c) != ReasonPingTimeout {
				t.Fatal(tr.reason(c))
			}
		})
	})
	t.Run("pong from the client", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, tr := beating(t, 3)
			if c.receive(eio.Packet{Type: eio.Pong}) || tr.reason(c) != ReasonTransportError {
				t.Fatal(tr.reason(c))
			}
		})
	})
	t.Run("flood of pings", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, tr := beating(t, 3)
			for range maxControlRate {
				c.receive(ping)
			}
			if c.receive(ping) || tr.reason(c) != ReasonTransportError {
				t.Fatal(tr.reason(c))
			}
		})
	})
}

// TestHeartbeat_ControlFrames: T17.
func TestHeartbeat_ControlFrames(t *testing.T) {
	t.Parallel()
	s := newSite(t, Config{})
	c := s.dial(socketQuery)
	c.open()
	body := string(make([]byte, 125))
	c.write(ws.Ping, body)
	if op, got := c.frame(); op != ws.Pong || got != body {
		t.Fatalf("%d %q", op, got)
	}
	for range 2 * maxControlRate {
		if _, err := c.nc.Write(ws.AppendMasked(nil, ws.Pong, false, [4]byte{}, nil)); err != nil {
			break // closed already
		}
	}
	c.expectClose(ws.CodePolicy)
	if got := s.h.reasons(t, 1)[0].reason; got != ReasonTransportError {
		t.Error(got)
	}
}

func TestWheel_FarAndNear(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, _ := beating(t, 4)
		c.mu.Lock()
		c.setDue(int64(10 * time.Minute)) // more than a turn of the wheel
		c.mu.Unlock()
		after(9 * time.Minute)
		if c.takePing() {
			t.Fatal("too early")
		}
		c.mu.Lock()
		c.setDue(c.e.now() + int64(time.Second))
		c.mu.Unlock()
		after(1500 * time.Millisecond)
		if !c.takePing() {
			t.Fatal("hastening has no effect")
		}
	})
}
