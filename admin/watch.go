package admin

import (
	"context"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/parser"
)

// watch has the pages told of each socket, room and event, as long as a.verbose.
//
// Node: @socket.io/admin-ui registerVerboseListeners
func (a *Admin) watch() {
	a.detach = append(a.detach,
		a.nsp.OnServerSide(changed, sockeye.HandlerFunc(a.toldByOther)),
		a.io.DescribeData(withAdminData),
		a.io.Observe(sockeye.Observer{
			Connected: func(s *sockeye.Socket) {
				if a.verbose.Load() {
					a.toldConnected(s)
				}
			},
			Disconnected: func(s *sockeye.Socket, r sockeye.Reason) {
				if a.verbose.Load() {
					a.toldDisconnected(s.Namespace().Name(), s.ID(), string(r))
				}
			},
			Room: a.room,
			Upgraded: func(s *sockeye.Socket) {
				if a.verbose.Load() {
					a.toldTransport(s)
				}
			},
			DataChanged: func(s *sockeye.Socket) {
				if a.verbose.Load() {
					a.toldData(s)
				}
			},
			Sent: func(s *sockeye.Socket, event string, args []any) {
				if a.mentions(s) {
					a.toldEvent("event_sent", s, event, sockeyeArgs(args))
				}
			},
			Received: func(_ context.Context, s *sockeye.Socket, m *sockeye.Message) (context.Context, func(error)) {
				if a.mentions(s) {
					a.toldEvent("event_received", s, m.Event, m.Args())
				}
				return nil, nil
			},
		}),
	)
}

// mentions tells whether an event of a socket is told of now: not those of pages, and not where there is no room.
func (a *Admin) mentions(s *sockeye.Socket) bool {
	return a.verbose.Load() && s.Namespace() != a.nsp && a.teller.room()
}

func (a *Admin) room(n *sockeye.Namespace, e sockeye.RoomEvent) {
	if !a.verbose.Load() {
		return
	}
	switch e.Kind {
	case "join-room":
		a.toldRoom("room_joined", n.Name(), e.Room, e.Socket)
	case "leave-room":
		a.toldRoom("room_left", n.Name(), e.Room, e.Socket)
	}
}

func sockeyeArgs(args []any) []parser.Arg {
	all := make([]parser.Arg, len(args))
	for i, v := range args {
		all[i] = parser.Value(v)
	}
	return all
}
