package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/front"
	"github.com/sockeye-io/sockeye/relay"
)

const (
	headerBytes = 16 << 10

	// writeTime is how long the answer to a request may take, with the time of its handler. Polls set their own.
	writeTime = 2 * time.Minute
)

// server is one server of "serve" while it runs.
type server struct {
	in      invocation
	o       options
	log     *slog.Logger
	cluster cluster

	certificate *front.Certificate // nil without TLS
	listener    net.Listener
	app         *relay.Server
	parts
	draining atomic.Bool
	others   sync.WaitGroup // goroutines that end with the server
}

// config is that of the Socket.IO server beneath.
func (s *server) config() sockeye.Config {
	c := s.o.config()
	if len(s.o.proxies) > 0 {
		c.TrustProxy = func(*http.Request) bool { return true } // what strangers claim is taken away before
	}
	return c
}

func (s *server) openCertificate() error {
	if s.o.tlsCert == "" {
		return nil
	}
	c, err := front.OpenCertificate(s.o.tlsCert, s.o.tlsKey)
	if err != nil {
		return usagef("tls: %w", plain(err))
	}
	s.certificate = c
	return nil
}

// url is the address for a browser on this machine.
func (s *server) url() string {
	addr := s.listener.Addr()
	if addr.Network() == "unix" {
		return "unix:" + addr.String()
	}
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return addr.String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	scheme := "http"
	if s.certificate != nil {
		scheme = "https"
	}
	base, _ := front.BasePath(s.o.basePath) // checked
	return scheme + "://" + net.JoinHostPort(host, port) + base + "/"
}

// handler is all that is served.
func (s *server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /readyz", s.ready)
	rest := front.Timely(s.app, "/socket.io/")
	if s.ui != nil && s.o.admin.addr == "" {
		mux.Handle("/admin-ui/", http.StripPrefix("/admin-ui", s.ui))
	}
	inner := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/readyz" || s.ui != nil && strings.HasPrefix(r.URL.Path, "/admin-ui/") { // the mux would clean the paths of all others
			mux.ServeHTTP(w, r)
			return
		}
		rest.ServeHTTP(w, r)
	})
	base, _ := front.BasePath(s.o.basePath) // checked
	h := front.Logged(front.Below(base, inner, "/readyz", "/healthz"), s.log)
	proxies, err := front.ParseProxies(s.o.proxies)
	if err != nil { // checked
		return h
	}
	var once sync.Once
	proxies.Stranger = func(peer string) {
		once.Do(func() {
			s.log.Warn("a request has X-Forwarded-For and is not believed: if a proxy of yours is there, add it to trusted-proxies",
				slog.String("peer", peer))
		})
	}
	return proxies.Wrap(h)
}

// ready answers GET /readyz: 200 while clients should come here.
func (s *server) ready(w http.ResponseWriter, _ *http.Request) {
	status, code := "ready", http.StatusOK
	switch {
	case s.draining.Load():
		status, code = "draining", http.StatusServiceUnavailable
	case s.app.Health() != nil:
		status, code = "degraded", http.StatusServiceUnavailable
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]string{"status": status}) // the client may be gone
}

// httpServer is the server of the listener.
func (s *server) httpServer() *http.Server {
	_, files := s.o.connections()
	gate := &front.Gate{Max: files, PerAddress: s.o.limits.perAddress, Others: s.app.Conns, Exempt: s.exempt()}
	srv := s.newHTTP(s.handler())
	srv.ConnState = gate.ConnState
	return srv
}

// newHTTP is a server with the limits of slow requests.
func (s *server) newHTTP(h http.Handler) *http.Server {
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: s.o.limits.header,
		WriteTimeout:      writeTime,
		IdleTimeout:       s.o.limits.idle,
		MaxHeaderBytes:    headerBytes,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		// A WebSocket takes a connection over, which HTTP/2 has no way for that browsers use with every server.
		Protocols: new(http.Protocols),
	}
	srv.Protocols.SetHTTP1(true)
	return srv
}

// exempt are peers whose plain HTTP connections are not counted by address: proxies, known or on this machine.
func (s *server) exempt() func(addr string) bool {
	proxies, err := front.ParseProxies(s.o.proxies)
	return func(addr string) bool {
		host, _, _ := net.SplitHostPort(addr)
		ip := net.ParseIP(host)
		return ip == nil || ip.IsLoopback() || err == nil && proxies.Trusts(addr)
	}
}

// run serves until ctx ends, then lets the clients go in order.
func (s *server) run(ctx context.Context) error {
	srv := s.httpServer()
	l := s.listener
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	if s.certificate != nil {
		l = tls.NewListener(l, s.certificate.Config())
		s.watchCertificate(background)
	}
	served := make(chan error, 1+len(s.sides))
	s.others.Go(func() { listen(srv, l, served) }) // ends when drain has closed l
	for _, sd := range s.sides {
		s.others.Go(func() { listen(sd.srv, sd.l, served) }) // ends when closeParts has closed it
	}
	if s.in.listening != nil {
		s.in.listening(s.listener.Addr().String())
	}

	var failed error
	select {
	case failed = <-served:
	case <-ctx.Done():
	}
	err := s.drain(ctx, srv)
	err = errors.Join(failed, err, s.closeApp(), s.closeParts())
	stop()
	s.others.Wait()
	close(served)
	for fault := range served {
		err = errors.Join(err, fault)
	}
	return err
}

// closeApp closes the application, after what watches it.
func (s *server) closeApp() error {
	return errors.Join(s.closeWatchers(), s.app.Close())
}

// closeWatchers closes what needs the application, and the Redis that it closes. More than once is no fault.
func (s *server) closeWatchers() error {
	var errs []error
	if s.admin != nil {
		errs = append(errs, s.admin.Close())
	}
	if p := s.presence.Presence; p != nil {
		if err := p.Close(); err != nil { // what it leaves behind expires
			s.log.Warn("presence", slog.Any("error", err))
		}
	}
	return errors.Join(errs...)
}

// drain lets the clients go: no new ones come, those that are there are told to connect again once their handlers have
// run, and what remains is cut off when time is up.
func (s *server) drain(ctx context.Context, srv *http.Server) error {
	s.draining.Store(true)
	fmt.Fprintln(s.in.stdout, "Sockeye is shutting down")
	if s.o.drainDelay > 0 && s.in.drain == 0 {
		<-time.After(s.o.drainDelay) // a second signal ends the process
	}
	wait := s.o.drain
	if s.in.drain > 0 {
		wait = s.in.drain
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), wait)
	defer cancel()
	// Long polls end when app lets their sessions go, which srv.Shutdown waits for.
	_ = s.listener.Close() // srv would close it too, but later
	err := s.inTime(s.app.Drain(drain, wait/2))
	err = errors.Join(err, s.closeWatchers(), s.inTime(s.app.Shutdown(drain)))
	// srv may not have noticed yet that its listener is closed, and close it again.
	if herr := unlessClosed(srv.Shutdown(drain)); herr != nil {
		err = errors.Join(err, s.inTime(herr), unlessClosed(srv.Close()))
	}
	return err
}

// inTime logs that time was up, which is no fault: clients that did not take leave are cut off.
func (s *server) inTime(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		s.log.Info("clients were cut off that did not take leave in time")
		return nil
	}
	return err
}

// unlessClosed forgets that a listener was closed already.
func unlessClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// listen serves on l until that is closed.
func listen(srv *http.Server, l net.Listener, done chan<- error) {
	err := srv.Serve(l)
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, net.ErrClosed) {
		err = nil
	}
	done <- err
}

// watchCertificate looks for new certificates until ctx ends.
func (s *server) watchCertificate(ctx context.Context) {
	hup := make(chan os.Signal, 1)
	if hupIsThere {
		signal.Notify(hup, syscall.SIGHUP)
	}
	s.others.Go(func() { // ends when ctx does
		defer signal.Stop(hup)
		s.certificate.Watch(ctx, s.o.tlsReload, hup, s.log)
	})
}

// warnOfRedis says at the start what strangers could reach, or read on the way (T24).
func warnOfRedis(ctx context.Context, log *slog.Logger, f redisFlags) {
	for _, url := range []string{f.url, f.sub} {
		scheme, rest, ok := strings.Cut(url, "://")
		if !ok || strings.HasPrefix(scheme, "unix") {
			continue
		}
		authority, _, _ := strings.Cut(rest, "/")
		userinfo, hosts, has := "", authority, false
		if i := strings.LastIndexByte(authority, '@'); i >= 0 {
			userinfo, hosts, has = authority[:i], authority[i+1:], true
		}
		if !remote(ctx, hosts) {
			continue
		}
		attr := slog.String("redis", hosts)
		user, password, _ := strings.Cut(userinfo, ":")
		switch {
		case !has || password == "":
			log.Warn("Redis has no password here: whoever reaches it reads and forges all messages", attr)
		case user == "" || user == "default":
			log.Warn("the default user of Redis may do everything: make one for this server, as the documentation shows", attr)
		}
		if !strings.HasPrefix(scheme, "rediss") {
			log.Warn("what is said to Redis is not encrypted: use rediss in place of redis", attr)
		}
	}
}

// remote tells whether one of the hosts of a URL may be another machine.
func remote(ctx context.Context, hosts string) bool {
	for host := range strings.SplitSeq(hosts, ",") {
		name := host
		if h, _, err := net.SplitHostPort(host); err == nil {
			name = h
		}
		if here, err := onlyHere(ctx, strings.Trim(name, "[]")); err != nil || !here {
			return true
		}
	}
	return false
}
