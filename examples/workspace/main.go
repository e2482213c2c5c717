// Command workspace is the server of a collaborative workspace: collaborators subscribe to apps, and a change that is made
// by REST on any server reaches all of them on every server.
package main

import (
	"context"
	"embed"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/rueidisdriver"
)

//go:embed page
var page embed.FS

var log = slog.New(slog.NewTextHandler(os.Stderr, nil))

func main() {
	addr := flag.String("addr", "127.0.0.1:3000", "address to listen on")
	redis := flag.String("redis", "", "URL of the Redis that connects several servers, as redis://127.0.0.1:6379")
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
	config := sockeye.Config{Logger: log}
	if redis != "" {
		driver, err := rueidisdriver.FromURL(redis)
		if err != nil {
			return err
		}
		config.Adapter = redisadapter.PubSub(driver, redisadapter.PubSubOptions{})
	}
	io, err := sockeye.New(config)
	if err != nil {
		return err
	}
	defer io.Close()
	users := newDirectory()
	register(io, users)

	files, err := fs.Sub(page, "page")
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", io)
	mux.Handle("GET /{$}", http.FileServerFS(files))
	(&api{io, users}).routes(mux)

	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	fmt.Printf("the workspace is at http://%s\n", l.Addr())
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
