package redisadapter_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/goredisdriver"
	"github.com/sockeye-io/sockeye/redisadapter/rueidisdriver"
)

// A namespace whose channels the user may not subscribe to is not opened; the others are not concerned.
func TestOpen_Forbidden(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(t *testing.T, addr string) (redisadapter.StreamDriver, error){
		"rueidis": func(_ *testing.T, addr string) (redisadapter.StreamDriver, error) {
			return rueidisdriver.FromURL("redis://u:p@" + addr)
		},
		"go-redis": func(t *testing.T, addr string) (redisadapter.StreamDriver, error) {
			t.Helper()
			client := redis.NewClient(&redis.Options{Addr: addr, Username: "u", Password: "p"})
			t.Cleanup(func() { _ = client.Close() }) // nothing is asked of it any more
			return goredisdriver.New(client, goredisdriver.Options{})
		},
	} {
		for kind, cluster := range map[string]func(redisadapter.StreamDriver) adapter.Cluster{
			"classic": func(d redisadapter.StreamDriver) adapter.Cluster {
				return redisadapter.PubSub(d, redisadapter.PubSubOptions{})
			},
			"sharded": func(d redisadapter.StreamDriver) adapter.Cluster {
				return redisadapter.Sharded(d, redisadapter.ShardedOptions{})
			},
			"streams": func(d redisadapter.StreamDriver) adapter.Cluster {
				return redisadapter.Streams(d, redisadapter.StreamsOptions{})
			},
		} {
			t.Run(name+" "+kind, func(t *testing.T) {
				t.Parallel()
				server := testkit.StartRedis(t)
				// A pattern must be allowed literally.
				server.Do("ACL", "SETUSER", "u", "on", ">p", "~*", "+@all", "resetchannels", "&socket.io#/#*", "&socket.io#/#",
					"&socket.io-*#/#", "&socket.io-*#/#*", "&socket.io-sockeye*")
				d, err := open(t, server.Addr)
				if err != nil {
					t.Fatal(err)
				}
				c := cluster(d)
				defer c.Close()
				if err := c.Start(t.Context()); err != nil {
					t.Fatal(err)
				}
				if _, err := c.Open(adaptertest.NewHost(t, "/")); err != nil {
					t.Errorf("allowed: %v", err)
				}
				_, err = c.Open(adaptertest.NewHost(t, "/x"))
				if !errors.Is(err, redisadapter.ErrForbidden) || !strings.Contains(err.Error(), "NOPERM") {
					t.Errorf("forbidden: %v", err)
				}
				testkit.Eventually(t, "all is well", func() bool { return c.Health() == nil })
			})
		}
	}
}
