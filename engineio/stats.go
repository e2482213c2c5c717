package engineio

import "sync/atomic"

// Stats is what a [Server] has counted since it was made. Its parts are read one after the other, so that one may be
// ahead of another by what happens meanwhile.
//
// Node: io.engine.clientsCount; the rest is counted by @socket.io/admin-ui there
type Stats struct {
	// Transports has polling and websocket, each of protocol 3 and 4.
	Transports [4]TransportStats

	// Upgraded counts connections that went over to another transport.
	Upgraded uint64

	// Closed counts connections that ended, by reason.
	Closed [5]ClosedStats

	// Refused counts requests that were refused; the code, such as CodeForbidden, is the index.
	Refused [6]uint64

	// Busy counts handshakes that were refused because there were too many connections, or the server was closing.
	Busy uint64

	// Messages and their bytes, without the digit that is their type. Of those that are sent, what a transport has
	// taken counts. Packets that carry no message, such as heartbeats, are not counted.
	PacketsIn, BytesIn   uint64
	PacketsOut, BytesOut uint64

	// Overflows counts connections that were closed because their queue was full, Dropped messages that were dropped
	// in place of that, and VolatileDropped volatile ones that the transport could not take at once.
	Overflows, Dropped, VolatileDropped uint64
}

// TransportStats are the connections of one transport and protocol.
type TransportStats struct {
	Transport string // "polling" or "websocket"
	Protocol  int    // 4 or 3
	Open      int    // connections that have it now
	Opened    uint64 // connections that began with it
}

// ClosedStats are the connections that ended for one reason.
type ClosedStats struct {
	Reason Reason
	Count  uint64
}

// reasons are those of ClosedStats, in its order.
var reasons = [5]Reason{
	ReasonTransportError, ReasonTransportClose, ReasonForcedClose, ReasonPingTimeout, ReasonParseError,
}

// counters are what the connections of a server count. Nil counts nothing.
type counters struct {
	shards [countShards]countShard

	open      [4]atomic.Int64 // by kindOf
	opened    [4]atomic.Uint64
	upgraded  atomic.Uint64
	closed    [5]atomic.Uint64 // as reasons
	refused   [6]atomic.Uint64
	busy      atomic.Uint64
	overflows atomic.Uint64
}

const countShards = 16

// countShard is what is counted often. Each has cache lines of its own, so that connections of different event loops
// seldom touch the same.
type countShard struct {
	packetsIn, bytesIn, packetsOut, bytesOut, dropped, volatile atomic.Uint64

	_ [128 - 6*8]byte
}

// kindOf is the position of a transport and protocol in Stats.Transports.
func kindOf(transport string, protocol uint8) int {
	kind := 0
	if transport == transportWebSocket {
		kind = 2
	}
	if protocol == 4 {
		kind++
	}
	return kind
}

// counted gives the counters of a connection that are used often, or nil.
func (c *Conn) counted() *countShard {
	if c.e.count == nil {
		return nil
	}
	return &c.e.count.shards[c.sid[len(c.sid)-1]%countShards]
}

// taken counts what the transport takes from the queue. c.mu is held.
func (c *Conn) taken() {
	if n := c.counted(); n != nil && len(c.q.items) > 0 {
		n.packetsOut.Add(uint64(len(c.q.items)))
		n.bytesOut.Add(uint64(c.q.bytes))
	}
}

// got is what the goroutine in the handler has received since it entered.
type got struct{ packets, bytes int }

// countReceived adds what was received. It is called by the goroutine in the handler.
func (c *Conn) countReceived() {
	if n := c.counted(); n != nil && c.got.packets > 0 {
		n.packetsIn.Add(uint64(c.got.packets))
		n.bytesIn.Add(uint64(c.got.bytes))
	}
	c.got = got{}
}

func (c *Conn) countDropped(n int) {
	if s := c.counted(); s != nil && n > 0 {
		s.dropped.Add(uint64(n))
	}
}

func (c *Conn) countVolatile(n int) {
	if s := c.counted(); s != nil {
		s.volatile.Add(uint64(n))
	}
}

// begun counts a new connection.
func (n *counters) begun(transport string, protocol uint8) {
	kind := kindOf(transport, protocol)
	n.open[kind].Add(1)
	n.opened[kind].Add(1)
}

// switched counts a change of transport. c.mu is held, so that the connection is not counted as closed before.
func (n *counters) switched(from, to string, protocol uint8) {
	n.open[kindOf(from, protocol)].Add(-1)
	n.open[kindOf(to, protocol)].Add(1)
	n.upgraded.Add(1)
}

func (n *counters) refusal(f *refusal) {
	if f.status != 0 {
		n.busy.Add(1)
		return
	}
	n.refused[f.code].Add(1)
}

// over counts the end of a connection.
func (n *counters) over(transport string, protocol uint8, reason Reason, err error) {
	n.open[kindOf(transport, protocol)].Add(-1)
	for i, r := range reasons {
		if r == reason {
			n.closed[i].Add(1)
		}
	}
	if err == ErrQueueFull { //nolint:errorlint // it is what overflow gives, not wrapped
		n.overflows.Add(1)
	}
}

// Stats gives what was counted so far. It costs about a microsecond, whatever the number of connections, and allocates
// nothing.
func (s *Server) Stats() Stats {
	n := &s.counters
	st := Stats{Upgraded: n.upgraded.Load(), Overflows: n.overflows.Load(), Busy: n.busy.Load()}
	for i := range st.Transports {
		st.Transports[i] = TransportStats{
			Transport: transportPolling, Protocol: 3 + i%2, Open: int(n.open[i].Load()), Opened: n.opened[i].Load(),
		}
		if i >= 2 {
			st.Transports[i].Transport = transportWebSocket
		}
	}
	for i := range st.Closed {
		st.Closed[i] = ClosedStats{reasons[i], n.closed[i].Load()}
	}
	for i := range st.Refused {
		st.Refused[i] = n.refused[i].Load()
	}
	for i := range n.shards {
		c := &n.shards[i]
		st.PacketsIn += c.packetsIn.Load()
		st.BytesIn += c.bytesIn.Load()
		st.PacketsOut += c.packetsOut.Load()
		st.BytesOut += c.bytesOut.Load()
		st.Dropped += c.dropped.Load()
		st.VolatileDropped += c.volatile.Load()
	}
	return st
}
