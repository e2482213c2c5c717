package httpsession

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/sockeye-io/sockeye"
)

const (
	// batchSize is how many sessions are asked for at once.
	batchSize = 500

	// shortest is how often the keeper looks at most.
	shortest = 100 * time.Millisecond
)

// track notes a socket.
func (m *Sessions) track(s *sockeye.Socket, ref Ref) *open {
	m.mu.Lock()
	defer m.mu.Unlock()
	o := m.sessions[ref.Key]
	if o == nil {
		o = &open{ref: ref, sockets: make(map[*sockeye.Socket]struct{}, 1)}
		m.sessions[ref.Key] = o
	}
	m.sockets[s] = o
	o.sockets[s] = struct{}{}
	return o
}

// untrack forgets a socket, and the session with its last one.
func (m *Sessions) untrack(s *sockeye.Socket) {
	m.mu.Lock()
	defer m.mu.Unlock()
	o := m.sockets[s]
	if o == nil {
		return
	}
	delete(m.sockets, s)
	if delete(o.sockets, s); len(o.sockets) == 0 && m.sessions[o.ref.Key] == o {
		delete(m.sessions, o.ref.Key)
	}
}

// visit touches the session of a new socket, or asks for it, and tells whether it is there.
func (m *Sessions) visit(ctx context.Context, o *open) (bool, error) {
	if m.cfg.TouchInterval < 0 {
		there, err := m.backend.Exist(ctx, []Ref{o.ref})
		return err == nil && there[0], err
	}
	ttls, err := m.backend.Touch(ctx, []Ref{o.ref})
	if err != nil {
		return false, err
	}
	m.touched([]*open{o}, ttls, time.Now())
	return ttls[0] != Gone, nil
}

// touched notes when sessions are to be touched again, and wakes the keeper if that is soon.
func (m *Sessions) touched(all []*open, ttls []time.Duration, now time.Time) {
	m.mu.Lock()
	soon := false
	for i, o := range all {
		if ttls[i] <= 0 {
			o.touchAt = time.Time{}
			continue
		}
		o.touchAt = now.Add(max(shortest, min(m.cfg.TouchInterval, ttls[i]/3)))
		soon = soon || m.next.IsZero() || o.touchAt.Before(m.next)
	}
	m.mu.Unlock()
	if soon {
		select {
		case m.wake <- struct{}{}:
		default:
		}
	}
}

// keep looks after the sessions of open sockets. It ends when the Sessions is closed.
func (m *Sessions) keep(ctx context.Context) {
	defer close(m.done)
	var check time.Time // when it is to be asked which sessions have ended
	if m.cfg.CheckInterval > 0 {
		check = time.Now().Add(m.cfg.CheckInterval)
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	failing := false
	for {
		timer.Stop()
		if d, ok := m.plan(check, time.Now()); ok {
			timer.Reset(d)
		}
		select {
		case <-ctx.Done():
			return
		case <-m.wake:
			continue
		case <-timer.C:
		}
		now := time.Now()
		checking := !check.IsZero() && !now.Before(check)
		if checking {
			check = now.Add(m.cfg.CheckInterval)
		}
		err := m.pass(ctx, now, checking)
		if err != nil && !failing && ctx.Err() == nil {
			m.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "sessions cannot be looked after", slog.Any("error", err))
		}
		failing = err != nil
	}
}

// plan tells how long there is nothing to do; false says until it is woken.
func (m *Sessions) plan(check, now time.Time) (time.Duration, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.next = check
	for _, o := range m.sessions {
		if !o.touchAt.IsZero() && (m.next.IsZero() || o.touchAt.Before(m.next)) {
			m.next = o.touchAt
		}
	}
	return max(shortest, m.next.Sub(now)), !m.next.IsZero()
}

// pass touches the sessions for which it is time and, if checking, asks for the others. It gives the first error; what comes
// after it is done at the next time.
func (m *Sessions) pass(ctx context.Context, now time.Time, checking bool) error {
	var touch, check []*open
	m.mu.Lock()
	for _, o := range m.sessions {
		switch {
		case !o.touchAt.IsZero() && !now.Before(o.touchAt):
			o.touchAt = now.Add(m.cfg.TouchInterval) // if it cannot be touched now
			touch = append(touch, o)
		case checking:
			check = append(check, o)
		}
	}
	m.mu.Unlock()
	err := batches(touch, func(part []*open) error { return m.touchAll(ctx, part) })
	if errCheck := batches(check, func(part []*open) error { return m.checkAll(ctx, part) }); err == nil {
		err = errCheck
	}
	return err
}

func batches(all []*open, f func(part []*open) error) error {
	for len(all) > 0 {
		n := min(len(all), batchSize)
		if err := f(all[:n]); err != nil {
			return err
		}
		all = all[n:]
	}
	return nil
}

func refs(all []*open) []Ref {
	rs := make([]Ref, len(all))
	for i, o := range all {
		rs[i] = o.ref
	}
	return rs
}

func (m *Sessions) touchAll(ctx context.Context, part []*open) error {
	limited, cancel := m.limit(ctx)
	defer cancel()
	now := time.Now()
	ttls, err := m.backend.Touch(limited, refs(part))
	if err != nil {
		return err
	}
	m.touched(part, ttls, now)
	for i, o := range part {
		if ttls[i] == Gone {
			m.over(o)
		}
	}
	return nil
}

func (m *Sessions) checkAll(ctx context.Context, part []*open) error {
	limited, cancel := m.limit(ctx)
	defer cancel()
	there, err := m.backend.Exist(limited, refs(part))
	if err != nil {
		return err
	}
	for i, o := range part {
		if !there[i] {
			m.over(o)
		}
	}
	return nil
}

// over disconnects the sockets of this server. The other servers find out about theirs.
func (m *Sessions) over(o *open) {
	m.mu.Lock()
	gone := slices.Collect(maps.Keys(o.sockets))
	m.mu.Unlock()
	for _, s := range gone {
		_ = s.Disconnect(true) // an error means that it has ended
	}
}
