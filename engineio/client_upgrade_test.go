package engineio

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/internal/ws"
)

func newUpgradable(t *testing.T) *fakeEngine {
	t.Helper()
	f := newFakeEngine(t)
	f.open["upgrades"] = []string{"websocket"}
	return f
}

// release answers polls with noop until the socket gives a frame.
func (f *fakeEngine) release(t *testing.T, s *fakeSocket, noop string) string {
	t.Helper()
	timer := time.NewTimer(testkit.Scale(10 * time.Second))
	defer timer.Stop()
	for {
		select {
		case frame := <-s.frames:
			return frame
		case f.polls <- noop:
		case <-timer.C:
			t.Fatal("no frame within the time limit")
		}
	}
}

// The upgrade packet comes when the pending poll was answered and delivered, and nothing is posted after it.
func TestClient_Upgrade(t *testing.T) {
	t.Parallel()
	for _, protocol := range []int{4, 3} {
		t.Run(fmt.Sprint("protocol ", protocol), func(t *testing.T) {
			t.Parallel()
			f := newUpgradable(t).start()
			h := newRecorder()
			c := dialFake(t, f.URL, DialConfig{Protocol: protocol}, h)
			s := await(t, "the socket", f.sockets)
			s.wantFrames(t, "text:2probe")
			await(t, "a poll", f.polling)
			if err := c.Send([]byte("early"), false); err != nil {
				t.Fatal(err)
			}
			if p := await(t, "a post", f.posts); !strings.Contains(p.body, "early") {
				t.Errorf("posted %q", p.body)
			}
			s.send(ws.Text, "3probe")
			if len(s.frames) > 0 || c.Transport() != "polling" {
				t.Fatal("switched while a poll is pending")
			}
			last, noop := "4last\x1e6", "6"
			if protocol == 3 {
				last, noop = "5:4last1:6", "1:6"
			}
			f.answer(t, last)
			if got := f.release(t, s, noop); got != "text:5" {
				t.Fatalf("frame %q", got)
			}
			h.wantMessages(t, "text:last")
			for len(f.polling) > 0 {
				<-f.polling
			}
			s.send(ws.Text, "4over")
			h.wantMessages(t, "text:over")
			if err := c.Send([]byte("late"), false); err != nil {
				t.Fatal(err)
			}
			s.wantFrames(t, "text:4late")
			if c.Transport() != "websocket" || len(f.posts) > 0 || len(f.polling) > 0 {
				t.Errorf("transport %s, %d posts, %d polls", c.Transport(), len(f.posts), len(f.polling))
			}
			_ = c.Close() // always nil
			s.wantFrames(t, "close:", "end")
			h.wantClose(t, ReasonForcedClose)
		})
	}
}

// deadlined tells of the write deadlines that it is given.
type deadlined struct {
	net.Conn
	deadlines chan time.Time
}

func (c deadlined) SetWriteDeadline(t time.Time) error {
	c.deadlines <- t
	return c.Conn.SetWriteDeadline(t)
}

// The time that the probe has is not that of what is written after the upgrade, maybe much later.
func TestClient_ProbeLeavesNoDeadline(t *testing.T) {
	t.Parallel()
	f := newUpgradable(t).start()
	deadlines := make(chan time.Time, 100)
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		nc, err := new(net.Dialer).DialContext(ctx, network, addr)
		return deadlined{nc, deadlines}, err
	}
	client := &http.Client{Transport: &http.Transport{DialContext: dial}}
	t.Cleanup(client.CloseIdleConnections)
	dialFake(t, f.URL, DialConfig{HTTPClient: client}, newRecorder())
	s := await(t, "the socket", f.sockets)
	s.wantFrames(t, "text:2probe")
	if at := await(t, "the deadline of the probe", deadlines); at.IsZero() {
		t.Error("no deadline")
	}
	if at := await(t, "no deadline after the probe", deadlines); !at.IsZero() {
		t.Error(at)
	}
}

// Messages in both directions while the transport changes arrive once and in order.
func TestClient_UpgradeKeepsOrder(t *testing.T) {
	t.Parallel()
	f := newUpgradable(t).start()
	h := newRecorder()
	c := dialFake(t, f.URL, DialConfig{}, h)
	s := await(t, "the socket", f.sockets)
	const n = 300
	sent := make(chan error, 1)
	go func() { // ends after n messages
		for i := range n {
			if err := c.Send(fmt.Append(nil, i), false); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	s.wantFrames(t, "text:2probe")
	s.send(ws.Text, "3probe")
	first := f.release(t, s, "6")
	next := 0
	check := func(packets []string) {
		for _, p := range packets {
			if p != fmt.Sprint("4", next) {
				t.Fatalf("got %q, want message %d", p, next)
			}
			next++
		}
	}
	if first != "text:5" {
		t.Fatalf("frame %q", first)
	}
	for len(f.posts) > 0 {
		check(strings.Split((<-f.posts).body, "\x1e"))
	}
	for next < n {
		check([]string{strings.TrimPrefix(await(t, "a frame", s.frames), "text:")})
	}
	if err := await(t, "the sender", sent); err != nil {
		t.Fatal(err)
	}
}

// An upgrade that fails does not harm the connection.
func TestClient_UpgradeFails(t *testing.T) {
	t.Parallel()
	for name, socket := range map[string]func(w http.ResponseWriter, r *http.Request) bool{
		"refused": func(w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(http.StatusBadRequest)
			return true
		},
		"wrong answer": func(w http.ResponseWriter, r *http.Request) bool { return probeWith(w, r, ws.Text, "3wrong") },
		"malformed":    func(w http.ResponseWriter, r *http.Request) bool { return probeWith(w, r, ws.Text, "x") },
		"binary":       func(w http.ResponseWriter, r *http.Request) bool { return probeWith(w, r, ws.Binary, "3probe") },
		"closed":       func(w http.ResponseWriter, r *http.Request) bool { return probeWith(w, r, ws.Close, "") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newUpgradable(t)
			over := make(chan struct{})
			f.socket = func(w http.ResponseWriter, r *http.Request) bool {
				defer close(over)
				return socket(w, r)
			}
			f.start()
			h := newRecorder()
			c := dialFake(t, f.URL, DialConfig{}, h)
			<-over
			f.answer(t, "4a")
			h.wantMessages(t, "text:a")
			if err := c.Send([]byte("b"), false); err != nil {
				t.Fatal(err)
			}
			if p := await(t, "a post", f.posts); p.body != "4b" || c.Transport() != "polling" {
				t.Errorf("posted %q on %s", p.body, c.Transport())
			}
		})
	}
}

// probeWith answers a probe and waits until the client closes the socket.
func probeWith(w http.ResponseWriter, r *http.Request, op ws.Op, answer string) bool {
	nc, first, _, err := ws.Accept(w, r, ws.AcceptOptions{})
	if err != nil {
		return true
	}
	s := &fakeSocket{nc: nc, frames: make(chan string, 100)}
	s.send(op, answer)
	s.read(first)
	return true
}

func TestClient_NoUpgrade(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		cfg      DialConfig
		upgrades []string
	}{
		"disabled":    {DialConfig{DisableUpgrades: true}, []string{"websocket"}},
		"not listed":  {DialConfig{Transports: onlyPolling}, []string{"websocket"}},
		"not offered": {DialConfig{}, []string{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFakeEngine(t)
			f.open["upgrades"] = tc.upgrades
			f.start()
			h := newRecorder()
			dialFake(t, f.URL, tc.cfg, h)
			f.answer(t, "4a")
			h.wantMessages(t, "text:a")
			for len(f.requests) > 0 {
				if r := <-f.requests; r.URL.Query().Get("transport") != "polling" {
					t.Errorf("%s", r.URL)
				}
			}
		})
	}
}

// Closing in the middle of an upgrade, at each of its steps.
func TestClient_CloseDuringUpgrade(t *testing.T) {
	t.Parallel()
	for _, step := range []string{"begin", "probed", "answered"} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			f := newUpgradable(t).start()
			h := newRecorder()
			c := dialFake(t, f.URL, DialConfig{}, h)
			if step != "begin" {
				s := await(t, "the socket", f.sockets)
				s.wantFrames(t, "text:2probe")
				if step == "answered" {
					s.send(ws.Text, "3probe")
				}
			}
			_ = c.Close() // always nil
			h.wantClose(t, ReasonForcedClose)
			if _, ok := <-c.e.handler.(*recorder).opened; !ok {
				t.Error("not opened")
			}
		})
	}
}

// Many connections at once, all closed by their servers: nothing is left behind (see TestMain).
func TestClient_ManyLeaveNothing(t *testing.T) {
	t.Parallel()
	f := newFakeEngine(t).start()
	for range 20 {
		h := newRecorder()
		if _, err := Dial(context.Background(), f.URL, DialConfig{Transports: onlyWebSocket}, h); err != nil {
			t.Fatal(err)
		}
		s := await(t, "the socket", f.sockets)
		_ = s.nc.Close() // the end is what is tested
		h.wantClose(t, ReasonTransportClose)
	}
	testkit.Eventually(t, "requests seen", func() bool { return len(f.requests) == 20 })
}
