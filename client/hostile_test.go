package client_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/client"
	"github.com/sockeye-io/sockeye/engineio"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/internal/ws"
	"github.com/sockeye-io/sockeye/parser"
)

const openPacket = `0{"sid":"abcdefghijklmnopqrst","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`

// script is a server that accepts one WebSocket after the other and does with each what it is told.
type script struct {
	*httptest.Server

	mu   sync.Mutex
	play func(nc net.Conn)
}

func newScript(t testing.TB) *script {
	t.Helper()
	s := &script{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		nc, _, _, err := ws.Accept(w, r, ws.AcceptOptions{})
		if err != nil {
			return
		}
		defer nc.Close()
		s.mu.Lock()
		play := s.play
		s.mu.Unlock()
		play(nc)
		_ = nc.SetReadDeadline(time.Now().Add(testkit.Scale(10 * time.Second))) // it is a TCP connection
		_, _ = io.Copy(io.Discard, nc)                                          // until the client goes
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *script) set(play func(nc net.Conn)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.play = play
}

// say writes messages; those that begin with "binary:" as binary.
func say(nc net.Conn, messages ...string) {
	var out []byte
	for _, m := range messages {
		if b, ok := strings.CutPrefix(m, "binary:"); ok {
			out = ws.AppendFrame(out, ws.Binary, []byte(b))
		} else {
			out = ws.AppendFrame(out, ws.Text, []byte(m))
		}
	}
	_, _ = nc.Write(out) // the client may be gone
}

// receive gives the next value.
func receive[T any](t testing.TB, ch <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-ch:
	case <-within(t).Done():
		t.Fatal("nothing within the time limit")
	}
	return v
}

// What a client makes of servers that do not keep to the protocol: it ends the connection and says why, or ignores it.
func TestSocket_HostileServers(t *testing.T) {
	t.Parallel()
	const joined = `40{"sid":"s"}`
	for name, tc := range map[string]struct {
		say    []string
		reason client.Reason // of the disconnect; "" = none
		is     error
	}{
		"attachments without end": {[]string{`459999999-["a",{"_placeholder":true,"num":0}]`}, client.ReasonParseError, parser.ErrInvalid},
		"too many attachments": {
			[]string{`4511-["a"]`}, client.ReasonParseError, parser.ErrInvalid,
		},
		"an attachment of nothing": {[]string{"binary:x"}, client.ReasonParseError, parser.ErrInvalid},
		"text between attachments": {
			[]string{`451-["a",{"_placeholder":true,"num":0}]`, `42["b"]`}, client.ReasonParseError, parser.ErrInvalid,
		},
		"no JSON":           {[]string{`42[`}, client.ReasonParseError, parser.ErrInvalid},
		"deep JSON":         {[]string{`42["a",` + strings.Repeat("[", 900)}, client.ReasonParseError, nil},
		"an unknown type":   {[]string{`49`}, client.ReasonParseError, parser.ErrInvalid},
		"a great message":   {[]string{`42["a","` + strings.Repeat("x", 2000) + `"]`}, client.ReasonTransportError, nil},
		"great attachments": {[]string{`452-["a",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`, "binary:" + strings.Repeat("x", 900), "binary:" + strings.Repeat("x", 900)}, client.ReasonParseError, parser.ErrInvalid},
		"an unknown packet": {[]string{"8"}, client.ReasonParseError, nil},
		"a second open":     {[]string{openPacket}, "", nil},
		"a second CONNECT":  {[]string{joined}, "", nil},
		"a late refusal":    {[]string{`44{"message":"no"}`}, "", nil},
		"a foreign namespace": {
			[]string{`42/other,["a"]`, `40/other,{"sid":"t"}`, `41/other,`, `44/other,{"message":"no"}`}, "", nil,
		},
		"an acknowledgement of nothing": {[]string{`437[]`, `43123456789012[]`}, "", nil},
		"an event without a name":       {[]string{`42[]`}, client.ReasonParseError, parser.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := newScript(t)
			srv.set(func(nc net.Conn) {
				say(nc, openPacket, joined)
				say(nc, tc.say...)
				say(nc, `42["end"]`)
			})
			ended, end := make(chan error, 2), make(chan struct{}, 2)
			reasons := make(chan client.Reason, 2)
			s, err := client.Dial(within(t), srv.URL, client.Config{
				Transports: onlyWebSocket, Reconnect: client.Reconnect{Disabled: true}, MaxPayload: 1000,
				Limits: parser.Limits{Bytes: 1500},
				Setup: func(s *client.Socket) {
					s.On("end", client.Func(func() { end <- struct{}{} }))
					s.OnDisconnect(func(r client.Reason, err error) { reasons <- r; ended <- err })
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = s.Close() }) // always nil
			if tc.reason == "" {
				receive(t, end)
				return
			}
			if r := receive(t, reasons); r != tc.reason {
				t.Errorf("reason %q", string(r))
			}
			if err := receive(t, ended); err == nil || tc.is != nil && !errors.Is(err, tc.is) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %v", err)
			}
			if len(end) > 0 {
				t.Error("what came after was taken")
			}
		})
	}
}

// A server that sends events without end and never answers CONNECT.
func TestSocket_HostileBeforeConnect(t *testing.T) {
	t.Parallel()
	srv := newScript(t)
	srv.set(func(nc net.Conn) {
		say(nc, openPacket)
		some := strings.Split(strings.Repeat(`42["a"]`+"\n", 1000), "\n")[:1000]
		for range 132 {
			say(nc, some...)
		}
	})
	_, err := client.Dial(within(t), srv.URL, client.Config{Transports: onlyWebSocket, Reconnect: client.Reconnect{Disabled: true}})
	if err == nil || !errors.Is(err, client.ReasonParseError) || !strings.Contains(err.Error(), "too many events") {
		t.Errorf("got %v", err)
	}
}

// A handshake that cannot be: none of them opens.
func TestDial_HostileHandshakes(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]string{
		"no sid":            `0{"pingInterval":25000,"pingTimeout":20000}`,
		"no interval":       `0{"sid":"a","pingTimeout":20000}`,
		"negative interval": `0{"sid":"a","pingInterval":-1,"pingTimeout":20000}`,
		"endless interval":  `0{"sid":"a","pingInterval":1e300,"pingTimeout":20000}`,
		"huge maxPayload":   `0{"sid":"a","pingInterval":25000,"pingTimeout":20000,"maxPayload":1e300}`,
		"wrong types":       `0{"sid":7,"pingInterval":"25000"}`,
		"no JSON":           `0hello`,
		"a message":         `4hello`,
		"binary":            "binary:0{}",
		"empty":             "",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := newScript(t)
			srv.set(func(nc net.Conn) { say(nc, open) })
			s, err := client.Dial(within(t), srv.URL, client.Config{Transports: onlyWebSocket})
			var te *engineio.TransportError
			if s != nil || !errors.As(err, &te) || te.Transport != "websocket" {
				t.Errorf("got %v", err)
			}
		})
	}
}

// FuzzSocket_Server gives a client what a server might send, message after message: the client must end the connection
// or live with it, without a panic, and must be able to close.
func FuzzSocket_Server(f *testing.F) {
	for _, seed := range []string{
		`40{"sid":"s","pid":"p"}` + "\n" + `42["a",1]` + "\n" + `421["b"]`,
		`40{"sid":"s"}` + "\n" + `451-["a",{"_placeholder":true,"num":0}]` + "\n" + "binary:xyz",
		`44{"message":"no","data":{"a":1}}`, `40` + "\n" + `41`, `430["x"]`, "2\n1", `40/a,{"sid":"t"}` + "\n" + `41/a,`,
		openPacket, `42["offset","o"]` + "\n" + `40{"sid":"s","pid":"p"}`, "binary:\x84\xa4type\x00",
	} {
		f.Add([]byte(seed))
	}
	srv := newScript(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		srv.set(func(nc net.Conn) {
			say(nc, openPacket)
			for m := range bytes.SplitSeq(data, []byte("\n")) {
				say(nc, string(bytes.ToValidUTF8(m, []byte("?"))))
			}
			say(nc, "1")
		})
		gone := make(chan struct{}, 1)
		m, err := client.New(srv.URL, client.Config{
			Transports: onlyWebSocket, Reconnect: client.Reconnect{Disabled: true}, MaxPayload: 1 << 16,
			OnError: func(err error) {
				if p, ok := errors.AsType[*client.PanicError](err); ok {
					t.Errorf("%v\n%s", p, p.Stack)
				}
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		s := m.Socket("/")
		s.OnDisconnect(func(client.Reason, error) { gone <- struct{}{} })
		s.OnAny(client.Func(func(*client.Message) {}))
		ctx, cancel := context.WithTimeout(t.Context(), testkit.Scale(10*time.Second))
		defer cancel()
		if s.Connect(ctx) == nil {
			select {
			case <-gone:
			case <-ctx.Done():
				t.Error("the connection has not ended")
			}
		}
		if ctx.Err() != nil {
			t.Error("it takes too long")
		}
		_ = m.Close() // always nil
	})
}

// What an emit and an event cost in allocations, everything of the client counted. Not parallel: all are counted.
//
//nolint:paralleltest // see above
func TestAllocs_Socket(t *testing.T) {
	const n = 2000
	srv := newScript(t)
	more := make(chan struct{})
	events := strings.Split(strings.Repeat(`42["news",{"a":1}]`+"\n", n), "\n")[:n]
	srv.set(func(nc net.Conn) {
		say(nc, openPacket, `40{"sid":"s"}`)
		var out []byte
		for _, m := range events {
			out = ws.AppendFrame(out, ws.Text, []byte(m))
		}
		for range more {
			_, _ = nc.Write(out) // shows in the count
		}
	})
	var got atomic.Int64
	all := make(chan struct{}, 1)
	s := dialAt(t, srv.URL, client.Config{Transports: onlyWebSocket})
	s.On("news", client.HandlerFunc(func(context.Context, *client.Message) error {
		if got.Add(1)%n == 0 {
			all <- struct{}{}
		}
		return nil
	}))
	if per := testing.AllocsPerRun(5, func() { more <- struct{}{}; <-all }) / n; per > 5 {
		t.Errorf("%.1f allocations for an event", per)
	}
	close(more)
	text := any("some text")
	if per := testing.AllocsPerRun(5, func() {
		for range n {
			if err := s.Emit("line", text, 7); err != nil {
				t.Fatal(err)
			}
		}
	}) / n; per > 16 {
		t.Errorf("%.1f allocations for an emit", per)
	}
}
