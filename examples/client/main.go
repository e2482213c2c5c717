// Command client is both ends of a small chat in Go, with one set of typed events: "client serve" is the server,
// "client NAME" a person who types lines.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/client"
)

const addr = "127.0.0.1:3000"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, args []string) error {
	switch {
	case len(args) != 1:
		return errors.New("usage: client serve, or client NAME")
	case args[0] == "serve":
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
		if err != nil {
			return err
		}
		return serve(ctx, l)
	}
	return chat(ctx, "http://"+addr, args[0], os.Stdin, os.Stdout)
}

// serve runs the server until ctx ends.
func serve(ctx context.Context, l net.Listener) error {
	srv, err := sockeye.New(sockeye.Config{Recovery: &sockeye.Recovery{}})
	if err != nil {
		return err
	}
	srv.Use(func(_ context.Context, s *sockeye.Socket) error {
		var login Login
		if err := s.Auth(&login); err != nil || login.Name == "" {
			return &sockeye.ConnectError{Message: "who are you?"}
		}
		s.SetData(login.Name)
		return nil
	})
	srv.OnConnection(func(_ context.Context, s *sockeye.Socket) {
		if !s.Recovered() {
			_ = Joined.Emit(s.Broadcast(), s.Data().(string)) // who has gone need not know
		}
	})
	Say.Handle(srv, func(ctx context.Context, text string) (Stats, error) {
		s := sockeye.SocketFrom(ctx)
		err := Said.Emit(s.Broadcast(), Line{s.Data().(string), text})
		return Stats{Heard: srv.Conns() - 1}, err
	})

	web := &http.Server{Handler: srv, ReadHeaderTimeout: 10 * time.Second}
	defer context.AfterFunc(ctx, func() {
		_ = srv.Close() // always nil
		_ = web.Close() // there is nothing to be done about it
	})()
	if err := web.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// chat says each line of in, and writes what is said to out, until in ends.
func chat(ctx context.Context, url, name string, in io.Reader, out io.Writer) error {
	s, err := client.Dial(ctx, url, client.Config{
		Auth: Login{name},
		// Handlers that are registered here miss nothing, also after a reconnection.
		Setup: func(s *client.Socket) {
			Joined.On(s, func(_ context.Context, who string) error {
				_, err := fmt.Fprintf(out, "* %s is here\n", who)
				return err
			})
			Said.On(s, func(_ context.Context, l Line) error {
				_, err := fmt.Fprintf(out, "%s: %s\n", l.Who, l.Text)
				return err
			})
			s.OnDisconnect(func(r client.Reason, _ error) { log.Printf("disconnected: %s", string(r)) })
		},
	})
	if err != nil {
		return err
	}
	defer s.Close()
	for lines := bufio.NewScanner(in); lines.Scan(); {
		stats, err := Say.Do(ctx, s, lines.Text())
		if err != nil {
			return err
		}
		log.Printf("heard by %d", stats.Heard)
	}
	return nil
}
