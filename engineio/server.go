package engineio

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye/internal/eio"
	"github.com/sockeye-io/sockeye/internal/netpoll"
	"github.com/sockeye-io/sockeye/internal/ws"
)

// errForbidden has no text of its own for the client.
var errForbidden = errors.New("Forbidden")

// Server is an http.Handler. It is safe for concurrent use.
type Server struct {
	env

	cfg       Config
	origin    *originPolicy
	cookie    *sessionCookie
	polling   bool
	websocket bool
	upgrades  []string // what a polling handshake offers
	frames    [2]ws.ReaderConfig
	driver    netpoll.Driver
	overtake  time.Duration // see overtake.go
	goodbye   time.Duration // see awaitGoodbyes
	sessions  sessions
	counters  counters
	admission admission
	open      atomic.Int64 // connections whose OnClose has not returned

	mu sync.Mutex

	// Guarded by mu.
	closing bool
	closed  bool
	idle    chan struct{} // closed when open falls to 0 while closing
}

// NewServer checks cfg, reporting all faults, and returns a running server.
func NewServer(cfg Config, h Handler) (*Server, error) {
	s := &Server{idle: make(chan struct{}), overtake: overtakeTime, goodbye: goodbyeTime}
	var err error
	if s.cfg, err = cfg.withDefaults(); err != nil {
		return nil, err
	}
	if h == nil {
		return nil, errors.New("engineio: no handler")
	}
	var trust func(*http.Request) bool
	if s.cfg.TrustProxy != nil {
		trust = s.trusts
	}
	s.origin, err = newOriginPolicy(cfg.Origin, cfg.CORS, trust)
	cookie, cookieErr := newSessionCookie(cfg.Cookie)
	if err = errors.Join(err, cookieErr); err != nil {
		return nil, err
	}
	s.cookie = cookie
	s.polling = slices.Contains(s.cfg.Transports, transportPolling)
	s.websocket = slices.Contains(s.cfg.Transports, transportWebSocket)
	if s.websocket && !s.cfg.DisableUpgrades {
		s.upgrades = []string{transportWebSocket}
	}
	for i := range s.frames {
		s.frames[i] = ws.ReaderConfig{
			MaxMessage: s.cfg.MaxPayload, MaxFragments: s.cfg.MaxFragments, Deflate: i == 1,
		}
	}
	s.handler = h
	s.queue = s.cfg.Queue
	s.admission.init(s.cfg.Admission)
	s.interval, s.timeout = s.cfg.PingInterval, s.cfg.PingTimeout
	s.start = time.Now()
	s.fault = s.report
	s.ended = s.sessions.remove
	s.told = s.forget
	s.count = &s.counters
	if u, ok := h.(UpgradeHandler); ok {
		s.upgraded = u.OnUpgrade
	}
	s.wheel = newWheel(s.start, min(s.cfg.PingInterval, s.cfg.PingTimeout))
	s.driver = netpoll.New(netpoll.Config{WriteTimeout: writeTimeout})
	return s, nil
}

// withDefaults fills the zero fields in and reports all faults.
func (cfg Config) withDefaults() (Config, error) {
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf("engineio: "+format, args...)) }
	period := func(name string, d *time.Duration, def time.Duration) {
		if *d == 0 {
			*d = def
		}
		if *d < 0 {
			fault("%s must not be negative", name)
		}
	}
	if cfg.Path == "" {
		cfg.Path = "/engine.io/"
	}
	if !strings.HasPrefix(cfg.Path, "/") {
		fault("Path %q must begin with a slash", cfg.Path)
	}
	if !strings.HasSuffix(cfg.Path, "/") {
		cfg.Path += "/"
	}
	if len(cfg.Transports) == 0 {
		cfg.Transports = []string{transportPolling, transportWebSocket}
	}
	for _, t := range cfg.Transports {
		if t != transportPolling && t != transportWebSocket {
			fault("unknown transport %q", t)
		}
	}
	period("PingInterval", &cfg.PingInterval, 25*time.Second)
	period("PingTimeout", &cfg.PingTimeout, 20*time.Second)
	period("UpgradeTimeout", &cfg.UpgradeTimeout, 10*time.Second)
	period("PollingCloseWait", &cfg.PollingCloseWait, 30*time.Second)
	if cfg.MaxPayload == 0 {
		cfg.MaxPayload = 1_000_000
	}
	if cfg.HTTPCompression == 0 {
		cfg.HTTPCompression = 1024
	}
	if cfg.DeflateThreshold == 0 {
		cfg.DeflateThreshold = 1024
	}
	if cfg.MaxPayload < 0 || cfg.MaxFragments < 0 || cfg.DeflateThreshold < 0 ||
		cfg.Queue.MaxBytes < 0 || cfg.Queue.MaxPackets < 0 ||
		cfg.Admission.Connections < 0 || cfg.Admission.PerAddress < 0 || cfg.Admission.Handshakes < 0 {
		fault("MaxPayload, MaxFragments, DeflateThreshold, Queue and Admission must not be negative")
	}
	if cfg.Queue.OnFull > DropOldest {
		fault("unknown policy of the queue")
	}
	cfg.Queue = cfg.Queue.withDefaults()
	return cfg, errors.Join(errs...)
}

var noSniff = []string{"nosniff"}

// ServeHTTP answers every request under Config.Path, and others with 404. A WebSocket is taken over: ServeHTTP
// returns at once and keeps nothing of the request.
//
// Protocol: engine.io v4, "Transports". Node: engine.io/lib/server.ts handleRequest, handleUpgrade
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.RawPath
	if path == "" {
		path = r.URL.Path
	}
	h := w.Header()
	h["X-Content-Type-Options"] = noSniff
	if !strings.HasPrefix(path, s.cfg.Path) {
		http.NotFound(w, r)
		return
	}
	if r.Method == http.MethodOptions && s.preflight(w, r) {
		return
	}
	decision := s.decide(r)
	s.origin.apply(h, decision)
	q := parseQuery(r.URL.RawQuery)
	upgrade := isUpgrade(r)
	c, refused := s.verify(r, &q, &decision, upgrade)
	if refused.code >= 0 {
		s.refuse(w, r, refused, upgrade)
		return
	}
	switch {
	case upgrade:
		s.serveWebSocket(w, r, &q, c)
	case c == nil:
		s.openPolling(w, r, &q)
	default:
		s.servePolling(w, r, c)
	}
}

func (s *Server) preflight(w http.ResponseWriter, r *http.Request) (handled bool) {
	defer func() {
		if p := recover(); p != nil {
			s.fault(newPanicError("AllowFunc", p))
			w.WriteHeader(http.StatusInternalServerError)
			handled = true
		}
	}()
	return s.origin.preflight(w, r)
}

// register makes a connection known, with its transport, unless the server is closing or full.
func (s *Server) register(r *http.Request, protocol int, transportOf func(c *Conn) transport) *Conn {
	addr, secure := s.remote(r)
	c := newConn(&s.env, newSID(), protocol, packRequest(r, addr, secure))
	c.t = transportOf(c)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing || !s.admission.enter(addr) {
		return nil
	}
	if !s.sessions.add(c) {
		s.admission.leave(addr)
		return nil
	}
	s.open.Add(1)
	s.counters.begun(c.t.name(), c.protocol)
	return c
}

// forget is called once OnClose has returned.
func (s *Server) forget(c *Conn) {
	s.admission.leave(c.RemoteAddr())
	if s.open.Add(-1) > 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.signalIdle()
}

// signalIdle is called with mu held.
func (s *Server) signalIdle() {
	if !s.closing || s.open.Load() > 0 {
		return
	}
	select {
	case <-s.idle:
	default:
		close(s.idle)
	}
}

// unavailable answers a handshake that comes when the server is closing, or has just become full.
func unavailable(w http.ResponseWriter) {
	w.Header()["Connection"] = closing
	w.WriteHeader(http.StatusServiceUnavailable)
}

// handshake is the data of the open packet.
func (s *Server) handshake(sid string, upgrades []string) []byte {
	return eio.AppendHandshake(nil, eio.Handshake{
		SID: sid, Upgrades: upgrades,
		PingInterval: s.cfg.PingInterval, PingTimeout: s.cfg.PingTimeout, MaxPayload: s.cfg.MaxPayload,
	})
}

// headers calls the hooks for an answer; opening says that it opens a session.
func (s *Server) headers(h http.Header, r *http.Request, opening bool) {
	if hook := s.cfg.Hooks.InitialHeaders; hook != nil && opening {
		s.callHook("InitialHeaders", hook, h, r)
	}
	if hook := s.cfg.Hooks.Headers; hook != nil {
		s.callHook("Headers", hook, h, r)
	}
}

func (s *Server) callHook(name string, hook func(http.Header, *http.Request), h http.Header, r *http.Request) {
	defer s.survive(name)
	hook(h, r)
}

// survive is deferred around callbacks whose panic has no other effect.
func (s *Server) survive(where string) {
	if p := recover(); p != nil {
		s.fault(newPanicError(where, p))
	}
}

// report tells the hook and the log of a fault.
func (s *Server) report(err error) {
	if s.cfg.Logger != nil {
		s.cfg.Logger.Error("engineio: fault survived", slog.Any("error", err))
	}
	if hook := s.cfg.Hooks.Fault; hook != nil {
		defer func() { _ = recover() }() // the hook for panics has itself one: there is nobody left to tell
		hook(err)
	}
}

// Conns counts the open connections.
func (s *Server) Conns() int { return int(s.open.Load()) }

// Shutdown refuses new connections, closes the open ones in order and waits for them, at most until ctx ends;
// then it closes them at once and returns the cause. It must not be called from the handler.
func (s *Server) Shutdown(ctx context.Context) error {
	s.refuseNew()
	for _, c := range s.sessions.all() {
		_ = c.Close() // always nil
	}
	select {
	case <-s.idle:
		s.awaitGoodbyes(ctx)
		return s.Close()
	case <-ctx.Done():
		return errors.Join(context.Cause(ctx), s.Close())
	}
}

// awaitGoodbyes gives clients a little time to take what was sent. A WebSocket that is closed when its client has just
// sent something takes back what the client has not taken yet.
func (s *Server) awaitGoodbyes(ctx context.Context) {
	limit := time.NewTimer(s.goodbye)
	defer limit.Stop()
	select {
	case <-s.driver.Idle():
	case <-limit.C:
	case <-ctx.Done():
	}
}

// Drain refuses new connections from now on, with status 503; those that are open go on.
//
// Differs from Node: there is none.
func (s *Server) Drain() { s.refuseNew() }

// refuseNew: what is registered before it returns is among the sessions, nothing is registered later.
func (s *Server) refuseNew() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closing = true
	s.signalIdle()
}

// Close closes everything at once and waits for the goroutines of the server. It must not be called from the handler.
func (s *Server) Close() error {
	s.refuseNew()
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	s.mu.Unlock()
	for _, c := range s.sessions.all() {
		c.end(ReasonForcedClose, errServerClosed)
	}
	if !first {
		<-s.idle
		return nil
	}
	s.wheel.close()
	err := s.driver.Close()
	<-s.idle
	return err
}

func (s *Server) isClosing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing
}
