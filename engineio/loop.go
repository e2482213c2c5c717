package engineio

import "github.com/sockeye-io/sockeye/internal/netpoll"

// Loop drives the WebSockets of any number of dialed connections with a few goroutines, so that one that is idle costs
// none: for programs with thousands of clients. It serves TCP without TLS, and Unix sockets, on Linux; others still have a
// goroutine each. Handlers of its connections must not block, since they would hold up the other connections. A Loop is
// safe for concurrent use.
type Loop struct{ driver netpoll.Driver }

// NewLoop makes a Loop, which is to be closed after its connections.
func NewLoop() *Loop {
	return &Loop{netpoll.New(netpoll.Config{WriteTimeout: writeLimit})}
}

// Close ends the connections that are still open, with ReasonForcedClose, and waits for the goroutines. It must not be
// called by a handler. The error is always nil.
func (l *Loop) Close() error { return l.driver.Close() }
