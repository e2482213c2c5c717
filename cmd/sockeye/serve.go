package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sockeye-io/sockeye/internal/front"
	"github.com/sockeye-io/sockeye/internal/settings"
	"github.com/sockeye-io/sockeye/relay"
	"github.com/sockeye-io/sockeye/relay/identity"
)

const defaultAddr = "127.0.0.1:3000"

// serveFlags are the flags of "serve" that are no settings.
type serveFlags struct {
	file    string
	print   bool
	cluster int
}

func serveCommand(in invocation) *cobra.Command {
	var o options
	var f serveFlags
	set, err := newSettings(&o)
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run a server with rooms and a demo chat page",
		Long: `Run a Socket.IO server for clients of versions 2 to 4, with a demo chat page at /, and whether it is alive and ready
at /healthz and /readyz.

Settings come from flags, from the environment and from a file of YAML, in that order of precedence: --limits-rooms is
SOCKEYE_LIMITS_ROOMS, and in the file limits: {rooms: 1000}. --print-config shows what holds and where it comes from.
A secret may be in a file: --jwt-secret-file, SOCKEYE_JWT_SECRET_FILE, jwt: {secret-file: ...}.

Servers on one Redis with the same --redis-mode and --redis-prefix are one cluster, also with Node servers: pubsub is
for those with createAdapter of @socket.io/redis-adapter, sharded for createShardedAdapter (Redis 7), streams for
@socket.io/redis-streams-adapter, where nothing is lost while Redis is away.

A URL is redis://user:password@host:port/database, or unix://path?db=database; for a master that Sentinels watch
redis+sentinel://user:password@host:port,host:port/master, for a Redis Cluster redis+cluster://host:port,host:port;
with rediss in place of redis the connection is encrypted.

Environment, beside SOCKEYE_...: PORT sets the port where no address is given. Where no URL of Redis is given REDIS_HOST
and REDIS_PORT join a cluster, or PUB_HOST and PUB_PORT; SUB_HOST and SUB_PORT stand for --redis-sub, and REDIS_PASSWORD
is for all of them.

SIGTERM and SIGINT let clients go to other servers; a second signal ends at once.`,
		Example: "  sockeye serve\n" +
			"  sockeye serve --cluster 3\n" +
			"  sockeye serve --addr 127.0.0.1:3001 --redis redis://127.0.0.1:6379\n" +
			"  sockeye serve --redis redis://master:6379 --redis-sub redis://replica:6379 --redis-mode streams\n" +
			"  sockeye serve --config sockeye.yaml --print-config",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err != nil {
				return err
			}
			if err := loadSettings(in, set, &o, &f); err != nil {
				return err
			}
			switch {
			case f.print:
				return set.Print(in.stdout)
			case c.Flags().Changed("cluster"):
				return tryCluster(c.Context(), in, set, o, f.cluster)
			default:
				return serve(c.Context(), in, set, o)
			}
		},
	}
	c.Flags().StringVar(&f.file, "config", "", "file with settings (YAML)")
	c.Flags().BoolVar(&f.print, "print-config", false, "show the settings, without secrets, and end")
	c.Flags().IntVar(&f.cluster, "cluster", 0, "run so many servers on neighboring ports, on a Redis in this process: for trying only")
	if set != nil {
		for _, f := range set.Flags() {
			flag := c.Flags().VarPF(f.Value, f.Name, "", f.Usage)
			if f.Value.IsBoolFlag() {
				flag.NoOptDefVal = "true"
			}
		}
	}
	return c
}

// loadSettings reads the settings and makes the checks that concern several of them.
func loadSettings(in invocation, set *settings.Set, o *options, f *serveFlags) error {
	if f.file == "" {
		f.file = in.env(variables + "CONFIG")
	}
	if err := set.Load(in.environ, f.file); err != nil {
		return usageError{err}
	}
	if !strings.HasPrefix(set.From("redis.url"), "PUB_HOST") && !strings.HasPrefix(set.From("redis.url"), "REDIS_HOST") &&
		set.IsSet("redis.url") && strings.HasPrefix(set.From("redis.sub"), "SUB_HOST") {
		o.redis.sub = "" // it belongs to a Redis of the environment
	}
	o.redis.from, o.redis.subFrom = set.From("redis.url"), set.From("redis.sub")
	if err := o.setPassword(); err != nil {
		return err
	}
	if o.recovery > 0 && o.redis.url != "" && o.redis.mode != modeStreams {
		return usagef("%s: only a cluster with --redis-mode streams recovers clients", set.From("recovery"))
	}
	dir, err := o.client(set.IsSet("client-dir"))
	if err != nil {
		return usagef("%s: %w", set.From("client-dir"), err)
	}
	o.clientDir = dir
	return nil
}

// serve runs the server until ctx ends.
func serve(ctx context.Context, in invocation, set *settings.Set, o options) error {
	log, err := newLogger(in.stderr, o)
	if err != nil {
		return err
	}
	if o.name != "" {
		log = log.With(slog.String("server", o.name))
	}
	private, err := loopback(ctx, o.addr)
	if err != nil {
		return usagef("%s: %w", set.From("addr"), err)
	}
	if !private && !o.open && !o.identified() {
		return usagef("other machines can reach %s, and nobody is asked who they are: set jwt.secret or jwt.keys, or add --open to allow that", o.addr)
	}
	cluster, err := redisCluster(o.redis, func(string) string { return "" })
	if err != nil {
		return err
	}
	s := &server{in: in, o: o, log: log, cluster: cluster}
	if err := s.open(ctx); err != nil {
		return err
	}
	if !private && !o.identified() {
		log.Warn("listening without authentication: whoever reaches this address can read and write in every room",
			slog.String("addr", s.listener.Addr().String()))
	}
	warnOfRedis(ctx, log, o.redis)
	fmt.Fprintf(in.stdout, "Sockeye listens on %s%s\n", s.url(), cluster.suffix())
	if in.neighbors != nil {
		in.neighbors.add(relay.Peer{Name: in.name, URL: s.url()})
	}
	return s.run(ctx)
}

// open makes the application and listens. Listening comes first: a port that is taken is the commoner fault and found at
// once.
func (s *server) open(ctx context.Context) error {
	if err := s.openCertificate(); err != nil {
		return err
	}
	who, err := s.o.jwt.authenticator(s.log)
	if err != nil {
		return err
	}
	l, err := front.Listen(ctx, s.o.addr, s.o.socketMode())
	if err != nil {
		return fmt.Errorf("cannot listen: %w", err)
	}
	s.listener = l
	if err := s.openApp(ctx, who); err != nil {
		// The first error is the one to tell.
		_ = l.Close()
		_ = s.closeParts()
		return err
	}
	return nil
}

// openApp makes the application; who says who clients are, unless sessions do.
func (s *server) openApp(ctx context.Context, who identity.Authenticator) error {
	var err error
	if len(s.o.session.secrets) > 0 {
		if who, err = s.bySession(ctx); err != nil {
			return err
		}
	}
	restful := s.o.restConfig(s.cluster.commander(), s.log)
	if s.o.presence.on {
		restful.Presence = &s.presence
	}
	var peers func() []relay.Peer
	if all := s.in.neighbors; all != nil {
		peers = func() []relay.Peer { return all.others(s.in.name) }
	}
	s.app, err = relay.New(relay.Config{
		Adapter:   s.cluster.adapter(),
		Origin:    s.o.origin(),
		ClientDir: s.o.clientDir,
		Identity:  who,
		Warning:   s.o.jwt.warning,
		Rooms:     s.o.roomRules(),
		REST:      restful,
		Setup:     s.setUp,
		Name:      cmp.Or(s.in.name, s.o.name),
		Peers:     peers,
		DenyEIO3:  !s.o.eio3,
		IO:        s.config(),
		Logger:    s.log,
	})
	if err != nil {
		_ = s.closeWatchers() // the other error is the one to tell
		return s.cluster.explain(err)
	}
	if err := s.openSides(ctx); err != nil {
		return errors.Join(err, s.closeApp())
	}
	return nil
}

// loopback tells whether only this machine can reach addr.
func loopback(ctx context.Context, addr string) (bool, error) {
	if _, unix := front.UnixPath(addr); unix {
		return true, nil
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false, err
	}
	return onlyHere(ctx, host)
}

// onlyHere tells whether a host is this machine, by an address that others cannot reach.
func onlyHere(ctx context.Context, host string) (bool, error) {
	if host == "" {
		return false, nil
	}
	if ip := net.ParseIP(host); ip != nil {
		return ip.IsLoopback(), nil
	}
	ips, err := net.DefaultResolver.LookupIPAddr(ctx, host)
	if err != nil {
		return false, err
	}
	for _, ip := range ips {
		if !ip.IP.IsLoopback() {
			return false, nil
		}
	}
	return len(ips) > 0, nil
}

func newLogger(w io.Writer, o options) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(o.logLevel)); err != nil {
		return nil, err
	}
	h := &slog.HandlerOptions{Level: l}
	if o.logFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, h)), nil
	}
	return slog.New(slog.NewTextHandler(w, h)), nil
}

// oneLine makes one line of joined errors.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
