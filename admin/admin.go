package admin

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye"
)

// Admin is what [Attach] has added to a server. It is safe for concurrent use.
type Admin struct {
	io       *sockeye.Server
	nsp      *sockeye.Namespace
	o        Options
	auth     *authenticator // nil where everybody may enter
	redact   redactor
	teller   *teller
	log      *slog.Logger
	hostname string
	period   time.Duration // of samples

	features []string
	verbose  atomic.Bool // whether pages are told of each socket

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	done   sync.WaitGroup
	detach []func()

	looking chan struct{} // held by who asks the cluster for its sockets
	again   chan struct{} // asks for the pages to get the picture again

	mu      sync.Mutex
	closed  bool
	waiting map[*sockeye.Socket]ticket // those that a middleware has let in
	pages   map[*sockeye.Socket]ticket // those that are connected
}

// Features of a page, in the order of Node.
//
// Node: @socket.io/admin-ui Feature
var (
	writing    = []string{"EMIT", "JOIN", "LEAVE", "DISCONNECT", "MJOIN", "MLEAVE", "MDISCONNECT"}
	aggregated = "AGGREGATED_EVENTS"
	allEvents  = "ALL_EVENTS"
)

// Periods of what goes on by itself.
const (
	samplePeriod  = time.Second
	reportEach    = 2 // samples
	sessionPeriod = 30 * time.Second
	againPeriod   = 10 * time.Second
	fetchTimeout  = 10 * time.Second
	showTimeout   = time.Minute
)

// config is what a page may do.
type config struct {
	Features []string `json:"supportedFeatures"`
}

// Attach adds the namespace of the pages to a server, which it should do before there are clients, and once. It reports
// all faults of the options. The Admin is to be closed before the server.
//
// Node: @socket.io/admin-ui instrument
func Attach(io *sockeye.Server, o Options) (*Admin, error) { return attach(io, o, samplePeriod) }

func attach(io *sockeye.Server, o Options, period time.Duration) (*Admin, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	a := &Admin{
		io: io, nsp: io.Of(o.Namespace), o: o, redact: newRedactor(o.Redact), log: o.Logger, hostname: hostname(), period: period,
		looking: make(chan struct{}, 1), again: make(chan struct{}, 1),
		waiting: make(map[*sockeye.Socket]ticket), pages: make(map[*sockeye.Socket]ticket),
	}
	if a.namespace(o.Namespace) == nil { // the server has said why
		return nil, fmt.Errorf("admin: namespace %q cannot be opened", o.Namespace)
	}
	if o.Open {
		a.log.LogAttrs(context.Background(), slog.LevelWarn, "admin namespace lets everybody in", slog.String("nsp", o.Namespace))
	} else {
		auth, err := newAuthenticator(&o)
		if err != nil {
			return nil, fmt.Errorf("admin: %w", err)
		}
		a.auth = auth
	}
	if o.Write {
		a.features = append(a.features, writing...)
	}
	a.features = append(a.features, aggregated)
	a.teller = newTeller(a.nsp.Emit, o.Logger, o.MaxEvents)
	a.ctx, a.cancel = context.WithCancel(context.Background())
	a.nsp.Use(a.admit)
	a.nsp.OnConnection(a.connected)
	if o.Write {
		a.obey()
	}
	if o.Mode == Development {
		a.verbose.Store(true)
		a.watch()
	}
	a.start(a.tell)
	a.start(a.count)
	a.start(a.watchSessions)
	return a, nil
}

// start runs f until Close.
func (a *Admin) start(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.closed {
		a.done.Go(f)
	}
}

// Close stops watching the server and ends the sockets of the pages. The namespace stays, and lets nobody in. It must
// not be called by a handler of a page.
func (a *Admin) Close() error {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.cancel()
	for _, off := range a.detach {
		off()
	}
	a.done.Wait()
	for s := range a.nsp.Sockets() {
		_ = s.Disconnect(true) // it may be gone
	}
	return nil
}

// admit is the connection middleware.
func (a *Admin) admit(ctx context.Context, s *sockeye.Socket) error {
	if a.o.Separate && !isSeparate(ctx) {
		a.refused(ctx, s, errSeparate)
		return errSeparate
	}
	if a.auth == nil {
		if a.ctx.Err() != nil {
			return errUnavailable
		}
		return nil
	}
	t, err := a.auth.enter(ctx, s)
	if err != nil {
		a.refused(ctx, s, err)
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return errUnavailable
	}
	a.waiting[s] = t
	return nil
}

func (a *Admin) refused(ctx context.Context, s *sockeye.Socket, err error) {
	a.log.LogAttrs(ctx, slog.LevelWarn, "admin refused", slog.String("address", s.Handshake().Address), slog.Any("error", err))
}

// connected welcomes a page.
func (a *Admin) connected(ctx context.Context, s *sockeye.Socket) {
	a.mu.Lock()
	t, admitted := a.waiting[s]
	delete(a.waiting, s)
	a.mu.Unlock()
	if a.auth != nil && !admitted { // recovery has spared it the middleware
		var err error
		if t, err = a.auth.enter(ctx, s); err != nil {
			a.refused(ctx, s, err)
			_ = s.Disconnect(true) // it may be gone
			return
		}
	}
	a.log.LogAttrs(ctx, slog.LevelInfo, "admin entered", slog.String("address", s.Handshake().Address), slog.String("user", t.user))
	if a.auth != nil && t.session == "" {
		t.session = a.beginSession(ctx, s)
	}
	s.OnDisconnect(func(sockeye.Reason) { a.forget(s) })
	a.mu.Lock()
	a.pages[s] = t
	a.mu.Unlock()
	a.teller.await(ctx, told{event: "config", args: []any{a.config()}, to: s, then: func() { a.show(s) }})
}

// beginSession gives a page an id by which it may come again without a password. Without one it has to ask for that.
func (a *Admin) beginSession(ctx context.Context, s *sockeye.Socket) string {
	id, err := a.auth.begin(ctx, a.o.SessionDuration)
	if err == nil {
		err = s.Emit("session", id)
	}
	if err != nil {
		a.log.LogAttrs(ctx, slog.LevelError, "admin session not kept", slog.Any("error", err))
		return ""
	}
	return id
}

func (a *Admin) config() config {
	if a.verbose.Load() {
		return config{append(slices.Clip(a.features), allEvents)}
	}
	return config{a.features}
}

func (a *Admin) forget(s *sockeye.Socket) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.pages, s)
}

func (a *Admin) userOf(s *sockeye.Socket) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.pages[s].user
}

// here gives the pages that are connected to this server, with how they entered.
func (a *Admin) here() map[*sockeye.Socket]ticket {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.pages)
}

// tell is the goroutine that tells the pages. It ends with Close.
func (a *Admin) tell() { a.teller.run(a.ctx) }
