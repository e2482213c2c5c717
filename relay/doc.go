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
// Events for "who is here" begin with "sockeye:". Names that begin so are reserved, of events and of rooms, and rooms
// that begin with "sockeye-session:":
//
//	sockeye:profile   {name}; from now on the socket is announced to the rooms that it is in
//	sockeye:who       room; acknowledged with {"ok":true,"people":[{"id","name"}]}, cluster-wide. From now on
//	                  the socket gets the two events below for this room, until it leaves it
//	sockeye:here      {room, id, name}, from the server: joined, or has changed its name
//	sockeye:gone      {room, id, name}, from the server: left
//
// In all three there is a user, too, where it is known whose socket that is: one may have several. What the page shows of
// the server comes by another event:
//
//	sockeye:server    no argument; answered by an event of this name, {name, cluster, recovery, identity, presence,
//	                  servers, you}: the name of the server, whether it is one of several, recovers sessions, asks who
//	                  clients are, knows who is online, the {name, url} of others, and of the socket {id, name, user,
//	                  rooms, expires}
//	sockeye:online    no argument; acknowledged with {"ok":true,"users":7,"complete":true}: how many users are online,
//	                  and whether those of all servers are counted
//
// An id is that of the socket, but for clients of 2.x, whose id is a secret: there it is a hash.
//
// Who a client is says Config.Identity, such as a token in the field "token" of what it connects with. One that is refused
// gets a connect_error whose data are {"code","message"}, with a code of package identity. What it may do in which rooms
// says Config.Rooms; what that forbids is refused with the code "not_allowed". Every socket of a user is in the room
// "sockeye:user:" and the id of the user, by which emitters reach it. A session is recovered by its own user alone.
//
// A connection ends with its token:
//
//	sockeye:expiring  {in}, from the server: so many milliseconds are left
//	sockeye:renew     {token}, another one of the same user; acknowledged with {"ok":true,"expires","left"}: the
//	                  time of the new end in milliseconds since 1970, and the rooms that the socket was taken
//	                  out of since the new token does not allow them. Five at once, and then one in a second
//	sockeye:expired   {code, message}, from the server, which then disconnects the client
//
// Other programs push events by HTTP where Config.REST has tokens: package relay/rest.
//
// Not in this package: command-line flags, the choice of Redis client (cmd/sockeye).
package relay
