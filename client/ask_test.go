package client_test

import (
	"context"
	"errors"
	"testing"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/client"
)

// TestSocket_AskInOrder: events that are asked for before the first answer come in their order.
func TestSocket_AskInOrder(t *testing.T) {
	t.Parallel()
	b := setup(t)
	order := make(chan int, 64)
	b.On("line", sockeye.HandlerFunc(func(_ context.Context, m *sockeye.Message) error {
		var n int
		err := m.Scan(&n)
		order <- n
		return errors.Join(err, m.Ack(n+1000))
	}))
	s := b.dial("/", client.Config{})
	var asked []*client.Asked
	for n := range cap(order) {
		a, err := s.Ask("line", n)
		if err != nil {
			t.Fatal(err)
		}
		asked = append(asked, a)
	}
	for n, a := range asked {
		r, err := a.Wait(within(t))
		var got int
		if err != nil || r.Scan(&got) != nil || got != n+1000 {
			t.Errorf("answer %d to %d, %v", got, n, err)
		}
		if came := <-order; came != n {
			t.Errorf("%d came as number %d", came, n)
		}
	}
}

func TestSocket_AskEnds(t *testing.T) {
	t.Parallel()
	b := setup(t)
	s := b.dial("/", client.Config{})
	ask := func() *client.Asked {
		t.Helper()
		a, err := s.Ask("nobody listens")
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough"))
	var failed *client.AckError
	if _, err := ask().Wait(ctx); !errors.As(err, &failed) || failed.Err.Error() != "enough" {
		t.Errorf("when its context ends: %v", err)
	}
	a := ask()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Wait(within(t)); !errors.Is(err, client.ErrClosed) {
		t.Errorf("when the socket is closed: %v", err)
	}
	if _, err := s.Ask("connect"); !errors.Is(err, client.ErrReservedEvent) {
		t.Errorf("a reserved event: %v", err)
	}
	if _, err := s.Ask("late"); !errors.Is(err, client.ErrClosed) {
		t.Errorf("of a closed Manager: %v", err)
	}
}
