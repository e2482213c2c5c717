package sockeye_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/testkit"
)

// TestSocket_AnswersAtTheEnd: what has come, be it an acknowledgement or the end of the socket, counts for who waits, also
// when the context ends at that moment.
func TestSocket_AnswersAtTheEnd(t *testing.T) {
	t.Parallel()
	b := setup(t)
	sockets, seen, ended := make(chan *sockeye.Socket, 1), make(chan struct{}, 1), make(chan struct{}, 1)
	b.OnConnection(func(_ context.Context, s *sockeye.Socket) {
		s.OnDisconnect(func(sockeye.Reason) { ended <- struct{}{} })
		sockets <- s
	})
	b.On("seen", sockeye.HandlerFunc(func(context.Context, *sockeye.Message) error {
		seen <- struct{}{}
		return nil
	}))
	p, _ := b.connect()
	s := get(t, "the socket", sockets)
	for range 32 { // a select goes either way
		_, err := s.EmitWithAck(testkit.AtMoment(t, func() {
			id, _, _ := strings.Cut(strings.TrimPrefix(p.next(), "2"), "[")
			p.send("3"+id+"[]", `2["seen"]`)
			get(t, "what follows the acknowledgement", seen)
		}), "ask")
		if err != nil {
			t.Fatalf("an acknowledgement that has come: %v", err)
		}
	}
	for range 16 {
		_, err := s.EmitWithAck(testkit.AtMoment(t, func() {
			p.next()
			p.send("1")
			get(t, "the end", ended)
		}), "ask")
		if !errors.Is(err, sockeye.ReasonClientDisconnect) {
			t.Fatalf("an end that has come: %v", err)
		}
		p.join("/", "")
		s = get(t, "the socket", sockets)
	}
	if n := b.Stats().AcksTimedOut; n != 0 {
		t.Errorf("%d acknowledgements timed out", n)
	}
}

// TestSocket_DismissedBeforeTheAnswer: a socket that is disconnected when it is in its rooms, and its client does not know
// yet that it is connected, is told both in that order.
func TestSocket_DismissedBeforeTheAnswer(t *testing.T) {
	t.Parallel()
	b := setup(t)
	n := b.Of("/")
	var once sync.Once
	n.OnRoom(func(e sockeye.RoomEvent) {
		once.Do(func() {
			if err := n.All().Disconnect(t.Context(), false); err != nil {
				t.Error(err)
			}
		})
	})
	p, _ := b.connect() // the answer comes first
	p.want("1")
	p.join("/", "")
}

// TestConn_NoConnectAfterTheClose: a CONNECT that is still being asked about when the server closes a connection by polling
// is not granted in the time that the client has to poll for the end.
func TestConn_NoConnectAfterTheClose(t *testing.T) {
	t.Parallel()
	b := setup(t)
	asked, release := make(chan context.Context, 1), make(chan struct{})
	slow := b.Of("/slow")
	slow.Use(func(ctx context.Context, _ *sockeye.Socket) error {
		asked <- ctx
		<-release
		return nil
	})
	slow.OnConnection(func(context.Context, *sockeye.Socket) { t.Error("connected after the close") })
	sockets := make(chan *sockeye.Socket, 1)
	b.OnConnection(func(_ context.Context, s *sockeye.Socket) { sockets <- s })
	b.parkWith("40\x1e40/slow,")
	s := get(t, "the socket", sockets)
	ctx := get(t, "the question", asked)
	if err := s.Disconnect(true); err != nil {
		t.Fatal(err)
	}
	close(release)
	get(t, "the end of the attempt", ctx.Done())
}
