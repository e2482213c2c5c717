package sockeye

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/engineio"
	"github.com/sockeye-io/sockeye/internal/event"
	"github.com/sockeye-io/sockeye/internal/ring"
	"github.com/sockeye-io/sockeye/parser"
)

// Server is an http.Handler that serves Socket.IO clients, and speaks for its main namespace "/". It is
// safe for concurrent use.
//
// Node: socket.io/lib/index.ts Server
type Server struct {
	cfg     Config
	eng     *engineio.Server
	cluster adapter.Cluster
	pool    *ring.Pool
	main    *Namespace

	watchers atomic.Pointer[watchers] // nil while nobody observes
	counters counters

	describers event.Functions[func(*Socket, parser.Arg) parser.Arg]

	sameCodec bool // whether packets are the same for clients of 2.x

	pending atomic.Int64 // connections that have joined no namespace; counted where Admission.Pending is set

	mu         sync.RWMutex
	namespaces map[string]*Namespace
	parents    []*Parent
	closing    chan struct{} // closed when a Close or Shutdown has begun

	closeMu sync.Mutex // serializes Close and Shutdown
	closed  bool
}

// New checks c, reporting all faults, connects its adapter and returns a running server, which must be closed.
func New(c Config) (*Server, error) {
	sameCodec := c.Parser == nil
	c = withDefaults(c)
	if err := c.validate(); err != nil {
		return nil, err
	}
	s := &Server{
		cfg: c, cluster: c.Adapter, pool: ring.NewPool(), sameCodec: sameCodec,
		namespaces: map[string]*Namespace{}, closing: make(chan struct{}),
	}
	eng, err := engineio.NewServer(s.cfg.engine(s), (*engineHandler)(s))
	if err != nil {
		return nil, fmt.Errorf("sockeye: config: %w", err)
	}
	s.eng = eng
	if err := s.startCluster(); err != nil {
		return nil, errors.Join(err, eng.Close())
	}
	s.main, err = s.open("/", nil, nil)
	if err == nil {
		err = s.main.failed
	}
	if err != nil {
		return nil, errors.Join(err, s.cluster.Close(), eng.Close())
	}
	return s, nil
}

func (s *Server) startCluster() error {
	if r := s.cfg.Recovery; r != nil {
		rc, _ := s.cluster.(adapter.RecoveryCluster) // validate has seen that it is one
		if err := rc.EnableRecovery(adapter.RecoveryOptions{
			MaxDisconnection: r.MaxDisconnection, OwnSessions: r.SkipMiddlewares,
		}); err != nil {
			return fmt.Errorf("sockeye: enable recovery: %w", err)
		}
	}
	ctx := context.Background()
	if t := s.cfg.StartTimeout; t > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, t)
		defer cancel()
	}
	if err := s.cluster.Start(ctx); err != nil {
		return errors.Join(fmt.Errorf("sockeye: start adapter: %w", err), s.cluster.Close())
	}
	return nil
}

// ServeHTTP answers the requests of clients: those under Config.Path.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.eng.ServeHTTP(w, r) }

// Of gives the namespace of that name, which it makes if there is none yet. A missing slash in front is
// added. A namespace that cannot be opened (ErrNamespaceName, or an error of the adapter) is reported to the
// error hook; its methods return the error.
//
// Node: socket.io/lib/index.ts of
func (s *Server) Of(name string) *Namespace {
	if name == "" || name[0] != '/' {
		name = "/" + name
	}
	n, err := s.open(name, nil, nil)
	if err != nil {
		return s.unopened(name, err)
	}
	if n.failed != nil {
		s.report(context.Background(), n.failed)
	}
	return n
}

// Namespaces iterates over the namespaces that are open when the iteration starts, the main one first.
func (s *Server) Namespaces() iter.Seq[*Namespace] {
	return func(yield func(*Namespace) bool) {
		for _, n := range s.opened() {
			if !yield(n) {
				return
			}
		}
	}
}

func (s *Server) opened() []*Namespace {
	s.mu.RLock()
	all := make([]*Namespace, 0, len(s.namespaces))
	for _, n := range s.namespaces {
		if n.isReady() {
			all = append(all, n)
		}
	}
	s.mu.RUnlock()
	slices.SortFunc(all, func(a, b *Namespace) int {
		if a.name < b.name {
			return -1
		}
		return 1
	})
	return all
}

// Health is nil, or says what is degraded: ErrClosed after Close, or an error of the adapter.
func (s *Server) Health() error {
	if s.isClosing() {
		return ErrClosed
	}
	return s.cluster.Health()
}

// Conns counts the connections of clients, which may have any number of sockets each.
//
// Node: io.engine.clientsCount
func (s *Server) Conns() int { return s.eng.Conns() }

func (s *Server) isClosing() bool {
	select {
	case <-s.closing:
		return true
	default:
		return false
	}
}

// Shutdown disconnects all sockets with ReasonShuttingDown, sends what is queued, and waits for the handlers, at
// most until ctx ends: then it closes at once and returns the cause. It may be called by a handler, which
// it does not wait for then, nor for any other. Calls after the first wait for it.
//
// Node: socket.io/lib/index.ts close
func (s *Server) Shutdown(ctx context.Context) error {
	return s.close(ctx, func() error { return s.eng.Shutdown(ctx) })
}

// Close disconnects all sockets with ReasonShuttingDown at once and waits for the handlers, whose contexts it
// has ended. It may be called by a handler, which it does not wait for then, nor for any other.
//
// Node: socket.io/lib/index.ts close
func (s *Server) Close() error {
	return s.close(context.Background(), s.eng.Close)
}

func (s *Server) close(ctx context.Context, engine func() error) error {
	inside := ring.InWorker()
	s.mu.Lock()
	if !s.isClosing() {
		close(s.closing)
	}
	s.mu.Unlock()
	if inside && !s.closeMu.TryLock() {
		return nil // the one who closes may be waiting for us
	}
	if !inside {
		s.closeMu.Lock()
	}
	defer s.closeMu.Unlock()
	if s.closed {
		if !inside {
			s.pool.Close()
		}
		return nil
	}
	for _, n := range s.opened() {
		for _, m := range n.index.Collect(adapter.Options{}) {
			socketOf(m).end(ReasonShuttingDown)
		}
	}
	err := engine()
	if !inside {
		select {
		case <-s.pool.Quiet():
		case <-ctx.Done():
			err = errors.Join(context.Cause(ctx), s.eng.Close())
		}
	}
	errs := []error{err}
	for _, n := range s.opened() {
		errs = append(errs, n.closeAdapter())
	}
	errs = append(errs, s.cluster.Close())
	s.pool.Stop()
	if !inside && ctx.Err() == nil {
		s.pool.Close()
	}
	s.closed = true
	return errors.Join(errs...)
}

// Use adds a connection middleware to the main namespace.
func (s *Server) Use(f func(ctx context.Context, s *Socket) error) { s.main.Use(f) }

// OnConnection adds a function that is told of each new socket of the main namespace.
func (s *Server) OnConnection(f func(ctx context.Context, s *Socket)) { s.main.OnConnection(f) }

// On adds a handler for the sockets of the main namespace.
func (s *Server) On(event string, h Handler) (off func()) { return s.main.On(event, h) }

// To selects the sockets of the main namespace in any of rooms.
func (s *Server) To(rooms ...string) Broadcast { return s.main.To(rooms...) }

// Except selects the sockets of the main namespace that are in none of rooms.
func (s *Server) Except(rooms ...string) Broadcast { return s.main.Except(rooms...) }

// Emit sends an event to all sockets of the main namespace.
func (s *Server) Emit(event string, args ...any) error { return s.main.Emit(event, args...) }

// EmitContext is Emit that waits until the adapter has accepted the event.
func (s *Server) EmitContext(ctx context.Context, event string, args ...any) error {
	return s.main.EmitContext(ctx, event, args...)
}

// ServerSideEmit sends an event to the other servers of the cluster, for the listeners of OnServerSide of
// their main namespaces.
func (s *Server) ServerSideEmit(ctx context.Context, event string, args ...any) error {
	return s.main.ServerSideEmit(ctx, event, args...)
}
