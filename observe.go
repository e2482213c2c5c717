package sockeye

import (
	"context"
	"slices"

	"github.com/sockeye-io/sockeye/engineio"
	"github.com/sockeye-io/sockeye/internal/event"
)

// Observer is told of everything that happens on a server, in all its namespaces: see [Server.Observe]. Each func may
// be nil, which costs nothing. They may be called concurrently, must not block, and must not change what they are
// given. A panic in one is survived, and told to Hooks.Error.
//
// What concerns one socket comes in order: Connected, then Received, Disconnected. An observer that itself emits is told
// of that by Sent and Broadcast again, and has to leave its own namespace out.
//
// Node: what @socket.io/admin-ui wraps in a server
type Observer struct {
	// Namespace is told of a namespace that was opened on this server. Of sockets that connect at once Connected may
	// come before.
	Namespace func(n *Namespace)

	// Connected is told of a socket whose client has been told that it is connected, before the functions of
	// OnConnection, and Disconnected of its end, after those of OnDisconnecting, while it is still in its rooms. Both
	// are called by the worker of the socket.
	Connected    func(s *Socket)
	Disconnected func(s *Socket, r Reason)

	// Room is told of each room that is made, joined, left or deleted on this server, those of the sockets' ids too: as
	// the functions of Namespace.OnRoom, in order for each namespace.
	Room func(n *Namespace, e RoomEvent)

	// Upgraded is told of each socket whose connection went over to WebSocket, by the goroutine that reads.
	Upgraded func(s *Socket)

	// DataChanged is told of a connected socket whose data was set, by the goroutine that set it.
	DataChanged func(s *Socket)

	// Sent is told of each event that is sent to a socket, as the functions of Socket.OnAnyOutgoing: of broadcasts by the
	// worker of the socket, and not of those which come while Limits.Inbox events wait for it.
	Sent func(s *Socket, event string, args []any)

	// Received is told of each event of a client when its handlers are about to run, by the same goroutine. The
	// context that it returns is that of the handlers; it must be ctx or derived from it, and nil means ctx. done,
	// unless nil, is called when they have returned, with their error. m must not be acknowledged.
	Received func(ctx context.Context, s *Socket, m *Message) (handlers context.Context, done func(err error))

	// Broadcast is told of an event that is about to be sent to the selected sockets of a namespace, with the context
	// of EmitContext, and done, unless nil, when it has been delivered here and handed to the adapter.
	Broadcast func(ctx context.Context, n *Namespace, event string) (done func(err error))

	// Asked is told of an event that is about to be sent to sockets of a namespace that are to acknowledge it, with the
	// context of EmitWithAck; done, unless nil, how many have when the wait ends, and its error.
	Asked func(ctx context.Context, n *Namespace, event string) (done func(replies int, err error))
}

// watchers are the observers of a server at one time. It never changes.
type watchers struct {
	all []*Observer

	// Whether there is one for what costs much, or is asked for often.
	room, sent, received bool
}

// Observe has o told of what happens from now on, until stop is called; calls that have begun may still go on then.
// What was there before is found by Namespaces and Namespace.Sockets: who asks for it after Observe misses nothing, and
// may learn of something twice.
//
// Differs from Node: there is no such method.
func (s *Server) Observe(o Observer) (stop func()) {
	p := &o
	s.setObservers(func(all []*Observer) []*Observer { return append(slices.Clip(all), p) })
	if o.Room != nil {
		s.mu.RLock()
		all := make([]*Namespace, 0, len(s.namespaces))
		for _, n := range s.namespaces {
			all = append(all, n)
		}
		s.mu.RUnlock()
		for _, n := range all {
			n.watch()
		}
	}
	return func() { s.setObservers(func(all []*Observer) []*Observer { return event.Without(all, p) }) }
}

func (s *Server) setObservers(f func([]*Observer) []*Observer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*Observer
	if w := s.watchers.Load(); w != nil {
		all = w.all
	}
	w := &watchers{all: f(all)}
	if len(w.all) == 0 {
		s.watchers.Store(nil)
		return
	}
	for _, o := range w.all {
		w.room = w.room || o.Room != nil
		w.sent = w.sent || o.Sent != nil
		w.received = w.received || o.Received != nil
	}
	s.watchers.Store(w)
}

// observe calls f for each observer, if there are any. It must not be called with a lock held.
func (s *Server) observe(f func(o *Observer)) {
	w := s.watchers.Load()
	if w == nil {
		return
	}
	for _, o := range w.all {
		s.tellObserver(context.Background(), func() { f(o) })
	}
}

func (s *Server) tellObserver(ctx context.Context, f func()) {
	if err := s.guard("observer", f); err != nil {
		s.report(ctx, err)
	}
}

// watchesRooms and watchesSent tell whether there is an observer of that.
func (s *Server) watchesRooms() bool {
	w := s.watchers.Load()
	return w != nil && w.room
}

func (s *Server) watchesSent() bool {
	w := s.watchers.Load()
	return w != nil && w.sent
}

// observed tells observers of a new namespace.
func (n *Namespace) observed() {
	n.srv.observe(func(o *Observer) {
		if o.Namespace != nil {
			o.Namespace(n)
		}
	})
}

// watch has the index tell of rooms.
func (n *Namespace) watch() { n.watchRooms.Do(func() { n.index.Watch(n.roomChanged) }) }

// observed tells observers of a socket, unless there are none.
func (s *Socket) observed(f func(o *Observer) func(*Socket)) {
	s.nsp.srv.observe(func(o *Observer) {
		if g := f(o); g != nil {
			g(s)
		}
	})
}

func (o *Observer) onConnected() func(*Socket)   { return o.Connected }
func (o *Observer) onUpgraded() func(*Socket)    { return o.Upgraded }
func (o *Observer) onDataChanged() func(*Socket) { return o.DataChanged }

// OnUpgrade implements engineio.UpgradeHandler.
func (h *engineHandler) OnUpgrade(e *engineio.Conn) {
	c, ok := e.Value().(*conn)
	if !ok || c.srv.watchers.Load() == nil {
		return
	}
	c.mu.Lock()
	sockets := slices.Clone(c.sockets)
	c.mu.Unlock()
	for _, s := range sockets {
		s.observed((*Observer).onUpgraded)
	}
}

// sent tells observers of an event for the client.
func (s *Socket) sent(event string, args []any) {
	s.nsp.srv.observe(func(o *Observer) {
		if o.Sent != nil {
			o.Sent(s, event, args)
		}
	})
}

// endings are what observers want to be told at the end.
type endings []func(err error)

// receive tells observers of an event of the client, and gives the context of its handlers.
func (w *watchers) receive(ctx context.Context, s *Socket, m *Message) (handlers context.Context, done endings) {
	for _, o := range w.all {
		if o.Received == nil {
			continue
		}
		next, f, err := o.receive(ctx, s, m)
		if err != nil {
			s.nsp.srv.report(ctx, err)
		}
		if next != nil {
			ctx = next //nolint:fatcontext // each observer may add to what the one before gave
		}
		if f != nil {
			done = append(done, f)
		}
	}
	return ctx, done
}

// receive calls Received. A panic is an error.
func (o *Observer) receive(
	ctx context.Context, s *Socket, m *Message,
) (handlers context.Context, done func(error), err error) {
	defer caught("observer", &err)
	handlers, done = o.Received(ctx, s, m)
	return handlers, done, nil
}

// end tells what came of it, the observer last asked first.
func (e endings) end(ctx context.Context, srv *Server, err error) {
	for _, f := range slices.Backward(e) {
		srv.tellObserver(ctx, func() { f(err) })
	}
}

// broadcasting tells observers of a broadcast.
func (n *Namespace) broadcasting(ctx context.Context, event string) (done endings) {
	n.srv.observe(func(o *Observer) {
		if o.Broadcast == nil {
			return
		}
		if f := o.Broadcast(ctx, n, event); f != nil {
			done = append(done, f)
		}
	})
	return done
}

// asking tells observers of a question, and gives what is to be called at its end, or nil.
func (n *Namespace) asking(ctx context.Context, event string) func(replies int, err error) {
	if n.srv.watchers.Load() == nil {
		return nil
	}
	var all []func(replies int, err error)
	n.srv.observe(func(o *Observer) {
		if o.Asked == nil {
			return
		}
		if f := o.Asked(ctx, n, event); f != nil {
			all = append(all, f)
		}
	})
	if len(all) == 0 {
		return nil
	}
	return func(replies int, err error) {
		for _, f := range slices.Backward(all) {
			n.srv.tellObserver(ctx, func() { f(replies, err) })
		}
	}
}
