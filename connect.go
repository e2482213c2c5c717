package sockeye

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"

	"github.com/sockeye-io/sockeye/engineio"
	"github.com/sockeye-io/sockeye/parser"
)

// connectTask is one CONNECT, from its packet to the handlers of the new socket.
type connectTask struct {
	c    *conn
	name string
	auth parser.Arg
	s    *Socket
}

// maxRejoins is how many sockets may leave a connection whose client does not read before CONNECT is refused it:
// the answers wait beyond the bounds of the send queue.
const maxRejoins = 8

// connect begins to answer a CONNECT. It is called by the goroutine that reads.
//
// Differs from Node: a second CONNECT to a namespace closes the connection also while the first is not answered;
// the namespaces of a connection are bounded, and so is what waits for a client that does not read the answers.
func (c *conn) connect(name string, auth parser.Arg) {
	s := &Socket{conn: c, working: true}
	if !auth.IsZero() {
		s.extra().auth = auth
	}
	overfull := c.overfull()
	c.mu.Lock()
	if c.closed.Load() {
		c.mu.Unlock()
		return
	}
	if !overfull {
		c.left = 0
	}
	hasty := c.left > maxRejoins
	twice := slices.ContainsFunc(c.pending, func(a attempt) bool { return a.name == name })
	limit := c.srv.cfg.Limits.Namespaces
	full := len(c.sockets)+len(c.pending) >= limit || int(c.live.Load())/2 >= limit // those that end count a while
	if !twice && !hasty && !full {
		c.pending = append(c.pending, attempt{name, s})
		c.live.Add(1)
	}
	c.mu.Unlock()
	switch {
	case twice:
		c.violation("second CONNECT", nil)
	case hasty:
		c.violation("CONNECT without reading", nil)
	case full:
		c.refuse(name, &ConnectError{Message: "Too many namespaces"})
	default:
		c.srv.pool.Go(&connectTask{c, name, auth, s})
	}
}

// Run implements ring.Task. It is the worker of the socket until that is connected, so that events which come
// early wait for the handlers of OnConnection.
func (t *connectTask) Run() {
	c, s := t.c, t.s
	ctx := c.requestContext(s)
	n := c.srv.namespaceFor(withoutSocket{ctx}, t.name, t.auth, s)
	if n == nil {
		c.forget(s)
		c.live.Add(-1)
		s.end(ReasonServerDisconnect)
		c.refuse(t.name, errInvalidNamespace)
		return
	}
	s.nsp = n
	s.id = c.newID(n)
	err := t.middleware(ctx)
	if err != nil || !t.join() {
		c.forget(s)
		c.live.Add(-1)
		s.end(ReasonServerDisconnect)
		n.index.Remove(s.member()) // the rooms that a middleware let it join
		if err != nil {
			c.refuse(t.name, err)
		}
		n.release()
		return
	}
	if l := c.srv.debugging(); l != nil {
		l.LogAttrs(quiet, slog.LevelDebug, "socket connected", append(s.attrs(), slog.Bool("recovered", s.Recovered()))...)
	}
	s.track()
	c.srv.counters.connected.Add(1)
	s.observed((*Observer).onConnected)
	s.tellConnected()
	(*socketTask)(s).Run()
}

// errInvalidNamespace is what the client gets for a namespace that does not exist. Clients of 2.x get the same
// object, unlike other errors.
var errInvalidNamespace = &ConnectError{Message: "Invalid namespace"}

// middleware asks the connection middleware. A session that can be recovered may be spared it.
func (t *connectTask) middleware(ctx context.Context) error {
	s := t.s
	if s.nsp.srv.cfg.Recovery != nil && !s.conn.v4 {
		s.extra().pid = randomID()
		if s.nsp.srv.cfg.Recovery.SkipMiddlewares && t.restore() == nil {
			return nil
		}
	}
	var chain []*func(context.Context, *Socket) error
	if p := s.nsp.parent; p != nil {
		chain = append(chain, p.middleware.All()...)
	}
	for _, f := range append(chain, s.nsp.middleware.All()...) {
		if err := s.ask(ctx, *f); err != nil {
			return err
		}
		if s.gone.Load() {
			return nil // join finds out
		}
	}
	return nil
}

// ask calls one middleware. A panic is reported, and the client learns nothing of it.
func (s *Socket) ask(ctx context.Context, f func(context.Context, *Socket) error) error {
	var err error
	if p := s.nsp.srv.guard("connection middleware", func() { err = f(ctx, s) }); p != nil {
		s.nsp.srv.report(ctx, p)
		return &ConnectError{Message: "Internal error"}
	}
	return err
}

// join makes the socket one of its namespace and tells the client. It is false if the connection has ended.
func (t *connectTask) join() bool {
	c, s := t.c, t.s
	if s.recovered.Load() { // restore has done it
		return true
	}
	switch err := t.restore(); {
	case err == nil:
		return true
	case !errors.Is(err, errNoSession):
		c.srv.counters.restored(err)
	}
	if !c.adopt(s) {
		return false
	}
	s.nsp.index.Add(s.member())
	s.welcome()
	return true
}

// adopt makes s one of the sockets of the connection.
func (c *conn) adopt(s *Socket) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed.Load() || c.closing {
		return false
	}
	s.mu.Lock()
	ended := s.reason != ""
	s.joined = !ended
	s.mu.Unlock()
	if ended { // by a middleware
		return false
	}
	c.drop(s)
	c.sockets = append(c.sockets, s)
	c.begun()
	c.request = nil
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
	return true
}

// forget ends an attempt.
func (c *conn) forget(s *Socket) {
	c.mu.Lock()
	c.drop(s)
	c.mu.Unlock()
}

// drop is called under mu.
func (c *conn) drop(s *Socket) {
	c.pending = slices.DeleteFunc(c.pending, func(a attempt) bool { return a.s == s })
	if len(c.pending) == 0 {
		c.pending = nil
	}
}

// welcome tells the client that it is connected, and then what was broadcast since it is in the index. Errors mean
// that the connection has ended.
//
// Differs from Node: a broadcast may come before CONNECT there.
func (s *Socket) welcome() {
	p := parser.Packet{Type: parser.Connect, Namespace: s.nsp.name}
	if !s.conn.v4 {
		b := append(make([]byte, 0, 64), `{"sid":"`...)
		b = append(b, s.id...)
		if e := s.more.Load(); e != nil && e.pid != "" {
			b = append(b, `","pid":"`...)
			b = append(b, e.pid...)
		}
		p.Data = parser.RawJSON(append(b, `"}`...))
	}
	f, _ := s.conn.srv.cfg.Parser.Encode(&p, s.conn.protocol()) // it is text that we have made
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.conn.sendFrames(f, engineio.SendOptions{Force: true})
	if e := s.more.Load(); e != nil {
		for _, d := range e.held {
			d.send(s)
		}
		e.held = nil
	}
	s.connected.Store(true)
	if s.dismissed {
		_ = s.sendDisconnect()
	}
}

func (s *Socket) tellConnected() {
	ctx := (*socketContext)(s)
	var fs []*func(context.Context, *Socket)
	if p := s.nsp.parent; p != nil {
		fs = append(fs, p.connection.All()...)
	}
	for _, f := range append(fs, s.nsp.connection.All()...) {
		if err := s.nsp.srv.guard("connection listener", func() { (*f)(ctx, s) }); err != nil {
			s.nsp.srv.report(ctx, err)
		}
	}
}

// refuse answers a CONNECT with an error, in the form that the client's protocol has for it.
//
// Protocol: socket.io v5, "Connection to a namespace"
func (c *conn) refuse(name string, err error) {
	c.srv.counters.refused.Add(1)
	ce := &ConnectError{Message: err.Error()}
	errors.As(err, &ce)
	p := parser.Packet{Type: parser.ConnectError, Namespace: name}
	switch {
	case !c.v4 || ce == errInvalidNamespace:
		p.Data = parser.Value(refusal{ce.Message, ce.Data})
	case ce.Data != nil:
		p.Data = parser.Value(ce.Data)
	default:
		p.Data = parser.Value(ce.Message)
	}
	err = c.send(&p, false)
	if err != nil && !errors.Is(err, ErrClosed) && !errors.Is(err, ErrQueueFull) {
		c.srv.report(context.Background(), err) // Data cannot be encoded
		p.Data = parser.Value(refusal{ce.Message, nil})
		_ = c.send(&p, false) // it is text alone
	}
}

type refusal struct {
	Message string `json:"message"`
	Data    any    `json:"data,omitempty"`
}

var _ json.Marshaler = parser.Arg{} // Data may be one

// newID gives the id of a new socket. Clients of 2.x compute theirs.
func (c *conn) newID(n *Namespace) string {
	switch {
	case !c.v4:
		return randomID()
	case n.name == "/":
		return c.eng.ID()
	}
	return n.name + "#" + c.eng.ID()
}

// randomID gives 20 characters that cannot be guessed. Other servers tell ids from rooms by their length.
func randomID() string {
	var b [15]byte
	_, _ = rand.Read(b[:]) // it never returns an error
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// requestContext gives the context of a socket with the request that opened its connection.
func (c *conn) requestContext(s *Socket) context.Context {
	c.mu.Lock()
	r := c.request
	c.mu.Unlock()
	if r == nil {
		r = rebuild(c.eng)
	}
	return context.WithValue((*socketContext)(s), requestKey{}, r)
}

// withoutSocket hides a socket that has no namespace yet.
type withoutSocket struct{ context.Context }

// Value implements context.Context.
func (c withoutSocket) Value(key any) any {
	if _, ok := key.(socketKey); ok {
		return nil
	}
	return c.Context.Value(key)
}

var _ engineio.Handler = (*engineHandler)(nil)
