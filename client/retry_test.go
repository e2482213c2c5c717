package client_test

import (
	"context"
	"errors"
	"reflect"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/client"
	"github.com/sockeye-io/sockeye/internal/testkit"
)

func TestRetries_OneAtATimeInOrder(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var got journal
	var pending, most atomic.Int32
	b.On("line", sockeye.HandlerFunc(func(_ context.Context, m *sockeye.Message) error {
		var n int
		err := m.Scan(&n)
		most.Store(max(most.Load(), pending.Add(1)))
		got.add("%d", n)
		if !m.WantsAck() {
			t.Error("no acknowledgement is asked for")
		}
		pending.Add(-1)
		return errors.Join(err, m.Ack(n))
	}))
	s := b.manager(client.Config{Retries: 3}).Socket("/")
	var want []string
	for n := range 5 {
		if err := s.Emit("line", n); err != nil {
			t.Fatal(err)
		}
	}
	want = append(want, "0", "1", "2", "3", "4")
	connect(t, s)
	if r := ask(t, s, "line", 5); !reflect.DeepEqual(r, []any{5.0}) {
		t.Errorf("answer %v", r)
	}
	got.want(t, append(want, "5")...)
	if most.Load() != 1 {
		t.Errorf("%d at a time", most.Load())
	}
}

// Where the acknowledgement does not come in time the event is sent again; in the end it is given up and the next one
// is sent.
func TestRetries_AfterTimeouts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var got journal
	tries := 0
	b.On("line", sockeye.HandlerFunc(func(_ context.Context, m *sockeye.Message) error {
		var text string
		err := m.Scan(&text)
		got.add("%s", text)
		switch text {
		case "never":
			return err
		case "third":
			if tries++; tries < 3 {
				return err
			}
		}
		return errors.Join(err, m.Ack("done"))
	}))
	told := make(chan error, 1)
	s := b.dial("", client.Config{
		Retries: 2, AckTimeout: testkit.Scale(500 * time.Millisecond), OnError: func(err error) { told <- err },
	})
	if r := ask(t, s, "line", "third"); !reflect.DeepEqual(r, []any{"done"}) {
		t.Errorf("answer %v", r)
	}
	var ae *client.AckError
	if _, err := s.EmitWithAck(within(t), "line", "never"); !errors.As(err, &ae) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("an event that is never acknowledged: %v", err)
	}
	if err := s.Emit("line", "never"); err != nil {
		t.Fatal(err)
	}
	ask(t, s, "line", "next")
	got.want(t, "third", "third", "third", "never", "never", "never", "never", "never", "never", "next")
	var ee *client.EventError
	if err := <-told; !errors.As(err, &ee) || ee.Event != "line" || !errors.As(err, &ae) {
		t.Errorf("told of %v", err)
	}
	// Who does not wait any longer takes the event out of the queue.
	ctx, cancel := context.WithCancelCause(t.Context())
	wait := make(chan error, 1)
	go func() { // ends with ctx
		_, err := s.EmitWithAck(ctx, "line", "never")
		wait <- err
	}()
	testkit.Eventually(t, "the event", func() bool { return len(got.all()) > 10 })
	cancel(errors.New("enough"))
	if err := <-wait; !errors.As(err, &ae) || ae.Err.Error() != "enough" {
		t.Errorf("a context that has ended: %v", err)
	}
	ask(t, s, "line", "last")
}

// An event whose connection is lost is sent again over the next one.
func TestRetries_AfterDisconnects(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var got journal
	tries := 0
	b.On("line", sockeye.HandlerFunc(func(_ context.Context, m *sockeye.Message) error {
		if tries++; tries == 1 {
			got.add("mute")
			return nil
		}
		got.add("answered")
		return m.Ack()
	}))
	s := b.dial("", client.Config{Retries: 1, AckTimeout: -1, Reconnect: quick})
	done := make(chan error, 1)
	go func() { // ends with the answer
		_, err := s.EmitWithAck(within(t), "line")
		done <- err
	}()
	got.want(t, "mute")
	b.proxy.Cut()
	testkit.Eventually(t, "the end", func() bool { return !s.Connected() })
	b.proxy.Heal()
	if err := <-done; err != nil {
		t.Error(err)
	}
	got.want(t, "mute", "answered")
}
