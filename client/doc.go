// Package client is the Socket.IO client: for servers of Socket.IO 3 and 4, ours, Node's and others, and for those of
// 2.x with Config.EIO3.
//
// A [Manager] has one connection, which its sockets share, one for each namespace. [Dial] makes a Manager with one
// socket. A connection that is lost is made again, with growing delays, until the sockets are closed; what is emitted
// in the meantime is kept, within bounds, and sent afterwards.
//
// Events of a socket are handled one at a time and in order, by workers that exist while there is work: an idle
// WebSocket has one goroutine, or none with Config.Loop. A handler may wait for an acknowledgement, also of its own
// socket, and may close its socket or Manager. The vocabulary (Handler, Message, Event, Call) is that of the server,
// so that both sides can share one set of typed events.
//
// A server, or a proxy before it, that does not keep to the protocol ends the connection with an error that says so;
// what it can make a client hold is bounded by Config.MaxPayload, Limits, Inbox and Queue.
//
// Not in this package: the transports (engineio), the text of packets (parser), rooms, which only servers know.
package client
