package engineio

import (
	"net/netip"
	"sync"
	"time"
)

// Admission bounds the connections that a server takes. A zero field means no limit.
//
// Differs from Node: nothing is limited there.
type Admission struct {
	// Connections bounds those that are open.
	Connections int

	// PerAddress bounds those that are open of one address, as [Conn.RemoteAddr] gives it. The addresses of an IPv6
	// network of 64 bits count as one. Who has no IP address, as over a Unix socket, is not counted, nor who comes from
	// this machine: that may be a proxy, with many behind it.
	PerAddress int

	// Handshakes bounds those that are opened in a second; as many may come at once.
	Handshakes int
}

// admission counts connections.
type admission struct {
	limits Admission
	start  time.Time

	mu sync.Mutex

	// Guarded by mu.
	open  int
	by    map[netip.Addr]int // of each address
	spent int64              // when what handshakes have taken is free again, in nanoseconds since start
}

func (a *admission) init(limits Admission) {
	a.limits, a.start = limits, time.Now()
	if limits.PerAddress > 0 {
		a.by = map[netip.Addr]int{}
	}
}

// network is what connections are counted by.
func network(addr string) (ip netip.Addr, ok bool) {
	ip, err := netip.ParseAddr(addr)
	if err != nil {
		return ip, false
	}
	ip = ip.Unmap().WithZone("")
	if ip.IsLoopback() { // a proxy on this machine, with many behind it
		return ip, false
	}
	if ip.Is6() {
		p, err := ip.Prefix(64)
		return p.Addr(), err == nil
	}
	return ip, true
}

// What handshakes are refused for.
const (
	tooMany        = "TOO_MANY_CONNECTIONS"
	tooManyOf      = "TOO_MANY_CONNECTIONS_OF_ADDRESS"
	tooManyAtATime = "TOO_MANY_HANDSHAKES"
	serverCloses   = "SERVER_CLOSES"
)

// full tells why no connection of an address may be opened now, "" when one may; that counts as a handshake.
func (a *admission) full(addr string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if l := a.limits.Connections; l > 0 && a.open >= l {
		return tooMany
	}
	if l := a.limits.PerAddress; l > 0 {
		if ip, ok := network(addr); ok && a.by[ip] >= l {
			return tooManyOf
		}
	}
	if l := a.limits.Handshakes; l > 0 {
		now := int64(time.Since(a.start))
		spent := max(a.spent, now) + int64(time.Second)/int64(l)
		if spent > now+int64(time.Second) {
			return tooManyAtATime
		}
		a.spent = spent
	}
	return ""
}

// enter counts a connection; it is false when there are too many, which full found out late.
func (a *admission) enter(addr string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if l := a.limits.Connections; l > 0 && a.open >= l {
		return false
	}
	if l := a.limits.PerAddress; l > 0 {
		if ip, ok := network(addr); ok {
			if a.by[ip] >= l {
				return false
			}
			a.by[ip]++
		}
	}
	a.open++
	return true
}

// leave ends what enter began.
func (a *admission) leave(addr string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.open--
	if a.limits.PerAddress <= 0 {
		return
	}
	if ip, ok := network(addr); ok {
		if a.by[ip]--; a.by[ip] <= 0 {
			delete(a.by, ip)
		}
	}
}
