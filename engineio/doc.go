// Package engineio is the Engine.IO protocol, versions 4 and 3, server and client, over HTTP long-polling
// and WebSocket. It is usable without Socket.IO.
//
// A [Server] is an [net/http.Handler]; it tells a [Handler] of each connection, its messages and its end by plain
// calls. [Dial] is the other side. Both give a [*Conn], which sends messages, each at once or encoded once for many
// connections by [Prepare].
//
// # Goroutines
//
// An idle connection over WebSocket has none on Linux, where event loops read (internal/netpoll), but one with TLS
// and on other systems; one that polls has none but that of net/http for a pending request. A server has one for all
// heartbeats. Handlers are called on these goroutines, one at a time for each connection, and must not block.
//
// # Queues
//
// What is sent is queued, never waited for. The queue of a connection is bounded (SendQueue); what happens to a
// connection that is too slow is a matter of its policy, and of a time limit within which a peer must take something.
//
// Not in this package: namespaces, events, acknowledgements (package sockeye).
package engineio
