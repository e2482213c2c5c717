package load

import (
	"context"
	"errors"
	"math"
	"time"
)

// run sends for the time of Config.Duration, or until ctx ends.
func (w *worker) run(ctx context.Context) {
	begin := time.Now()
	beginCPU, _ := usage()
	ctx, cancel := context.WithTimeout(ctx, w.share.Config.Duration)
	defer cancel()
	w.sending.Store(true)
	switch {
	case w.share.Config.Scenario == Idle:
		<-ctx.Done()
	case w.share.Config.Rate == 0:
		w.flood(ctx)
	default:
		w.pace(ctx)
	}
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
	<-ctx.Done()
}

// pace sends at the rate of the share, by the connections in turn. What is late is sent at once
// and counts from when it was due.
func (w *worker) pace(ctx context.Context) {
	var senders []*conn
	for _, c := range w.ready() {
		if w.share.Config.Scenario == Echo || c.publishes() {
			senders = append(senders, c)
		}
	}
	if len(senders) == 0 || w.share.rate() == 0 {
		<-ctx.Done()
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
	<-ctx.Done()
}
