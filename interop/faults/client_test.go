package faults

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/engineio"
)

// client is a Socket.IO client of the main namespace that keeps what it gets. It comes back when it is told to.
type client struct {
	t    *testing.T
	auth map[string]any

	mu        sync.Mutex
	conn      *engineio.Conn
	connected bool
	dropped   bool // the connection has ended
	sid, pid  string
	offset    string
	recovered bool
	got       map[string][]int // numbers of events "n", by publisher
	events    []string         // names of the others
	replies   map[int]json.RawMessage
	asked     int
}

// connect connects a client that joins rooms.
func connect(t *testing.T, url string, rooms ...string) *client {
	t.Helper()
	c := &client{t: t, auth: map[string]any{"rooms": rooms}, got: map[string][]int{}, replies: map[int]json.RawMessage{}}
	c.dial(url)
	t.Cleanup(c.close)
	return c
}

// dial connects, also once again, and shows the session that there was.
func (c *client) dial(url string) {
	c.t.Helper()
	c.mu.Lock()
	c.connected, c.dropped = false, false
	pid, offset := c.pid, c.offset
	c.mu.Unlock()
	auth := map[string]any{"rooms": c.auth["rooms"]}
	if pid != "" {
		auth["pid"], auth["offset"] = pid, offset
	}
	text, err := json.Marshal(auth)
	if err != nil {
		c.t.Fatal(err)
	}
	conn, err := engineio.Dial(c.t.Context(), url, engineio.DialConfig{Transports: []string{"websocket"}}, (*handler)(c))
	if err != nil {
		c.t.Fatal(err)
	}
	c.mu.Lock()
	c.conn = conn
	c.mu.Unlock()
	if err := conn.Send(append([]byte("0"), text...), false); err != nil {
		c.t.Fatal(err)
	}
	eventually(c.t, "connected", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.connected
	})
}

func (c *client) close() {
	c.mu.Lock()
	conn := c.conn
	c.mu.Unlock()
	_ = conn.Close() // it may have ended
	eventually(c.t, "the connection ends", c.ended)
}

func (c *client) ended() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dropped
}

// ask sends an event and waits for its acknowledgement, whose first argument goes to reply.
func (c *client) ask(reply any, event string, args ...any) {
	c.t.Helper()
	text, err := json.Marshal(append([]any{event}, args...))
	if err != nil {
		c.t.Fatal(err)
	}
	c.mu.Lock()
	c.asked++
	id, conn := c.asked, c.conn
	c.mu.Unlock()
	if err := conn.Send(fmt.Appendf(nil, "2%d%s", id, text), false); err != nil {
		c.t.Fatal(err)
	}
	var raw json.RawMessage
	eventually(c.t, "an answer to "+event, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		raw = c.replies[id]
		return raw != nil
	})
	if reply == nil {
		return
	}
	if err := json.Unmarshal(raw, &[]any{reply}); err != nil {
		c.t.Fatalf("%s: %v", raw, err)
	}
}

// numbers gives what came of a publisher.
func (c *client) numbers(publisher string) []int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.got[publisher])
}

// count is how many numbers came of a publisher.
func (c *client) count(publisher string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.got[publisher])
}

// last is the last number of a publisher, or -1.
func (c *client) last(publisher string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := c.got[publisher]
	if len(list) == 0 {
		return -1
	}
	return list[len(list)-1]
}

// times counts an event that is not a number.
func (c *client) times(event string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, e := range c.events {
		if e == event {
			n++
		}
	}
	return n
}

// id is that of its socket.
func (c *client) id() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sid
}

// total is how many events came that are no numbers.
func (c *client) total() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.events)
}

// isRecovered tells whether the last connect gave the session back.
func (c *client) isRecovered() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.recovered
}

// handler takes what a client's connection brings.
type handler client

func (h *handler) OnOpen(*engineio.Conn, *http.Request) {}

func (h *handler) OnClose(conn *engineio.Conn, _ engineio.Reason, _ error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.conn == conn || h.conn == nil {
		h.dropped = true
	}
}

func (h *handler) OnMessage(conn *engineio.Conn, data []byte, _ bool) {
	text := string(data)
	switch text[0] {
	case '0':
		h.welcome(text[1:])
	case '2':
		h.event(conn, text[1:])
	case '3':
		at := strings.IndexByte(text, '[')
		id, err := strconv.Atoi(text[1:at])
		if err != nil {
			h.t.Errorf("acknowledgement %q", text)
		}
		h.mu.Lock()
		h.replies[id] = json.RawMessage(text[at:])
		h.mu.Unlock()
	default:
		h.t.Errorf("packet %q", text)
	}
}

func (h *handler) welcome(text string) {
	var hello struct{ SID, PID string }
	if err := json.Unmarshal([]byte(text), &hello); err != nil {
		h.t.Errorf("%q: %v", text, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.recovered = h.pid != "" && h.pid == hello.PID
	h.connected, h.sid, h.pid = true, hello.SID, hello.PID
}

func (h *handler) event(conn *engineio.Conn, text string) {
	at := strings.IndexByte(text, '[')
	var args []any
	if err := json.Unmarshal([]byte(text[at:]), &args); err != nil {
		h.t.Errorf("%q: %v", text, err)
		return
	}
	if at > 0 {
		_ = conn.Send(fmt.Appendf(nil, "3%s[true]", text[:at]), false) // the connection may have ended
	}
	name, _ := args[0].(string)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.pid != "" && at == 0 {
		if offset, ok := args[len(args)-1].(string); ok {
			h.offset = offset
		}
	}
	if name != "n" {
		h.events = append(h.events, name)
		return
	}
	publisher, _ := args[1].(string)
	n, _ := args[2].(float64)
	h.got[publisher] = append(h.got[publisher], int(n))
}

// storm has a server emit numbers until it is stopped.
type storm struct {
	name  string
	stop  chan struct{}
	ended chan struct{}

	mu    sync.Mutex
	sent  int
	acked int
	errs  []error
}

// startStorm has a server emit numbers to all, or to a room, and go on until the end of the test or of the storm. With
// wait each waits until Redis has accepted it.
func startStorm(t *testing.T, s *server, name, room string, wait bool) *storm {
	t.Helper()
	w := &storm{name: name, stop: make(chan struct{}), ended: make(chan struct{})}
	go w.run(t, s, room, wait)
	t.Cleanup(w.end)
	return w
}

// run ends when the storm is stopped.
func (w *storm) run(t *testing.T, s *server, room string, wait bool) {
	defer close(w.ended)
	b := s.Of("/").All()
	if room != "" {
		b = s.To(room)
	}
	pace := time.NewTicker(2 * time.Millisecond)
	defer pace.Stop()
	for i := 0; ; i++ {
		select {
		case <-w.stop:
			return
		case <-pace.C:
		}
		var err error
		if wait {
			err = b.EmitContext(t.Context(), "n", w.name, i)
		} else {
			err = b.Emit("n", w.name, i)
		}
		w.mu.Lock()
		w.sent = i + 1
		if err != nil {
			w.errs = append(w.errs, fmt.Errorf("%d: %w", i, err))
		} else {
			w.acked++
		}
		w.mu.Unlock()
	}
}

// end stops it; also more than once.
func (w *storm) end() {
	w.mu.Lock()
	select {
	case <-w.stop:
	default:
		close(w.stop)
	}
	w.mu.Unlock()
	<-w.ended
}

// finish stops it and gives how many were sent. None must have failed.
func (w *storm) finish(t *testing.T) int {
	t.Helper()
	w.end()
	if len(w.errs) > 0 {
		t.Errorf("%s: %d of %d failed: %v", w.name, len(w.errs), w.sent, w.errs[0])
	}
	return w.sent
}

// count is how many were sent so far.
func (w *storm) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sent
}

// verdict says what became of the numbers from first to before end.
type verdict struct{ lost, doubled, disordered []int }

func (v verdict) String() string {
	return fmt.Sprintf("%d lost %.20v, %d doubled %.20v, %d out of order %.20v",
		len(v.lost), head(v.lost), len(v.doubled), head(v.doubled), len(v.disordered), head(v.disordered))
}

func head(list []int) []int { return list[:min(len(list), 20)] }

// judge compares what came of a publisher with what was sent.
func judge(got []int, first, end int) verdict {
	var v verdict
	seen := make(map[int]bool, len(got))
	highest := -1
	for _, n := range got {
		switch {
		case seen[n]:
			v.doubled = append(v.doubled, n)
		case n < highest:
			v.disordered = append(v.disordered, n)
		}
		seen[n] = true
		highest = max(highest, n)
	}
	for n := first; n < end; n++ {
		if !seen[n] {
			v.lost = append(v.lost, n)
		}
	}
	return v
}

// complete waits for the last number of a storm that has ended and checks that each came once and in order.
func complete(t *testing.T, c *client, w *storm, n int) {
	t.Helper()
	eventually(t, "the last number of "+w.name, func() bool { return c.count(w.name) >= n })
	if v := judge(c.numbers(w.name), 0, n); len(v.lost)+len(v.doubled)+len(v.disordered) > 0 {
		t.Errorf("%s: of %d: %v", w.name, n, v)
	}
}

// ordered checks that nothing came twice or out of order, and tells how many were lost.
func ordered(t *testing.T, c *client, w *storm, n int) (lost int) {
	t.Helper()
	v := judge(c.numbers(w.name), 0, n)
	if len(v.doubled)+len(v.disordered) > 0 {
		t.Errorf("%s: of %d: %v", w.name, n, v)
	}
	return len(v.lost)
}

// orderedButOneTurn is ordered for a stream that ended with its Redis. In one turn Redis gives entries to who reads and
// confirms them. Where it ends in between they are appended again, since the stream that had them is gone: those of that
// turn, which follow each other.
func orderedButOneTurn(t *testing.T, c *client, w *storm, n int) (lost int) {
	t.Helper()
	v := judge(c.numbers(w.name), 0, n)
	if d := v.doubled; len(v.disordered) > 0 || len(d) > 0 && d[len(d)-1]-d[0] != len(d)-1 {
		t.Errorf("%s: of %d: %v", w.name, n, v)
	}
	return len(v.lost)
}

// once checks that nothing came twice, and tells how many were lost and how many out of order.
func once(t *testing.T, c *client, w *storm, n int) (lost, disordered int) {
	t.Helper()
	v := judge(c.numbers(w.name), 0, n)
	if len(v.doubled) > 0 {
		t.Errorf("%s: of %d: %v", w.name, n, v)
	}
	return len(v.lost), len(v.disordered)
}

// reaches has a server emit until something comes, as it does where some may be lost meanwhile.
func reaches(t *testing.T, s *server, room string, c *client) {
	t.Helper()
	name := "probe of " + room
	b := s.Of("/").All()
	if room != "" {
		b = s.To(room)
	}
	first := int(s.probes.Load())
	eventually(t, "what a server emits arrives", func() bool {
		if err := b.Emit("n", name+s.url, s.probes.Add(1)); err != nil {
			t.Fatal(err)
		}
		return c.last(name+s.url) > first
	})
}
