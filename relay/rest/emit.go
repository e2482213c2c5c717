package rest

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/parser"
	"github.com/sockeye-io/sockeye/relay/identity"
)

const (
	defaultAckWait = 5 * time.Second
	defaultReplies = 1000
	maxReplies     = 10_000
	maxReplyBytes  = 4 << 20 // of all replies in one answer
	maxMissing     = 1000    // ids of sockets that have not answered
	maxEach        = 200     // sockets that are asked by themselves

	// publishTime is how long the adapter may take to accept an event.
	publishTime = 3 * time.Second
)

// emitRequest sends an event.
type emitRequest struct {
	selection

	Event    string           `json:"event"`
	Args     []jsontext.Value `json:"args"`
	Volatile bool             `json:"volatile"`
	Ack      *ackRequest      `json:"ack"`

	values []any
}

type ackRequest struct {
	Timeout int `json:"timeout"` // ms
	Limit   int `json:"limit"`   // of replies

	// BySocket asks each socket by itself: what servers say to each other has no ids of sockets beside replies.
	BySocket bool `json:"bySocket"`
}

func (e *emitRequest) scopes() []Scope { return []Scope{Emit} }

func (e *emitRequest) describe() (string, []slog.Attr) {
	attrs := append(e.attrs(), slog.String("event", cut(e.Event)), slog.Int("args", len(e.Args)))
	return "emit", append(attrs, slog.Bool("ack", e.Ack != nil))
}

// attrs are the numbers of a selection.
func (s *selection) attrs() []slog.Attr {
	attrs := []slog.Attr{
		slog.Bool("all", s.To.All), slog.Int("rooms", len(s.To.Rooms)), slog.Int("users", len(s.To.Users)),
		slog.Int("sockets", len(s.To.Sockets)),
	}
	if s.Except != nil {
		attrs = append(attrs, slog.Int("except", len(s.Except.Rooms)+len(s.Except.Users)+len(s.Except.Sockets)))
	}
	return attrs
}

func (e *emitRequest) check(h *Handler) *problem {
	if p := e.checkSelection(); p != nil {
		return p
	}
	switch {
	case e.Event == "" || len(e.Event) > maxEvent:
		return invalid("/event", "it must have 1 to 256 bytes")
	case parser.Reserved(e.Event) || strings.HasPrefix(e.Event, reserved):
		return invalid("/event", "that name is reserved")
	case len(e.Args) >= parser.DefaultArgs:
		return invalid("/args", "at most "+strconv.Itoa(parser.DefaultArgs-1))
	case e.Volatile && e.Ack != nil:
		return invalid("/volatile", "a volatile event may be dropped, so that nobody can wait for its acknowledgements")
	}
	if e.Ack != nil {
		if p := e.Ack.check(h); p != nil {
			return p
		}
	}
	var p *problem
	e.values, p = arguments(e.Args, "/args")
	return p
}

func (a *ackRequest) check(h *Handler) *problem {
	most := int(h.c.MaxAckWait / time.Millisecond)
	if a.Timeout == 0 {
		a.Timeout = min(most, int(defaultAckWait/time.Millisecond))
	}
	if a.Limit == 0 {
		a.Limit = defaultReplies
	}
	if a.Timeout < 1 || a.Timeout > most {
		return invalid("/ack/timeout", "it must be from 1 to "+strconv.Itoa(most)+" (milliseconds)")
	}
	if a.Limit < 1 || a.Limit > maxReplies {
		return invalid("/ack/limit", "it must be from 1 to "+strconv.Itoa(maxReplies))
	}
	return nil
}

func (e *emitRequest) run(ctx context.Context, r *request) (int, any, *problem) {
	b := e.broadcast(r.h.ns)
	if e.Volatile {
		b = b.Volatile()
	}
	if e.Ack != nil {
		return e.collect(ctx, r, b)
	}
	ctx, cancel := context.WithTimeout(ctx, publishTime)
	defer cancel()
	if err := b.EmitContext(ctx, e.Event, e.values...); err != nil {
		return 0, nil, failed(err)
	}
	return http.StatusAccepted, accepted{true}, nil
}

// replies is the answer to an event with acknowledgements.
type replies struct {
	Replies   []reply  `json:"replies"`
	Received  int      `json:"received"`
	Complete  bool     `json:"complete"`  // all that were asked have answered
	Truncated bool     `json:"truncated"` // there were more replies, or larger ones, than are given
	Missing   *missing `json:"missing,omitempty"`
}

type reply struct {
	Socket string `json:"socket,omitempty"` // where it is known
	Args   []any  `json:"args"`
}

// missing is who has not answered in time.
type missing struct {
	Sockets       []string `json:"sockets"`
	Servers       []string `json:"servers"`
	SilentServers int      `json:"silentServers"` // further ones, whose ids are not known
}

func (e *emitRequest) collect(ctx context.Context, r *request, b sockeye.Broadcast) (int, any, *problem) {
	// Those that wait long must leave room for those that do not.
	select {
	case r.h.waits <- struct{}{}:
		defer func() { <-r.h.waits }()
	default:
		return 0, nil, newProblem("too_many_requests", "too many wait for acknowledgements").wait(1)
	}
	wait, cancel := context.WithTimeout(ctx, time.Duration(e.Ack.Timeout)*time.Millisecond)
	defer cancel()
	var got sockeye.Replies
	var lack *missing
	var p *problem
	if e.Ack.BySocket {
		got, lack, p = e.askEach(wait, b)
	} else {
		got, lack, p = missed(b.EmitWithAck(wait, e.Event, e.values...))
	}
	if p != nil {
		return 0, nil, p
	}
	answer := replies{Replies: []reply{}, Received: len(got), Complete: lack == nil, Missing: lack}
	size := 0
	for i, one := range got {
		n := sizeOf(one.Args())
		if i >= e.Ack.Limit || size+n > maxReplyBytes {
			answer.Truncated = true
			break
		}
		size += n
		answer.Replies = append(answer.Replies, reply{one.Socket, readable(one.Args())})
	}
	if !e.Ack.BySocket {
		ask, done := context.WithTimeout(ctx, runTime)
		defer done()
		answer.publish(ask, r.h.ns)
	}
	return http.StatusOK, answer, nil
}

// missed takes apart what an event with acknowledgements has brought.
func missed(got sockeye.Replies, err error) (sockeye.Replies, *missing, *problem) {
	if err == nil {
		return got, nil, nil
	}
	var lack *sockeye.AckError
	if !errors.As(err, &lack) {
		return nil, nil, failed(err)
	}
	return got, &missing{
		Sockets: append([]string{}, lack.MissingSockets[:min(len(lack.MissingSockets), maxMissing)]...),
		Servers: append([]string{}, lack.MissingServers...), SilentServers: lack.SilentServers,
	}, nil
}

// askEach asks each socket by itself.
func (e *emitRequest) askEach(ctx context.Context, b sockeye.Broadcast) (sockeye.Replies, *missing, *problem) {
	found, err := b.FetchSockets(ctx)
	state, p := lacking(err)
	if p != nil {
		return nil, nil, p
	}
	if len(found) > maxEach {
		return nil, nil, invalid("/ack/bySocket", "for at most "+strconv.Itoa(maxEach)+" sockets, of which "+strconv.Itoa(len(found))+" are selected")
	}
	answers := make([]*sockeye.Reply, len(found))
	var all sync.WaitGroup
	for i, s := range found {
		all.Go(func() { e.askOne(ctx, s, &answers[i]) })
	}
	all.Wait()
	var got sockeye.Replies
	lack := &missing{Sockets: []string{}, Servers: []string{}}
	if state.Missing != nil {
		lack.Servers, lack.SilentServers = state.Missing.Servers, state.Missing.SilentServers
	}
	for i, a := range answers {
		if a == nil {
			lack.Sockets = append(lack.Sockets, identity.PublicID(found[i].ID, found[i].Handshake.Query))
			continue
		}
		got = append(got, *a)
	}
	if len(lack.Sockets) == 0 && state.Complete {
		lack = nil
	}
	return got, lack, nil
}

// askOne asks one socket. It ends with its answer, or with ctx; askEach waits for it.
func (e *emitRequest) askOne(ctx context.Context, s *sockeye.RemoteSocket, answer **sockeye.Reply) {
	got, err := s.EmitWithAck(ctx, e.Event, e.values...)
	if err != nil {
		return // it is missing then
	}
	got.Socket = identity.PublicID(s.ID, s.Handshake.Query)
	*answer = &got
}

func sizeOf(args []parser.Arg) int {
	n := 0
	for _, a := range args {
		b, _ := a.AppendMsgpack(nil) // what cannot be encoded takes no room
		n += len(b) * 4 / 3
	}
	return n
}

// publish puts public ids in the place of those of 2.x clients, who are in the room of theirs. While that cannot be
// asked no ids are given.
func (a *replies) publish(ctx context.Context, ns *sockeye.Namespace) {
	var ids []string
	for _, r := range a.Replies {
		if r.Socket != "" {
			ids = append(ids, r.Socket)
		}
	}
	if a.Missing != nil {
		ids = append(ids, a.Missing.Sockets...)
	}
	if len(ids) == 0 {
		return
	}
	rooms, err := ns.To(ids...).Rooms(ctx)
	public := func(id string) string {
		hash := identity.HashID(id)
		if rooms[identity.SocketRoom(hash)] > 0 {
			return hash
		}
		return id
	}
	if err != nil {
		public = func(string) string { return "" }
	}
	for i := range a.Replies {
		a.Replies[i].Socket = public(a.Replies[i].Socket)
	}
	if a.Missing == nil {
		return
	}
	sockets := make([]string, 0, len(a.Missing.Sockets))
	for _, id := range a.Missing.Sockets {
		if id = public(id); id != "" {
			sockets = append(sockets, id)
		}
	}
	a.Missing.Sockets = sockets
}
