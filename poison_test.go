package sockeye_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/parser"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/redistest"
)

// T23: whatever arrives from Redis, clients get nothing that they could not read, no connection ends for it but by a
// message that says so, and the next valid message is delivered.
func TestThreats_PoisonedBus(t *testing.T) {
	t.Parallel()
	hub := redistest.NewHub()
	node := func() *bundle {
		return setup(t, sockeye.Config{Adapter: redisadapter.PubSub(hub.Driver(), redisadapter.PubSubOptions{}), AllowEIO3: true})
	}
	a, b := node(), node()
	echo(b)
	for _, n := range []*sockeye.Namespace{a.Of("/"), b.Of("/")} {
		n.OnServerSide("e", sockeye.HandlerFunc(func(_ context.Context, m *sockeye.Message) error { return m.Ack(len(m.Args())) }))
	}
	b.OnConnection(func(_ context.Context, s *sockeye.Socket) {
		if err := s.Join("r"); err != nil && !errors.Is(err, sockeye.ErrClosed) {
			t.Error(err)
		}
	})
	p, _ := b.connect()
	testkit.Eventually(t, "it is in the room", func() bool {
		n, err := b.To("r").Local().Count(t.Context())
		return n == 1 && err == nil
	})
	sample(t, a.Of("/"))
	seeds := hub.Published()
	if len(seeds) < 12 {
		t.Fatalf("%d messages", len(seeds))
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 30_000 {
		m := seeds[rng.IntN(len(seeds))]
		payload := append([]byte(nil), m.Payload...)
		for range 1 + rng.IntN(3) {
			payload = mutate(rng, payload)
		}
		hub.Inject(m.Channel, payload)
	}
	sentinel := "the next valid one"
	if err := a.Emit(sentinel); err != nil {
		t.Fatal(err)
	}
	dec := parser.JSON().NewDecoder(parser.Limits{Depth: -1, Args: -1, Attachments: -1, Bytes: -1}, 5)
	mutants := 0
	for {
		m := p.receive()
		if m.closed != "" {
			t.Fatalf("connection ended: %s", m.closed)
		}
		data, binary := []byte(m.text), m.binary != nil
		if binary {
			data = m.binary
		}
		var packet parser.Packet
		done, err := dec.Add(&packet, data, binary)
		if err != nil {
			t.Fatalf("received %q: %v", data, err)
		}
		if done && packet.Type == parser.Disconnect { // by a mutated order
			p.send("0")
		}
		if done && packet.Type == parser.Connect {
			if err := a.Emit(sentinel); err != nil {
				t.Fatal(err)
			}
		}
		if done && packet.Event == sentinel {
			break
		}
		mutants++
	}
	if mutants < 20 { // there are hundreds while the client is not disconnected, by mutants too
		t.Errorf("only %d messages came through", mutants)
	}
	testkit.Eventually(t, "both are well", func() bool { return a.Health() == nil && b.Health() == nil })
	for _, in := range append(a.faults.panics(), b.faults.panics()...) {
		t.Errorf("panic in %s", in)
	}
}

// sample publishes one message of each kind.
func sample(t *testing.T, n *sockeye.Namespace) {
	t.Helper()
	ctx, all := t.Context(), n.All()
	for _, err := range []error{
		all.Emit("e", 1, "x", map[string]any{"b": []byte("bin")}), all.To("r").Emit("e", []any{nil, true, 1.5}),
		all.To("r", "s").Except("t").Emit("e"), all.Compress(false).Emit("e"),
		all.To("r").Join(ctx, "q"), all.To("r").Leave(ctx, "q"), all.To("nobody").Disconnect(ctx, false),
		n.ServerSideEmit(ctx, "e", "x"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := all.FetchSockets(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := n.ServerSideEmitWithAck(ctx, "e", 1); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	_, _ = all.To("r").EmitWithAck(ctx, "q", 1) // nobody answers
}

// mutate changes a message a little.
func mutate(rng *rand.Rand, b []byte) []byte {
	if len(b) == 0 {
		return []byte{byte(rng.Uint32())}
	}
	i := rng.IntN(len(b))
	switch rng.IntN(5) {
	case 0:
		return b[:i]
	case 1:
		b[i] = byte(rng.Uint32())
	case 2:
		b[i] ^= 1 << rng.IntN(8)
	case 3:
		return append(b[:i:i], append([]byte{byte(rng.Uint32())}, b[i:]...)...)
	default:
		return append(b[:i:i], b[min(i+1+rng.IntN(4), len(b)):]...)
	}
	return b
}
