package engineio

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/netpoll"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/internal/ws"
)

func TestConn_OpeningRequest(t *testing.T) {
	t.Parallel()
	s := newSite(t, Config{TrustProxy: func(r *http.Request) bool { return r.Header.Get("X-Proxy") == "1" }})
	s.do("GET", pollQuery+"&a=1&a=2&b=%20+x&c", "", "X-Proxy", "1", "X-Forwarded-For", "6.6.6.6, 10.0.0.7",
		"X-Forwarded-Proto", "https", "X-Odd", "a: b")
	c := s.h.last(t)
	if got := c.Query(); got["a"] != "2" || got["b"] != "  x" || got["EIO"] != "4" || len(got) != 5 {
		t.Errorf("query %v", got)
	}
	h := c.Header()
	if h.Get("X-Odd") != "a: b" || h.Get("Host") != s.http.Listener.Addr().String() {
		t.Errorf("header %v", h)
	}
	if got := c.URL(); got != "/engine.io/?"+pollQuery+"&a=1&a=2&b=%20+x&c" {
		t.Errorf("url %q", got)
	}
	if c.RemoteAddr() != "10.0.0.7" || !c.Secure() || c.Protocol() != 4 || c.Transport() != "polling" {
		t.Error(c.RemoteAddr(), c.Secure(), c.Protocol(), c.Transport())
	}
	if time.Since(c.Opened()) > time.Minute || c.ID() == "" {
		t.Error(c.Opened())
	}
	s.do("GET", pollQuery, "", "X-Forwarded-For", "6.6.6.6", "X-Forwarded-Proto", "https")
	if c := s.h.last(t); c.RemoteAddr() != "127.0.0.1" || c.Secure() {
		t.Error("an untrusted proxy is believed", c.RemoteAddr(), c.Secure())
	}
}

func TestConn_CloseSendsWhatIsQueued(t *testing.T) {
	t.Parallel()
	s := newSite(t, Config{})
	c := s.dial(socketQuery)
	c.open()
	conn := s.h.last(t)
	for i := range 3 {
		if err := conn.Send(fmt.Append(nil, i), false); err != nil {
			t.Fatal(err)
		}
	}
	_ = conn.Close()
	if err := conn.Send([]byte("late"), false); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	c.expect("40", "41", "42")
	c.expectClose(1005)
	if got := s.h.reasons(t, 1)[0].reason; got != ReasonForcedClose {
		t.Error(got)
	}
	if s.s.Conns() != 0 {
		testkit.Eventually(t, "no connection", func() bool { return s.s.Conns() == 0 })
	}
}

func TestConn_PollGone(t *testing.T) {
	t.Parallel()
	s := newSite(t, Config{})
	q := s.poll("4")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { // ends when the request is cancelled below
		_, err := s.try(ctx, "GET", q, "")
		done <- err
	}()
	pending(t, s.h.last(t))
	cancel()
	<-done
	if got := s.h.reasons(t, 1)[0]; got.reason != ReasonTransportError || !errors.Is(got.err, errPollGone) {
		t.Errorf("%+v", got)
	}
}

// gone serves a request whose client has gone away.
func (s *site) gone(method, query, body string) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	cancel()
	r := httptest.NewRequestWithContext(ctx, method, s.s.cfg.Path+"?"+query, strings.NewReader(body))
	s.s.ServeHTTP(httptest.NewRecorder(), r)
}

// A poll that has an answer when its client goes away is not answered: the packets would be lost, and the session go on.
func TestConn_PollGoneWithAnswer(t *testing.T) {
	t.Parallel()
	s := newSite(t, Config{})
	q := s.poll("4")
	if err := s.h.last(t).Send([]byte("lost"), false); err != nil {
		t.Fatal(err)
	}
	s.gone("GET", q, "")
	if got := s.h.reasons(t, 1)[0]; got.reason != ReasonTransportError || !errors.Is(got.err, errPollGone) {
		t.Errorf("%+v", got)
	}
}

// A POST that was not read when its client goes away has ended the session: what is in it would be missing.
func TestConn_PostGoneWhilePaused(t *testing.T) {
	t.Parallel()
	s := newSite(t, Config{})
	q := s.poll("4")
	s.h.last(t).Pause()
	s.gone("POST", q, "4lost")
	if got := s.h.reasons(t, 1)[0]; got.reason != ReasonTransportError || !errors.Is(got.err, errPostGone) {
		t.Errorf("%+v", got)
	}
}

// What ends a connection while Close sends what is queued does not change the reason.
func TestConn_ClosedForOneReason(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(s *site, q string){
		"poll gone":       func(s *site, q string) { s.gone("GET", q, "") },
		"post gone":       func(s *site, q string) { s.gone("POST", q, "4x") },
		"invalid content": func(s *site, q string) { s.do("POST", q, "4x", "Content-Type", "application/octet-stream") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, Config{})
			q := s.poll("4")
			c := s.h.last(t)
			_ = c.Send([]byte("last"), false)
			_ = c.Close()
			end(s, q)
			s.h.last(t).end(ReasonTransportClose, nil) // where end has not done so
			if got := s.h.reasons(t, 1)[0]; got.reason != ReasonForcedClose || got.err != nil {
				t.Errorf("%+v", got)
			}
		})
	}
}

// full gives a connection whose peer does not read, with a queue of three packets or ten bytes.
func full(t *testing.T, policy FullPolicy) (*site, string, *Conn) {
	t.Helper()
	s := newSite(t, Config{Queue: SendQueue{MaxBytes: 10, MaxPackets: 3, OnFull: policy}})
	q := s.poll("4")
	return s, q, s.h.last(t)
}

func TestSendQueue_Policies(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		policy FullPolicy
		send   []string
		errs   []bool
		want   string
	}{
		{"an empty queue takes anything", DropNewest, []string{"123456789012345"}, []bool{false}, "4123456789012345"},
		{"packets", DropNewest, []string{"a", "b", "c", "d"}, []bool{false, false, false, true}, "4a\x1e4b\x1e4c"},
		{"bytes", DropNewest, []string{"12345", "67890", "x"}, []bool{false, false, true}, "412345\x1e467890"},
		{"oldest", DropOldest, []string{"a", "b", "c", "d"}, []bool{false, false, false, false}, "4b\x1e4c\x1e4d"},
		{"oldest, huge", DropOldest, []string{"a", "b", "12345678901"}, []bool{false, false, false}, "412345678901"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s, q, c := full(t, tc.policy)
			for i, text := range tc.send {
				if err := c.Send([]byte(text), false); errors.Is(err, ErrQueueFull) != tc.errs[i] {
					t.Errorf("%q: %v", text, err)
				}
			}
			if r := s.do("GET", q, ""); r.body != tc.want {
				t.Errorf("%q, want %q", r.body, tc.want)
			}
			if b, n := c.Buffered(); b != 0 || n != 0 {
				t.Errorf("buffered %d %d", b, n)
			}
		})
	}
	t.Run("close", func(t *testing.T) {
		t.Parallel()
		s, q, c := full(t, CloseConnection)
		for range 3 {
			if err := c.Send([]byte("x"), false); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Send([]byte("x"), false); !errors.Is(err, ErrQueueFull) {
			t.Fatal(err)
		}
		if got := s.h.reasons(t, 1)[0]; got.reason != ReasonTransportError || !errors.Is(got.err, ErrQueueFull) {
			t.Errorf("%+v", got)
		}
		if r := s.do("GET", q, ""); r.status != 400 {
			t.Errorf("%+v", r)
		}
	})
}

func TestSendPrepared_AllOrNone(t *testing.T) {
	t.Parallel()
	s, q, c := full(t, DropNewest)
	a, b := Prepare([]byte("a"), false), Prepare([]byte("bb"), true)
	if err := c.SendPrepared(SendOptions{}, a, b); err != nil {
		t.Fatal(err)
	}
	if err := c.SendPrepared(SendOptions{}, a, b); !errors.Is(err, ErrQueueFull) {
		t.Fatal(err)
	}
	if err := c.SendPrepared(SendOptions{Force: true}, a, b); err != nil {
		t.Fatal(err)
	}
	if bytes, n := c.Buffered(); bytes != 6 || n != 4 {
		t.Errorf("buffered %d %d", bytes, n)
	}
	if r := s.do("GET", q, ""); r.body != "4a\x1ebYmI=\x1e4a\x1ebYmI=" {
		t.Errorf("%q", r.body)
	}
}

func TestSendPrepared_DropsWholeGroups(t *testing.T) {
	t.Parallel()
	s, q, c := full(t, DropOldest)
	a, b, d := Prepare([]byte("a"), false), Prepare([]byte("b"), true), Prepare([]byte("d"), false)
	_ = c.SendPrepared(SendOptions{}, a, b)
	_ = c.SendPrepared(SendOptions{}, d)
	_ = c.SendPrepared(SendOptions{}, d)
	if r := s.do("GET", q, ""); r.body != "4d\x1e4d" {
		t.Errorf("%q", r.body)
	}
}

func TestSendPrepared_Volatile(t *testing.T) {
	t.Parallel()
	s := newSite(t, Config{})
	q := s.poll("4")
	c := s.h.last(t)
	v := Prepare([]byte("v"), false)
	if err := c.SendPrepared(SendOptions{Volatile: true}, v); !errors.Is(err, ErrDropped) {
		t.Error(err)
	}
	poll := s.background("GET", q, "")
	pending(t, c)
	if err := c.SendPrepared(SendOptions{Volatile: true}, v); err != nil {
		t.Error(err)
	}
	if r := <-poll; r.body != "4v" {
		t.Errorf("%+v", r)
	}
	w := s.dial(socketQuery)
	w.open()
	c = s.h.last(t)
	testkit.Eventually(t, "a volatile message", func() bool { return c.SendPrepared(SendOptions{Volatile: true}, v) == nil })
	w.expect("4v")
}

func TestConn_WaitBuffered(t *testing.T) {
	t.Parallel()
	s := newSite(t, Config{})
	q := s.poll("4")
	c := s.h.last(t)
	_ = c.Send([]byte("12345"), false)
	if err := c.WaitBuffered(t.Context(), 5); err != nil {
		t.Error(err)
	}
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if err := c.WaitBuffered(ctx, 0); !errors.Is(err, cause) {
		t.Error(err)
	}
	done := make(chan error, 2)
	wait := func() { done <- c.WaitBuffered(t.Context(), 0) } // ends when there is room
	go wait()
	s.do("GET", q, "")
	if err := <-done; err != nil {
		t.Error(err)
	}
	_ = c.Send([]byte("12345"), false)
	go wait()
	c.end(ReasonTransportError, nil)
	if err := <-done; !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

func TestConn_WaitRoom(t *testing.T) {
	t.Parallel()
	s := newSite(t, Config{Queue: SendQueue{MaxBytes: 1000, MaxPackets: 10}})
	q := s.poll("4")
	c := s.h.last(t)
	full := errors.New("full")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(full)
	for i, step := range []struct {
		send, packets, size int
		want                error
	}{
		{0, 0, 5000, nil}, // an empty queue takes any
		{400, 1, 600, nil},
		{0, 0, 601, full},
		{100, 1, 500, nil},
		{1, 1, 0, full}, // more than half full
	} {
		for range step.packets {
			_ = c.Send(make([]byte, step.send), false)
		}
		if err := c.WaitRoom(ctx, step.size); !errors.Is(err, step.want) {
			t.Errorf("step %d: %v", i, err)
		}
	}
	s.do("GET", q, "")
	for range 6 {
		_ = c.Send(nil, false)
	}
	if err := c.WaitRoom(ctx, 0); !errors.Is(err, full) {
		t.Errorf("packets: %v", err)
	}
	done := make(chan error, 1)
	go func() { done <- c.WaitRoom(t.Context(), 5000) }() // ends when there is room
	s.do("GET", q, "")
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// overdue has the heartbeat act at once, as if all of its time had passed.
func overdue(c *Conn) {
	c.mu.Lock()
	c.due = c.e.now()
	c.mu.Unlock()
	c.beat()
}

func TestConn_PauseWebSocket(t *testing.T) {
	t.Parallel()
	h := &echo{}
	got := make(chan string, 10)
	h.message = func(c *Conn, data []byte, _ bool) {
		c.Pause()
		got <- string(data)
	}
	s := newSiteWith(t, Config{}, h)
	c := s.dial(socketQuery)
	c.open()
	c.send("4one")
	<-got
	conn := h.last(t)
	// Far beyond the heartbeat's limit: pings go on and nobody fails.
	for range 3 {
		overdue(conn)
		c.expect("2")
	}
	c.send("4two")
	select {
	case m := <-got:
		t.Fatalf("%q while paused", m)
	default:
	}
	conn.Resume()
	if m := <-got; m != "two" {
		t.Fatal(m)
	}
}

func TestConn_PausePolling(t *testing.T) {
	t.Parallel()
	h := &echo{}
	got := make(chan string, 10)
	h.message = func(c *Conn, data []byte, _ bool) {
		c.Pause()
		got <- string(data)
	}
	s := newSiteWith(t, Config{}, h)
	q := s.poll("4")
	post := s.background("POST", q, "4one\x1e4two")
	for _, want := range []string{"one", "two"} { // one body, two pauses
		if m := <-got; m != want {
			t.Fatal(m)
		}
		held(t, h.last(t))
		select {
		case r := <-post:
			t.Fatalf("answered while paused: %+v", r)
		case m := <-got:
			t.Fatalf("%q while paused", m)
		default:
		}
		h.last(t).Resume()
	}
	if r := <-post; r.body != "ok" {
		t.Fatalf("%+v", r)
	}
	h.last(t).Pause()
	post = s.background("POST", q, "4three")
	held(t, h.last(t))
	_ = h.last(t).Close() // ends the pause too, long before the client polls
	if r := <-post; r.status != 200 && r.status != 400 {
		t.Fatalf("%+v", r)
	}
}

// held waits until a request waits for the end of a pause.
func held(t *testing.T, c *Conn) {
	t.Helper()
	testkit.Eventually(t, "a request that is held", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.resumed != nil
	})
}

// A client that gives up while its body is held loses the rest of it, and therefore the session.
func TestConn_PausePollingGone(t *testing.T) {
	t.Parallel()
	h := &echo{}
	got := make(chan string, 10)
	h.message = func(c *Conn, data []byte, _ bool) {
		c.Pause()
		got <- string(data)
	}
	s := newSiteWith(t, Config{}, h)
	q := s.poll("4")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { // ends with ctx
		_, err := s.try(ctx, "POST", q, "4one\x1e4two")
		done <- err
	}()
	<-got
	held(t, h.last(t))
	cancel()
	if err := <-done; err == nil {
		t.Error("answered while paused")
	}
	if r := h.reasons(t, 1)[0]; r.reason != ReasonTransportError || !errors.Is(r.err, errPostGone) {
		t.Errorf("%+v", r)
	}
	if len(got) > 0 {
		t.Errorf("%q came after all", <-got)
	}
}

func TestConn_CallsDoNotOverlap(t *testing.T) {
	t.Parallel()
	const conns, messages = 8, 200
	var mu sync.Mutex
	busy, next, closed := map[*Conn]bool{}, map[*Conn]int{}, map[*Conn]bool{}
	h := &echo{}
	h.message = func(c *Conn, data []byte, _ bool) {
		mu.Lock()
		if busy[c] || closed[c] {
			t.Error("a call overlaps another or follows OnClose")
		}
		busy[c] = true
		if string(data) != strconv.Itoa(next[c]) {
			t.Errorf("got %q, want %d", data, next[c])
		}
		next[c]++
		mu.Unlock()
		_ = c.Send(data, false)
		mu.Lock()
		busy[c] = false
		mu.Unlock()
	}
	s := newSiteWith(t, Config{}, h)
	var wg sync.WaitGroup
	for range conns {
		c := s.dial(socketQuery)
		c.open()
		wg.Go(func() {
			for i := range messages {
				c.send(fmt.Sprintf("4%d", i))
			}
		})
		wg.Go(func() {
			for i := range messages {
				c.expect(fmt.Sprintf("4%d", i))
			}
			c.write(ws.Close, "")
		})
	}
	wg.Wait()
	s.h.reasons(t, conns)
}

func TestServer_Shutdown(t *testing.T) {
	t.Parallel()
	s := newSite(t, Config{})
	q := s.poll("4")
	poll := s.background("GET", q, "")
	pending(t, s.h.last(t))
	c := s.dial(socketQuery)
	c.open()
	_ = s.h.last(t).Send([]byte("bye"), false)
	if err := s.s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.expect("4bye")
	c.expectClose(1005)
	if r := <-poll; !strings.HasSuffix(r.body, "1") {
		t.Errorf("%+v", r)
	}
	for _, got := range s.h.reasons(t, 2) {
		if got.reason != ReasonForcedClose {
			t.Errorf("%+v", got)
		}
	}
	if r := s.do("GET", pollQuery, ""); r.status != 503 {
		t.Errorf("%+v", r)
	}
	if _, r := s.handshake(socketQuery); r.StatusCode != http.StatusServiceUnavailable {
		t.Error(r.Status)
	}
	if err := s.s.Close(); err != nil {
		t.Error(err)
	}
}

func TestServer_ShutdownAtMost(t *testing.T) {
	t.Parallel()
	s := newSite(t, Config{})
	s.poll("4") // nobody will come for the close packet
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.s.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if got := s.h.reasons(t, 1)[0]; got.reason != ReasonForcedClose || !errors.Is(got.err, errServerClosed) {
		t.Errorf("%+v", got)
	}
}

// The handler is told of an end that comes while it is told of the opening, afterwards.
func TestServer_CloseWhileOpening(t *testing.T) {
	t.Parallel()
	for _, query := range []string{pollQuery, socketQuery} {
		for _, shutdown := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s %v", query, shutdown), func(t *testing.T) {
				t.Parallel()
				opening, closed := make(chan struct{}), make(chan struct{})
				h := &echo{opened: func(*Conn) {
					close(opening)
					<-closed
				}}
				s := newSiteWith(t, Config{PollingCloseWait: time.Millisecond}, h)
				var wg sync.WaitGroup
				wg.Go(func() {
					if query == pollQuery {
						s.do("GET", query, "")
						return
					}
					s.dial(query).frame()
				})
				<-opening
				wg.Go(func() {
					if shutdown {
						_ = s.s.Shutdown(t.Context())
						return
					}
					_ = s.s.Close()
				})
				testkit.Eventually(t, "the close", func() bool { return h.last(t).state.Load() != stateOpen })
				close(closed)
				wg.Wait()
				if got := h.reasons(t, 1); got[0].reason != ReasonForcedClose {
					t.Errorf("%+v", got)
				}
			})
		}
	}
}

// The server may close between any two steps of an opening.
func TestServer_CloseWhileMany(t *testing.T) {
	t.Parallel()
	for range 20 {
		s := newSite(t, Config{})
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				if i%2 == 0 {
					_, _ = s.try(t.Context(), "GET", pollQuery, "")
					return
				}
				if c, r := s.handshake(socketQuery); r.StatusCode == http.StatusSwitchingProtocols {
					_, _, _ = c.next()
				}
			})
		}
		if err := s.s.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
		if n := s.s.Conns(); n != 0 {
			t.Errorf("%d connections", n)
		}
	}
}

// watched tells when its connections are waited for, and when they are closed.
type watched struct {
	netpoll.Driver
	waits, closes chan struct{}
}

func (w watched) Idle() <-chan struct{} {
	close(w.waits)
	return w.Driver.Idle()
}

func (w watched) Close() error {
	close(w.closes)
	return w.Driver.Close()
}

// What the kernel has taken is not at the client yet: Shutdown waits until WebSockets have ended.
func TestServer_ShutdownWaitsForWebSockets(t *testing.T) {
	t.Parallel()
	s := newSite(t, Config{})
	driver := watched{s.s.driver, make(chan struct{}), make(chan struct{})}
	s.s.driver, s.s.goodbye = driver, time.Hour
	c := s.dial(socketQuery)
	c.open()
	last := "4" + strings.Repeat("x", 100_000)
	if err := s.h.last(t).Send([]byte(last[1:]), false); err != nil {
		t.Fatal(err)
	}
	background(t, func() { _ = s.s.Shutdown(t.Context()) }, s.h.last(t))
	select {
	case <-driver.waits:
	case <-driver.closes:
		t.Fatal("closed while the client has read nothing")
	}
	c.send("4busy")
	c.expect(last)
	c.expectClose(1005)
	_ = c.nc.Close()
	<-driver.closes
}
