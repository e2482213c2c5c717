// Package rediswire is the text of what Socket.IO servers say to each other over Redis: the messages of
// the classic adapter, which are MessagePack or JSON, in the dialects of all generations of Node servers.
//
// What is written, every generation of peers reads without harm; what is read is checked to the last field,
// since anybody who reaches the Redis may have written it. The functions are safe for concurrent use.
//
// Not in this package: Redis, channels' subscriptions, requests that wait for answers (redisadapter).
package rediswire
