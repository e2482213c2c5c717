// Command hello is the smallest server: what a client says, every other client hears.
package main

import (
	"context"
	"log"
	"net/http"

	"github.com/sockeye-io/sockeye"
)

func main() {
	io, err := sockeye.New(sockeye.Config{})
	if err != nil {
		log.Fatal(err)
	}
	io.On("chat", sockeye.Func(func(ctx context.Context, text string) error {
		return sockeye.SocketFrom(ctx).Broadcast().Emit("chat", text)
	}))
	http.Handle("/socket.io/", io)
	log.Fatal(http.ListenAndServe("127.0.0.1:3000", nil))
}
