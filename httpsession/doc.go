// Package httpsession gives sockets the HTTP session of the browser that opened them: a user who has logged in by a web
// page is known to the handlers of events, what handlers write is there for the web page, an open socket keeps the session
// alive, and when the session ends, by logout or by age, its sockets are closed on every server of the cluster.
//
// Where sessions are and what they look like is the matter of a [Backend]: httpsession/express has those of express-session
// in the keys of connect-redis, httpsession/scssession those of the Go library scs. A [Store] keeps them: [Memory] for one
// process, [Redis] for a cluster.
//
//	sessions, err := httpsession.New(backend, httpsession.Config{})
//	...
//	sessions.Use(io.Of("/"))
//
//	const name httpsession.Key[string] = "name"
//	io.On("message", sockeye.HandlerFunc(func(ctx context.Context, m *sockeye.Message) error {
//		user, ok, err := name.Get(ctx)
//		...
//	}))
//
// # When a session is read and written
//
// It is read when a socket connects, which fails without a session unless [Config].Anonymous. It is read again before each
// handler of an event, so that a handler sees what the web application has written since, and a logout counts from the
// next event on. After the handler it is written, if the handler has changed it. The write is a comparison with what was
// read: if the web application has written in between, the session is read once more and the keys that the handler has set
// or deleted are changed in it, all others stay as they are. So two handlers, on any servers, do not undo each other's
// changes of different keys; of two changes of one key the later stays. A web application that writes the whole session,
// as Express and scs do, undoes what was written while its own request was under way: the last writer wins there.
// Who must count or swap uses [Session.Update], which reads, calls a function, writes with the comparison, and begins again
// on a conflict. A session that has been destroyed in the meantime is never written back to life.
//
// # How it ends
//
// Each socket is in a room whose name is derived from the session, see [Room]. An end that this process brings about or
// hears of disconnects that room in the whole cluster at once; others can do the same from outside. Ends that nobody tells,
// as a logout by Express or an expiry in Redis, each server finds by asking for the sessions of its own sockets, all of
// them in a few commands, every [Config].CheckInterval. While the store does not answer nobody is disconnected.
//
// The session is nowhere in what fetchSockets tells other servers. The Cookie header is, as in Node.
//
// Not in this package: login, which is the web application's. Any net/http middleware works in front of a server without
// this package too: see sockeye.RequestFrom.
package httpsession
