package redisadapter_test

import (
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/goredisdriver"
	"github.com/sockeye-io/sockeye/redisadapter/rueidisdriver"
)

// forbiddenDrivers open drivers for user "u" with password "p".
var forbiddenDrivers = map[string]func(t *testing.T, addr string) (redisadapter.StreamDriver, error){
	"rueidis": func(_ *testing.T, addr string) (redisadapter.StreamDriver, error) {
		return rueidisdriver.FromURL("redis://u:p@" + addr)
	},
	"go-redis": func(t *testing.T, addr string) (redisadapter.StreamDriver, error) {
		t.Helper()
		client := redis.NewClient(&redis.Options{Addr: addr, Username: "u", Password: "p"})
		t.Cleanup(func() { _ = client.Close() }) // nothing is asked of it any more
		return goredisdriver.New(client, goredisdriver.Options{})
	},
}

// A namespace whose channels the user may not subscribe to is not opened; the others are not concerned.
func TestOpen_Forbidden(t *testing.T) {
	t.Parallel()
	for name, open := range forbiddenDrivers {
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

// What Redis refuses to one namespace is not lost for another that opens in the same moment.
func TestOpen_ForbiddenBesideAllowed(t *testing.T) {
	t.Parallel()
	for name, open := range forbiddenDrivers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := testkit.StartRedis(t)
			server.Do("ACL", "SETUSER", "u", "on", ">p", "~*", "+@all", "resetchannels", "&socket.io-sockeye*")
			var allowed []string
			for i := range 8 {
				allowed = append(allowed, "/ok"+strconv.Itoa(i))
			}
			for _, name := range allowed {
				server.Do("ACL", "SETUSER", "u", "&socket.io#"+name+"#*", "&socket.io-request#"+name+"#", "&socket.io-response#"+name+"#*")
			}
			d, err := open(t, server.Addr)
			if err != nil {
				t.Fatal(err)
			}
			c := redisadapter.PubSub(d, redisadapter.PubSubOptions{})
			defer c.Close()
			if err := c.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			for i, name := range allowed {
				wg.Go(func() {
					if _, err := c.Open(adaptertest.NewHost(t, name)); err != nil {
						t.Errorf("%s: %v", name, err)
					}
				})
				wg.Go(func() {
					if _, err := c.Open(adaptertest.NewHost(t, "/no"+strconv.Itoa(i))); !errors.Is(err, redisadapter.ErrForbidden) {
						t.Errorf("/no%d: %v", i, err)
					}
				})
			}
			wg.Wait()
			for _, name := range allowed {
				testkit.Eventually(t, name+" is subscribed", func() bool {
					reply, _ := server.Do("PUBSUB", "NUMSUB", "socket.io-request#"+name+"#").([]any)
					return len(reply) == 2 && reply[1] == int64(1)
				})
			}
		})
	}
}
