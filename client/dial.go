package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/sockeye-io/sockeye/engineio"
)

// dialTask is a Manager as a task of the pool: it opens connections, one at a time.
type dialTask Manager

// Run implements ring.Task. It ends when there is a connection, or nothing to be done about it now.
func (t *dialTask) Run() {
	m := (*Manager)(t)
	for {
		m.mu.Lock()
		if m.state != dialing || m.closed {
			m.dialer = false
			m.mu.Unlock()
			return
		}
		ctx, cancel := context.WithCancel(m.ctx)
		m.stopDial = cancel
		attempt := m.attempt
		m.mu.Unlock()
		if attempt > 0 {
			tell(m, "reconnect attempt listener", &m.attempts, func(f func(int)) { f(attempt) })
		}
		err := m.connect(ctx)
		canceled := ctx.Err() != nil
		cancel()
		switch {
		case err == nil:
			if attempt > 0 {
				tell(m, "reconnect listener", &m.reconnects, func(f func(int)) { f(attempt) })
			}
		case canceled: // nobody wants it; or somebody again
		default:
			m.failed(attempt, fmt.Errorf("client: connect: %w", err))
		}
	}
}

// connect opens a connection with one of the transports.
//
// Node: engine.io-client/lib/socket.ts SocketWithUpgrade, tryAllTransports
func (m *Manager) connect(ctx context.Context) error {
	transports := m.cfg.Transports
	if m.cfg.RememberUpgrade && m.worked.Load() {
		if i := slices.Index(transports, transportWebSocket); i > 0 {
			transports = slices.Concat([]string{transportWebSocket}, transports[:i], transports[i+1:])
		}
	}
	for {
		err := m.open(ctx, transports)
		if err == nil || ctx.Err() != nil {
			return err
		}
		if transports[0] == transportWebSocket {
			m.worked.Store(false)
		}
		if !m.cfg.TryAllTransports || len(transports) == 1 {
			return err
		}
		transports = transports[1:]
	}
}

// open opens a connection.
func (m *Manager) open(ctx context.Context, transports []string) error {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return ErrClosed
	}
	m.conns.Add(1)
	m.mu.Unlock()
	l := &link{m: m, dec: m.cfg.Parser.NewDecoder(m.cfg.Limits, m.cfg.protocol())}
	if _, err := engineio.Dial(ctx, m.url, m.engine(transports), l); err != nil {
		if !l.opened {
			m.conns.Done() // else the engine does it
		}
		return err
	}
	return nil
}

// failed arranges for the next attempt and tells everybody that one failed.
func (m *Manager) failed(attempt int, err error) {
	m.mu.Lock()
	if m.state != dialing || m.closed {
		m.mu.Unlock()
		return
	}
	m.schedule()
	final := m.state == idle
	m.mu.Unlock()
	exhausted := final && attempt > 0
	tell(m, "error listener", &m.errors, func(f func(error)) { f(err) })
	last := err
	if exhausted {
		last = errors.Join(ErrReconnectFailed, err)
	}
	for _, s := range m.all() {
		s.failed(last, final)
	}
	if attempt > 0 {
		tell(m, "reconnect error listener", &m.failures, func(f func(error)) { f(err) })
	}
	if exhausted {
		tell(m, "reconnect failed listener", &m.gaveUp, func(f func()) { f() })
	}
}

// schedule waits for the next attempt, or becomes idle if there is none. m.mu is held.
//
// Node: socket.io-client/lib/manager.ts reconnect
func (m *Manager) schedule() {
	r := &m.cfg.Reconnect
	if r.Disabled || r.Attempts > 0 && m.attempt >= r.Attempts {
		m.state, m.attempt = idle, 0
		return
	}
	wait := r.delay(m.attempt, rand.Float64())
	m.attempt++
	m.state = waiting
	m.timer = time.AfterFunc(wait, m.retry)
}

// delay is the time to wait after n attempts; random is in [0, 1).
func (r *Reconnect) delay(n int, random float64) time.Duration {
	d := float64(r.Delay)
	for range min(n, 62) {
		d *= 2
	}
	d += d * r.Jitter * (2*random - 1)
	return time.Duration(min(d, float64(r.MaxDelay)))
}
