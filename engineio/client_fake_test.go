package engineio

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/internal/ws"
)

// fakeEngine is a scripted server: the test answers polls, and sees what is posted and the sockets.
type fakeEngine struct {
	*httptest.Server

	open     map[string]any                                    // of the open packet
	after    string                                            // follows it in the answer to the polling handshake
	polls    chan string                                       // answers of polls; "!400" is a refusal
	polling  chan struct{}                                     // told of each poll
	posts    chan fakePost                                     // bodies
	sockets  chan *fakeSocket                                  // accepted
	requests chan *http.Request                                // every one
	refuse   http.HandlerFunc                                  // answers in place of the fake, if not nil
	socket   func(w http.ResponseWriter, r *http.Request) bool // true: handled
}

type fakePost struct{ body, kind string }

func newFakeEngine(t *testing.T) *fakeEngine {
	t.Helper()
	f := &fakeEngine{
		open: map[string]any{
			"sid": "fake-session-id-0000", "upgrades": []string{}, "pingInterval": 25000, "pingTimeout": 20000, "maxPayload": 1000000,
		},
		polls: make(chan string), polling: make(chan struct{}, 1000), posts: make(chan fakePost, 1000),
		sockets: make(chan *fakeSocket, 10), requests: make(chan *http.Request, 1000),
	}
	f.Server = httptest.NewUnstartedServer(http.HandlerFunc(f.serve))
	t.Cleanup(f.Close)
	return f
}

func (f *fakeEngine) start() *fakeEngine {
	f.Start()
	return f
}

func (f *fakeEngine) openPacket() string {
	raw, _ := json.Marshal(f.open) // a map of strings and numbers
	return "0" + string(raw)
}

func (f *fakeEngine) serve(w http.ResponseWriter, r *http.Request) {
	f.requests <- r
	q := r.URL.Query()
	switch {
	case f.refuse != nil:
		f.refuse(w, r)
	case q.Get("transport") == "websocket":
		f.upgrade(w, r)
	case r.Method == http.MethodPost:
		body, _ := io.ReadAll(r.Body) // an error shows in the body
		f.posts <- fakePost{string(body), r.Header.Get("Content-Type")}
		_, _ = io.WriteString(w, "ok") // the client may be gone
	case q.Get("sid") == "":
		body := f.openPacket()
		if q.Get("EIO") == "3" {
			body = strconv.Itoa(len(body)) + ":" + body
		}
		_, _ = io.WriteString(w, body+f.after) // the client may be gone
	default:
		f.polling <- struct{}{}
		select {
		case answer := <-f.polls:
			if strings.HasPrefix(answer, "\x00") || strings.HasPrefix(answer, "\x01") {
				w.Header().Set("Content-Type", "application/octet-stream")
			}
			if status, isRefusal := strings.CutPrefix(answer, "!"); isRefusal {
				code, _ := strconv.Atoi(status) // ours
				w.WriteHeader(code)
				return
			}
			_, _ = io.WriteString(w, answer) // the client may be gone
		case <-r.Context().Done():
		}
	}
}

func (f *fakeEngine) upgrade(w http.ResponseWriter, r *http.Request) {
	if f.socket != nil && f.socket(w, r) {
		return
	}
	nc, first, deflate, err := ws.Accept(w, r, ws.AcceptOptions{Deflate: true})
	if err != nil {
		return
	}
	s := &fakeSocket{nc: nc, frames: make(chan string, 1000), deflate: deflate}
	if r.URL.Query().Get("sid") == "" {
		s.send(ws.Text, f.openPacket())
	}
	f.sockets <- s
	s.read(first)
}

// fakeSocket is the server's end. Frames are told as "text:…", "binary:…", "ping:…", "pong:…", "close:…", and "end".
type fakeSocket struct {
	nc      net.Conn
	frames  chan string
	deflate bool
}

func (s *fakeSocket) send(op ws.Op, payload string) {
	_, _ = s.nc.Write(ws.AppendFrame(nil, op, []byte(payload))) // the client may be gone
}

func (s *fakeSocket) read(first []byte) {
	defer s.nc.Close()
	r := ws.NewReader(&ws.ReaderConfig{MaxMessage: 1 << 30, Deflate: s.deflate})
	names := map[ws.Op]string{ws.Text: "text:", ws.Binary: "binary:", ws.Ping: "ping:", ws.Pong: "pong:", ws.Close: "close:"}
	sink := sinkFunc(func(op ws.Op, p []byte) error {
		s.frames <- names[op] + string(p)
		if op == ws.Close {
			s.send(ws.Close, string(p))
			return io.EOF
		}
		return nil
	})
	buf := make([]byte, 4096)
	err := r.Feed(first, sink)
	for err == nil {
		var n int
		n, err = s.nc.Read(buf)
		if ferr := r.Feed(buf[:n], sink); ferr != nil {
			err = ferr
		}
	}
	s.frames <- "end"
}

// recorder is a Handler that tells everything.
type recorder struct {
	opened   chan *Conn
	messages chan string // "text:…" or "binary:…"
	closed   chan recordedClose
	onOpen   func(c *Conn)
	onMsg    func(c *Conn, data []byte)
}

type recordedClose struct {
	reason Reason
	err    error
}

func newRecorder() *recorder {
	return &recorder{opened: make(chan *Conn, 1), messages: make(chan string, 10000), closed: make(chan recordedClose, 10)}
}

func (r *recorder) OnOpen(c *Conn, _ *http.Request) {
	r.opened <- c
	if r.onOpen != nil {
		r.onOpen(c)
	}
}

func (r *recorder) OnMessage(c *Conn, data []byte, binary bool) {
	kind := "text:"
	if binary {
		kind = "binary:"
	}
	r.messages <- kind + string(data)
	if r.onMsg != nil {
		r.onMsg(c, data)
	}
}

func (r *recorder) OnClose(_ *Conn, reason Reason, err error) { r.closed <- recordedClose{reason, err} }

// await gives the next value, or fails the test after a while.
func await[T any](tb testing.TB, what string, ch <-chan T) (v T) {
	tb.Helper()
	timer := time.NewTimer(testkit.Scale(10 * time.Second))
	defer timer.Stop()
	select {
	case v = <-ch:
	case <-timer.C:
		tb.Fatalf("not within the time limit: %s", what)
	}
	return v
}

func (r *recorder) wantMessages(t *testing.T, want ...string) {
	t.Helper()
	for _, w := range want {
		if got := await(t, "message "+w, r.messages); got != w {
			t.Fatalf("message %.80q, want %.80q", got, w)
		}
	}
}

func (r *recorder) wantClose(t *testing.T, want Reason) error {
	t.Helper()
	got := await(t, "OnClose", r.closed)
	if got.reason != want {
		t.Fatalf("closed with %q, %v; want %q", got.reason, got.err, want)
	}
	return got.err
}

// dialFake dials and closes the connection with the test.
func dialFake(t *testing.T, url string, cfg DialConfig, h Handler) *Conn {
	t.Helper()
	c, err := Dial(context.Background(), url, cfg, h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.end(ReasonForcedClose, nil) })
	return c
}

func wantTransportError(t *testing.T, err error) *TransportError {
	t.Helper()
	var te *TransportError
	if !errors.As(err, &te) {
		t.Fatalf("err = %v (%T)", err, err)
	}
	return te
}

var (
	onlyPolling   = []string{"polling"}
	onlyWebSocket = []string{"websocket"}
)
