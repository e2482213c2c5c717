package httpsession

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye"
)

// Config says how sockets have sessions. The zero value is ready.
type Config struct {
	// Anonymous lets sockets in whose request names no session, or one that has ended, or has a cookie that is not valid. Without
	// it they are refused, all in the same way. A socket keeps the session that it has connected with: the page of somebody who has
	// logged in since connects again.
	Anonymous bool

	// Refusal is what a client without a session gets; nil has the message "unauthorized". One whose session cannot be read, since
	// the store does not answer, gets "session unavailable", also with Anonymous.
	Refusal *sockeye.ConnectError

	// Lazy has a session read when a handler first asks for it instead of before each handler. A logout that nobody tells of is
	// then noticed no earlier than CheckInterval says.
	Lazy bool

	// CheckInterval is how often it is asked which sessions of open sockets have ended; 0 is 15 s, negative never.
	CheckInterval time.Duration

	// TouchInterval is how often an open socket puts off the end of its session; 0 is 1 min, negative never. A session that would
	// end sooner is touched after a third of its time.
	TouchInterval time.Duration

	// Timeout bounds each use of the store; 0 is 5 s, negative is no bound.
	Timeout time.Duration

	// Logger is told when the store cannot be reached; nil is silent.
	Logger *slog.Logger
}

const (
	defaultCheck   = 15 * time.Second
	defaultTouch   = time.Minute
	defaultTimeout = 5 * time.Second
)

// Sessions gives the sockets of namespaces their sessions. It is safe for concurrent use.
type Sessions struct {
	backend Backend
	cfg     Config

	stop context.CancelFunc
	done chan struct{} // closed when the keeper has ended
	wake chan struct{} // a session is to be touched sooner than any before

	mu         sync.Mutex
	namespaces []*sockeye.Namespace
	parents    []*sockeye.Parent
	sessions   map[string]*open // by key
	sockets    map[*sockeye.Socket]*open
	next       time.Time // when the keeper will look
}

// open is a session with sockets on this server.
type open struct {
	ref     Ref
	sockets map[*sockeye.Socket]struct{}
	touchAt time.Time // zero for never
}

// New makes Sessions. Close ends what it starts.
func New(b Backend, c Config) (*Sessions, error) {
	if b == nil {
		return nil, errors.New("httpsession: a Backend is needed")
	}
	c.CheckInterval = defaulted(c.CheckInterval, defaultCheck)
	c.TouchInterval = defaulted(c.TouchInterval, defaultTouch)
	c.Timeout = defaulted(c.Timeout, defaultTimeout)
	if c.Refusal == nil {
		c.Refusal = &sockeye.ConnectError{Message: "unauthorized"}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	ctx, stop := context.WithCancel(context.Background())
	m := &Sessions{
		backend: b, cfg: c, stop: stop, done: make(chan struct{}), wake: make(chan struct{}, 1),
		sessions: make(map[string]*open), sockets: make(map[*sockeye.Socket]*open),
	}
	if e, ok := b.(Ender); ok {
		e.OnEnd(m.told)
	}
	go m.keep(ctx)
	return m, nil
}

func defaulted(d, zero time.Duration) time.Duration {
	if d == 0 {
		return zero
	}
	return d
}

// Close stops looking after sessions and waits until that has ended. Sockets are left as they are; it is to be called after the
// server has been closed. It never gives an error.
func (m *Sessions) Close() error {
	m.stop()
	<-m.done
	return nil
}

// Use gives the sockets of n their sessions: by a connection middleware, an event middleware and a function for connections,
// which come after those that n has already. It is to be called before clients connect.
//
// Node: io.engine.use(session)
func (m *Sessions) Use(n *sockeye.Namespace) {
	m.mu.Lock()
	m.namespaces = append(m.namespaces, n)
	m.mu.Unlock()
	n.Use(m.admit)
	n.OnConnection(m.enter)
	n.UseEvent(m.around)
}

// UseParent is Use for dynamic namespaces. An end that this process hears of disconnects at once those that are open here; in
// others, open on other servers only, it is found within Config.CheckInterval.
func (m *Sessions) UseParent(p *sockeye.Parent) {
	m.mu.Lock()
	m.parents = append(m.parents, p)
	m.mu.Unlock()
	p.Use(m.admit)
	p.OnConnection(m.enter)
	p.UseEvent(m.around)
}

// limit gives ctx with the timeout.
func (m *Sessions) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	if m.cfg.Timeout < 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, m.cfg.Timeout)
}

// admit is the connection middleware.
func (m *Sessions) admit(ctx context.Context, s *sockeye.Socket) error {
	ref, ok := m.backend.Ref(s.Handshake().Headers)
	if ok {
		ctx, cancel := m.limit(ctx)
		defer cancel()
		_, err := m.backend.Load(ctx, ref)
		if err != nil && !errors.Is(err, ErrNoSession) {
			m.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "session cannot be read",
				slog.String("socket", s.ID()), slog.Any("session", ref), slog.Any("error", err))
			return &sockeye.ConnectError{Message: "session unavailable"}
		}
		ok = err == nil
	}
	if !ok && !m.cfg.Anonymous {
		return m.cfg.Refusal
	}
	return nil
}

// enter is told of each new socket, before any of its events. What admit has found is found again here: a socket that was
// recovered may have been spared admit.
func (m *Sessions) enter(ctx context.Context, s *sockeye.Socket) {
	ref, ok := m.backend.Ref(s.Handshake().Headers)
	room := ""
	if ok {
		room = Room(ref.Key)
	}
	if s.Recovered() && belongsElsewhere(s, room) || !ok && !m.cfg.Anonymous {
		_ = s.Disconnect(true) // an error means that it has ended
		return
	}
	if !ok || s.Join(room) != nil { // the same
		return
	}
	o := m.track(s, ref)
	s.OnDisconnect(func(sockeye.Reason) { m.untrack(s) })
	// It is in the room now, and will be told of an end. One that came since admit is found here.
	ctx, cancel := m.limit(ctx)
	defer cancel()
	there, err := m.visit(ctx, o)
	switch {
	case err != nil: // to be tried again
	case !there && m.cfg.Anonymous:
		m.untrack(s)
		_ = s.Leave(room)
	case !there:
		_ = s.Disconnect(true)
	}
}

// belongsElsewhere tells whether a recovered socket was of another session, or of one while now there is none.
func belongsElsewhere(s *sockeye.Socket, room string) bool {
	for _, r := range s.Rooms() {
		if strings.HasPrefix(r, roomPrefix) && r != room {
			return true
		}
	}
	return false
}

// around is the event middleware.
func (m *Sessions) around(next sockeye.Handler) sockeye.Handler {
	return sockeye.HandlerFunc(func(ctx context.Context, msg *sockeye.Message) error {
		s := m.Of(sockeye.SocketFrom(ctx))
		if s == nil {
			return next.ServeEvent(ctx, msg)
		}
		inner := ctx
		if !m.cfg.Lazy {
			var err error
			inner, err = s.Context(ctx)
			if errors.Is(err, ErrNoSession) {
				return nil // its sockets have been disconnected
			} else if err != nil {
				return fmt.Errorf("httpsession: before the handler: %w", err)
			}
		}
		err := next.ServeEvent(context.WithValue(inner, sessionKey{}, s), msg)
		if errSave := s.Save(ctx); errSave != nil && !errors.Is(errSave, ErrNoSession) {
			return errors.Join(err, fmt.Errorf("httpsession: after the handler: %w", errSave))
		}
		return err
	})
}

// Of gives a session of a socket, which is not read yet: for functions of connections, and for goroutines that outlive a handler.
// It is nil for an anonymous socket, for one that has ended, and in connection middleware.
func (m *Sessions) Of(s *sockeye.Socket) *Session {
	m.mu.Lock()
	defer m.mu.Unlock()
	if o := m.sockets[s]; o != nil {
		return &Session{m: m, ref: o.ref, open: true}
	}
	return nil
}

// Request gives the session of a request, such as one that asks for a page, and has read it. Errors: ErrNoSession, those of the
// store.
//
// Node: req.session
func (m *Sessions) Request(r *http.Request) (*Session, error) {
	ref, ok := m.backend.Ref(r.Header)
	if !ok {
		return nil, ErrNoSession
	}
	s := &Session{m: m, ref: ref}
	if _, err := s.load(r.Context()); err != nil {
		return nil, err
	}
	return s, nil
}

// User gives a function that tells whom the session of a socket belongs to: the string or number at path, as for Session.Text. It works
// in connection middleware too, whether or not Use was called. Its error is ErrNoSession where there is no session, or none with
// such a value, or one of the store.
func (m *Sessions) User(path string) func(ctx context.Context, s *sockeye.Socket) (user string, err error) {
	return func(ctx context.Context, s *sockeye.Socket) (string, error) {
		ref, ok := m.backend.Ref(s.Handshake().Headers)
		if !ok {
			return "", ErrNoSession
		}
		user, ok, err := (&Session{m: m, ref: ref}).Text(ctx, path)
		if err == nil && !ok {
			err = ErrNoSession
		}
		return user, err
	}
}

// Disconnect disconnects the sockets of a session on every server, by the key that the store has for it. The session itself is
// left as it is.
func (m *Sessions) Disconnect(ctx context.Context, key string) error {
	m.mu.Lock()
	namespaces := append([]*sockeye.Namespace(nil), m.namespaces...)
	parents := append([]*sockeye.Parent(nil), m.parents...)
	m.mu.Unlock()
	for _, p := range parents {
		namespaces = append(namespaces, p.Namespaces()...)
	}
	room := Room(key)
	errs := make([]error, 0, len(namespaces))
	for _, n := range namespaces {
		errs = append(errs, n.To(room).Disconnect(ctx, true))
	}
	return errors.Join(errs...)
}

// ended disconnects what was found to have ended. Servers that are not reached find out themselves.
func (m *Sessions) ended(ctx context.Context, ref Ref) {
	ctx, cancel := m.limit(context.WithoutCancel(ctx))
	defer cancel()
	m.told(ctx, ref.Key)
}

// told is told by the Backend of a session that has ended.
func (m *Sessions) told(ctx context.Context, key string) {
	if err := m.Disconnect(ctx, key); err != nil {
		m.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "sockets of a session cannot be disconnected everywhere",
			slog.Any("session", Ref{Key: key}), slog.Any("error", err))
	}
}
