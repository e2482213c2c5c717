package load

import (
	"fmt"
	"net/netip"
	"os"
	"runtime"
)

const (
	// spareFiles are for what is not a connection.
	spareFiles = 256

	// defaultPorts are those of the range that most systems take the ports of outgoing connections from.
	defaultPorts = 16_384
)

// Ports is how many connections one address of this machine can have with one address of a server.
func Ports() int {
	b, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	var low, high int
	if err != nil {
		return defaultPorts
	}
	if _, err := fmt.Sscan(string(b), &low, &high); err != nil || high < low {
		return defaultPorts
	}
	return high - low + 1
}

// sockets is how many sockets the connections have at most: polling has one for each direction, and an upgrade has
// all three for a moment.
func (c Config) sockets(connections int) int {
	switch c.Transport {
	case WebSocket:
		return connections
	case Polling:
		return 2 * connections
	default:
		return connections + 2*min(connections, maxUnderWay)
	}
}

// FitFiles is how many workers it takes for each to have files enough; files is what [Files] says.
func (c Config) FitFiles(files int) int {
	if files == 0 {
		return 1
	}
	for n := 1; n < c.Connections; n++ {
		if c.sockets((c.Connections+n-1)/n)+spareFiles <= files {
			return n
		}
	}
	return c.Connections
}

// FitPorts gives the source addresses that the connections need to a server on the loopback address to; none
// where one will do, or there is no other.
func (c Config) FitPorts(to netip.Addr, ports int) []netip.Addr {
	usable := ports * 9 / 10 // some may be taken, some wait for what is left of former connections
	n := (c.sockets(c.Connections) + usable - 1) / usable
	if n <= 1 || !to.Is4() || !to.IsLoopback() || runtime.GOOS != "linux" || n > 250 {
		return nil
	}
	all := make([]netip.Addr, n)
	for i := range all {
		all[i] = netip.AddrFrom4([4]byte{127, 0, 0, byte(1 + i)})
	}
	return all
}
