package engineio

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/sockeye-io/sockeye/internal/eio"
	"github.com/sockeye-io/sockeye/internal/ws"
)

// vector is one exchange with a Node server, recorded byte by byte.
type vector struct {
	Name    string
	Request struct {
		Method, Path string
		Headers      map[string]string
		Body         recorded
	}
	Response struct {
		Status  string
		Headers [][2]string
		Body    recorded
	}
	Errors []struct {
		Code    int
		Message string
		Context map[string]any
	} `json:"connection_error_event"`
	Closed []struct{ Reason string } `json:"session_close"`
	Query  string                    `json:"url_query"`
	Frames []struct{ From, Kind, Hex string }
	Close  any `json:"websocket_close"`
}

type recorded struct{ Hex string }

func (r recorded) String() string {
	b, err := hex.DecodeString(r.Hex)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func readVectors(t *testing.T) []vector {
	t.Helper()
	data, err := os.ReadFile("testdata/engineio-live.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Vectors []vector }
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	return file.Vectors
}

// deliberate lists the vectors that we answer otherwise, with the reason.
var deliberate = map[string]string{
	"v3 JSONP handshake":                             "JSONP is a script type: nosniff makes browsers refuse text",
	"v4 JSONP handshake":                             "JSONP is a script type",
	"JSONP callback index is stripped of non digits": "JSONP is a script type",
	"error 3: invalid Origin header":                 "net/http hands the header over, Node's HTTP parser does not: code 3",
	"error 5 over a WebSocket upgrade: the 101 is already written when the check runs": "refused before the 101",
	"error 4: allowRequest refuses without a message":                                  "the context says Forbidden where Node says null",
	"error 3: middleware failure":                                                      "there are no middlewares at this level",
	"error 3: id generation failure":                                                   "ids cannot fail",
	"upgrade request to another path is destroyed after 1000 ms":                       "404 at once",
	"cookie object, cors star":                                                         "cookies are HttpOnly with SameSite as configured; see the tests of cookies",
	"cors list, matching regexp":                                                       "patterns are of another form; see the tests of origins",
	"cors list, no match":                                                              "refused, where Node serves without CORS headers",
	"cors preflight":                                                                   "see the tests of origins",
	"cookie: true":                                                                     "a cross-origin request; see the tests of origins and cookies",
	"JSONP poll: binary (v3, no b64 in the query)":                                     "binary goes out as base64, not as a JSON dump of a buffer",
	"path without trailing slash is not intercepted":                                   "the 404 is ours: there is no application behind this handler",
}

// above are vectors of the layers above this one.
var above = regexp.MustCompile(`^(client bundle|unknown client file)`)

func TestGolden_Requests(t *testing.T) {
	t.Parallel()
	replayed := 0
	for _, v := range readVectors(t) {
		if v.Request.Method == "" || above.MatchString(v.Name) || deliberate[v.Name] != "" {
			continue
		}
		replayed++
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			v.replay(t)
		})
	}
	if replayed < 95 {
		t.Errorf("only %d vectors were replayed", replayed)
	}
}

func (v *vector) has(s string) bool { return strings.Contains(v.Name, s) }

// config is that of the recorded server.
func (v *vector) config(hook func(*ConnectionError)) Config {
	cfg := Config{Path: "/socket.io/", AllowEIO3: !v.has("error 5"), JSONP: true}
	cfg.Hooks.ConnectionError = hook
	switch {
	case v.has("allowRequest"), v.has("error 4"):
		cfg.AllowRequest = func(*http.Request) error { return errors.New("nope") }
	case v.has("not in transports"), v.has("polling-only"):
		cfg.Transports = []string{"polling"}
	case v.has("maxPayload"), v.has("maxHttpBufferSize"):
		cfg.MaxPayload = 100
	}
	return cfg
}

func (v *vector) replay(t *testing.T) {
	var mu sync.Mutex
	var refused []*ConnectionError
	h := &echo{message: func(*Conn, []byte, bool) {}}
	s := newSiteWith(t, v.config(func(e *ConnectionError) {
		mu.Lock()
		defer mu.Unlock()
		refused = append(refused, e)
	}), h)
	path, query, _ := strings.Cut(v.Request.Path, "?")
	values, err := url.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	var first, held <-chan reply
	if sid := values.Get("sid"); len(sid) == 20 {
		live := s.poll(v.eio(values))
		query = strings.Replace(query, sid, live[strings.LastIndex(live, "sid=")+4:], 1)
		first, held = v.prepare(t, s, query)
	}
	var got reply
	if first != nil {
		got = <-first
	} else {
		got = s.raw(v.Request.Method, path+"?"+query, v.Request.Body.String(), v.Request.Headers)
	}
	v.compare(t, got)
	if held != nil {
		<-held
	}
	for i, closed := range v.Closed {
		if got := h.reasons(t, i+1)[i].reason; got != Reason(closed.Reason) {
			t.Errorf("closed for %q, want %q", got, closed.Reason)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	for i, e := range v.Errors {
		if i >= len(refused) || refused[i].Code != e.Code || refused[i].Message != e.Message {
			t.Fatalf("connection errors %v", refused)
		}
		for k, want := range e.Context {
			if refused[i].Context[k] != fmt.Sprint(want) {
				t.Errorf("context %v, want %v", refused[i].Context, e.Context)
			}
		}
	}
}

// eio is the part of the query that opens a like session.
func (v *vector) eio(q url.Values) string {
	s := q.Get("EIO")
	if v.has("protocol mismatch") {
		s = "4"
	}
	if q.Has("b64") {
		s += "&b64=" + q.Get("b64")
	}
	if q.Has("j") {
		s += "&j=" + q.Get("j")
	}
	return s
}

// prepare brings the session into the state that the vector begins with. If the recorded answer is that of a poll which
// was pending before, first gives that; held is one that is pending beside.
func (v *vector) prepare(t *testing.T, s *site, query string) (first, held <-chan reply) {
	t.Helper()
	c := s.h.last(t)
	hold := func() <-chan reply {
		ch := make(chan reply, 1)
		go func() { ch <- s.raw("GET", "/socket.io/?"+query, "", v.Request.Headers) }() // ends with the answer
		pending(t, c)
		return ch
	}
	post := func(body string) {
		s.raw("POST", "/socket.io/?"+query, body, map[string]string{"Content-Type": "text/plain"})
	}
	switch {
	case v.has("overlap: second GET"):
		held = hold()
	case v.has("overlap: what the first"):
		first = hold()
		s.raw("GET", "/socket.io/?"+query, "", nil)
	case v.has("after overlap"):
		c.end(ReasonTransportError, nil)
	case v.has("malformed payload: what"):
		first = hold()
		post("abc")
	case v.has("close packet: what"):
		first = hold()
		post("1")
	case v.has("client ping: what"):
		first = hold()
		post("2")
	case v.has("client pong: what"):
		first = hold()
		post("1:3")
	case v.has("v3 poll gets pong"):
		post("1:2")
	case v.has("v3 poll after ping with data"):
		post("6:2probe")
	case v.has("next poll"), v.has("session closed by the parse error"):
		_ = c.Close()
	case v.Request.Method == http.MethodGet:
		sendRecorded(t, c, v.Request.Path, v.Response.Headers, []byte(v.Response.Body.String()))
	}
	return first, held
}

// sendRecorded sends the messages that a recorded answer has.
func sendRecorded(t *testing.T, c *Conn, path string, headers [][2]string, body []byte) {
	t.Helper()
	f := eio.V4
	if c.Protocol() == 3 {
		f = eio.V3Text
	}
	for _, h := range headers {
		if h[0] == "Content-Encoding" {
			if err := c.Send(bytes.Repeat([]byte("x"), 2000), false); err != nil {
				t.Fatal(err)
			}
			return
		}
		if h[1] == "application/octet-stream" {
			f = eio.V3Binary
		}
	}
	if strings.Contains(path, "&j=") {
		_, script, _ := strings.Cut(string(body), "(")
		var text string
		if err := json.Unmarshal([]byte(strings.TrimSuffix(script, ");")), &text); err != nil {
			return // a refusal
		}
		body = []byte(text)
	}
	for d := eio.NewDecoder(f, bytes.Clone(body)); d.Next(); {
		if d.Packet.Type == eio.Message {
			if err := c.Send(d.Packet.Data, d.Packet.Binary); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// raw makes a request with exactly these headers.
func (s *site) raw(method, target, body string, headers map[string]string) reply {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.http.URL+target, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for k, v := range headers {
		req.Header.Set(k, v)
	}
	resp, err := (&http.Transport{DisableCompression: true, DisableKeepAlives: headers["Connection"] == ""}).RoundTrip(req)
	if err != nil {
		s.t.Error(err)
		return reply{}
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return reply{status: resp.StatusCode, header: resp.Header}
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Error(err)
	}
	return reply{resp.StatusCode, resp.Header, string(b)}
}

var sidPattern = regexp.MustCompile(`sid\\?":\\?"[^"\\]{20}|io=[^;]{20}`)

func (v *vector) compare(t *testing.T, got reply) {
	t.Helper()
	if !strings.HasPrefix(v.Response.Status, fmt.Sprintf("HTTP/1.1 %d", got.status)) {
		t.Errorf("status %d, want %s", got.status, v.Response.Status)
	}
	want, have := v.Response.Body.String(), got.body
	for _, h := range v.Response.Headers {
		k, value := h[0], h[1]
		if k == "Transfer-Encoding" || k == "Content-Encoding" && value == got.header.Get(k) {
			if k == "Content-Encoding" { // the recorded body is not kept
				want, have = "", ""
			}
			continue
		}
		if k == "Content-Type" && strings.Contains(v.Request.Path, "&j=") {
			value = strings.Replace(value, "plain", "javascript", 1)
			if v.Request.Method == http.MethodPost {
				value = h[1]
			}
		}
		if have := got.header.Get(k); sidPattern.ReplaceAllString(have, "") != sidPattern.ReplaceAllString(value, "") {
			t.Errorf("%s: %q, want %q", k, have, value)
		}
	}
	if got.header.Get("X-Content-Type-Options") != "nosniff" && got.status != http.StatusSwitchingProtocols {
		t.Error("no nosniff")
	}
	if got.status == http.StatusSwitchingProtocols {
		return
	}
	if sidPattern.ReplaceAllString(have, "") != sidPattern.ReplaceAllString(want, "") {
		t.Errorf("body %q, want %q", have, want)
	}
}

// engineOnly are the recorded WebSocket sessions that do not depend on the layer above.
var engineOnly = regexp.MustCompile(`^(v4 websocket: (client close packet|ping from client|unknown packet type|upgrade packet)|` +
	`v3 websocket: (pong from client|binary frame with unknown|binary ping))`)

func TestGolden_WebSocketSessions(t *testing.T) {
	t.Parallel()
	replayed := 0
	for _, v := range readVectors(t) {
		if !engineOnly.MatchString(v.Name) {
			continue
		}
		replayed++
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			h := &echo{message: func(*Conn, []byte, bool) {}}
			s := newSiteWith(t, Config{AllowEIO3: true}, h)
			c := s.dial(v.Query)
			for i, f := range v.Frames {
				data := recorded{f.Hex}.String()
				switch {
				case i == 0:
					c.open()
				case f.From == "client" && f.Kind == "binary":
					c.write(ws.Binary, data)
				case f.From == "client":
					c.send(data)
				case !strings.HasPrefix(data, "4"): // those are of the layer above
					c.expect(data)
				}
			}
			if v.Close != nil {
				c.expectClose(1005)
				if got := h.reasons(t, 1)[0].reason; got != Reason(v.Closed[0].Reason) {
					t.Errorf("closed for %q, want %q", got, v.Closed[0].Reason)
				}
				return
			}
			if err := h.last(t).Send([]byte("alive"), false); err != nil {
				t.Fatal(err)
			}
			c.expect("4alive")
		})
	}
	if replayed < 7 {
		t.Errorf("only %d sessions were replayed", replayed)
	}
}

func TestGolden_MessageTooLarge(t *testing.T) {
	t.Parallel()
	s := newSite(t, Config{MaxPayload: 100})
	c := s.dial(socketQuery)
	c.open()
	c.send("4" + strings.Repeat("x", 100))
	c.expectClose(1009)
	if got := s.h.reasons(t, 1)[0].reason; got != ReasonTransportError {
		t.Error(got)
	}
}

func TestGolden_DeliberateDifferences(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for _, v := range readVectors(t) {
		known[v.Name] = true
	}
	for name := range deliberate {
		if !known[name] {
			t.Errorf("no vector %q", name)
		}
	}
	t.Run("refused before the 101", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, Config{})
		_, r := s.handshake("EIO=3&transport=websocket")
		b, err := io.ReadAll(r.Body)
		if err != nil || r.StatusCode != http.StatusBadRequest || string(b) != "Unsupported protocol version" {
			t.Errorf("%s %q %v", r.Status, b, err)
		}
	})
	t.Run("JSONP is a script", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, Config{JSONP: true})
		r := s.do("GET", pollQuery+"&j=1a2);alert(1", "")
		if r.header.Get("Content-Type") != "text/javascript; charset=UTF-8" || !strings.HasPrefix(r.body, `___eio[121]("0{\"sid\":\"`) {
			t.Errorf("%+v", r)
		}
	})
	t.Run("another path", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, Config{})
		s.s.cfg.Path = "/engine.io/" // requests below go elsewhere
		if r := s.raw("GET", "/engine.io?EIO=4&transport=polling", "", nil); r.status != 404 {
			t.Errorf("%+v", r)
		}
	})
	t.Run("session stays after 413", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, Config{MaxPayload: 10})
		q := s.poll("4")
		if r := s.do("POST", q, "4"+strings.Repeat("x", 10)); r.status != 413 || r.body != "" {
			t.Errorf("%+v", r)
		}
		s.do("POST", q, "4ok")
		if r := s.do("GET", q, ""); r.body != "4ok" {
			t.Errorf("%+v", r)
		}
	})
}
