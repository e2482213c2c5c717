// Command beside-node is the Go half of a cluster of a Node and a Go server. server.cjs is the Node half: it does the same,
// line by line.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/rueidisdriver"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:3000", "address to listen on")
	redis := flag.String("redis", "redis://127.0.0.1:6379", "URL of the Redis that Node uses too")
	mode := flag.String("mode", "classic", "as Node's adapter: classic, sharded or streams")
	flag.Parse()
	if err := run(*addr, *redis, *mode); err != nil {
		log.Fatal(err)
	}
}

func cluster(redis, mode string) (adapter.Cluster, error) {
	driver, err := rueidisdriver.FromURL(redis)
	if err != nil {
		return nil, err
	}
	switch mode {
	case "classic":
		return redisadapter.PubSub(driver, redisadapter.PubSubOptions{}), nil
	case "sharded":
		return redisadapter.Sharded(driver, redisadapter.ShardedOptions{}), nil
	case "streams":
		return redisadapter.Streams(driver, redisadapter.StreamsOptions{}), nil
	default:
		return nil, fmt.Errorf("mode %s is none of classic, sharded, streams", mode)
	}
}

// message is what event "said" carries.
type message struct {
	By   string `json:"by"`
	Text string `json:"text"`
}

func run(addr, redis, mode string) error {
	c, err := cluster(redis, mode)
	if err != nil {
		return err
	}
	io, err := sockeye.New(sockeye.Config{Adapter: c})
	if err != nil {
		return err
	}
	defer io.Close()
	io.On("join", sockeye.Func(func(ctx context.Context, room string) (string, error) {
		return "go", sockeye.SocketFrom(ctx).Join(room)
	}))
	io.On("say", sockeye.Func(func(room, text string) error {
		return io.To(room).Emit("said", message{"go", text})
	}))
	io.On("who", sockeye.Func(func(ctx context.Context, room string) (int, error) {
		sockets, err := io.To(room).FetchSockets(ctx)
		return len(sockets), err
	}))
	io.On("ask", sockeye.Func(func(ctx context.Context, room string) ([]string, error) {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		replies, err := io.To(room).EmitWithAck(ctx, "question")
		answers := make([]string, len(replies))
		for i, r := range replies {
			if err := r.Scan(&answers[i]); err != nil {
				return nil, err
			}
		}
		slices.Sort(answers)
		return answers, err
	}))
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	fmt.Printf("Go is at http://%s, mode %s\n", l.Addr(), mode)
	http.Handle("/socket.io/", io)
	return (&http.Server{ReadHeaderTimeout: 5 * time.Second}).Serve(l)
}
