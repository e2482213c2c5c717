package goredisdriver_test

import (
	"log"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/goredisdriver"
)

// A service that holds a client of a Redis Cluster.
func ExampleNew() {
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"10.0.0.1:6379", "10.0.0.2:6379"}})
	defer client.Close()

	driver, err := goredisdriver.New(client, goredisdriver.Options{})
	if err != nil {
		log.Print(err)
		return
	}
	cluster := redisadapter.PubSub(driver, redisadapter.PubSubOptions{})
	io, err := sockeye.New(sockeye.Config{Adapter: cluster})
	if err != nil {
		log.Print(err)
		return
	}
	defer io.Close() // and with it the driver, which leaves the client alone
}
