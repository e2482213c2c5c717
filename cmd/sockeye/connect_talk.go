package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye/client"
)

const (
	maxWaiting   = 1000 // acknowledgements that may be due before input is read no further
	maxQuestions = 1000 // events of the server that can still be replied to
)

var (
	errInterrupted = errors.New("interrupted") // by Ctrl-C on a terminal
	errFinished    = errors.New("finished")
)

// talk is one run of "connect" that has come so far as to connect.
type talk struct {
	o      *connectOptions
	in     invocation
	server destination
	socket *client.Socket
	screen *screen

	sent     int // events so far; of run alone
	connects atomic.Uint32
	ready    chan struct{} // closed when the first connect has been told of
	failed   atomic.Bool   // something was not sent, or not acknowledged

	life context.Context // ends when nothing is to be waited for any more
	end  context.CancelCauseFunc

	asking  sync.WaitGroup // goroutines that wait for acknowledgements
	waiting chan struct{}  // one element for each

	mu        sync.Mutex
	questions map[int]*client.Message // that can be replied to
	question  int                     // number of the last one
}

func newTalk(ctx context.Context, o *connectOptions, in invocation, s destination) *talk {
	t := &talk{
		o: o, in: in, server: s, waiting: make(chan struct{}, maxWaiting), ready: make(chan struct{}),
		questions: make(map[int]*client.Message),
	}
	t.life, t.end = context.WithCancelCause(ctx)
	t.screen = &screen{
		out: in.stdout, notes: in.stderr, colors: in.colors(in.stdout), noteColors: in.colors(in.stderr), json: o.json,
	}
	return t
}

// setUp registers what is to be told of a socket before it connects.
func (t *talk) setUp(s *client.Socket) {
	s.OnAny(client.HandlerFunc(t.event))
	s.OnConnect(func() { t.connected(s) })
	s.OnConnectError(func(err error) {
		if !s.Active() && t.connects.Load() > 0 {
			t.lost(t.server.explain(err))
		}
	})
	s.OnDisconnect(t.disconnected)
	s.Manager().OnReconnectAttempt(func(n int) {
		if t.connects.Load() == 0 {
			return // the first connect is not said to be one again
		}
		t.screen.record(record{Type: "reconnecting", Attempt: n})
		t.say("connecting again, attempt %d", n)
	})
}

func (t *talk) connected(s *client.Socket) {
	again, how, first := " again", "", t.connects.Add(1) == 1
	if first {
		again = ""
	}
	recovered := s.Recovered()
	if recovered {
		how = ", nothing was missed"
	}
	id := s.ID()
	t.screen.record(record{Type: "connect", ID: id, Namespace: s.Namespace(), Recovered: &recovered})
	t.say("connected%s to %s as %s%s", again, t.server.host, harmless(cut(id, valueSize)), how)
	if first {
		close(t.ready)
	}
}

func (t *talk) disconnected(reason client.Reason, err error) {
	if reason == client.ReasonClientDisconnect {
		return
	}
	why := string(reason)
	if err != nil && err.Error() != reason.Error() {
		why += " (" + reasonOf(err) + ")"
	}
	t.screen.record(record{Type: "disconnect", Reason: why})
	switch {
	case reason == client.ReasonServerDisconnect:
		t.lost(fmt.Errorf("%s has ended the connection", t.server.host))
	case t.o.noReconnect:
		t.lost(fmt.Errorf("the connection to %s is lost: %s", t.server.host, why))
	default:
		t.say("disconnected: %s", why)
	}
}

// lost ends the talk: the connection is not made again. The first reason counts.
func (t *talk) lost(why error) { t.end(why) }

// fault is told of what goes wrong in functions of ours.
func (t *talk) fault(err error) { t.screen.note(reasonOf(err)) }

// say tells of the connection.
func (t *talk) say(format string, args ...any) {
	if !t.o.quiet {
		t.screen.note(fmt.Sprintf(format, args...))
	}
}

// event prints an event of the server.
func (t *talk) event(_ context.Context, m *client.Message) error {
	question := 0
	if m.WantsAck() && !t.o.replies {
		question = t.ask(m)
	}
	if !t.o.narrow || m.Event == t.o.event {
		t.show(m, question)
	}
	if t.o.replies {
		return m.Ack(t.o.answer...) // nothing where none is wanted
	}
	return nil
}

func (t *talk) show(m *client.Message, question int) {
	if t.o.json {
		t.screen.record(record{Type: "event", Event: m.Event, Args: jsonArgs(m.Args()), Reply: question})
		return
	}
	line := plainArgs(m.Args())
	if !t.o.narrow {
		line = strings.TrimSpace(t.screen.colors.paint(colorName, plainName(m.Event)) + " " + line)
	}
	t.screen.print(line)
	if question > 0 && !t.o.listen {
		t.say("the server waits for an acknowledgement: /reply %d ARGUMENTS", question)
	}
}

// ask keeps an event that can be replied to, and gives its number. The oldest one makes place for it.
func (t *talk) ask(m *client.Message) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.question++
	t.questions[t.question] = m
	delete(t.questions, t.question-maxQuestions)
	return t.question
}

// obey does what a line asks for. quit tells that it was the last one.
func (t *talk) obey(line string) (quit bool) {
	o, err := parseLine(line, t.o.event, t.o.text)
	if err != nil {
		t.notDone("%s", err)
		return false
	}
	switch o.what {
	case doNothing:
	case doQuit:
		return true
	case doHelp:
		t.screen.note(lineHelp)
	case doReply:
		t.reply(o)
	case doSend, doAsk:
		t.send(o)
	}
	return false
}

// notDone tells of what makes the exit code 1.
func (t *talk) notDone(format string, args ...any) {
	t.failed.Store(true)
	t.screen.note(fmt.Sprintf(format, args...))
}

func (t *talk) reply(o typed) {
	t.mu.Lock()
	m := t.questions[o.question]
	delete(t.questions, o.question)
	t.mu.Unlock()
	if m == nil {
		t.notDone("no event %d waits for an acknowledgement", o.question)
		return
	}
	if err := m.Ack(o.args...); err != nil {
		t.notDone("not acknowledged: %s", reasonOf(err))
	}
}

// send sends an event and, where that is wanted, has its acknowledgement printed when it comes. It waits while too much
// is on its way.
func (t *talk) send(o typed) {
	if o.doubtful && t.screen.editing() {
		t.say("that is not JSON: it is sent as a text")
	}
	t.sent++
	if o.what == doSend && !t.o.ack {
		t.check(t.socket.EmitContext(t.life, o.event, o.args...))
		return
	}
	select {
	case t.waiting <- struct{}{}:
	case <-t.life.Done():
		t.failed.Store(true)
		return
	}
	asked, err := t.socket.Ask(o.event, o.args...)
	if err != nil {
		<-t.waiting
		t.check(err)
		return
	}
	t.asking.Add(1)
	go t.await(asked, o.event, t.sent) // ends with the acknowledgement, --ack-timeout or t.life; run waits for it
}

func (t *talk) check(err error) {
	switch {
	case err == nil:
	case t.life.Err() != nil:
		t.failed.Store(true)
	default:
		t.notDone("not sent: %s", reasonOf(err))
	}
}

// await prints the acknowledgement of event number n.
func (t *talk) await(asked *client.Asked, event string, n int) {
	defer t.asking.Done()
	defer func() { <-t.waiting }()
	ctx, cancel := context.WithTimeout(t.life, t.o.ackTimeout)
	defer cancel()
	r, err := asked.Wait(ctx)
	switch {
	case err != nil:
		why := t.whyNoAck(err)
		t.screen.record(record{Type: "ack", Sent: n, Event: event, Error: why})
		t.notDone("no acknowledgement of #%d: %s", n, why)
	case t.o.json:
		t.screen.record(record{Type: "ack", Sent: n, Event: event, Args: jsonArgs(r.Args())})
	default:
		t.screen.print(t.screen.colors.plainAck(n, r))
	}
}

func (t *talk) whyNoAck(err error) string {
	if reason, ok := errors.AsType[client.Reason](err); ok {
		return "disconnected (" + string(reason) + ")"
	}
	if t.life.Err() != nil {
		return "not waited for any longer"
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "none within " + t.o.ackTimeout.String()
	}
	return reasonOf(err)
}

// run lets the talk go on until its end, of which t.life has the reason.
func (t *talk) run(lines source) {
	select {
	case <-t.ready:
		t.converse(lines)
	case <-t.life.Done():
	}
	if t.life.Err() == nil {
		t.finish()
	}
	t.end(errFinished)
	_ = t.socket.Close() // always nil; what is queued is sent
	t.asking.Wait()
}

// converse obeys lines until there are no more.
func (t *talk) converse(lines source) {
	for {
		select {
		case line, more := <-lines.lines():
			if !more {
				if err := lines.err(); err != nil {
					t.end(err)
				}
				return
			}
			t.screen.echo(line)
			if t.obey(line) {
				return
			}
		case <-t.life.Done():
			return
		}
	}
}

// finish waits until what was sent is out and what is due has come.
func (t *talk) finish() {
	ctx, cancel := context.WithTimeout(t.life, t.o.timeout)
	defer cancel()
	if t.sent > 0 {
		if err := t.socket.Connect(ctx); err != nil { // what was kept is sent with the connect
			t.end(fmt.Errorf("%s is not connected: what was typed last is not sent", t.server.host))
			return
		}
	}
	t.asking.Wait()
	linger := time.NewTimer(t.o.wait)
	defer linger.Stop()
	select {
	case <-linger.C:
	case <-t.life.Done():
	}
}
