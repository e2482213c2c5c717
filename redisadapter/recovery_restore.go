package redisadapter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/rediswire"
	"github.com/sockeye-io/sockeye/parser"
)

// Why sessions are not restored.
var (
	errNoSession  = fmt.Errorf("%w: it is not there", adapter.ErrNotRecoverable)
	errTaken      = fmt.Errorf("%w: it was taken", adapter.ErrNotRecoverable)
	errStrange    = fmt.Errorf("%w: it is of another namespace", adapter.ErrNotRecoverable)
	errMalformed  = fmt.Errorf("%w: malformed request", adapter.ErrNotRecoverable)
	errOffsetless = fmt.Errorf("%w: what its client has last has no offset", adapter.ErrNotRecoverable)
	errNoOffset   = fmt.Errorf("%w: the offset is not in the stream", adapter.ErrNotRecoverable)
	errHistory    = fmt.Errorf("%w: the stream does not have all since the offset", adapter.ErrNotRecoverable)
	errTooMuch    = fmt.Errorf("%w: it missed too much", adapter.ErrNotRecoverable)
)

const (
	// youngOffset is how far behind the end of the stream an offset is whose session may not be written yet.
	youngOffset = 2 * time.Second

	// sessionTries is how often such a session is looked for again, and sessionPause how long it is waited between.
	sessionTries = 10
	sessionPause = 50 * time.Millisecond
)

// recovering is a stream whose cluster has recovery.
type recovering struct{ *stream }

var (
	_ adapter.SessionKeeper = recovering{}
	_ adapter.Sequencer     = recovering{}
)

// Track implements adapter.SessionKeeper.
func (a recovering) Track(m adapter.Member, snapshot func() adapter.Session) {
	a.c.sessions.track(a.stream, m, snapshot)
}

// Changed implements adapter.SessionKeeper.
func (a recovering) Changed(m adapter.Member) { a.c.sessions.changed(m) }

// Untrack implements adapter.SessionKeeper.
func (a recovering) Untrack(m adapter.Member, last *adapter.Session) { a.c.sessions.untrack(m, last) }

// After implements adapter.Sequencer.
func (a recovering) After(f func()) bool { return a.seq.After(f) }

// BroadcastWithAck delivers p after what was broadcast before.
func (a recovering) BroadcastWithAck(
	ctx context.Context, p *parser.Packet, o adapter.Options, each func(adapter.Answer),
) error {
	a.seq.drain(ctx)
	return a.stream.BroadcastWithAck(ctx, p, o, each)
}

// Persist implements adapter.Recoverer for a session that was not tracked.
func (a recovering) Persist(s adapter.Session) {
	m := strangerMember(s.ID)
	a.c.sessions.track(a.stream, &m, func() adapter.Session { return s })
	a.c.sessions.untrack(&m, &s)
}

// strangerMember is a socket of which only the session is known.
type strangerMember string

// ID implements adapter.Member.
func (m *strangerMember) ID() string { return string(*m) }

// Restore implements adapter.Recoverer. It reads what was missed from Redis while what comes is kept, so that the order is
// that of the stream, and takes no more of it than RecoveryOptions say.
func (a recovering) Restore(
	ctx context.Context, pid, offset string, resume func(s adapter.Session, missed []*parser.Packet) error,
) error {
	if offset == noOffset {
		return errOffsetless
	}
	since, ok := parseEntryID(offset)
	if !ok || !adapter.ValidPID(pid) || a.reader == nil || a.closed.Load() {
		return errMalformed
	}
	ctx, cancel := context.WithTimeout(ctx, a.b.o.RequestsTimeout)
	defer cancel()
	entries, err := a.c.d.Range(ctx, a.key, since.String(), since.String(), 1)
	if err != nil {
		return fmt.Errorf("%w: offset: %w", ErrUnavailable, err)
	}
	if len(entries) == 0 {
		return errNoOffset
	}
	leave, err := a.c.sessions.enter(ctx, pid)
	if err != nil {
		return err
	}
	defer func() { leave(err == nil) }()
	for range claimTries {
		r := &restoration{a: a.stream, pid: pid, since: since}
		if err = r.run(ctx, resume); !errors.Is(err, errMoving) {
			break
		}
	}
	return err
}

// restoration is one session on its way back.
type restoration struct {
	a       *stream
	pid     string
	since   entryID
	s       rediswire.Session
	local   *tracked  // nil where it is not this server's
	before  string    // the turn that this server took it from
	value   string    // as Redis has it, "" where that is not known
	claimed time.Time // about when Redis was asked to; zero where nobody waits for it
	kept    *tracked  // by this server, until the member is tracked
	j       *joiner
	from    entryID // everything behind it comes to j
}

func (r *restoration) run(ctx context.Context, resume func(adapter.Session, []*parser.Packet) error) error {
	if err := r.find(ctx); err != nil {
		return err
	}
	if err := r.join(ctx); err != nil {
		return err
	}
	defer r.leave()
	missed, err := r.read(ctx)
	if err != nil {
		return err
	}
	if err := r.claim(ctx); err != nil {
		return err
	}
	if err := r.finish(ctx, missed, resume); err != nil {
		r.giveBack()
		return err
	}
	if r.kept != nil {
		r.a.c.sessions.settle(r.kept, true)
	}
	return nil
}

// find finds the session and checks that it may be restored here.
func (r *restoration) find(ctx context.Context) error {
	a := r.a
	if err := r.load(ctx); err != nil {
		return err
	}
	strange := r.s.Namespace == "" && !a.c.recovery.OwnSessions
	if r.s.PID != r.pid || r.s.ID == "" || r.s.Namespace != a.name && !strange {
		return errStrange
	}
	return nil
}

// load gives the session that this server or Redis has. The server that a client was at may have it written a moment after
// the client has left: where the offset that the client has is that young, it is waited for. Where another server is
// restoring it, that one is waited for.
func (r *restoration) load(ctx context.Context) error {
	a := r.a
	var w awaiting
	for tries := 0; ; {
		there, err := r.look(ctx)
		if err != nil {
			return err
		}
		if there {
			if wait, err := w.wait(&r.s); err != nil || !wait {
				return err
			}
			if !sleep(ctx, claimPause) {
				return errTaken
			}
			continue
		}
		at := a.reader.position()
		young := at.ms < r.since.ms || at.ms-r.since.ms < uint64(youngOffset/time.Millisecond)
		tries++
		if tries <= sessionTries && young && w.turn == "" && sleep(ctx, sessionPause) {
			continue
		}
		return errNoSession
	}
}

// look is false where there is no session.
func (r *restoration) look(ctx context.Context) (there bool, err error) {
	a := r.a
	var ok bool
	if r.local, r.s.Session, ok = a.c.sessions.peek(a, r.pid); !ok {
		return false, nil
	}
	if r.local != nil {
		r.s.Pending = false
		r.s.Turn, r.before = a.c.sessions.turn(r.local)
		return true, nil
	}
	value, ok, err := a.c.d.Get(ctx, a.c.o.SessionKeyPrefix+r.pid)
	if err != nil {
		return false, fmt.Errorf("%w: session: %w", ErrUnavailable, err)
	}
	if !ok {
		return false, nil
	}
	if r.s, err = rediswire.ParseSession(value); err != nil {
		return false, fmt.Errorf("%w: %w", adapter.ErrNotRecoverable, err)
	}
	r.value = value
	return true, nil
}

// join makes what comes from now on be kept.
func (r *restoration) join(ctx context.Context) error {
	a := r.a
	if err := a.reader.reached(ctx, r.since); err != nil { // the client was with a server that was ahead
		return err
	}
	r.j = newJoiner(r.s.Session, *a.c.recovery)
	a.seq.lock()
	defer a.seq.unlock()
	r.from = a.reader.position()
	if r.from.less(a.seq.at) {
		r.from = a.seq.at
	}
	a.seq.joiners[r.j] = struct{}{}
	return nil
}

func (r *restoration) leave() {
	r.a.seq.lock()
	defer r.a.seq.unlock()
	delete(r.a.seq.joiners, r.j)
}

// read gives what was missed until join. Each page begins with the last entry of the one before: so it shows when the
// stream is trimmed meanwhile.
func (r *restoration) read(ctx context.Context) ([]*parser.Packet, error) {
	a := r.a
	selected := newJoiner(r.s.Session, *a.c.recovery)
	at, n := r.since, 0
	for {
		page, err := a.c.d.Range(ctx, a.key, at.String(), r.from.String(), resolvePage)
		if err != nil {
			return nil, fmt.Errorf("%w: history: %w", ErrUnavailable, err)
		}
		n += len(page)
		if len(page) == 0 || page[0].ID != at.String() || n > a.c.recovery.MaxPackets {
			return nil, errHistory
		}
		for _, e := range page[1:] {
			id, ok := parseEntryID(e.ID)
			if !ok {
				return nil, errHistory
			}
			at = id
			a.recall(selected, id, e.Fields)
		}
		if selected.overflow {
			return nil, errTooMuch
		}
		if len(page) < resolvePage {
			return selected.packets, nil
		}
	}
}

// recall adds what an entry had for the sockets of the namespace. What cannot be read was not delivered either.
func (a *stream) recall(j *joiner, id entryID, fields []string) {
	_, nsp, t, ok := rediswire.PeekEntry(fields)
	if !ok || nsp != a.name || t != rediswire.MessageBroadcast {
		return
	}
	m, err := rediswire.ParseEntry(fields)
	if err != nil || m.Target.Nobody || m.Asks || !hasOffset(&m.Packet, m.Target.Options) {
		return
	}
	m.Packet.Namespace = a.name
	j.add(withOffset(&m.Packet, id), m.Target.Options, dataSize(fields))
}

// finish makes the session live on, as soon as what other sockets got early is in the stream.
func (r *restoration) finish(
	ctx context.Context, missed []*parser.Packet, resume func(adapter.Session, []*parser.Packet) error,
) error {
	for {
		wait, err := r.tryFinish(missed, resume)
		if wait == nil {
			return err
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", adapter.ErrNotRecoverable, context.Cause(ctx))
		}
	}
}

func (r *restoration) tryFinish(
	missed []*parser.Packet, resume func(adapter.Session, []*parser.Packet) error,
) (wait <-chan struct{}, err error) {
	q := r.a.seq
	q.lock()
	defer q.unlock()
	if r.j.overflow {
		return nil, errTooMuch
	}
	if wait := q.inStream(); wait != nil {
		return wait, nil
	}
	delete(q.joiners, r.j)
	if !r.claimed.IsZero() && time.Since(r.claimed) > claimLease { // another server may take it for dead
		return nil, errTaken
	}
	return nil, resume(r.s.Session, append(missed, r.j.packets...))
}

// giveBack keeps the session, which was not restored after all.
func (r *restoration) giveBack() {
	if r.kept != nil {
		r.a.c.sessions.settle(r.kept, false)
	}
	if r.local != nil {
		recovering{r.a}.Persist(r.s.Session)
		return
	}
	if r.kept != nil || r.value == "" { // Redis has it, and it is still known here
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	k := Key{Name: r.a.c.o.SessionKeyPrefix + r.pid, Value: r.value, TTL: r.a.c.recovery.MaxDisconnection}
	if errs := r.a.c.d.Set(ctx, []Key{k}); errs != nil {
		r.a.l.fault(faultSession, errs[0])
	}
}

// joiner collects what a session is to get, within bounds.
type joiner struct {
	id       string
	rooms    map[string]struct{}
	o        adapter.RecoveryOptions
	packets  []*parser.Packet
	bytes    int
	overflow bool
}

func newJoiner(s adapter.Session, o adapter.RecoveryOptions) *joiner {
	j := &joiner{id: s.ID, rooms: make(map[string]struct{}, len(s.Rooms)+1), o: o}
	j.rooms[s.ID] = struct{}{}
	for _, room := range s.Rooms {
		j.rooms[room] = struct{}{}
	}
	return j
}

func (j *joiner) in(rooms []string) bool {
	return slices.ContainsFunc(rooms, func(r string) bool { _, ok := j.rooms[r]; return ok })
}

// add takes a packet with its offset if it is for the session. size is about that of its arguments.
func (j *joiner) add(p *parser.Packet, o adapter.Options, size int) {
	if j.overflow || len(o.Rooms) > 0 && !j.in(o.Rooms) || j.in(o.Except) {
		return
	}
	j.bytes += size
	if len(j.packets) >= j.o.MaxPackets || j.bytes > j.o.MaxBytes {
		j.overflow, j.packets = true, nil
		return
	}
	j.packets = append(j.packets, p)
}
