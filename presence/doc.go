// Package presence tells who is online: the users of a namespace and of its rooms, on this server or, with Redis, on all
// servers of a cluster.
//
//	p, err := presence.New(io.Of("/"), presence.Options{
//		User:  func(s *sockeye.Socket) (string, bool) { return userOf(s) },
//		Redis: driver, // of rueidisdriver or goredisdriver; without it, this server alone
//	})
//	if err != nil {
//		return err
//	}
//	p.Watch(func(c presence.Change) { log.Println(c.User.ID, c.Online) })
//
// A user is online while any socket of theirs is connected, on any server, and Options.Grace longer, so that a page that
// is loaded again does not show. Watchers of all servers are told of each user once, however many sockets there are.
//
// # In Redis
//
// Users are kept for each place, which is the namespace or a room, in five keys of one slot: who is online, how many
// servers say so, what each server says, until when each server is believed, and what is known of the users. A server
// writes only when its first socket of a user comes and its last one goes, and says at each quarter of Options.Expiry that
// it is there; this costs one script for each place, not for each user. A server that has not said so for half of
// the expiry is taken out by the others, so that none of its users outlives it by more than the expiry. The times
// are those of Redis, not of the servers. Keys that nobody refreshes expire.
//
// A change is told by the server that has made it, which Redis decides, over the cluster of the server
// ([sockeye.Namespace.ServerSideEmit]); what that may lose when a connection breaks, a watcher may miss, and a change that
// comes after a later one of the same user is left out. What Users and Online say does not depend on it.
//
// While Redis is away, questions are answered from the sockets of this server, with an error that wraps ErrPartial. When
// it is back each server compares what Redis has with what it should have, also after Redis was restarted empty or a
// replica that lacked something has taken over.
//
// Not in this package: who a user is (httpsession, or a middleware of the application), and Socket.IO's own rooms.
package presence
