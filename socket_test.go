package sockeye_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/engineio"
	"github.com/sockeye-io/sockeye/internal/testkit"
)

type handlerFunc = sockeye.HandlerFunc

// sockets gives the sockets of new connections.
func sockets(n interface {
	OnConnection(f func(ctx context.Context, s *sockeye.Socket))
},
) <-chan *sockeye.Socket {
	c := make(chan *sockeye.Socket, 64)
	n.OnConnection(func(_ context.Context, s *sockeye.Socket) { c <- s })
	return c
}

func TestSocket_EventsInOrderOneAtATime(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const events = 3000
	var running, at atomic.Int32
	done := make(chan struct{})
	b.On("n", handlerFunc(func(_ context.Context, m *sockeye.Message) error {
		if running.Add(1) != 1 {
			t.Error("two handlers of one socket run at a time")
		}
		defer running.Add(-1)
		var n int32
		if err := m.Scan(&n); err != nil || n != at.Load() {
			t.Errorf("event %d instead of %d, %v", n, at.Load(), err)
		}
		if at.Add(1) == events {
			close(done)
		}
		return nil
	}))
	p, _ := b.connect()
	for i := range events {
		if err := p.conn.WaitBuffered(t.Context(), 10_000); err != nil {
			t.Fatal(err)
		}
		p.send(fmt.Sprintf(`2["n",%d]`, i))
	}
	get(t, "the last event", done)
}

func TestSocket_FirstEventComesAfterOnConnection(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.Use(func(context.Context, *sockeye.Socket) error { return nil })
	registered := make(chan struct{})
	b.OnConnection(func(_ context.Context, s *sockeye.Socket) {
		<-registered // the client's first event is there before
		echo(s)
	})
	p, _ := b.connect()
	p.send(`21["echo",1]`)
	close(registered)
	p.want(`31[1]`)
}

func TestSocket_HandlerMayWaitForItsOwnSocket(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.On("ask me", handlerFunc(func(ctx context.Context, m *sockeye.Message) error {
		r, err := sockeye.SocketFrom(ctx).EmitWithAck(ctx, "question", 1)
		if err != nil {
			return err
		}
		var answer string
		if err := r.Scan(&answer); err != nil {
			return err
		}
		return m.Ack(answer)
	}))
	p, _ := b.connect()
	for i := range 3 {
		p.send(`27["ask me"]`)
		p.want(fmt.Sprintf(`2%d["question",1]`, i))
		p.send(fmt.Sprintf(`3%d["fine"]`, i))
		p.want(`37["fine"]`)
	}
	if errs := b.faults.all(); len(errs) > 0 {
		t.Error(errs)
	}
}

func TestSocket_EmitWithAck(t *testing.T) {
	t.Parallel()
	b := setup(t, sockeye.Config{AckTimeout: 50 * time.Millisecond})
	c := sockets(b)
	p, id := b.connect()
	s := get(t, "socket", c)

	type outcome struct {
		reply sockeye.Reply
		err   error
	}
	ask := func(ctx context.Context) <-chan outcome {
		o := make(chan outcome, 1)
		go func() {
			r, err := s.EmitWithAck(ctx, "q")
			o <- outcome{r, err}
		}()
		return o
	}
	long, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()

	o := ask(long)
	p.want(`20["q"]`)
	p.send(`30[1,"two"]`, `30["again"]`)
	var one int
	var two string
	if got := get(t, "reply", o); got.err != nil || got.reply.Scan(&one, &two) != nil || one != 1 || two != "two" || got.reply.Socket != id {
		t.Errorf("got %+v", got)
	}

	o = ask(long)
	p.want(`21["q"]`)
	p.send(`31`) // without arguments
	if got := get(t, "reply", o); got.err != nil || len(got.reply.Args()) != 0 {
		t.Errorf("got %+v", got)
	}

	o = ask(long)
	p.want(`22["q"]`)
	p.send(`51-2["x",{"_placeholder":true,"num":0}]`) // an event with the same id is no answer
	p.sendBinary([]byte("b"))
	p.send(`61-2[{"_placeholder":true,"num":0}]`)
	p.sendBinary([]byte("bin"))
	var bin []byte
	if got := get(t, "reply", o); got.err != nil || got.reply.Scan(&bin) != nil || string(bin) != "bin" {
		t.Errorf("got %+v, %q", got, bin)
	}

	// Config.AckTimeout holds where the context has no deadline.
	o = ask(t.Context())
	p.want(`23["q"]`)
	got := get(t, "timeout", o)
	var ae *sockeye.AckError
	if !errors.As(got.err, &ae) || !errors.Is(got.err, context.DeadlineExceeded) || ae.Expected != 1 || ae.Received != 0 ||
		!slices.Equal(ae.MissingSockets, []string{id}) {
		t.Errorf("timeout gives %+v", got.err)
	}
	p.send(`33["late"]`)

	cause := errors.New("no longer interested")
	canceled, stop := context.WithCancelCause(long)
	o = ask(canceled)
	p.want(`24["q"]`)
	stop(cause)
	if got := get(t, "cancel", o); !errors.Is(got.err, cause) {
		t.Errorf("cancel gives %v", got.err)
	}

	// A disconnect fails it at once.
	o = ask(long)
	p.want(`25["q"]`)
	p.send(`1`)
	got = get(t, "disconnect", o)
	if !errors.Is(got.err, sockeye.ReasonClientDisconnect) || !errors.Is(got.err, sockeye.ErrClosed) {
		t.Errorf("disconnect gives %v", got.err)
	}
	if _, err := s.EmitWithAck(long, "q"); !errors.Is(err, sockeye.ErrClosed) {
		t.Errorf("after the disconnect: %v", err)
	}
	if _, err := s.EmitWithAck(long, "connect"); !errors.Is(err, sockeye.ErrReservedEvent) {
		t.Errorf("reserved name: %v", err)
	}
}

func TestSocket_PendingAcksAreBounded(t *testing.T) {
	t.Parallel()
	b := setup(t, sockeye.Config{Limits: sockeye.Limits{Acks: 3}})
	c := sockets(b)
	p, _ := b.connect()
	s := get(t, "socket", c)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 3)
	for range 3 {
		go func() {
			_, err := s.EmitWithAck(ctx, "q")
			done <- err
		}()
		p.next()
	}
	if _, err := s.EmitWithAck(ctx, "q"); !errors.Is(err, sockeye.ErrTooManyAcks) {
		t.Errorf("the fourth gives %v", err)
	}
	p.send(`30[]`)
	if err := get(t, "first", done); err != nil {
		t.Error(err)
	}
	cancel()
	for range 2 {
		if err := get(t, "others", done); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
}

func TestMessage_AckLater(t *testing.T) {
	t.Parallel()
	b := setup(t)
	kept := make(chan *sockeye.Message, 1)
	b.On("keep", handlerFunc(func(_ context.Context, m *sockeye.Message) error { kept <- m; return nil }))
	p, _ := b.connect()
	p.send(`25["keep","a"]`)
	m := get(t, "message", kept)
	var a string
	if err := m.Scan(&a); err != nil || a != "a" {
		t.Errorf("%q, %v", a, err)
	}
	if err := m.Ack([]byte("x"), 1); err != nil {
		t.Error(err)
	}
	p.want(`61-5[{"_placeholder":true,"num":0},1]`)
	p.wantBinary("x")
	if err := m.Ack(); !errors.Is(err, sockeye.ErrAcked) {
		t.Errorf("second Ack: %v", err)
	}
	p.send(`26["keep"]`, `1`)
	m = get(t, "message", kept)
	testkit.Eventually(t, "the socket is gone", func() bool { return errors.Is(m.Ack(), sockeye.ErrClosed) || !m.WantsAck() })
}

func TestSocket_Emit(t *testing.T) {
	t.Parallel()
	b := setup(t)
	c := sockets(b)
	p, _ := b.connect()
	s := get(t, "socket", c)
	type deep struct {
		Name  string
		Parts []map[string][]byte
	}
	err := s.Emit("e", nil, true, 1.5, "x", deep{"n", []map[string][]byte{{"k": []byte("bytes")}}})
	if err != nil {
		t.Fatal(err)
	}
	p.want(`51-["e",null,true,1.5,"x",{"Name":"n","Parts":[{"k":{"_placeholder":true,"num":0}}]}]`)
	p.wantBinary("bytes")
	for _, name := range []string{"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"} {
		for what, err := range map[string]error{
			"Emit": s.Emit(name), "Volatile": s.Volatile().Emit(name), "EmitContext": s.EmitContext(t.Context(), name),
			"Broadcast": s.Broadcast().Emit(name), "Server": b.Emit(name),
		} {
			if !errors.Is(err, sockeye.ErrReservedEvent) {
				t.Errorf("%s of %q: %v", what, name, err)
			}
		}
	}
	if err := s.Emit("e", func() {}); err == nil {
		t.Error("a function can be emitted")
	}
	if err := s.Compress(false).Emit("error", "is an ordinary name"); err != nil {
		t.Error(err)
	}
	p.want(`2["error","is an ordinary name"]`)
	if err := s.Disconnect(false); err != nil {
		t.Error(err)
	}
	p.want(`1`)
	for what, err := range map[string]error{
		"Emit": s.Emit("e"), "Volatile": s.Volatile().Emit("e"), "EmitContext": s.EmitContext(t.Context(), "e"), "Join": s.Join("r"),
	} {
		if !errors.Is(err, sockeye.ErrClosed) {
			t.Errorf("%s after the end: %v", what, err)
		}
	}
}

func TestSocket_EmitToOneWhoDoesNotRead(t *testing.T) {
	t.Parallel()
	b := setup(t, sockeye.Config{Queue: sockeye.SendQueue{MaxPackets: 8}, PingInterval: time.Hour})
	c := sockets(b)
	// Without a poll nothing leaves a polling connection.
	p := b.dialWith(engineio.DialConfig{Transports: []string{"polling"}}, "")
	p.join("/", "")
	s := get(t, "socket", c)
	gone := make(chan sockeye.Reason, 1)
	s.OnDisconnect(func(r sockeye.Reason) { gone <- r })
	blocked := strings.Repeat("x", 200_000)
	for i := 0; ; i++ {
		if err := s.Emit("e", blocked); errors.Is(err, sockeye.ErrQueueFull) {
			break
		} else if err != nil || i > 10_000 {
			t.Fatalf("emit %d: %v", i, err)
		}
	}
	if r := get(t, "disconnect", gone); r != sockeye.ReasonTransportError {
		t.Errorf("reason %q", r)
	}
}

func TestSocket_EmitContextWaitsForRoom(t *testing.T) {
	t.Parallel()
	b := setup(t, sockeye.Config{Queue: sockeye.SendQueue{MaxPackets: 8}})
	c := sockets(b)
	p, _ := b.connect()
	s := get(t, "socket", c)
	go func() {
		for i := range 500 {
			if err := s.EmitContext(t.Context(), "e", i); err != nil {
				t.Errorf("event %d: %v", i, err)
				return
			}
		}
	}()
	for i := range 500 {
		p.want(fmt.Sprintf(`2["e",%d]`, i))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.EmitContext(ctx, "e"); !errors.Is(err, context.Canceled) {
		t.Errorf("with a canceled context: %v", err)
	}
}

// Each of several that wait finds room, and an event of any size does.
func TestSocket_EmitContextOfAnySize(t *testing.T) {
	t.Parallel()
	for name, recovery := range map[string]*sockeye.Recovery{"plain": nil, "with recovery": {}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, sockeye.Config{Queue: sockeye.SendQueue{MaxBytes: 1000}, Recovery: recovery})
			c := sockets(b)
			sid := b.park()
			s := get(t, "socket", c)
			b.request(http.MethodGet, "&sid="+sid, "")
			if err := s.Emit("e", strings.Repeat("x", 300)); err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 10)
			for i := range 10 {
				go func() { done <- s.EmitContext(t.Context(), "e", strings.Repeat("x", 700+100*i)) }() // ends when there is room
			}
			came, sent := 0, 0
			for came < 11 {
				came += strings.Count(b.request(http.MethodGet, "&sid="+sid, ""), `2["e"`)
				for ; sent < came-1; sent++ {
					if err := get(t, "EmitContext", done); err != nil {
						t.Fatal(err)
					}
				}
			}
		})
	}
}

func TestSocket_FullInboxPausesReading(t *testing.T) {
	t.Parallel()
	b := setup(t, sockeye.Config{
		Limits: sockeye.Limits{Inbox: 4}, AckTimeout: 500 * time.Millisecond,
	})
	release := make(chan struct{})
	var handled atomic.Int32
	b.On("work", handlerFunc(func(context.Context, *sockeye.Message) error {
		<-release
		handled.Add(1)
		return nil
	}))
	c := sockets(b)
	p, _ := b.connect()
	s := get(t, "socket", c)
	// More than any buffer between us holds.
	const events = 100
	big := `2["work","` + strings.Repeat("x", 50_000) + `"]`
	go func() {
		for range events {
			if p.conn.WaitBuffered(t.Context(), 200_000) != nil || p.conn.Send([]byte(big), false) != nil {
				return
			}
		}
		_ = p.conn.Send([]byte(`2["last"]`), false)
	}()
	last := make(chan struct{})
	b.On("last", handlerFunc(func(context.Context, *sockeye.Message) error { close(last); return nil }))

	// An acknowledgement that would have to come through the pause is bounded by its timeout.
	if _, err := s.EmitWithAck(t.Context(), "q"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("EmitWithAck gives %v", err)
	}
	if handled.Load() != 0 || !s.Connected() {
		t.Errorf("%d handled, connected %v", handled.Load(), s.Connected())
	}
	close(release)
	select {
	case <-last:
	case <-time.After(testkit.Scale(time.Minute)): // the window of TCP opens by its own timers after each pause
		t.Fatalf("the last event does not come: %d handled, connected %v", handled.Load(), s.Connected())
	}
	if handled.Load() != events {
		t.Errorf("%d events handled, want %d", handled.Load(), events)
	}
}

func TestSocket_Listeners(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var calls []string
	note := func(what string) handlerFunc {
		return func(_ context.Context, m *sockeye.Message) error {
			calls = append(calls, what)
			if m.WantsAck() {
				return m.Ack()
			}
			return nil
		}
	}
	wrap := func(what string) func(next sockeye.Handler) sockeye.Handler {
		return func(next sockeye.Handler) sockeye.Handler {
			return handlerFunc(func(ctx context.Context, m *sockeye.Message) error {
				calls = append(calls, what+" in")
				err := next.ServeEvent(ctx, m)
				calls = append(calls, what+" out")
				return err
			})
		}
	}
	parent := b.OfFunc(func(context.Context, string, parserArg) error { return nil })
	parent.On("e", note("parent"))
	parent.OnAny(note("parent any"))
	parent.UseEvent(wrap("parent use"))
	var off, offAny func()
	parent.OnConnection(func(_ context.Context, s *sockeye.Socket) {
		s.Namespace().On("e", note("namespace"))
		s.Namespace().OnAny(note("namespace any"))
		s.Namespace().UseEvent(wrap("namespace use"))
		off = s.On("e", note("socket"))
		s.On("e", note("socket 2"))
		offAny = s.OnAny(note("socket any"))
		s.UseEvent(wrap("socket use 1"))
		s.UseEvent(wrap("socket use 2"))
		s.On("off", handlerFunc(func(context.Context, *sockeye.Message) error {
			off()
			off()
			offAny()
			return nil
		}))
	})
	p, _ := b.connect("/child")
	p.send(`2/child,1["e"]`)
	p.want(`3/child,1[]`)
	p.send(`2/child,["off"]`)
	p.send(`2/child,2["e"]`)
	p.want(`3/child,2[]`)
	p.send(`2/child,["unknown"]`)
	p.send(`2/child,3["e"]`)
	p.want(`3/child,3[]`)
	p.send(`1/child`)
	testkit.Eventually(t, "the socket is gone", func() bool { return connected(b.Of("/child")) == 0 })

	anys := []string{"parent any", "namespace any", "socket any"}
	in := []string{"parent use in", "namespace use in", "socket use 1 in", "socket use 2 in"}
	out := []string{"socket use 2 out", "socket use 1 out", "namespace use out", "parent use out"}
	want := slices.Concat(
		anys, in, []string{"parent", "namespace", "socket", "socket 2"}, out,
		anys, in, out,
		anys[:2], in, []string{"parent", "namespace", "socket 2"}, out,
		anys[:2], in, out,
		anys[:2], in, []string{"parent", "namespace", "socket 2"}, out,
	)
	if !reflect.DeepEqual(calls, want) {
		t.Errorf("calls\n%q\nwant\n%q", calls, want)
	}
}

func TestSocket_EventMiddlewareMayStopAndFail(t *testing.T) {
	t.Parallel()
	b := setup(t)
	refused := errors.New("not for you")
	b.Of("/").UseEvent(func(next sockeye.Handler) sockeye.Handler {
		return handlerFunc(func(ctx context.Context, m *sockeye.Message) error {
			switch m.Event {
			case "stop":
				return nil
			case "fail":
				return refused
			case "tell":
				return &sockeye.PeerError{Data: "told"}
			}
			return next.ServeEvent(ctx, m)
		})
	})
	for _, e := range []string{"stop", "fail", "tell"} {
		b.On(e, handlerFunc(func(context.Context, *sockeye.Message) error { t.Error("called"); return nil }))
	}
	echo(b)
	p, _ := b.connect()
	p.send(`21["stop"]`, `22["fail"]`, `23["tell"]`)
	p.want(`33["told"]`)
	p.quiet()
	errs := b.faults.all()
	var ee *sockeye.EventError
	if len(errs) != 1 || !errors.Is(errs[0], refused) || !errors.As(errs[0], &ee) || ee.Event != "fail" {
		t.Errorf("errors %v", errs)
	}
}

func TestSocket_OnAnyOutgoing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	c := sockets(b)
	p, _ := b.connect()
	s := get(t, "socket", c)
	type out struct {
		event string
		args  []any
	}
	told := make(chan out, 8)
	off := s.OnAnyOutgoing(func(event string, args []any) { told <- out{event, args} })
	if err := errors.Join(s.Emit("one", 1), b.Emit("all", "x", []byte("b")), b.To("elsewhere").Emit("others")); err != nil {
		t.Fatal(err)
	}
	if got := get(t, "emit", told); got.event != "one" || got.args[0] != 1 {
		t.Errorf("told of %+v", got)
	}
	if got := get(t, "broadcast", told); got.event != "all" || got.args[0] != "x" || string(got.args[1].([]byte)) != "b" {
		t.Errorf("told of %+v", got)
	}
	off()
	if err := s.Emit("two"); err != nil {
		t.Fatal(err)
	}
	p.want(`2["one",1]`, `51-["all","x",{"_placeholder":true,"num":0}]`)
	p.wantBinary("b")
	p.want(`2["two"]`)
	if len(told) != 0 {
		t.Errorf("told of %+v", <-told)
	}
}

func TestSocket_Context(t *testing.T) {
	t.Parallel()
	b := setup(t)
	c := sockets(b)
	p, _ := b.connect()
	s := get(t, "socket", c)
	ctx := s.Context()
	if sockeye.SocketFrom(ctx) != s || sockeye.RequestFrom(ctx) != nil || ctx.Err() != nil || context.Cause(ctx) != nil {
		t.Error("a context that is not the socket's")
	}
	if _, ok := ctx.Deadline(); ok {
		t.Error("a deadline")
	}
	derived, cancel := context.WithTimeout(ctx, time.Hour)
	defer cancel()
	if sockeye.SocketFrom(derived) != s {
		t.Error("a derived context without the socket")
	}
	p.send(`1`)
	get(t, "end of the derived context", derived.Done())
	for _, ctx := range []context.Context{ctx, derived} {
		if !errors.Is(ctx.Err(), context.Canceled) || !errors.Is(context.Cause(ctx), sockeye.ReasonClientDisconnect) {
			t.Errorf("error %v, cause %v", ctx.Err(), context.Cause(ctx))
		}
	}
	if sockeye.SocketFrom(t.Context()) != nil {
		t.Error("a socket from nowhere")
	}
	// One that nobody has waited for until the end has the same end.
	p, _ = b.connect()
	s = get(t, "socket", c)
	p.send(`1`)
	testkit.Eventually(t, "end", func() bool { return s.Context().Err() != nil })
	if !errors.Is(context.Cause(s.Context()), sockeye.ReasonClientDisconnect) {
		t.Errorf("cause %v", context.Cause(s.Context()))
	}
}
