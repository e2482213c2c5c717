// Package redisadapter lets several Socket.IO servers act as one over Redis, together with Node servers that use
// the official adapters.
//
// [PubSub] is the classic adapter: it speaks what @socket.io/redis-adapter speaks, from the first generation, around
// servers of Socket.IO 2, to the current one. Delivery to sockets of this server never waits for Redis; to those of
// other servers it is at most once: what is published while Redis is away, or while another server has lost its
// subscription, is lost once the queue is full, counted in [Stats], and shown by Health.
//
// Redis is reached through a [Driver]; rueidisdriver is one.
//
// Not in this package: the room index and what concerns this server's sockets alone (adapter), the text of the
// messages (internal/rediswire), a Redis client (rueidisdriver).
package redisadapter
