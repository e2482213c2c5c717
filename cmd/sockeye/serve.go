package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/relay"
)

const (
	defaultAddr = "127.0.0.1:3000"

	// drainTime is how long clients have to take leave after SIGINT or SIGTERM. One that polls is told by its
	// next poll.
	drainTime = 5 * time.Second

	headerTime  = 5 * time.Second
	idleTime    = 2 * time.Minute
	headerBytes = 16 << 10
)

// serveOptions are the flags of "serve".
type serveOptions struct {
	addr      string
	open      bool
	origins   []string
	redis     redisFlags
	clientDir string
	logFormat string
	logLevel  string
}

func serveCommand(in invocation) *cobra.Command {
	var o serveOptions
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run a server with rooms and a demo chat page",
		Long: `Run a Socket.IO server for clients of versions 2 to 4, with a demo chat page at / and its health at /healthz.

Servers on one Redis with the same --redis-mode and --redis-prefix are one cluster, also with Node servers: pubsub is
for those with createAdapter of @socket.io/redis-adapter, sharded for createShardedAdapter (Redis 7), streams for
@socket.io/redis-streams-adapter, where nothing is lost while Redis is away.

A URL is redis://user:password@host:port/database, or unix://path?db=database; for a master that Sentinels watch
redis+sentinel://user:password@host:port,host:port/master, for a Redis Cluster redis+cluster://host:port,host:port;
with rediss in place of redis the connection is encrypted.

Environment: PORT sets the port where --addr is not given. Where --redis is not given REDIS_HOST and REDIS_PORT join a
cluster, or PUB_HOST and PUB_PORT; SUB_HOST and SUB_PORT stand for --redis-sub, and REDIS_PASSWORD is for all of them.`,
		Example: "  sockeye serve\n" +
			"  sockeye serve --addr 127.0.0.1:3001 --redis redis://127.0.0.1:6379\n" +
			"  sockeye serve --redis redis://master:6379 --redis-sub redis://replica:6379 --redis-mode streams",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if !c.Flags().Changed("addr") {
				addr, err := addrFromEnv(in.env)
				if err != nil {
					return err
				}
				o.addr = addr
			}
			dir, err := o.client(c.Flags().Changed("client-dir"))
			if err != nil {
				return err
			}
			o.clientDir = dir
			return serve(c.Context(), in, o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.addr, "addr", defaultAddr, "address to listen on; port 0 picks a free one")
	f.BoolVar(&o.open, "open", false, "allow an address that other machines can reach; there is no authentication")
	f.StringArrayVar(&o.origins, "origin", nil, "origin whose pages may connect, as https://example.com; repeatable")
	f.StringVar(&o.redis.url, "redis", "", "URL of the Redis that connects several servers, as redis://host:port")
	f.StringVar(&o.redis.sub, "redis-sub", "", "URL of a replica of it to subscribe at (default: the same)")
	f.StringVar(&o.redis.mode, "redis-mode", modePubSub, "how to use it: pubsub (or classic), sharded or streams")
	f.StringVar(&o.redis.prefix, "redis-prefix", "socket.io", "how the names of channels and of the stream start")
	f.StringVar(&o.clientDir, "client-dir", "", "directory with socket.io.js (default: the one of web/node_modules if it is there)")
	f.StringVar(&o.logFormat, "log-format", "text", "text or json")
	f.StringVar(&o.logLevel, "log-level", "info", "debug, info, warn or error")
	return c
}

// serve runs the server until ctx ends.
func serve(ctx context.Context, in invocation, o serveOptions) error {
	log, err := newLogger(in.stderr, o.logFormat, o.logLevel)
	if err != nil {
		return err
	}
	private, err := loopback(ctx, o.addr)
	if err != nil {
		return err
	}
	if !private && !o.open {
		return usagef("other machines can reach %s, and there is no authentication yet: add --open to allow that", o.addr)
	}
	if err := checkOrigins(o.origins); err != nil {
		return err
	}
	cluster, err := redisCluster(o.redis, in.env)
	if err != nil {
		return err
	}
	// Listening first: a port that is taken is the commoner fault and found at once.
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", o.addr)
	if err != nil {
		return fmt.Errorf("cannot listen: %w", err)
	}
	app, err := relay.New(relay.Config{
		Adapter:   cluster.adapter(),
		Origin:    sockeye.OriginPolicy{Allow: o.origins},
		ClientDir: o.clientDir,
		Logger:    log,
	})
	if err != nil {
		_ = l.Close() // the other error is the one to tell
		return cluster.explain(err)
	}
	if !private {
		log.Warn("listening without authentication: whoever reaches this address can read and write in every room",
			slog.String("addr", l.Addr().String()))
	}
	fmt.Fprintf(in.stdout, "Sockeye listens on %s%s\n", pageURL(l.Addr()), cluster.suffix())
	return serveHTTP(ctx, in, l, app, log)
}

// serveHTTP serves app on l until ctx ends, then lets the clients go in order.
func serveHTTP(ctx context.Context, in invocation, l net.Listener, app *relay.Server, log *slog.Logger) error {
	srv := &http.Server{
		Handler:           app,
		ReadHeaderTimeout: headerTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    headerBytes,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	served := make(chan error, 1)
	go listen(srv, l, served)
	if in.listening != nil {
		in.listening(l.Addr().String())
	}

	var failed error
	select {
	case failed = <-served:
	case <-ctx.Done():
	}
	fmt.Fprintln(in.stdout, "Sockeye is shutting down")
	wait := in.drain
	if wait == 0 {
		wait = drainTime
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), wait)
	defer cancel()
	// Long polls end when app lets their sessions go, which srv.Shutdown waits for.
	_ = l.Close() // srv would close it too, but later
	err := inTime(app.Shutdown(drain), log)
	if herr := srv.Shutdown(drain); herr != nil {
		err = errors.Join(err, inTime(herr, log), srv.Close())
	}
	err = errors.Join(failed, err, app.Close())
	if failed == nil {
		err = errors.Join(err, <-served) // Shutdown has ended Serve
	}
	return err
}

// inTime logs that time was up, which is no fault: clients that did not take leave are cut off.
func inTime(err error, log *slog.Logger) error {
	if errors.Is(err, context.DeadlineExceeded) {
		log.Info("clients were cut off that did not take leave in time")
		return nil
	}
	return err
}

// listen serves on l. It ends when l is closed.
func listen(srv *http.Server, l net.Listener, done chan<- error) {
	err := srv.Serve(l)
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, net.ErrClosed) {
		err = nil
	}
	done <- err
}

// addrFromEnv is the default address with the port that PORT says.
func addrFromEnv(env func(string) string) (string, error) {
	port := env("PORT")
	if port == "" {
		return defaultAddr, nil
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", usagef("PORT is %q, not a port number", port)
	}
	return net.JoinHostPort("127.0.0.1", port), nil
}

// loopback tells whether only this machine can reach addr.
func loopback(ctx context.Context, addr string) (bool, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return false, usagef("--addr: %w", err)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return false, usagef("--addr: %q is not a port number", port)
	}
	if host == "" {
		return false, nil
	}
	if ip := net.ParseIP(host); ip != nil {
		return ip.IsLoopback(), nil
	}
	ips, err := net.DefaultResolver.LookupIPAddr(ctx, host)
	if err != nil {
		return false, usagef("--addr: %w", err)
	}
	for _, ip := range ips {
		if !ip.IP.IsLoopback() {
			return false, nil
		}
	}
	return len(ips) > 0, nil
}

// checkOrigins finds a malformed --origin before anything else is begun.
func checkOrigins(origins []string) error {
	s, err := sockeye.New(sockeye.Config{Origin: sockeye.OriginPolicy{Allow: origins}})
	if err != nil {
		return usagef("--origin: %w", cause(err))
	}
	return s.Close()
}

// pageURL is an address for a browser on this machine.
func pageURL(a net.Addr) string {
	host, port, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, port) + "/"
}

// client is the directory that the browser client is served from. asked tells that the flag was given; without
// it the places where npm puts the client in this project are tried, and "" means the CDN.
func (o serveOptions) client(asked bool) (string, error) {
	const script = "socket.io.js"
	if asked {
		if o.clientDir == "" {
			return "", nil
		}
		if _, err := os.Stat(filepath.Join(o.clientDir, script)); err != nil {
			return "", usagef("--client-dir: no %s in %s", script, o.clientDir)
		}
		return o.clientDir, nil
	}
	near := []string{"."}
	if exe, err := os.Executable(); err == nil {
		dir := filepath.Dir(exe)
		near = append(near, dir, filepath.Dir(dir))
	}
	for _, dir := range near {
		dir = filepath.Join(dir, "web", "node_modules", "socket.io-client", "dist")
		if _, err := os.Stat(filepath.Join(dir, script)); err == nil {
			return dir, nil
		}
	}
	return "", nil
}

func newLogger(w io.Writer, format, level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, usagef("--log-level: %q is none of debug, info, warn, error", level)
	}
	o := &slog.HandlerOptions{Level: l}
	switch strings.ToLower(format) {
	case "text":
		return slog.New(slog.NewTextHandler(w, o)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, o)), nil
	}
	return nil, usagef("--log-format: %q is neither text nor json", format)
}
