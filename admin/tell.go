package admin

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/parser"
)

// maxTold is how many events wait to be told to the pages. Those that sockets emit and receive have half of it, so
// that they do not displace what changes the picture.
const maxTold = 4096

// told is an event for the pages.
type told struct {
	event string
	args  []any
	to    *sockeye.Socket // nil for all pages of the cluster
	then  func()          // called when it is told; may be nil
}

// teller tells the pages what happens, in order.
type teller struct {
	emit    func(event string, args ...any) error // to all pages of the cluster
	log     *slog.Logger
	queue   chan told
	rate    int // events in a second; negative = no bound
	lossy   atomic.Bool
	dropped atomic.Uint64
}

func newTeller(emit func(event string, args ...any) error, log *slog.Logger, rate int) *teller {
	return &teller{emit: emit, log: log, queue: make(chan told, maxTold), rate: rate}
}

// tell queues what changes the picture. If there is no room the pages are to get the picture again.
func (t *teller) tell(event string, args ...any) {
	select {
	case t.queue <- told{event: event, args: args}:
	default:
		t.lossy.Store(true)
		t.dropped.Add(1)
	}
}

// room tells whether there is room for what does not change the picture, and counts it as dropped if not.
func (t *teller) room() bool {
	if len(t.queue) < maxTold/2 {
		return true
	}
	t.dropped.Add(1)
	return false
}

// mention queues what does not change the picture.
func (t *teller) mention(event string, args ...any) {
	select {
	case t.queue <- told{event: event, args: args}:
	default:
		t.dropped.Add(1)
	}
}

// await queues an event for one page, and waits for room.
func (t *teller) await(ctx context.Context, e told) {
	select {
	case t.queue <- e:
	case <-ctx.Done():
	}
}

// run tells what is queued. It ends when ctx does.
func (t *teller) run(ctx context.Context) {
	p := newPace(t.rate, time.Now())
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case e := <-t.queue:
			if wait := p.take(time.Now()); wait > 0 {
				timer.Reset(wait)
				select {
				case <-timer.C:
				case <-ctx.Done():
					return
				}
			}
			t.say(&e)
		case <-ctx.Done():
			return
		}
	}
}

func (t *teller) say(e *told) {
	if e.to != nil {
		_ = e.to.Emit(e.event, e.args...) // an error means that the page is gone, or will be
	} else if err := t.emit(e.event, e.args...); err != nil {
		t.log.LogAttrs(context.Background(), slog.LevelWarn, "admin event not told", slog.String("event", e.event), slog.Any("error", err))
	}
	if e.then != nil {
		e.then()
	}
}

// pace spaces events out where there are more than rate in a second; a tenth of that may come at once.
type pace struct {
	gap, burst time.Duration
	next       time.Time // when the next one is due, if all came evenly
}

func newPace(rate int, now time.Time) *pace {
	if rate < 0 {
		return &pace{next: now}
	}
	return &pace{gap: time.Second / time.Duration(rate), burst: time.Second / 10, next: now}
}

// take counts an event and gives how long it has to wait.
func (p *pace) take(now time.Time) time.Duration {
	if p.next.Before(now) {
		p.next = now
	}
	wait := p.next.Sub(now) - p.burst
	p.next = p.next.Add(p.gap)
	return max(wait, 0)
}

// The events of development mode.
//
// Node: @socket.io/admin-ui registerVerboseListeners

func (a *Admin) toldConnected(s *sockeye.Socket) {
	a.teller.tell("socket_connected", a.local(s), date(time.Now()))
}

func (a *Admin) toldDisconnected(nsp, id, reason string) {
	a.teller.tell("socket_disconnected", nsp, id, reason, date(time.Now()))
}

func (a *Admin) toldRoom(event, nsp, room, id string) {
	a.teller.tell(event, nsp, room, id, date(time.Now()))
}

func (a *Admin) toldData(s *sockeye.Socket) {
	data, _ := dataOf(s.Data())
	a.teller.tell("socket_updated", dataUpdate{s.ID(), s.Namespace().Name(), data})
}

func (a *Admin) toldTransport(s *sockeye.Socket) {
	a.teller.tell("socket_updated", transportUpdate{s.ID(), s.Namespace().Name(), s.Transport()})
}

type dataUpdate struct {
	ID   string     `json:"id"`
	NSP  string     `json:"nsp"`
	Data parser.Arg `json:"data"`
}

type transportUpdate struct {
	ID        string `json:"id"`
	NSP       string `json:"nsp"`
	Transport string `json:"transport"`
}

// toldEvent tells of an event that a socket has received or been sent.
func (a *Admin) toldEvent(event string, s *sockeye.Socket, name string, args []parser.Arg) {
	a.teller.mention(event, s.Namespace().Name(), s.ID(), eventArgs(name, args), date(time.Now()))
}
