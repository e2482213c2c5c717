package metrics

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/engineio"
	"github.com/sockeye-io/sockeye/redisadapter"
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("sockeye_"+name, help, labels, nil)
}

// What is read from the server.
var (
	connections = desc("connections", "Open connections.", "transport", "protocol")
	opened      = desc("connections_opened_total", "Connections that were opened, by their first transport.", "transport", "protocol")
	closed      = desc("connections_closed_total", "Connections that ended.", "reason")
	upgraded    = desc("connection_upgrades_total", "Connections that went over from polling to WebSocket.")
	refused     = desc("requests_refused_total", "Requests of clients that were refused.", "reason")
	slowed      = desc("connection_slowdowns_total", "Times that a client was read more slowly, since it sent faster than allowed.")

	messages     = desc("messages_total", "Engine.IO messages.", "direction")
	messageBytes = desc("message_bytes_total", "Bytes of Engine.IO messages, before compression.", "direction")
	dropped      = desc("messages_dropped_total", "Messages that were not sent: volatile ones to a busy client, others to one whose queue was full.", "reason")
	overflows    = desc("queue_overflows_total", "Connections that were closed because their queue was full.")

	events       = desc("events_total", "Events of clients (in) and for clients (out), where a broadcast counts once for each receiver.", "direction")
	acks         = desc("acks_total", "Acknowledgements that came (in) and that were sent (out).", "direction")
	acksTimedOut = desc("acks_timed_out_total", "Acknowledgements that had not come when the wait for them ended.")

	sockets      = desc("sockets", "Connected sockets.", "namespace")
	rooms        = desc("rooms", "Rooms that somebody is in, without the sockets' own.", "namespace")
	namespaces   = desc("namespaces", "Open namespaces.", "kind")
	connected    = desc("sockets_connected_total", "Sockets that connected.")
	connRefused  = desc("sockets_refused_total", "Connections to a namespace that were refused.")
	disconnected = desc("sockets_disconnected_total", "Sockets that ended.", "reason")
	recoveries   = desc("recoveries_total", "Clients that came back and asked for what they missed, by what came of it.", "outcome")

	adapterUp = desc("adapter_up", "Whether the server is open and its adapter works: with Redis, whether Redis answers and the subscription stands.")
)

// What is read from the adapter, where it counts.
var (
	published  = desc("adapter_published_total", "Messages that Redis accepted.")
	pubDropped = desc("adapter_publish_dropped_total", "Messages that were dropped, since the queue to Redis was full.")
	pubFailed  = desc("adapter_publish_failed_total", "Messages that Redis refused, or that a lost connection swallowed.")
	received   = desc("adapter_received_total", "Messages of other servers that concerned this one.")
	malformed  = desc("adapter_malformed_total", "Messages from Redis that could not be read.")
	unknown    = desc("adapter_unknown_responses_total", "Answers of other servers that nobody here waits for.")
	gaps       = desc("adapter_gaps_total", "Times that the subscription to Redis was lost.")
	servers    = desc("adapter_servers", "Other servers of the cluster that are there.")
	batches    = desc("adapter_batches_total", "Batches of messages that were sent to Redis.")
	batchTime  = desc("adapter_batch_seconds_total", "Time that Redis took to answer batches.")
	waiting    = desc("adapter_waiting_messages", "Messages that wait to be sent to Redis.")
	waitBytes  = desc("adapter_waiting_bytes", "Bytes that wait to be sent to Redis.")
	unread     = desc("adapter_unread_messages", "Messages from Redis that wait to be handled.")
)

// described are those of the server, and adapted those of the adapter.
var (
	described = []*prometheus.Desc{
		connections, opened, closed, upgraded, refused, slowed, messages, messageBytes, dropped, overflows, events, acks,
		acksTimedOut, sockets, rooms, namespaces, connected, connRefused, disconnected, recoveries, adapterUp,
	}
	adapted = []*prometheus.Desc{
		published, pubDropped, pubFailed, received, malformed, unknown, gaps, servers, batches, batchTime, waiting,
		waitBytes, unread,
	}
)

// refusals are the words for the codes of refused requests.
var refusals = [...]string{
	engineio.CodeTransportUnknown:   "transport unknown",
	engineio.CodeSessionUnknown:     "session unknown",
	engineio.CodeBadHandshakeMethod: "bad handshake method",
	engineio.CodeBadRequest:         "bad request",
	engineio.CodeForbidden:          "forbidden",
	engineio.CodeUnsupportedVersion: "unsupported protocol version",
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range described {
		ch <- d
	}
	if m.adapter != nil {
		for _, d := range adapted {
			ch <- d
		}
	}
	m.acks.Describe(ch)
	if m.handlers != nil {
		m.handlers.Describe(ch)
		m.failures.Describe(ch)
	}
}

// sink sends metrics on.
type sink chan<- prometheus.Metric

func (s sink) gauge(d *prometheus.Desc, v float64, labels ...string) {
	s <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (s sink) count(d *prometheus.Desc, v uint64, labels ...string) {
	s <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	out := sink(ch)
	st := m.srv.Stats()
	out.engine(&st.Engine)
	out.server(&st)
	m.namespaces(out, st.Namespaces)
	up := 1.0
	if m.srv.Health() != nil {
		up = 0
	}
	out.gauge(adapterUp, up)
	if m.adapter != nil {
		a := m.adapter.Stats()
		out.adapter(&a)
	}
	m.acks.Collect(ch)
	if m.handlers != nil {
		m.handlers.Collect(ch)
		m.failures.Collect(ch)
	}
}

func (s sink) engine(st *engineio.Stats) {
	for _, t := range st.Transports {
		protocol := strconv.Itoa(t.Protocol)
		s.gauge(connections, float64(t.Open), t.Transport, protocol)
		s.count(opened, t.Opened, t.Transport, protocol)
	}
	for _, c := range st.Closed {
		s.count(closed, c.Count, string(c.Reason))
	}
	for code, n := range st.Refused {
		s.count(refused, n, refusals[code])
	}
	s.count(refused, st.Busy, "busy")
	s.count(upgraded, st.Upgraded)
	s.count(messages, st.PacketsIn, "in")
	s.count(messages, st.PacketsOut, "out")
	s.count(messageBytes, st.BytesIn, "in")
	s.count(messageBytes, st.BytesOut, "out")
	s.count(dropped, st.Dropped, "queue full")
	s.count(dropped, st.VolatileDropped, "volatile")
	s.count(overflows, st.Overflows)
}

func (s sink) server(st *sockeye.Stats) {
	s.count(events, st.EventsIn, "in")
	s.count(events, st.EventsOut, "out")
	s.count(acks, st.AcksIn, "in")
	s.count(acks, st.AcksOut, "out")
	s.count(acksTimedOut, st.AcksTimedOut)
	s.count(slowed, st.Slowed)
	s.count(connected, st.Connected)
	s.count(connRefused, st.Refused)
	for _, d := range st.Disconnected {
		s.count(disconnected, d.Count, string(d.Reason))
	}
	s.count(recoveries, st.Recovery.Recovered, "recovered")
	s.count(recoveries, st.Recovery.Unknown, "unknown")
	s.count(recoveries, st.Recovery.Malformed, "malformed")
	s.count(recoveries, st.Recovery.Failed, "failed")
}

func (s sink) adapter(st *redisadapter.Stats) {
	s.count(published, st.Published)
	s.count(pubDropped, st.Dropped)
	s.count(pubFailed, st.Failed)
	s.count(received, st.Received)
	s.count(malformed, st.Malformed)
	s.count(unknown, st.Unknown)
	s.count(gaps, st.Gaps)
	s.gauge(servers, float64(st.Servers))
	s.count(batches, st.Batches)
	s <- prometheus.MustNewConstMetric(batchTime, prometheus.CounterValue, st.BatchTime.Seconds())
	s.gauge(waiting, float64(st.Waiting))
	s.gauge(waitBytes, float64(st.WaitingBytes))
	s.gauge(unread, float64(st.Unread))
}

// Labels of namespaces that have none of their own. Names begin with a slash.
const (
	labelDynamic = "(dynamic)"
	labelOther   = "(other)"
)

// sizes are the sums of namespaces under one label.
type sizes struct{ sockets, rooms int }

// namespaces are in alphabetical order, so that the same ones are told by name each time.
func (m *Metrics) namespaces(out sink, all []sockeye.NamespaceStats) {
	by := map[string]*sizes{}
	static, dynamic := 0, 0
	for _, n := range all {
		label := labelDynamic
		if n.Dynamic {
			dynamic++
		} else if static++; static <= m.most {
			label = valid(n.Name)
		} else {
			label = labelOther
		}
		s := by[label]
		if s == nil {
			s = &sizes{}
			by[label] = s
		}
		s.sockets += n.Sockets
		s.rooms += n.Rooms
	}
	for label, s := range by {
		out.gauge(sockets, float64(s.sockets), label)
		out.gauge(rooms, float64(s.rooms), label)
	}
	out.gauge(namespaces, float64(static), "static")
	out.gauge(namespaces, float64(dynamic), "dynamic")
}
