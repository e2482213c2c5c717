package sockeye_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/redistest"
)

// recovering starts that many servers of one cluster with recovery.
func recovering(t *testing.T, servers int) []*bundle {
	t.Helper()
	hub := redistest.NewHub()
	var all []*bundle
	for range servers {
		all = append(all, setup(t, sockeye.Config{
			Adapter:  redisadapter.Streams(hub.StreamDriver(), streamsOptions),
			Recovery: &sockeye.Recovery{}, Queue: sockeye.SendQueue{MaxPackets: 1 << 20, MaxBytes: 1 << 30},
		}))
	}
	return all
}

// What one goroutine sends to a socket comes in that order, whatever way it takes.
func TestRecovery_KeepsOrder(t *testing.T) {
	t.Parallel()
	b := recovering(t, 1)[0]
	b.On("go", sockeye.HandlerFunc(func(ctx context.Context, m *sockeye.Message) error {
		s := sockeye.SocketFrom(ctx)
		return errors.Join(
			s.Emit("direct"), b.Emit("all"), s.Volatile().Emit("volatile"), b.Of("/").All().Local().Emit("local"),
			s.Emit("direct"), m.Ack("ack"), s.Emit("last"), s.Disconnect(false),
		)
	}))
	for range 20 {
		p, _ := b.connect()
		p.send(`27["go"]`)
		for _, want := range []string{
			`2["direct"`, `2["all"`, `2["local"`, `2["direct"`, `37["ack"`, `2["last"`, `1`,
		} {
			got := p.next()
			if got == `2["volatile"]` && want == `2["local"` { // it may be dropped
				got = p.next()
			}
			if !strings.HasPrefix(got, want) {
				t.Fatalf("received %q, want %q", got, want)
			}
		}
		_ = p.conn.Close()
	}
}

// Clients that go from server to server get what each of them sends once and in order.
func TestRecovery_AcrossServers(t *testing.T) {
	t.Parallel()
	all := recovering(t, 3)
	stop := make(chan struct{})
	ended := make(chan struct{}, len(all))
	for i, b := range all {
		go func() { // ends when stop is closed
			defer func() { ended <- struct{}{} }()
			pace := time.NewTicker(2 * time.Millisecond)
			defer pace.Stop()
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				case <-pace.C:
					_ = b.Emit("n", i, n)
				}
			}
		}()
	}
	t.Run("clients", func(t *testing.T) {
		for first := range 4 {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				w := &wanderer{t: t}
				for i := range 10 {
					w.visit(all[(first+i)%len(all)])
				}
				if w.recovered == 0 {
					t.Error("never recovered")
				}
			})
		}
	})
	close(stop)
	for range all {
		<-ended
	}
}

// wanderer is a client that goes from server to server.
type wanderer struct {
	t         *testing.T
	s         session
	next      [3]int // event of each server
	known     [3]bool
	recovered int
}

// visit connects to a server, reads a while and goes without a word.
func (w *wanderer) visit(b *bundle) {
	w.t.Helper()
	sub := *b
	sub.t = w.t
	p := sub.dial()
	auth := ""
	if w.s.PID != "" {
		auth = w.s.auth()
	}
	p.send("0" + auth)
	for {
		got := p.next()
		if strings.HasPrefix(got, "0{") {
			w.connected(got)
			break
		}
		w.event(got)
	}
	for range 60 {
		w.event(p.next())
	}
	_ = p.conn.Close()
	testkit.Eventually(w.t, "the end is seen", func() bool {
		_, there := b.Of("/").Socket(w.s.SID)
		return !there
	})
}

func (w *wanderer) connected(got string) {
	w.t.Helper()
	switch {
	case got == fmt.Sprintf(`0{"sid":%q,"pid":%q}`, w.s.SID, w.s.PID):
		w.recovered++
	default: // the first time, or where an event was late on a busy machine
		w.s, w.known = session{}, [3]bool{}
		decode(w.t, got[1:], &w.s)
	}
}

func (w *wanderer) event(got string) {
	w.t.Helper()
	var args []any
	decode(w.t, strings.TrimPrefix(got, "2"), &args)
	from, n := int(args[1].(float64)), int(args[2].(float64))
	if w.known[from] && n != w.next[from] {
		w.t.Fatalf("event %d of server %d instead of %d", n, from, w.next[from])
	}
	w.known[from], w.next[from] = true, n+1
	if len(args) > 3 {
		w.s.offset, _ = args[3].(string)
	}
}
