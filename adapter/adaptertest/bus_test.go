package adaptertest_test

import (
	"context"
	"sync"
	"testing"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/parser"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func TestMemory(t *testing.T) {
	t.Parallel()
	f := func(_ *testing.T, servers int) []adapter.Cluster {
		return []adapter.Cluster{adapter.Memory()}[:servers]
	}
	adaptertest.RunServers(t, f, 1)
}

// TestBus runs the suite on servers that call each other, as a proof that it can be passed, and that Local and
// Requests are enough to pass it.
func TestBus(t *testing.T) {
	t.Parallel()
	adaptertest.Run(t, func(_ *testing.T, servers int) []adapter.Cluster {
		h := &hub{nodes: map[string][]*busAdapter{}}
		clusters := make([]adapter.Cluster, servers)
		for i := range clusters {
			clusters[i] = &bus{hub: h}
		}
		return clusters
	})
}

// hub is what the servers have in common.
type hub struct {
	mu    sync.Mutex
	nodes map[string][]*busAdapter // by namespace
}

func (h *hub) others(a *busAdapter) []*busAdapter {
	h.mu.Lock()
	defer h.mu.Unlock()
	var others []*busAdapter
	for _, n := range h.nodes[a.Host().Name()] {
		if n != a {
			others = append(others, n)
		}
	}
	return others
}

type bus struct{ hub *hub }

func (b *bus) Start(context.Context) error { return nil }
func (b *bus) Health() error               { return nil }
func (b *bus) Close() error                { return nil }

func (b *bus) Open(h adapter.Host) (adapter.Adapter, error) {
	b.hub.mu.Lock()
	defer b.hub.mu.Unlock()
	for _, n := range b.hub.nodes[h.Name()] {
		if n.bus == b {
			return nil, adapter.ErrOpen
		}
	}
	a := &busAdapter{Local: adapter.NewLocal(h), bus: b, id: adapter.NewID()}
	b.hub.nodes[h.Name()] = append(b.hub.nodes[h.Name()], a)
	return a, nil
}

type busAdapter struct {
	*adapter.Local

	bus      *bus
	id       string
	requests adapter.Requests
}

func (a *busAdapter) Broadcast(ctx context.Context, p *parser.Packet, o adapter.Options) error {
	if err := a.Local.Broadcast(ctx, p, o); err != nil || o.Flags.Local {
		return err
	}
	for _, n := range a.bus.hub.others(a) {
		if _, err := n.Deliver(p, o); err != nil {
			n.Host().Fault(err)
		}
	}
	return nil
}

func (a *busAdapter) BroadcastWithAck(
	ctx context.Context, p *parser.Packet, o adapter.Options, each func(adapter.Answer),
) error {
	q, err := a.requests.New(adapter.OfSockets)
	if err != nil {
		return err
	}
	defer q.Close()
	if err := a.AskFor(q, p, o); err != nil {
		return err
	}
	others := a.bus.hub.others(a)
	for _, n := range others {
		stop, err := n.Ask(p, o, adapter.Question{
			Counted: func(sockets int) { a.requests.Find(q.ID()).Heard(n.id, sockets) },
			Answer:  q.SocketAnswer,
		})
		if err != nil {
			return err
		}
		defer stop()
	}
	q.Expect(len(others))
	return q.Wait(ctx, func(r adapter.Response) { each(r.Answer) })
}

func (a *busAdapter) Fetch(ctx context.Context, o adapter.Options) ([]adapter.Remote, error) {
	sockets, err := a.Local.Fetch(ctx, o)
	if err != nil || o.Flags.Local {
		return sockets, err
	}
	q, err := a.requests.New(adapter.OfServers)
	if err != nil {
		return nil, err
	}
	defer q.Close()
	others := a.bus.hub.others(a)
	q.Expect(len(others))
	for _, n := range others {
		there, err := n.Local.Fetch(ctx, o)
		if err != nil {
			return nil, err
		}
		q.Remotes(n.id, there)
		q.Remotes(n.id, there) // answers that come twice count once
	}
	err = q.Wait(ctx, func(r adapter.Response) { sockets = append(sockets, r.Remotes...) })
	return sockets, err
}

func (a *busAdapter) Count(ctx context.Context, o adapter.Options) (int, error) {
	sockets, err := a.Fetch(ctx, o)
	return len(sockets), err
}

// Rooms takes the place of that of Local, which knows this server alone.
func (a *busAdapter) Rooms(ctx context.Context, o adapter.Options) (map[string]int, error) {
	sockets, err := a.Fetch(ctx, o)
	return adapter.SizesOf(sockets), err
}

func (a *busAdapter) Command(ctx context.Context, c adapter.Command, o adapter.Options) error {
	if err := a.Local.Command(ctx, c, o); err != nil || o.Flags.Local {
		return err
	}
	for _, n := range a.bus.hub.others(a) {
		if err := n.Local.Command(ctx, c, o); err != nil {
			return err
		}
	}
	return nil
}

func (a *busAdapter) ServerSide(ctx context.Context, p *parser.Packet, each func(adapter.Answer)) error {
	others := a.bus.hub.others(a)
	if each == nil {
		for _, n := range others {
			n.Host().ServerSide(p.Event, p.Args, nil)
		}
		return nil
	}
	q, err := a.requests.New(adapter.OfServers)
	if err != nil {
		return err
	}
	defer q.Close()
	q.Expect(len(others))
	for _, n := range others {
		n.Host().ServerSide(p.Event, p.Args, func(args []parser.Arg) {
			q.ServerAnswer(adapter.Answer{Server: n.id, Args: args})
		})
	}
	return q.Wait(ctx, func(r adapter.Response) { each(r.Answer) })
}

func (a *busAdapter) Close() error {
	a.bus.hub.mu.Lock()
	name := a.Host().Name()
	var left []*busAdapter
	for _, n := range a.bus.hub.nodes[name] {
		if n != a {
			left = append(left, n)
		}
	}
	a.bus.hub.nodes[name] = left
	a.bus.hub.mu.Unlock()
	a.requests.Close()
	return a.Local.Close()
}
