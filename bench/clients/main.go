// Command clients says what clients of package client cost: memory and goroutines while they are idle, CPU time for
// each message. They are connected to a running bench/server.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye/client"
	"github.com/sockeye-io/sockeye/engineio"
)

func main() {
	b := &bench{}
	flag.IntVar(&b.n, "n", 10_000, "how many clients")
	flag.StringVar(&b.url, "url", "http://127.0.0.1:3000", "where bench/server listens")
	flag.StringVar(&b.transports, "transports", "websocket", "of the clients, with commas between")
	flag.BoolVar(&b.loop, "loop", false, "let the clients share a loop")
	flag.DurationVar(&b.settle, "settle", 25*time.Second, "how long the clients are idle before they are measured")
	flag.IntVar(&b.echoes, "echoes", 100, "echoes of each of 1,000 clients")
	flag.IntVar(&b.broadcasts, "broadcasts", 20, "broadcasts to all clients")
	flag.Parse()
	if err := b.run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "bench/clients:", err)
		os.Exit(1)
	}
}

// dialing is how many clients connect at one time.
const dialing = 64

// echoing is how many clients ask for echoes.
const echoing = 1000

type bench struct {
	n                  int
	url, transports    string
	loop               bool
	settle             time.Duration
	echoes, broadcasts int

	all []*client.Socket
	got atomic.Int64 // deliveries of broadcasts
}

func (b *bench) run(ctx context.Context) error {
	cfg := client.Config{Transports: strings.Split(b.transports, ","), Setup: func(s *client.Socket) {
		s.On("msg", client.HandlerFunc(func(context.Context, *client.Message) error {
			b.got.Add(1)
			return nil
		}))
	}}
	if b.loop {
		cfg.Loop = engineio.NewLoop()
		defer cfg.Loop.Close()
	}
	before := measure()
	if err := b.connect(ctx, cfg); err != nil {
		return err
	}
	defer b.close()
	connected := measure()
	time.Sleep(b.settle)
	idle := measure()
	per := func(a, z int64) int64 { return (z - a) / int64(b.n) }
	fmt.Printf("connect:   %.0f us CPU for each client\n", micros(before, connected, b.n))
	fmt.Printf("idle:      %d bytes for each client (heap %d, stacks %d), resident %d; %.2f goroutines\n",
		per(before.heap+before.stacks, idle.heap+idle.stacks), per(before.heap, idle.heap),
		per(before.stacks, idle.stacks), per(before.resident, idle.resident),
		float64(idle.goroutines-before.goroutines)/float64(b.n))
	if err := b.echo(ctx); err != nil {
		return err
	}
	return b.broadcast(ctx)
}

func (b *bench) connect(ctx context.Context, cfg client.Config) error {
	b.all = make([]*client.Socket, b.n)
	var next atomic.Int64
	return inParallel(dialing, func(int) error {
		for {
			i := int(next.Add(1)) - 1
			if i >= b.n {
				return nil
			}
			s, err := client.Dial(ctx, b.url, cfg)
			if err != nil {
				return err
			}
			b.all[i] = s
		}
	})
}

func (b *bench) close() {
	_ = inParallel(dialing, func(k int) error { // it gives no errors
		for i := k; i < b.n; i += dialing {
			if s := b.all[i]; s != nil {
				_ = s.Close() // always nil
			}
		}
		return nil
	})
}

// echo lets some clients ask, each one after the other.
func (b *bench) echo(ctx context.Context) error {
	n := min(echoing, b.n)
	before := measure()
	payload := strings.Repeat("x", 64)
	err := inParallel(n, func(i int) error {
		for range b.echoes {
			if _, err := b.all[i].EmitWithAck(ctx, "echo", payload); err != nil {
				return err
			}
		}
		return nil
	})
	fmt.Printf("echo:      %.1f us CPU for each, with acknowledgement, by %d clients\n", micros(before, measure(), n*b.echoes), n)
	return err
}

// broadcast lets all receive.
func (b *bench) broadcast(ctx context.Context) error {
	for _, s := range b.all {
		if err := s.EmitContext(ctx, "join", "all"); err != nil {
			return err
		}
	}
	for _, s := range b.all { // what was sent before has been dealt with
		if _, err := s.EmitWithAck(ctx, "echo"); err != nil {
			return err
		}
	}
	time.Sleep(b.settle)
	before := measure()
	type publication struct {
		Room    string `json:"room"`
		Payload string `json:"payload"`
	}
	p := publication{"all", strings.Repeat("x", 64)}
	for i := range b.broadcasts {
		if err := b.all[0].Emit("pub", p); err != nil {
			return err
		}
		for b.got.Load() < int64((i+1)*b.n) {
			time.Sleep(time.Millisecond)
		}
	}
	fmt.Printf("broadcast: %.1f us CPU for each delivery to a handler\n", micros(before, measure(), b.broadcasts*b.n))
	return nil
}

// inParallel calls f with 0 to n-1 and waits for all.
func inParallel(n int, f func(i int) error) error {
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { errs[i] = f(i) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// state is what the process uses.
type state struct {
	heap, stacks, resident int64 // bytes
	goroutines             int
	cpu                    time.Duration
}

// micros is the CPU time between two states for each of n.
func micros(a, z state, n int) float64 { return float64((z.cpu - a.cpu).Microseconds()) / float64(n) }

// measure collects garbage, which does not count, and gives what is left.
func measure() state {
	cpu := cpuTime()
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	collected := cpuTime() - cpu
	collecting.Add(int64(collected))
	return state{
		int64(m.HeapAlloc), int64(m.StackInuse), resident(), runtime.NumGoroutine(),
		cpuTime() - time.Duration(collecting.Load()),
	}
}

// collecting is the CPU time that measuring took.
var collecting atomic.Int64
