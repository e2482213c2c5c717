package engineio

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/internal/ws"
)

func TestDial_BadArguments(t *testing.T) {
	t.Parallel()
	h := newRecorder()
	for name, tc := range map[string]struct {
		url string
		cfg DialConfig
		h   Handler
	}{
		"no URL":            {"", DialConfig{}, h},
		"malformed URL":     {"http://[::1", DialConfig{}, h},
		"scheme":            {"ftp://a.test", DialConfig{}, h},
		"no host":           {"http://", DialConfig{}, h},
		"transport":         {"http://a.test", DialConfig{Transports: []string{"webtransport"}}, h},
		"protocol":          {"http://a.test", DialConfig{Protocol: 5}, h},
		"negative payload":  {"http://a.test", DialConfig{MaxPayload: -1}, h},
		"negative time-out": {"http://a.test", DialConfig{Timeout: -1}, h},
		"no handler":        {"http://a.test", DialConfig{}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c, err := Dial(context.Background(), tc.url, tc.cfg, tc.h); err == nil || c != nil {
				t.Errorf("got %v, %v", c, err)
			}
		})
	}
}

func TestDial_Target(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		url, path string
		protocol  int
		want      string
	}{
		"default path":      {"http://a.test", "", 4, "http://a.test/engine.io/?EIO=4&transport=polling"},
		"slash":             {"http://a.test/", "", 4, "http://a.test/engine.io/?EIO=4&transport=polling"},
		"path of the URL":   {"http://a.test/x/", "", 4, "http://a.test/x/?EIO=4&transport=polling"},
		"path of config":    {"http://a.test/x/", "/socket.io/", 3, "http://a.test/socket.io/?EIO=3&transport=polling"},
		"query and websock": {"wss://a.test:8/?token=a%20b#frag", "", 4, "https://a.test:8/engine.io/?token=a%20b&EIO=4&transport=polling"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, err := newDialed(context.Background(), tc.url, DialConfig{Path: tc.path, Protocol: tc.protocol}, newRecorder())
			if err != nil {
				t.Fatal(err)
			}
			defer d.cancel()
			if got := d.target("polling", "").String(); got != tc.want {
				t.Errorf("got %s", got)
			}
			if got := d.target("polling", "a b&c").String(); got != tc.want+"&sid=a+b%26c" {
				t.Errorf("with sid: %s", got)
			}
		})
	}
}

func TestDial_Requests(t *testing.T) {
	t.Parallel()
	f := newFakeEngine(t).start()
	f.open["upgrades"] = []string{"websocket"}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(f.URL)
	if err != nil {
		t.Fatal(err)
	}
	jar.SetCookies(&url.URL{Scheme: "http", Host: "other.test"}, []*http.Cookie{{Name: "lb", Value: "7"}})
	h := newRecorder()
	client := &http.Client{Transport: &http.Transport{}, Jar: jar}
	t.Cleanup(client.CloseIdleConnections)
	c := dialFake(t, f.URL+"/?q=1", DialConfig{
		Header: http.Header{"X-A": {"b"}, "Host": {"other.test"}}, HTTPClient: client,
	}, h)
	for range 2 {
		await(t, "a request", f.requests)
	}
	if err := c.Send([]byte("x"), false); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the WebSocket and the POST, after the handshake and the poll
		r := await(t, "a request", f.requests)
		if r.Host != "other.test" || r.Header.Get("X-A") != "b" || r.Header.Get("Cookie") != "lb=7" || r.URL.Query().Get("q") != "1" {
			t.Errorf("%s %s: host %s, %v", r.Method, r.URL, r.Host, r.Header)
		}
	}
	if c.ID() != "fake-session-id-0000" || c.Protocol() != 4 || c.Query()["q"] != "1" || c.RemoteAddr() != u.Hostname() || c.Secure() {
		t.Errorf("%s, %d, %v, %s", c.ID(), c.Protocol(), c.Query(), c.RemoteAddr())
	}
}

func TestDial_Refused(t *testing.T) {
	t.Parallel()
	text := func(status int, kind, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body) // shows in the test
		}
	}
	for name, tc := range map[string]struct {
		transports   []string
		answer       http.HandlerFunc
		status, code int
		message      string
	}{
		"polling, forbidden":         {onlyPolling, text(403, "application/json", `{"code":4,"message":"no"}`), 403, 4, "no"},
		"polling, not an engine":     {onlyPolling, text(404, "text/html", "<html>"), 404, -1, ""},
		"polling, no packet":         {onlyPolling, text(200, "text/plain", ""), 200, -1, ""},
		"polling, not open":          {onlyPolling, text(200, "text/plain", "4hello"), 200, -1, ""},
		"polling, bad open":          {onlyPolling, text(200, "text/plain", "0{}"), 200, -1, ""},
		"polling, invalid UTF-8":     {onlyPolling, text(200, "text/plain", "0\xff"), 200, -1, ""},
		"websocket, forbidden":       {onlyWebSocket, text(400, "text/html", "Forbidden"), 400, 4, "Forbidden"},
		"websocket, unknown sid":     {onlyWebSocket, text(400, "text/html", "Session ID unknown"), 400, 1, "Session ID unknown"},
		"websocket, not a WebSocket": {onlyWebSocket, text(200, "text/html", "hello"), 200, -1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFakeEngine(t)
			f.refuse = tc.answer
			f.start()
			h := newRecorder()
			c, err := Dial(context.Background(), f.URL, DialConfig{Transports: tc.transports}, h)
			if c != nil {
				t.Fatal("opened")
			}
			te := wantTransportError(t, err)
			if te.Transport != tc.transports[0] || te.Status != tc.status || te.Code != tc.code || te.Message != tc.message {
				t.Errorf("%+v", te)
			}
			if !strings.HasPrefix(err.Error(), "engineio: "+tc.transports[0]) {
				t.Errorf("text: %v", err)
			}
			if len(h.opened)+len(h.closed) > 0 {
				t.Error("the handler was told")
			}
		})
	}
}

func TestDial_NobodyThere(t *testing.T) {
	t.Parallel()
	for _, tr := range [][]string{onlyPolling, onlyWebSocket} {
		_, err := Dial(context.Background(), "http://"+testkit.FreeAddr(t), DialConfig{Transports: tr}, newRecorder())
		if te := wantTransportError(t, err); te.Status != 0 || te.Code != -1 || te.Err == nil {
			t.Errorf("%+v", te)
		}
	}
}

// A server that accepts and says nothing: the time-out and the context bound the opening.
func TestDial_Silent(t *testing.T) {
	t.Parallel()
	for name, tr := range map[string][]string{"polling": onlyPolling, "websocket": onlyWebSocket} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFakeEngine(t)
			f.refuse = func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
			f.start()
			_, err := Dial(context.Background(), f.URL, DialConfig{Transports: tr, Timeout: 20 * time.Millisecond}, newRecorder())
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("time-out: %v", err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			if _, err = Dial(ctx, f.URL, DialConfig{Transports: tr}, newRecorder()); !errors.Is(err, context.Canceled) {
				t.Errorf("context: %v", err)
			}
		})
	}
}

// The WebSocket is accepted, but no open packet comes.
func TestDial_SilentSocket(t *testing.T) {
	t.Parallel()
	f := newFakeEngine(t)
	f.socket = func(w http.ResponseWriter, r *http.Request) bool {
		nc, first, _, err := ws.Accept(w, r, ws.AcceptOptions{})
		if err == nil {
			(&fakeSocket{nc: nc, frames: make(chan string, 10)}).read(first)
		}
		return true
	}
	f.start()
	_, err := Dial(context.Background(), f.URL, DialConfig{Transports: onlyWebSocket, Timeout: 50 * time.Millisecond}, newRecorder())
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("err = %v", err)
	}
}

// CVE-2016-10536: certificates are verified unless the user says otherwise.
func TestDial_TLS(t *testing.T) {
	t.Parallel()
	for name, tr := range map[string][]string{"polling": onlyPolling, "websocket": onlyWebSocket} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFakeEngine(t)
			f.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
			f.EnableHTTP2 = true
			f.StartTLS()
			_, err := Dial(context.Background(), f.URL, DialConfig{Transports: tr}, newRecorder())
			if te := wantTransportError(t, err); !strings.Contains(te.Error(), "certificate") {
				t.Errorf("self-signed: %v", err)
			}
			h := newRecorder()
			c := dialFake(t, f.URL, DialConfig{Transports: tr, HTTPClient: f.Client()}, h)
			if !c.Secure() {
				t.Error("not secure")
			}
			f.sendVia(t, tr, "4hello")
			h.wantMessages(t, "text:hello")
			_ = c.Close() // always nil
			h.wantClose(t, ReasonForcedClose)
		})
	}
}
