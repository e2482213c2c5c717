package front_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/front"
	"github.com/sockeye-io/sockeye/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func TestListen_Unix(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "front") //nolint:usetesting // the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) }) // of a test
	path := filepath.Join(dir, "s")
	l, err := front.Listen(t.Context(), "unix:"+path, 0o620)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != fs.ModeSocket|0o620 {
		t.Errorf("%v, %v", info, err)
	}
	if _, err := front.Listen(t.Context(), "unix:"+path, 0o600); err == nil || !strings.Contains(err.Error(), "listens") {
		t.Errorf("a second server: %v", err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // as if it had been killed
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l, err = front.Listen(t.Context(), "unix:"+path, 0o600)
	if err != nil {
		t.Fatalf("after a kill: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the socket is still there")
	}
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := front.Listen(t.Context(), "unix:"+path, 0o600); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("a file: %v", err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "precious" {
		t.Errorf("%q, %v", b, err)
	}
}

// write writes a certificate to two files.
func write(t *testing.T, dir string, c testkit.Certificate) (cert, key string) {
	t.Helper()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for from, to := range map[string]string{c.CertFile: cert, c.KeyFile: key} {
		b, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(to, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// serial is what a client is shown.
func serial(t *testing.T, addr string) string {
	t.Helper()
	c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}}) // only looked at
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s := c.ConnectionState()
	if s.NegotiatedProtocol != "http/1.1" {
		t.Errorf("protocol %q", s.NegotiatedProtocol)
	}
	return s.PeerCertificates[0].SerialNumber.String()
}

func TestCertificate_Reload(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, second := testkit.NewCertificate(t), testkit.NewCertificate(t)
	certFile, keyFile := write(t, dir, first)
	c, err := front.OpenCertificate(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", c.Config())
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.NotFoundHandler(), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	served := make(chan struct{})
	go func() { // ends with srv
		defer close(served)
		_ = srv.Serve(l) // it is closed
	}()
	var log output
	ctx, cancel := context.WithCancel(t.Context())
	now, watched := make(chan os.Signal), make(chan struct{})
	go func() { // ends with ctx
		defer close(watched)
		c.Watch(ctx, time.Hour, now, slog.New(slog.NewJSONHandler(&log, nil)))
	}()
	t.Cleanup(func() {
		cancel()
		<-watched
		_ = srv.Close() // of a test
		<-served
	})
	addr := l.Addr().String()
	old := serial(t, addr)

	// A half that does not fit is not used.
	if err := os.WriteFile(keyFile, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	now <- os.Interrupt
	testkit.Eventually(t, "a word in the log", func() bool { return strings.Contains(log.String(), "the old one stays") })
	if got := serial(t, addr); got != old {
		t.Errorf("another certificate: %s", got)
	}
	if strings.Contains(log.String(), "no key") {
		t.Errorf("the log has what is in the file: %s", &log)
	}
	if err := os.Remove(certFile); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Reload(); err == nil {
		t.Error("no file, no fault")
	}
	write(t, dir, second)
	now <- os.Interrupt
	testkit.Eventually(t, "the new certificate", func() bool { return serial(t, addr) != old })
	testkit.Eventually(t, "a word in the log", func() bool { return strings.Contains(log.String(), `"msg":"new certificate"`) })
	if changed, err := c.Reload(); changed || err != nil {
		t.Errorf("%t, %v", changed, err)
	}
	if c.NotAfter().Before(time.Now()) {
		t.Errorf("it ends at %v", c.NotAfter())
	}
	if _, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11}); err == nil { // as above
		t.Error("TLS 1.1 is spoken")
	}
	if _, err := front.OpenCertificate(keyFile, certFile); err == nil {
		t.Error("exchanged files are no fault")
	}
}

func TestProxies_Wrap(t *testing.T) {
	t.Parallel()
	p, err := front.ParseProxies([]string{"10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "unix"})
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		peer        string
		chain       []string
		proto       []string
		addr        string
		forwarded   string
		wantedProto string
	}{
		"no proxy":              {"203.0.113.1:5", nil, nil, "203.0.113.1:5", "", ""},
		"stranger claims":       {"203.0.113.1:5", []string{"1.2.3.4"}, []string{"https"}, "203.0.113.1:5", "", ""},
		"one proxy":             {"10.1.1.1:5", []string{"203.0.113.9"}, []string{"https"}, "203.0.113.9:0", "203.0.113.9", "https"},
		"two proxies":           {"10.1.1.1:5", []string{"203.0.113.9, 192.0.2.7"}, nil, "203.0.113.9:0", "203.0.113.9", ""},
		"made up":               {"10.1.1.1:5", []string{"1.2.3.4, 203.0.113.9, 192.0.2.7"}, nil, "203.0.113.9:0", "203.0.113.9", ""},
		"several headers":       {"10.1.1.1:5", []string{"1.2.3.4", "203.0.113.9", "10.2.2.2"}, nil, "203.0.113.9:0", "203.0.113.9", ""},
		"all are trusted":       {"10.1.1.1:5", []string{"10.3.3.3, 10.2.2.2"}, nil, "10.3.3.3:0", "10.3.3.3", ""},
		"not an address":        {"10.1.1.1:5", []string{"1.2.3.4, unknown, 10.2.2.2"}, nil, "10.2.2.2:0", "10.2.2.2", ""},
		"nothing readable":      {"10.1.1.1:5", []string{"_hidden"}, nil, "10.1.1.1:5", "", ""},
		"with a port":           {"10.1.1.1:5", []string{"203.0.113.9:4711"}, nil, "203.0.113.9:0", "203.0.113.9", ""},
		"IPv6":                  {"[2001:db8::1]:5", []string{"2a00::1"}, nil, "[2a00::1]:0", "2a00::1", ""},
		"IPv6 with a port":      {"[2001:db8::1]:5", []string{"[2a00::1]:4711"}, nil, "[2a00::1]:0", "2a00::1", ""},
		"IPv4 in IPv6":          {"[::ffff:10.1.1.1]:5", []string{"::ffff:203.0.113.9"}, nil, "203.0.113.9:0", "203.0.113.9", ""},
		"Unix socket":           {"@", []string{"203.0.113.9"}, nil, "203.0.113.9:0", "203.0.113.9", ""},
		"protocol of the chain": {"10.1.1.1:5", nil, []string{"https, http"}, "10.1.1.1:5", "", "https"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got *http.Request
			h := p.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r }))
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.RemoteAddr = test.peer
			if test.chain != nil {
				r.Header["X-Forwarded-For"] = test.chain
			}
			if test.proto != nil {
				r.Header["X-Forwarded-Proto"] = test.proto
			}
			h.ServeHTTP(httptest.NewRecorder(), r)
			if got.RemoteAddr != test.addr || got.Header.Get("X-Forwarded-For") != test.forwarded ||
				got.Header.Get("X-Forwarded-Proto") != test.wantedProto || len(got.Header["X-Forwarded-For"]) > 1 {
				t.Errorf("%s, %v", got.RemoteAddr, got.Header)
			}
		})
	}
	for _, bad := range []string{"", "10.0.0.0/33", "10.0.0.1/8", "host", "fe80::1%eth0", "10.0.0.1:80"} {
		if _, err := front.ParseProxies([]string{bad}); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestBelow(t *testing.T) {
	t.Parallel()
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s", r.URL.Path, r.URL.RawPath)
	})
	for _, test := range []struct{ base, target, want string }{
		{"", "/a", "200 /a "},
		{"/rt", "/rt/a", "200 /a "},
		{"/rt", "/rt/", "200 / "},
		{"/rt", "/rt?x=1", "308 /rt/?x=1"},
		{"/rt", "/rt/a%2Fb", "200 /a/b /a%2Fb"},
		{"/rt", "/rtx", "404 404 page not found\n"},
		{"/rt", "/a", "404 404 page not found\n"},
		{"/rt", "/healthz", "200 /healthz "},
		{"/a/b", "/a/b/c", "200 /c "},
	} {
		w := httptest.NewRecorder()
		front.Below(test.base, h, "/healthz").ServeHTTP(w, httptest.NewRequest(http.MethodGet, test.target, nil))
		got := fmt.Sprintf("%d %s", w.Code, w.Body)
		if w.Code == http.StatusPermanentRedirect {
			got = "308 " + w.Header().Get("Location")
		}
		if got != test.want {
			t.Errorf("%s below %q: %q, want %q", test.target, test.base, got, test.want)
		}
	}
	for text, want := range map[string]string{"": "", "/": "", "a": "/a", "/a/b/": "/a/b"} {
		if got, err := front.BasePath(text); got != want || err != nil {
			t.Errorf("%q is %q, %v", text, got, err)
		}
	}
	for _, bad := range []string{"a//b", "..", "a/./b", "a b", "a?b", "%41", "\u00e4"} {
		if _, err := front.BasePath(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

// site is a server with a gate.
func site(t *testing.T, h http.Handler, g *front.Gate, header time.Duration) (addr string) {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.Config.ReadHeaderTimeout = header
	if g != nil {
		srv.Config.ConnState = g.ConnState
	}
	srv.Start()
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String()
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // it may be closed already
	return c
}

// ended waits until the server has closed.
func ended(t *testing.T, c net.Conn) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(testkit.Scale(20 * time.Second))); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, c); err != nil && os.IsTimeout(err) {
		t.Fatal(err)
	}
}

// T15: connections that are too many are closed at once; who goes, or becomes a WebSocket, makes room.
func TestGate(t *testing.T) {
	t.Parallel()
	for name, g := range map[string]*front.Gate{
		"all":         {Max: 3},
		"with others": {Max: 5, Others: func() int { return 2 }},
		"of address":  {PerAddress: 3, Exempt: func(string) bool { return false }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr := site(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				c, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				t.Cleanup(func() { _ = c.Close() }) // of a test
			}), g, time.Hour)
			var open []net.Conn
			for range 3 {
				open = append(open, dial(t, addr))
			}
			testkit.Eventually(t, "three are open", func() bool { return g.Open() == 3 })
			ended(t, dial(t, addr))
			_ = open[0].Close() // the server notices
			testkit.Eventually(t, "one has gone", func() bool { return g.Open() == 2 })
			if _, err := io.WriteString(open[1], "GET / HTTP/1.1\r\nHost: h\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			testkit.Eventually(t, "one is hijacked", func() bool { return g.Open() == 1 })
			dial(t, addr)
			dial(t, addr)
			testkit.Eventually(t, "three again", func() bool { return g.Open() == 3 })
		})
	}
	t.Run("exempt", func(t *testing.T) {
		t.Parallel()
		g := &front.Gate{PerAddress: 1, Exempt: func(addr string) bool { return strings.HasPrefix(addr, "127.0.0.1:") }}
		addr := site(t, http.NotFoundHandler(), g, time.Hour)
		dial(t, addr)
		dial(t, addr)
		testkit.Eventually(t, "both are open", func() bool { return g.Open() == 2 })
	})
}

// T14: a body that does not come in time ends the request; one that has come leaves the handler its time.
func TestTimely(t *testing.T) {
	t.Parallel()
	bodies := make(chan error, 10)
	h := front.Timely(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		bodies <- err
	}), "/socket.io/")
	rec := &deadlines{ResponseRecorder: httptest.NewRecorder()}
	r := httptest.NewRequest(http.MethodPost, "/v1/emit", strings.NewReader(strings.Repeat("x", 2048)))
	start := time.Now()
	h.ServeHTTP(rec, r)
	if err := <-bodies; err != nil {
		t.Error(err)
	}
	if len(rec.set) != 2 || rec.set[0].Before(start.Add(front.BodyTime+2*time.Second)) || !rec.set[1].IsZero() {
		t.Errorf("deadlines %v", rec.set)
	}
	rec = &deadlines{ResponseRecorder: httptest.NewRecorder()}
	h.ServeHTTP(rec, httptest.NewRequest(http.MethodPost, "/socket.io/", strings.NewReader("x")))
	h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/", nil))
	if len(rec.set) != 0 {
		t.Errorf("deadlines %v", rec.set)
	}
}

// deadlines keeps what is set.
type deadlines struct {
	*httptest.ResponseRecorder
	set []time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error {
	d.set = append(d.set, t)
	return nil
}

func TestLogged(t *testing.T) {
	t.Parallel()
	var log output
	h := front.Logged(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/take" {
			c, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\n\r\n") // the client may be gone
			_ = c.Close()                                                        // likewise
			return
		}
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, "short and stout") // likewise
	}), slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	addr := site(t, h, nil, time.Hour)
	for _, target := range []string{"/tea?sid=hidden&token=hidden", "/take", "/" + strings.Repeat("x", 1000)} {
		c := dial(t, addr)
		if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: h\r\nCookie: hidden\r\nAuthorization: hidden\r\n\r\n", target); err != nil {
			t.Fatal(err)
		}
		if _, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil {
			t.Fatal(err)
		}
	}
	testkit.Eventually(t, "three lines", func() bool { return strings.Count(log.String(), "\n") == 3 })
	got := log.String()
	if strings.Contains(got, "hidden") || !strings.Contains(got, "path=/tea status=418 bytes=15") || !strings.Contains(got, "path=/take status=0") || len(got) > 1000 {
		t.Error(got)
	}
}
