package engineio

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/internal/ws"
)

func TestThreats_Origin(t *testing.T) { // T1, CVE-2020-28481
	t.Parallel()
	for _, tc := range []struct {
		name   string
		origin OriginPolicy
		header string
		ok     bool
	}{
		{"evil", OriginPolicy{}, "https://evil.example", false},
		{"null", OriginPolicy{}, "null", false},
		{"same", OriginPolicy{}, "http://HOST", true},
		{"listed", OriginPolicy{Allow: []string{"https://a.example"}}, "https://a.example", true},
		{"not listed", OriginPolicy{Allow: []string{"https://*.a.example"}}, "https://evil-a.example", false},
		{"malformed", OriginPolicy{}, "http://a\x7fb", false},
		{"panic", OriginPolicy{AllowFunc: func(*http.Request, string) bool { panic("x") }}, "http://x.example", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, Config{Origin: tc.origin})
			value := strings.Replace(tc.header, "HOST", s.http.Listener.Addr().String(), 1)
			_, r := s.handshake(socketQuery, "Origin", value)
			if (r.StatusCode == http.StatusSwitchingProtocols) != tc.ok || !tc.ok && r.StatusCode != http.StatusBadRequest {
				t.Errorf("WebSocket: %s", r.Status)
			}
			if strings.Contains(value, "\x7f") {
				return // net/http's client does not send it
			}
			p := s.do("GET", pollQuery, "", "Origin", value)
			if (p.status == 200) != tc.ok || !tc.ok && p.status != 403 {
				t.Errorf("polling: %+v", p)
			}
			if !tc.ok && p.header.Get("Access-Control-Allow-Origin") != "" {
				t.Error("allowed after all")
			}
		})
	}
}

func TestThreats_JSONP(t *testing.T) { // T2
	t.Parallel()
	for _, tc := range []struct {
		name    string
		enabled bool
		headers []string
		status  int
	}{
		{"off", false, nil, 400},
		{"on", true, nil, 200},
		{"cross-site", true, []string{"Sec-Fetch-Site", "cross-site"}, 400},
		{"same-site", true, []string{"Sec-Fetch-Site", "same-origin"}, 200},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, Config{JSONP: tc.enabled, AllowEIO3: true})
			r := s.do("GET", pollQuery+"&j=0", "", tc.headers...)
			if r.status != tc.status || r.status == 400 && r.body != `{"code":3,"message":"Bad request"}` {
				t.Errorf("%+v", r)
			}
		})
	}
}

func TestThreats_SessionIDs(t *testing.T) { // T4, CVE-2017-16031
	t.Parallel()
	const ids = 1_000_000
	seen := make(map[[20]byte]struct{}, ids)
	for range ids {
		id := newSID()
		if len(id) != 20 {
			t.Fatalf("id %q", id)
		}
		seen[[20]byte([]byte(id))] = struct{}{}
	}
	if len(seen) != ids {
		t.Fatalf("%d of %d ids are different", len(seen), ids)
	}
	s := newSite(t, Config{})
	q := s.poll("4")
	sid := q[strings.Index(q, "sid=")+4:]
	for i := range sid {
		for _, c := range "AZaz09-_" {
			if guess := sid[:i] + string(c) + sid[i+1:]; guess != sid && s.s.sessions.get(guess) != nil {
				t.Fatal("guessed")
			}
		}
	}
	for _, bad := range []string{"x", sid[:19], sid + "A", strings.Repeat("A", 5000), "__proto__", "constructor"} {
		if r := s.do("GET", pollQuery+"&sid="+bad, ""); r.status != 400 || r.body != `{"code":1,"message":"Session ID unknown"}` {
			t.Errorf("%q: %+v", bad, r)
		}
	}
}

func TestThreats_TransportNames(t *testing.T) { // CVE-2023-31125, T21
	t.Parallel()
	s := newSite(t, Config{})
	for _, name := range []string{"__proto__", "constructor", "toString", "hasOwnProperty", "", "webtransport", "Polling"} {
		if r := s.do("GET", "EIO=4&transport="+name, ""); r.status != 400 || r.body != `{"code":0,"message":"Transport unknown"}` {
			t.Errorf("%q: %+v", name, r)
		}
		_, r := s.handshake("EIO=4&transport=" + name)
		if b, _ := io.ReadAll(r.Body); r.StatusCode != http.StatusBadRequest || string(b) != "Transport unknown" {
			t.Errorf("%q: %s %q", name, r.Status, b)
		}
	}
}

func TestThreats_Protocol(t *testing.T) { // T20
	t.Parallel()
	s := newSite(t, Config{})
	for _, eio := range []string{"&EIO=3", "", "&EIO=4%20", "&EIO=04", "&EIO=4&EIO=3", "&EIO=+4"} {
		if r := s.do("GET", "transport=polling"+eio, ""); r.body != `{"code":5,"message":"Unsupported protocol version"}` {
			t.Errorf("%q: %+v", eio, r)
		}
	}
	if r := s.do("GET", "transport=foo&EIO=3&transport=polling&EIO=4", ""); r.status != 200 {
		t.Errorf("last value wins: %+v", r)
	}
}

func TestThreats_Paths(t *testing.T) { // T30
	t.Parallel()
	s := newSite(t, Config{})
	for path, status := range map[string]int{
		"/engine.io/": 200, "/engine.io/x": 200, "/engine.io/../": 200, "/engine.io": 404, "//engine.io/": 404,
		"/%65ngine.io/": 404, "/ENGINE.IO/": 404, "/": 404, "/x/engine.io/": 404, "/engine.io%2f": 404,
	} {
		if r := s.raw("GET", path+"?"+pollQuery, "", nil); r.status != status {
			t.Errorf("%s: %d, want %d", path, r.status, status)
		}
	}
}

func TestThreats_BodyLimit(t *testing.T) { // CVE-2020-36048
	t.Parallel()
	const limit = 1 << 20
	s := newSite(t, Config{MaxPayload: limit})
	q := s.poll("4")
	for _, chunked := range []bool{false, true} {
		var body io.Reader = strings.NewReader("4" + strings.Repeat("x", limit))
		if chunked {
			body = struct{ io.Reader }{body}
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.http.URL+"/engine.io/?"+q, body)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("chunked %v: %s", chunked, resp.Status)
		}
	}
	if r := s.do("POST", q, "4"+strings.Repeat("x", limit-1)); r.body != "ok" {
		t.Errorf("%+v", r)
	}
}

func TestThreats_GarbageWithHandshake(t *testing.T) { // CVE-2022-21676
	t.Parallel()
	s := newSite(t, Config{})
	c, r := s.handshakeWith(socketQuery, []byte("test"))
	if r.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(r.Status)
	}
	c.expectClose(1002)
	q := s.poll("4")
	c, _ = s.handshakeWith(strings.Replace(q, "polling", "websocket", 1), []byte("test"))
	c.expectClose(1002)
	intact(t, s, q)
}

func TestThreats_ResetAfterRefusal(t *testing.T) { // CVE-2022-41940
	t.Parallel()
	s := newSite(t, Config{AllowRequest: func(*http.Request) error { return errors.New("no") }})
	for range 2000 {
		nc, err := net.Dial("tcp", s.http.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(nc, "GET /engine.io/?%s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", socketQuery)
		if tcp, ok := nc.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = nc.Close()
	}
	if r := s.do("GET", pollQuery, ""); r.status != 403 || r.body != `{"code":4,"message":"no"}` {
		t.Errorf("%+v", r)
	}
}

func TestThreats_DeflateBomb(t *testing.T) { // T7
	t.Parallel()
	s := newSite(t, Config{PerMessageDeflate: true})
	c, r := s.handshake(socketQuery, "Sec-WebSocket-Extensions", "permessage-deflate")
	if r.StatusCode != http.StatusSwitchingProtocols || !strings.Contains(r.Header.Get("Sec-WebSocket-Extensions"), "permessage-deflate") {
		t.Fatal(r.Status, r.Header)
	}
	c.open()
	var b bytes.Buffer
	zw, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = zw.Write(make([]byte, 1<<20)) // a buffer takes everything
	_ = zw.Flush()
	packed := bytes.TrimSuffix(bytes.Repeat(b.Bytes(), 100), []byte{0, 0, 0xff, 0xff})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := c.nc.Write(ws.AppendMasked(nil, ws.Text, true, [4]byte{1, 2, 3, 4}, packed)); err != nil {
		t.Log(err) // closed before all was sent
	}
	c.expectClose(1009)
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 64<<20 {
		t.Errorf("allocated %d MB", grown>>20)
	}
}

func TestWebSocket_Deflate(t *testing.T) {
	t.Parallel()
	s := newSite(t, Config{PerMessageDeflate: true})
	c, r := s.handshake(socketQuery, "Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits")
	if r.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(r.Status)
	}
	c.open()
	text := strings.Repeat("hello ", 1000)
	p := Prepare([]byte(text), false)
	for _, noCompress := range []bool{true, false} {
		if err := s.h.last(t).SendPrepared(SendOptions{NoCompress: noCompress}, p); err != nil {
			t.Fatal(err)
		}
		_, got := c.frame()
		if !noCompress {
			plain, err := io.ReadAll(flate.NewReader(io.MultiReader(strings.NewReader(got), strings.NewReader("\x00\x00\xff\xff\x01\x00\x00\xff\xff"))))
			if err != nil || len(got) > 200 {
				t.Fatal(err, len(got))
			}
			got = string(plain)
		}
		if got != "4"+text {
			t.Errorf("no compression %v: %d bytes", noCompress, len(got))
		}
	}
}

func TestThreats_SlowReader(t *testing.T) { // T16
	t.Parallel()
	s := newSite(t, Config{})
	c := s.dial(socketQuery)
	c.open()
	q := s.poll("4")
	slow := s.h.conns[0]
	poller := s.h.conns[1]
	p := Prepare(make([]byte, 64<<10), true)
	for _, conn := range []*Conn{slow, poller} {
		testkit.Eventually(t, "a full queue", func() bool {
			err := conn.SendPrepared(SendOptions{}, p)
			if b, _ := conn.Buffered(); b > defaultQueueBytes {
				t.Errorf("%d bytes are buffered", b)
			}
			return errors.Is(err, ErrQueueFull)
		})
	}
	for _, got := range s.h.reasons(t, 2) {
		if got.reason != ReasonTransportError || !errors.Is(got.err, ErrQueueFull) {
			t.Errorf("%+v", got)
		}
	}
	if r := s.do("GET", q, ""); r.status != 400 {
		t.Errorf("%+v", r)
	}
}

func TestThreats_Overlap(t *testing.T) { // T18
	t.Parallel()
	s := newSite(t, Config{})
	var sessions sync.WaitGroup
	slots := make(chan struct{}, 4)
	for range 60 {
		q := s.poll("4")
		c := s.h.last(t)
		slots <- struct{}{}
		sessions.Go(func() {
			defer func() { <-slots }()
			var gets, posts sync.WaitGroup
			request := func(method, body string) {
				r, err := s.try(t.Context(), method, q, body)
				if err != nil || r.status != 200 && r.status != 400 {
					t.Errorf("%s: %+v %v", method, r, err)
				}
			}
			for range 3 {
				gets.Go(func() { request("GET", "") })
				posts.Go(func() { request("POST", "4x") })
			}
			posts.Wait()
			_ = c.Close() // a poll that is alone waits for something
			gets.Wait()
			c.end(ReasonForcedClose, nil)
		})
	}
	sessions.Wait()
	s.h.reasons(t, 60)
}

func TestThreats_BadUTF8(t *testing.T) { // T29
	t.Parallel()
	s := newSite(t, Config{})
	c := s.dial(socketQuery)
	c.open()
	c.send("4\xc3\x28")
	c.expectClose(1007)
	q := s.poll("4")
	if r := s.do("POST", q, "4ok\x1e4\xc3\x28"); r.body != "ok" {
		t.Errorf("%+v", r)
	}
	if got := s.h.reasons(t, 2)[1]; got.reason != ReasonParseError {
		t.Errorf("%+v", got)
	}
}

// panicky panics where it is told to.
type panicky struct{ where string }

func (p panicky) OnOpen(*Conn, *http.Request)   { p.at("OnOpen") }
func (p panicky) OnMessage(*Conn, []byte, bool) { p.at("OnMessage") }
func (p panicky) OnClose(*Conn, Reason, error)  { p.at("OnClose") }
func (p panicky) at(where string) {
	if p.where == where {
		panic("at " + where)
	}
}

func TestThreats_Panics(t *testing.T) { // T28
	t.Parallel()
	for _, where := range []string{
		"OnOpen", "OnMessage", "OnClose", "AllowRequest", "InitialHeaders", "Headers", "ConnectionError", "TrustProxy", "Fault",
	} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			faults := make(chan error, 100)
			h := panicky{where}
			if where == "Fault" {
				h.where = "OnMessage"
			}
			s, err := NewServer(Config{
				AllowRequest: func(*http.Request) error { panicky{where}.at("AllowRequest"); return nil },
				TrustProxy:   func(*http.Request) bool { panicky{where}.at("TrustProxy"); return true },
				Hooks: Hooks{
					InitialHeaders:  func(http.Header, *http.Request) { panicky{where}.at("InitialHeaders") },
					Headers:         func(http.Header, *http.Request) { panicky{where}.at("Headers") },
					ConnectionError: func(*ConnectionError) { panicky{where}.at("ConnectionError") },
					Fault:           func(err error) { faults <- err; panicky{where}.at("Fault") },
				},
			}, h)
			if err != nil {
				t.Fatal(err)
			}
			site := siteOf(t, s)
			if where == "ConnectionError" {
				site.do("GET", "EIO=4", "")
			}
			if c, r := site.handshake(socketQuery); r.StatusCode == http.StatusSwitchingProtocols {
				if where != "OnOpen" {
					c.open()
					c.send("4hello")
				}
				if where != "OnOpen" && h.where != "OnMessage" {
					c.write(ws.Close, "")
				}
			}
			r := site.do("GET", pollQuery, "")
			if want := map[bool]int{true: 403, false: 200}[where == "AllowRequest"]; r.status != want {
				t.Errorf("%+v", r)
			}
			if r.status == 200 && where != "OnOpen" {
				q := pollQuery + "&sid=" + sidOf(t, r.body)
				site.do("POST", q, "4hello\x1e4again")
				site.do("POST", q, "1")
			}
			var p *PanicError
			if err := <-faults; !errors.As(err, &p) || p.Value != "at "+h.where && p.Value != "at "+where || len(p.Stack) == 0 {
				t.Errorf("fault %v", err)
			}
			testkit.Eventually(t, "the end of all connections", func() bool { return s.Conns() == 0 })
		})
	}
}

func TestServer_Hooks(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var calls []string
	note := func(name string) func(http.Header, *http.Request) {
		return func(h http.Header, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			calls = append(calls, name+" "+r.Method)
			h.Add("X-Hook", name)
		}
	}
	s := newSite(t, Config{
		Hooks:  Hooks{InitialHeaders: note("initial"), Headers: note("headers")},
		Cookie: &http.Cookie{Name: "sticky"},
	})
	expect := func(h http.Header, want ...string) {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		if fmt.Sprint(calls) != fmt.Sprint(want) || len(h["X-Hook"]) != len(want) {
			t.Errorf("calls %v, headers %v, want %v", calls, h["X-Hook"], want)
		}
		calls = nil
	}
	r := s.do("GET", pollQuery, "")
	sid := sidOf(t, r.body)
	expect(r.header, "initial GET", "headers GET")
	if got := r.header.Get("Set-Cookie"); got != "sticky="+sid+"; Path=/; HttpOnly; SameSite=Lax" {
		t.Errorf("cookie %q", got)
	}
	r = s.do("POST", pollQuery+"&sid="+sid, "4x")
	expect(r.header, "headers POST")
	r = s.do("GET", pollQuery+"&sid="+sid, "")
	expect(r.header, "headers GET")
	if r.header.Get("Set-Cookie") != "" {
		t.Error("a cookie on a poll")
	}
	_, resp := s.handshake(socketQuery + "&sid=" + sid)
	expect(resp.Header, "headers GET")
	_, resp = s.handshake(socketQuery)
	expect(resp.Header, "initial GET", "headers GET")
	if resp.Header.Get("Set-Cookie") != "" {
		t.Error("a cookie on a WebSocket")
	}
	r = s.do("GET", "EIO=4", "")
	expect(r.header)
}

func TestNewServer_Faults(t *testing.T) {
	t.Parallel()
	_, err := NewServer(Config{
		Path: "x", Transports: []string{"carrier pigeon"}, PingInterval: -1, MaxPayload: -1, Queue: SendQueue{OnFull: 9},
	}, &echo{})
	for _, want := range []string{"Path", "carrier pigeon", "PingInterval", "MaxPayload", "policy"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not tell of %s", err, want)
		}
	}
	if _, err := NewServer(Config{}, nil); err == nil {
		t.Error("no handler is no fault")
	}
	if _, err := NewServer(Config{
		Origin: OriginPolicy{Allow: []string{"*"}, Credentials: true}, Cookie: &http.Cookie{Name: "a;b"},
	}, &echo{}); err == nil || !strings.Contains(err.Error(), "cookie") || !strings.Contains(err.Error(), "credentials") {
		t.Error(err)
	}
}
