package front

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Proxies are the addresses whose X-Forwarded-For and X-Forwarded-Proto are believed.
type Proxies struct {
	// Stranger is told of a peer that is none of them and claims to be one. nil: nobody is told.
	Stranger func(remoteAddr string)

	networks []netip.Prefix
	unix     bool
}

// ParseProxies reads addresses and networks, such as 10.0.0.1, 10.0.0.0/8 and ::1; "unix" is whoever comes over a Unix
// socket.
func ParseProxies(list []string) (*Proxies, error) {
	p := &Proxies{}
	for _, text := range list {
		if text == "unix" {
			p.unix = true
			continue
		}
		network, err := netip.ParsePrefix(text)
		if err != nil {
			ip, err := netip.ParseAddr(text)
			if err != nil || ip.Zone() != "" {
				return nil, fmt.Errorf("front: %q is no address, no network such as 10.0.0.0/8, and not unix", text)
			}
			network = netip.PrefixFrom(ip, ip.BitLen())
		}
		if network.Masked() != network {
			return nil, fmt.Errorf("front: %q has bits behind the network: is it %s?", text, network.Masked())
		}
		p.networks = append(p.networks, network)
	}
	return p, nil
}

// Trusts tells whether a peer, as http.Request.RemoteAddr names it, is one of the proxies.
func (p *Proxies) Trusts(remoteAddr string) bool {
	ip, ok := addrOf(remoteAddr)
	if !ok {
		return p.unix && (remoteAddr == "" || remoteAddr[0] == '@' || remoteAddr[0] == '/')
	}
	return p.contains(ip)
}

func (p *Proxies) contains(ip netip.Addr) bool {
	for _, n := range p.networks {
		if n.Contains(ip) {
			return true
		}
	}
	return false
}

func addrOf(remoteAddr string) (netip.Addr, bool) {
	host, _, err := net.SplitHostPort(remoteAddr)
	if err != nil {
		host = remoteAddr
	}
	ip, err := netip.ParseAddr(host)
	return ip.Unmap().WithZone(""), err == nil
}

const (
	forwardedFor   = "X-Forwarded-For"
	forwardedProto = "X-Forwarded-Proto"
)

// Wrap gives h requests whose RemoteAddr is that of the client: of the addresses of X-Forwarded-For, from the right, the
// first that is no trusted proxy. What is left of X-Forwarded-For and X-Forwarded-Proto has one value and may be
// believed; from others than the proxies they are taken away. Forwarded is not read.
func (p *Proxies) Wrap(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(w, p.resolve(r)) })
}

func (p *Proxies) resolve(r *http.Request) *http.Request {
	chain, protos := r.Header[forwardedFor], r.Header[forwardedProto]
	if len(chain) == 0 && len(protos) == 0 {
		return r
	}
	c := *r
	c.Header = r.Header.Clone()
	delete(c.Header, forwardedFor)
	delete(c.Header, forwardedProto)
	if !p.Trusts(r.RemoteAddr) {
		if p.Stranger != nil {
			p.Stranger(r.RemoteAddr)
		}
		return &c
	}
	if ip, ok := p.client(chain); ok {
		c.RemoteAddr = net.JoinHostPort(ip.String(), "0")
		c.Header[forwardedFor] = []string{ip.String()}
	}
	if len(protos) > 0 {
		// The first is that of the client; where several proxies add to it all of them are trusted.
		proto, _, _ := strings.Cut(protos[0], ",")
		c.Header[forwardedProto] = []string{strings.TrimSpace(proto)}
	}
	return &c
}

// client gives the address of the client. What stands to the left of it may be made up; what cannot be read ends the
// way, and the proxy that wrote it stands for the client.
func (p *Proxies) client(chain []string) (ip netip.Addr, ok bool) {
	for _, rest := range slices.Backward(chain) {
		for {
			comma := strings.LastIndexByte(rest, ',')
			next, valid := addrOf(strings.TrimSpace(rest[comma+1:]))
			if !valid {
				return ip, ok
			}
			ip, ok = next, true
			if !p.contains(ip) {
				return ip, ok
			}
			if comma < 0 {
				break
			}
			rest = rest[:comma]
		}
	}
	return ip, ok
}
