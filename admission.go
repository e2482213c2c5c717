package sockeye

import (
	"net/http"

	"github.com/sockeye-io/sockeye/engineio"
)

// Admission bounds the connections that a server takes. A zero field means no limit. A handshake beyond one is answered
// with status 503, and with 429 where it is for PerAddress; clients try again by themselves.
//
// Differs from Node: nothing is limited there.
type Admission struct {
	// Connections bounds those that are open.
	Connections int

	// PerAddress bounds those that are open of one address, as Handshake.Address gives it. The addresses of an IPv6
	// network of 64 bits count as one. Who has no IP address, as over a Unix socket, is not counted, nor who comes from
	// this machine: that may be a proxy, with many behind it.
	PerAddress int

	// Handshakes bounds those that are opened in a second; as many may come at once.
	Handshakes int

	// Pending bounds those that have joined no namespace; see also Config.ConnectTimeout.
	Pending int
}

// allowRequest is what the engine asks before it opens a connection; nil if it need not.
func (s *Server) allowRequest() func(r *http.Request) error {
	allow, limit := s.cfg.AllowRequest, int64(s.cfg.Admission.Pending)
	if limit == 0 {
		return allow
	}
	return func(r *http.Request) error {
		if s.pending.Load() >= limit {
			return engineio.ErrTooManyConnections
		}
		if allow == nil {
			return nil
		}
		return allow(r)
	}
}

// begin counts a connection that has joined no namespace. It is false when there are too many: several handshakes may
// have been allowed before one of them was counted.
func (c *conn) begin() bool {
	limit := int64(c.srv.cfg.Admission.Pending)
	if limit == 0 {
		return true
	}
	c.mu.Lock()
	c.fresh = true
	full := c.srv.pending.Add(1) > limit
	c.mu.Unlock()
	if full {
		c.close()
	}
	return !full
}

// begun ends what begin began. It is called under mu, when a namespace is joined and when the connection ends.
func (c *conn) begun() {
	if c.fresh {
		c.fresh = false
		c.srv.pending.Add(-1)
	}
}
