package redisadapter

import (
	"context"
	"errors"
	"fmt"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/rediswire"
	"github.com/sockeye-io/sockeye/parser"
)

// stream is the adapter with streams of one namespace.
type stream struct {
	*messages

	c      *streams
	key    string    // the name of the stream
	reader *reader   // nil where the stream is not read
	seq    *sequence // nil without recovery
}

var errUnheard = errors.New("redisadapter: official servers do not read the stream of this namespace")

// unheard reports that official servers write to the stream of the namespace and do not read it.
func (a *stream) unheard() {
	a.l.fault(faultStream, fmt.Errorf("%w: %s, because of StreamCount %d", errUnheard, a.key, a.c.o.StreamCount))
}

// Broadcast delivers p here, with recovery within 250 ms, and appends it for the others.
func (a *stream) Broadcast(ctx context.Context, p *parser.Packet, o adapter.Options) error {
	if a.seq != nil {
		return a.seq.broadcast(ctx, p, o)
	}
	if o.Flags.Local {
		return a.Local.Broadcast(ctx, p, o)
	}
	fields, err := a.fields(&rediswire.Message{
		Type: rediswire.MessageBroadcast, Packet: *p, Target: rediswire.Target{Options: o},
	})
	if err != nil {
		return err
	}
	if err := a.Local.Broadcast(ctx, p, o); err != nil {
		return err
	}
	return a.append(ctx, fields, o.Flags)
}

// Command acts here at once and tells the others to.
func (a *stream) Command(ctx context.Context, c adapter.Command, o adapter.Options) error {
	x, ok := order(c, o)
	if !ok {
		return nil
	}
	if a.seq != nil && c.Disconnect {
		a.seq.drain(ctx) // or they would not get what was broadcast before
	}
	if err := a.Local.Command(ctx, c, o); err != nil || o.Flags.Local {
		return err
	}
	fields, err := a.fields(&x)
	if err != nil {
		return err
	}
	return a.append(ctx, fields, adapter.Flags{})
}

// fields makes an entry.
func (a *stream) fields(x *rediswire.Message) ([]string, error) {
	x.UID, x.Namespace = a.uid, a.name
	f, err := rediswire.EntryFields(x, a.c.o.PlainText)
	if err != nil {
		return nil, fmt.Errorf("redisadapter: entry: %w", err)
	}
	return f, nil
}

// append appends an entry, and waits until Redis has it if ctx can end.
func (a *stream) append(ctx context.Context, fields []string, f adapter.Flags) error {
	if failing := a.c.app.health() != nil; failing && f.Volatile {
		a.c.count.dropped.Add(1)
		return nil
	}
	e := appending{Append: Append{Stream: a.key, MaxLen: a.c.o.MaxLen, Fields: fields}}
	if ctx.Done() == nil {
		return a.c.app.put(e)
	}
	done := make(chan error, 1)
	e.done = func(_ string, err error) { done <- err }
	return a.wait(ctx, e, done)
}

// wait appends an entry that tells done.
func (a *stream) wait(ctx context.Context, e appending, done <-chan error) error {
	if err := a.c.app.put(e); err != nil {
		return err
	}
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("redisadapter: append: %w", err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("redisadapter: append: %w", context.Cause(ctx))
	}
}

// entry handles an entry of the stream. What comes from this server has been obeyed already; with recovery its broadcasts
// wait for it.
func (a *stream) entry(id entryID, uid string, t rediswire.MessageType, fields []string) {
	if a.closed.Load() {
		return
	}
	if uid == a.uid {
		if a.seq != nil && t == rediswire.MessageBroadcast {
			a.seq.own(id, fields)
		}
		return
	}
	switch t {
	case rediswire.MessageBroadcast, rediswire.MessageJoin, rediswire.MessageLeave, rediswire.MessageDisconnect,
		rediswire.MessageServerSide:
	default: // older servers ask and answer in the stream, and wait for nobody of this version
		return
	}
	m, err := rediswire.ParseEntry(fields)
	if err == nil {
		err = a.obeyEntry(id, &m, fields)
	}
	if err != nil && !errors.Is(err, adapter.ErrClosed) {
		a.l.malformed(faultEntry, fmt.Errorf("%s: %w", id, err))
	}
}

func (a *stream) obeyEntry(id entryID, m *rediswire.Message, fields []string) error {
	switch {
	case m.Type != rediswire.MessageBroadcast:
		m.RequestID = "" // who asks in the stream does not hear answers on a channel
		return a.handle(m)
	case m.Target.Nobody:
		return nil
	}
	m.Packet.Namespace = a.name
	if a.seq != nil {
		a.c.count.received.Add(1)
		return a.seq.foreign(id, m, fields)
	}
	if !a.anyRoom(m.Target.Rooms) {
		return nil
	}
	a.c.count.received.Add(1)
	_, err := a.Deliver(&m.Packet, m.Target.Options)
	return err
}

// settle delivers what waits, since the cluster closes.
func (a *stream) settle() {
	if a.seq != nil {
		a.seq.close()
	}
}

// Close unsubscribes and ends what waits for answers.
func (a *stream) Close() error {
	a.c.release(a)
	a.settle()
	return a.messages.Close()
}
