package admin

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// Mode says how much a page is told.
type Mode string

// The modes.
const (
	// Development tells of each socket, room and event.
	Development Mode = "development"

	// Production tells totals.
	Production Mode = "production"
)

// Options configure [Attach]. Users or Open must be set.
//
// Node: @socket.io/admin-ui InstrumentOptions
type Options struct {
	// Namespace is the namespace of the pages. Default "/admin".
	//
	// Node: namespaceName
	Namespace string

	// Users are the names of those who may enter, with the bcrypt hashes of their passwords. A password has at most
	// 1,024 bytes, of which bcrypt looks at 72.
	//
	// Node: auth, with one user
	Users map[string]string

	// Open lets everybody in. There must be no Users then.
	//
	// Node: auth: false
	Open bool

	// Write lets pages emit, and make sockets join, leave and disconnect.
	//
	// Differs from Node: off; there readonly is the option, and false
	Write bool

	// ServerID names this server on the page; no two of a cluster may have the same. Default host name and process id.
	//
	// Differs from Node: the host name alone, but in a worker of a cluster
	ServerID string

	// Mode is how much is told. Default Development, in which what FetchSockets gives as data of a socket has a
	// further key, _admin, as with Node.
	//
	// Node: mode, of which NODE_ENV is the default
	Mode Mode

	// Store keeps sessions. Default memory of this server, at most 10,000 of them; the oldest goes. With a RedisStore
	// a session is known to all servers of a cluster, Node servers too.
	//
	// Node: store
	Store Store

	// SessionDuration is how long a session is good for. Default 24 h. A page that is open then has to sign in again.
	//
	// Differs from Node: there only a page that connects is asked for its session
	SessionDuration time.Duration

	// MaxSockets bounds in development mode of how many sockets is told: beyond it only totals are, until half are
	// left. A page that connects gets the sockets of this server alone where the cluster has more. Default 10,000,
	// negative = no bound.
	//
	// Differs from Node: there is no bound
	MaxSockets int

	// MaxEvents bounds in development mode how many events are told in a second. Of what is beyond, events that
	// sockets emit and receive are left out first; where others had to be, pages get the list of sockets again.
	// Default 1,000, negative = no bound.
	//
	// Differs from Node: there is no bound
	MaxEvents int

	// Redact has names of headers and query parameters that are not to be shown, besides those that are known to
	// carry secrets, such as Cookie, Authorization and token. Upper and lower case are the same.
	//
	// Differs from Node: all is shown
	Redact []string

	// Separate admits only connections that came through Admin.Separate: a listener of their own, which need not be
	// reachable by clients.
	//
	// Differs from Node: there is no such option
	Separate bool

	// Logger is told of who enters or is refused, and of each command without its payload. nil = silent.
	Logger *slog.Logger
}

func (o Options) withDefaults() Options {
	o.Namespace = or(o.Namespace, "/admin")
	o.Mode = or(o.Mode, Development)
	o.SessionDuration = or(o.SessionDuration, 24*time.Hour)
	o.MaxSockets = or(o.MaxSockets, 10_000)
	o.MaxEvents = or(o.MaxEvents, 1_000)
	if o.Store == nil {
		o.Store = NewMemoryStore(0)
	}
	if o.ServerID == "" {
		o.ServerID = hostname() + "#" + strconv.Itoa(os.Getpid())
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

func or[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	return name
}

// validate reports all faults of options that have their defaults.
func (o Options) validate() error {
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("admin: options: "+format, args...))
	}
	switch {
	case len(o.Users) == 0 && !o.Open:
		fault("there are no Users, and Open is not set")
	case len(o.Users) > 0 && o.Open:
		fault("there are Users, and Open is set")
	}
	for name, hash := range o.Users {
		if name == "" || len(name) > maxName {
			fault("a name in Users has no character, or more than %d bytes", maxName)
		} else if _, err := bcrypt.Cost([]byte(hash)); err != nil {
			fault("what Users has for %q is not a bcrypt hash", name) // err may quote it
		}
	}
	if !strings.HasPrefix(o.Namespace, "/") || o.Namespace == "/" {
		fault("Namespace %q does not begin with a slash, or is the main one", o.Namespace)
	}
	if o.Mode != Development && o.Mode != Production {
		fault("Mode is neither %q nor %q", Development, Production)
	}
	if o.SessionDuration < 0 {
		fault("SessionDuration is negative")
	}
	return errors.Join(faults...)
}
