package admin

import (
	"context"
	"strings"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/parser"
)

// scenario is the application of the captures.
func scenario(_ context.Context, s *sockeye.Socket) {
	_ = s.Join("lobby") // it is connected
	s.SetData(map[string]any{"user": "bob"})
	s.On("ping me", sockeye.HandlerFunc(func(_ context.Context, m *sockeye.Message) error { return m.Ack("pong") }))
	s.On("bin", sockeye.HandlerFunc(func(context.Context, *sockeye.Message) error { return s.Emit("bin", []byte{1}) }))
}

func dynamic(_ context.Context, name string, _ parser.Arg) error {
	if !strings.HasPrefix(name, "/dyn-") {
		return sockeye.ErrNamespaceName
	}
	return nil
}
