// Package load puts load on a Socket.IO server, of whatever make, and measures it: thousands of connections, which
// are opened at a given pace and then idle, ask for acknowledgements, or get what one of them publishes.
//
// [Run] directs workers, each with a share of the connections. A worker is a stream of orders and a stream of
// reports, lines of JSON, so that it makes no difference whether it runs here ([Local]) or as a process of its own
// that calls [Serve]. Its latencies travel as HDR histograms of the time since its last report, which are added up.
//
// Latency counts from when an event was due to be sent, not from when it could be: a server that stalls for a second
// is charged with all that was due in that second ("coordinated omission"). Where there is no rate to be due by,
// each connection sends when it has its answer, and latency counts from there.
//
// bench/load is another matter: it is one thread that never sleeps, speaks to our own programs only, and exists to
// charge a server with as little of the machine's noise as can be.
//
// Not in this package: flags, what is shown, whether the target may be attacked at all (cmd/sockeye).
package load
