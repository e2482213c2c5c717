// Package relay is the application inside "sockeye serve": it passes events between the sockets of a room,
// serves a demo page and the official browser client, and tells its health. It uses nothing but the public
// packages of Sockeye.
//
// The events that a client sends in the main namespace; all are acknowledged, where the client asks for it,
// with {"ok":true} or {"ok":false,"error":{"code":"…","message":"…"}}:
//
//	message, msg   any arguments; go to everyone else under the same name
//	join           room; the socket joins it
//	leave          room; the socket leaves it
//	publish        {room, event, data}; event goes with data to the others in the room, of which the
//	               sender must be a member
//	echo           any arguments; acknowledged with the same, and goes nowhere
//
// Events for "who is here" begin with "sockeye:". Names that begin so are reserved, of events and of rooms:
//
//	sockeye:profile   {name}; from now on the socket is announced to the rooms that it is in
//	sockeye:who       room; acknowledged with {"ok":true,"people":[{"id","name"}]}, cluster-wide. From now on
//	                  the socket gets the two events below for this room, until it leaves it
//	sockeye:here      {room, id, name}, from the server: joined, or has changed its name
//	sockeye:gone      {room, id, name}, from the server: left
//
// An id is that of the socket, but for clients of 2.x, whose id is a secret: there it is a hash.
//
// Not in this package: command-line flags, the choice of Redis client (cmd/sockeye).
package relay
