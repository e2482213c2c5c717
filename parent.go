package sockeye

import (
	"context"
	"errors"
	"regexp"
	"slices"

	"github.com/sockeye-io/sockeye/internal/event"
	"github.com/sockeye-io/sockeye/parser"
)

// Parent is a dynamic namespace: it makes a namespace of its own for each name that clients ask for and it
// accepts, and configures these children. It is safe for concurrent use.
//
// Node: socket.io/lib/parent-namespace.ts ParentNamespace
type Parent struct {
	srv   *Server
	match func(ctx context.Context, name string, auth parser.Arg) error

	listeners  event.Listeners
	middleware event.Functions[func(context.Context, *Socket) error]
	connection event.Functions[func(context.Context, *Socket)]
}

var errNoMatch = errors.New("sockeye: no such namespace")

// OfRegexp makes a dynamic namespace for the names that re matches. The first parent that accepts a name is
// asked, in the order in which they were made; names of namespaces that exist never come to a parent.
//
// Node: socket.io/lib/index.ts of
func (s *Server) OfRegexp(re *regexp.Regexp) *Parent {
	return s.addParent(func(_ context.Context, name string, _ parser.Arg) error {
		if !re.MatchString(name) {
			return errNoMatch
		}
		return nil
	})
}

// OfFunc makes a dynamic namespace for the names for which f returns nil. auth is what the client sent. f may
// block; with an error, which is not reported, or a panic, which is, the next parent is asked. See OfRegexp.
//
// Node: socket.io/lib/index.ts of
func (s *Server) OfFunc(f func(ctx context.Context, name string, auth parser.Arg) error) *Parent {
	return s.addParent(f)
}

func (s *Server) addParent(match func(ctx context.Context, name string, auth parser.Arg) error) *Parent {
	p := &Parent{srv: s, match: match}
	s.mu.Lock()
	s.parents = append(slices.Clip(s.parents), p)
	s.mu.Unlock()
	return p
}

// namespaceFor finds the namespace that a client asks for, or makes it as the child of a parent. nil: there is none.
func (s *Server) namespaceFor(ctx context.Context, name string, auth parser.Arg, claim *Socket) *Namespace {
	if !validNamespace(name) {
		return nil
	}
	if n := s.lookup(name, claim); n != nil {
		return n
	}
	s.mu.RLock()
	parents := s.parents
	s.mu.RUnlock()
	for _, p := range parents {
		if !p.accepts(ctx, name, auth) {
			continue
		}
		n, err := s.open(name, p, claim)
		if err == nil {
			err = n.failed
		}
		if err != nil {
			s.report(ctx, err)
			return nil
		}
		return n
	}
	return nil
}

func (p *Parent) accepts(ctx context.Context, name string, auth parser.Arg) bool {
	var no error
	err := p.srv.guard("function of a dynamic namespace", func() { no = p.match(ctx, name, auth) })
	if err != nil {
		p.srv.report(ctx, err)
	}
	return err == nil && no == nil
}

// Use adds a connection middleware to all children; it comes before their own.
//
// Node: socket.io/lib/namespace.ts use
func (p *Parent) Use(f func(ctx context.Context, s *Socket) error) { p.middleware.Add(f) }

// OnConnection adds a function that is told of each new socket of every child.
//
// Node: the connection event
func (p *Parent) OnConnection(f func(ctx context.Context, s *Socket)) { p.connection.Add(f) }

// On adds a handler for an event of every socket of every child; it comes before their own.
//
// Differs from Node: there handlers belong to a socket.
func (p *Parent) On(event string, h Handler) (off func()) { return p.listeners.AddOn(event, h) }

// OnAny adds a handler for every event of every socket of every child.
//
// Node: socket.io/lib/socket.ts onAny
func (p *Parent) OnAny(h Handler) (off func()) { return p.listeners.AddAny(h) }

// UseEvent wraps the handlers of every socket of every child.
//
// Node: socket.io/lib/socket.ts use
func (p *Parent) UseEvent(f func(next Handler) Handler) { p.listeners.AddUse(f) }

// Namespaces gives the children that exist on this server.
func (p *Parent) Namespaces() []*Namespace {
	var children []*Namespace
	for _, n := range p.srv.opened() {
		if n.parent == p {
			children = append(children, n)
		}
	}
	return children
}

// Emit sends an event to every socket of the children that exist on this server, through the adapter of each.
//
// Node: socket.io/lib/parent-namespace.ts emit
func (p *Parent) Emit(event string, args ...any) error {
	return p.EmitContext(context.Background(), event, args...)
}

// EmitContext is Emit that waits until the adapter has accepted the event for each child.
//
// Node: socket.io/lib/parent-namespace.ts emit
func (p *Parent) EmitContext(ctx context.Context, name string, args ...any) error {
	if err := checkEvent(name); err != nil {
		return err
	}
	var errs error
	for _, n := range p.Namespaces() {
		errs = event.Join(errs, n.EmitContext(ctx, name, args...))
	}
	return errs
}
