// Command protocolserver is the server that the official protocol test suites of Engine.IO and Socket.IO are
// pointed at: "protocolserver engine.io" echoes messages with their type at /engine.io/, "protocolserver
// socket.io" serves the namespaces / and /custom at /socket.io/. The suites expect it on port 3000.
//
// Not in this program: the suites, which are not part of this project.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/engineio"
)

// What the suites count on.
const (
	pingInterval   = 300 * time.Millisecond
	pingTimeout    = 200 * time.Millisecond
	maxPayload     = 1_000_000
	connectTimeout = time.Second
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "protocolserver:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends.
func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("protocolserver", flag.ContinueOnError)
	addr := flags.String("addr", "127.0.0.1:3000", "address to listen on")
	if err := flags.Parse(args); err != nil {
		return err
	}
	h, err := handler(flags.Arg(0))
	if err != nil {
		return err
	}
	defer func() { _ = h.Close() }() // it is the end of the process
	srv := &http.Server{Addr: *addr, Handler: h, ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() }) // ListenAndServe gives the error
	defer stop()
	fmt.Fprintf(out, "%s on %s\n", flags.Arg(0), *addr)
	if err := srv.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

type server interface {
	http.Handler
	Close() error
}

func handler(mode string) (server, error) {
	switch mode {
	case "engine.io":
		return engineio.NewServer(engineio.Config{
			PingInterval: pingInterval, PingTimeout: pingTimeout, MaxPayload: maxPayload,
		}, echo{})
	case "socket.io":
		return socketIO()
	}
	return nil, errors.New(`say "engine.io" or "socket.io"`)
}

// echo sends each message back as it came.
type echo struct{}

func (echo) OnOpen(*engineio.Conn, *http.Request) {}

func (echo) OnMessage(c *engineio.Conn, data []byte, binary bool) {
	_ = c.Send(data, binary) // the peer may be gone
}

func (echo) OnClose(*engineio.Conn, engineio.Reason, error) {}

func socketIO() (server, error) {
	s, err := sockeye.New(sockeye.Config{
		PingInterval: pingInterval, PingTimeout: pingTimeout, MaxPayload: maxPayload, ConnectTimeout: connectTimeout,
	})
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"/", "/custom"} {
		n := s.Of(name)
		n.OnConnection(func(_ context.Context, sock *sockeye.Socket) {
			auth := sock.Handshake().Auth
			if auth.IsZero() {
				_ = sock.Emit("auth", struct{}{}) // the peer may be gone
				return
			}
			_ = sock.Emit("auth", auth) // the peer may be gone
		})
		n.On("message", sockeye.HandlerFunc(func(ctx context.Context, m *sockeye.Message) error {
			return sockeye.SocketFrom(ctx).Emit("message-back", values(m)...)
		}))
		n.On("message-with-ack", sockeye.HandlerFunc(func(_ context.Context, m *sockeye.Message) error {
			return m.Ack(values(m)...)
		}))
	}
	return s, nil
}

func values(m *sockeye.Message) []any {
	args := m.Args()
	vs := make([]any, len(args))
	for i, a := range args {
		vs[i] = a
	}
	return vs
}
