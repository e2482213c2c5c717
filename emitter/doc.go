// Package emitter publishes to the servers of a cluster from a process that serves no sockets: a job, a web
// application, another service. It speaks the three formats of redisadapter and so reaches Go and Node servers alike.
//
// [PubSub] is for servers with the classic adapter, which are those of @socket.io/redis-adapter and, since their
// broadcasts have the same form, of socket.io-redis, back to those around Socket.IO 2. [Sharded] is for servers with
// the sharded adapter, and [Streams] for those with the adapter of Redis Streams.
//
// What it publishes has the form of the official emitters, whose sender is called "emitter". What it asks (EmitWithAck,
// FetchSockets, Count, ServerSideEmitWithAck) goes out under an id of its own, and the answers come by a connection
// that is opened for the first question. It is subscribed to answers only, never to a channel by which servers count
// each other, so that no server waits for an emitter. Whose answers are waited for is told by those channels, at the Redis
// that the driver uses: where it publishes to a master and subscribes at a replica, servers that listen at yet another
// replica are not counted, and a question may end before they have answered.
//
// Not in this package: sockets and servers (sockeye), the text of the messages (internal/rediswire), a Redis client
// (redisadapter/rueidisdriver).
package emitter
