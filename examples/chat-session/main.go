// Command chat-session is a chat whose sockets share the login of the web application: who has logged in by the page is known to
// the sockets, what they write into the session the page shows, and a logout closes them, in every tab and on every server.
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
	"syscall"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/httpsession"
	"github.com/sockeye-io/sockeye/httpsession/scssession"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/rueidisdriver"
)

var log = slog.New(slog.NewTextHandler(os.Stderr, nil))

func main() {
	addr := flag.String("addr", "127.0.0.1:3000", "address to listen on")
	redis := flag.String("redis", "", "URL of the Redis that has the sessions and connects several servers, as redis://127.0.0.1:6379")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *addr, *redis); err != nil {
		log.Error("cannot serve", slog.Any("error", err))
		os.Exit(1)
	}
}

// run serves until ctx ends.
func run(ctx context.Context, addr, redis string) error {
	manager := scs.New() // with sessions in memory
	manager.IdleTimeout = 30 * time.Minute
	manager.Cookie.Name = "chat"
	config := sockeye.Config{Logger: log}
	if redis != "" {
		driver, err := rueidisdriver.FromURL(redis)
		if err != nil {
			return err
		}
		config.Adapter = redisadapter.PubSub(driver, redisadapter.PubSubOptions{})
		manager.Store = scssession.NewStore(httpsession.Redis(driver, "scs:session:")) // with sessions in Redis
	}
	backend, err := scssession.New(manager)
	if err != nil {
		return err
	}
	sessions, err := httpsession.New(backend, httpsession.Config{Logger: log})
	if err != nil {
		return err
	}
	defer sessions.Close()
	io, err := sockeye.New(config)
	if err != nil {
		return err
	}
	defer io.Close()
	sessions.Use(io.Of("/"))
	register(io, sessions, manager)

	mux := http.NewServeMux()
	mux.Handle("/socket.io/", io)
	mux.Handle("/", http.NewCrossOriginProtection().Handler(backend.LoadAndSave(pages(manager))))
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	fmt.Printf("the chat is at http://%s\n", l.Addr())
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
