package redisadapter

import (
	"context"
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
	r := &restoration{a: a.stream, pid: pid, since: since}
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
	return nil
}

// restoration is one session on its way back.
type restoration struct {
	a     *stream
	pid   string
	since entryID
	s     adapter.Session
	local *tracked // nil where it is not this server's
	value string   // as Redis has it, where it is not
	kept  *tracked // by this server, until the member is tracked
	j     *joiner
	from  entryID // everything behind it comes to j
}

// find finds the session and checks that it may be restored here, and that Redis still knows the offset.
func (r *restoration) find(ctx context.Context) error {
	a := r.a
	entries, err := a.c.d.Range(ctx, a.key, r.since.String(), r.since.String(), 1)
	if err != nil {
		return fmt.Errorf("%w: offset: %w", ErrUnavailable, err)
	}
	if len(entries) == 0 {
		return errNoOffset
	}
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
// the client has left: where the offset that the client has is that young, it is waited for.
func (r *restoration) load(ctx context.Context) error {
	a := r.a
	for tries := 0; ; tries++ {
		there, err := r.look(ctx)
		if err != nil {
			return err
		}
		if there {
			return nil
		}
		at := a.reader.position()
		young := at.ms < r.since.ms || at.ms-r.since.ms < uint64(youngOffset/time.Millisecond)
		if tries < sessionTries && young && a.c.app.sleep(ctx, sessionPause) {
			continue
		}
		return errNoSession
	}
}

// look is false where there is no session.
func (r *restoration) look(ctx context.Context) (there bool, err error) {
	a := r.a
	var ok bool
	if r.local, r.s, ok = a.c.sessions.peek(a, r.pid); !ok || r.local != nil {
		return ok, nil
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
	r.j = newJoiner(r.s, *a.c.recovery)
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
	selected := newJoiner(r.s, *a.c.recovery)
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

// claim makes sure that nobody else restores the session too.
func (r *restoration) claim(ctx context.Context) error {
	a := r.a
	stored := true
	if r.local != nil {
		var ok bool
		if stored, ok = a.c.sessions.take(r.local); !ok {
			return errTaken
		}
	}
	deleted, err := a.c.d.Delete(ctx, a.c.o.SessionKeyPrefix+r.pid)
	if err != nil {
		return fmt.Errorf("%w: session: %w", ErrUnavailable, err)
	}
	if !deleted && stored {
		return errTaken
	}
	r.keep(ctx)
	if old, ok := a.host.Index().Lookup(r.s.ID); ok { // whose client is the one that came back
		a.host.Command(old, adapter.Command{Disconnect: true, CloseConn: true})
	}
	return nil
}

// keep writes the session that was claimed, before the client knows that it is recovered: it may be gone again, to another
// server, or this one may, before the keeper has come to that.
func (r *restoration) keep(ctx context.Context) {
	a := r.a
	value, ok := r.value, true
	if r.local != nil {
		value, ok = encodeSession(a, &r.s)
	}
	if !ok {
		return
	}
	k := Key{Name: a.c.o.SessionKeyPrefix + r.pid, Value: value, TTL: a.c.recovery.MaxDisconnection}
	if errs := a.c.d.Set(ctx, []Key{k}); errs != nil {
		a.l.fault(faultSession, fmt.Errorf("%w: %w", ErrUnavailable, errs[0]))
		return
	}
	r.kept = a.c.sessions.adopt(a, r.s, value)
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
	return nil, resume(r.s, append(missed, r.j.packets...))
}

// giveBack keeps the session, which was not restored after all.
func (r *restoration) giveBack() {
	if r.local != nil {
		recovering{r.a}.Persist(r.s)
		return
	}
	if r.kept != nil { // Redis has it, and it is still known here
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
