package sockeye_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/engineio"
	"github.com/sockeye-io/sockeye/internal/testkit"
)

func TestConfig_AttachmentTimeout(t *testing.T) { // T8
	t.Parallel()
	b := setup(t, sockeye.Config{AttachmentTimeout: testkit.Scale(time.Second)}) // whole must be in time
	echo(b)
	whole, _ := b.connect()
	whole.send(`52-["echo",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`)
	whole.sendBinary([]byte("a"))
	whole.sendBinary([]byte("b"))
	whole.want(`52-["echo",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`)
	whole.wantBinary("a")
	whole.wantBinary("b")
	var late []*peer
	for _, attachments := range []int{0, 1} {
		for _, transport := range []string{"websocket", "polling"} {
			p := b.dialWith(engineio.DialConfig{Transports: []string{transport}}, "")
			p.join("/", "")
			p.send(`52-["echo",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`)
			for range attachments {
				p.sendBinary([]byte("a"))
			}
			late = append(late, p)
		}
	}
	for _, p := range late {
		p.ended()
	}
	whole.quiet() // its packet was older than those whose time was up
}

func TestConfig_AttachmentTimeoutIsNotForPauses(t *testing.T) {
	t.Parallel()
	b := setup(t, sockeye.Config{
		AttachmentTimeout: testkit.Scale(time.Second), Limits: sockeye.Limits{Inbox: 2},
	})
	echo(b)
	release := make(chan struct{})
	entered := make(chan struct{}, 10)
	b.On("wait", sockeye.HandlerFunc(func(context.Context, *sockeye.Message) error {
		entered <- struct{}{}
		<-release
		return nil
	}))
	p, _ := b.connect()
	p.send(`2["wait"]`)
	get(t, "handler", entered)
	// The inbox is full before the head of the packet comes, in the same message of the transport or not.
	p.send(`2["x"]`, `2["x"]`, `2["x"]`, `51-["echo",{"_placeholder":true,"num":0}]`)
	other, _ := b.connect()
	other.send(`51-["echo",{"_placeholder":true,"num":0}]`)
	other.ended()
	close(release)
	p.sendBinary([]byte("late"))
	p.want(`51-["echo",{"_placeholder":true,"num":0}]`)
	p.wantBinary("late")
}

func TestLimits_Args(t *testing.T) {
	t.Parallel()
	b := setup(t, sockeye.Config{Limits: sockeye.Limits{Args: 3}})
	echo(b)
	p, _ := b.connect()
	p.send(`2["echo",1,2]`)
	p.want(`2["echo",1,2]`)
	p.send(`2["echo",1,2,3]`)
	p.ended()

	b = setup(t)
	echo(b)
	p, _ = b.connect()
	p.send(`21["echo"` + strings.Repeat(",1", 1023) + `]`)
	p.want(`31[1` + strings.Repeat(",1", 1022) + `]`)
	p.send(`21["echo"` + strings.Repeat(",1", 1024) + `]`)
	p.ended()
}

// T11, T16: the answers to CONNECT are bounded where nobody reads them, like all else that is sent.
func TestLimits_ConnectWithoutReading(t *testing.T) {
	t.Parallel()
	t.Run("refused", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		sid := b.park()
		var flood strings.Builder
		for i := range 5000 {
			fmt.Fprintf(&flood, "40/nope-%d,\x1e", i)
		}
		b.post(sid, flood.String()+"40/last,")
		testkit.Eventually(t, "the connection is closed", func() bool { return b.Conns() == 0 })
	})
	t.Run("joined again and again", func(t *testing.T) {
		t.Parallel()
		b := setup(t, sockeye.Config{Queue: sockeye.SendQueue{MaxPackets: 10}, PollingCloseWait: time.Millisecond})
		joined := make(chan struct{}, 1000)
		b.OnConnection(func(context.Context, *sockeye.Socket) { joined <- struct{}{} })
		sid := b.park()
		get(t, "socket", joined)
		rounds := 0
		for b.Conns() > 0 && rounds < 100 {
			w := httptest.NewRecorder()
			b.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/socket.io/?EIO=4&transport=polling&sid="+sid, strings.NewReader("41\x1e40")))
			testkit.Eventually(t, "joined or closed", func() bool { return len(joined) > 0 || b.Conns() == 0 })
			if len(joined) > 0 {
				<-joined
				rounds++
			}
		}
		if rounds < 15 || rounds > 25 { // 10 fill the queue
			t.Errorf("closed after %d rounds", rounds)
		}
	})
	t.Run("recovered again and again", func(t *testing.T) {
		t.Parallel()
		b := setup(t, sockeye.Config{
			Queue: sockeye.SendQueue{MaxPackets: 10}, PollingCloseWait: time.Millisecond, Recovery: &sockeye.Recovery{},
		})
		joined := make(chan *sockeye.Socket, 10)
		b.OnConnection(func(_ context.Context, s *sockeye.Socket) { joined <- s })
		p := b.dial()
		lost := p.begin("/", "")
		if err := b.Emit("first"); err != nil {
			t.Fatal(err)
		}
		p.event(&lost)
		b.cut(p, get(t, "socket", joined))
		for i := range 20 {
			if err := b.Emit("missed", i); err != nil {
				t.Fatal(err)
			}
		}
		sid := b.parkWith("40" + lost.auth())
		first := get(t, "socket", joined)
		if !first.Recovered() || first.ID() != lost.SID {
			t.Fatal("not recovered")
		}
		b.post(sid, "41\x1e40"+lost.auth())
		if again := get(t, "socket", joined); again.Recovered() || again.ID() == lost.SID {
			t.Error("recovered although nothing has been read")
		}
	})
}
