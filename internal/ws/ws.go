// Package ws has the pieces of a WebSocket endpoint (RFC 6455, RFC 7692): a parser that is fed with
// bytes, frames to be written, the opening handshake of both sides, and compression without context.
//
// Not in this package: connections, goroutines, queues. See internal/netpoll and engineio.
package ws
