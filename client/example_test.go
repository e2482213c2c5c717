package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/client"
	"github.com/sockeye-io/sockeye/engineio"
)

// serveExample runs a server of the examples. Outside of them it is another process, of ours or of Node.
func serveExample() (url string, stop func()) {
	srv, err := sockeye.New(sockeye.Config{})
	if err != nil {
		panic(err)
	}
	srv.Use(func(_ context.Context, s *sockeye.Socket) error {
		var auth struct{ Token string }
		if err := s.Auth(&auth); err != nil || auth.Token == "old" {
			return &sockeye.ConnectError{Message: "token expired", Data: map[string]any{"code": 7}}
		}
		return nil
	})
	srv.OnConnection(func(_ context.Context, s *sockeye.Socket) { _ = s.Emit("news", "you are in") })
	srv.On("sum", sockeye.Func(func(a, b int) int { return a + b }))
	srv.Of("/admin").On("whoami", sockeye.Func(func() string { return "an admin" }))
	web := httptest.NewServer(srv)
	return web.URL, func() {
		_ = srv.Close() // always nil
		web.Close()
	}
}

// Connect, listen, and ask.
func Example() {
	url, stop := serveExample()
	defer stop()

	heard := make(chan string, 1)
	s, err := client.Dial(context.Background(), url, client.Config{
		Setup: func(s *client.Socket) { // before it connects: no event is missed
			s.On("news", client.Func(func(text string) { heard <- text }))
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	fmt.Println(<-heard)

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	reply, err := s.EmitWithAck(ctx, "sum", 1, 2)
	if err != nil {
		fmt.Println(err)
		return
	}
	var sum int
	if err := reply.Scan(&sum); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(sum)
	// Output:
	// you are in
	// 3
}

// Several namespaces share one connection.
func ExampleManager() {
	url, stop := serveExample()
	defer stop()

	m, err := client.New(url, client.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer m.Close()
	m.OnReconnectAttempt(func(n int) { fmt.Println("attempt", n) })
	for _, name := range []string{"/", "/admin"} {
		if err := m.Socket(name).Connect(context.Background()); err != nil {
			fmt.Println(err)
			return
		}
	}
	reply, err := m.Socket("/admin").EmitWithAck(context.Background(), "whoami")
	if err != nil {
		fmt.Println(err)
		return
	}
	var who string
	fmt.Println(reply.Scan(&who), who)
	// Output: <nil> an admin
}

// A token that is asked for again at every connect, and a refusal with data.
func ExampleConnectError() {
	url, stop := serveExample()
	defer stop()

	var tokens atomic.Int32
	m, err := client.New(url, client.Config{
		AuthFunc: func(context.Context, string) (any, error) {
			if tokens.Add(1) == 1 {
				return map[string]string{"token": "old"}, nil
			}
			return map[string]string{"token": "new"}, nil
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer m.Close()
	s := m.Socket("/")
	err = s.Connect(context.Background())
	if refused, ok := errors.AsType[*client.ConnectError](err); ok {
		var data struct{ Code int }
		fmt.Println(refused.Message, refused.Data.Scan(&data), data.Code)
		err = s.Connect(context.Background()) // a refused socket tries again when it is told to
	}
	fmt.Println(err)
	// Output:
	// token expired <nil> 7
	// <nil>
}

// Events that reach the server though connections are lost: each is sent again until it is acknowledged.
func ExampleConfig_retries() {
	url, stop := serveExample()
	defer stop()

	s, err := client.Dial(context.Background(), url, client.Config{
		Retries: 5, AckTimeout: 10 * time.Second,
		Reconnect: client.Reconnect{Delay: 100 * time.Millisecond},
		OnError:   func(err error) { fmt.Println("given up:", err) },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	fmt.Println(s.Emit("sum", 1, 2))
	// Output: <nil>
}

// Thousands of clients in one process.
func ExampleConfig_loop() {
	url, stop := serveExample()
	defer stop()

	loop := engineio.NewLoop()
	defer loop.Close() // after its clients
	cfg := client.Config{Transports: []string{"websocket"}, Loop: loop}
	clients := make([]*client.Socket, 10)
	for i := range clients {
		s, err := client.Dial(context.Background(), url, cfg)
		if err != nil {
			fmt.Println(err)
			return
		}
		defer s.Close()
		clients[i] = s
	}
	fmt.Println(len(clients), clients[0].Manager().Transport())
	// Output: 10 websocket
}

// A header, a query, and TLS or proxies as net/http has them.
func ExampleConfig_network() {
	url, stop := serveExample()
	defer stop()

	s, err := client.Dial(context.Background(), url, client.Config{
		Path:       "/socket.io/",
		Query:      map[string][]string{"version": {"7"}},
		Header:     http.Header{"Authorization": {"Bearer secret"}},
		HTTPClient: &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	fmt.Println(s.Connected())
	// Output: true
}

// Chat is shared by server and client.
const Chat sockeye.Event[string] = "news"

func ExampleEvent() {
	url, stop := serveExample()
	defer stop()

	heard := make(chan string, 1)
	s, err := client.Dial(context.Background(), url, client.Config{Setup: func(s *client.Socket) {
		Chat.On(s, func(_ context.Context, text string) error {
			heard <- text
			return nil
		})
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	fmt.Println(<-heard)
	// Output: you are in
}
