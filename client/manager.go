package client

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye/internal/event"
	"github.com/sockeye-io/sockeye/internal/ring"
)

// state is what a Manager does about its connection.
type state uint8

const (
	idle    state = iota
	waiting       // until the next attempt
	dialing
	open
	cutting // the connection has ended, which its sockets are being told
)

// Manager holds one connection for sockets of several namespaces, and makes it again when it is lost. It is connected
// while it has open sockets. Its methods are safe for concurrent use.
//
// Node: socket.io-client/lib/manager.ts
type Manager struct {
	cfg  Config
	url  string
	http *http.Client
	own  *http.Transport // nil when the client was given

	pool   *ring.Pool
	ctx    context.Context // of attempts; ends with Close
	cancel context.CancelFunc
	conns  sync.WaitGroup // connections, and attempts to open one; added to under mu while not closed
	done   chan struct{}  // closed when everything has ended
	worked atomic.Bool    // WebSocket did

	errors     event.Functions[func(error)]
	attempts   event.Functions[func(int)]
	reconnects event.Functions[func(int)]
	failures   event.Functions[func(error)]
	gaveUp     event.Functions[func()]

	mu sync.Mutex // before Socket.mu

	// Guarded by mu.
	sockets  map[string]*Socket
	active   int // sockets that want to be connected
	state    state
	link     *link // while open
	attempt  int   // number of the attempt that is under way or waited for; 0 = the first, no reconnection
	timer    *time.Timer
	stopDial context.CancelFunc
	dialer   bool // a dialTask is running, or about to
	wanted   bool // while cutting: connect at once
	closed   bool
}

// New makes a Manager for the server at rawURL (http, https, ws or wss), whose path must be empty or "/". It
// connects when a socket is opened.
//
// Errors: what is wrong with the arguments.
//
// Node: socket.io-client/lib/manager.ts Manager
func New(rawURL string, c Config) (*Manager, error) {
	c, cerr := c.withDefaults()
	base, path, err := splitURL(rawURL, &c)
	if err == nil && path != "" && path != "/" {
		err = errors.New("client: the URL of a Manager has no path: namespaces are for Socket, the path is Config.Path")
	}
	if err = errors.Join(cerr, err); err != nil {
		return nil, err
	}
	m := &Manager{
		cfg: c, url: base, pool: ring.NewPool(), sockets: make(map[string]*Socket), done: make(chan struct{}),
	}
	m.http, m.own = c.client()
	m.ctx, m.cancel = context.WithCancel(context.Background())
	return m, nil
}

// Dial connects to the namespace that is the path of rawURL, "/" if it has none, and gives its socket. Closing that
// closes its Manager too. Handlers that must not miss an event are registered by Config.Setup. Once connected the
// socket connects again by itself as Config.Reconnect says; ctx bounds the first connect only.
//
// Errors: what is wrong with the arguments, *[engineio.TransportError], *[ConnectError], *[AuthError], the cause of ctx.
//
// Node: socket.io-client/lib/index.ts io
func Dial(ctx context.Context, rawURL string, c Config) (*Socket, error) {
	base, name := rawURL, "/"
	if u, path, err := splitURL(rawURL, &Config{}); err == nil {
		base, name = u, path
	}
	m, err := New(base, c)
	if err != nil {
		return nil, err
	}
	s := m.Socket(name)
	s.owner = true
	if err := s.connect(ctx, true); err != nil {
		_ = m.Close() // always nil
		return nil, err
	}
	return s, nil
}

// Socket gives the socket of a namespace, the same at each call; a leading slash may be left out. It connects when it
// is opened, so that handlers can be registered before. In protocol 4 it may have no query: see Config.Query.
//
// Differs from Node: sockets do not connect at once.
//
// Node: socket.io-client/lib/manager.ts socket
func (m *Manager) Socket(namespace string) *Socket {
	if !strings.HasPrefix(namespace, "/") {
		namespace = "/" + namespace
	}
	m.mu.Lock()
	s := m.sockets[namespace]
	if s != nil {
		m.mu.Unlock()
		return s
	}
	s = newSocket(m, namespace)
	s.ready = m.cfg.Setup == nil
	m.sockets[namespace] = s
	m.mu.Unlock()
	if f := m.cfg.Setup; f != nil {
		defer m.ready(s)
		if err := guard("setup", func() { f(s) }); err != nil {
			m.report(err)
		}
	}
	return s
}

// ready lets a socket connect that was set up. Somebody else may have found and opened it before.
func (m *Manager) ready(s *Socket) {
	s.mu.Lock()
	s.ready = true
	s.mu.Unlock()
	m.mu.Lock()
	l := m.link
	m.mu.Unlock()
	if l != nil {
		s.begin(l)
	}
}

// Close ends all sockets, with what is queued for the connection being sent, and waits until the connection is closed
// and the handlers have returned; called by a handler it does not wait. Nothing can be opened afterwards. The error
// is always nil.
//
// Node: socket.io-client/lib/manager.ts disconnect
func (m *Manager) Close() error {
	m.mu.Lock()
	first := !m.closed
	m.closed = true
	m.mu.Unlock()
	if first {
		for _, s := range m.all() {
			s.leave()
		}
		m.cancel() // later, so that who waits for an acknowledgement hears of the end of the socket
		go m.finish()
	}
	if !ring.InWorker() {
		<-m.done
	}
	return nil
}

// finish ends when the connection, if there is one, is closed and the workers have ended.
func (m *Manager) finish() {
	m.conns.Wait()
	m.pool.Close()
	if m.own != nil {
		m.own.CloseIdleConnections()
	}
	close(m.done)
}

// OnError registers a function that is told why a connection could not be opened. It and the functions for
// reconnection are called one at a time.
//
// Node: the error event of the Manager
func (m *Manager) OnError(f func(err error)) (off func()) { return m.errors.Add(f) }

// OnReconnectAttempt registers a function that is called before each attempt to connect again, with its number.
//
// Node: the reconnect_attempt event of the Manager
func (m *Manager) OnReconnectAttempt(f func(attempt int)) (off func()) { return m.attempts.Add(f) }

// OnReconnect registers a function that is told of each connection that was made again, with the number of attempts.
//
// Node: the reconnect event of the Manager
func (m *Manager) OnReconnect(f func(attempt int)) (off func()) { return m.reconnects.Add(f) }

// OnReconnectError registers a function that is told of each attempt to connect again that failed.
//
// Node: the reconnect_error event of the Manager
func (m *Manager) OnReconnectError(f func(err error)) (off func()) { return m.failures.Add(f) }

// OnReconnectFailed registers a function that is called when Reconnect.Attempts were in vain. Socket.Open tries again.
//
// Node: the reconnect_failed event of the Manager
func (m *Manager) OnReconnectFailed(f func()) (off func()) { return m.gaveUp.Add(f) }

// Transport is what carries the connection now, "polling" or "websocket"; "" without one.
func (m *Manager) Transport() string {
	m.mu.Lock()
	l := m.link
	m.mu.Unlock()
	if l == nil {
		return ""
	}
	return l.conn.Transport()
}

func (m *Manager) report(err error) {
	if m.cfg.OnError != nil && err != nil {
		m.cfg.OnError(err)
	}
}

// all gives the sockets.
func (m *Manager) all() []*Socket {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]*Socket, 0, len(m.sockets))
	for _, s := range m.sockets {
		all = append(all, s)
	}
	return all
}

// activate notes that a socket wants to be connected, and gives the connection if there is one.
func (m *Manager) activate(s *Socket) (*link, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, ErrClosed
	}
	s.mu.Lock()
	if !s.active {
		s.active = true
		m.active++
	}
	s.mu.Unlock()
	switch m.state {
	case idle:
		m.dial()
	case cutting:
		m.wanted = true
	case waiting, dialing, open:
	}
	return m.link, nil
}

// deactivate notes that a socket wants no connection any more. m.mu and s.mu are held. It gives the connection if
// nobody else wants it: the caller is to cut that, and who wants one from now on gets the next.
//
// Node: socket.io-client/lib/manager.ts _destroy
func (m *Manager) deactivate(s *Socket) *link {
	if !s.active {
		return nil
	}
	s.active = false
	if m.active--; m.active > 0 {
		return nil
	}
	m.wanted = false
	switch m.state {
	case waiting:
		m.timer.Stop()
		m.state, m.attempt = idle, 0
	case dialing:
		if m.stopDial != nil {
			m.stopDial()
		}
		m.state, m.attempt = idle, 0
	case open:
		if l := m.link; !l.dead.Swap(true) { // else it has ended by itself
			m.link, m.state = nil, cutting
			return l
		}
	case idle, cutting:
	}
	return nil
}

// dial begins to open a connection. m.mu is held.
func (m *Manager) dial() {
	m.state = dialing
	if !m.dialer {
		m.dialer = m.pool.Go((*dialTask)(m))
	}
}

// retry begins the attempt that was waited for.
func (m *Manager) retry() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.state == waiting && !m.closed {
		m.dial()
	}
}

// opened is OnOpen of a connection. It is false when nobody wants that any more.
func (m *Manager) opened(l *link) bool {
	m.mu.Lock()
	if m.closed || m.state != dialing {
		m.mu.Unlock()
		return false
	}
	m.state, m.link, m.attempt = open, l, 0
	m.mu.Unlock()
	for _, s := range m.all() {
		s.begin(l)
	}
	return true
}

// drop ends a connection, or notes that it has ended, tells its sockets, and arranges for the next one.
func (m *Manager) drop(l *link, reason Reason, err error) {
	if l.dead.Swap(true) {
		return
	}
	m.mu.Lock()
	m.link, m.state = nil, cutting // it is m.link: one that nobody wanted was dead when it opened
	m.mu.Unlock()
	m.cut(l, reason, err)
}

// cut does what is to be done about a connection that is dead; the state is cutting.
func (m *Manager) cut(l *link, reason Reason, err error) {
	m.worked.CompareAndSwap(false, l.conn.Transport() == transportWebSocket)
	l.cancel()
	_ = l.conn.Close() // always nil
	for _, s := range m.all() {
		s.lost(l, reason, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state, m.attempt = idle, 0
	switch {
	case m.closed || m.active == 0:
	case m.wanted:
		m.dial()
	default:
		m.schedule()
	}
	m.wanted = false
}
