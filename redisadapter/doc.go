// Package redisadapter lets several Socket.IO servers act as one over Redis, together with Node servers that use
// the official adapters.
//
// [PubSub] is the classic adapter: it speaks what @socket.io/redis-adapter speaks, from the first generation, around
// servers of Socket.IO 2, to the current one. [Sharded] is that of createShardedAdapter, over the sharded pub/sub of
// Redis 7. [Streams] is that of @socket.io/redis-streams-adapter. All servers of a cluster use the same.
//
// Delivery to sockets of this server does not wait for Redis, but with recovery, a quarter of a second at most. To those
// of other servers pub/sub delivers at most once: what is published while Redis is away, or while another server has lost
// its subscription, is lost once the queue is full, counted in [Stats], reported, and shown by Health.
//
// Servers with these adapters tell each other of themselves on channels of their own, whose names begin with the key or
// prefix and "-sockeye#", once a second for each process. So a question to the cluster names who did not answer, does not
// wait for who was not heard of for 3 to 4 s, and Count and Rooms need no descriptions of sockets. Others, such as Node, are
// counted by the subscribers of the channel by which they count themselves, and are waited for.
//
// Redis is reached through a [Driver]; rueidisdriver and goredisdriver are some.
//
// Not in this package: the room index and what concerns this server's sockets alone (adapter), the text of the
// messages (internal/rediswire), a Redis client (rueidisdriver, goredisdriver), sending without being a server (emitter).
package redisadapter
