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
	writeLimit = 20 * time.Second // for the peer to take anything of what is written
	probeLimit = 10 * time.Second // from the begin of an upgrade to the answer of the probe
)

// dialed is the client side of a connection. It is the transport of its Conn all along, whatever carries the
// packets at the moment: polling, or the socket in carrier.
//
// While it polls, pollLoop reads, and postLoop sends while there is something to send; probe opens a WebSocket while
// there is an upgrade. A WebSocket is driven by netpoll.
type dialed struct {
	e      env
	cfg    DialConfig
	base   *url.URL
	client *http.Client
	own    *http.Transport // nil when the client was given

	// Set by the open packet, before any goroutine starts.
	c  *Conn
	hs eio.Handshake

	ctx    context.Context // of all requests; ends with the connection
	cancel context.CancelFunc
	holds  atomic.Int32 // what is not over yet: Dial, the call of OnClose, goroutines, the WebSocket

	carrier atomic.Pointer[clientSocket] // nil while polling; changed with mu held
	heard   atomic.Int64                 // when the server was last heard of, as env.now
	closing atomic.Bool                  // Close was called
	abrupt  atomic.Bool                  // there is no time for a goodbye

	stopPolls chan struct{} // closed by probe
	pollsDone chan struct{} // closed by pollLoop

	mu sync.Mutex

	// Guarded by mu.
	posting   bool          // postLoop runs, or the connection is being opened
	more      bool          // something may have been queued since postLoop looked
	switching bool          // to a WebSocket: nothing is posted any more
	posted    chan struct{} // closed when postLoop ends; nil while nobody waits
	silence   *time.Timer
	pings     *time.Timer // protocol 3
	closeBy   *time.Timer
}

// start runs what an open connection needs. socket is nil when the connection opened by polling.
func (d *dialed) start(socket *clientSocket) {
	d.startTimers()
	if socket != nil {
		d.holds.Add(1)
		socket.start()
		return
	}
	d.mu.Lock()
	d.posting = false
	d.post()
	d.mu.Unlock()
	d.holds.Add(1)
	go d.pollLoop()
	if d.wantsUpgrade() {
		d.holds.Add(1)
		go d.probe()
	}
}

// let ends one of the holds. With the last one the connection is over.
func (d *dialed) let() {
	if d.holds.Add(-1) != 0 {
		return
	}
	d.release()
	if d.cfg.Ended != nil {
		d.cfg.Ended()
	}
}

// release closes HTTP connections that are of no use any more.
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
	s := d.carrier.Load()
	if s == nil {
		if s = d.wakePost(); s == nil {
			return
		}
	}
	s.wake()
}

// wakePost is wake while polling. It gives the socket if there is one by now.
func (d *dialed) wakePost() *clientSocket {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s := d.carrier.Load(); s != nil {
		return s
	}
	d.more = true
	d.post()
	return nil
}

// post starts postLoop if there is work for it. d.mu is held.
func (d *dialed) post() {
	if d.posting || !d.more || d.ctx.Err() != nil || d.switching && !d.closing.Load() {
		return
	}
	d.posting, d.more = true, false
	d.holds.Add(1) // it is not zero: cut, which waits for mu, comes before OnClose
	go d.postLoop()
}

func (d *dialed) writable() bool {
	if s := d.carrier.Load(); s != nil {
		return s.writable()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.posting && !d.switching
}

// flow: pollLoop looks at c.paused itself. Silence during a pause was of our own making.
func (d *dialed) flow() {
	d.hear()
	if s := d.carrier.Load(); s != nil {
		s.flow()
	}
}

func (d *dialed) shut() {
	d.closing.Store(true)
	d.c.mu.Lock()
	d.c.paused = false // the peer's goodbye must be read
	d.c.mu.Unlock()
	d.closeWithin(closeTime)
	d.wake()
	if s := d.carrier.Load(); s != nil {
		s.shut()
	}
}

func (d *dialed) cut(reason Reason) {
	d.cancel()
	d.mu.Lock()
	for _, t := range []*time.Timer{d.silence, d.pings, d.closeBy} {
		if t != nil {
			t.Stop()
		}
	}
	s := d.carrier.Load()
	d.mu.Unlock()
	if s != nil {
		s.finish(closeNoStatus, d.abrupt.Load() || reason == ReasonPingTimeout)
	}
}

// closeWithin ends the connection, which is closing, when the time is over.
func (d *dialed) closeWithin(limit time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ctx.Err() == nil && d.closeBy == nil {
		d.closeBy = time.AfterFunc(limit, d.closeNow)
	}
}

func (d *dialed) closeNow() {
	d.abrupt.Store(true)
	d.c.end(ReasonForcedClose, nil)
}

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
		if !d.c.paused || d.c.state.Load() != stateOpen { // the peer's goodbye is read in any case
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

// withControl appends the packets of the bits.
func withControl(ps []eio.Packet, ctl uint8) []eio.Packet {
	if ctl&ctlPing != 0 {
		ps = append(ps, eio.Packet{Type: eio.Ping})
	}
	if ctl&ctlPong != 0 {
		ps = append(ps, eio.Packet{Type: eio.Pong})
	}
	return ps
}
