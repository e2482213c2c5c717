package engineio

import (
	"math"
	"sync"
	"time"
)

// A peer may send so many control packets in a second that nobody asked for.
const maxControlRate = 10

// rate counts events in windows of a second.
type rate struct {
	window uint32
	n      uint16
}

// exceeds counts one event at now, in nanoseconds.
func (r *rate) exceeds(now int64, limit int) bool {
	if w := uint32(now / int64(time.Second)); w != r.window {
		r.window, r.n = w, 0
	}
	r.n++
	return int(r.n) > limit
}

// startHeartbeat begins the heartbeat when the connection opens.
func (c *Conn) startHeartbeat() {
	if c.e.wheel == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state.Load() != stateOpen {
		return
	}
	c.due = c.e.now() + int64(c.e.interval)
	if c.protocol == 3 {
		c.due += int64(c.e.timeout)
	}
	c.e.wheel.put(c, c.due)
}

// unschedule takes the connection off the wheel. c.mu is held.
func (c *Conn) unschedule() {
	if c.e.wheel != nil {
		c.e.wheel.remove(c)
	}
}

// setDue moves the deadline. The wheel is told only when it comes sooner than the wheel knows: beat finds out
// about the rest. c.mu is held.
func (c *Conn) setDue(due int64) {
	c.due = due
	if w := c.e.wheel; w != nil && c.state.Load() == stateOpen {
		w.hasten(c, due)
	}
}

// restartWait gives the peer the whole time for its pong, or for its ping, again. c.mu is held.
func (c *Conn) restartWait() {
	switch {
	case c.e.wheel == nil:
	case c.protocol == 3:
		c.setDue(c.e.now() + int64(c.e.interval+c.e.timeout))
	case c.beats.Load() != beatIdle:
		now := c.e.now()
		c.setDue(now + int64(c.e.timeout))
		if now-c.pinged >= int64(c.e.interval) {
			// The pong is behind what waits to be read. The peer must not miss its ping meanwhile.
			c.ping(now)
		}
	}
}

// ping has a ping sent when the transport is woken. c.mu is held.
func (c *Conn) ping(now int64) {
	c.pinged = now
	c.beats.Store(beatWaiting)
	if c.ctl&ctlPing == 0 && c.owed < math.MaxUint16 {
		c.ctl |= ctlPing
		c.owed++
	}
}

// beat is called when the connection may be due.
//
// Node: engine.io/lib/socket.ts schedulePing, resetPingTimeout
func (c *Conn) beat() {
	c.mu.Lock()
	now := c.e.now()
	if c.state.Load() != stateOpen {
		c.mu.Unlock()
		return
	}
	if now < c.due {
		c.e.wheel.put(c, c.due)
		c.mu.Unlock()
		return
	}
	if c.lateFor(now) {
		c.mu.Unlock()
		c.end(ReasonPingTimeout, nil)
		return
	}
	// Time counts from when the ping was due, unless this process was held up: that is not the peer's fault.
	from := c.due
	if now-from > int64(c.e.timeout/4) {
		from = now
	}
	c.due = from + int64(c.patience())
	ping := c.protocol != 3
	if ping {
		c.ping(now)
	}
	c.e.wheel.put(c, c.due)
	t := c.t
	c.mu.Unlock()
	if ping {
		t.wake()
	}
}

// patience is how long to wait for a pong. A paused connection is sent further pings, though its pongs are not read:
// the peer gives up when none comes within the interval and the timeout together. c.mu is held.
func (c *Conn) patience() time.Duration {
	if c.paused {
		return min(c.e.interval, c.e.timeout)
	}
	return c.e.timeout
}

// pausing brings the next ping of a connection that has just been paused forward. c.mu is held.
func (c *Conn) pausing() {
	if c.e.wheel != nil && c.protocol != 3 && c.beats.Load() != beatIdle {
		c.setDue(min(c.due, c.e.now()+int64(c.patience())))
	}
}

// lateFor tells whether the peer has failed its heartbeat. c.mu is held.
func (c *Conn) lateFor(now int64) bool {
	return now >= c.due && !c.paused && (c.protocol == 3 || c.beats.Load() != beatIdle)
}

// expire ends the connection if its heartbeat failed already and only the wheel has not come round yet.
func (c *Conn) expire() {
	c.mu.Lock()
	late := c.e.wheel != nil && c.state.Load() == stateOpen && c.lateFor(c.e.now())
	c.mu.Unlock()
	if late {
		c.end(ReasonPingTimeout, nil)
	}
}

// extend moves the deadline for the pong once, because another packet came.
func (c *Conn) extend() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state.Load() == stateOpen && c.beats.Load() == beatWaiting {
		c.beats.Store(beatExtended)
		c.setDue(c.e.now() + int64(c.patience()))
	}
}

// receivePing: in protocol 3 the client pings. The pong carries no data, whatever the ping had.
func (c *Conn) receivePing() bool {
	if c.protocol != 3 {
		c.end(ReasonTransportError, errHeartbeat)
		return false
	}
	c.mu.Lock()
	now := c.e.now()
	limit := maxControlRate
	if c.e.interval > 0 {
		limit = max(limit, int(2*time.Second/c.e.interval))
	}
	flood := c.forged.exceeds(now, limit)
	c.ctl |= ctlPong
	c.setDue(now + int64(c.e.interval+c.e.timeout))
	t := c.t
	c.mu.Unlock()
	if flood {
		c.end(ReasonTransportError, errControlFlood)
		return false
	}
	t.wake()
	return true
}

// receivePong takes the answer to our ping.
//
// Differs from Node: a pong that nobody asked for does not extend the life of a connection.
func (c *Conn) receivePong() bool {
	if c.protocol == 3 {
		c.end(ReasonTransportError, errHeartbeat)
		return false
	}
	c.mu.Lock()
	now := c.e.now()
	if c.owed > 0 {
		c.owed--
		c.beats.Store(beatIdle)
		c.setDue(now + int64(c.e.interval))
		c.mu.Unlock()
		return true
	}
	flood := c.forged.exceeds(now, maxControlRate)
	c.mu.Unlock()
	if flood {
		c.end(ReasonTransportError, errControlFlood)
	}
	return !flood
}

// receiveControl counts a ping or pong frame of WebSocket.
func (c *Conn) receiveControl() bool {
	c.mu.Lock()
	flood := c.forged.exceeds(c.e.now(), maxControlRate)
	c.mu.Unlock()
	return !flood
}

const (
	wheelSlots  = 1024
	minTick     = time.Millisecond
	maxTick     = 250 * time.Millisecond
	ticksPerGap = 100 // a heartbeat is at most this part of the shorter interval late
)

// wheel calls the beat of each connection about when it is due. Connections are its list nodes: putting one on it
// and moving it allocate nothing. It is later than asked by up to a tick, never earlier.
type wheel struct {
	tick  time.Duration
	start time.Time
	quit  chan struct{}
	done  sync.WaitGroup

	mu sync.Mutex

	// Guarded by mu.
	slots [wheelSlots]*Conn
	at    int64 // the last tick that was handled
}

func newWheel(start time.Time, shortest time.Duration) *wheel {
	w := &wheel{
		tick:  min(max(shortest/ticksPerGap, minTick), maxTick),
		start: start,
		quit:  make(chan struct{}),
	}
	w.done.Go(w.run)
	return w
}

// run ends when the wheel is closed.
func (w *wheel) run() {
	ticker := time.NewTicker(w.tick)
	defer ticker.Stop()
	var batch []*Conn
	for {
		select {
		case <-w.quit:
			return
		case <-ticker.C:
		}
		batch = w.collect(batch[:0])
		for _, c := range batch {
			c.beat()
		}
		clear(batch)
	}
}

// close stops the wheel and waits for its goroutine.
func (w *wheel) close() {
	close(w.quit)
	w.done.Wait()
}

// collect takes what is due off the wheel.
func (w *wheel) collect(batch []*Conn) []*Conn {
	now := int64(time.Since(w.start) / w.tick)
	w.mu.Lock()
	defer w.mu.Unlock()
	if now-w.at > wheelSlots {
		w.at = now - wheelSlots // once round is enough
	}
	for w.at < now {
		w.at++
		slot := &w.slots[w.at%wheelSlots]
		for *slot != nil {
			c := *slot
			w.unlink(c)
			batch = append(batch, c)
		}
	}
	return batch
}

// put sets the connection on the wheel, or moves it, to be called at due or, if that is more than a turn away, before.
func (w *wheel) put(c *Conn, due int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.tick != 0 {
		w.unlink(c)
	}
	w.link(c, w.tickOf(due))
}

// hasten moves a connection that is on the wheel if due is sooner than what the wheel has for it.
func (w *wheel) hasten(c *Conn, due int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.tick == 0 {
		return // it is being called, which will put it back
	}
	if tick := w.tickOf(due); tick < c.tick {
		w.unlink(c)
		w.link(c, tick)
	}
}

func (w *wheel) remove(c *Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.tick != 0 {
		w.unlink(c)
	}
}

func (w *wheel) tickOf(due int64) int64 {
	tick := due/int64(w.tick) + 1
	return min(max(tick, w.at+1), w.at+wheelSlots)
}

func (w *wheel) link(c *Conn, tick int64) {
	slot := &w.slots[tick%wheelSlots]
	c.tick, c.next = tick, *slot
	if c.next != nil {
		c.next.prev = c
	}
	*slot = c
}

func (w *wheel) unlink(c *Conn) {
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		w.slots[c.tick%wheelSlots] = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	}
	c.prev, c.next, c.tick = nil, nil, 0
}
