// Command multi-instance is one of several instances of a web application: an HTTP API and sockets in one process. A
// request to any instance reaches clients of every instance.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/admin"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/rueidisdriver"
)

var log = slog.New(slog.NewTextHandler(os.Stderr, nil))

// options are the flags.
type options struct {
	addr, redis, name    string
	origins              []string
	adminHash, adminPage string
}

func main() {
	var o options
	flag.StringVar(&o.addr, "addr", "127.0.0.1:3000", "address to listen on")
	flag.StringVar(&o.redis, "redis", "redis://127.0.0.1:6379", "URL of the Redis that connects the instances")
	flag.StringVar(&o.name, "name", "", "of the instance, for the admin page (default: host and process)")
	flag.StringVar(&o.adminHash, "admin-hash", "", "bcrypt hash of the password of user admin; without it there is no admin page")
	flag.StringVar(&o.adminPage, "admin-page", "", "directory ui/dist of the npm package @socket.io/admin-ui, served at /admin-ui/")
	flag.Func("origin", "origin whose pages may use the API and the sockets, with cookies; repeatable", func(s string) error {
		o.origins = append(o.origins, strings.TrimSuffix(s, "/"))
		return nil
	})
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		log.Error("cannot serve", slog.Any("error", err))
		os.Exit(1)
	}
}

// run serves until ctx ends.
func run(ctx context.Context, o options) error {
	driver, err := rueidisdriver.FromURL(o.redis)
	if err != nil {
		return err
	}
	io, err := sockeye.New(sockeye.Config{
		Adapter: redisadapter.PubSub(driver, redisadapter.PubSubOptions{}),
		Origin:  sockeye.OriginPolicy{Allow: o.origins, Credentials: true},
		Logger:  log,
	})
	if err != nil {
		return err
	}
	defer io.Close()
	// A real application takes the user from its session: see examples/chat-session.
	io.Use(func(_ context.Context, s *sockeye.Socket) error {
		var auth struct {
			User string `json:"user"`
		}
		if err := s.Auth(&auth); err != nil || auth.User == "" {
			return &sockeye.ConnectError{Message: "connect with auth: {user}"}
		}
		s.SetData(auth.User)
		return s.Join(roomOf(auth.User))
	})

	mux := http.NewServeMux()
	mux.Handle("/socket.io/", io)
	mux.Handle("/api/", cors(o.origins, (&api{io}).handler()))
	if o.adminHash != "" {
		a, err := admin.Attach(io, admin.Options{
			Users: map[string]string{"admin": o.adminHash}, ServerID: o.name, Store: admin.RedisStore{Redis: driver},
		})
		if err != nil {
			return err
		}
		defer a.Close()
	}
	if o.adminPage != "" {
		page, err := admin.UI(os.DirFS(o.adminPage))
		if err != nil {
			return err
		}
		mux.Handle("/admin-ui/", http.StripPrefix("/admin-ui", page))
	}
	return serve(ctx, o.addr, mux, io)
}

func serve(ctx context.Context, addr string, h http.Handler, io *sockeye.Server) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	fmt.Printf("an instance is at http://%s\n", l.Addr())
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
