package engineio

import (
	"strings"
	"testing"
	"time"
)

// patientSite is a server that waits long enough for what was overtaken, however slow the machine is.
func patientSite(t *testing.T) *site {
	t.Helper()
	t.Parallel()
	s := newSite(t, Config{})
	s.s.overtake = time.Minute
	return s
}

func TestOvertake_PollBeforeTheEndOfTheUpgrade(t *testing.T) {
	s := patientSite(t)
	q := s.poll("4")
	c := s.dial(strings.Replace(q, "polling", "websocket", 1))
	poll := s.background("GET", q, "")
	c.send("2probe", "5")
	c.expect("3probe")
	if r := <-poll; r.status != 400 {
		t.Errorf("%+v", r)
	}
	c.send("4hello")
	c.expect("4hello")
}

func TestOvertake_MessageDuringTheProbe(t *testing.T) {
	s := patientSite(t)
	q := s.poll("4")
	c := s.dial(strings.Replace(q, "polling", "websocket", 1))
	poll := s.background("GET", q, "")
	if err := s.h.last(t).Send([]byte("hello"), false); err != nil {
		t.Fatal(err)
	}
	if r := <-poll; r.status != 200 || r.body != "4hello" {
		t.Errorf("%+v", r)
	}
	c.send("2probe")
	c.expect("3probe")
}

func TestOvertake_CloseBeforeThePoll(t *testing.T) {
	s := patientSite(t)
	q := s.poll("4")
	post := s.background("POST", q, "1")
	if r := s.do("GET", q, ""); r.status != 200 || r.body != "6" {
		t.Errorf("%+v", r)
	}
	if r := <-post; r.status != 200 || r.body != "ok" {
		t.Errorf("%+v", r)
	}
	if r := s.do("GET", q, ""); r.status != 400 {
		t.Errorf("%+v", r)
	}
}

// Without such a poll nothing waits longer than a moment.
func TestOvertake_IsLimited(t *testing.T) {
	t.Parallel()
	s := newSite(t, Config{})
	q := s.poll("4")
	if r := s.do("POST", q, "1"); r.status != 200 {
		t.Errorf("%+v", r)
	}
	if got := s.h.reasons(t, 1)[0].reason; got != ReasonTransportClose {
		t.Errorf("closed for %q", got)
	}
}
