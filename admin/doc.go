// Package admin is the server's half of @socket.io/admin-ui, version 0.5: the namespace /admin, through which the
// official web page shows servers, connections, sockets, rooms and events, of every server of a cluster and of Node
// servers among them, and lets who may do so emit, join, leave and disconnect.
//
//	a, err := admin.Attach(io, admin.Options{Users: map[string]string{"admin": "$2a$10$..."}})
//	if err != nil { ... }
//	defer a.Close() // before io.Close
//
// # Two modes
//
// In [Development] mode the page lists all sockets and sees each connection, room and event as it comes. That costs an
// event for each: on a server with more than [Options.MaxSockets] sockets it stops by itself, as if the mode were
// [Production], and begins again when half of them have gone. In production mode only the totals of every two seconds
// are told; choose it for a server with more than some thousand sockets, or whose payloads operators must not see.
// A page that cannot keep up loses its connection as other clients do, and begins anew; what it is shown at once needs a
// sockeye.SendQueue of 512 KiB at least.
//
// # What is safe by default
//
// Without users there is no entry, unless [Options.Open] says so. The page may only look, until [Options.Write] is set.
// Headers and query parameters that carry secrets are shown as "[redacted]". Passwords are compared with bcrypt hashes,
// for unknown users too; a client address has five tries a minute. A password is asked once in a day: then a session
// stands for it, which [Admin.Revoke] ends. [Options.Separate] admits pages by a listener of their own alone.
//
// Not in this package: the web page, whose files are in the npm package @socket.io/admin-ui (ui/dist); [UI] serves them.
package admin
