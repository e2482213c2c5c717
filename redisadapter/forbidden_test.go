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
	server := testkit.StartRedis(t)
	admin := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer admin.Close()
	// A pattern must be allowed literally.
	rules := "resetchannels &socket.io#/#* &socket.io-*#/# &socket.io-*#/#* &socket.io-sockeye* &socket.io#/#"
	args := []any{"ACL", "SETUSER", "u", "on", ">p", "~*", "+@all"}
	for r := range strings.FieldsSeq(rules) {
		args = append(args, r)
	}
	if err := admin.Do(t.Context(), args...).Err(); err != nil {
		t.Fatal(err)
	}
	drivers := map[string]func() (redisadapter.StreamDriver, error){
		"rueidis": func() (redisadapter.StreamDriver, error) { return rueidisdriver.FromURL("redis://u:p@" + server.Addr) },
		"go-redis": func() (redisadapter.StreamDriver, error) {
			client := redis.NewClient(&redis.Options{Addr: server.Addr, Username: "u", Password: "p"})
			t.Cleanup(func() { _ = client.Close() }) // nothing is asked of it any more
			return goredisdriver.New(client, goredisdriver.Options{})
		},
	}
	for name, open := range drivers {
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
				d, err := open()
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
