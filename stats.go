package sockeye

import (
	"errors"
	"sync/atomic"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/engineio"
)

// Stats is what a server has counted since it was made, and what is open on it. Its parts are read one after the other, so
// that one may be ahead of another by what happens meanwhile.
type Stats struct {
	// Engine has the connections, and the messages and bytes that they carry.
	Engine engineio.Stats

	// EventsIn counts the events of clients, EventsOut those that were queued for clients: a broadcast counts once for
	// each socket that it is sent to on this server.
	EventsIn, EventsOut uint64

	// AcksIn counts acknowledgements that were waited for and came, AcksOut those that were sent, AcksTimedOut those
	// that had not come when the context of who waited ended.
	AcksIn, AcksOut, AcksTimedOut uint64

	// Slowed counts the times that a client was read more slowly because it sent faster than Config.Rate.
	Slowed uint64

	// Connected counts the sockets that connected, and Refused the CONNECTs that were refused, by connection
	// middleware or since there is no such namespace.
	Connected, Refused uint64

	// Disconnected counts the sockets that ended, by reason.
	Disconnected [9]DisconnectStats

	Recovery RecoveryStats

	// Namespaces has the open ones, by name.
	Namespaces []NamespaceStats
}

// DisconnectStats are the sockets that ended for one reason.
type DisconnectStats struct {
	Reason Reason
	Count  uint64
}

// RecoveryStats count clients that came back and asked for what they missed.
type RecoveryStats struct {
	Recovered uint64 // got their id, rooms, data and what they missed

	// The others got a new socket, since
	Unknown   uint64 // the session or the offset is unknown or too old
	Malformed uint64 // the session or the offset is not of the form that we give
	Failed    uint64 // the adapter could not look, or the connection ended
}

// NamespaceStats are the sockets and rooms of one namespace on this server.
type NamespaceStats struct {
	Name    string
	Dynamic bool // made for a client's request: see Server.OfFunc
	Sockets int
	Rooms   int // those that somebody joined, without the sockets' own
}

// ends are the reasons of Stats.Disconnected, in its order.
var ends = [9]Reason{
	ReasonClientDisconnect, ReasonServerDisconnect, ReasonShuttingDown, ReasonForcedServerClose, ReasonForcedClose,
	ReasonTransportClose, ReasonTransportError, ReasonPingTimeout, ReasonParseError,
}

// counters are what a server counts.
type counters struct {
	shards [countShards]countShard

	deliveries                           atomic.Uint32 // broadcasts take the shards in turn
	acksTimedOut, connected, refused     atomic.Uint64
	slowed                               atomic.Uint64
	recovered, unknown, malformed, fails atomic.Uint64
	disconnected                         [9]atomic.Uint64 // as ends
}

const countShards = 16

// countShard is what is counted often. Each has cache lines of its own, so that goroutines seldom touch the same.
type countShard struct {
	eventsIn, eventsOut, acksIn, acksOut atomic.Uint64

	_ [128 - 4*8]byte
}

// counts gives the counters of a connection that are used often.
func (c *conn) counts() *countShard {
	id := c.eng.ID()
	return &c.srv.counters.shards[id[len(id)-1]%countShards]
}

// broadcastCounts gives those of a broadcast: one delivery keeps to its shard, whatever connections it comes to.
func (n *counters) broadcastCounts() *countShard {
	return &n.shards[n.deliveries.Add(1)%countShards]
}

func (n *counters) ended(r Reason) {
	for i := range ends {
		if ends[i] == r {
			n.disconnected[i].Add(1)
		}
	}
}

// restored counts what came of an attempt to recover.
func (n *counters) restored(err error) {
	switch {
	case err == nil:
		n.recovered.Add(1)
	case errors.Is(err, adapter.ErrNotRecoverable):
		n.unknown.Add(1)
	case errors.Is(err, errMalformedSession):
		n.malformed.Add(1)
	default:
		n.fails.Add(1)
	}
}

// Stats gives what was counted so far. It costs little more than a lock for each namespace, and may be called at any
// time.
func (s *Server) Stats() Stats {
	n := &s.counters
	st := Stats{
		Engine: s.eng.Stats(), AcksTimedOut: n.acksTimedOut.Load(), Connected: n.connected.Load(), Refused: n.refused.Load(),
		Slowed: n.slowed.Load(),
		Recovery: RecoveryStats{
			Recovered: n.recovered.Load(), Unknown: n.unknown.Load(), Malformed: n.malformed.Load(), Failed: n.fails.Load(),
		},
	}
	for i := range n.shards {
		c := &n.shards[i]
		st.EventsIn += c.eventsIn.Load()
		st.EventsOut += c.eventsOut.Load()
		st.AcksIn += c.acksIn.Load()
		st.AcksOut += c.acksOut.Load()
	}
	for i := range st.Disconnected {
		st.Disconnected[i] = DisconnectStats{ends[i], n.disconnected[i].Load()}
	}
	open := s.opened()
	st.Namespaces = make([]NamespaceStats, len(open))
	for i, o := range open {
		st.Namespaces[i] = NamespaceStats{Name: o.name, Dynamic: o.parent != nil}
		st.Namespaces[i].Sockets, st.Namespaces[i].Rooms = o.index.Totals()
	}
	return st
}
