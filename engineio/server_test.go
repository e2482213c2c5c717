package engineio

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/internal/ws"
)

// echo sends every message back and records how connections end.
type echo struct {
	mu     sync.Mutex
	conns  []*Conn
	closed []closeEvent

	opened  func(c *Conn)
	message func(c *Conn, data []byte, binary bool)
}

type closeEvent struct {
	reason Reason
	err    error
}

func (e *echo) OnOpen(c *Conn, _ *http.Request) {
	e.mu.Lock()
	e.conns = append(e.conns, c)
	e.mu.Unlock()
	if e.opened != nil {
		e.opened(c)
	}
}

func (e *echo) OnMessage(c *Conn, data []byte, binary bool) {
	if e.message != nil {
		e.message(c, data, binary)
		return
	}
	_ = c.Send(data, binary)
}

func (e *echo) OnClose(_ *Conn, reason Reason, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = append(e.closed, closeEvent{reason, err})
}

// last is the connection that was opened last.
func (e *echo) last(t testing.TB) *Conn {
	t.Helper()
	testkit.Eventually(t, "a connection", func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		return len(e.conns) > 0
	})
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.conns[len(e.conns)-1]
}

// reasons waits for n ended connections and gives their reasons.
func (e *echo) reasons(t testing.TB, n int) []closeEvent {
	t.Helper()
	testkit.Eventually(t, fmt.Sprintf("%d closed connections", n), func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		return len(e.closed) >= n
	})
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]closeEvent(nil), e.closed...)
}

// site is a running server.
type site struct {
	t    testing.TB
	s    *Server
	h    *echo
	http *httptest.Server
}

func newSite(t testing.TB, cfg Config) *site { return newSiteWith(t, cfg, &echo{}) }

func newSiteWith(t testing.TB, cfg Config, h *echo) *site {
	t.Helper()
	s, err := NewServer(cfg, h)
	if err != nil {
		t.Fatal(err)
	}
	site := siteOf(t, s)
	site.h = h
	return site
}

func siteOf(t testing.TB, s *Server) *site {
	t.Helper()
	site := &site{t: t, s: s, http: httptest.NewServer(s)}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		site.http.CloseClientConnections()
		site.http.Close()
	})
	return site
}

type reply struct {
	status int
	header http.Header
	body   string
}

// do makes a request; query follows "/engine.io/?".
func (s *site) do(method, query, body string, headers ...string) reply {
	s.t.Helper()
	r, err := s.try(s.t.Context(), method, query, body, headers...)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

func (s *site) try(ctx context.Context, method, query, body string, headers ...string) (reply, error) {
	req, err := http.NewRequestWithContext(ctx, method, s.http.URL+s.s.cfg.Path+"?"+query, strings.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	tr := &http.Transport{DisableCompression: true, DisableKeepAlives: true}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return reply{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, string(b)}, err
}

// background makes a request whose answer comes by the channel.
func (s *site) background(method, query, body string) <-chan reply {
	ch := make(chan reply, 1)
	go func() { // ends when the request is answered, at the latest when the test ends
		r, err := s.try(s.t.Context(), method, query, body)
		if err != nil {
			r.body = err.Error()
		}
		ch <- r
	}()
	return ch
}

// poll opens a polling session of a protocol and gives the query of its requests.
func (s *site) poll(eio string) (query string) {
	s.t.Helper()
	query = "transport=polling&EIO=" + eio
	r := s.do("GET", query, "")
	if r.status != 200 {
		s.t.Fatalf("handshake: %d %s", r.status, r.body)
	}
	return query + "&sid=" + sidOf(s.t, r.body)
}

func sidOf(t testing.TB, body string) string {
	t.Helper()
	body = strings.ReplaceAll(strings.TrimSuffix(body, "\");"), `\"`, `"`) // of JSONP
	var open struct{ SID string }
	if err := json.Unmarshal([]byte(body[strings.IndexByte(body, '{'):]), &open); err != nil {
		t.Fatalf("%q: %v", body, err)
	}
	return open.SID
}

// pending waits until a poll of the connection is pending.
func pending(t testing.TB, c *Conn) {
	t.Helper()
	testkit.Eventually(t, "a pending poll", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		p, ok := c.t.(*polling)
		return ok && p.polled
	})
}

// socket is a WebSocket client as simple as can be.
type socket struct {
	t  testing.TB
	nc net.Conn
	br *bufio.Reader
}

// dial opens a WebSocket; the query goes as it is.
func (s *site) dial(query string, headers ...string) *socket {
	s.t.Helper()
	c, resp := s.handshake(query, headers...)
	if resp.StatusCode != http.StatusSwitchingProtocols {
		b, _ := io.ReadAll(resp.Body)
		s.t.Fatalf("upgrade: %d %s", resp.StatusCode, b)
	}
	return c
}

func (s *site) handshake(query string, headers ...string) (*socket, *http.Response) {
	s.t.Helper()
	return s.handshakeWith(query, nil, headers...)
}

// handshakeWith sends more bytes together with the handshake.
func (s *site) handshakeWith(query string, more []byte, headers ...string) (*socket, *http.Response) {
	s.t.Helper()
	nc, err := net.Dial("tcp", s.http.Listener.Addr().String())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = nc.Close() })
	if err := nc.SetDeadline(time.Now().Add(testkit.Scale(20 * time.Second))); err != nil {
		s.t.Fatal(err)
	}
	key := make([]byte, 16)
	_, _ = rand.Read(key)
	var b bytes.Buffer
	fmt.Fprintf(&b, "GET %s?%s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n",
		s.s.cfg.Path, query, s.http.Listener.Addr(), base64.StdEncoding.EncodeToString(key))
	for i := 0; i < len(headers); i += 2 {
		fmt.Fprintf(&b, "%s: %s\r\n", headers[i], headers[i+1])
	}
	b.WriteString("\r\n")
	b.Write(more)
	if _, err := nc.Write(b.Bytes()); err != nil {
		s.t.Fatal(err)
	}
	br := bufio.NewReader(nc)
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return &socket{t: s.t, nc: nc, br: br}, resp
}

func (c *socket) write(op ws.Op, payload string) {
	c.t.Helper()
	if _, err := c.nc.Write(ws.AppendMasked(nil, op, false, [4]byte{1, 2, 3, 4}, []byte(payload))); err != nil {
		c.t.Fatal(err)
	}
}

func (c *socket) send(texts ...string) {
	c.t.Helper()
	for _, s := range texts {
		c.write(ws.Text, s)
	}
}

// frame reads one frame; op 0 says that the connection has ended.
func (c *socket) frame() (op ws.Op, payload string) {
	c.t.Helper()
	op, payload, err := c.next()
	if err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || isReset(err) {
			return 0, ""
		}
		c.t.Fatal(err)
	}
	return op, payload
}

func isReset(err error) bool {
	return strings.Contains(err.Error(), "connection reset") || strings.Contains(err.Error(), "broken pipe")
}

func (c *socket) next() (op ws.Op, payload string, err error) {
	var head [2]byte
	if _, err := io.ReadFull(c.br, head[:]); err != nil {
		return 0, "", err
	}
	n := int64(head[1] & 0x7f)
	var ext [8]byte
	switch n {
	case 126:
		if _, err := io.ReadFull(c.br, ext[:2]); err != nil {
			return 0, "", err
		}
		n = int64(binary.BigEndian.Uint16(ext[:2]))
	case 127:
		if _, err := io.ReadFull(c.br, ext[:8]); err != nil {
			return 0, "", err
		}
		n = int64(binary.BigEndian.Uint64(ext[:8]))
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(c.br, b); err != nil {
		return 0, "", err
	}
	return ws.Op(head[0] & 15), string(b), nil
}

// expect reads text messages and compares them.
func (c *socket) expect(texts ...string) {
	c.t.Helper()
	for _, want := range texts {
		op, got := c.frame()
		if op != ws.Text || got != want {
			c.t.Fatalf("got frame %d %q, want %q", op, got, want)
		}
	}
}

// open reads the open packet and gives the session id.
func (c *socket) open() string {
	c.t.Helper()
	op, got := c.frame()
	if op != ws.Text || !strings.HasPrefix(got, `0{"sid":"`) {
		c.t.Fatalf("got frame %d %q, want an open packet", op, got)
	}
	return sidOf(c.t, got)
}

// expectClose reads a close frame with the code; 1005 means without payload.
func (c *socket) expectClose(code uint16) {
	c.t.Helper()
	for {
		op, got := c.frame()
		if op == ws.Close {
			if have, _ := ws.ParseClose([]byte(got)); have != code {
				c.t.Fatalf("closed with %d, want %d", have, code)
			}
			return
		}
		if op == 0 {
			c.t.Fatal("ended without a close frame")
		}
	}
}

func TestMain(m *testing.M) { testkit.Main(m) }
