package admin

import (
	"log/slog"
	"time"

	"github.com/sockeye-io/sockeye"
)

// count is the goroutine that samples the counters and tells of them, and sees to it that pages have the right picture.
// It ends with Close.
func (a *Admin) count() {
	var g aggregator
	st := a.io.Stats()
	g.last = st.Engine
	a.sendStats(&st, &g, time.Now())
	ticker := time.NewTicker(a.period)
	defer ticker.Stop()
	var refreshed, warned time.Time
	var dropped uint64
	due := false
	for n := 1; ; {
		select {
		case <-a.again:
			due = true
			continue
		case <-a.ctx.Done():
			return
		case <-ticker.C:
		}
		now := time.Now()
		st := a.io.Stats()
		g.sample(&st.Engine, now)
		if n%reportEach == 0 {
			a.sendStats(&st, &g, now)
		}
		n++
		a.adjust(&st)
		a.sweep()
		if len(a.teller.queue) == 0 && a.teller.lossy.Swap(false) {
			due = true
			a.tellOthers()
		}
		if n := a.teller.dropped.Load(); n > dropped && now.Sub(warned) >= againPeriod {
			a.log.LogAttrs(a.ctx, slog.LevelWarn, "admin events left out", slog.Uint64("events", n-dropped))
			dropped, warned = n, now
		}
		if due && now.Sub(refreshed) >= againPeriod {
			due, refreshed = false, now
			for s := range a.here() {
				a.show(s)
			}
		}
	}
}

func (a *Admin) sendStats(st *sockeye.Stats, g *aggregator, now time.Time) {
	if err := a.nsp.Emit("server_stats", a.report(st, g.take(), now)); err != nil {
		a.log.LogAttrs(a.ctx, slog.LevelWarn, "admin statistics not told", slog.Any("error", err))
	}
}

// adjust changes between telling of each socket and of totals alone, by how many sockets there are.
func (a *Admin) adjust(st *sockeye.Stats) {
	if a.o.Mode != Development || a.o.MaxSockets < 0 {
		return
	}
	n := 0
	for i := range st.Namespaces {
		n += st.Namespaces[i].Sockets
	}
	verbose := a.verbose.Load()
	switch {
	case verbose && n > a.o.MaxSockets:
		verbose = false
	case !verbose && n <= a.o.MaxSockets/2:
		verbose = true
	default:
		return
	}
	a.verbose.Store(verbose)
	a.log.LogAttrs(a.ctx, slog.LevelWarn, "admin pages are told of each socket, or no more", slog.Bool("told", verbose), slog.Int("sockets", n))
	for s := range a.here() {
		a.teller.await(a.ctx, told{event: "config", args: []any{a.config()}, to: s, then: func() { a.show(s) }})
	}
	if verbose {
		a.tellOthers()
	}
}

// sweep forgets those that were let in and did not come.
func (a *Admin) sweep() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for s := range a.waiting {
		if s.Context().Err() != nil {
			delete(a.waiting, s)
		}
	}
}
