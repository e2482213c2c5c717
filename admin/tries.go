package admin

import (
	"container/list"
	"net/netip"
	"sync"
	"time"
)

// tries bounds how often each client address may try something within tryWindow. It knows at most maxTried
// addresses; the one that was quiet for longest is forgotten first. How much all together can try is bounded by whoever
// does the work.
type tries struct {
	most int

	mu    sync.Mutex
	byKey map[netip.Prefix]*list.Element
	order *list.List // of *tried, the latest last
}

type tried struct {
	key netip.Prefix
	at  []time.Time // at most tries.most, in order
}

const maxTried = 10_000

func newTries(most int) *tries {
	return &tries{most: most, byKey: make(map[netip.Prefix]*list.Element), order: list.New()}
}

// network is what counts as one client: an address of IPv4, and 64 bits of one of IPv6, of which one customer has all.
// What is no address is one client.
func network(addr string) netip.Prefix {
	a, err := netip.ParseAddr(addr)
	if err != nil {
		return netip.Prefix{}
	}
	a = a.Unmap().WithZone("")
	bits := 64
	if a.Is4() {
		bits = 32
	}
	return netip.PrefixFrom(a, bits).Masked()
}

// begin counts a try, if there may be one, else it says after how long.
func (t *tries) begin(addr string, now time.Time) (wait time.Duration) {
	key := network(addr)
	t.mu.Lock()
	defer t.mu.Unlock()
	e, ok := t.byKey[key]
	if !ok {
		if t.order.Len() >= maxTried {
			oldest, _ := t.order.Remove(t.order.Front()).(*tried)
			delete(t.byKey, oldest.key)
		}
		e = t.order.PushBack(&tried{key: key})
		t.byKey[key] = e
	}
	d, _ := e.Value.(*tried)
	for len(d.at) > 0 && now.Sub(d.at[0]) >= tryWindow {
		d.at = d.at[1:]
	}
	if len(d.at) >= t.most {
		return tryWindow - now.Sub(d.at[0])
	}
	d.at = append(d.at, now)
	t.order.MoveToBack(e)
	return 0
}

// undo takes back a try of that time, which has succeeded.
func (t *tries) undo(addr string, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, ok := t.byKey[network(addr)]
	if !ok {
		return
	}
	d, _ := e.Value.(*tried)
	for i := range d.at {
		if d.at[i].Equal(at) {
			d.at = append(d.at[:i:i], d.at[i+1:]...)
			return
		}
	}
}
