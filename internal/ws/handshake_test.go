package ws

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/testkit"
)

// accepted is what Accept returned.
type accepted struct {
	nc      net.Conn
	first   []byte
	deflate bool
	err     error
}

// serve starts a server that accepts everything, and gives its address.
func serve(t *testing.T, o AcceptOptions) (addr string, results <-chan accepted) {
	t.Helper()
	ch := make(chan accepted, 100)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		nc, first, deflate, err := Accept(w, r, o)
		if nc != nil {
			t.Cleanup(func() { _ = nc.Close() })
		}
		ch <- accepted{nc, first, deflate, err}
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String(), ch
}

// exchangeRaw sends a request as it is and reads the answer.
func exchangeRaw(t *testing.T, addr, request string) (*http.Response, *bufio.Reader, net.Conn) {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(testkit.Scale(20 * time.Second)))
	if _, err := io.WriteString(nc, request); err != nil {
		t.Fatal(err)
	}
	br := bufio.NewReader(nc)
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		t.Fatal(err)
	}
	return resp, br, nc
}

const sampleKey = "dGhlIHNhbXBsZSBub25jZQ=="

// upgrade is a request with lines added; a line "Name:" without value takes the default one away.
func upgrade(lines ...string) string {
	var b strings.Builder
	b.WriteString("GET /x HTTP/1.1\r\nHost: a\r\n")
	for _, line := range []string{"Connection: keep-alive, Upgrade", "Upgrade: WebSocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: " + sampleKey} {
		name, _, _ := strings.Cut(line, ":")
		given := false
		for _, l := range lines {
			given = given || strings.HasPrefix(l, name+":")
		}
		if !given {
			b.WriteString(line + "\r\n")
		}
	}
	for _, l := range lines {
		if !strings.HasSuffix(l, ":") {
			b.WriteString(l + "\r\n")
		}
	}
	return b.String() + "\r\n"
}

func TestAccept_Answer(t *testing.T) {
	t.Parallel()
	addr, results := serve(t, AcceptOptions{Header: http.Header{
		"X-A": {"1", "2\r\nX-Evil: 3"}, "Upgrade": {"h2c"}, "Content-Length": {"5"}, "Bad Name": {"x"},
	}})
	resp, _, _ := exchangeRaw(t, addr, upgrade())
	if resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Errorf("%v %v", resp.StatusCode, resp.Header)
	}
	if got := resp.Header["X-A"]; len(got) != 2 || got[1] != "2  X-Evil: 3" {
		t.Errorf("X-A: %q", got)
	}
	for _, name := range []string{"X-Evil", "Content-Length", "Bad Name", "Sec-Websocket-Extensions", "Sec-Websocket-Protocol"} {
		if resp.Header[name] != nil {
			t.Errorf("%s: %q", name, resp.Header[name])
		}
	}
	if got := resp.Header["Upgrade"]; len(got) != 1 || got[0] != "websocket" {
		t.Errorf("Upgrade: %q", got)
	}
	if res := <-results; res.err != nil || res.deflate || len(res.first) != 0 {
		t.Errorf("%+v", res)
	}
}

func TestAccept_Refusals(t *testing.T) {
	t.Parallel()
	addr, results := serve(t, AcceptOptions{Deflate: true})
	tests := []struct {
		name, request string
		status        int
		text          string
	}{
		{"POST", strings.Replace(upgrade("Content-Length: 0"), "GET", "POST", 1), 405, "Invalid HTTP method"},
		{"HTTP/1.0", strings.Replace(upgrade(), "HTTP/1.1", "HTTP/1.0", 1), 400, "Invalid HTTP version"},
		{"no upgrade", upgrade("Upgrade:"), 400, "Invalid Upgrade header"},
		{"other upgrade", upgrade("Upgrade: h2c"), 400, "Invalid Upgrade header"},
		{"no connection token", upgrade("Connection: keep-alive"), 400, "Invalid Upgrade header"},
		{"no key", upgrade("Sec-WebSocket-Key:"), 400, "Missing or invalid Sec-WebSocket-Key header"},
		{"short key", upgrade("Sec-WebSocket-Key: abc="), 400, "Missing or invalid Sec-WebSocket-Key header"},
		{"key not base64", upgrade("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j*Q=="), 400, "Missing or invalid Sec-WebSocket-Key header"},
		{"two keys", upgrade("Sec-WebSocket-Key: "+sampleKey, "Sec-WebSocket-Key: "+sampleKey), 400, "Missing or invalid Sec-WebSocket-Key header"},
		{"no version", upgrade("Sec-WebSocket-Version:"), 400, textVersion},
		{"version 12", upgrade("Sec-WebSocket-Version: 12"), 400, textVersion},
		{"bad protocol", upgrade("Sec-WebSocket-Protocol: a b"), 400, "Invalid Sec-WebSocket-Protocol header"},
		{"empty protocol", upgrade("Sec-WebSocket-Protocol: a,,b"), 400, "Invalid Sec-WebSocket-Protocol header"},
		{"protocol of spaces", upgrade("Sec-WebSocket-Protocol: x" + strings.Repeat(" ", 16<<10) + "y"), 400, "Invalid Sec-WebSocket-Protocol header"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { // the results are shared
			resp, _, _ := exchangeRaw(t, addr, tt.request)
			body, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != tt.status || string(body) != tt.text {
				t.Errorf("%d %q %v", resp.StatusCode, body, err)
			}
			if (resp.Header.Get("Sec-WebSocket-Version") == "13, 8") != (tt.text == textVersion) {
				t.Errorf("version header %q", resp.Header.Get("Sec-WebSocket-Version"))
			}
			if !resp.Close {
				t.Error("connection kept")
			}
			var e *HandshakeError
			if res := <-results; !errors.As(res.err, &e) || e.Status != tt.status || res.nc != nil {
				t.Errorf("%+v", res)
			}
		})
	}
}

func TestAccept_Version8(t *testing.T) {
	t.Parallel()
	addr, _ := serve(t, AcceptOptions{})
	if resp, _, _ := exchangeRaw(t, addr, upgrade("Sec-WebSocket-Version: 8")); resp.StatusCode != http.StatusSwitchingProtocols {
		t.Error(resp.Status)
	}
}

// Bytes in the same packet as the request are handed over, whatever they are.
func TestAccept_BytesAfterTheRequest(t *testing.T) {
	t.Parallel()
	addr, results := serve(t, AcceptOptions{})
	for _, more := range []string{"test", string(frame(fin|1, "hi")), strings.Repeat("z", 3000)} {
		resp, _, nc := exchangeRaw(t, addr, upgrade()+more)
		if resp.StatusCode != http.StatusSwitchingProtocols {
			t.Fatal(resp.Status)
		}
		res := <-results
		if cap(res.first) > 2*len(more)+64 {
			t.Errorf("%d bytes kept for %d", cap(res.first), len(more))
		}
		_ = nc.(*net.TCPConn).CloseWrite()
		rest, err := io.ReadAll(res.nc)
		if got := string(res.first) + string(rest); got != more || err != nil {
			t.Errorf("got %q %v, want %q", got, err, more)
		}
	}
}

func TestAccept_Subprotocol(t *testing.T) {
	t.Parallel()
	addr, _ := serve(t, AcceptOptions{})
	if resp, _, _ := exchangeRaw(t, addr, upgrade("Sec-WebSocket-Protocol: chat , superchat")); resp.Header.Get("Sec-WebSocket-Protocol") != "chat" {
		t.Error(resp.Header)
	}
	addr, _ = serve(t, AcceptOptions{Header: http.Header{"Sec-Websocket-Protocol": {"superchat"}}})
	if resp, _, _ := exchangeRaw(t, addr, upgrade("Sec-WebSocket-Protocol: chat, superchat")); strings.Join(resp.Header["Sec-Websocket-Protocol"], "|") != "superchat" {
		t.Error(resp.Header)
	}
}

func TestNegotiate(t *testing.T) {
	t.Parallel()
	const d = "permessage-deflate"
	tests := []struct {
		name  string
		lines []string
		want  string
	}{
		{"none", nil, ""},
		{"plain", []string{d}, agreed},
		{"case", []string{"Permessage-Deflate"}, agreed},
		{"browser", []string{d + "; client_max_window_bits"}, agreed},
		{"all", []string{d + "; server_no_context_takeover ;client_no_context_takeover; client_max_window_bits=10;server_max_window_bits=15"}, agreed + "; server_max_window_bits=15"},
		{"quoted", []string{d + `; client_max_window_bits="10"; server_max_window_bits="15"`}, agreed + "; server_max_window_bits=15"},
		{"second offer", []string{d + "; server_max_window_bits=10, " + d}, agreed},
		{"second line", []string{"foo", d}, agreed},
		{"after another", []string{`foo; x="a, b; \" ,", ` + d}, agreed},
		{"small window", []string{d + "; server_max_window_bits=14"}, ""},
		{"window without value", []string{d + "; server_max_window_bits"}, ""},
		{"window 16", []string{d + "; client_max_window_bits=16"}, ""},
		{"window 08", []string{d + "; client_max_window_bits=08"}, ""},
		{"window 7", []string{d + "; client_max_window_bits=7"}, ""},
		{"twice", []string{d + "; client_max_window_bits; client_max_window_bits"}, ""},
		{"value where none belongs", []string{d + "; server_no_context_takeover=1"}, ""},
		{"unknown parameter", []string{d + "; foo"}, ""},
		{"empty parameter", []string{d + ";;"}, ""},
		{"constructor", []string{"constructor"}, ""},
		{"prototype names", []string{"hasOwnProperty, toString, __proto__", "foo; constructor; __proto__=1"}, ""},
		{"commas", []string{strings.Repeat(",", 16<<10)}, ""},
		{"spaces", []string{strings.Repeat(" ", 16<<10)}, ""},
		{"semicolons", []string{d + strings.Repeat("; ", 8<<10)}, ""},
		{"open quote", []string{`foo; a="` + strings.Repeat(`\`, 16<<10-1)}, ""},
		{"equals", []string{d + "; client_max_window_bits" + strings.Repeat("=", 16<<10)}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := negotiate(http.Header{"Sec-Websocket-Extensions": tt.lines}); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// Headers made to be slow cost nothing that grows faster than they do.
func TestAccept_HostileHeaders(t *testing.T) {
	t.Parallel()
	addr, results := serve(t, AcceptOptions{Deflate: true})
	for _, value := range []string{
		strings.Repeat(",", 16<<10), strings.Repeat(" ", 16<<10) + "x", "constructor", "foo; constructor",
		"hasOwnProperty", "toString", strings.Repeat("a;", 8<<10), strings.Repeat(`"`, 16<<10),
	} {
		resp, _, _ := exchangeRaw(t, addr, upgrade("Sec-WebSocket-Extensions: "+value))
		if res := <-results; resp.StatusCode != http.StatusSwitchingProtocols || res.deflate || resp.Header["Sec-Websocket-Extensions"] != nil {
			t.Errorf("%.20q: %v %v", value, resp.Status, resp.Header)
		}
	}
	many := make([]string, 2000)
	for i := range many {
		many[i] = "X-" + strings.Repeat("x", i%50) + ": 1"
	}
	resp, _, _ := exchangeRaw(t, addr, upgrade(many...))
	if resp.StatusCode != http.StatusSwitchingProtocols && resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge && resp.StatusCode != http.StatusBadRequest {
		t.Error(resp.Status)
	}
}

func TestAccept_NotHijackable(t *testing.T) {
	t.Parallel()
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(upgrade())))
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	if _, _, _, err := Accept(w, r, AcceptOptions{}); !errors.Is(err, http.ErrNotSupported) || w.Code != 500 {
		t.Error(err, w.Code)
	}
}

func TestDial_ToAccept(t *testing.T) {
	t.Parallel()
	for _, deflate := range []bool{false, true} {
		addr, results := serve(t, AcceptOptions{Deflate: deflate})
		for _, offer := range []bool{false, true} {
			u := &url.URL{Scheme: "ws", Host: addr, Path: "/x"}
			nc, first, got, resp, err := Dial(context.Background(), u, DialOptions{Deflate: offer, Header: http.Header{"Host": {"other"}}})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = nc.Close() })
			res := <-results
			if got != (deflate && offer) || res.deflate != got || len(first) != 0 || resp.StatusCode != http.StatusSwitchingProtocols || res.err != nil {
				t.Errorf("%v %v: %v %+v", deflate, offer, got, res)
			}
		}
	}
}

func TestDial_TLS(t *testing.T) {
	t.Parallel()
	accept := make(chan string, 1)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		nc, _, _, err := Accept(w, r, AcceptOptions{})
		if err != nil {
			t.Error(err)
			return
		}
		accept <- r.Host + r.Header.Get("Authorization")
		_, _ = nc.Write(AppendFrame(nil, Text, []byte("hi"))) // the client checks
		_ = nc.Close()
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // a failed handshake is wanted
	s.StartTLS()
	t.Cleanup(s.Close)
	u, err := url.Parse(strings.Replace(s.URL, "https", "wss", 1))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, _, _, err := Dial(context.Background(), u, DialOptions{}); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("self-signed certificate: %v", err)
	}
	cfg := s.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	cfg.ServerName = "example.com"
	u.User = url.UserPassword("u", "p")
	nc, first, _, _, err := Dial(context.Background(), u, DialOptions{TLS: cfg, Header: http.Header{"host": {"example.com"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	rest, err := io.ReadAll(nc)
	if got := string(first) + string(rest); got != "\x81\x02hi" || err != nil {
		t.Errorf("%q %v", got, err)
	}
	if got := <-accept; got != "example.comBasic dTpw" {
		t.Errorf("%q", got)
	}
}

// answering serves one connection with a fixed answer.
func answering(t *testing.T, answer string) *url.URL {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	ready := make(chan struct{})
	go func() { // ends when it has answered or the listener is closed
		defer close(ready)
		nc, err := l.Accept()
		if err != nil {
			return
		}
		defer nc.Close()
		r, err := http.ReadRequest(bufio.NewReader(nc))
		if err != nil {
			return
		}
		answer := strings.ReplaceAll(answer, "$ACCEPT", acceptKey(r.Header.Get("Sec-WebSocket-Key")))
		_, _ = io.WriteString(nc, answer) // the client checks
		if answer == "" {
			_, _ = io.Copy(io.Discard, nc) // until the client gives up
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-ready })
	return &url.URL{Scheme: "http", Host: l.Addr().String()}
}

func TestDial_Answers(t *testing.T) {
	t.Parallel()
	const head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
	const key = "Sec-WebSocket-Accept: $ACCEPT\r\n"
	const ext = "Sec-WebSocket-Extensions: permessage-deflate"
	tests := []struct {
		name, answer string
		ok, deflate  bool
	}{
		{"good", head + key + "\r\n", true, false},
		{"compressed", head + key + ext + "; server_no_context_takeover\r\n\r\n", true, true},
		{"server keeps its context", head + key + ext + "\r\n\r\n", false, false},
		{"our window", head + key + ext + "; server_no_context_takeover; client_max_window_bits=9\r\n\r\n", false, false},
		{"its window", head + key + ext + "; server_no_context_takeover; server_max_window_bits=9\r\n\r\n", true, true},
		{"unknown extension", head + key + "Sec-WebSocket-Extensions: foo\r\n\r\n", false, false},
		{"no key", head + "\r\n", false, false},
		{"wrong key", head + "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n", false, false},
		{"no upgrade", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n" + key + "\r\n", false, false},
		{"no connection", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n" + key + "\r\n", false, false},
		{"status 200", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno", false, false},
		{"status 400", "HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nno", false, false},
		{"redirect", "HTTP/1.1 302 Found\r\nLocation: /y\r\nContent-Length: 2\r\n\r\nno", false, false},
		{"not HTTP", "SSH-2.0-x\r\n\r\n", false, false},
		{"endless header", head + strings.Repeat("X-A: "+strings.Repeat("a", 1000)+"\r\n", 200) + key + "\r\n", false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			nc, _, deflate, resp, err := Dial(context.Background(), answering(t, tt.answer), DialOptions{Deflate: true})
			if (err == nil) != tt.ok || deflate != tt.deflate || (nc != nil) != tt.ok {
				t.Fatalf("deflate %v, error %v", deflate, err)
			}
			if nc != nil {
				_ = nc.Close()
			}
			if e, ok := errors.AsType[*HandshakeError](err); ok {
				if body, _ := io.ReadAll(resp.Body); e.Status != resp.StatusCode || e.Status != http.StatusSwitchingProtocols && string(body) != "no" {
					t.Errorf("%d %q", e.Status, body)
				}
			}
		})
	}
}

func TestDial_ContextEnds(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, _, _, _, err := Dial(ctx, answering(t, ""), DialOptions{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func TestDial_Scheme(t *testing.T) {
	t.Parallel()
	if _, _, _, _, err := Dial(context.Background(), &url.URL{Scheme: "ftp", Host: "x"}, DialOptions{}); err == nil {
		t.Error("no error")
	}
}

func TestDial_Proxy(t *testing.T) {
	t.Parallel()
	addr, results := serve(t, AcceptOptions{})
	asked := make(chan string, 2)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Method + " " + r.Host + " " + r.Header.Get("Proxy-Authorization")
		if r.Host != addr {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		up, err := net.Dial("tcp", addr)
		if err != nil {
			t.Error(err)
			return
		}
		defer up.Close()
		down, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer down.Close()
		_, _ = io.WriteString(down, "HTTP/1.1 200 OK\r\n\r\n") // the client checks
		r2, err := http.ReadRequest(rw.Reader)
		if err != nil {
			t.Error(err)
			return
		}
		_ = r2.Write(up) // the client checks
		_, _ = io.Copy(down, up)
	}))
	t.Cleanup(proxy.Close)
	pu, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	pu.User = url.UserPassword("u", "p")
	o := DialOptions{Proxy: func(*http.Request) (*url.URL, error) { return pu, nil }}
	nc, _, _, _, err := Dial(context.Background(), &url.URL{Scheme: "ws", Host: addr}, o)
	if err != nil {
		t.Fatal(err)
	}
	_ = nc.Close()
	_ = (<-results).nc.Close()
	if got := <-asked; got != "CONNECT "+addr+" Basic dTpw" {
		t.Error(got)
	}
	if _, _, _, _, err := Dial(context.Background(), &url.URL{Scheme: "ws", Host: "127.0.0.1:1"}, o); err == nil || !strings.Contains(err.Error(), "403") {
		t.Error(err)
	}
}
