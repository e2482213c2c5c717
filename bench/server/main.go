// Command server is the server under load: it speaks the small protocol of the benchmarks.
//
//   - event "echo" acknowledges its argument,
//   - event "join" joins the room named,
//   - event "pub" with {room, payload} emits "msg" with the payload to that room.
//
// It listens on HOST:PORT. REDIS=host:port joins a cluster with ADAPTER=classic, sharded or streams. SIGUSR2 collects
// garbage and returns memory to the system, so that resident bytes can be compared; PPROF=host:port serves profiles.
package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/parser"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/rueidisdriver"
)

type publication struct {
	Room    string     `json:"room"`
	Payload parser.Arg `json:"payload"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench/server:", err)
		os.Exit(1)
	}
}

func run() error {
	cluster, err := cluster(os.Getenv("REDIS"), os.Getenv("ADAPTER"))
	if err != nil {
		return err
	}
	io, err := sockeye.New(sockeye.Config{Adapter: cluster})
	if err != nil {
		return err
	}
	handle(io)

	stop, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	gc := make(chan os.Signal, 1)
	notifyCollect(gc)
	go collect(stop, gc)
	if addr := os.Getenv("PPROF"); addr != "" {
		go profile(addr)
	}

	mux := http.NewServeMux()
	mux.Handle("/socket.io/", io)
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	l, err := net.Listen("tcp4", net.JoinHostPort(env("HOST", "127.0.0.1"), env("PORT", "3000")))
	if err != nil {
		return err
	}
	go closeAtEnd(stop, srv, io)
	if err := srv.Serve(l); err != http.ErrServerClosed {
		return err
	}
	return nil
}

func handle(io *sockeye.Server) {
	io.On("echo", sockeye.HandlerFunc(func(_ context.Context, m *sockeye.Message) error {
		args := m.Args()
		if len(args) == 0 {
			return m.Ack()
		}
		return m.Ack(args[0])
	}))
	io.On("join", sockeye.HandlerFunc(func(ctx context.Context, m *sockeye.Message) error {
		var room string
		if err := m.Scan(&room); err != nil {
			return err
		}
		return sockeye.SocketFrom(ctx).Join(room)
	}))
	io.On("pub", sockeye.HandlerFunc(func(_ context.Context, m *sockeye.Message) error {
		var p publication
		if err := m.Scan(&p); err != nil {
			return err
		}
		return io.To(p.Room).Emit("msg", p.Payload)
	}))
}

func cluster(redis, kind string) (adapter.Cluster, error) {
	if redis == "" {
		return nil, nil
	}
	d, err := rueidisdriver.FromURL("redis://" + redis)
	if err != nil {
		return nil, err
	}
	switch kind {
	case "", "classic":
		return redisadapter.PubSub(d, redisadapter.PubSubOptions{}), nil
	case "sharded":
		return redisadapter.Sharded(d, redisadapter.ShardedOptions{}), nil
	case "streams":
		return redisadapter.Streams(d, redisadapter.StreamsOptions{}), nil
	}
	return nil, fmt.Errorf("ADAPTER=%q is none of classic, sharded and streams", kind)
}

// collect ends with ctx.
func collect(ctx context.Context, c <-chan os.Signal) {
	for {
		select {
		case <-c:
			debug.FreeOSMemory()
		case <-ctx.Done():
			return
		}
	}
}

// profile ends with the process.
func profile(addr string) {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	srv := &http.Server{Addr: addr, Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	fmt.Fprintln(os.Stderr, "bench/server:", srv.ListenAndServe())
}

// closeAtEnd ends once everything is closed.
func closeAtEnd(ctx context.Context, srv *http.Server, io *sockeye.Server) {
	<-ctx.Done()
	limit, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := io.Shutdown(limit); err != nil {
		fmt.Fprintln(os.Stderr, "bench/server:", err)
	}
	if err := srv.Shutdown(limit); err != nil {
		fmt.Fprintln(os.Stderr, "bench/server:", err)
	}
}

func env(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}
