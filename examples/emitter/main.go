// Command emitter sends a line of text to every client of a cluster, and serves none itself.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	"github.com/sockeye-io/sockeye/emitter"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/rueidisdriver"
)

func main() {
	if err := send(strings.Join(os.Args[1:], " ")); err != nil {
		log.Fatal(err)
	}
}

func send(text string) error {
	driver, err := rueidisdriver.FromURL("redis://127.0.0.1:6379")
	if err != nil {
		return err
	}
	io, err := emitter.PubSub(driver, redisadapter.PubSubOptions{})
	if err != nil {
		return err
	}
	defer io.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := io.EmitContext(ctx, "chat", text); err != nil {
		return err
	}
	n, err := io.Count(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("sent to %d clients\n", n)
	return nil
}
