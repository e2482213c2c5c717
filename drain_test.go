package sockeye_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/testkit"
)

// Drain lets a client go when its handlers have run and its acknowledgements are in, without the packet that would keep
// it from coming back, and takes no new ones.
func TestServer_Drain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	entered, release := make(chan struct{}), make(chan struct{})
	b.On("slow", sockeye.HandlerFunc(func(ctx context.Context, m *sockeye.Message) error {
		close(entered)
		<-release
		if ctx.Err() != nil {
			t.Errorf("the handler's context has ended: %v", context.Cause(ctx))
		}
		return m.Ack("done")
	}))
	reasons := make(chan sockeye.Reason, 3)
	b.OnConnection(func(_ context.Context, s *sockeye.Socket) {
		s.OnDisconnect(func(r sockeye.Reason) { reasons <- r })
	})
	idle, _ := b.connect()
	slow, _ := b.connect()
	asked, id := b.connect()
	slow.send(`21["slow"]`)
	get(t, "the handler runs", entered)
	answer := make(chan error, 1)
	go func() { // ends with the answer
		_, err := b.To(id).EmitWithAck(t.Context(), "question")
		answer <- err
	}()
	asked.want(`20["question"]`)

	drained := make(chan error, 1)
	go func() { drained <- b.Drain(t.Context(), time.Millisecond) }() // ends when all have gone
	idle.ended()
	if r, err := http.Get(b.url + "?EIO=4&transport=polling"); err != nil {
		t.Error(err)
	} else if _ = r.Body.Close(); r.StatusCode != http.StatusServiceUnavailable { // nothing is read
		t.Error(r.Status)
	}
	asked.send(`30["answer"]`)
	if err := get(t, "the acknowledgement", answer); err != nil {
		t.Error(err)
	}
	asked.ended()
	close(release)
	slow.want(`31["done"]`)
	slow.ended()
	if err := get(t, "Drain", drained); err != nil {
		t.Error(err)
	}
	for range 3 {
		if r := get(t, "a reason", reasons); r != sockeye.ReasonShuttingDown {
			t.Error(r)
		}
	}
}

// Many clients are let go bit by bit; the time limit ends it.
// A client that is connected while Drain runs is let go too.
func TestServer_DrainJoining(t *testing.T) {
	t.Parallel()
	b := setup(t)
	asking, admit := make(chan struct{}), make(chan struct{})
	b.Of("/late").Use(func(context.Context, *sockeye.Socket) error {
		close(asking)
		<-admit
		return nil
	})
	begun, release := make(chan struct{}), make(chan struct{})
	b.On("slow", sockeye.HandlerFunc(func(context.Context, *sockeye.Message) error {
		close(begun)
		<-release
		return nil
	}))
	done := sync.OnceFunc(func() { close(release) })
	defer done()
	slow, _ := b.connect()
	slow.send(`2["slow"]`)
	get(t, "the handler", begun)
	idle, _ := b.connect()
	late := b.dial()
	late.send("0/late,")
	get(t, "the middleware", asking)

	drained := make(chan error, 1)
	go func() { drained <- b.Drain(t.Context(), time.Millisecond) }() // ends when all have gone
	idle.ended()                                                      // so Drain has listed the clients
	close(admit)
	late.sid("0/late,")
	done()
	late.ended()
	if err := get(t, "Drain", drained); err != nil {
		t.Error(err)
	}
}

func TestServer_DrainAtMost(t *testing.T) {
	t.Parallel()
	b := setup(t)
	begun, stuck := make(chan struct{}), make(chan struct{})
	b.On("stuck", sockeye.HandlerFunc(func(context.Context, *sockeye.Message) error {
		close(begun)
		<-stuck
		return nil
	}))
	p, _ := b.connect()
	p.send(`2["stuck"]`)
	get(t, "the handler", begun)
	for range 150 {
		b.park()
	}
	testkit.Eventually(t, "all are connected", func() bool { return connected(b.Of("/")) == 151 })
	ctx, cancel := context.WithCancelCause(t.Context())
	over := errors.New("time is over")
	drained := make(chan error, 1)
	go func() { drained <- b.Drain(ctx, 0) }() // ends with ctx
	testkit.Eventually(t, "the others have gone", func() bool { return connected(b.Of("/")) <= 1 })
	cancel(over)
	if err := get(t, "Drain", drained); !errors.Is(err, over) {
		t.Error(err)
	}
	close(stuck)
}
