package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/sockeye-io/sockeye/parser"
)

// every is how often a worker reports.
const every = 500 * time.Millisecond

var errNoShare = errors.New("load: the first order has no share")

// Serve is a worker: it takes orders from r, reports to out, and ends when it is told to or when r does. It is what
// a process does that Options.Spawn starts; ctx ends it early.
func Serve(ctx context.Context, r io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	orders := make(chan order, 3) // there are no more, so that whoever gives one never waits for long
	go readOrders(ctx, r, orders)
	var first order
	select {
	case first = <-orders:
	case <-ctx.Done():
	}
	if first.Share == nil {
		return errNoShare
	}
	w, err := newWorker(*first.Share)
	if err != nil {
		return err
	}
	return w.serve(ctx, orders, out)
}

// readOrders ends with r, or when ctx has ended and r gives something.
func readOrders(ctx context.Context, r io.Reader, orders chan<- order) {
	defer close(orders)
	for d := json.NewDecoder(r); ; {
		var o order
		if d.Decode(&o) != nil {
			return
		}
		select {
		case orders <- o:
		case <-ctx.Done():
			return
		}
	}
}

// serve does what it is told until the order to stop.
func (w *worker) serve(ctx context.Context, orders <-chan order, out io.Writer) error {
	work, stop := context.WithCancel(ctx)
	defer stop()
	rung, ran := make(chan struct{}), make(chan struct{})
	running := false
	go w.goRamp(work, rung)
	tick := time.NewTicker(every)
	defer tick.Stop()
	var failed error
	for stopped := false; !stopped && failed == nil; {
		rampDone, runDone := rung, (chan struct{})(nil)
		if w.phaseNow() != phaseConnecting {
			rampDone = nil
		}
		if w.phaseNow() == phaseRunning {
			runDone = ran
		}
		select {
		case <-rampDone:
			w.setPhase(phaseReady)
		case <-runDone:
			w.setPhase(phaseSent)
		case <-tick.C:
		case <-ctx.Done():
			stopped = true
		case o, ok := <-orders:
			switch {
			case !ok || o.Stop:
				stopped = true
			case o.Start && !running && w.phaseNow() == phaseReady:
				running = true
				w.setPhase(phaseRunning)
				go w.goRun(work, ran)
			}
		}
		if !stopped {
			failed = tell(out, w.report())
		}
	}
	stop()
	<-rung
	if running {
		<-ran
	}
	w.setPhase(phaseDone)
	last := w.report() // before the connections are closed
	w.close(ctx)
	return errors.Join(failed, tell(out, last))
}

// goRamp ends with ramp.
func (w *worker) goRamp(ctx context.Context, done chan<- struct{}) {
	defer close(done)
	w.ramp(ctx)
}

// goRun ends with run.
func (w *worker) goRun(ctx context.Context, done chan<- struct{}) {
	defer close(done)
	w.run(ctx)
}

func (w *worker) phaseNow() phase {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.phase
}

func tell(out io.Writer, r report) error {
	b, err := line(r)
	if err == nil {
		_, err = out.Write(b)
	}
	return err
}

// prepare encodes what is the same for all connections.
func (w *worker) prepare() error {
	cfg := &w.share.Config
	hello := parser.Packet{Type: parser.Connect}
	if len(cfg.Auth) > 0 {
		hello.Data = parser.RawJSON(cfg.Auth)
	}
	if w.connect = w.encode(&hello); w.connect == nil {
		return fmt.Errorf("load: namespace %q or auth cannot be sent", cfg.Namespace)
	}
	w.mark = []byte("bench:" + w.share.Run + ":")
	text := strings.Repeat("x", cfg.Payload)
	w.payload = []parser.Arg{parser.Value(text)}
	if cfg.Scenario == Fanout {
		w.padding = text[len(w.mark)+stampLen:]
	}
	return nil
}

// joins tells whether connections join a room.
func (w *worker) joins() bool { return w.share.Config.Scenario == Fanout && w.share.Config.Rooms > 0 }

// room names the room of a group.
func (w *worker) room(group int) string { return fmt.Sprintf("bench-%s-%d", w.share.Run, group) }

// publication is the event that goes to all of a group.
func (w *worker) publication(group int, due int64) []byte {
	text := string(append(appendStamp(append([]byte(nil), w.mark...), group, due), w.padding...))
	if !w.joins() {
		return w.encode(&parser.Packet{Type: parser.Event, Event: w.share.Config.Event, Args: []parser.Arg{parser.Value(text)}})
	}
	return w.encode(&parser.Packet{
		Type: parser.Event, ID: publishID, HasID: true, Event: w.share.Config.Publish,
		Args: []parser.Arg{parser.Value(publication{w.room(group), w.share.Config.Event, text})},
	})
}

type publication struct {
	Room  string `json:"room"`
	Event string `json:"event"`
	Data  string `json:"data"`
}
