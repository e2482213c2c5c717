package netpoll

import (
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/testkit"
)

// deadlined keeps the last write deadline that it was given.
type deadlined struct {
	net.Conn
	last atomic.Pointer[time.Time]
}

func (c *deadlined) SetWriteDeadline(t time.Time) error {
	c.last.Store(&t)
	return c.Conn.SetWriteDeadline(t)
}

// What TLS writes while it reads, maybe much later, does not meet the deadline of what was written before.
func TestPortable_WritingLeavesNoDeadline(t *testing.T) {
	t.Parallel()
	d, h := setup(t, Config{}), newFake(t)
	ours, peer := tcpPair(t)
	nc := &deadlined{Conn: ours}
	c := d.Add(nc, nil, h)
	h.send(c, []byte("hello"))
	if _, err := io.ReadFull(peer, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "no deadline", func() bool { return nc.last.Load().IsZero() })
	c.Close(nil)
	if err := h.end(); err != nil {
		t.Error(err)
	}
}
