package adapter

import (
	"context"
	"errors"
	"sync"
)

// ErrOpen is returned by Open for a namespace that is open already.
var ErrOpen = errors.New("adapter: namespace is open already")

// Memory returns the cluster of one server, which keeps everything in memory. It can do connection state
// recovery: see RecoveryCluster.
func Memory() Cluster { return &memory{open: map[string]*memoryAdapter{}} }

type memory struct {
	mu       sync.Mutex
	open     map[string]*memoryAdapter // by namespace
	recovery *RecoveryOptions
	started  bool
	closed   bool
}

// memoryAdapter is a Local that tells its cluster when it closes.
type memoryAdapter struct {
	*Local
	of *memory
}

// recoveringAdapter is a memoryAdapter of a cluster with recovery.
type recoveringAdapter struct {
	*memoryAdapter
	*history
}

func (c *memory) Start(context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return ErrClosed
	}
	c.started = true
	return nil
}

func (c *memory) Open(h Host) (Adapter, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, ErrClosed
	}
	if c.open[h.Name()] != nil {
		return nil, ErrOpen
	}
	a := &memoryAdapter{Local: NewLocal(h), of: c}
	c.open[h.Name()] = a
	if c.recovery == nil {
		return a, nil
	}
	a.log = newHistory(h, *c.recovery)
	return recoveringAdapter{a, a.log}, nil
}

func (c *memory) Health() error { return nil }

func (c *memory) Close() error {
	c.mu.Lock()
	c.closed = true
	open := c.open
	c.open = nil
	c.mu.Unlock()
	errs := make([]error, 0, len(open))
	for _, a := range open {
		errs = append(errs, a.Local.Close())
	}
	return errors.Join(errs...)
}

// Recoverable implements RecoveryCluster.
func (c *memory) Recoverable() bool { return true }

// EnableRecovery implements RecoveryCluster.
func (c *memory) EnableRecovery(o RecoveryOptions) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.started || len(c.open) > 0 {
		return errors.New("adapter: recovery enabled after start")
	}
	c.recovery = &o
	return nil
}

func (a *memoryAdapter) Close() error {
	a.of.mu.Lock()
	if a.of.open[a.host.Name()] == a {
		delete(a.of.open, a.host.Name())
	}
	a.of.mu.Unlock()
	return a.Local.Close()
}
