package interop

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/emitter"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/redisadapter"
)

// TestGoEmitter_Legacy2: a server of Socket.IO 2 understands what our emitter broadcasts. It is counted and answers no
// questions, so these end incomplete, with what the others said.
func TestGoEmitter_Legacy2(t *testing.T) {
	t.Parallel()
	c := startLegacy(t)
	e, err := emitter.PubSub(connect(t, c.redis), redisadapter.PubSubOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	g := &goEmitter{t: t, e: e}
	c.servers["goemitter"] = g
	for _, test := range []struct {
		name string
		s    selection
		args list
		want []string
	}{
		{"all", selection{}, someArgs(), all("a", "b", "c")},
		{"one room", selection{Rooms: []string{"blue"}}, someArgs(), all("b")},
		{"several rooms", selection{Rooms: []string{"red", "blue"}}, someArgs(), all("a", "b")},
		{"no such room", selection{Rooms: []string{"green"}}, someArgs(), nil},
		{"its socket", selection{Rooms: []string{c.ids["node-c"]}}, someArgs(), []string{"node-c"}},
		{
			"all but its socket",
			selection{Except: []string{c.ids["node-c"]}},
			someArgs(),
			slices.DeleteFunc(all("a", "b", "c"), func(name string) bool { return name == "node-c" }),
		},
		{"volatile", selection{Volatile: true}, someArgs(), all("a", "b", "c")},
		{"binary", selection{}, list{bin("AQID"), deep()}, all("a", "b", "c")},
		{"no arguments", selection{}, nil, all("a", "b", "c")},
	} {
		test.s.NSP = "/"
		g.emit(test.s, "news", test.args...)
		got := c.gotEach("goemitter", "news", func(client string) list {
			if strings.HasPrefix(client, "node-") {
				return bufferJSON(test.args).(list)
			}
			return test.args
		})
		same(t, test.name, got, test.want)
	}
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Scale(time.Second)) // two answer in time
	defer cancel()
	var partial *adapter.Incomplete
	found, err := e.FetchSockets(ctx)
	if !errors.As(err, &partial) || partial.Expected != 3 || partial.Received != 2 || len(found) != 6 {
		t.Errorf("%d sockets, %v", len(found), err)
	}
	c.alive()
}
