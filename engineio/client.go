package engineio

import (
	"context"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye/internal/eio"
)

const (
	closeLimit   = 10 * time.Second // for what is queued to be sent after Close
	goodbyeLimit = time.Second      // for the peer to answer a close frame
	writeLimit   = 20 * time.Second // for one write of at most about writeChunk bytes
	probeLimit   = 10 * time.Second // from the begin of an upgrade to the answer of the probe
)

// dialed is the client side of a connection. It is the transport of its Conn all along, whatever carries the
// packets at the moment: polling, or the socket in carrier.
//
// One goroutine sends (sendLoop); one reads (pollLoop, then the one of the socket); one more probes a WebSocket
// while there is an upgrade, and is the reader of the socket afterwards.
type dialed struct {
	e      env
	cfg    DialConfig
	base   *url.URL
	client *http.Client
	own    *http.Transport // nil when the client was given

	// Set by the open packet, before any goroutine starts.
	c  *Conn
	hs eio.Handshake

	ctx     context.Context // of all requests; ends with the connection
	cancel  context.CancelFunc
	running atomic.Int32 // goroutines

	carrier atomic.Pointer[clientSocket] // nil while polling
	heard   atomic.Int64                 // when the server was last heard of, as env.now
	busy    atomic.Bool                  // something is being written
	closing atomic.Bool                  // Close was called

	kick      chan struct{}      // of capacity 1: there may be something to send
	switched  chan *clientSocket // from probe to sendLoop: polling has stopped
	stopPolls chan struct{}      // closed by probe
	pollsDone chan struct{}      // closed by pollLoop

	batch []queued // of sendLoop

	mu sync.Mutex

	// Guarded by mu.
	wirePong []byte // payload of the last ping frame, to be sent back; nil = none
	silence  *time.Timer
	pings    *time.Timer // protocol 3
	closeBy  *time.Timer
}

// start runs the goroutines. socket is nil when the connection opened by polling.
func (d *dialed) start(socket *clientSocket) {
	d.startTimers()
	switch {
	case socket != nil:
		d.running.Store(2)
		go d.readSocket(socket)
	case d.wantsUpgrade():
		d.running.Store(3)
		go d.pollLoop()
		go d.probe()
	default:
		d.running.Store(2)
		go d.pollLoop()
	}
	go d.sendLoop()
}

// exit is deferred by each goroutine.
func (d *dialed) exit() {
	if d.running.Add(-1) == 0 {
		d.release()
	}
}

func (d *dialed) release() {
	if d.own != nil {
		d.own.CloseIdleConnections()
	}
}

func (d *dialed) name() string {
	if d.carrier.Load() != nil {
		return transportWebSocket
	}
	return transportPolling
}

func (d *dialed) wake() {
	select {
	case d.kick <- struct{}{}:
	default:
	}
}

func (d *dialed) writable() bool { return !d.busy.Load() }

// flow: readers look at c.paused themselves. Silence during a pause was of our own making.
func (d *dialed) flow() { d.hear() }

func (d *dialed) shut() {
	d.closing.Store(true)
	d.c.mu.Lock()
	d.c.paused = false // the peer's goodbye must be read
	if d.c.resumed != nil {
		close(d.c.resumed)
		d.c.resumed = nil
	}
	d.c.mu.Unlock()
	d.closeWithin(closeLimit)
	d.wake()
}

func (d *dialed) cut(Reason) {
	d.cancel()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, t := range []*time.Timer{d.silence, d.pings, d.closeBy} {
		if t != nil {
			t.Stop()
		}
	}
}

// closeWithin ends the connection, which is closing, when the time is over.
func (d *dialed) closeWithin(limit time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.ctx.Err() != nil:
	case d.closeBy == nil:
		d.closeBy = time.AfterFunc(limit, d.closeNow)
	default:
		d.closeBy.Reset(limit)
	}
}

func (d *dialed) closeNow() { d.c.end(ReasonForcedClose, nil) }

// lost ends the connection, unless it was to end anyway.
func (d *dialed) lost(reason Reason, err error) {
	if d.closing.Load() {
		reason, err = ReasonForcedClose, nil
	}
	d.c.end(reason, err)
}

// deliver takes one packet, between enter and leave. false means that the rest is to be ignored.
func (d *dialed) deliver(p eio.Packet) bool {
	switch p.Type {
	case eio.Message:
		return d.c.receive(p)
	case eio.Close:
		d.lost(ReasonTransportClose, nil)
		return false
	case eio.Ping:
		if d.cfg.Protocol == 4 {
			d.control(ctlPong)
		}
		return true
	default:
		return true
	}
}

// control asks for a control packet to be sent.
func (d *dialed) control(bit uint8) {
	d.c.mu.Lock()
	d.c.ctl |= bit
	d.c.mu.Unlock()
	d.wake()
}

// waitResumed waits while the connection is paused. It is false when reading is to end.
func (d *dialed) waitResumed(stop <-chan struct{}) bool {
	for {
		d.c.mu.Lock()
		if !d.c.paused {
			d.c.mu.Unlock()
			return d.ctx.Err() == nil
		}
		if d.c.resumed == nil {
			d.c.resumed = make(chan struct{})
		}
		resumed := d.c.resumed
		d.c.mu.Unlock()
		select {
		case <-resumed:
		case <-stop:
			return false
		case <-d.ctx.Done():
			return false
		}
	}
}

// sendLoop sends what is queued, and says goodbye. It ends when the connection ends, or after the goodbye.
func (d *dialed) sendLoop() {
	defer d.exit()
	for {
		select {
		case <-d.ctx.Done():
			return
		case s := <-d.switched:
			d.carrier.Store(s)
			if err := s.writePacket(eio.Upgrade); err != nil {
				d.lost(ReasonTransportError, err)
				return
			}
		case <-d.kick:
		}
		closing := d.closing.Load() // before the flush: nothing is queued after it was set
		if err := d.flush(); err != nil {
			d.lost(ReasonTransportError, err)
			return
		}
		if closing {
			d.goodbye()
			return
		}
	}
}

// flush sends until there is nothing to send.
func (d *dialed) flush() error {
	for {
		d.mu.Lock()
		pong := d.wirePong
		d.wirePong = nil
		d.mu.Unlock()
		d.c.mu.Lock()
		d.batch = append(d.batch[:0], d.c.q.items...)
		ctl := d.c.ctl
		d.c.ctl = 0
		d.c.q.took()
		d.c.mu.Unlock()
		if len(d.batch) == 0 && ctl == 0 && pong == nil {
			return nil
		}
		d.busy.Store(true)
		var err error
		if s := d.carrier.Load(); s != nil {
			err = s.send(d.batch, ctl, pong)
		} else {
			err = d.post(d.batch, ctl)
		}
		d.busy.Store(false)
		d.c.mu.Lock()
		if d.c.q.landed() {
			d.c.notifyDrained()
		}
		d.c.mu.Unlock()
		clear(d.batch)
		if cap(d.batch) > keepQueue {
			d.batch = nil
		}
		if err != nil {
			return err
		}
	}
}

// goodbye tells the server that the connection ends. A WebSocket then waits a little for the answer, since closing at
// once could take back what was just sent.
func (d *dialed) goodbye() {
	if s := d.carrier.Load(); s != nil {
		if s.writeClose(closeNoStatus) == nil {
			d.closeWithin(goodbyeLimit)
			return
		}
	} else {
		_ = d.postPackets([]eio.Packet{{Type: eio.Close}}) // it is over in any case
	}
	d.closeNow()
}

// hear notes that the server is alive.
func (d *dialed) hear() { d.heard.Store(d.e.now()) }

// startTimers watches the heartbeat. In protocol 4 the server pings; in protocol 3 we do.
//
// Node: engine.io-client/lib/socket.ts _resetPingTimeout. Differs from Node: any packet is a sign of life.
func (d *dialed) startTimers() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ctx.Err() != nil {
		return
	}
	d.silence = time.AfterFunc(d.e.interval+d.e.timeout, d.checkSilence)
	if d.cfg.Protocol == 3 {
		d.pings = time.AfterFunc(d.e.interval, d.sendPing)
	}
}

func (d *dialed) checkSilence() {
	limit := d.e.interval + d.e.timeout
	d.c.mu.Lock()
	paused := d.c.paused
	d.c.mu.Unlock()
	left := limit
	if !paused {
		left -= time.Duration(d.e.now() - d.heard.Load())
	}
	if left <= 0 {
		d.lost(ReasonPingTimeout, nil)
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ctx.Err() == nil {
		d.silence.Reset(left)
	}
}

func (d *dialed) sendPing() {
	d.control(ctlPing)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ctx.Err() == nil {
		d.pings.Reset(d.e.interval)
	}
}

// controlPackets gives the packets of the bits.
func controlPackets(ctl uint8) (ps []eio.Packet) {
	if ctl&ctlPing != 0 {
		ps = append(ps, eio.Packet{Type: eio.Ping})
	}
	if ctl&ctlPong != 0 {
		ps = append(ps, eio.Packet{Type: eio.Pong})
	}
	return ps
}
