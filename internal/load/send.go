package load

import (
	"context"
	"errors"
	"math"
	"time"
)

// lateLimit is how long after Config.Duration what was due before may still be sent.
const lateLimit = 5 * time.Second

// run sends for the time of Config.Duration, or until ctx ends.
func (w *worker) run(ctx context.Context) {
	begin := time.Now()
	beginCPU, _ := usage()
	limited, cancel := context.WithTimeout(ctx, w.share.Config.Duration)
	defer cancel()
	w.sending.Store(true)
	switch {
	case w.share.Config.Scenario == Idle:
	case w.share.Config.Rate == 0:
		w.flood(limited)
	default:
		w.pace(ctx)
	}
	<-limited.Done()
	w.sending.Store(false)
	cpu, _ := usage()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sendingTime, w.sendingCPU = time.Since(begin), cpu-beginCPU
}

// flood gives each connection its first events; what follows is sent when they are answered.
func (w *worker) flood(ctx context.Context) {
	for _, c := range w.ready() {
		for range w.share.Config.InFlight {
			if ctx.Err() != nil {
				return
			}
			c.ask(clock())
		}
	}
}

// pace sends at the rate of the share, by the connections in turn. What is late is sent at once and counts from when it
// was due.
func (w *worker) pace(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, w.share.Config.Duration+lateLimit)
	defer cancel()
	var senders []*conn
	for _, c := range w.ready() {
		if w.share.Config.Scenario == Echo || c.publishes() {
			senders = append(senders, c)
		}
	}
	if len(senders) == 0 {
		return
	}
	begin, gap := clock(), float64(time.Second)/w.share.rate()
	all := int(math.Ceil(w.share.rate()*w.share.Config.Duration.Seconds() - 1e-9))
	for n := range all {
		due := begin + int64(float64(n)*gap)
		if !until(ctx, due) {
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				w.unsent.Add(int64(all - n)) // this machine could not send as fast
			}
			return
		}
		if c := senders[n%len(senders)]; w.share.Config.Scenario == Echo {
			c.ask(due)
		} else {
			c.publish(due)
		}
	}
}
