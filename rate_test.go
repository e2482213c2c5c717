package sockeye_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/engineio"
	"github.com/sockeye-io/sockeye/internal/testkit"
)

// T13: who floods the server is read no faster than allowed, and loses nothing; others are served meanwhile.
func TestRate_EventFlood(t *testing.T) {
	t.Parallel()
	const rate, burst, flood, size = 100, 20, 100, 2 << 10 // the slowest client is faster than the rate
	for name, limit := range map[string]sockeye.Rate{
		"messages": {Messages: rate, Burst: burst * time.Second / rate},
		"bytes":    {Bytes: rate * size, Burst: burst * time.Second / rate},
	} {
		for _, transport := range []string{"websocket", "polling"} {
			t.Run(name+" by "+transport, func(t *testing.T) {
				t.Parallel()
				b := setup(t, sockeye.Config{Rate: limit})
				echo(b)
				var handled atomic.Int64
				start := time.Now()
				b.On("flood", sockeye.HandlerFunc(func(_ context.Context, m *sockeye.Message) error {
					n := handled.Add(1)
					// One buffer may come beyond: 16 KiB of a WebSocket.
					if allowed := burst + 10 + int64(time.Since(start)*rate/time.Second); n > allowed {
						t.Errorf("%d events, %d are allowed", n, allowed)
					}
					var i int64
					if err := m.Scan(&i); err != nil || i != n {
						t.Errorf("event %d: %d, %v", n, i, err)
					}
					return nil
				}))
				p := b.dialWith(engineio.DialConfig{Transports: []string{transport}}, "")
				p.join("/", "")
				pad := strings.Repeat("x", size)
				for i := range flood {
					p.send(fmt.Sprintf(`2["flood",%d,"%s"]`, i+1, pad))
				}
				other, _ := b.connect()
				for range 10 {
					other.quiet()
				}
				testkit.Eventually(t, "all is handled", func() bool { return handled.Load() == flood })
				p.quiet()
				if b.Stats().Slowed == 0 {
					t.Error("nobody was held back")
				}
			})
		}
	}
}

// A client that goes, or a server, does not wait until it may send again.
func TestRate_Ends(t *testing.T) {
	t.Parallel()
	b := setup(t, sockeye.Config{Rate: sockeye.Rate{Messages: 1}, PingInterval: time.Hour})
	gone := make(chan sockeye.Reason, 1)
	b.OnConnection(func(_ context.Context, s *sockeye.Socket) {
		s.OnDisconnect(func(r sockeye.Reason) { gone <- r })
	})
	echo(b)
	p, _ := b.connect()
	for range 1000 {
		p.send(`2["echo"]`)
	}
	p.want(`2["echo"]`)
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if r := get(t, "the end", gone); r != sockeye.ReasonShuttingDown {
		t.Error(r)
	}
}

func TestRate_Config(t *testing.T) {
	t.Parallel()
	for _, c := range []sockeye.Config{
		{Rate: sockeye.Rate{Messages: -1}},
		{Rate: sockeye.Rate{Bytes: -1}},
		{Rate: sockeye.Rate{Burst: -1}},
		{Admission: sockeye.Admission{Pending: -1}},
		{Admission: sockeye.Admission{PerAddress: -1}},
	} {
		if s, err := sockeye.New(c); err == nil {
			t.Errorf("%+v is accepted", c)
			_ = s.Close() // the fault is told
		}
	}
}
