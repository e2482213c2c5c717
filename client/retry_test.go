package client_test

import (
	"context"
	"errors"
	"reflect"
	"slices"
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

// Where the acknowledgement does not come in time the event is sent again.
func TestRetries_AfterTimeouts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var tries atomic.Int32
	b.On("line", sockeye.HandlerFunc(func(_ context.Context, m *sockeye.Message) error {
		if tries.Add(1) < 3 {
			return nil
		}
		return m.Ack("done")
	}))
	// On a machine that stalls there may be more tries.
	s := b.dial("", client.Config{Retries: 1000, AckTimeout: testkit.Scale(100 * time.Millisecond)})
	if r := ask(t, s, "line"); !reflect.DeepEqual(r, []any{"done"}) || tries.Load() < 3 {
		t.Errorf("answer %v after %d tries", r, tries.Load())
	}
}

// In the end an event is given up and the next one is sent.
func TestRetries_GivesUp(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var got journal
	b.On("line", sockeye.HandlerFunc(func(_ context.Context, m *sockeye.Message) error {
		var text string
		err := m.Scan(&text)
		got.add("%s", text)
		return err // and no acknowledgement
	}))
	told := make(chan error, 16)
	s := b.dial("", client.Config{
		Retries: 2, AckTimeout: testkit.Scale(100 * time.Millisecond), OnError: func(err error) { told <- err },
	})
	var ae *client.AckError
	if _, err := s.EmitWithAck(within(t), "line", "first"); !errors.As(err, &ae) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("an event that is never acknowledged: %v", err)
	}
	if err := errors.Join(s.Emit("line", "second"), s.Emit("line", "third")); err != nil {
		t.Fatal(err)
	}
	got.want(t, "first", "first", "first", "second", "second", "second", "third", "third", "third")
	for range 2 {
		var ee *client.EventError
		if err := receive(t, told); !errors.As(err, &ee) || ee.Event != "line" || !errors.As(err, &ae) {
			t.Errorf("told of %v", err)
		}
	}
	// Who does not wait any longer takes the event out of the queue.
	ctx, cancel := context.WithCancelCause(t.Context())
	off := s.OnAnyOutgoing(func(string, []any) { cancel(errors.New("enough")) })
	if _, err := s.EmitWithAck(ctx, "line", "fourth"); !errors.As(err, &ae) || ae.Err.Error() != "enough" {
		t.Errorf("a context that has ended: %v", err)
	}
	off()
	if err := s.Emit("line", "last"); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the last event", func() bool { return slices.Contains(got.all(), "last") })
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
