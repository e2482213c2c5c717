package goredisdriver_test

import (
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/goredisdriver"
)

// A service that holds a client of a Redis Cluster, and may use it for other things.
func ExampleNew() {
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"10.0.0.1:6379", "10.0.0.2:6379"}})
	defer client.Close()

	driver, err := goredisdriver.New(client, goredisdriver.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	// The Config.Adapter of a server, which closes it, and with it the driver.
	cluster := redisadapter.PubSub(driver, redisadapter.PubSubOptions{Key: "chat"})
	fmt.Println(cluster.Close())
	// Output: <nil>
}
