package engineio

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"
	"unsafe"

	"github.com/sockeye-io/sockeye/internal/eio"
	"github.com/sockeye-io/sockeye/internal/netpoll"
	"github.com/sockeye-io/sockeye/internal/ws"
)

// idle is a network connection that takes whatever it is given.
type idle struct{ woken int }

func (n *idle) Wake()                              { n.woken++ }
func (*idle) Writable() bool                       { return true }
func (*idle) Pause()                               {}
func (*idle) Resume()                              {}
func (*idle) CloseAfterFlush(error, time.Duration) {}
func (*idle) Close(error)                          {}

// offline gives a WebSocket connection without a network.
func offline(t testing.TB, message func(*Conn, []byte, bool)) *webSocket {
	t.Helper()
	s := &Server{}
	s.env = env{
		handler: &echo{message: message}, queue: SendQueue{}.withDefaults(), start: time.Now(),
		interval: time.Hour, timeout: time.Hour, fault: func(err error) { t.Error(err) }, count: &s.counters,
	}
	s.frames[0] = ws.ReaderConfig{MaxMessage: 1 << 20}
	c := newConn(&s.env, "sid", 4, "")
	tr := s.newWebSocket(c, &query{}, false)
	c.t = tr
	c.leave()
	tr.start(func(netpoll.Handler) netpoll.Conn { return &idle{} })
	return tr
}

func TestAllocs_SendPrepared(t *testing.T) {
	tr := offline(t, nil)
	p := Prepare([]byte("hello"), false)
	var bufs [][]byte
	if n := testing.AllocsPerRun(1000, func() {
		for range 4 {
			if err := tr.c.SendPrepared(SendOptions{}, p); err != nil {
				t.Fatal(err)
			}
		}
		if bufs = tr.Next(bufs[:0]); len(bufs) != 4 {
			t.Fatal(len(bufs))
		}
		bufs = tr.Next(bufs[:0])
	}); n != 0 {
		t.Errorf("%v allocations for each receiver", n)
	}
}

func TestAllocs_Receive(t *testing.T) {
	got := 0
	tr := offline(t, func(*Conn, []byte, bool) { got++ })
	frame := ws.AppendMasked(nil, ws.Text, false, [4]byte{1, 2, 3, 4}, []byte("4hello"))
	b := make([]byte, len(frame))
	if n := testing.AllocsPerRun(1000, func() {
		copy(b, frame)
		if err := tr.Data(b); err != nil {
			t.Fatal(err)
		}
	}); n != 0 || got == 0 {
		t.Errorf("%v allocations for a message, %d received", n, got)
	}
}

func TestAllocs_ParseQuery(t *testing.T) {
	raw := "EIO=4&transport=polling&t=abc&sid=AAAAAAAAAAAAAAAAAAAA"
	if n := testing.AllocsPerRun(1000, func() {
		if q := parseQuery(raw); q.sid == "" {
			t.Fatal(q)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestConn_IsSmall(t *testing.T) {
	t.Parallel()
	if n := unsafe.Sizeof(Conn{}) + unsafe.Sizeof(webSocket{}); n > 600 {
		t.Errorf("an idle connection needs %d bytes", n)
	}
}

// BenchmarkPolling compares a message sent and polled with a handler that does nothing.
func BenchmarkPolling(b *testing.B) {
	run := func(b *testing.B, target string, client *http.Client) {
		b.Helper()
		b.ReportAllocs()
		for b.Loop() {
			for _, m := range []string{http.MethodPost, http.MethodGet} {
				var body io.Reader
				if m == http.MethodPost {
					body = bytes.NewReader([]byte("4hello"))
				}
				req, err := http.NewRequestWithContext(b.Context(), m, target, body)
				if err != nil {
					b.Fatal(err)
				}
				resp, err := client.Do(req)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
					b.Fatal(resp.Status, err)
				}
				_ = resp.Body.Close()
			}
		}
	}
	b.Run("bare", func(b *testing.B) {
		ok := []byte("ok")
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = w.Write(ok)
		}))
		defer s.Close()
		run(b, s.URL, s.Client())
	})
	b.Run("engine", func(b *testing.B) {
		s := newSite(b, Config{})
		run(b, s.http.URL+"/engine.io/?"+s.poll("4"), s.http.Client())
	})
}

// BenchmarkSendPrepared is the work for each receiver of a broadcast, without the network.
func BenchmarkSendPrepared(b *testing.B) {
	for _, n := range []int{1, 16} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			tr := offline(b, nil)
			p := Prepare(make([]byte, 64), false)
			var bufs [][]byte
			b.ReportAllocs()
			for b.Loop() {
				for range n {
					_ = tr.c.SendPrepared(SendOptions{}, p)
				}
				bufs = tr.Next(bufs[:0])
				bufs = tr.Next(bufs[:0])
			}
		})
	}
}

func FuzzParseQuery(f *testing.F) {
	f.Add("EIO=4&transport=polling&sid=a%20b+c&j=1&b64=1")
	f.Add("&&=&a=%&%=a;b=c")
	f.Fuzz(func(t *testing.T, raw string) {
		q := parseQuery(raw)
		if p := q.protocol(); p != 3 && p != 4 {
			t.Fatal(p)
		}
		eachParameter(raw, func(k, v string) { _ = unescapeQuery(k) + unescapeQuery(v) })
	})
}

// FuzzWebSocketPackets sends frames to a connection, whole and in pieces: it must survive, and the packets must be the same.
func FuzzWebSocketPackets(f *testing.F) {
	for _, s := range []string{"4hello", "2", "3", "0", "1", "5", "6", "bAAAA", "", "x", "2probe"} {
		f.Add(ws.AppendMasked(nil, ws.Text, false, [4]byte{1, 2, 3, 4}, []byte(s)), uint8(4))
		f.Add(ws.AppendMasked(nil, ws.Binary, false, [4]byte{1, 2, 3, 4}, []byte(s)), uint8(3))
	}
	f.Fuzz(func(t *testing.T, data []byte, protocol uint8) {
		var got [2][]string
		for i := range got {
			tr := offline(t, func(_ *Conn, data []byte, _ bool) { got[i] = append(got[i], string(data)) })
			tr.c.protocol = 3 + protocol%2
			b := bytes.Clone(data)
			for len(b) > 0 {
				n := len(b)
				if i == 1 {
					n = 1
				}
				_ = tr.Data(b[:n])
				b = b[n:]
			}
		}
		if len(got[0]) != len(got[1]) {
			t.Fatalf("%q whole, %q in pieces", got[0], got[1])
		}
	})
}

// FuzzPost posts payloads to a session: it must survive them.
func FuzzPost(f *testing.F) {
	f.Add([]byte("4hello\x1ebAQID\x1e2\x1e3"), uint8(0))
	f.Add([]byte("4hello\x1e1"), uint8(0))
	f.Add([]byte("6:4hello1:2"), uint8(1))
	f.Add([]byte("\x00\x06\xff4hello\x01\x02\xff\x04\x01"), uint8(2))
	f.Fuzz(func(t *testing.T, body []byte, format uint8) {
		tr := offline(t, func(*Conn, []byte, bool) {})
		formats := [...]eio.Format{eio.V4, eio.V3Text, eio.V3Binary}
		i := int(format) % len(formats)
		if i > 0 {
			tr.c.protocol = 3
		}
		p := &polling{s: tr.s, c: tr.c, signal: make(chan struct{}, 1)}
		tr.c.t = p
		if tr.c.enter(p) {
			p.deliver(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/", nil), formats[i], body)
			tr.c.leave()
		}
	})
}
