package sockeye_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/sockeye-io/sockeye"
)

// A server where each room hears what is said in it.
func Example() {
	io, err := sockeye.New(sockeye.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer io.Close()
	io.On("join", sockeye.Func(func(ctx context.Context, room string) error {
		return sockeye.SocketFrom(ctx).Join(room)
	}))
	io.On("say", sockeye.Func(func(ctx context.Context, room, text string) error {
		return sockeye.SocketFrom(ctx).To(room).Emit("said", text)
	}))
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", io)
	fmt.Println(io.Health())
	// Output: <nil>
}

type (
	// Msg is what a chat message carries.
	Msg struct{ Room, Text string }
	// LoginReq asks to be let in.
	LoginReq struct{ User string }
	// LoginRes tells how many are in.
	LoginRes struct{ Users int }
)

// Names of events with their types, for servers and clients to share.
const (
	ChatMsg sockeye.Event[Msg]               = "chat message"
	Login   sockeye.Call[LoginReq, LoginRes] = "login"
)

func ExampleEvent() {
	io, err := sockeye.New(sockeye.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer io.Close()
	ChatMsg.On(io, func(ctx context.Context, m Msg) error {
		return ChatMsg.Emit(sockeye.SocketFrom(ctx).To(m.Room), m)
	})
	Login.Handle(io, func(ctx context.Context, r LoginReq) (LoginRes, error) {
		if r.User == "" {
			return LoginRes{}, &sockeye.PeerError{Data: "who are you?"}
		}
		n, err := io.To("members").Count(ctx)
		return LoginRes{Users: n}, err
	})
	fmt.Println(ChatMsg.Emit(io, Msg{"all", "hello"}))
	// Output: <nil>
}

// Who may connect is for the middleware to say.
func ExampleNamespace_Use() {
	io, err := sockeye.New(sockeye.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer io.Close()
	io.Of("/admin").Use(func(ctx context.Context, s *sockeye.Socket) error {
		if sockeye.RequestFrom(ctx).Header.Get("Authorization") == "" {
			return &sockeye.ConnectError{Message: "unauthorized", Data: map[string]int{"code": 401}}
		}
		s.SetData("admin")
		return nil
	})
	fmt.Println(io.Of("/admin").Name())
	// Output: /admin
}

// A handler may wait for an acknowledgement, of its own socket too.
func ExampleSocket_EmitWithAck() {
	io, err := sockeye.New(sockeye.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer io.Close()
	io.OnConnection(func(ctx context.Context, s *sockeye.Socket) {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		r, err := s.EmitWithAck(ctx, "hello", "world")
		var answer string
		if err == nil {
			err = r.Scan(&answer)
		}
		if errors.Is(err, context.DeadlineExceeded) {
			_ = s.Disconnect(true)
		}
	})
	var ae *sockeye.AckError
	_, err = io.To("room").EmitWithAck(context.Background(), "ready?")
	fmt.Println(errors.As(err, &ae)) // nobody is in the room, so nobody is missing
	// Output: false
}
