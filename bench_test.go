package sockeye_test

import (
	"context"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/engineio"
)

// parked is a server whose clients are polling ones that never poll: what is sent to them only goes through
// their queues.
func parked(tb testing.TB, clients int, cfg sockeye.Config) *sockeye.Server {
	tb.Helper()
	cfg.Queue = sockeye.SendQueue{MaxPackets: 8, OnFull: sockeye.DropOldest}
	cfg.PingInterval = time.Hour
	srv, err := sockeye.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := srv.Close(); err != nil {
			tb.Error(err)
		}
	})
	b := &bundle{Server: srv, t: tb}
	for range clients {
		b.park()
	}
	for connected(srv.Of("/")) < clients {
		runtime.Gosched()
	}
	for range 20 { // the queues are full and as large as they get
		if err := srv.Emit("warm", "up"); err != nil {
			tb.Fatal(err)
		}
	}
	return srv
}

func TestBroadcast_AllocatesNothingForEachReceiver(t *testing.T) {
	allocs := func(clients int, emit func(s *sockeye.Server) error) float64 {
		s := parked(t, clients, sockeye.Config{})
		for m := range s.Of("/").Sockets() {
			_ = m.Join("r1", "r2")
		}
		return testing.AllocsPerRun(100, func() {
			if err := emit(s); err != nil {
				t.Error(err)
			}
		})
	}
	payload := strings.Repeat("x", 64)
	for name, emit := range map[string]func(s *sockeye.Server) error{
		"all":    func(s *sockeye.Server) error { return s.Emit("e", payload) },
		"rooms":  func(s *sockeye.Server) error { return s.To("r1", "r2").Emit("e", payload) },
		"except": func(s *sockeye.Server) error { return s.Except("x").Emit("e", payload) },
		"binary": func(s *sockeye.Server) error { return s.Emit("e", []byte(payload)) },
	} {
		one, many := allocs(1, emit), allocs(200, emit)
		if many > one+10 { // the race detector and garbage collections empty pools now and then
			t.Errorf("%s: %v allocations for 200 receivers, %v for one", name, many, one)
		}
	}
}

func BenchmarkBroadcast(b *testing.B) {
	for _, clients := range []int{1, 100, 10_000} {
		b.Run(strconv.Itoa(clients), func(b *testing.B) {
			s := parked(b, clients, sockeye.Config{})
			payload := strings.Repeat("x", 64)
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Emit("e", payload); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(clients), "ns/receiver")
		})
	}
}

func BenchmarkSocketEmit(b *testing.B) {
	s := parked(b, 1, sockeye.Config{})
	var sock *sockeye.Socket
	for m := range s.Of("/").Sockets() {
		sock = m
	}
	payload := strings.Repeat("x", 64)
	b.ReportAllocs()
	for b.Loop() {
		if err := sock.Emit("e", payload); err != nil {
			b.Fatal(err)
		}
	}
}

// echoing is a client that sends its next event when the acknowledgement of the last one is there.
type echoing struct {
	packet []byte
	acks   chan struct{}
}

func (e *echoing) OnOpen(*engineio.Conn, *http.Request) {}

func (e *echoing) OnMessage(_ *engineio.Conn, _ []byte, _ bool) { e.acks <- struct{}{} }

func (e *echoing) OnClose(*engineio.Conn, engineio.Reason, error) { close(e.acks) }

func BenchmarkEchoWithAck(b *testing.B) {
	s := setup(b)
	s.On("echo", handlerFunc(func(_ context.Context, m *sockeye.Message) error {
		var text string
		if err := m.Scan(&text); err != nil {
			return err
		}
		return m.Ack(text)
	}))
	c := &echoing{packet: []byte(`21["echo","` + strings.Repeat("x", 64) + `"]`), acks: make(chan struct{}, 8)}
	conn, err := engineio.Dial(b.Context(), s.url, engineio.DialConfig{Transports: []string{"websocket"}}, c)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	if err := conn.Send([]byte("0"), false); err != nil {
		b.Fatal(err)
	}
	<-c.acks
	b.ReportAllocs()
	for b.Loop() {
		if err := conn.Send(c.packet, false); err != nil {
			b.Fatal(err)
		}
		<-c.acks
	}
}

// BenchmarkIdle reports the memory of connections that have joined and do nothing: polling ones, whose
// transport keeps least. It counts everything, the engine's part included.
func BenchmarkIdle(b *testing.B) {
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	for b.Loop() {
		before := heap()
		s := parked(b, 10_000, sockeye.Config{})
		b.ReportMetric(float64(heap()-before)/10_000, "B/conn")
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
