package redisadapter_test

import (
	"context"
	"strconv"
	"testing"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/parser"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/rueidisdriver"
)

// sink is a driver that takes what is published, and whose subscription the benchmark plays.
type sink struct{ r redisadapter.Receiver }

func (*sink) Connect(context.Context) error                               { return nil }
func (*sink) Publish(context.Context, []redisadapter.Publication) []error { return nil }
func (*sink) Subscribers(context.Context, string) (int, error)            { return 2, nil }
func (*sink) ShardSubscribers(context.Context, string) (int, error)       { return 2, nil }
func (*sink) Close() error                                                { return nil }

func (s *sink) Subscribe(_ context.Context, r redisadapter.Receiver) (redisadapter.Subscription, error) {
	s.r = r
	return taciturn{}, nil
}

type taciturn struct{}

func (taciturn) Add(context.Context, redisadapter.Topics) error    { return nil }
func (taciturn) Remove(context.Context, redisadapter.Topics) error { return nil }
func (taciturn) Close() error                                      { return nil }

// silent is a namespace whose sockets are told nothing, so that the adapter alone is measured.
type silent struct{ index *adapter.Index }

func (silent) Name() string            { return "/" }
func (h silent) Index() *adapter.Index { return h.index }
func (silent) Prepare(*parser.Packet, adapter.Flags, func(adapter.Member, []parser.Arg)) (adapter.Delivery, func(), error) {
	return silent{}, func() {}, nil
}
func (silent) Describe(adapter.Member) adapter.Remote                   { return adapter.Remote{} }
func (silent) Command(adapter.Member, adapter.Command)                  {}
func (silent) ServerSide(string, []parser.Arg, func(args []parser.Arg)) {}
func (silent) Fault(error)                                              {}
func (silent) Deliver(adapter.Member)                                   {}

type member string

func (m member) ID() string { return string(m) }

func benchmarked(b *testing.B, kind string) (*sink, adapter.Adapter, interface{ Stats() redisadapter.Stats }) {
	b.Helper()
	s := &sink{}
	c := redisadapter.Sharded(s, shardedOptions{})
	if kind == "classic" {
		c = redisadapter.PubSub(s, options{})
	}
	if err := c.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close() })
	h := silent{adapter.NewIndex(0, nil)}
	a, err := c.Open(h)
	if err != nil {
		b.Fatal(err)
	}
	m := member("socket-aaaaaaaaaaaaa")
	h.index.Add(m)
	if err := h.index.Join(m, "room"); err != nil {
		b.Fatal(err)
	}
	return s, a, c.(interface{ Stats() redisadapter.Stats })
}

// BenchmarkBroadcast is a small event to one room, published; the flusher takes part.
func BenchmarkBroadcast(b *testing.B) {
	for _, kind := range []string{"classic", "sharded"} {
		b.Run(kind, func(b *testing.B) {
			_, a, _ := benchmarked(b, kind)
			p := &parser.Packet{Type: parser.Event, Namespace: "/", Event: "message", Args: []parser.Arg{parser.Value("some text")}}
			o := adapter.Options{Rooms: []string{"room"}}
			b.ReportAllocs()
			for b.Loop() {
				if err := a.Broadcast(context.Background(), p, o); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkReceive is the same event from another server, to one socket here.
func BenchmarkReceive(b *testing.B) {
	for kind, c := range map[string]struct{ pattern, channel, payload string }{
		"classic": {
			"socket.io#/#*", "socket.io#/#room#", "\x93\xa6abcdef\x83\xa4type\x02\xa4data\x92\xa7message\xa9some text" +
				"\xa3nsp\xa1/\x83\xa5rooms\x91\xa4room\xa6except\x90\xa5flags\x80",
		},
		"sharded": {
			"", "socket.io#/#room#", `{"type":3,"data":{"packet":{"type":2,"data":["message","some text"]},` +
				`"opts":{"rooms":["room"],"except":[],"flags":{}}},"uid":"0123456789abcdef","nsp":"/"}`,
		},
	} {
		b.Run(kind, func(b *testing.B) {
			s, _, stats := benchmarked(b, kind)
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				s.r.Message(c.pattern, c.channel, c.payload)
				n++
			}
			for stats.Stats().Received < uint64(n) {
				if stats.Stats().Malformed > 0 {
					b.Fatal("malformed")
				}
			}
			b.ReportMetric(float64(stats.Stats().Received)/float64(n), "received/op")
		})
	}
}

// BenchmarkJoin is a socket that joins a new room and leaves it, which is subscribed to in the background.
func BenchmarkJoin(b *testing.B) {
	for _, kind := range []string{"classic", "sharded"} {
		b.Run(kind, func(b *testing.B) {
			s := &sink{}
			c := redisadapter.Sharded(s, shardedOptions{})
			if kind == "classic" {
				c = redisadapter.PubSub(s, options{})
			}
			if err := c.Start(b.Context()); err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = c.Close() })
			x := adapter.NewIndex(0, nil)
			if _, err := c.Open(silent{x}); err != nil {
				b.Fatal(err)
			}
			m := member("socket-aaaaaaaaaaaaa")
			x.Add(m)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				room := strconv.Itoa(i)
				if err := x.Join(m, room); err != nil {
					b.Fatal(err)
				}
				x.Leave(m, room)
			}
		})
	}
}

// BenchmarkBroadcastRedis is the event of BenchmarkBroadcast by a real Redis, until all are accepted.
func BenchmarkBroadcastRedis(b *testing.B) {
	for kind, f := range map[string]func(d redisadapter.Driver) adapter.Cluster{
		"classic": func(d redisadapter.Driver) adapter.Cluster { return redisadapter.PubSub(d, options{}) },
		"sharded": func(d redisadapter.Driver) adapter.Cluster { return redisadapter.Sharded(d, shardedOptions{}) },
	} {
		b.Run(kind, func(b *testing.B) {
			redis := testkit.StartRedis(b)
			d, err := rueidisdriver.FromURL(redis.URL())
			if err != nil {
				b.Fatal(err)
			}
			c := f(d)
			if err := c.Start(b.Context()); err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			a, err := c.Open(silent{adapter.NewIndex(0, nil)})
			if err != nil {
				b.Fatal(err)
			}
			p := &parser.Packet{Type: parser.Event, Namespace: "/", Event: "message", Args: []parser.Arg{parser.Value("some text")}}
			o := adapter.Options{Rooms: []string{"room"}}
			for i := 1; b.Loop(); i++ {
				if i%10_000 == 0 { // so that the queue is never full
					ctx, cancel := context.WithCancel(b.Context())
					err = a.Broadcast(ctx, p, o)
					cancel()
				} else {
					err = a.Broadcast(context.Background(), p, o)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
			ctx, cancel := context.WithCancel(b.Context())
			defer cancel()
			if err := a.Broadcast(ctx, p, o); err != nil {
				b.Fatal(err)
			}
			if s := c.(interface{ Stats() redisadapter.Stats }).Stats(); s.Dropped+s.Failed > 0 || s.Published < uint64(b.N) {
				b.Errorf("%+v", s)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}
