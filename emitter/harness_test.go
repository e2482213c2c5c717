package emitter_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/emitter"
	"github.com/sockeye-io/sockeye/engineio"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/rueidisdriver"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// format makes servers and emitters that understand each other.
type format struct {
	server  func(d redisadapter.Driver) adapter.Cluster
	emitter func(d redisadapter.Driver, fault func(error)) (*emitter.Emitter, error)
}

// formats are all that there are, by name.
func formats() map[string]format {
	all := map[string]format{
		"pubsub":                     pubsubFormat(redisadapter.PubSubOptions{}),
		"pubsub, specific responses": pubsubFormat(redisadapter.PubSubOptions{SpecificResponses: true}),
	}
	for _, mode := range []redisadapter.SubscriptionMode{
		redisadapter.StaticSubscriptions, redisadapter.DynamicSubscriptions, redisadapter.DynamicPrivateSubscriptions,
	} {
		all["sharded, "+string(mode)] = shardedFormat(redisadapter.ShardedOptions{Mode: mode})
	}
	all["streams"] = streamsFormat(redisadapter.StreamsOptions{})
	all["streams, sharded pub/sub"] = streamsFormat(redisadapter.StreamsOptions{ShardedPubSub: true, StreamCount: 3})
	return all
}

func streamsFormat(o redisadapter.StreamsOptions) format {
	o.Block = 100 * time.Millisecond // a server that is closed need not wait longer. All drivers here keep streams.
	return format{
		func(d redisadapter.Driver) adapter.Cluster {
			return redisadapter.Streams(d.(redisadapter.StreamDriver), o)
		},
		func(d redisadapter.Driver, fault func(error)) (*emitter.Emitter, error) {
			o.OnFault = on(fault)
			return emitter.Streams(d.(redisadapter.StreamDriver), o)
		},
	}
}

func pubsubFormat(o redisadapter.PubSubOptions) format {
	return format{
		func(d redisadapter.Driver) adapter.Cluster { return redisadapter.PubSub(d, o) },
		func(d redisadapter.Driver, fault func(error)) (*emitter.Emitter, error) {
			o.OnFault = on(fault)
			return emitter.PubSub(d, o)
		},
	}
}

func shardedFormat(o redisadapter.ShardedOptions) format {
	return format{
		func(d redisadapter.Driver) adapter.Cluster { return redisadapter.Sharded(d, o) },
		func(d redisadapter.Driver, fault func(error)) (*emitter.Emitter, error) {
			o.OnFault = on(fault)
			return emitter.Sharded(d, o)
		},
	}
}

func on(fault func(error)) func(string, error) { return func(_ string, err error) { fault(err) } }

// each runs a test over a real Redis with every format.
func each(t *testing.T, f func(t *testing.T, c *cluster)) {
	t.Helper()
	for name, fm := range formats() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, startCluster(t, fm))
		})
	}
}

// cluster is two servers and an emitter on one Redis.
type cluster struct {
	t       *testing.T
	redis   *testkit.Redis
	servers []*sockeye.Server
	kinds   []adapter.Cluster
	urls    []string
	e       *emitter.Emitter

	recovery *sockeye.Recovery // of servers; nil: none
}

func startCluster(t *testing.T, f format) *cluster {
	t.Helper()
	c := &cluster{t: t, redis: testkit.StartRedis(t)}
	for range 2 {
		c.serve(f, c.driver())
	}
	c.e = startEmitter(t, f, c.driver(), func(error) {})
	return c
}

// serve adds a server.
func (c *cluster) serve(f format, d redisadapter.Driver) {
	c.t.Helper()
	kind := f.server(d)
	io, err := sockeye.New(sockeye.Config{Adapter: kind, Recovery: c.recovery})
	if err != nil {
		c.t.Fatal(err)
	}
	io.Of("/chat")
	web := httptest.NewServer(io)
	c.t.Cleanup(func() {
		if err := io.Close(); err != nil {
			c.t.Error(err)
		}
		web.Close()
	})
	c.servers, c.kinds, c.urls = append(c.servers, io), append(c.kinds, kind), append(c.urls, web.URL)
}

func (c *cluster) driver() redisadapter.Driver {
	c.t.Helper()
	d, err := rueidisdriver.FromURL(c.redis.URL())
	if err != nil {
		c.t.Fatal(err)
	}
	return d
}

func startEmitter(t *testing.T, f format, d redisadapter.Driver, fault func(error)) *emitter.Emitter {
	t.Helper()
	e, err := f.emitter(d, fault)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// limited bounds what a test waits for.
func limited(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Scale(20*time.Second))
	t.Cleanup(cancel)
	return ctx
}

// client speaks raw packets and answers every question with its name.
type client struct {
	t    *testing.T
	name string
	nsp  string // "" or the name and a comma
	id   string
	pid  string // with recovery
	conn *engineio.Conn

	mu   sync.Mutex
	got  []string // events as they came; binary as its bytes
	left bool     // disconnected
}

func (c *client) OnOpen(*engineio.Conn, *http.Request) {}

func (c *client) OnMessage(conn *engineio.Conn, data []byte, binary bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	text := string(data)
	rest, event := strings.CutPrefix(text, "2"+c.nsp)
	switch {
	case binary:
		c.got = append(c.got, text)
	case strings.HasPrefix(text, "0"+c.nsp):
		var connected struct{ SID, PID string }
		_ = json.Unmarshal([]byte(text[1+len(c.nsp):]), &connected) // the id stays empty then, which ends the test
		c.id, c.pid = connected.SID, connected.PID
	case text == "1"+c.nsp:
		c.left = true
	case event:
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		c.got = append(c.got, rest[digits:])
		if digits > 0 && !strings.HasPrefix(rest[digits:], `["mute"`) {
			_ = conn.Send([]byte("3"+c.nsp+rest[:digits]+"["+strconv.Quote(c.name)+`,"second"]`), false) // it may have ended
		}
	default:
		c.got = append(c.got, text)
	}
}

func (c *client) OnClose(*engineio.Conn, engineio.Reason, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left = true
}

// events gives what came, once as much as is wanted did.
func (c *client) events(n int) []string {
	c.t.Helper()
	var got []string
	testkit.Eventually(c.t, c.name+" hears "+strconv.Itoa(n)+" events", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		got = slices.Clone(c.got)
		return len(got) >= n
	})
	return got
}

func (c *client) gone() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.left
}

// dial connects a client to a namespace of a server, with what it says then.
func (c *cluster) dial(name string, server int, nsp, auth string) *client {
	c.t.Helper()
	k := &client{t: c.t, name: name}
	if nsp != "/" {
		k.nsp = nsp + ","
	}
	var err error
	k.conn, err = engineio.Dial(c.t.Context(), c.urls[server]+"/socket.io/", engineio.DialConfig{}, k)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = k.conn.Close() }) // it may have ended
	if err := k.conn.Send([]byte("0"+k.nsp+auth), false); err != nil {
		c.t.Fatal(err)
	}
	testkit.Eventually(c.t, name+" is connected", func() bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		return k.id != ""
	})
	return k
}

// connect connects a client to a namespace of a server, and puts it into rooms.
func (c *cluster) connect(name string, server int, nsp string, rooms ...string) *client {
	c.t.Helper()
	k := c.dial(name, server, nsp, "")
	s, ok := c.servers[server].Of(nsp).Socket(k.id)
	if !ok {
		c.t.Fatal("no such socket")
	}
	if err := s.Join(rooms...); err != nil {
		c.t.Fatal(err)
	}
	if k, ok := c.kinds[server].(interface {
		Settled(ctx context.Context) error
	}); ok {
		if err := k.Settled(limited(c.t)); err != nil { // rooms may have channels of their own
			c.t.Fatal(err)
		}
	}
	return k
}

// heard gives who of the clients got an event with that text, after everything emitted so far came.
func (c *cluster) heard(text string, clients ...*client) []string {
	c.t.Helper()
	if err := c.e.EmitContext(limited(c.t), "mark"); err != nil {
		c.t.Fatal(err)
	}
	var names []string
	for _, k := range clients {
		testkit.Eventually(c.t, k.name+" hears the mark", func() bool {
			k.mu.Lock()
			defer k.mu.Unlock()
			return slices.Contains(k.got, `["mark"]`)
		})
		k.mu.Lock()
		for _, e := range k.got {
			if e == text {
				names = append(names, k.name)
			}
		}
		k.got = nil
		k.mu.Unlock()
	}
	return names
}
