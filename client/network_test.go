package client_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/client"
	"github.com/sockeye-io/sockeye/engineio"
	"github.com/sockeye-io/sockeye/internal/testkit"
)

// front starts a server with something before it.
func front(t testing.TB, wrap func(http.Handler) http.Handler) (*sockeye.Server, *httptest.Server) {
	t.Helper()
	srv, err := sockeye.New(sockeye.Config{})
	if err != nil {
		t.Fatal(err)
	}
	srv.On("echo", sockeye.Func(func(n int) int { return n }))
	web := httptest.NewUnstartedServer(wrap(srv))
	web.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	t.Cleanup(func() {
		_ = srv.Close() // always nil
		web.CloseClientConnections()
		web.Close()
	})
	return srv, web
}

// checkEcho asks for an echo.
func checkEcho(t testing.TB, s *client.Socket) {
	t.Helper()
	if got := ask(t, s, "echo", 7); len(got) != 1 || got[0] != 7.0 {
		t.Errorf("echo: %v", got)
	}
}

func dialAt(t testing.TB, url string, c client.Config) *client.Socket {
	t.Helper()
	s, err := client.Dial(within(t), url, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // always nil
	return s
}

// A cookie that a load balancer sets with the first answer comes with each further request, the upgrade and the next
// connection included.
func TestDial_CookiesStick(t *testing.T) {
	t.Parallel()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, cfg := range map[string]client.Config{
		"own jar": {}, "polling": {Transports: onlyPolling}, "given jar": {Jar: jar},
		"client": {HTTPClient: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Jar: jar}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var set, missed, upgrades, opened atomic.Int32
			_, web := front(t, func(h http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					q := r.URL.Query()
					c, err := r.Cookie("lb")
					first := q.Get("sid") == "" && opened.Add(1) == 1
					switch {
					case first:
						set.Add(1)
						http.SetCookie(w, &http.Cookie{Name: "lb", Value: "seven", Path: "/"})
					case err != nil || c.Value != "seven":
						missed.Add(1)
					}
					if q.Get("transport") == "websocket" {
						upgrades.Add(1)
					}
					h.ServeHTTP(w, r)
				})
			})
			web.Start()
			cfg.Reconnect = quick
			m := newManager(t, web.URL, cfg)
			s := m.Socket("/")
			for range 2 {
				connect(t, s)
				checkEcho(t, s)
				if name != "polling" {
					testkit.Eventually(t, "the upgrade", func() bool { return m.Transport() == "websocket" })
					checkEcho(t, s)
				}
				_ = s.Close() // always nil
				testkit.Eventually(t, "the end", func() bool { return m.Transport() == "" })
			}
			if set.Load() != 1 || missed.Load() != 0 || name != "polling" && upgrades.Load() != 2 {
				t.Errorf("set %d, missed %d, %d upgrades", set.Load(), missed.Load(), upgrades.Load())
			}
		})
	}
}

// Headers and query come with every request, of each transport.
func TestDial_HeaderAndQuery(t *testing.T) {
	t.Parallel()
	for name, transports := range map[string][]string{"polling": onlyPolling, "websocket": onlyWebSocket, "upgrade": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var bad atomic.Int32
			srv, web := front(t, func(h http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					q := r.URL.Query()
					if r.Header.Get("X-Token") != "a b" || q.Get("room") != "7" || q.Get("v") != "1" || r.Host != "chat.test" {
						bad.Add(1)
					}
					h.ServeHTTP(w, r)
				})
			})
			web.Start()
			s := dialAt(t, web.URL+"/?v=1", client.Config{
				Transports: transports, Query: url.Values{"room": {"7"}},
				Header: http.Header{"X-Token": {"a b"}, "Host": {"chat.test"}},
			})
			checkEcho(t, s)
			if transports == nil {
				testkit.Eventually(t, "the upgrade", func() bool { return s.Manager().Transport() == "websocket" })
			}
			for socket := range srv.Of("/").Sockets() {
				if q := socket.Handshake().Query; q["room"] != "7" || q["v"] != "1" {
					t.Errorf("query %v", q)
				}
			}
			if bad.Load() != 0 {
				t.Errorf("%d requests without", bad.Load())
			}
		})
	}
}

// A server whose certificate is signed by a CA of its own.
func TestDial_TLS(t *testing.T) {
	t.Parallel()
	for name, transports := range map[string][]string{"polling": onlyPolling, "websocket": onlyWebSocket, "upgrade": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cert := testkit.NewCertificate(t)
			pair, err := tls.LoadX509KeyPair(cert.CertFile, cert.KeyFile)
			if err != nil {
				t.Fatal(err)
			}
			_, web := front(t, func(h http.Handler) http.Handler { return h })
			web.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
			web.EnableHTTP2 = true
			web.StartTLS()
			_, err = client.Dial(within(t), web.URL, client.Config{Transports: transports})
			var te *engineio.TransportError
			if !errors.As(err, &te) || !strings.Contains(err.Error(), "certificate") {
				t.Errorf("an authority that nobody knows: %v", err)
			}
			s := dialAt(t, web.URL, client.Config{Transports: transports, TLS: &tls.Config{RootCAs: cert.Roots}})
			checkEcho(t, s)
			if transports == nil {
				testkit.Eventually(t, "the upgrade", func() bool { return s.Manager().Transport() == "websocket" })
				checkEcho(t, s)
			}
		})
	}
}

// A dialer of the application's own leads elsewhere, such as to a Unix socket.
func TestDial_Dialer(t *testing.T) {
	t.Parallel()
	for name, transports := range map[string][]string{"polling": onlyPolling, "websocket": onlyWebSocket} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, web := front(t, func(h http.Handler) http.Handler { return h })
			path := t.TempDir() + "/socket"
			l, err := new(net.ListenConfig).Listen(t.Context(), "unix", path)
			if err != nil {
				t.Fatal(err)
			}
			_ = web.Listener.Close() // replaced
			web.Listener = l
			web.Start()
			loop := engineio.NewLoop()
			t.Cleanup(func() { _ = loop.Close() }) // always nil
			s := dialAt(t, "http://chat.test", client.Config{
				Transports: transports, Loop: loop,
				DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
					if addr != "chat.test:80" {
						t.Errorf("dials %s", addr)
					}
					return new(net.Dialer).DialContext(ctx, "unix", path)
				},
			})
			checkEcho(t, s)
			_ = s.Close() // before the loop
		})
	}
}

// startHTTPProxy starts an HTTP proxy that leads to one server whatever it is asked for, and notes what it is asked.
func startHTTPProxy(t testing.TB, to string) (addr string, asked *journal) {
	t.Helper()
	asked = &journal{}
	target, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	up := &http.Transport{}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.add("%s %s", r.Method, r.Host)
		if r.Header.Get("Proxy-Authorization") != "Basic bWU6c2VjcmV0" {
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		if r.Method != http.MethodConnect {
			out := r.Clone(r.Context())
			out.RequestURI, out.URL.Host = "", target.Host
			resp, err := up.RoundTrip(out)
			if err != nil {
				w.WriteHeader(http.StatusBadGateway)
				return
			}
			defer resp.Body.Close()
			w.WriteHeader(resp.StatusCode)
			_, _ = io.Copy(w, resp.Body) // the client may be gone
			return
		}
		tunnel(w, target.Host)
	}))
	t.Cleanup(func() {
		web.CloseClientConnections()
		web.Close()
		up.CloseIdleConnections()
	})
	return web.Listener.Addr().String(), asked
}

// tunnel joins the connection of a request with another. It returns when both have ended.
func tunnel(w http.ResponseWriter, to string) {
	up, err := net.Dial("tcp", to)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer up.Close()
	down, rw, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer down.Close()
	_, _ = io.WriteString(down, "HTTP/1.1 200 Connection established\r\n\r\n") // the client may be gone
	done := make(chan struct{})
	go func() { // ends with either connection
		defer close(done)
		_, _ = io.Copy(up, rw) // whatever ends it
		_ = up.Close()         // ends the other direction
	}()
	_, _ = io.Copy(down, up) // whatever ends it
	_ = down.Close()         // ends the other direction
	<-done
}

// TestDial_ProxyOfTheEnvironment runs itself as a child, since the environment is read once for each process.
func TestDial_ProxyOfTheEnvironment(t *testing.T) {
	t.Parallel()
	if way := os.Getenv("SOCKEYE_TEST_WAY"); way != "" {
		s := dialAt(t, "http://chat.test", client.Config{Transports: []string{way}})
		checkEcho(t, s)
		_, err := client.Dial(within(t), "http://direct.test", client.Config{Transports: []string{way}, DialContext: nobody})
		if err == nil || !strings.HasSuffix(err.Error(), "nobody there") {
			t.Errorf("NO_PROXY: %v", err)
		}
		return
	}
	for way, want := range map[string]string{"polling": "GET chat.test", "websocket": "CONNECT chat.test:80"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			_, web := front(t, func(h http.Handler) http.Handler { return h })
			web.Start()
			addr, asked := startHTTPProxy(t, web.URL)
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestDial_ProxyOfTheEnvironment$", "-test.v") //nolint:gosec // this test
			cmd.Env = append(os.Environ(), "SOCKEYE_TEST_WAY="+way, "HTTP_PROXY=http://me:secret@"+addr,
				"http_proxy=http://me:secret@"+addr, "NO_PROXY=direct.test", "no_proxy=direct.test")
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), "--- PASS") {
				t.Fatalf("%v\n%s", err, out)
			}
			all := asked.all()
			if len(all) == 0 || all[0] != want {
				t.Errorf("the proxy was asked %q", all)
			}
			for _, line := range all {
				if strings.Contains(line, "direct.test") {
					t.Errorf("asked %q", line)
				}
			}
		})
	}
}

// A proxy that refuses says so, and which one it was.
func TestDial_ProxyRefuses(t *testing.T) {
	t.Parallel()
	for way, want := range map[string]string{"polling": "407", "websocket": "answered 407"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			addr, _ := startHTTPProxy(t, "http://unused.test")
			tr := &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: addr})}
			t.Cleanup(tr.CloseIdleConnections)
			_, err := client.Dial(within(t), "http://chat.test", client.Config{
				Transports: []string{way}, HTTPClient: &http.Client{Transport: tr},
			})
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// What a client says of servers that are none.
func TestDial_WrongServers(t *testing.T) {
	t.Parallel()
	page := func(status int, kind, body string) func(w http.ResponseWriter, r *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body) // shows in the test
		}
	}
	for name, tc := range map[string]struct {
		answer             http.HandlerFunc
		polling, websocket string
	}{
		"bad gateway": {
			page(502, "text/html", "<html><h1>502 Bad Gateway</h1>"),
			"client: connect: engineio: polling: status 502",
			"client: connect: engineio: websocket: status 502: ws: handshake: unexpected status 502 Bad Gateway",
		},
		"a web site": {
			page(200, "text/html; charset=utf-8", "<html>Welcome"),
			"client: connect: engineio: polling: the server did not open a connection: it answers with a page",
			"client: connect: engineio: websocket: ws: handshake: unexpected status 200 OK",
		},
		"a login": {
			func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", "/login")
				w.WriteHeader(http.StatusFound)
			},
			"", "client: connect: engineio: websocket: status 302: redirected to \"/login\"",
		},
		"moved for good": {
			func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/login" {
					http.Redirect(w, r, "/login", http.StatusMovedPermanently)
					return
				}
				page(200, "text/html", "<html>Who are you?")(w, r)
			},
			"client: connect: engineio: polling: the server did not open a connection: it answers with a page",
			"client: connect: engineio: websocket: status 301: redirected to \"/login\"",
		},
		"closes": {
			func(w http.ResponseWriter, _ *http.Request) {
				if nc, _, err := w.(http.Hijacker).Hijack(); err == nil {
					_ = nc.Close() // what is tested
				}
			},
			"", "client: connect: engineio: websocket: ws: handshake: unexpected EOF",
		},
		"half a handshake": {
			page(200, "text/plain", `0{"sid":"abc","upgrades":[],"pingInterval":25`),
			"client: connect: engineio: polling: eio: malformed packet: handshake", "",
		},
	} {
		for transport, want := range map[string]string{"polling": tc.polling, "websocket": tc.websocket} {
			t.Run(name+", "+transport, func(t *testing.T) {
				t.Parallel()
				web := httptest.NewServer(tc.answer)
				t.Cleanup(web.Close)
				s, err := client.Dial(within(t), web.URL, client.Config{Transports: []string{transport}})
				var te *engineio.TransportError
				if s != nil || !errors.As(err, &te) || te.Transport != transport {
					t.Fatalf("got %v", err)
				}
				if want != "" && err.Error() != want {
					t.Errorf("got  %s\nwant %s", err, want)
				}
				if strings.ContainsAny(err.Error(), "\n\r") || strings.Count(err.Error(), "engineio: ") != 1 {
					t.Errorf("text: %q", err)
				}
			})
		}
	}
}

// Compress chooses for each event.
func TestSocket_Compress(t *testing.T) {
	t.Parallel()
	var sent atomic.Int64
	b := setup(t, sockeye.Config{PerMessageDeflate: true})
	s := dialAt(t, b.direct, client.Config{
		Transports: onlyWebSocket, PerMessageDeflate: true,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			nc, err := new(net.Dialer).DialContext(ctx, network, addr)
			return &meter{Conn: nc, sent: &sent}, err
		},
	})
	text := strings.Repeat("compressible ", 1000)
	size := func(send func() error) int64 {
		before := sent.Load()
		if err := send(); err != nil {
			t.Fatal(err)
		}
		ask(t, s, "echo") // it comes after
		return sent.Load() - before
	}
	small := size(func() error { return s.Emit("line", text) })
	same := size(func() error { return s.Compress(true).Emit("line", text) })
	great := size(func() error { return s.Compress(false).Emit("line", text) })
	if small > 1000 || same > 1000 || great < int64(len(text)) {
		t.Errorf("%d and %d bytes compressed, %d not", small, same, great)
	}
}

// meter counts what is written.
type meter struct {
	net.Conn

	sent *atomic.Int64
}

func (m *meter) Write(p []byte) (int, error) {
	m.sent.Add(int64(len(p)))
	return m.Conn.Write(p)
}
