package sockeye

import (
	"context"
	"errors"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/event"
	"github.com/sockeye-io/sockeye/parser"
)

// maxServerSide bounds the events of other servers that wait for the listeners of a namespace.
const maxServerSide = 1024

var errServerSideFull = errors.New("sockeye: event of another server dropped: listeners do not keep up")

// reservedServerSide refuses the names that servers use themselves.
//
// Node: socket.io/lib/namespace.ts RESERVED_EVENTS
func reservedServerSide(event string) error {
	switch event {
	case "connect", "connection", "new_namespace":
		return ErrReservedEvent
	}
	return nil
}

// ServerSideEmit sends an event to the other servers of the cluster, for the listeners of OnServerSide. It does
// not wait for them; ctx bounds the hand-over to the adapter. Errors: ErrReservedEvent, and those of the
// adapter.
//
// Node: socket.io/lib/namespace.ts serverSideEmit
func (n *Namespace) ServerSideEmit(ctx context.Context, event string, args ...any) error {
	if err := reservedServerSide(event); err != nil {
		return err
	}
	return n.adapter.ServerSide(ctx, n.All().packet(event, args), nil)
}

// ServerSideEmitWithAck sends an event to the other servers of the cluster and gives the answer of each. It
// waits at most until ctx ends or, where that has no deadline, for Config.AckTimeout; then the replies that
// arrived come with an *AckError, which wraps ErrServerLeft where all others have answered and a server is gone. A server
// without a listener does not answer.
//
// Node: socket.io/lib/namespace.ts serverSideEmitWithAck
func (n *Namespace) ServerSideEmitWithAck(ctx context.Context, event string, args ...any) (Replies, error) {
	if err := reservedServerSide(event); err != nil {
		return nil, err
	}
	ctx, cancel := n.srv.ackContext(ctx)
	defer cancel()
	var replies Replies
	err := n.adapter.ServerSide(ctx, n.All().packet(event, args), func(a adapter.Answer) {
		replies = append(replies, replyOf(a))
	})
	return replies, ackError(err)
}

// OnServerSide adds a handler for an event of the other servers of the cluster. They are handled one at a time
// and in order; up to 1,024 wait. Message.Ack answers.
//
// Node: the events of a namespace
func (n *Namespace) OnServerSide(event string, h Handler) (off func()) {
	return n.serverSide.AddOn(event, h)
}

// serverMessage is an event of another server.
type serverMessage struct {
	msg    Message
	answer func(args []parser.Arg)
}

// SendAck implements event.Acker.
func (m *serverMessage) SendAck(_ uint64, args []any) error {
	m.answer(event.AppendArgs(nil, args))
	return nil
}

// ServerSide implements adapter.Host.
func (h *host) ServerSide(name string, args []parser.Arg, answer func(args []parser.Arg)) {
	n := (*Namespace)(h)
	if len(n.serverSide.Table().On[name]) == 0 {
		return
	}
	m := &serverMessage{answer: answer}
	if answer != nil {
		m.msg.Init(name, args, m, 0)
	} else {
		m.msg.Init(name, args, nil, 0)
	}
	n.mu.Lock()
	full := n.inbox.Len() >= maxServerSide
	start := false
	if !full {
		n.inbox.Push(m)
		start = !n.working
		n.working = true
	}
	n.mu.Unlock()
	if full {
		n.srv.report(context.Background(), errServerSideFull)
	}
	if start {
		n.srv.pool.Go((*serverSideTask)(n))
	}
}

// serverSideTask is a Namespace whose worker empties the inbox.
type serverSideTask Namespace

// Run implements ring.Task.
func (t *serverSideTask) Run() {
	n := (*Namespace)(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for {
		n.mu.Lock()
		m, ok := n.inbox.Pop()
		if !ok {
			n.working = false
		}
		n.mu.Unlock()
		if !ok {
			return
		}
		ts := tables{n.serverSide.Table(), &emptyTable, &emptyTable}
		if err := ts.dispatch(ctx, &m.msg); err != nil {
			n.srv.report(ctx, &EventError{Event: m.msg.Event, Err: err})
		}
	}
}
