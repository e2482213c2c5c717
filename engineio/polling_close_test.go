package engineio

import (
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/testkit"
)

func TestConn_ClosePolling(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, eio, want string
		pending         bool
	}{
		{"pending poll", "4", "1", true},
		{"next poll", "4", "6\x1e1", false},
		{"next poll, protocol 3", "3", "1:61:1", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, Config{AllowEIO3: true})
			q := s.poll(tc.eio)
			c := s.h.last(t)
			var got reply
			if tc.pending {
				ch := s.background("GET", q, "")
				pending(t, c)
				_ = c.Close()
				got = <-ch
			} else {
				_ = c.Close()
				got = s.do("GET", q, "")
			}
			want := tc.want
			if tc.pending {
				want = "6\x1e1"
			}
			if got.status != 200 || got.body != want && got.body != tc.want {
				t.Errorf("%+v, want %q", got, tc.want)
			}
			if got := s.h.reasons(t, 1)[0].reason; got != ReasonForcedClose {
				t.Error(got)
			}
			if r := s.do("GET", q, ""); r.status != 400 {
				t.Errorf("%+v", r)
			}
		})
	}
}

// Official clients handle a message a moment after the payload that it came in, and a close at once: a message counts
// only where the close comes by a later poll.
func TestConn_ClosePollingAfterMessages(t *testing.T) {
	t.Parallel()
	closes := map[string]func(*site){
		"close":    func(s *site) { _ = s.h.last(s.t).Close() },
		"shutdown": func(s *site) { background(s.t, func() { _ = s.s.Shutdown(s.t.Context()) }, s.h.last(s.t)) },
	}
	for name, shut := range closes {
		for _, tc := range []struct {
			name, eio, query, last, end string
			pending                     bool
		}{
			{"protocol 4", "4", "", "4last", "6\x1e1", false},
			{"protocol 3", "3", "", "5:4last", "1:61:1", false},
			{"protocol 3, base64", "3", "&b64=1", "5:4last", "1:61:1", false},
			{"script", "4", "&j=0", `___eio[0]("4last");`, `___eio[0]("6\u001e1");`, false},
			{"pending poll", "4", "", "4last", "6\x1e1", true},
		} {
			t.Run(name+", "+tc.name, func(t *testing.T) {
				t.Parallel()
				s := newSite(t, Config{AllowEIO3: true, JSONP: true})
				q := s.poll(tc.eio + tc.query)
				c := s.h.last(t)
				var poll <-chan reply
				if tc.pending {
					poll = s.background("GET", q, "")
					pending(t, c)
				}
				if err := c.Send([]byte("last"), false); err != nil {
					t.Fatal(err)
				}
				shut(s)
				if !tc.pending {
					poll = s.background("GET", q, "")
				}
				if got := <-poll; got.status != 200 || got.body != tc.last {
					t.Errorf("%+v, want %q", got, tc.last)
				}
				if got := c.state.Load(); got != stateClosing {
					t.Errorf("state %d before the client knows of the close", got)
				}
				if got := s.do("GET", q, ""); got.status != 200 || got.body != tc.end {
					t.Errorf("%+v, want %q", got, tc.end)
				}
				if got := s.h.reasons(t, 1)[0].reason; got != ReasonForcedClose {
					t.Error(got)
				}
			})
		}
	}
}

// A poll that is woken while the session ends reads the close all the same.
func TestPolling_WokenWhileEnding(t *testing.T) {
	t.Parallel()
	for reason, want := range map[Reason]string{ReasonPingTimeout: "1", ReasonTransportClose: "6"} {
		s := newSite(t, Config{})
		q := s.poll("4")
		c := s.h.last(t)
		poll := s.background("GET", q, "")
		pending(t, c)
		ended, got := s.s.ended, reply{}
		s.s.ended = func(c *Conn) {
			ended(c)
			c.t.wake() // as of a message that was queued just before
			got = <-poll
		}
		c.end(reason, nil)
		if got.status != 200 || got.body != want {
			t.Errorf("%s: %+v, want %q", reason, got, want)
		}
	}
}

// background runs f, which closes c, and returns when c is closing. The test waits for f.
func background(t testing.TB, f func(), c *Conn) {
	t.Helper()
	var wg sync.WaitGroup
	wg.Go(f)
	t.Cleanup(wg.Wait)
	testkit.Eventually(t, "the connection closes", func() bool { return c.state.Load() != stateOpen })
}

// A client that acts on the last message closes too, rather than poll for the close.
func TestConn_ClosePollingAnswered(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"1", "4ignored\x1e1"} {
		s := newSiteWith(t, Config{PollingCloseWait: time.Hour}, &echo{message: func(_ *Conn, data []byte, _ bool) {
			t.Errorf("%q after Close", data)
		}})
		q := s.poll("4")
		c := s.h.last(t)
		_ = c.Send([]byte("last"), false)
		_ = c.Close()
		if got := s.do("GET", q, ""); got.body != "4last" {
			t.Errorf("%+v", got)
		}
		if got := s.do("POST", q, body); got.status != 200 || got.body != "ok" {
			t.Errorf("%+v", got)
		}
		if got := s.h.reasons(t, 1)[0].reason; got != ReasonForcedClose {
			t.Error(got)
		}
	}
}

// Each poll gives the client the time for the next one.
func TestConn_ClosePollingMessagesUnheard(t *testing.T) {
	t.Parallel()
	s := newSite(t, Config{PollingCloseWait: 10 * time.Millisecond})
	q := s.poll("4")
	c := s.h.last(t)
	poll := s.background("GET", q, "")
	pending(t, c)
	_ = c.Send([]byte("last"), false)
	_ = c.Close()
	if got := <-poll; got.body != "4last" {
		t.Errorf("%+v", got)
	}
	if got := s.h.reasons(t, 1)[0].reason; got != ReasonForcedClose {
		t.Error(got)
	}
}

func TestConn_ClosePollingUnheard(t *testing.T) {
	t.Parallel()
	s := newSite(t, Config{PollingCloseWait: time.Millisecond})
	s.poll("4")
	_ = s.h.last(t).Close()
	if got := s.h.reasons(t, 1)[0].reason; got != ReasonForcedClose {
		t.Error(got)
	}
}
