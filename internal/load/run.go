package load

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

const (
	drainLimit  = 10 * time.Second // default of Options.Drain
	silentLimit = 30 * time.Second // for a report of a worker; one that is silent longer is killed
	endLimit    = 15 * time.Second // for workers to end
)

// Pipe is a worker as Run sees it.
type Pipe struct {
	Orders  io.WriteCloser
	Reports io.Reader

	// Kill ends the worker at once. Wait waits until it has ended, after which Reports has ended too.
	Kill func()
	Wait func() error
}

// Options say how a run is made.
type Options struct {
	Workers int // 1 or more

	// Spawn starts a worker; nil = Local.
	Spawn func(ctx context.Context) (Pipe, error)

	// Drain is how long to wait for what is under way when nothing more is sent; 10 s.
	Drain time.Duration

	// Progress is told how the run goes, about twice a second, by the goroutine of Run; nil = nobody is.
	Progress func(p Progress)
}

// Local is a worker in this process.
func Local(ctx context.Context) (Pipe, error) {
	ctx, cancel := context.WithCancel(ctx)
	orders, giveOrders := io.Pipe()
	reports, giveReports := io.Pipe()
	done := make(chan error, 1)
	go serveLocal(ctx, orders, giveReports, done)
	return Pipe{
		Orders: giveOrders, Reports: reports, Kill: cancel,
		Wait: func() error {
			defer cancel()
			return <-done
		},
	}, nil
}

// serveLocal ends with Serve.
func serveLocal(ctx context.Context, orders *io.PipeReader, reports *io.PipeWriter, done chan<- error) {
	err := Serve(ctx, orders, reports)
	_ = orders.Close() // both are always nil
	_ = reports.Close()
	done <- err
}

// told is a report of a worker, or its end.
type told struct {
	worker int
	report report
	err    error // io.EOF when there are no more
}

// crew is what a worker is known for.
type crew struct {
	pipe    Pipe
	last    report
	heard   time.Time
	ended   bool // its reports have
	killed  bool
	problem error
}

// run is a run under way.
type run struct {
	cfg      Config
	o        Options
	crews    []*crew
	reports  chan told
	latency  *hdrhistogram.Histogram // of the run
	opening  *hdrhistogram.Histogram
	live     *hdrhistogram.Histogram // since the last progress
	began    time.Time
	rampTime time.Duration
	before   Progress
	started  bool
	stopped  bool
	cut      bool // by ctx
	busy     busyness
	drain    <-chan time.Time
}

// Run puts the load on the server and measures it. When ctx ends, the run does so early, and the result is of what was
// until then. The error tells that there is no result; what went wrong with the load is in Result.Errors.
func Run(ctx context.Context, cfg Config, o Options) (*Result, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if o.Workers < 1 || o.Workers > cfg.Connections {
		return nil, fmt.Errorf("load: %d workers for %d connections", o.Workers, cfg.Connections)
	}
	if o.Spawn == nil {
		o.Spawn = Local
	}
	if o.Drain == 0 {
		o.Drain = drainLimit
	}
	r := &run{
		cfg: cfg, o: o, reports: make(chan told), began: time.Now(),
		latency: newHistogram(), opening: newHistogram(), live: newHistogram(),
	}
	if err := r.start(ctx); err != nil {
		return nil, err
	}
	r.direct(ctx)
	return r.result(), nil
}

// start starts the workers and has them connect.
func (r *run) start(ctx context.Context) error {
	// Workers outlive ctx, to report what they have.
	ctx = context.WithoutCancel(ctx)
	for i, s := range r.cfg.shares(r.o.Workers) {
		p, err := r.o.Spawn(ctx)
		if err == nil {
			r.crews = append(r.crews, &crew{pipe: p, heard: time.Now()})
			go r.read(i, p)
			err = r.tell(i, order{Share: &s})
		}
		if err != nil {
			r.abandon()
			return fmt.Errorf("load: cannot start a worker: %w", err)
		}
	}
	return nil
}

// read ends when the reports of the worker do.
func (r *run) read(worker int, p Pipe) {
	d := json.NewDecoder(bufio.NewReader(p.Reports))
	for {
		t := told{worker: worker}
		if t.err = d.Decode(&t.report); t.err != nil && !errors.Is(t.err, io.EOF) {
			t.err = fmt.Errorf("load: report of a worker: %w", t.err)
		}
		ended := t.err != nil
		if ended {
			if !errors.Is(t.err, io.EOF) {
				p.Kill() // what it says is not to be read
			}
			if err := p.Wait(); err != nil {
				t.err = err
			}
		}
		r.reports <- t
		if ended {
			return
		}
	}
}

func (r *run) tell(worker int, o order) error {
	b, err := line(o)
	if err == nil {
		_, err = r.crews[worker].pipe.Orders.Write(b)
	}
	return err
}

// tellAll orders something of all. One that does not take it has ended, which its reports tell.
func (r *run) tellAll(o order) {
	for i, c := range r.crews {
		if !c.ended {
			_ = r.tell(i, o)
		}
	}
}

// abandon ends the workers, of which some could not be started.
func (r *run) abandon() {
	for _, c := range r.crews {
		c.pipe.Kill()
		_ = c.pipe.Orders.Close() // it is over
	}
	for range r.crews {
		for t := range r.reports {
			if t.err != nil {
				break
			}
		}
	}
}

// direct goes through the phases until all workers have ended.
func (r *run) direct(ctx context.Context) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	var end <-chan time.Time
	canceled := ctx.Done()
	for !r.allEnded() {
		select {
		case t := <-r.reports:
			r.take(t)
		case <-tick.C:
			r.killSilent()
			r.progress()
			continue
		case <-canceled:
			canceled = nil
			r.cut = !r.stopped
			r.stop()
		case <-r.drain:
			r.stop()
		case <-end:
			r.kill(func(*crew) bool { return true })
		}
		r.next()
		if r.stopped && end == nil {
			end = time.After(endLimit)
		}
	}
	r.busy.stop()
	for _, c := range r.crews {
		_ = c.pipe.Orders.Close() // it has ended
	}
}

// take takes a report.
func (r *run) take(t told) {
	c := r.crews[t.worker]
	c.heard = time.Now()
	if t.err != nil {
		c.ended = true
		if c.last.Phase != phaseDone {
			c.problem = fmt.Errorf("a worker ended early: %w", t.err)
			if c.last.Open > 0 {
				c.last.Lost = maps.Clone(c.last.Lost)
				if c.last.Lost == nil {
					c.last.Lost = map[string]int{}
				}
				c.last.Lost["their worker ended"] = c.last.Open
				c.last.Open, c.last.Waiting = 0, 0
			}
		} else if !errors.Is(t.err, io.EOF) && !c.killed {
			c.problem = t.err
		}
		return
	}
	err := errors.Join(addPacked(r.latency, t.report.Latency), addPacked(r.live, t.report.Latency), addPacked(r.opening, t.report.Connect))
	if err != nil {
		c.problem = err
	}
	t.report.Connect, t.report.Latency = nil, nil
	c.last = t.report
}

// next goes on to the next phase when all workers are there.
func (r *run) next() {
	sum := r.sum()
	switch {
	case r.stopped:
	case !r.started:
		if !r.all(phaseReady) {
			return
		}
		r.rampTime = time.Since(r.began)
		if sum.Open == 0 {
			r.stop()
			return
		}
		r.started = true
		r.busy.start()
		r.tellAll(order{Start: true})
	case sum.Open == 0:
		r.stop() // there is nobody left
	case r.all(phaseSent):
		if r.drain == nil {
			r.busy.stop()
			r.drain = time.After(r.o.Drain)
		}
		if sum.Waiting == 0 && missing(sum.Groups) == 0 {
			r.stop()
		}
	}
}

func (r *run) stop() {
	if !r.stopped {
		r.stopped = true
		r.tellAll(order{Stop: true})
	}
}

func (r *run) kill(which func(*crew) bool) {
	for _, c := range r.crews {
		if !c.ended && which(c) {
			c.killed = true
			c.pipe.Kill()
		}
	}
}

func (r *run) killSilent() {
	r.kill(func(c *crew) bool { return time.Since(c.heard) > silentLimit })
}

func (r *run) all(p phase) bool {
	for _, c := range r.crews {
		if !c.ended && c.last.Phase < p {
			return false
		}
	}
	return true
}

func (r *run) allEnded() bool {
	for _, c := range r.crews {
		if !c.ended {
			return false
		}
	}
	return true
}
