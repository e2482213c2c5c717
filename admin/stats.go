package admin

import (
	"cmp"
	"os"
	"slices"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/engineio"
)

// serverStats is what all pages are told every two seconds. The order of the fields is that of Node.
//
// Node: @socket.io/admin-ui initStatsEmitter
type serverStats struct {
	ServerID   string          `json:"serverId"`
	Hostname   string          `json:"hostname"`
	PID        int             `json:"pid"`
	Uptime     float64         `json:"uptime"` // s
	Clients    int             `json:"clientsCount"`
	Polling    int             `json:"pollingClientsCount"`
	Events     []aggregate     `json:"aggregatedEvents"`
	Namespaces []namespaceInfo `json:"namespaces"`
}

// aggregate is what happened in one second.
type aggregate struct {
	Timestamp int64  `json:"timestamp"` // the beginning of the second, in ms since the Unix epoch
	Type      string `json:"type"`
	SubType   string `json:"subType,omitempty"`
	Count     uint64 `json:"count"`
}

type namespaceInfo struct {
	Name    string `json:"name"`
	Sockets int    `json:"socketsCount"`
}

// maxNamespaces bounds the namespaces that pages are told of: those with the most sockets.
const maxNamespaces = 500

// started is when the process began, as near as a package can know.
var started = time.Now()

// aggregator makes the counts of each second of counters that only grow. It belongs to one goroutine.
type aggregator struct {
	last    engineio.Stats
	pending []aggregate
}

// sample counts what has happened since the last sample as of the second of now.
func (g *aggregator) sample(st *engineio.Stats, now time.Time) {
	second := now.Truncate(time.Second).UnixMilli()
	add := func(typ, subType string, count, last uint64) {
		if count > last {
			g.pending = append(g.pending, aggregate{second, typ, subType, count - last})
		}
	}
	var opened, openedBefore uint64
	for i := range st.Transports {
		opened += st.Transports[i].Opened
		openedBefore += g.last.Transports[i].Opened
	}
	add("rawConnection", "", opened, openedBefore)
	add("packetsIn", "", st.PacketsIn, g.last.PacketsIn)
	add("bytesIn", "", st.BytesIn, g.last.BytesIn)
	add("packetsOut", "", st.PacketsOut, g.last.PacketsOut)
	add("bytesOut", "", st.BytesOut, g.last.BytesOut)
	for i := range st.Closed {
		add("rawDisconnection", string(st.Closed[i].Reason), st.Closed[i].Count, g.last.Closed[i].Count)
	}
	g.last = *st
}

// take gives what was sampled since it was called before; never nil.
func (g *aggregator) take() []aggregate {
	all := g.pending
	g.pending = nil
	if all == nil {
		return []aggregate{}
	}
	return all
}

// report makes what the pages are told of a server.
func (a *Admin) report(st *sockeye.Stats, events []aggregate, now time.Time) serverStats {
	r := serverStats{
		ServerID: a.o.ServerID, Hostname: a.hostname, PID: os.Getpid(), Uptime: now.Sub(started).Seconds(),
		Events: events, Namespaces: make([]namespaceInfo, 0, len(st.Namespaces)),
	}
	for _, t := range st.Engine.Transports {
		r.Clients += t.Open
		if t.Transport == "polling" {
			r.Polling += t.Open
		}
	}
	for _, n := range st.Namespaces {
		r.Namespaces = append(r.Namespaces, namespaceInfo{n.Name, n.Sockets})
	}
	if len(r.Namespaces) > maxNamespaces {
		slices.SortStableFunc(r.Namespaces, func(x, y namespaceInfo) int { return cmp.Compare(y.Sockets, x.Sockets) })
		r.Namespaces = r.Namespaces[:maxNamespaces]
	}
	return r
}
