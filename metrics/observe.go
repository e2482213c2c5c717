package metrics

import (
	"context"
	"strings"
	"time"

	"github.com/sockeye-io/sockeye"
)

// asked times a question to sockets.
func (m *Metrics) asked(context.Context, *sockeye.Namespace, string) func(replies int, err error) {
	start := time.Now()
	return func(_ int, err error) {
		o := m.okAcks
		if err != nil {
			o = m.badAcks
		}
		o.Observe(time.Since(start).Seconds())
	}
}

// received times the handlers of the events that were named.
func (m *Metrics) received(
	_ context.Context, _ *sockeye.Socket, msg *sockeye.Message,
) (handlers context.Context, done func(error)) {
	t := m.timed[msg.Event]
	if t == nil {
		return nil, nil
	}
	start := time.Now()
	return nil, func(err error) {
		t.seconds.Observe(time.Since(start).Seconds())
		if err != nil {
			t.errors.Inc()
		}
	}
}

// valid makes a label of a name: labels are UTF-8.
func valid(name string) string { return strings.ToValidUTF8(name, "\uFFFD") }
