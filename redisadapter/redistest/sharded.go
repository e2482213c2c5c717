package redistest

import (
	"slices"

	"github.com/sockeye-io/sockeye/redisadapter"
)

// InjectSharded is Inject for a channel of SPUBLISH.
func (h *Hub) InjectSharded(channel string, payload []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.spread(redisadapter.Publication{Channel: channel, Payload: payload, Sharded: true})
}

// ShardChannels gives the channels of SPUBLISH that somebody is subscribed to, sorted.
func (h *Hub) ShardChannels() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []string
	for _, s := range h.subs {
		for c := range s.sharded {
			all = append(all, c)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
