// Command from-go-socket.io is the new side of the migration that the README describes: a chat with rooms, for clients of
// Socket.IO 2 as before and for those of today.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/sockeye-io/sockeye"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:3000", "address to listen on")
	flag.Parse()
	io, err := newServer()
	if err != nil {
		log.Fatal(err)
	}
	l, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("the chat is at http://%s\n", l.Addr())
	http.Handle("/socket.io/", io)
	log.Fatal((&http.Server{ReadHeaderTimeout: 5 * time.Second}).Serve(l))
}

func newServer() (*sockeye.Server, error) {
	io, err := sockeye.New(sockeye.Config{
		AllowEIO3: true, // the clients of 2.x, which are the only ones that the old server had
		Hooks: sockeye.Hooks{
			Error: func(_ context.Context, err error) { log.Println("error:", err) },
		},
	})
	if err != nil {
		return nil, err
	}

	io.OnConnection(func(_ context.Context, s *sockeye.Socket) {
		log.Println("connected:", s.ID())
		s.OnDisconnect(func(reason sockeye.Reason) { log.Println("gone:", s.ID(), reason) })
	})
	io.On("join", sockeye.Func(func(ctx context.Context, room string) (string, error) {
		s := sockeye.SocketFrom(ctx)
		s.SetData(room)
		return "joined " + room, s.Join(room)
	}))
	io.On("say", sockeye.Func(func(ctx context.Context, text string) error {
		room, ok := sockeye.SocketFrom(ctx).Data().(string)
		if !ok {
			return errors.New("said something before joining a room")
		}
		return io.To(room).Emit("said", text)
	}))

	admin := io.Of("/admin")
	admin.On("count", sockeye.Func(func(ctx context.Context, room string) (int, error) {
		return io.To(room).Count(ctx)
	}))
	return io, nil
}
