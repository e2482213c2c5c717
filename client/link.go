package client

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/sockeye-io/sockeye/engineio"
	"github.com/sockeye-io/sockeye/parser"
)

// What became of "/".
const (
	rootUnknown uint32 = iota
	rootJoined
	rootLeft
)

// link is one connection of a Manager: the handler that the engine calls.
type link struct {
	m      *Manager
	conn   *engineio.Conn // set by OnOpen
	opened bool           // of the goroutine that dials
	dead   atomic.Bool    // its sockets are told so, or will be
	ctx    context.Context
	cancel context.CancelFunc

	root atomic.Uint32 // what became of "/", which servers of protocol 4 connect by themselves

	dec parser.Decoder // of the goroutine that reads, as is packet
	in  parser.Packet

	mu sync.Mutex

	full int // inboxes that reading pauses for; guarded by mu
}

// OnOpen implements engineio.Handler.
func (l *link) OnOpen(c *engineio.Conn, _ *http.Request) {
	l.conn, l.opened = c, true
	l.ctx, l.cancel = context.WithCancel(l.m.ctx)
	if !l.m.opened(l) {
		l.dead.Store(true)
		l.cancel()
		_ = c.Close() // always nil
	}
}

// OnMessage implements engineio.Handler.
func (l *link) OnMessage(_ *engineio.Conn, data []byte, binary bool) {
	if l.dead.Load() {
		return
	}
	done, err := l.dec.Add(&l.in, data, binary)
	switch {
	case err != nil:
		l.m.drop(l, ReasonParseError, err)
	case done:
		l.m.mu.Lock()
		s := l.m.sockets[l.in.Namespace]
		l.m.mu.Unlock()
		if l.in.Type == parser.Connect && l.in.Namespace == "/" {
			l.root.CompareAndSwap(rootUnknown, rootJoined)
		}
		if s != nil {
			s.receive(l, &l.in)
		}
	}
}

// OnClose implements engineio.Handler.
func (l *link) OnClose(_ *engineio.Conn, reason engineio.Reason, err error) {
	l.m.drop(l, Reason(reason), err)
}

// OnUpgrade implements engineio.UpgradeHandler.
func (l *link) OnUpgrade(*engineio.Conn) {
	l.m.worked.Store(true)
	if l.m.own != nil {
		l.m.own.CloseIdleConnections() // polling is over
	}
}

// pause stops reading until there are as many resumes.
func (l *link) pause() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.full++; l.full == 1 {
		l.conn.Pause()
	}
}

func (l *link) resume() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.full--; l.full == 0 {
		l.conn.Resume()
	}
}

// send queues a packet that belongs to the protocol, beyond the bounds of the queue. An error means that it cannot be
// encoded; a connection that has ended is none.
func (l *link) send(p *parser.Packet) error {
	f, _, err := l.m.encode(p)
	if err != nil {
		return err
	}
	_ = l.conn.SendPrepared(engineio.SendOptions{Force: true}, f...) // the connection has ended
	return nil
}

// encode makes the messages of a packet, whose length together is size in bytes.
func (m *Manager) encode(p *parser.Packet) (ps []*engineio.Prepared, size int, err error) {
	f, err := m.cfg.Parser.Encode(p, m.cfg.protocol())
	if err != nil {
		return nil, 0, err
	}
	ps, size = make([]*engineio.Prepared, 1, 1+len(f.Attachments)), len(f.Head)
	ps[0] = engineio.Prepare(f.Head, f.Binary)
	for _, a := range f.Attachments {
		ps, size = append(ps, engineio.Prepare(a, true)), size+len(a)
	}
	return ps, size, nil
}
