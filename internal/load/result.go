package load

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Latency sums up a histogram, in milliseconds.
type Latency struct {
	Count int64   `json:"count"`
	Min   float64 `json:"min"`
	Mean  float64 `json:"mean"`
	P50   float64 `json:"p50"`
	P90   float64 `json:"p90"`
	P99   float64 `json:"p99"`
	P999  float64 `json:"p99_9"`
	Max   float64 `json:"max"`
}

func latencyOf(h *hdrhistogram.Histogram) Latency {
	if h.TotalCount() == 0 {
		return Latency{}
	}
	ms := func(ns float64) float64 { return float64(int64(ns/1e3)) / 1e3 }
	q := h.ValueAtPercentilesSlice([]float64{50, 90, 99, 99.9})
	return Latency{
		Count: h.TotalCount(), Min: ms(float64(h.Min())), Mean: ms(h.Mean()), Max: ms(float64(h.Max())),
		P50: ms(float64(q[0])), P90: ms(float64(q[1])), P99: ms(float64(q[2])), P999: ms(float64(q[3])),
	}
}

// Result is what a run has measured. Its JSON is a promise: fields are added, never taken away.
type Result struct {
	URL         string      `json:"url"` // without path, query and password
	Scenario    Scenario    `json:"scenario"`
	Transport   string      `json:"transport"`
	EngineIO    int         `json:"engine_io"`
	Namespace   string      `json:"namespace"`
	Rooms       int         `json:"rooms"`
	Payload     int         `json:"payload_bytes"`
	Rate        float64     `json:"rate"` // that was asked for, per second; 0 = as fast as acknowledgements come
	Interrupted bool        `json:"interrupted"`
	Connections Connections `json:"connections"`
	Events      Events      `json:"events"`
	Latency     Latency     `json:"latency_ms"` // send to acknowledgement, or send to receive
	Generator   Generator   `json:"generator"`

	// Warnings do not make the figures worthless, but are to be known. Errors tell that the load was not what was
	// asked for, or that the server has not served it.
	Warnings []string `json:"warnings"`
	Errors   []string `json:"errors"`
}

// Connections are those of a run.
type Connections struct {
	Asked     int            `json:"asked"`
	Opened    int            `json:"opened"` // connected to the namespace, and with rooms joined
	Failed    map[string]int `json:"failed"` // by reason
	Untried   int            `json:"untried"`
	Lost      map[string]int `json:"lost"` // by reason, after they were opened
	Seconds   float64        `json:"seconds"`
	PerSecond float64        `json:"per_second"`
	Latency   Latency        `json:"latency_ms"` // from the first byte until opened
}

// Events are those of a run.
type Events struct {
	Seconds      float64        `json:"seconds"` // of sending
	Sent         int            `json:"sent"`
	PerSecond    float64        `json:"sent_per_second"`
	Acknowledged int            `json:"acknowledged"`
	Received     int            `json:"received"` // fan-out
	GotPerSecond float64        `json:"got_per_second"`
	Missing      int            `json:"missing"` // acknowledgements or events that did not come in time
	Unsent       int            `json:"unsent"`  // due, but not sent
	Refused      map[string]int `json:"refused"` // acknowledged with {"ok":false}, by reason
	Stray        int            `json:"stray"`   // received by connections that are not in the room
}

// Generator is what the load itself took. It is 0 where the system does not tell.
type Generator struct {
	Processes   int     `json:"processes"`
	CPUSeconds  float64 `json:"cpu_seconds"`
	CPUs        int     `json:"cpus"`
	CPUShare    float64 `json:"cpu_share"`    // of all CPUs of this machine, while events were sent, of 1
	MachineBusy float64 `json:"machine_busy"` // all that ran on this machine, of 1
	PeakBytes   int64   `json:"peak_bytes"`   // resident
}

// OK tells whether the run was as it was asked for.
func (r *Result) OK() bool { return len(r.Errors) == 0 && !r.Interrupted }

// busyness is how busy this machine was for a time.
type busyness struct {
	busy, all float64 // at the start, then the difference
	state     int     // 0 not started, 1 started, 2 stopped
}

func (b *busyness) start() {
	b.busy, b.all = machine()
	b.state = 1
}

func (b *busyness) stop() {
	if b.state == 1 {
		busy, all := machine()
		b.busy, b.all = busy-b.busy, all-b.all
		b.state = 2
	}
}

func (b *busyness) share() float64 {
	if b.state != 2 || b.all <= 0 {
		return 0
	}
	return b.busy / b.all
}

func (r *run) result() *Result {
	s := r.sum()
	got := s.Answered + s.Received
	v := &Result{
		URL: shownURL(r.cfg.URL), Scenario: r.cfg.Scenario, Transport: r.cfg.Transport, EngineIO: r.cfg.EIO, Namespace: r.cfg.Namespace,
		Rooms: r.cfg.Rooms, Payload: r.cfg.Payload, Rate: r.cfg.Rate, Interrupted: r.cut,
		Connections: Connections{
			Asked: r.cfg.Connections, Opened: s.Opened, Failed: s.Failed, Lost: s.Lost,
			Seconds: r.rampTime.Seconds(), Latency: latencyOf(r.opening),
		},
		Events: Events{
			Seconds: s.Sender, Sent: s.Sent, Acknowledged: s.Answered, Received: s.Received,
			Unsent: s.Unsent, Refused: s.Refused, Stray: s.Stray, Missing: missing(s.Groups) + s.Waiting,
		},
		Latency:   latencyOf(r.latency),
		Generator: Generator{Processes: r.o.Workers, CPUSeconds: s.CPU, CPUs: s.CPUs, PeakBytes: s.Peak, MachineBusy: r.busy.share()},
		Warnings:  []string{}, Errors: []string{},
	}
	c := &v.Connections
	c.Untried = max(0, c.Asked-c.Opened-total(c.Failed))
	if c.Seconds == 0 {
		c.Seconds = time.Since(r.began).Seconds()
	}
	c.PerSecond = float64(c.Opened) / c.Seconds
	if s.Sender > 0 {
		v.Events.PerSecond = float64(s.Sent) / s.Sender
		v.Events.GotPerSecond = float64(got) / s.Sender
	}
	if s.CPUs > 0 {
		v.Generator.CPUShare = s.SenderCPU / max(s.Sender, 1e-9) / float64(s.CPUs)
	}
	r.judge(v)
	return v
}

// shownURL is a URL without what may be secret.
func shownURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

func total(m map[string]int) (n int) {
	for _, k := range m {
		n += k
	}
	return n
}

// reasons lists counts, the greatest first.
func reasons(m map[string]int) string {
	names := slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		if m[a] != m[b] {
			return m[b] - m[a]
		}
		return strings.Compare(a, b)
	})
	for i, n := range names {
		names[i] = fmt.Sprintf("%d %s", m[n], n)
	}
	return strings.Join(names, ", ")
}

// judge says what is wrong with a run, and what makes its figures doubtful.
func (r *run) judge(v *Result) {
	wrong := func(format string, args ...any) { v.Errors = append(v.Errors, fmt.Sprintf(format, args...)) }
	doubt := func(format string, args ...any) { v.Warnings = append(v.Warnings, fmt.Sprintf(format, args...)) }
	c, e := v.Connections, v.Events
	if c.Opened < c.Asked && !v.Interrupted {
		why := reasons(c.Failed)
		if c.Untried > 0 {
			c.Failed = maps.Clone(c.Failed)
			count(c.Failed, "not tried", c.Untried)
			why = reasons(c.Failed)
		}
		wrong("%d of %d connections were opened: %s", c.Opened, c.Asked, why)
	}
	if n := total(c.Lost); n > 0 {
		wrong("%d connections were lost: %s", n, reasons(c.Lost))
	}
	if e.Missing > 0 && !v.Interrupted {
		r.judgeMissing(v, wrong)
	}
	if e.Unsent > 0 {
		wrong("%d events were due and could not be sent", e.Unsent)
	}
	if n := total(e.Refused); n > 0 {
		wrong("the server refused %d events: %s", n, reasons(e.Refused))
	}
	if e.Stray > 0 {
		wrong("%d events came to connections in other rooms", e.Stray)
	}
	for _, k := range r.crews {
		if k.problem != nil {
			wrong("%s", short(k.problem.Error()))
		}
	}
	switch g := v.Generator; {
	case g.CPUShare > busyLimit:
		doubt("the generator used %.0f%% of the CPUs of this machine: the figures are its own, not the server's", 100*g.CPUShare)
	case g.MachineBusy > busyLimit:
		doubt("this machine was %.0f%% busy: latencies have the wait for a CPU in them", 100*g.MachineBusy)
	}
}

// busyLimit is the share of CPUs from which figures are doubtful.
const busyLimit = 0.9

func (r *run) judgeMissing(v *Result, wrong func(string, ...any)) {
	switch e := v.Events; {
	case v.Scenario == Echo && e.Acknowledged == 0:
		wrong("no event was acknowledged: does the server answer %q?", r.cfg.Event)
	case v.Scenario == Echo:
		wrong("%d events were not acknowledged within %v", e.Missing, r.o.Drain)
	case e.Received == 0:
		wrong("nothing was received: does the server send %q on?", r.cfg.Event)
	default:
		wrong("%d events were not received within %v", e.Missing, r.o.Drain)
	}
}
