package interop

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/client"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/parser/msgpack"
)

// startPlain starts a Node server that is alone.
func startPlain(t *testing.T, options obj) (p *peer, url string) {
	t.Helper()
	p = startPeer(t, "server-plain.mjs")
	p.do("start", options, &url)
	return p, url
}

// callNode emits with acknowledgement and gives the arguments of the answer in the form of scripts.
func callNode(t *testing.T, s *client.Socket, event string, args ...any) list {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Scale(limit))
	defer cancel()
	r, err := s.EmitWithAck(ctx, event, args...)
	if err != nil {
		t.Fatalf("%s: %v", event, err)
	}
	got := list{}
	for _, a := range r.Args() {
		v, err := a.Any()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, script(v))
	}
	return got
}

// TestGoClient_NodeServers runs our client against official servers.
func TestGoClient_NodeServers(t *testing.T) {
	t.Parallel()
	auth := map[string]any{"token": "abc"}
	for name, tt := range map[string]struct {
		server obj
		config client.Config
	}{
		"4.x": {obj{"generation": 4}, client.Config{Auth: auth}},
		"4.x with msgpack": {
			obj{"generation": 4, "packed": true, "recovery": true}, client.Config{Auth: auth, Parser: msgpack.New()},
		},
		"3.x":              {obj{"generation": 3}, client.Config{Auth: auth}},
		"3.x with msgpack": {obj{"generation": 3, "packed": true}, client.Config{Auth: auth, Parser: msgpack.New()}},
		"2.x":              {obj{"generation": 2}, client.Config{EIO3: true}},
		"2.x with msgpack": {obj{"generation": 2, "packed": true}, client.Config{EIO3: true, Parser: msgpack.New()}},
	} {
		for way, w := range ways {
			t.Run(name+" by "+way, func(t *testing.T) {
				t.Parallel()
				p, url := startPlain(t, tt.server)
				c := tt.config
				c.Transports = transportsOf(w.options)
				c.Query = map[string][]string{"room": {"7"}}
				checkGoClient(t, p, url, c, w.transport)
			})
		}
	}
}

func transportsOf(options obj) (all []string) {
	names, _ := options["transports"].(list)
	for _, n := range names {
		all = append(all, n.(string))
	}
	return all
}

func checkGoClient(t *testing.T, p *peer, url string, c client.Config, transport string) {
	t.Helper()
	welcome, reasons := make(chan string, 4), make(chan client.Reason, 4)
	c.Setup = func(s *client.Socket) {
		s.On("welcome", client.Func(func(b []byte, id string) { welcome <- id + string(b) }))
		s.On("question", client.Func(func(n int) int { return 2 * n }))
		s.OnDisconnect(func(r client.Reason, _ error) { reasons <- r })
	}
	m, err := client.New(url, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() }) // always nil
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Scale(limit))
	defer cancel()
	for _, nsp := range []string{"/", "/chat"} {
		s := m.Socket(nsp)
		if err := s.Connect(ctx); err != nil {
			t.Fatal(err)
		}
		if got := <-welcome; got != s.ID()+"\x01\x02\x03" {
			t.Errorf("welcome %q, id %q", got, s.ID())
		}
		args := []any{"text", 1.5, []byte{0, 255}, nil, obj{"deep": list{[]byte("b")}}}
		same(t, nsp+" echo", callNode(t, s, "echo", args...), script(args))
		same(t, nsp+" question", callNode(t, s, "ask me"), list{40})
		if got := callNode(t, s, "auth"); c.Auth != nil {
			same(t, nsp+" auth", got[0], c.Auth)
			same(t, nsp+" query", got[1].(obj)["room"], "7")
		}
	}
	eventually(t, "the transport", func() bool { return m.Transport() == transport })
	var refusal *client.ConnectError
	if err := m.Socket("/closed").Connect(ctx); !errors.As(err, &refusal) {
		t.Fatalf("a refused namespace: %v", err)
	}
	wantRefusal(t, refusal, c)
	if err := m.Socket("/chat").Emit("leave"); err != nil {
		t.Fatal(err)
	}
	if r := <-reasons; r != client.ReasonServerDisconnect {
		t.Errorf("reason %q", string(r))
	}
	_ = m.Close() // always nil
	var left list
	p.do("wait", obj{"kind": "disconnect", "count": 2}, &left)
	if left[1] != "client namespace disconnect" {
		t.Errorf("at the server: %v", left)
	}
}

// wantRefusal checks what /closed says: servers of 2.x send the data or, where there is none, the message.
func wantRefusal(t *testing.T, refusal *client.ConnectError, c client.Config) {
	t.Helper()
	message, code := "no entry", 7
	if c.EIO3 {
		message = ""
		if c.Parser != nil {
			message, code = "no entry", 0
		}
	}
	var data struct{ Code int }
	if code != 0 {
		if err := refusal.Data.Scan(&data); err != nil {
			t.Error(err)
		}
	}
	if refusal.Message != message || data.Code != code {
		t.Errorf("refused: %q %+v", refusal.Message, data)
	}
}

// TestGoClient_Recovery loses the connection to an official server and gets the events that were missed.
func TestGoClient_Recovery(t *testing.T) {
	t.Parallel()
	for way, w := range ways {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			p, url := startPlain(t, obj{"generation": 4, "recovery": true})
			news, back, gone := make(chan int, 8), make(chan bool, 8), make(chan struct{}, 8)
			s, err := client.Dial(t.Context(), url, client.Config{
				Transports: transportsOf(w.options), Reconnect: client.Reconnect{Delay: time.Second},
				Setup: func(s *client.Socket) {
					s.On("news", client.Func(func(n int) { news <- n }))
					s.OnConnect(func() { back <- s.Recovered() })
					s.OnDisconnect(func(client.Reason, error) { gone <- struct{}{} })
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = s.Close() }) // always nil
			id := s.ID()
			if <-back {
				t.Error("recovered at first")
			}
			p.do("emit", obj{"event": "news", "args": list{1}}, nil)
			if n := <-news; n != 1 {
				t.Errorf("news %d", n)
			}
			p.do("cut", obj{}, nil)
			<-gone
			p.do("emit", obj{"event": "news", "args": list{2}}, nil)
			if !<-back || s.ID() != id || len(news) != 1 || <-news != 2 {
				t.Errorf("id %q, before %q", s.ID(), id)
			}
		})
	}
}

// TestGoClient_Retries sends events until an official server acknowledges them, in order and one at a time, also where
// the connection is lost meanwhile.
func TestGoClient_Retries(t *testing.T) {
	t.Parallel()
	for way, w := range ways {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			p, url := startPlain(t, obj{"generation": 4})
			s, err := client.Dial(t.Context(), url, client.Config{
				Transports: transportsOf(w.options), Retries: 100, AckTimeout: testkit.Scale(200 * time.Millisecond),
				Reconnect: client.Reconnect{Delay: 10 * time.Millisecond},
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = s.Close() }) // always nil
			same(t, "the third try", callNode(t, s, "third"), list{"done"})
			p.do("cut", obj{}, nil)
			for i := range 20 {
				if err := s.Emit("line", i); err != nil {
					t.Fatal(err)
				}
			}
			same(t, "what came", unique(callNode(t, s, "lines")[0].(list)), list{
				0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0, 16.0, 17.0, 18.0, 19.0,
			})
		})
	}
}

// unique leaves out what is the same as the one before: an event that was sent again.
func unique(l list) list {
	return slices.Compact(l)
}
