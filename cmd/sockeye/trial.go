package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/sockeye-io/sockeye/internal/settings"
)

// maxTrial bounds the servers of a cluster for trying.
const maxTrial = 16

// trialRecovery is how long clients may be away.
const trialRecovery = 2 * time.Minute

// tryCluster runs n servers on neighboring ports, which are one cluster by a Redis inside of this process.
func tryCluster(ctx context.Context, in invocation, set *settings.Set, o options, n int) error {
	if n < 1 || n > maxTrial {
		return usagef("--cluster: %d is not from 1 to %d servers", n, maxTrial)
	}
	if o.redis.url != "" {
		return usagef("%s: --cluster has a Redis of its own", set.From("redis.url"))
	}
	if o.redis.mode == modeSharded {
		return usagef("--cluster: its Redis does not know the mode %s, only %s and %s", modeSharded, modePubSub, modeStreams)
	}
	if !set.IsSet("redis.mode") {
		o.redis.mode = modeStreams // where recovery is seen, too
	}
	host, first, err := trialPorts(o.addr, n)
	if err != nil {
		return usagef("%s: %w", set.From("addr"), err)
	}
	redis, err := startMiniredis()
	if err != nil {
		return fmt.Errorf("cannot start the Redis for trying: %w", err)
	}
	defer redis.close()
	o.redis.url, o.redis.from = "redis://"+redis.addr, "--cluster"
	switch {
	case o.redis.mode != modeStreams:
		o.recovery = 0
	case !set.IsSet("recovery"):
		o.recovery = trialRecovery
	}
	fmt.Fprintf(in.stdout, "Sockeye tries a cluster of %d servers, with a Redis in this process. This is for trying only:\n"+
		"all ends with this process, and nothing of it is kept.\n", n)

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs, all := make([]error, n), new(neighbors)
	var group sync.WaitGroup
	for i := range n {
		if ctx.Err() != nil { // one of them could not start
			break
		}
		one := o
		one.name = strconv.Itoa(i + 1)
		one.addr = net.JoinHostPort(host, "0")
		if first != 0 {
			one.addr = net.JoinHostPort(host, strconv.Itoa(first+i))
		}
		one.metrics.addr, one.admin.addr = neighbor(o.metrics.addr, i), neighbor(o.admin.addr, i)
		listening := make(chan string, 1)
		inOne := in
		inOne.name, inOne.neighbors = fmt.Sprintf("server %d of %d", i+1, n), all
		inOne.listening = func(addr string) { listening <- addr }
		group.Go(func() { // ends with ctx, which ends with the first of them
			defer cancel()
			errs[i] = serve(ctx, inOne, set, one)
		})
		select { // one after the other, so that the lines are in order
		case addr := <-listening:
			if in.listening != nil {
				in.listening(addr)
			}
		case <-ctx.Done():
		}
	}
	group.Wait()
	return errors.Join(errs...)
}

// trialPorts gives the host and the first port, 0 for any.
func trialPorts(addr string, n int) (host string, first int, err error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, err
	}
	first, err = strconv.Atoi(port)
	if err != nil || first != 0 && first+n-1 > 65535 {
		return "", 0, fmt.Errorf("there are no %d ports from %s", n, port)
	}
	return host, first, nil
}

// neighbor gives an address i ports further, for listeners beside that of the clients.
func neighbor(addr string, i int) string {
	host, port, err := net.SplitHostPort(addr)
	n, nerr := strconv.Atoi(port)
	if err != nil || nerr != nil || n == 0 {
		return addr
	}
	return net.JoinHostPort(host, strconv.Itoa(n+i))
}

// trialRedis is a Redis in this process.
type trialRedis struct {
	addr string
	mini *miniredis.Miniredis
	stop context.CancelFunc
	done sync.WaitGroup
}

func startMiniredis() (*trialRedis, error) {
	m := miniredis.NewMiniRedis()
	if err := m.StartAddr("127.0.0.1:0"); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &trialRedis{addr: m.Addr(), mini: m, stop: cancel}
	r.done.Go(func() { r.age(ctx) })
	return r, nil
}

// age lets the time of the Redis pass, which does not do so by itself, until ctx ends.
func (r *trialRedis) age(ctx context.Context) {
	const step = time.Second
	tick := time.NewTicker(step)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			r.mini.FastForward(step)
		case <-ctx.Done():
			return
		}
	}
}

func (r *trialRedis) close() {
	r.stop()
	r.done.Wait()
	r.mini.Close()
}
