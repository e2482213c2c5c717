// Package rediswire is the text of what Socket.IO servers say to each other over Redis, which is MessagePack or
// JSON: the messages of the classic adapter in the dialects of all generations of Node servers, those of the
// sharded adapter and of that of streams, stream entries and sessions, and what emitters say.
//
// What is written, every generation of peers reads without harm; what is read is checked to the last field,
// since anybody who reaches the Redis may have written it. The functions are safe for concurrent use.
//
// Not in this package: Redis, channels' subscriptions, requests that wait for answers (redisadapter).
package rediswire
