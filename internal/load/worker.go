package load

import (
	"context"
	"maps"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye/engineio"
	"github.com/sockeye-io/sockeye/parser"
	"github.com/sockeye-io/sockeye/parser/msgpack"
)

// worker has a share of the connections.
type worker struct {
	share    share
	revision int // of the protocol of Socket.IO
	codec    parser.Parser
	targets  []target
	loop     *engineio.Loop
	connect  []byte // the packet
	payload  []parser.Arg
	mark     []byte // what a payload begins with
	padding  string // and ends with

	latency   *recorder
	opening   *recorder
	published []atomic.Int64 // of each group
	sent      atomic.Int64
	answers   atomic.Int64
	unsent    atomic.Int64
	received  atomic.Int64
	stray     atomic.Int64
	sending   atomic.Bool
	closing   sync.WaitGroup // connections whose OnClose has not come

	beganCPU time.Duration

	mu sync.Mutex

	// Guarded by mu.
	phase       phase
	conns       []*conn // that are or were ready
	opened      int
	under       int // way
	failedBy    map[string]int
	lostBy      map[string]int
	refusedBy   map[string]int
	lostCount   int
	sendingTime time.Duration
	sendingCPU  time.Duration
}

func newWorker(s share) (*worker, error) {
	w := &worker{
		share: s, codec: parser.JSON(), revision: s.Config.EIO + 1,
		latency: newRecorder(), opening: newRecorder(),
		published: make([]atomic.Int64, s.Config.groups()),
		failedBy:  map[string]int{}, lostBy: map[string]int{}, refusedBy: map[string]int{},
	}
	if s.Config.Msgpack {
		w.codec = msgpack.New()
	}
	w.beganCPU, _ = usage()
	if err := w.aim(); err != nil {
		return nil, err
	}
	if err := w.prepare(); err != nil {
		return nil, err
	}
	w.loop = engineio.NewLoop()
	return w, nil
}

// lost counts a connection that was ready and is gone.
func (w *worker) lost(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lostCount++
	count(w.lostBy, reason(err), 1)
}

// refused counts an acknowledgement that says no.
func (w *worker) refused(said string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	count(w.refusedBy, short(said), 1)
}

func (w *worker) setPhase(p phase) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.phase = p
}

// report tells how things are, and takes what the histograms have.
func (w *worker) report() report {
	cpu, peak := usage()
	r := report{
		Sent: int(w.sent.Load()), Answered: int(w.answers.Load()), Unsent: int(w.unsent.Load()),
		Received: int(w.received.Load()), Stray: int(w.stray.Load()),
		Connect: packed(w.opening.take()), Latency: packed(w.latency.take()),
		CPU: (cpu - w.beganCPU).Seconds(), Peak: peak,
		CPUs: runtime.GOMAXPROCS(0), Pid: os.Getpid(),
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	r.Phase, r.Opened, r.Under = w.phase, w.opened, w.under
	r.Open = w.opened - w.lostCount
	r.Failed, r.Lost, r.Refused = maps.Clone(w.failedBy), maps.Clone(w.lostBy), maps.Clone(w.refusedBy)
	r.Sender, r.SenderCPU = w.sendingTime.Seconds(), w.sendingCPU.Seconds()
	if w.phase >= phaseSent {
		r.Waiting = w.waiting()
		r.Groups = w.groups()
	}
	return r
}

// waiting counts the acknowledgements that are still to come. w.mu is held; that of a connection is inside.
func (w *worker) waiting() (n int) {
	for _, c := range w.conns {
		c.mu.Lock()
		if c.stage == stageReady {
			n += c.pending.open
		}
		c.mu.Unlock()
	}
	return n
}

func (w *worker) groups() []group {
	if w.share.Config.Scenario != Fanout {
		return nil
	}
	all := make([]group, w.share.Config.groups())
	for i := range all {
		all[i].Published = int(w.published[i].Load())
	}
	for _, c := range w.conns {
		if c.publishes() {
			continue
		}
		c.mu.Lock()
		if c.stage == stageReady {
			all[c.group()].Receivers++
			all[c.group()].Got += c.got
		}
		c.mu.Unlock()
	}
	return all
}

// ready gives the connections that were ready once.
func (w *worker) ready() []*conn {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.conns
}

// closeLimit is how long a server has to take part in the end of connections.
const closeLimit = 3 * time.Second

// close takes leave of the server. Connections that it does not let go end without.
func (w *worker) close(ctx context.Context) {
	for _, c := range w.ready() {
		c.close()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeLimit)
	defer cancel()
	defer func() {
		w.release()
		_ = w.loop.Close() // always nil
	}()
	closed := make(chan struct{})
	go w.awaitClosed(closed)
	select {
	case <-closed:
	case <-ctx.Done():
	}
}

// awaitClosed ends when all connections are closed: they end by their own limits at the latest.
func (w *worker) awaitClosed(closed chan<- struct{}) {
	w.closing.Wait()
	close(closed)
}
