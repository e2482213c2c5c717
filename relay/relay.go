package relay

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/adapter"
)

// Config configures a [Server]. The zero value serves in memory.
type Config struct {
	// Adapter connects several servers; nil: this one stands alone.
	Adapter adapter.Cluster

	// Origin lists origins that may connect besides the page's own; see [sockeye.OriginPolicy].
	Origin sockeye.OriginPolicy

	// ClientDir is the directory "dist" of the npm package socket.io-client, whose bundles are served under
	// /socket.io/. Empty: the page loads the client from the official CDN.
	ClientDir string

	// Logger, nil = silent.
	Logger *slog.Logger

	// DenyEIO3 refuses clients of Socket.IO 2.x.
	DenyEIO3 bool

	// IO is the rest of the configuration of the Socket.IO server beneath: limits, heartbeats, recovery. Its Path, AllowEIO3
	// and what has a field of its own here are not looked at.
	IO sockeye.Config
}

// startTime is how long the adapter may take to connect: less than the 5 s in which an operator wants to know.
const startTime = 4 * time.Second

// bodyTime is how long the body of a request may take which the engine does not read, as it refuses it.
const bodyTime = 10 * time.Second

// lookups is how many requests for "who is here" run at a time; more are refused.
const lookups = 16

// Server is an http.Handler. It is safe for concurrent use.
type Server struct {
	io        *sockeye.Server
	mux       *http.ServeMux
	page      *page
	client    *client
	clustered bool
	lookups   chan struct{}
}

// New connects to the cluster and returns a running server. Errors: a ClientDir without the client, and those
// of [sockeye.New].
func New(c Config) (*Server, error) {
	s := &Server{
		mux:       http.NewServeMux(),
		clustered: c.Adapter != nil,
		lookups:   make(chan struct{}, lookups),
	}
	var err error
	if s.client, err = loadClient(c.ClientDir); err != nil {
		return nil, err
	}
	if s.page, err = newPage(c.ClientDir == ""); err != nil {
		return nil, err
	}
	io := c.IO
	io.Path, io.AllowEIO3 = "", !c.DenyEIO3
	io.Adapter, io.Origin, io.Logger = c.Adapter, c.Origin, c.Logger
	io.StartTimeout = cmp.Or(io.StartTimeout, startTime)
	s.io, err = sockeye.New(io)
	if err != nil {
		return nil, err
	}
	s.events()
	s.routes()
	return s, nil
}

func (s *Server) routes() {
	s.mux.Handle("GET /{$}", s.page)
	s.mux.Handle("GET /page/", s.page)
	s.mux.HandleFunc("GET /healthz", s.health)
}

// ServeHTTP serves the page, the client, the health and, under /socket.io/, Socket.IO.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// The engine sees the path as it came: the mux would redirect /socket.io/../ and the like.
	if strings.HasPrefix(r.URL.Path, "/socket.io/") {
		s.socketIO(w, r)
		return
	}
	s.mux.ServeHTTP(w, r)
}

func (s *Server) socketIO(w http.ResponseWriter, r *http.Request) {
	if s.client.serve(w, r) {
		return
	}
	if r.Method != http.MethodPost {
		s.io.ServeHTTP(w, r)
		return
	}
	// A deadline for the whole server would end long polls too.
	c := http.NewResponseController(w)
	if err := c.SetReadDeadline(time.Now().Add(bodyTime)); err == nil {
		defer func() { _ = c.SetReadDeadline(time.Time{}) }() // fails only on a connection that is gone
	}
	s.io.ServeHTTP(w, r)
}

// Health is nil, or says what is degraded: see [sockeye.Server.Health].
func (s *Server) Health() error { return s.io.Health() }

// Conns counts the connections of clients.
func (s *Server) Conns() int { return s.io.Conns() }

// Drain lets the clients go to other servers: see [sockeye.Server.Drain].
func (s *Server) Drain(ctx context.Context, spread time.Duration) error { return s.io.Drain(ctx, spread) }

// Shutdown refuses new connections and closes the open ones, at most until ctx ends.
func (s *Server) Shutdown(ctx context.Context) error { return s.io.Shutdown(ctx) }

// Close closes everything at once.
func (s *Server) Close() error { return s.io.Close() }
