// Package rest is an HTTP interface for programs in any language that push events to the clients of a Socket.IO server,
// and ask who is there. It speaks for the whole cluster of the server: a request to any of them reaches clients of all.
//
//	POST /v1/emit              send an event to all, rooms, users or sockets; with acknowledgements collected
//	POST /v1/join, /v1/leave   put sockets into rooms, and take them out
//	POST /v1/disconnect        disconnect sockets
//	POST /v1/batch             several of these, in order
//	GET  /v1/count             how many sockets and rooms there are
//	GET  /v1/sockets, /v1/sockets/{socket}
//	GET  /v1/rooms, /v1/rooms/{room}
//	GET  /v1/users, /v1/users/{user}
//	GET  /v1/openapi.json      all of this in the form of OpenAPI 3.1; it needs no token
//
// Requests bring a bearer token, which has a name for the log and scopes. Errors are application/problem+json, RFC 9457.
//
// A user is who has sockets in the room of [identity.UserRoom]; package relay puts them there.
//
// Not in this package: who may connect, rules of rooms, which do not bind this interface, and TLS.
package rest
