package interop

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/redisadapter"
)

// severalStreams has the namespaces spread over three streams.
var severalStreams = kind{
	name: "three streams", node: "streams", pkg: "@socket.io/redis-streams-adapter",
	options: obj{"streamCount": 3}, unheard: "/tenant",
	ours: streams(redisadapter.StreamsOptions{StreamCount: 3}),
}

// TestStreams_SeveralStreams: the streams of namespaces are those that Node chooses. For one of them it chooses a stream
// that no Node server reads; ours do.
func TestStreams_SeveralStreams(t *testing.T) {
	t.Parallel()
	if allNode() {
		t.Skip("only Node servers")
	}
	c := startServers(t, clusterOptions{kind: severalStreams, namespaces: []string{"/news", "/tenant"}})
	for nsp, stream := range map[string]string{"/": "2", "/chat": "1", "/news": "0", "/tenant": "-1"} {
		unread := nsp == "/tenant"
		if !unread {
			c.prime(nsp)
		}
		for _, on := range c.order {
			c.open(nsp+on, on, nsp, "red")
		}
		for _, from := range c.order {
			s := c.servers[from]
			s.emit(selection{NSP: nsp, Rooms: []string{"red"}}, "from "+from, deep())
			for _, on := range c.order {
				if !unread || on != "node" || on == from {
					c.clients[nsp+on].want("from "+from, deep())
				}
			}
			// Questions do not go by the streams.
			same(t, "fetched from "+from, len(s.fetch(selection{NSP: nsp})), 3)
			replies, timedOut := s.call(selection{NSP: nsp}, limit, "question", 1)
			same(t, "acks", list{replies, timedOut}, list{list{1, 1, 1}, false})
		}
		if length, _ := c.ask("XLEN", "socket.io-"+stream).(float64); length < 3 {
			t.Errorf("%s: stream %s has %v entries", nsp, stream, length)
		}
	}
	same(t, "what Node got in /tenant", slices.DeleteFunc(c.clients["/tenantnode"].events(), func(e string) bool {
		return !strings.HasPrefix(e, "from ")
	}), []string{"from node"})
}

// TestStreams_BesideClassicNode: where classic servers are, ours with streams does not start, and they live on. On
// another prefix it starts.
func TestStreams_BesideClassicNode(t *testing.T) {
	t.Parallel()
	redis := testkit.StartRedis(t)
	node := startNode(t, redis, kinds[0], clusterOptions{})
	eventually(t, "Node listens", func() bool {
		var count int
		node.p.do("servers", obj{"nsp": "/"}, &count)
		return count == 1
	})
	s, err := sockeye.New(sockeye.Config{Adapter: redisadapter.Streams(connect(t, redis), redisadapter.StreamsOptions{})})
	if !errors.Is(err, redisadapter.ErrPrefixInUse) {
		t.Errorf("%v, want ErrPrefixInUse", err)
	}
	if err == nil {
		_ = s.Close()
	}
	other := redisadapter.StreamsOptions{ChannelPrefix: "other"}
	s, err = sockeye.New(sockeye.Config{Adapter: redisadapter.Streams(connect(t, redis), other)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Scale(limit))
	defer cancel()
	if found, err := s.Of("/").All().FetchSockets(ctx); err != nil || len(found) != 0 {
		t.Errorf("%v, %v", found, err)
	}
	if err := s.Of("/").All().EmitContext(ctx, "news", deep()); err != nil {
		t.Error(err)
	}
	same(t, "Node", len(node.fetch(selection{NSP: "/"})), 0)
}
