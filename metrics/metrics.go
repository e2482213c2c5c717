package metrics

import (
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/redisadapter"
)

// Options configure [New]. The zero value is a registry of its own, which has the metrics of the Go runtime, the
// process and its build too.
type Options struct {
	// Registerer takes the metrics. nil: a registry of their own.
	Registerer prometheus.Registerer

	// Labels are added to each metric, such as the name of the server.
	Labels prometheus.Labels

	// Adapter is what Config.Adapter has. Those of redisadapter have counters of their own; of others, as of nil, only
	// the health is told.
	Adapter adapter.Cluster

	// Events are the events of clients whose handlers are timed, each under its name. Default none.
	Events []string

	// Namespaces bounds the namespaces that have a label of their own: the first that were opened by the application, in
	// alphabetical order. The others are told together, as "(other)", and those that were made for clients, as
	// "(dynamic)". Default 100, negative = none.
	Namespaces int

	// Buckets are those of all histograms, in seconds, ascending. Default: 0.5 ms to 10 s.
	Buckets []float64
}

const defaultNamespaces = 100

// buckets are bounds between what a handler in memory takes and the time that clients wait for an acknowledgement.
var buckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}

// adapterStats is what the clusters of redisadapter implement.
type adapterStats interface{ Stats() redisadapter.Stats }

// Metrics are the metrics of one server. It is safe for concurrent use.
type Metrics struct {
	srv     *sockeye.Server
	adapter adapterStats // nil where the adapter counts nothing
	most    int          // namespaces with a label of their own
	reg     prometheus.Registerer
	gather  prometheus.Gatherer

	acks     *prometheus.HistogramVec
	handlers *prometheus.HistogramVec // nil without events
	failures *prometheus.CounterVec
	timed    map[string]*timed // never changed
	okAcks   prometheus.Observer
	badAcks  prometheus.Observer

	stop      func()
	closeOnce sync.Once
}

// timed are the metrics of the handlers of one event.
type timed struct {
	seconds prometheus.Observer
	errors  prometheus.Counter
}

// New registers the metrics of srv. Errors are those of the registerer, as when another server is registered with the same
// labels. Metrics are read from the server when they are asked for; until Close acknowledgements, and the handlers of
// Options.Events, are timed by an observer.
//
// Differs from Node: there is no such package of its own.
func New(srv *sockeye.Server, o Options) (*Metrics, error) {
	m := &Metrics{srv: srv, most: o.Namespaces, reg: o.Registerer}
	m.adapter, _ = o.Adapter.(adapterStats) // others count nothing
	switch {
	case m.most == 0:
		m.most = defaultNamespaces
	case m.most < 0:
		m.most = 0
	}
	if err := m.histograms(o); err != nil {
		return nil, err
	}
	if err := m.register(o.Labels); err != nil {
		return nil, err
	}
	m.stop = srv.Observe(m.observer())
	return m, nil
}

// histograms makes what is not read from the server.
func (m *Metrics) histograms(o Options) error {
	bounds := o.Buckets
	if len(bounds) == 0 {
		bounds = buckets
	}
	for i := 1; i < len(bounds); i++ {
		if bounds[i] <= bounds[i-1] {
			return errors.New("metrics: Buckets must ascend")
		}
	}
	m.acks = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "sockeye_ack_duration_seconds", Buckets: bounds,
		Help: "Time that this server waited for the acknowledgements of one event that it sent, by whether all came.",
	}, []string{"outcome"})
	m.okAcks, m.badAcks = m.acks.WithLabelValues("complete"), m.acks.WithLabelValues("incomplete")
	if len(o.Events) == 0 {
		return nil
	}
	m.handlers = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "sockeye_handler_duration_seconds", Buckets: bounds,
		Help: "Time that the handlers of an event of a client took, with their middleware.",
	}, []string{"event"})
	m.failures = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sockeye_handler_errors_total", Help: "Events of clients whose handlers returned an error.",
	}, []string{"event"})
	m.timed = make(map[string]*timed, len(o.Events))
	for _, e := range o.Events {
		label := valid(e)
		m.timed[e] = &timed{m.handlers.WithLabelValues(label), m.failures.WithLabelValues(label)}
	}
	return nil
}

// register makes the metrics known.
func (m *Metrics) register(labels prometheus.Labels) error {
	if m.reg == nil {
		own := prometheus.NewRegistry()
		own.MustRegister(
			collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
			collectors.NewBuildInfoCollector(),
		)
		m.reg = own
	}
	gather, gathers := m.reg.(prometheus.Gatherer)
	m.reg = prometheus.WrapRegistererWith(labels, m.reg)
	if err := m.reg.Register(m); err != nil {
		return fmt.Errorf("metrics: register: %w", err)
	}
	if !gathers { // then these alone can be served
		own := prometheus.NewRegistry()
		if err := prometheus.WrapRegistererWith(labels, own).Register(m); err != nil {
			return fmt.Errorf("metrics: register: %w", err)
		}
		gather = own
	}
	m.gather = gather
	return nil
}

// observer times what the server does not count.
func (m *Metrics) observer() sockeye.Observer {
	o := sockeye.Observer{Asked: m.asked}
	if len(m.timed) > 0 {
		o.Received = m.received
	}
	return o
}

// Scrapes at one time, and how long one may take.
const (
	maxScrapes  = 4
	scrapeLimit = 10 * time.Second
)

// Handler serves the metrics of the registry, in the format that the client asks for. Where Options.Registerer cannot be
// read, it serves those of this package alone. It asks for no authentication.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.gather, promhttp.HandlerOpts{MaxRequestsInFlight: maxScrapes, Timeout: scrapeLimit})
}

// Close takes the metrics out of the registry and ends the observer. It may be called more than once. It is always nil.
func (m *Metrics) Close() error {
	m.closeOnce.Do(func() {
		m.stop()
		m.reg.Unregister(m)
	})
	return nil
}
