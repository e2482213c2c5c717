package interop

import (
	"context"
	"fmt"
	"testing"

	"github.com/sockeye-io/sockeye"
)

// TestServer_DisconnectByPolling: a client that polls takes an orderly end for what it is, with what was sent before it,
// in whatever state its poll is. One that took it for a lost connection would come back.
func TestServer_DisconnectByPolling(t *testing.T) {
	t.Parallel()
	s, url := serveGo(t, sockeye.Config{})
	s.Of("/").On("leave", on(func(ctx context.Context, m *sockeye.Message) error {
		var closing bool
		if err := m.Scan(&closing); err != nil {
			return err
		}
		c := sockeye.SocketFrom(ctx)
		if err := c.Emit("bye", 1); err != nil {
			return err
		}
		c.Disconnect(closing)
		return nil
	}))
	clients := startPeer(t, "client.mjs")
	for _, generation := range []int{4, 3, 2} {
		for i, closing := range []bool{true, true, true, false} {
			c := clients.open(fmt.Sprintf("%d, %d", generation, i), url, obj{
				"generation": generation, "options": obj{"transports": list{"polling"}, "reconnection": true},
			})
			c.connected()
			c.emit("leave", closing)
			c.want("bye", 1)
			same(t, c.name, c.wait("disconnect", 1), list{"io server disconnect"})
			c.disconnect()
		}
	}
}
