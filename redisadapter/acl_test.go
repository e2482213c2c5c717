package redisadapter_test

import (
	"testing"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/parser"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/rueidisdriver"
)

// T24: a user of Redis who may do no more than these rules say is enough. A pattern that is subscribed to must be in the
// rules as it is, so that the classic adapter needs one for each namespace.
func TestACL(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		rules []string
		open  func(d redisadapter.StreamDriver) adapter.Cluster
	}{
		"classic": {
			[]string{"&socket.io*", "&socket.io#/#*", "+@connection", "+@pubsub"},
			func(d redisadapter.StreamDriver) adapter.Cluster { return redisadapter.PubSub(d, options{}) },
		},
		"sharded": {
			[]string{"&socket.io*", "+@connection", "+@pubsub"},
			func(d redisadapter.StreamDriver) adapter.Cluster { return redisadapter.Sharded(d, shardedOptions{}) },
		},
		"streams": {
			[]string{
				"&socket.io*", "~socket.io*", "~sio:session:*", "+@connection", "+@pubsub",
				"+xadd", "+xread", "+xrange", "+xinfo", "+set", "+get", "+del", "+eval",
			},
			func(d redisadapter.StreamDriver) adapter.Cluster {
				return redisadapter.Streams(d, redisadapter.StreamsOptions{})
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redis := testkit.StartRedis(t)
			redis.Do(append([]string{"ACL", "SETUSER", "app", "on", ">secret", "resetchannels"}, c.rules...)...)
			redis.Do("ACL", "SETUSER", "default", "off")
			open := func() *server {
				d, err := rueidisdriver.FromURL("redis://app:secret@" + redis.Addr)
				if err != nil {
					t.Fatal(err)
				}
				return startCluster(t, c.open(d))
			}
			a, b := open(), open()
			sa, sb := a.host.Connect(t, "socket-of-a-aaaaaaaa", "r"), b.host.Connect(t, "socket-of-b-bbbbbbbb", "r")
			settle(t, a, b)
			for _, o := range []adapter.Options{{}, {Rooms: []string{"r"}}, {Rooms: []string{sb.ID()}}} {
				if err := a.Broadcast(bounded(t), packet("e"), o); err != nil {
					t.Fatal(err)
				}
			}
			testkit.Eventually(t, "all arrive", func() bool { return count(sb, "e") == 3 && count(sa, "e") == 2 })
			sb.Answer(func([]any) []parser.Arg { return nil })
			o := adapter.Options{Rooms: []string{sb.ID()}}
			if err := a.BroadcastWithAck(bounded(t), packet("q"), o, func(adapter.Answer) {}); err != nil {
				t.Error(err)
			}
			if all, err := b.Fetch(bounded(t), adapter.Options{}); err != nil || len(all) != 2 {
				t.Errorf("%v %v", all, err)
			}
			for _, s := range []*server{a, b} {
				if err := s.cluster.Health(); err != nil || len(s.host.Faults()) > 0 {
					t.Errorf("%v %v", err, s.host.Faults())
				}
			}
		})
	}
}
