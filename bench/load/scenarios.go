//go:build linux

package main

import (
	"errors"
	"fmt"
	"time"
)

// fanout: o.conns sockets in one room, one more that publishes to it; o.window broadcasts under way at once.
// An operation is a delivery. Where there are several servers the room is on all of them.
func fanout(l *loop, o options) (figures, error) {
	s := newSockets(l)
	s.onReady = func(c *client) { s.send(c, []byte(`42["join","r"]`)) }
	if err := s.connect(o.conns); err != nil {
		return figures{}, err
	}
	s.onReady = func(*client) {}
	if err := s.connect(1); err != nil {
		return figures{}, err
	}
	publisher := s.all[o.conns]
	pub := appendText(nil, []byte(`42["pub",{"room":"r","payload":"`+o.payload+`"}]`))
	if err := l.serveFor(500 * time.Millisecond); err != nil { // all have joined
		return figures{}, err
	}

	var m *meter
	published, delivered := 0, 0
	sent := make([]int64, 4*o.window)
	s.onEvent = func(c *client) {
		delivered++
		if m != nil {
			m.add(l.now - sent[(c.got-1)%len(sent)])
		}
	}
	pump := func(d time.Duration) error {
		for end := clock() + int64(d); clock() < end; {
			for delivered > (published-o.window)*o.conns+o.conns-1 || published < o.window {
				sent[published%len(sent)] = clock()
				l.write(publisher, pub)
				published++
			}
			if err := l.serve(50 * time.Millisecond); err != nil {
				return err
			}
			if l.failed > 0 {
				return l.lastErr
			}
		}
		return nil
	}
	drain := func() error {
		for end := clock() + int64(20*time.Second); delivered < published*o.conns; {
			if clock() > end {
				return fmt.Errorf("%d of %d deliveries are missing", published*o.conns-delivered, published*o.conns)
			}
			if err := l.serve(50 * time.Millisecond); err != nil {
				return err
			}
		}
		return nil
	}
	l.spin = true
	if err := errors.Join(pump(o.warm), drain()); err != nil {
		return figures{}, err
	}
	// Let the window fill again as at first.
	published, delivered = 0, 0
	for _, c := range s.all {
		c.got = 0
	}
	m, err := newMeter(o.pids)
	if err != nil {
		return figures{}, err
	}
	if err := errors.Join(pump(o.measure), drain()); err != nil {
		return figures{}, err
	}
	return m.figures(delivered)
}

// echo: o.conns sockets, each with o.window events under way that the server acknowledges. An operation is a
// round trip.
func echo(l *loop, o options) (figures, error) {
	s := newSockets(l)
	if err := s.connect(o.conns); err != nil {
		return figures{}, err
	}
	var m *meter
	done, missing := 0, o.conns*o.window
	stopping := false
	scratch := make([]byte, 0, 4096)
	ask := func(c *client) {
		scratch = appendEcho(scratch[:0], c.seq, o.payload)
		c.sent[c.seq%uint32(len(c.sent))] = clock()
		c.seq++
		s.send(c, scratch)
	}
	s.onAck = func(c *client, id uint32) {
		if m != nil && !stopping {
			done++
			m.add(l.now - c.sent[id%uint32(len(c.sent))])
		}
		if stopping {
			missing--
			return
		}
		ask(c)
	}
	for _, c := range s.all {
		c.sent = make([]int64, 4*o.window)
		for range o.window {
			ask(c)
		}
		l.flush(c)
	}
	l.spin = true
	if err := l.serveFor(o.warm); err != nil {
		return figures{}, err
	}
	m, err := newMeter(o.pids)
	if err != nil {
		return figures{}, err
	}
	if err := l.serveFor(o.measure); err != nil {
		return figures{}, err
	}
	f, err := m.figures(done)
	if err != nil {
		return f, err
	}
	stopping = true
	if err := l.serveFor(500 * time.Millisecond); err != nil {
		return f, err
	}
	if missing > 0 {
		return f, fmt.Errorf("%d acknowledgements are missing", missing)
	}
	return f, nil
}

// connect: what o.conns idle connections cost: CPU to open one, resident bytes once all has settled.
func connect(l *loop, o options) (figures, error) {
	s := newSockets(l)
	if err := s.connect(500); err != nil { // warm-up
		return figures{}, err
	}
	l.dropAll()
	if err := errors.Join(o.pids.collectGarbage(), l.serveFor(2*time.Second)); err != nil {
		return figures{}, err
	}
	before, err := o.pids.resident()
	if err != nil {
		return figures{}, err
	}
	m, err := newMeter(o.pids)
	if err != nil {
		return figures{}, err
	}
	if err := s.connect(o.conns); err != nil {
		return figures{}, err
	}
	f, err := m.figures(o.conns)
	if err != nil {
		return f, err
	}
	if err := l.serveFor(o.settle); err != nil {
		return f, err
	}
	after, err := o.pids.resident()
	f.Bytes = float64(after-before) / float64(o.conns)
	return f, err
}
