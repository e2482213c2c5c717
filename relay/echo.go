package relay

import (
	"context"

	"github.com/sockeye-io/sockeye"
)

// echo acknowledges an event with its arguments, and without any with nothing. It is for who measures the way to the
// server and back: "sockeye bench --echo".
func echo(_ context.Context, m *sockeye.Message) error {
	if !m.WantsAck() {
		return nil
	}
	return m.Ack(values(m.Args())...)
}
