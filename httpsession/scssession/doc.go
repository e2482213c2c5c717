// Package scssession gives sockets the sessions of a Go web application that uses the library github.com/alexedwards/scs.
//
//	manager := scs.New() // sessions in memory
//	manager.Store = scssession.NewStore(httpsession.Redis(driver, "scs:session:")) // or in Redis
//
//	backend, err := scssession.New(manager)
//	...
//	sessions, err := httpsession.New(backend, httpsession.Config{})
//	...
//	sessions.Use(io.Of("/"))
//	http.Handle("/socket.io/", io)
//	http.Handle("/", backend.LoadAndSave(pages))
//
// In handlers of events manager.GetString(ctx, "user"), manager.Put and the rest of them work as in HTTP handlers, and so do
// httpsession.Key and httpsession.From. A value that is a pointer or a map and changed in place must be Put again to be saved.
//
// manager.Destroy and manager.RenewToken, in any handler of this process, close the sockets of the session on all servers; after a
// RenewToken the page connects again with its new cookie. An open socket puts off the end of a session only if the manager has an
// IdleTimeout, and never beyond its Lifetime, as requests do. RenewToken, RememberMe and what else changes a cookie is for HTTP
// handlers: a socket cannot send one.
//
// The manager's own LoadAndSave writes the whole session as the request has read it, with an IdleTimeout at the end of each request:
// what sockets have written meanwhile is lost, and a session that was destroyed comes back. [Backend.LoadAndSave] is there instead of
// it. The sockets need neither around them; the manager's must not be around them with an IdleTimeout, since a poll is a long request.
//
// Any other store of scs works too, with limits: its sessions are looked for one by one, a handler that saves overwrites the whole
// session, LoadAndSave is that of the manager, and httpsession.Session.Update gives ErrNotAtomic.
//
// Not in this package: scs itself, which the web application sets up and puts around its pages.
package scssession
