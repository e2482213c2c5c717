package load

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync"

	"github.com/sockeye-io/sockeye/engineio"
	"github.com/sockeye-io/sockeye/parser"
)

// stage is how far a connection is.
type stage uint8

const (
	stageOpening stage = iota
	stageJoining       // connected to the namespace
	stageReady
	stageOver
)

// joinID is the acknowledgement id of joining a room, publishID that of publishing. Connections that join do not ask
// for anything else, so that they have their ids to themselves.
const (
	joinID    = 0
	publishID = 1
)

var (
	errGone   = errors.New("disconnected by the server")
	errJoin   = errors.New("no acknowledgement of joining a room")
	errAnswer = errors.New("no answer to CONNECT")
)

// conn is one connection.
type conn struct {
	w       *worker
	index   int // of all connections of the run
	decoder parser.Decoder
	ready   chan error // of capacity 1: told once, when it is ready or cannot be

	mu sync.Mutex

	// Guarded by mu.
	ec      *engineio.Conn
	stage   stage
	pending pending
	got     int // of Fanout
}

func (c *conn) group() int { return c.index % c.w.share.Config.groups() }

// publishes tells whether this is the one that the others of its room get their events from.
func (c *conn) publishes() bool {
	return c.w.share.Config.Scenario == Fanout && c.index < c.w.share.Config.groups()
}

// open makes the connection ready, within the time of ctx.
func (c *conn) open(ctx context.Context) error {
	cfg, url := c.w.dialConfig(c.index)
	ec, err := engineio.Dial(ctx, url, cfg, c)
	if err != nil {
		c.end(err)
		return err
	}
	select {
	case err = <-c.ready:
	case <-ctx.Done():
		c.giveUp()
		err = <-c.ready
	}
	if err != nil {
		_ = ec.Close() // always nil
	}
	return err
}

// giveUp ends a connection that is not ready in time. It has told ready then, or was just about to.
func (c *conn) giveUp() {
	c.mu.Lock()
	at := c.stage
	if at == stageOpening || at == stageJoining {
		c.stage = stageOver
	}
	c.mu.Unlock()
	switch at {
	case stageOpening:
		c.ready <- errAnswer
	case stageJoining:
		c.ready <- errJoin
	default:
	}
}

// OnOpen implements engineio.Handler. Servers of Socket.IO 2 connect the main namespace by themselves.
func (c *conn) OnOpen(ec *engineio.Conn, _ *http.Request) {
	c.mu.Lock()
	c.ec = ec
	c.mu.Unlock()
	c.w.closing.Add(1)
	if cfg := &c.w.share.Config; cfg.EIO == 4 || cfg.Namespace != "/" {
		_ = c.send(c.w.connect) // it fails on a connection that ends, which OnClose tells
	}
}

// OnClose implements engineio.Handler.
func (c *conn) OnClose(_ *engineio.Conn, reason engineio.Reason, err error) {
	defer c.w.closing.Done()
	if err == nil {
		err = errors.New(string(reason))
	}
	c.end(err)
}

// end counts the connection as lost if it was ready, and else tells open.
func (c *conn) end(err error) {
	c.mu.Lock()
	was := c.stage
	c.stage = stageOver
	c.mu.Unlock()
	switch was {
	case stageReady:
		c.w.lost(err)
	case stageOver:
	default:
		c.ready <- err
	}
}

// advance moves on from one stage to another. It is false when the connection is not in that one.
func (c *conn) advance(from, to stage) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stage != from {
		return false
	}
	c.stage = to
	return true
}

// OnMessage implements engineio.Handler.
func (c *conn) OnMessage(ec *engineio.Conn, data []byte, binary bool) {
	if c.event(data) {
		return
	}
	if binary && !c.w.share.Config.Msgpack && !c.decoder.Pending() {
		return // an attachment of what event has taken
	}
	var p parser.Packet
	done, err := c.decoder.Add(&p, data, binary)
	if err == nil && done && p.Namespace == c.w.share.Config.Namespace {
		err = c.packet(&p)
	}
	if err != nil {
		c.end(err)
		_ = ec.Close() // always nil
	}
}

func (c *conn) packet(p *parser.Packet) error {
	switch p.Type {
	case parser.Connect:
		return c.connected()
	case parser.ConnectError:
		return refusal(p.Data)
	case parser.Disconnect:
		return errGone
	case parser.Ack:
		if p.HasID {
			return c.answered(p)
		}
	default:
	}
	return nil
}

// connected goes on when the namespace is connected.
func (c *conn) connected() error {
	if !c.advance(stageOpening, stageJoining) {
		return nil
	}
	if !c.w.joins() {
		return c.becomeReady()
	}
	return c.send(c.w.encode(&parser.Packet{
		Type: parser.Event, ID: joinID, HasID: true, Event: c.w.share.Config.Join, Args: []parser.Arg{parser.Value(c.w.room(c.group()))},
	}))
}

func (c *conn) becomeReady() error {
	if c.advance(stageJoining, stageReady) {
		c.ready <- nil
	}
	return nil
}

func (c *conn) answered(p *parser.Packet) error {
	c.mu.Lock()
	at := c.stage
	c.mu.Unlock()
	if at == stageJoining && p.ID == joinID {
		if said := refused(p.Args); said != "" {
			return &refusedError{"refused to join a room: " + said}
		}
		return c.becomeReady()
	}
	if said := refused(p.Args); said != "" {
		c.w.refused(said)
	}
	if c.w.share.Config.Scenario != Echo {
		return nil
	}
	now := clock()
	c.mu.Lock()
	due, ok := c.pending.pop(p.ID)
	if ok { // under the lock: when nothing is waited for, all is recorded
		c.w.latency.add(c.index, now-due)
		c.w.answers.Add(1)
	}
	c.mu.Unlock()
	if ok && c.w.share.Config.Rate == 0 && c.w.sending.Load() {
		c.ask(clock())
	}
	return nil
}

// ask sends an event that is to be acknowledged, and was due at the given time.
func (c *conn) ask(due int64) {
	c.mu.Lock()
	if c.stage != stageReady {
		c.mu.Unlock()
		c.w.unsent.Add(1)
		return
	}
	id, ok := c.pending.push(due)
	c.mu.Unlock()
	if !ok {
		c.w.unsent.Add(1)
		return
	}
	c.w.sent.Add(1) // before the answer can come
	p := parser.Packet{Type: parser.Event, ID: id, HasID: true, Event: c.w.share.Config.Event, Args: c.w.payload}
	if c.send(c.w.encode(&p)) != nil {
		c.w.sent.Add(-1)
		c.w.unsent.Add(1)
		c.mu.Lock()
		c.pending.pop(id)
		c.mu.Unlock()
	}
}

// publish sends an event to the others of the room, which was due at the given time.
func (c *conn) publish(due int64) {
	c.mu.Lock()
	over := c.stage != stageReady
	c.mu.Unlock()
	if over || c.send(c.w.publication(c.group(), due)) != nil {
		c.w.unsent.Add(1)
		return
	}
	c.w.published[c.group()].Add(1)
	c.w.sent.Add(1)
}

// event looks for what one of our connections has published, wherever in its message the server has put it. It is
// false where there is nothing of the kind.
func (c *conn) event(data []byte) bool {
	if c.w.share.Config.Scenario != Fanout {
		return false
	}
	i := bytes.Index(data, c.w.mark)
	if i < 0 {
		return false
	}
	room, due, ok := parseStamp(data[i+len(c.w.mark):])
	if !ok || c.publishes() {
		return true
	}
	if room != c.group() {
		c.w.stray.Add(1)
		return true
	}
	c.w.latency.add(c.index, clock()-due)
	c.w.received.Add(1)
	c.mu.Lock()
	c.got++
	c.mu.Unlock()
	return true
}

// A payload of Fanout is "bench:", the run, a colon; then the stamp: six digits of room, a colon, nineteen digits of
// time, a colon; and x's.
const stampLen = 6 + 1 + 19 + 1

func appendStamp(dst []byte, room int, due int64) []byte {
	dst = appendPadded(dst, int64(room), 6)
	return append(appendPadded(append(dst, ':'), due, 19), ':')
}

func appendPadded(dst []byte, n int64, width int) []byte {
	digits := strconv.AppendInt(nil, n, 10)
	for range width - len(digits) {
		dst = append(dst, '0')
	}
	return append(dst, digits...)
}

func parseStamp(p []byte) (room int, due int64, ok bool) {
	if len(p) < stampLen || p[6] != ':' || p[stampLen-1] != ':' {
		return 0, 0, false
	}
	r, err := strconv.ParseUint(string(p[:6]), 10, 31) // no sign, which appendStamp never writes
	if err != nil {
		return 0, 0, false
	}
	d, err := strconv.ParseUint(string(p[7:stampLen-1]), 10, 63)
	return int(r), int64(d), err == nil && d > 0 //nolint:gosec // of 31 and 63 bits
}

var errNoConnection = errors.New("load: no connection")

func (c *conn) send(frame []byte) error {
	c.mu.Lock()
	ec := c.ec
	c.mu.Unlock()
	if ec == nil {
		return errNoConnection
	}
	return ec.Send(frame, c.w.share.Config.Msgpack)
}

// close takes leave of the server; OnClose comes later.
func (c *conn) close() {
	c.mu.Lock()
	c.stage = stageOver // it is not lost
	ec := c.ec
	c.mu.Unlock()
	if ec != nil {
		_ = ec.Close() // always nil
	}
}
