package relay

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/relay/identity"
	"github.com/sockeye-io/sockeye/relay/rest"
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

	// Identity says who the clients are. nil: nobody is asked, which the log says.
	Identity identity.Authenticator

	// Warning is how long before the end of a token its client is told, so that it can bring another one. Default 1 min.
	Warning time.Duration

	// Rooms say what clients may do in which rooms.
	Rooms Rules

	// Name is how the page calls this server; "" makes a name at random. Clients get to see it.
	Name string

	// Peers gives the other servers of the cluster that browsers can open, which the page offers for a second tab; clients
	// get to see them. It must not block, and is called concurrently. nil: none.
	Peers func() []Peer

	// REST lets other programs push events and ask who is there, by HTTP under /v1/. Without tokens it is off. Its Logger
	// is that of this Config if it is nil.
	REST rest.Config

	// Setup is told of the Socket.IO server before anything is added to it, so that what it adds comes first: connection
	// middleware such as sessions of HTTP, metrics, other namespaces. nil: nothing is added. An error is that of New.
	Setup func(io *sockeye.Server) error

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
	recovery  bool
	name      string
	peers     func() []Peer
	lookups   chan struct{}
	identity  identity.Authenticator
	record    rest.Presence // of who is online; nil where there is none
	warning   time.Duration
	rules     *rules
	rest      *rest.Handler // nil where it is off
	log       *slog.Logger
}

// New connects to the cluster and returns a running server. Errors: a ClientDir without the client, rules and a REST
// interface that are not as they should be, and those of [sockeye.New].
func New(c Config) (*Server, error) {
	s := &Server{
		mux:       http.NewServeMux(),
		clustered: c.Adapter != nil,
		recovery:  c.IO.Recovery != nil,
		name:      cmp.Or(c.Name, someName()),
		peers:     c.Peers,
		lookups:   make(chan struct{}, lookups),
		identity:  c.Identity,
		record:    c.REST.Presence,
		warning:   c.Warning,
		log:       c.Logger,
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.warning <= 0 {
		s.warning = defaultWarning
	}
	var err error
	if s.rules, err = compile(c.Rooms, c.Identity == nil); err != nil {
		return nil, err
	}
	if s.client, err = loadClient(c.ClientDir); err != nil {
		return nil, err
	}
	if s.page, err = newPage(c.ClientDir == ""); err != nil {
		return nil, err
	}
	if s.io, err = sockeye.New(c.server()); err != nil {
		return nil, err
	}
	if err := s.setUp(c); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// server is the configuration of the Socket.IO server.
func (c Config) server() sockeye.Config {
	io := c.IO
	io.Path, io.AllowEIO3 = "", !c.DenyEIO3
	io.Adapter, io.Origin, io.Logger = c.Adapter, c.Origin, c.Logger
	io.StartTimeout = cmp.Or(io.StartTimeout, startTime)
	return io
}

// setUp adds everything to the Socket.IO server.
func (s *Server) setUp(c Config) error {
	if c.Setup != nil {
		if err := c.Setup(s.io); err != nil {
			return err
		}
	}
	if s.identity == nil {
		s.log.Warn("open mode: clients are not asked who they are, and whoever connects may use every room that no rule forbids")
	}
	s.io.Use(s.admit)
	s.io.OnConnection(s.connected)
	s.events()
	if len(c.REST.Tokens) > 0 {
		if c.REST.Logger == nil {
			c.REST.Logger = c.Logger
		}
		var err error
		if s.rest, err = rest.New(s.io, c.REST); err != nil {
			return err
		}
	}
	s.routes()
	return nil
}

func (s *Server) routes() {
	s.mux.Handle("GET /{$}", s.page)
	s.mux.Handle("GET /page/", s.page)
	s.mux.HandleFunc("GET /healthz", s.health)
	if s.rest != nil {
		s.mux.Handle("/v1/", s.rest)
	}
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

// IO is the Socket.IO server beneath.
func (s *Server) IO() *sockeye.Server { return s.io }

// Health is nil, or says what is degraded: see [sockeye.Server.Health].
func (s *Server) Health() error { return s.io.Health() }

// Conns counts the connections of clients.
func (s *Server) Conns() int { return s.io.Conns() }

// Drain lets the clients go to other servers: see [sockeye.Server.Drain].
func (s *Server) Drain(ctx context.Context, spread time.Duration) error {
	return s.io.Drain(ctx, spread)
}

// Shutdown refuses new connections and closes the open ones, at most until ctx ends.
func (s *Server) Shutdown(ctx context.Context) error { return s.io.Shutdown(ctx) }

// Close closes everything at once.
func (s *Server) Close() error { return s.io.Close() }
