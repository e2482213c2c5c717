package sockeye_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/engineio"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/parser"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// bundle is a running server.
type bundle struct {
	*sockeye.Server

	t      testing.TB
	url    string
	faults *recorder
}

// recorder keeps what the error hook is told.
type recorder struct {
	mu   sync.Mutex
	errs []error
}

func (r *recorder) add(_ context.Context, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errs = append(r.errs, err)
}

func (r *recorder) all() []error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]error(nil), r.errs...)
}

func (r *recorder) panics() []string {
	var in []string
	for _, err := range r.all() {
		if pe, ok := errors.AsType[*sockeye.PanicError](err); ok {
			in = append(in, pe.In)
		}
	}
	return in
}

// setup starts a server, which cfg may be missing, and stops it with the test.
func setup(tb testing.TB, cfgs ...sockeye.Config) *bundle {
	tb.Helper()
	b := &bundle{t: tb, faults: &recorder{}}
	var cfg sockeye.Config
	if len(cfgs) > 0 {
		cfg = cfgs[0]
	}
	if cfg.Hooks.Error == nil {
		cfg.Hooks.Error = b.faults.add
	}
	srv, err := sockeye.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	b.Server = srv
	web := httptest.NewServer(srv)
	b.url = web.URL + "/socket.io/"
	tb.Cleanup(func() {
		if err := srv.Close(); err != nil {
			tb.Error(err)
		}
		web.Close()
	})
	return b
}

// message is what a peer received.
type message struct {
	text   string
	binary []byte
	closed engineio.Reason // the connection ended
}

// peer is a client that speaks raw packets.
type peer struct {
	t    testing.TB
	conn *engineio.Conn
	in   chan message
}

func (p *peer) OnOpen(*engineio.Conn, *http.Request) {}

func (p *peer) OnMessage(_ *engineio.Conn, data []byte, binary bool) {
	if binary {
		p.in <- message{binary: append([]byte{}, data...)}
		return
	}
	p.in <- message{text: string(data)}
}

func (p *peer) OnClose(_ *engineio.Conn, r engineio.Reason, _ error) { p.in <- message{closed: r} }

// dial opens an engine connection over WebSocket.
func (b *bundle) dial() *peer { return b.dialWith(engineio.DialConfig{}, "") }

func (b *bundle) dialWith(cfg engineio.DialConfig, query string) *peer {
	b.t.Helper()
	if cfg.Transports == nil {
		cfg.Transports = []string{"websocket"}
	}
	p := &peer{t: b.t, in: make(chan message, 1<<16)}
	conn, err := engineio.Dial(b.t.Context(), b.url+query, cfg, p)
	if err != nil {
		b.t.Fatal(err)
	}
	p.conn = conn
	b.t.Cleanup(func() { _ = conn.Close() }) // of no effect if it has ended
	return p
}

// connect opens a connection and joins a namespace.
func (b *bundle) connect(nsp ...string) (p *peer, id string) {
	b.t.Helper()
	p = b.dial()
	if len(nsp) == 0 {
		nsp = []string{"/"}
	}
	for _, n := range nsp {
		id = p.join(n, "")
	}
	return p, id
}

// join joins a namespace and gives the id of the socket.
func (p *peer) join(nsp, auth string) string {
	p.t.Helper()
	prefix := "0"
	if nsp != "/" {
		prefix += nsp + ","
	}
	p.send(prefix + auth)
	return p.sid(prefix)
}

func (p *peer) sid(prefix string) string {
	p.t.Helper()
	got := p.next()
	if !strings.HasPrefix(got, prefix+`{"sid":"`) {
		p.t.Fatalf("received %q, want the answer to CONNECT %q", got, prefix)
	}
	return got[len(prefix)+8:][:20]
}

func (p *peer) send(packets ...string) {
	p.t.Helper()
	for _, s := range packets {
		if err := p.conn.Send([]byte(s), false); err != nil {
			p.t.Fatalf("send %q: %v", s, err)
		}
	}
}

func (p *peer) sendBinary(b []byte) {
	p.t.Helper()
	if err := p.conn.Send(b, true); err != nil {
		p.t.Fatal(err)
	}
}

// receive waits for one message or the end.
func (p *peer) receive() message {
	p.t.Helper()
	select {
	case m := <-p.in:
		return m
	case <-time.After(testkit.Scale(10 * time.Second)):
		p.t.Fatal("nothing received")
		return message{}
	}
}

// next waits for one text message.
func (p *peer) next() string {
	p.t.Helper()
	m := p.receive()
	switch {
	case m.closed != "":
		p.t.Fatalf("connection ended: %s", m.closed)
	case m.binary != nil:
		p.t.Fatalf("received binary %q", m.binary)
	}
	return m.text
}

func (p *peer) want(texts ...string) {
	p.t.Helper()
	for _, want := range texts {
		if got := p.next(); got != want {
			p.t.Fatalf("received %q, want %q", got, want)
		}
	}
}

func (p *peer) wantBinary(want string) {
	p.t.Helper()
	if m := p.receive(); string(m.binary) != want || m.binary == nil {
		p.t.Fatalf("received %+v, want binary %q", m, want)
	}
}

// ended waits for the end of the connection; anything before it is a fault.
func (p *peer) ended() {
	p.t.Helper()
	if m := p.receive(); m.closed == "" {
		p.t.Fatalf("received %q, want the end of the connection", m.text)
	}
}

// quiet checks that nothing came before the answer to a question that is asked now. The server needs to have echo.
func (p *peer) quiet() {
	p.t.Helper()
	p.send(`2["echo","quiet?"]`)
	p.want(`2["echo","quiet?"]`)
}

// echo makes a server answer "echo" and, with an id, acknowledge it with its arguments.
func echo(l interface {
	On(event string, h sockeye.Handler) (off func())
},
) {
	l.On("echo", sockeye.HandlerFunc(func(ctx context.Context, m *sockeye.Message) error {
		args := make([]any, len(m.Args()))
		for i, a := range m.Args() {
			args[i] = a
		}
		if m.WantsAck() {
			return m.Ack(args...)
		}
		return sockeye.SocketFrom(ctx).Emit("echo", args...)
	}))
}

// get waits for a value from a channel.
func get[T any](tb testing.TB, what string, c <-chan T) T {
	tb.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(testkit.Scale(10 * time.Second)):
		tb.Fatalf("not within the time limit: %s", what)
		panic("unreachable")
	}
}

// logs keeps log lines.
type logs struct {
	mu  sync.Mutex
	buf strings.Builder
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logs) logger() *slog.Logger {
	return slog.New(slog.NewJSONHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func decode(tb testing.TB, text string, v any) {
	tb.Helper()
	if err := json.Unmarshal([]byte(text), v); err != nil {
		tb.Fatalf("%q: %v", text, err)
	}
}

// parserArg is what OfFunc's function gets.
type parserArg = parser.Arg

// connected counts the sockets of a namespace.
func connected(n *sockeye.Namespace) int {
	count := 0
	for range n.Sockets() {
		count++
	}
	return count
}

// rawConn is a WebSocket connection that does nothing by itself: it does not even answer heartbeats.
type rawConn struct{ net.Conn }

func rawWebSocket(tb testing.TB, b *bundle) rawConn {
	tb.Helper()
	return rawWebSocketWith(tb, b, "")
}

// rawWebSocketWith has more in the query.
func rawWebSocketWith(tb testing.TB, b *bundle, query string) rawConn {
	tb.Helper()
	host := strings.TrimPrefix(strings.TrimSuffix(b.url, "/socket.io/"), "http://")
	c, err := net.Dial("tcp", host)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close() }) // it may be closed already
	_, err = io.WriteString(c, "GET /socket.io/?EIO=4&transport=websocket"+query+" HTTP/1.1\r\nHost: "+host+
		"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	if err != nil {
		tb.Fatal(err)
	}
	return rawConn{c}
}

// write sends one short text frame.
func (c rawConn) write(tb testing.TB, text string) {
	tb.Helper()
	frame := append([]byte{0x81, 0x80 | byte(len(text)), 0, 0, 0, 0}, text...)
	if _, err := c.Write(frame); err != nil {
		tb.Fatal(err)
	}
}

// park connects a polling client that never polls, and gives the id of its session.
func (b *bundle) park() (sid string) {
	b.t.Helper()
	return b.parkWith("40")
}

// parkWith is park with the packets that the client sends first.
func (b *bundle) parkWith(packets string) (sid string) {
	b.t.Helper()
	var open struct{ SID string }
	decode(b.t, b.request(http.MethodGet, "", "")[1:], &open)
	b.post(open.SID, packets)
	return open.SID
}

// post sends Engine.IO packets of a parked client.
func (b *bundle) post(sid, packets string) {
	b.t.Helper()
	b.request(http.MethodPost, "&sid="+sid, packets)
}

func (b *bundle) request(method, query, body string) string {
	b.t.Helper()
	w := httptest.NewRecorder()
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	b.ServeHTTP(w, httptest.NewRequest(method, "/socket.io/?EIO=4&transport=polling"+query, r))
	if w.Code != http.StatusOK {
		b.t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}
