// Package sockeye is a Socket.IO server: it speaks protocol 5 with the clients of today, and with
// [Config.AllowEIO3] the protocol of 2.x clients too.
//
// A [Server] is an http.Handler. It has namespaces; a [Socket] is the connection of one client to one of
// them. Sockets join rooms, and a [Broadcast] reaches those in a selection of rooms, on all servers that share
// a [Config.Adapter].
//
//	io, err := sockeye.New(sockeye.Config{})
//	if err != nil {
//		return err
//	}
//	io.OnConnection(func(ctx context.Context, s *sockeye.Socket) {
//		_ = s.Join("lobby")
//	})
//	http.Handle("/socket.io/", io)
//
// Handlers of one socket run one at a time and in order, on goroutines that exist only while there is work.
// A handler may block, also for an acknowledgement of its own socket. Its context ends when the socket
// disconnects, and the cause is the [Reason]. A panic in a function of the application is survived and
// reported: see [Hooks.Error].
//
// Not in this package: transports (engineio), encodings (parser), other servers (adapter, redisadapter), and
// static files such as the browser client.
package sockeye
