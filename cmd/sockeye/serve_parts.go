package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/admin"
	"github.com/sockeye-io/sockeye/httpsession"
	"github.com/sockeye-io/sockeye/httpsession/express"
	"github.com/sockeye-io/sockeye/internal/front"
	"github.com/sockeye-io/sockeye/metrics"
	"github.com/sockeye-io/sockeye/presence"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/rueidisdriver"
	"github.com/sockeye-io/sockeye/relay"
	"github.com/sockeye-io/sockeye/relay/identity"
)

// side is a listener beside that of the clients.
type side struct {
	name string
	l    net.Listener
	srv  *http.Server
}

// parts are what a server has beside the application, each nil where it is off.
type parts struct {
	metrics  *metrics.Metrics
	admin    *admin.Admin
	ui       http.Handler // the admin page
	sessions *httpsession.Sessions
	redis    *rueidisdriver.Driver // of the sessions alone
	presence late
	sides    []*side
}

// late is a Presence for REST that is made after the configuration of REST.
type late struct{ *presence.Presence }

// commander is the Redis of the cluster, for what is kept there; nil without one.
func (c cluster) commander() redisadapter.Commander {
	r, _ := c.driver.(redisadapter.Commander) // of rueidisdriver all are
	return r
}

// setUp adds what belongs to the Socket.IO server, which is connected to its cluster by now.
func (s *server) setUp(io *sockeye.Server) (err error) {
	if s.sessions != nil {
		s.sessions.Use(io.Of("/"))
	}
	if s.o.metrics.addr != "" {
		s.metrics, err = metrics.New(io, metrics.Options{Adapter: s.cluster.in, Events: s.o.metrics.events})
		if err != nil {
			return fmt.Errorf("metrics: %w", err)
		}
	}
	if s.o.presence.on {
		if err := s.setUpPresence(io); err != nil {
			return err
		}
	}
	return s.setUpAdmin(io)
}

func (s *server) setUpPresence(io *sockeye.Server) (err error) {
	o := &s.o.presence
	grace := o.grace
	if grace == 0 {
		grace = -1
	}
	s.presence.Presence, err = presence.New(io.Of("/"), presence.Options{
		User: func(sock *sockeye.Socket) (id string, ok bool) {
			u := relay.UserOf(sock)
			return u.ID, !u.Anonymous()
		},
		Info: func(sock *sockeye.Socket) any {
			if name := relay.UserOf(sock).Name; name != "" {
				return map[string]string{"name": name}
			}
			return nil
		},
		Rooms:  func(room string) bool { return !identity.ReservedRoom(room) },
		Redis:  s.cluster.commander(),
		Prefix: s.o.redis.prefix + "-presence",
		Expiry: o.expiry, Grace: grace,
		OnFault: func(err error) { s.log.Warn("presence", slog.Any("error", err)) },
	})
	return err
}

func (s *server) setUpAdmin(io *sockeye.Server) error {
	o := &s.o.admin
	users, err := o.byName()
	if err != nil || len(users) == 0 {
		return err
	}
	a := admin.Options{
		Users: users, Write: o.write, Mode: admin.Mode(o.mode), ServerID: o.serverID, Separate: o.addr != "", Logger: s.log,
	}
	if r := s.cluster.commander(); r != nil {
		a.Store = admin.RedisStore{Redis: r}
	}
	if o.uiDir != "" {
		if s.ui, err = admin.UI(os.DirFS(o.uiDir)); err != nil {
			return usagef("admin.ui-dir: %w", plain(err))
		}
	}
	s.admin, err = admin.Attach(io, a)
	return err
}

// bySession opens the sessions, which say who clients are.
func (s *server) bySession(ctx context.Context) (identity.Authenticator, error) {
	o := &s.o.session
	redis := s.cluster.commander()
	if o.redis != "" {
		d, err := rueidisdriver.FromURL(o.redis)
		if err != nil {
			return nil, badURL("session.redis", err)
		}
		ctx, cancel := context.WithTimeout(ctx, sessionTime)
		defer cancel()
		if err := d.Connect(ctx); err != nil {
			c := cluster{addr: addressOf(o.redis)}
			return nil, c.explain(errors.Join(fmt.Errorf("%w: %w", redisadapter.ErrUnavailable, err), d.Close()))
		}
		s.redis, redis = d, d
	}
	b, err := express.New(express.Config{
		Secrets: o.secrets, Name: o.cookie, Store: httpsession.Redis(redis, o.prefix), TTL: o.ttl,
	})
	if err != nil {
		return nil, usagef("session: %s", oneLine(plain(err)))
	}
	s.sessions, err = httpsession.New(b, httpsession.Config{Anonymous: o.anonymous, Logger: s.log})
	if err != nil {
		return nil, err
	}
	return sessionUser(s.sessions, o), nil
}

// sessionUser is the user of a session.
func sessionUser(m *httpsession.Sessions, o *sessionOptions) identity.Authenticator {
	user := m.User(o.user)
	return identity.Func(func(ctx context.Context, sock *sockeye.Socket) (identity.User, error) {
		id, err := user(ctx, sock)
		switch {
		case err == nil:
			return identity.User{ID: id}, nil
		case !errors.Is(err, httpsession.ErrNoSession):
			return identity.User{}, err
		case o.anonymous:
			return identity.User{}, nil
		}
		return identity.User{}, &identity.Error{Code: identity.CodeMissing, Message: "there is no session with a user", Err: err}
	})
}

// openSides makes the listeners beside that of the clients.
func (s *server) openSides(ctx context.Context) error {
	if s.metrics != nil {
		mux := http.NewServeMux()
		mux.Handle("GET /metrics", s.metrics.Handler())
		mux.HandleFunc("GET /readyz", s.ready)
		mux.Handle("GET /healthz", s.app)
		if err := s.openSide(ctx, "metrics", s.o.metrics.addr, mux); err != nil {
			return err
		}
	}
	if s.admin == nil || s.o.admin.addr == "" {
		return nil
	}
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", s.admin.Separate(s.app))
	if s.ui != nil {
		mux.Handle("/admin-ui/", http.StripPrefix("/admin-ui", s.ui))
	}
	return s.openSide(ctx, "admin", s.o.admin.addr, front.Timely(mux, "/socket.io/"))
}

func (s *server) openSide(ctx context.Context, name, addr string, h http.Handler) error {
	l, err := front.Listen(ctx, addr, s.o.socketMode())
	if err != nil {
		return fmt.Errorf("cannot listen for %s: %w", name, err)
	}
	srv := s.newHTTP(front.Logged(h, s.log))
	s.sides = append(s.sides, &side{name, l, srv})
	s.log.Info("listening", slog.String("for", name), slog.String("addr", l.Addr().String()))
	return nil
}

// closeParts closes what is beside the application, after it.
func (s *server) closeParts() error {
	var errs []error
	for _, sd := range s.sides {
		errs = append(errs, unlessClosed(sd.srv.Close()), unlessClosed(sd.l.Close()))
	}
	if s.metrics != nil {
		errs = append(errs, s.metrics.Close())
	}
	if s.sessions != nil {
		errs = append(errs, s.sessions.Close())
	}
	if s.redis != nil {
		errs = append(errs, s.redis.Close())
	}
	return errors.Join(errs...)
}
