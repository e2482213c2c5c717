package main

import (
	"slices"
	"sync"

	"github.com/sockeye-io/sockeye/relay"
)

// neighbors are the servers of a cluster for trying, which the page offers for a second tab. It is safe for concurrent use.
type neighbors struct {
	mu   sync.Mutex
	list []relay.Peer
}

func (n *neighbors) add(p relay.Peer) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.list = append(n.list, p)
}

// others gives all but the one of a name.
func (n *neighbors) others(name string) []relay.Peer {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(n.list), func(p relay.Peer) bool { return p.Name == name })
}
