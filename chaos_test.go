package sockeye_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/engineio"
)

// odd are packets that clients of all kinds may send at any time.
var odd = []string{
	"0", "0/a,", "0/b,{}", "0/dyn-1,", "0/dyn-2,", "0/refused,", "0/nope,", "1", "1/a,", "1/b,", "1/dyn-1,",
	`2["echo",1]`, `21["echo",{"a":[]}]`, `2/a,["echo"]`, `2/a,7["echo","x"]`, `2["ask"]`, `2/b,["ask"]`, `2["join","r"]`,
	`2["slow"]`, `2["panic"]`, `2["leave me"]`, `2["kill me"]`, `2["kick all"]`, `2["cast"]`, `2["cast ack"]`, `30[]`, `31[1]`,
	`32["x"]`, `3/a,0[]`, "2", "3", `51-["echo",{"_placeholder":true,"num":0}]`, `61-0[{"_placeholder":true,"num":0}]`,
	`52-["echo",{"_placeholder":true,"num":1}]`,
}

// violations end the connection.
var violations = []string{"9", "4", "2{}", `2["connect"]`, "51-", `2/unknown,["x"]`, "\xff"}

// TestChaos has clients that do whatever comes to them, over all transports, while the server broadcasts, recovers,
// disconnects and, at the end, closes. Everything that began must end, whatever the order.
func TestChaos(t *testing.T) {
	t.Parallel()
	for _, recovery := range []*sockeye.Recovery{nil, {}} {
		t.Run(fmt.Sprintf("recovery %v", recovery != nil), func(t *testing.T) {
			t.Parallel()
			b := setup(t, sockeye.Config{
				AllowEIO3: true, RemoveEmpty: true, Recovery: recovery, AckTimeout: 20 * time.Millisecond,
				AttachmentTimeout: 20 * time.Millisecond, PollingCloseWait: 20 * time.Millisecond,
				PingInterval: 100 * time.Millisecond, PingTimeout: 200 * time.Millisecond,
				Limits: sockeye.Limits{Inbox: 4, Namespaces: 4}, Queue: sockeye.SendQueue{MaxPackets: 100},
				Hooks: sockeye.Hooks{Error: func(context.Context, error) {}},
			})
			begun, ended := chaosServer(b)
			ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
			defer cancel()
			var clients sync.WaitGroup
			for i := range 12 {
				clients.Go(func() {
					for ctx.Err() == nil {
						chaosClient(ctx, b, i)
					}
				})
			}
			for beat := time.NewTicker(time.Millisecond); ctx.Err() == nil; <-beat.C {
				err := errors.Join(
					b.Emit("news", []byte("x")), b.To("r").Except("s").Volatile().Emit("room"), b.Of("/a").Emit("a", 1))
				if err != nil {
					t.Error(err)
				}
			}
			clients.Wait()
			if err := b.Close(); err != nil {
				t.Error(err)
			}
			if b.Conns() != 0 || begun.Load() != ended.Load() || begun.Load() == 0 {
				t.Errorf("%d connections, %d sockets began, %d ended", b.Conns(), begun.Load(), ended.Load())
			}
			t.Logf("%d sockets", begun.Load())
		})
	}
}

func chaosServer(b *bundle) (begun, ended *atomic.Int64) {
	begun, ended = new(atomic.Int64), new(atomic.Int64)
	on := func(n *sockeye.Namespace, event string, f func(ctx context.Context, s *sockeye.Socket, m *sockeye.Message) error) {
		n.On(event, sockeye.HandlerFunc(func(ctx context.Context, m *sockeye.Message) error {
			return f(ctx, sockeye.SocketFrom(ctx), m)
		}))
	}
	count := func(_ context.Context, s *sockeye.Socket) {
		begun.Add(1)
		s.OnDisconnect(func(sockeye.Reason) { ended.Add(1) })
	}
	for _, n := range []*sockeye.Namespace{b.Of("/"), b.Of("/a"), b.Of("/b")} {
		n.OnConnection(count)
		echo(n)
		on(n, "ask", func(ctx context.Context, s *sockeye.Socket, _ *sockeye.Message) error {
			_, err := s.EmitWithAck(ctx, "question")
			return err
		})
		on(n, "join", func(_ context.Context, s *sockeye.Socket, _ *sockeye.Message) error { return s.Join("r") })
		on(n, "slow", func(ctx context.Context, s *sockeye.Socket, _ *sockeye.Message) error {
			select {
			case <-ctx.Done():
			case <-time.After(10 * time.Millisecond):
			}
			return nil
		})
		on(n, "panic", func(context.Context, *sockeye.Socket, *sockeye.Message) error { panic("chaos") })
		on(n, "leave me", func(_ context.Context, s *sockeye.Socket, _ *sockeye.Message) error { return s.Disconnect(false) })
		on(n, "kill me", func(_ context.Context, s *sockeye.Socket, _ *sockeye.Message) error { return s.Disconnect(true) })
		on(n, "kick all", func(ctx context.Context, s *sockeye.Socket, _ *sockeye.Message) error {
			return n.All().To("r").Disconnect(ctx, true)
		})
		on(n, "cast", func(ctx context.Context, s *sockeye.Socket, _ *sockeye.Message) error {
			_, err := n.All().FetchSockets(ctx)
			return errors.Join(err, s.Broadcast().Emit("cast", s.ID()))
		})
		on(n, "cast ack", func(ctx context.Context, _ *sockeye.Socket, _ *sockeye.Message) error {
			_, err := n.All().EmitWithAck(ctx, "bq")
			return err
		})
	}
	b.OfFunc(func(_ context.Context, name string, _ parserArg) error {
		if strings.HasPrefix(name, "/dyn") {
			return nil
		}
		return errors.New("no")
	}).OnConnection(count)
	b.Of("/refused").Use(func(_ context.Context, s *sockeye.Socket) error {
		return errors.Join(s.Join("r"), errors.New("refused"))
	})
	return begun, ended
}

// listener only knows that something came.
type listener struct{ in chan struct{} }

func (*listener) OnOpen(*engineio.Conn, *http.Request)           {}
func (*listener) OnClose(*engineio.Conn, engineio.Reason, error) {}
func (l *listener) OnMessage(_ *engineio.Conn, _ []byte, _ bool) {
	select {
	case l.in <- struct{}{}:
	default:
	}
}

// chaosClient is one connection.
func chaosClient(ctx context.Context, b *bundle, kind int) {
	if kind%4 == 3 {
		chaosPoller(ctx, b)
		return
	}
	p := &listener{in: make(chan struct{}, 1)}
	cfg := engineio.DialConfig{Protocol: 4 - kind%2}
	if kind%4 == 0 {
		cfg.Transports = []string{"websocket"}
	}
	conn, err := engineio.Dial(ctx, b.url, cfg, p)
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }() // of no effect if it has ended
	for range rand.IntN(60) {
		if ctx.Err() != nil {
			return
		}
		packet := odd[rand.IntN(len(odd))]
		if rand.IntN(40) == 0 {
			packet = violations[rand.IntN(len(violations))]
		}
		if conn.Send([]byte(packet), false) != nil {
			return
		}
		if rand.IntN(4) == 0 && conn.Send([]byte("binary"), true) != nil {
			return
		}
		if rand.IntN(3) == 0 {
			select {
			case <-p.in:
			case <-time.After(time.Millisecond):
			}
		}
	}
}

// chaosPoller polls at the wrong times, and gives up on its requests.
func chaosPoller(ctx context.Context, b *bundle) {
	request := func(ctx context.Context, method, query, body string) string {
		w := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(ctx, method, "/socket.io/?EIO=4&transport=polling"+query, strings.NewReader(body))
		b.ServeHTTP(w, r)
		return w.Body.String()
	}
	body := request(ctx, http.MethodGet, "", "")
	_, rest, ok := strings.Cut(body, `"sid":"`)
	if !ok {
		return
	}
	sid := "&sid=" + rest[:20]
	var wg sync.WaitGroup
	defer wg.Wait()
	for range rand.IntN(20) {
		brief, cancel := context.WithTimeout(ctx, time.Duration(rand.IntN(30))*time.Millisecond)
		var packets []string
		for range rand.IntN(10) {
			packets = append(packets, "4"+odd[rand.IntN(len(odd))])
		}
		wg.Go(func() {
			defer cancel()
			request(brief, http.MethodPost, sid, strings.Join(packets, "\x1e"))
		})
		if rand.IntN(2) == 0 {
			wg.Go(func() { request(brief, http.MethodGet, sid, "") })
		}
		if rand.IntN(3) > 0 {
			wg.Wait()
		}
	}
}
