package front

import (
	"net"
	"net/http"
	"net/netip"
	"sync"
)

// Gate bounds the HTTP connections of a server, without those that have become WebSockets. A connection too many is
// closed at once. It is safe for concurrent use.
type Gate struct {
	// Max bounds all, PerAddress those of one address (of IPv6: of a network of 64 bits); 0 = no limit.
	Max, PerAddress int

	// Others counts connections that count for Max, too; nil: there are none.
	Others func() int

	// Exempt are addresses that PerAddress is not for, as those of proxies. nil: none.
	Exempt func(remoteAddr string) bool

	mu    sync.Mutex
	conns map[net.Conn]netip.Addr
	by    map[netip.Addr]int
}

// ConnState is for http.Server.ConnState.
func (g *Gate) ConnState(c net.Conn, s http.ConnState) {
	switch s {
	case http.StateNew:
		if !g.enter(c) {
			_ = c.Close() // the server finds out that it is closed
		}
	case http.StateHijacked, http.StateClosed:
		g.leave(c)
	case http.StateActive, http.StateIdle:
	}
}

// Open counts the connections.
func (g *Gate) Open() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.conns)
}

func (g *Gate) enter(c net.Conn) bool {
	others := 0
	if g.Others != nil {
		others = g.Others()
	}
	remote := c.RemoteAddr().String()
	ip, ok := addrOf(remote)
	if g.PerAddress <= 0 || ok && g.Exempt != nil && g.Exempt(remote) {
		ok = false
	}
	if ok && ip.Is6() {
		if p, err := ip.Prefix(64); err == nil {
			ip = p.Addr()
		}
	}
	if !ok {
		ip = netip.Addr{}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.Max > 0 && len(g.conns)+others >= g.Max || ok && g.by[ip] >= g.PerAddress {
		return false
	}
	if g.conns == nil {
		g.conns, g.by = map[net.Conn]netip.Addr{}, map[netip.Addr]int{}
	}
	g.conns[c] = ip
	if ok {
		g.by[ip]++
	}
	return true
}

func (g *Gate) leave(c net.Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	ip, known := g.conns[c]
	if !known {
		return
	}
	delete(g.conns, c)
	if ip.IsValid() {
		if g.by[ip]--; g.by[ip] <= 0 {
			delete(g.by, ip)
		}
	}
}
