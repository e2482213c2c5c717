package client

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/engineio"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/parser"
)

// connected gives a Manager and a connected socket of it for each of the namespaces. Their server answers "echo".
func connected(t *testing.T, c Config, namespaces ...string) (*Manager, []*Socket) {
	t.Helper()
	srv, err := sockeye.New(sockeye.Config{})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(srv)
	t.Cleanup(func() {
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
		web.Close()
	})
	c.Transports = []string{transportWebSocket}
	m, err := New(web.URL, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() }) // always nil
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Scale(10*time.Second))
	defer cancel()
	all := make([]*Socket, 0, len(namespaces))
	for _, name := range namespaces {
		srv.Of(name).On("echo", sockeye.HandlerFunc(func(_ context.Context, m *sockeye.Message) error { return m.Ack() }))
		s := m.Socket(name)
		if err := s.Connect(ctx); err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	return m, all
}

// TestSocket_AnswersAtTheEnd: what has come, be it an acknowledgement or the end, counts for who waits, also when the
// context ends at that moment.
func TestSocket_AnswersAtTheEnd(t *testing.T) {
	t.Parallel()
	for name, retries := range map[string]int{"once": 0, "retries": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, all := connected(t, Config{Retries: retries, AckTimeout: -1}, "/")
			s := all[0]
			pending := func() uint64 {
				s.mu.Lock()
				defer s.mu.Unlock()
				for id := range s.acks {
					return id
				}
				t.Error("nobody waits")
				return 0
			}
			for range 32 { // a select goes either way
				_, err := s.EmitWithAck(testkit.AtMoment(t, func() {
					s.acknowledged(s.link, &parser.Packet{Type: parser.Ack, ID: pending(), HasID: true})
				}), "nobody answers")
				if err != nil {
					t.Fatalf("an acknowledgement that has come: %v", err)
				}
			}
		})
	}
	t.Run("end", func(t *testing.T) {
		t.Parallel()
		_, all := connected(t, Config{}, "/")
		s := all[0]
		for range 32 {
			_, err := s.EmitWithAck(testkit.AtMoment(t, func() {
				s.mu.Lock()
				sinks := s.failSent()
				s.mu.Unlock()
				for _, k := range sinks {
					k.ended(ReasonPingTimeout)
				}
			}), "nobody answers")
			if !errors.Is(err, ReasonPingTimeout) {
				t.Fatalf("an end that has come: %v", err)
			}
		}
	})
}

// TestManager_CloseTellsOfTheDisconnect: who waits for an acknowledgement hears of the end of the socket, and not that the
// Manager is closed, which it is a moment before or after.
func TestManager_CloseTellsOfTheDisconnect(t *testing.T) {
	t.Parallel()
	for range 16 { // sockets leave in any order
		m, all := connected(t, Config{}, "/", "/b")
		asked, err := all[1].Ask("nobody answers")
		if err != nil {
			t.Fatal(err)
		}
		all[0].mu.Lock() // Close stays with this one
		closed := make(chan error, 1)
		go func() { closed <- m.Close() }() // ends below
		testkit.Eventually(t, "Close", func() bool {
			free := m.mu.TryLock()
			if free {
				m.mu.Unlock()
			}
			return !free
		})
		waited := make(chan error, 1)
		go func() { // ends with the socket
			_, err := asked.Wait(t.Context())
			waited <- err
		}()
		time.AfterFunc(time.Millisecond, all[0].mu.Unlock)
		if err := <-waited; !errors.Is(err, ReasonClientDisconnect) {
			t.Fatalf("told %v", err)
		}
		if err := <-closed; err != nil {
			t.Fatal(err)
		}
	}
}

// TestRetries_LateEndOfATry: the end of a connection, told late, is none of the try that has been made since.
func TestRetries_LateEndOfATry(t *testing.T) {
	t.Parallel()
	given := make(chan error, 1)
	_, all := connected(t, Config{Retries: 1, AckTimeout: -1, OnError: func(err error) { given <- err }}, "/")
	s := all[0]
	if err := s.Emit("nobody answers"); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	r, sess := s.queue[0], s.sess
	sinks := s.failSent()
	s.sess = nil // the connection is lost
	s.mu.Unlock()
	s.expire(r, 1) // and the time of the try is over
	s.mu.Lock()
	s.sess = sess // there is another one
	s.drain()
	s.mu.Unlock()
	for _, k := range sinks {
		k.ended(ReasonPingTimeout)
	}
	select {
	case err := <-given:
		t.Errorf("given up while it is under way: %v", err)
	default:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) != 1 || !r.sent || r.tries != 2 || s.acks[r.id] == nil {
		t.Errorf("%d in the queue, sent %t, %d tries", len(s.queue), r.sent, r.tries)
	}
}

// TestSocket_EmitContextSeesTheRoom: room that comes while EmitContext looks for it is seen, though none comes after it.
func TestSocket_EmitContextSeesTheRoom(t *testing.T) {
	t.Parallel()
	m, err := New("http://127.0.0.1:1", Config{Queue: Queue{MaxPackets: 1}}) // it is never connected
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() }) // always nil
	s := m.Socket("/")
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Scale(10*time.Second))
	defer cancel()
	for n := range 50_000 { // in some of these it comes between two looks
		a, err := s.Ask("first")
		if err != nil {
			t.Fatal(err)
		}
		looks := make(chan struct{})
		sent := make(chan error, 1)
		off := s.OnAnyOutgoing(func(string, []any) { close(looks) })
		go func() { sent <- s.EmitContext(ctx, "second") }() // ends when there is room
		<-looks
		for range n % 512 { // about as long as it takes to look
			a.s.ids.Load()
		}
		a.forget()
		if err := <-sent; err != nil {
			t.Fatalf("round %d: %v", n, err)
		}
		off()
		s.mu.Lock()
		s.buffer, s.bytes = nil, 0
		s.mu.Unlock()
	}
}

// TestManager_OpenWhileTheLastOneLeaves: a socket that is opened after the last one has left, and before the connection is
// closed, gets the next connection, and is not told of the end of that one.
func TestManager_OpenWhileTheLastOneLeaves(t *testing.T) {
	t.Parallel()
	m, all := connected(t, Config{Reconnect: Reconnect{Disabled: true}}, "/", "/b")
	s := all[1]
	_ = s.Close() // always nil
	m.mu.Lock()
	all[0].mu.Lock()
	last := m.deactivate(all[0])
	end := all[0].end(ReasonClientDisconnect, nil)
	all[0].mu.Unlock()
	m.mu.Unlock()
	end()
	if last == nil {
		t.Fatal("somebody else wants the connection")
	}
	refused := make(chan error, 1)
	s.OnConnectError(func(err error) { refused <- err })
	done := make(chan struct{})
	s.OnConnect(func() { close(done) })
	if err := s.Open(); err != nil {
		t.Fatal(err)
	}
	m.cut(last, ReasonForcedClose, nil)
	select {
	case <-done:
	case err := <-refused:
		t.Errorf("refused: %v", err)
	}
}

// TestSocket_LeavesTheRootEarly: with EIO3 a socket of "/" that is closed before the server has connected it, which that
// does by itself, asks to be connected when it is opened again.
func TestSocket_LeavesTheRootEarly(t *testing.T) {
	t.Parallel()
	m, err := New("http://127.0.0.1:1", Config{EIO3: true}) // it is never connected
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() }) // always nil
	l := openLink(t, m, engineio.DialConfig{Protocol: 3})
	s := m.Socket("/")
	s.active, m.active = true, 1
	s.begin(l)
	s.leave()
	l.OnMessage(nil, []byte("0"), false) // the server connects it
	s.active, m.active = true, 1
	s.begin(l)
	if s.Connected() {
		t.Error("connected to what it has left")
	}
	l.OnMessage(nil, []byte("0"), false)
	if !s.Connected() {
		t.Error("not connected when the server says so")
	}
	s.leave()
}

// openLink gives a link over a connection to a server that says nothing.
func openLink(t *testing.T, m *Manager, c engineio.DialConfig) *link {
	t.Helper()
	eng, err := engineio.NewServer(engineio.Config{AllowEIO3: true}, mute{})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(eng)
	t.Cleanup(func() {
		_ = eng.Close() // nothing is left open
		web.Close()
	})
	l := &link{m: m, dec: m.cfg.Parser.NewDecoder(m.cfg.Limits, m.cfg.protocol())}
	l.ctx, l.cancel = context.WithCancel(m.ctx)
	t.Cleanup(l.cancel)
	c.Path, c.Transports = "/engine.io/", []string{transportWebSocket}
	conn, err := engineio.Dial(t.Context(), web.URL, c, mute{})
	if err != nil {
		t.Fatal(err)
	}
	l.conn = conn
	t.Cleanup(func() { _ = conn.Close() }) // always nil
	return l
}

// mute is a handler that does nothing.
type mute struct{}

func (mute) OnOpen(*engineio.Conn, *http.Request)           {}
func (mute) OnMessage(*engineio.Conn, []byte, bool)         {}
func (mute) OnClose(*engineio.Conn, engineio.Reason, error) {}

// TestManager_SetupBeforeConnect: a socket that somebody else finds and opens while it is being set up connects after
// that.
func TestManager_SetupBeforeConnect(t *testing.T) {
	t.Parallel()
	var connects atomic.Int32
	m, all := connected(t, Config{Setup: func(s *Socket) {
		if s.name != "/b" {
			return
		}
		other := s.m.Socket("/b")
		if err := other.Open(); err != nil {
			t.Error(err)
		}
		other.mu.Lock()
		asked := other.asked
		other.mu.Unlock()
		if other != s || asked != nil {
			t.Error("it asks to be connected before its handlers are there")
		}
		s.OnConnect(func() { connects.Add(1) })
	}}, "/", "/b")
	if !all[1].Connected() || m.Socket("/b") != all[1] {
		t.Error("not connected")
	}
	testkit.Eventually(t, "OnConnect", func() bool { return connects.Load() == 1 })
}
