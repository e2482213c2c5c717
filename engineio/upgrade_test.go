package engineio

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/internal/ws"
)

// intact fails if the session does not go on by polling.
func intact(t *testing.T, s *site, query string) {
	t.Helper()
	if r := s.do("POST", query, "4intact"); r.body != "ok" {
		t.Fatalf("%+v", r)
	}
	if r := s.do("GET", query, ""); !strings.Contains(r.body, "4intact") {
		t.Fatalf("%+v", r)
	}
}

func TestUpgrade_Failures(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		cfg   Config
		query func(string) string
		send  []string
		code  uint16
	}{
		{name: "another packet first", send: []string{"4hello"}, code: 1005},
		{name: "another packet after the probe", send: []string{"2probe", "4hello"}, code: 1005},
		{name: "two probes", send: []string{"2probe", "2probe"}, code: 1005},
		{name: "no probe", send: []string{"5"}, code: 1005},
		{name: "other data", send: []string{"2Probe"}, code: 1005},
		{name: "malformed packet", send: []string{"x"}, code: 1005},
		{name: "invalid UTF-8", send: []string{"4\xff"}, code: 1007},
		{name: "timeout", cfg: Config{UpgradeTimeout: time.Millisecond}, send: []string{}, code: 1005},
		{name: "timeout after the probe", cfg: Config{UpgradeTimeout: 50 * time.Millisecond}, send: []string{"2probe"}, code: 1005},
		{name: "upgrades disabled", cfg: Config{DisableUpgrades: true}, send: []string{}, code: 1005},
		{name: "transport polling", query: func(q string) string { return q }, send: []string{}, code: 1005},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, tc.cfg)
			q := s.poll("4")
			uq := strings.Replace(q, "polling", "websocket", 1)
			if tc.query != nil {
				uq = tc.query(q)
			}
			c := s.dial(uq)
			c.send(tc.send...)
			c.expectClose(tc.code)
			intact(t, s, q)
		})
	}
	t.Run("connection lost", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, Config{})
		q := s.poll("4")
		c := s.dial(strings.Replace(q, "polling", "websocket", 1))
		c.send("2probe")
		c.expect("3probe")
		_ = c.nc.Close()
		intact(t, s, q)
		testkit.Eventually(t, "room for another upgrade", func() bool {
			s.h.last(t).mu.Lock()
			defer s.h.last(t).mu.Unlock()
			return s.h.last(t).up == nil
		})
		c = s.dial(strings.Replace(q, "polling", "websocket", 1))
		c.send("2probe")
		c.expect("3probe")
	})
	t.Run("second while probing", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, Config{})
		uq := strings.Replace(s.poll("4"), "polling", "websocket", 1)
		c := s.dial(uq)
		c.send("2probe")
		c.expect("3probe")
		s.dial(uq).expectClose(1005)
		c.send("5", "4hello")
		c.expect("4hello")
	})
	t.Run("session ends while probing", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, Config{})
		q := s.poll("4")
		c := s.dial(strings.Replace(q, "polling", "websocket", 1))
		c.send("2probe")
		c.expect("3probe")
		s.do("POST", q, "1")
		c.expectClose(1005)
	})
}

func TestUpgrade_WhileClosing(t *testing.T) {
	t.Parallel()
	s := newSite(t, Config{})
	q := s.poll("4")
	c := s.dial(strings.Replace(q, "polling", "websocket", 1))
	c.send("2probe")
	c.expect("3probe")
	conn := s.h.last(t)
	_ = conn.Send([]byte("last"), false)
	_ = conn.Close()
	c.send("5")
	c.expect("4last")
	c.expectClose(1005)
	if got := s.h.reasons(t, 1)[0].reason; got != ReasonForcedClose {
		t.Error(got)
	}
}

// upgrading gives a session with a WebSocket whose probe was answered, and its upgrade.
func upgrading(t *testing.T, cfg Config) (s *site, query string, c *socket, u *upgrade) {
	t.Helper()
	s = newSite(t, cfg)
	query = s.poll("4")
	c = s.dial(strings.Replace(query, "polling", "websocket", 1))
	c.send("2probe")
	c.expect("3probe")
	conn := s.h.last(t)
	conn.mu.Lock()
	defer conn.mu.Unlock()
	return s, query, c, conn.up
}

// A timer that could not be stopped any more does not close what has become the transport.
func TestUpgrade_TimeoutTooLate(t *testing.T) {
	t.Parallel()
	s, _, c, u := upgrading(t, Config{})
	c.send("5", "4before")
	c.expect("4before")
	u.expire()
	u.endPoll()
	if err := s.h.last(t).Send([]byte("after"), false); err != nil {
		t.Fatal(err)
	}
	c.expect("4after")
}

// What becomes of the requests of a session that was upgraded, and of the timer of its polling, concerns it no more.
func TestUpgrade_PollingFailsTooLate(t *testing.T) {
	t.Parallel()
	s, q, c, u := upgrading(t, Config{})
	conn := u.c
	conn.mu.Lock()
	old := conn.t.(*polling)
	old.signal = nil // the poll does not hear of the upgrade before its client goes away
	conn.mu.Unlock()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	poll := make(chan struct{})
	go func() { // ends when the request is cancelled below
		defer close(poll)
		r := httptest.NewRequestWithContext(ctx, "GET", "/engine.io/?"+q, http.NoBody)
		s.s.ServeHTTP(httptest.NewRecorder(), r)
	}()
	pending(t, conn)
	c.send("5", "4before")
	c.expect("4before")
	cancel()
	<-poll
	old.unheard()

	conn.mu.Lock()
	conn.state.Store(stateClosing) // as Close does, which may have seen the polling transport before
	conn.mu.Unlock()
	old.shut()
	conn.mu.Lock()
	if old.waiting != nil {
		t.Error("the polling transport waits for a poll")
	}
	conn.state.CompareAndSwap(stateClosing, stateOpen)
	conn.mu.Unlock()
	c.send("4after")
	c.expect("4after")
}

// broken is the answer to a client that takes nothing.
type broken struct{ *httptest.ResponseRecorder }

func (broken) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// Nor does it when the poll that the upgrade ends cannot be answered.
func TestUpgrade_PollUnanswered(t *testing.T) {
	t.Parallel()
	s, q, c, u := upgrading(t, Config{})
	u.stop() // no noop before that of the upgrade
	poll := make(chan struct{})
	go func() { // ends with the upgrade
		defer close(poll)
		s.s.ServeHTTP(broken{httptest.NewRecorder()}, httptest.NewRequest(http.MethodGet, "/engine.io/?"+q, http.NoBody))
	}()
	pending(t, u.c)
	c.send("5", "4before")
	c.expect("4before")
	<-poll
	c.send("4after")
	c.expect("4after")
}

func TestUpgrade_Protocol3(t *testing.T) {
	t.Parallel()
	s := newSite(t, Config{AllowEIO3: true})
	q := s.poll("3")
	uq := strings.Replace(q, "polling", "websocket", 1)
	if _, r := s.handshake(strings.Replace(uq, "EIO=3", "EIO=4", 1)); r.StatusCode != http.StatusBadRequest {
		t.Errorf("another protocol: %s", r.Status)
	}
	c := s.dial(uq + "&b64=1")
	c.send("2probe")
	c.expect("3probe")
	c.send("5")
	testkit.Eventually(t, "the upgrade", func() bool { return s.h.last(t).Transport() == "websocket" })
	_ = s.h.last(t).Send([]byte{1, 2, 3}, true)
	c.expect("b4AQID")
	c.send("2")
	c.expect("3")
	overdue(s.h.last(t))
	c.expectClose(1005) // silence after an upgrade is noticed
	if got := s.h.reasons(t, 1)[0].reason; got != ReasonPingTimeout {
		t.Error(got)
	}
}

// TestUpgrade_Stress sends messages both ways across many upgrades, some of them aborted: none may be lost, doubled or
// out of order.
func TestUpgrade_Stress(t *testing.T) {
	t.Parallel()
	const rounds, messages = 60, 20
	s := newSite(t, Config{})
	var wg sync.WaitGroup
	slots := make(chan struct{}, 8)
	for round := range rounds {
		q := s.poll("4")
		conn := s.h.last(t)
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			uq := strings.Replace(q, "polling", "websocket", 1)
			if round%3 == 0 {
				c := s.dial(uq)
				c.send("2probe")
				_ = c.nc.Close()
				testkit.Eventually(t, "the abort", func() bool {
					conn.mu.Lock()
					defer conn.mu.Unlock()
					return conn.up == nil
				})
			}
			sent := make(chan struct{})
			go func() { // ends when all is queued
				defer close(sent)
				for i := range messages {
					_ = conn.Send([]byte{'a' + byte(i)}, false)
				}
			}()
			var got strings.Builder
			c := s.dial(uq)
			c.send("2probe")
			c.expect("3probe")
			for {
				r := s.do("GET", q, "")
				got.WriteString(strings.NewReplacer("\x1e", "", "4", "", "6", "").Replace(r.body))
				if strings.HasSuffix(r.body, "6") {
					break
				}
			}
			c.send("5")
			<-sent
			for got.Len() < messages {
				if op, text := c.frame(); op == ws.Text {
					got.WriteString(strings.TrimPrefix(text, "4"))
				}
			}
			if want := "abcdefghijklmnopqrst"; got.String() != want {
				t.Errorf("got %q", got.String())
			}
		})
	}
	wg.Wait()
}
