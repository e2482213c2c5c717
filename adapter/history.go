package adapter

import (
	"container/list"
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/parser"
)

const epochLen = 8

// history keeps the packets and sessions of one namespace for recovery.
//
// An offset is the epoch of the history, which is random, and the number of a packet in base 36. Numbers go up
// by one, so that any packet since an offset that is not kept any more shows.
type history struct {
	host  Host
	o     RecoveryOptions
	epoch string

	// mu is held while a packet is numbered, kept and delivered, and while a session is restored: only so every
	// socket gets packets in the order of their offsets, and a restored one each packet once. What is called
	// under it must not come back to the adapter; Persist and Close, which do not take it, may.
	mu    sync.Mutex
	log   []logged
	head  int    // of log: those before are dropped
	next  uint64 // number of the next packet
	bytes int

	sessions struct {
		sync.Mutex

		byPID  map[string]*list.Element // of *session
		oldest *list.List
		timer  *time.Timer
		closed bool
	}
}

// logged is a packet that was delivered.
type logged struct {
	p             *parser.Packet
	rooms, except []string
	size          int
	at            time.Time
}

type session struct {
	Session
	ends time.Time
}

func newHistory(h Host, o RecoveryOptions) *history {
	r := &history{host: h, o: o.withDefaults(), epoch: randomID(epochLen), next: 1}
	r.sessions.byPID = map[string]*list.Element{}
	r.sessions.oldest = list.New()
	return r
}

// broadcast numbers, keeps and delivers p.
func (h *history) broadcast(p *parser.Packet, o Options) error {
	kept, size, err := freeze(p)
	if err != nil {
		return err
	}
	x := h.host.Index()
	x.events.hold() // watchers must not be called under mu
	defer x.events.release()
	h.mu.Lock()
	defer h.mu.Unlock()

	offset := h.offset(h.next)
	kept.Args = append(kept.Args, parser.RawJSON(strconv.AppendQuote(nil, offset)))
	d, _, err := h.host.Prepare(kept, o.Flags, nil)
	if err != nil {
		return err
	}
	now := time.Now()
	h.next++
	h.bytes += size
	h.log = append(h.log, logged{kept, o.Rooms, o.Except, size, now})
	h.arm()
	h.trim(now)
	x.Each(o, d.Deliver)
	return nil
}

// freeze gives a packet that shares no memory with the values in p, and its size. It has room for one argument
// more.
func freeze(p *parser.Packet) (*parser.Packet, int, error) {
	kept := *p
	kept.Args = make([]parser.Arg, len(p.Args), len(p.Args)+1)
	size := len(p.Event)
	for i, a := range p.Args {
		b, err := a.AppendJSON(nil)
		if err == nil {
			kept.Args[i] = parser.RawJSON(b)
		} else if errors.Is(err, parser.ErrBinary) {
			if b, err = a.AppendMsgpack(nil); err == nil {
				kept.Args[i] = parser.RawMsgpack(b)
			}
		}
		if err != nil {
			return nil, 0, err
		}
		size += len(b)
	}
	return &kept, size, nil
}

// Persist implements Recoverer.
func (h *history) Persist(s Session) {
	if !validPID(s.PID) || s.Namespace != h.host.Name() {
		return
	}
	s.Rooms = slices.Clone(s.Rooms)
	t := &h.sessions
	t.Lock()
	defer t.Unlock()
	if t.closed {
		return
	}
	now := time.Now()
	h.expire(now)
	if e := t.byPID[s.PID]; e != nil {
		h.forget(e)
	}
	for len(t.byPID) >= h.o.MaxSessions {
		h.forget(t.oldest.Front())
	}
	t.byPID[s.PID] = t.oldest.PushBack(&session{s, now.Add(h.o.MaxDisconnection)})
	h.armLocked()
}

// Restore implements Recoverer.
func (h *history) Restore(
	ctx context.Context, pid, offset string, resume func(s Session, missed []*parser.Packet) error,
) error {
	if !validPID(pid) {
		return ErrNotRecoverable
	}
	since, ok := h.number(offset)
	if !ok {
		return ErrNotRecoverable
	}
	x := h.host.Index()
	x.events.hold()
	defer x.events.release()
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := ctx.Err(); err != nil { // it may have waited for long
		return context.Cause(ctx)
	}
	s, e := h.session(pid)
	if e == nil {
		return ErrNotRecoverable
	}
	h.trim(time.Now())
	if since >= h.next || since+1 < h.first() {
		return ErrNotRecoverable
	}
	if err := resume(s, h.missed(s, since)); err != nil {
		return err
	}
	h.sessions.Lock()
	defer h.sessions.Unlock()
	if h.sessions.byPID[pid] == e { // it may have ended and been persisted again already
		h.forget(e)
	}
	return nil
}

// missed gives the packets since a number that a session would have got. The caller holds mu.
func (h *history) missed(s Session, since uint64) []*parser.Packet {
	in := make(map[string]struct{}, len(s.Rooms)+1)
	in[s.ID] = struct{}{}
	for _, room := range s.Rooms {
		in[room] = struct{}{}
	}
	inAny := func(rooms []string) bool {
		return slices.ContainsFunc(rooms, func(room string) bool { _, ok := in[room]; return ok })
	}
	var packets []*parser.Packet
	for _, g := range h.log[h.head+int(since+1-h.first()):] {
		if (len(g.rooms) == 0 || inAny(g.rooms)) && !inAny(g.except) {
			packets = append(packets, g.p)
		}
	}
	return packets
}

// session finds one that has not ended.
func (h *history) session(pid string) (Session, *list.Element) {
	t := &h.sessions
	t.Lock()
	defer t.Unlock()
	h.expire(time.Now())
	e := t.byPID[pid]
	if e == nil || t.closed {
		return Session{}, nil
	}
	return sessionOf(e).Session, e
}

// expire drops sessions that have ended. The caller holds the lock of the sessions.
func (h *history) expire(now time.Time) {
	for e := h.sessions.oldest.Front(); e != nil; e = h.sessions.oldest.Front() {
		if now.Before(sessionOf(e).ends) {
			return
		}
		h.forget(e)
	}
}

func (h *history) forget(e *list.Element) {
	delete(h.sessions.byPID, sessionOf(e).PID)
	h.sessions.oldest.Remove(e)
}

func sessionOf(e *list.Element) *session {
	s, _ := e.Value.(*session) // there is nothing else in the list
	return s
}

// first is the number of the oldest packet that is kept. The caller holds mu.
func (h *history) first() uint64 { return h.next - uint64(len(h.log)-h.head) }

// trim drops packets that are too old or too many. The caller holds mu.
func (h *history) trim(now time.Time) {
	for h.head < len(h.log) {
		g := &h.log[h.head]
		if now.Sub(g.at) < h.o.MaxDisconnection && len(h.log)-h.head <= h.o.MaxPackets && h.bytes <= h.o.MaxBytes {
			break
		}
		h.bytes -= g.size
		*g = logged{}
		h.head++
	}
	switch {
	case h.head == len(h.log):
		h.log, h.head = nil, 0
	case h.head > len(h.log)/2 && h.head > 64:
		h.log = append(make([]logged, 0, 2*(len(h.log)-h.head)), h.log[h.head:]...)
		h.head = 0
	}
}

func (h *history) offset(number uint64) string { return h.epoch + strconv.FormatUint(number, 36) }

// number is the inverse of offset.
func (h *history) number(offset string) (uint64, bool) {
	if len(offset) <= epochLen || len(offset) > epochLen+13 || offset[:epochLen] != h.epoch {
		return 0, false
	}
	n, err := strconv.ParseUint(offset[epochLen:], 36, 64)
	return n, err == nil && n > 0 && h.offset(n) == offset
}

// arm makes sweep run in time. It is called after there is something to drop.
func (h *history) arm() {
	h.sessions.Lock()
	defer h.sessions.Unlock()
	h.armLocked()
}

// armLocked is arm for who holds the lock of the sessions.
func (h *history) armLocked() {
	if t := &h.sessions; t.timer == nil && !t.closed {
		t.timer = time.AfterFunc(h.o.MaxDisconnection, h.sweep)
	}
}

// sweep drops what is too old, so that a namespace where nothing happens any more keeps nothing. It ends at
// once, and is not waited for by close, since that may be called under mu.
func (h *history) sweep() {
	now := time.Now()
	t := &h.sessions
	t.Lock()
	t.timer = nil // before it looks: what comes after that arms it again
	h.expire(now)
	left := len(t.byPID) > 0
	t.Unlock()

	h.mu.Lock()
	h.trim(now)
	left = left || len(h.log) > 0
	h.mu.Unlock()
	if left {
		h.arm()
	}
}

// close forgets the sessions and stops the timer.
func (h *history) close() {
	t := &h.sessions
	t.Lock()
	defer t.Unlock()
	t.closed = true
	clear(t.byPID)
	t.oldest.Init()
	if t.timer != nil {
		t.timer.Stop()
	}
}

// Freeze gives a packet that shares no memory with the values in p, with room for one argument more, and the size of
// its arguments. The error is that of encoding.
func Freeze(p *parser.Packet) (frozen *parser.Packet, size int, err error) { return freeze(p) }
