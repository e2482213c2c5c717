// Package redisproto is what drivers of every Redis client have to know of Redis itself: the slots of Redis Cluster, what an
// error reply says about a command, and how a connection is given up.
//
// Not in this package: a client, and what Sockeye writes to Redis (internal/rediswire).
package redisproto
