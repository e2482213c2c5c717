// Command redis-cluster is one of several servers over a Redis Cluster: what a client says every other hears, and who is
// connected is known on all of them, also while a master of Redis dies.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/presence"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/rueidisdriver"
)

var log = slog.New(slog.NewTextHandler(os.Stderr, nil))

func main() {
	addr := flag.String("addr", "127.0.0.1:3000", "address to listen on")
	redis := flag.String("redis", "redis+cluster://127.0.0.1:7000", "URL of a node of the Redis Cluster, or several")
	expiry := flag.Duration("expiry", 30*time.Second, "how long users of a killed server stay online")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *addr, *redis, *expiry); err != nil {
		log.Error("cannot serve", slog.Any("error", err))
		os.Exit(1)
	}
}

// run serves until ctx ends.
func run(ctx context.Context, addr, redis string, expiry time.Duration) error {
	driver, err := rueidisdriver.FromURL(redis)
	if err != nil {
		return err
	}
	io, err := sockeye.New(sockeye.Config{
		Adapter: redisadapter.Sharded(driver, redisadapter.ShardedOptions{}),
		Logger:  log,
	})
	if err != nil {
		return err
	}
	defer io.Close()
	who, err := presence.New(io.Of("/"), presence.Options{
		User: userOf, Redis: driver, Expiry: expiry,
		OnFault: func(err error) { log.Warn("presence", slog.Any("error", err)) },
	})
	if err != nil {
		return err
	}
	defer who.Close() // before io, which closes the driver
	io.On("chat", sockeye.Func(func(ctx context.Context, text string) error {
		s := sockeye.SocketFrom(ctx)
		user, _ := userOf(s)
		return s.Broadcast().Emit("chat", user, text)
	}))
	who.Watch(func(c presence.Change) {
		// Each server is told of each change: it tells its own clients.
		_ = io.Of("/").All().Local().Emit("online", c.User.ID, c.Online)
	})
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", io)
	mux.HandleFunc("GET /online", online(who))
	return serve(ctx, addr, mux, io)
}

// userOf is who a socket says it is; a real application asks its session.
func userOf(s *sockeye.Socket) (string, bool) {
	var auth struct {
		User string `json:"user"`
	}
	return auth.User, s.Auth(&auth) == nil && auth.User != ""
}

// online answers with all users who are online, page by page.
func online(who *presence.Presence) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		page, err := who.Users(r.Context(), r.URL.Query().Get("after"), 100)
		if err != nil && !errors.Is(err, presence.ErrPartial) {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(struct { // the client may be gone
			presence.Page
			Complete bool `json:"complete"`
		}{page, err == nil})
	}
}

func serve(ctx context.Context, addr string, h http.Handler, io *sockeye.Server) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	fmt.Printf("a server is at http://%s\n", l.Addr())
	go func() {
		<-ctx.Done()
		_ = io.Close() // else its clients keep the server open
		_ = srv.Close()
	}()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
