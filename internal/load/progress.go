package load

import (
	"time"
)

// Progress is how a run goes. Rates and percentiles are those since the last time.
type Progress struct {
	Sending  bool // the connections are made
	Done     bool // nothing more is sent
	Elapsed  time.Duration
	Asked    int // connections
	Opened   int
	Open     int
	Failed   int
	OpenRate float64 // connections per second
	SentRate float64 // events per second
	Received int
	GotRate  float64 // acknowledgements or events received, per second
	Latency  Latency

	at   time.Time
	sent int
}

// sum adds up the last reports.
func (r *run) sum() (s report) {
	s.Failed, s.Lost, s.Refused = map[string]int{}, map[string]int{}, map[string]int{}
	for _, c := range r.crews {
		l := c.last
		s.Opened += l.Opened
		s.Open += l.Open
		s.Sent += l.Sent
		s.Answered += l.Answered
		s.Unsent += l.Unsent
		s.Waiting += l.Waiting
		s.Received += l.Received
		s.Stray += l.Stray
		s.CPU += l.CPU
		s.Peak += l.Peak
		s.SenderCPU += l.SenderCPU
		s.Sender = max(s.Sender, l.Sender)
		s.CPUs = max(s.CPUs, l.CPUs)
		for reason, n := range l.Failed {
			count(s.Failed, reason, n)
		}
		for reason, n := range l.Lost {
			count(s.Lost, reason, n)
		}
		for reason, n := range l.Refused {
			count(s.Refused, reason, n)
		}
		for i, g := range l.Groups {
			if len(s.Groups) <= i {
				s.Groups = append(s.Groups, g)
				continue
			}
			s.Groups[i].Published += g.Published
			s.Groups[i].Receivers += g.Receivers
			s.Groups[i].Got += g.Got
		}
	}
	return s
}

// missing counts what receivers that are still there should have got.
func missing(groups []group) (n int) {
	for _, g := range groups {
		n += max(0, g.Published*g.Receivers-g.Got)
	}
	return n
}

// progress tells how it goes.
func (r *run) progress() {
	if r.o.Progress == nil || r.stopped {
		return
	}
	s, now := r.sum(), time.Now()
	p := Progress{
		Sending: r.started, Done: r.drain != nil, Elapsed: now.Sub(r.began), Asked: r.cfg.Connections,
		Opened: s.Opened, Open: s.Open, Received: s.Answered + s.Received, Latency: latencyOf(r.live), at: now, sent: s.Sent,
	}
	if r.started {
		p.Elapsed -= r.rampTime
	}
	for _, n := range s.Failed {
		p.Failed += n
	}
	since := r.before.at
	if since.IsZero() {
		since = r.began
	}
	if d := now.Sub(since).Seconds(); d > 0 {
		p.OpenRate = float64(p.Opened-r.before.Opened) / d
		p.GotRate = float64(p.Received-r.before.Received) / d
		p.SentRate = float64(s.Sent-r.before.sent) / d
	}
	r.before = p
	r.live.Reset()
	r.o.Progress(p)
}
