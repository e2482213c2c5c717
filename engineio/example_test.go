package engineio_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/sockeye-io/sockeye/engineio"
)

// shout answers each message in its own words.
type shout struct{}

func (shout) OnOpen(c *engineio.Conn, _ *http.Request) {
	_ = c.Send([]byte("welcome"), false) // an error says that the connection has ended, of which OnClose tells
}

func (shout) OnMessage(c *engineio.Conn, data []byte, binary bool) {
	_ = c.Send(append([]byte("you said "), data...), binary) // as above
}

func (shout) OnClose(*engineio.Conn, engineio.Reason, error) {}

// listener prints what it hears.
type listener struct{ done chan struct{} }

func (listener) OnOpen(c *engineio.Conn, _ *http.Request) { _ = c.Send([]byte("hello"), false) }

func (l listener) OnMessage(c *engineio.Conn, data []byte, _ bool) {
	fmt.Println(string(data))
	if string(data) != "welcome" {
		_ = c.Close()
	}
}

func (l listener) OnClose(*engineio.Conn, engineio.Reason, error) { close(l.done) }

func ExampleNewServer() {
	server, err := engineio.NewServer(engineio.Config{}, shout{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = server.Shutdown(context.Background()) }()
	web := httptest.NewServer(server) // http.ListenAndServe(":3000", server)
	defer web.Close()

	l := listener{done: make(chan struct{})}
	if _, err := engineio.Dial(context.Background(), web.URL, engineio.DialConfig{}, l); err != nil {
		fmt.Println(err)
		return
	}
	<-l.done
	// Output:
	// welcome
	// you said hello
}

// A message for many connections is encoded once.
func ExamplePrepare() {
	var room []*engineio.Conn // kept by OnOpen and OnClose

	news := engineio.Prepare([]byte("news"), false)
	for _, c := range room {
		if err := c.SendPrepared(engineio.SendOptions{Volatile: true}, news); err != nil {
			fmt.Println(err)
		}
	}
	// Output:
}
