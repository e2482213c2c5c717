package redisadapter_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/internal/rediswire"
	"github.com/sockeye-io/sockeye/parser"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/redistest"
)

// holder keeps messages back.
type holder struct {
	hub  *redistest.Hub
	keep func(m redisadapter.Publication, k rediswire.ControlKind) bool // k is 0 where it is none of our own

	mu   sync.Mutex
	held []redisadapter.Publication
}

func hold(hub *redistest.Hub, keep func(redisadapter.Publication, rediswire.ControlKind) bool) *holder {
	h := &holder{hub: hub, keep: keep}
	hub.Filter(func(m redisadapter.Publication) []redisadapter.Publication {
		if !h.keep(m, kindOf(m)) {
			return []redisadapter.Publication{m}
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.held = append(h.held, m)
		return nil
	})
	return h
}

func kindOf(m redisadapter.Publication) rediswire.ControlKind {
	if !control(m.Channel) {
		return 0
	}
	c, err := rediswire.ParseControl(m.Payload)
	if err != nil {
		return 0
	}
	return c.Kind
}

// release lets those through that pick selects, and tells how many. Without it, all, and none is held any more.
func (h *holder) release(pick func(rediswire.ControlKind) bool) int {
	if pick == nil {
		h.hub.Filter(nil)
	}
	h.mu.Lock()
	var out, rest []redisadapter.Publication
	for _, m := range h.held {
		if pick == nil || pick(kindOf(m)) {
			out = append(out, m)
		} else {
			rest = append(rest, m)
		}
	}
	h.held = rest
	h.mu.Unlock()
	for _, m := range out {
		if m.Sharded {
			h.hub.InjectSharded(m.Channel, m.Payload)
		} else {
			h.hub.Inject(m.Channel, m.Payload)
		}
	}
	return len(out)
}

// isQuestion tells whether it is one to the servers of "/".
func isQuestion(kind string, m redisadapter.Publication, k rediswire.ControlKind) bool {
	return m.Channel == counted(kind) || k == rediswire.ControlAsk
}

// close closes the namespace of a server.
func (w *trio) close(t *testing.T, i int) {
	t.Helper()
	if err := w.servers[i].Close(); err != nil {
		t.Fatal(err)
	}
}

// reopen opens it again, with one socket, and makes it answer.
func (w *trio) reopen(t *testing.T, i int) {
	t.Helper()
	s := w.servers[i]
	s.host = adaptertest.NewHost(t, "/")
	a, err := s.cluster.Open(s.host)
	if err != nil {
		t.Fatal(err)
	}
	s.Adapter = a
	w.sockets[i] = s.host.Connect(t, w.sockets[i].ID(), "r")
	w.answering()
}

// outcome is that of a question.
type outcome struct {
	n    int
	err  error
	took time.Duration
}

// begin asks in the background, and returns when everybody waits.
func (w *trio) begin(t *testing.T, ask question) <-chan outcome {
	t.Helper()
	done := make(chan outcome, 1)
	go func() { // ends with the question
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		began := time.Now()
		n, err := ask(ctx, w.servers[0])
		done <- outcome{n, err, time.Since(began)}
	}()
	synctest.Wait()
	return done
}

// A server that closes the namespace, and is known to have it open until it says so, does not hide one that has just opened
// it, of whom only the subscription is known.
func TestMembers_OneClosesAndOneOpens(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, kind string) {
		for what, ask := range questions {
			w := threeServers(t, kind)
			w.answering()
			w.close(t, 2)
			pass(t, time.Second)
			h := hold(w.hub, func(m redisadapter.Publication, k rediswire.ControlKind) bool {
				return !isQuestion(kind, m, k) && k != rediswire.ControlAlive
			})
			w.reopen(t, 2)
			w.close(t, 1)
			pass(t, 100*time.Millisecond)
			done := w.begin(t, ask)
			if n := h.release(func(k rediswire.ControlKind) bool { return k == rediswire.ControlBye }); n != 1 {
				t.Fatalf("%s: %d messages told that a server has closed", what, n)
			}
			pass(t, 500*time.Millisecond)
			select {
			case x := <-done:
				t.Errorf("%s: %d, %v before all had answered", what, x.n, x.err)
				done = w.begin(t, func(context.Context, *server) (int, error) { return 2, nil })
			default:
			}
			if h.release(nil) == 0 {
				t.Errorf("%s: nobody has answered", what)
			}
			if x := <-done; x.n != 2 || x.err != nil || x.took > 5*time.Second {
				t.Errorf("%s: %+v", what, x)
			}
			w.end(t)
		}
	})
}

// end closes the servers, so that they do not slow down what comes.
func (w *trio) end(t *testing.T) {
	t.Helper()
	for _, s := range w.servers {
		if err := s.cluster.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A server that closes before it hears the question is not waited for: neither one that is known nor one that opened the
// namespace so shortly before that it never told.
func TestMembers_ClosesBeforeItHears(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, kind string) {
		for what, ask := range questions {
			for _, known := range []bool{true, false} {
				w := threeServers(t, kind)
				w.answering()
				w.close(t, 1)
				w.close(t, 2)
				pass(t, time.Second)
				if known {
					w.reopen(t, 2)
					pass(t, time.Second)
				}
				lost := 0
				hold(w.hub, func(m redisadapter.Publication, k rediswire.ControlKind) bool {
					if isQuestion(kind, m, k) {
						lost++
						return true
					}
					return k == rediswire.ControlHello
				})
				if !known {
					w.reopen(t, 2)
				}
				done := w.begin(t, ask)
				pass(t, 100*time.Millisecond)
				if lost != 1 || len(done) > 0 {
					t.Fatalf("%s, known %v: %d questions were lost", what, known, lost)
				}
				w.close(t, 2)
				if x := <-done; x.err != nil || x.n != 1 || x.took > 2*time.Second {
					t.Errorf("%s, known %v: %+v", what, known, x)
				}
				w.end(t)
			}
		}
	})
}

// late is a driver at whose first message on a channel a stranger appears, who does not hear it.
type late struct {
	*severable

	channel string
	appear  func()
}

func (d *late) Publish(ctx context.Context, batch []redisadapter.Publication) []error {
	errs := d.severable.Publish(ctx, batch)
	for _, m := range batch {
		if m.Channel == d.channel && d.appear != nil {
			d.appear()
			d.appear = nil
		}
	}
	return errs
}

// A server that opens the namespace after a question was asked is not waited for.
func TestMembers_OpensAfterTheQuestion(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, kind string) {
		hub := redistest.NewHub()
		d := &late{severable: &severable{StreamDriver: hub.StreamDriver()}, channel: counted(kind)}
		s := startCluster(t, kinds[kind](d))
		s.host.Connect(t, "socket-aaaaaaaaaaaaa").Answer(func([]any) []parser.Arg { return packet("", "yes").Args })
		pass(t, time.Second)
		stranger := hub.Driver()
		sub, err := stranger.Subscribe(t.Context(), listen{})
		if err != nil {
			t.Fatal(err)
		}
		defer sub.Close()
		topics := redisadapter.Topics{Channels: []string{counted(kind)}}
		if strings.Contains(kind, "sharded") {
			topics = redisadapter.Topics{Sharded: topics.Channels}
		}
		appeared := false
		d.appear = func() {
			appeared = true
			if err := sub.Add(context.Background(), topics); err != nil {
				t.Error(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		n := 0
		err = s.BroadcastWithAck(ctx, packet("q"), adapter.Options{}, func(adapter.Answer) { n++ })
		if n != 1 || err != nil || !appeared {
			t.Errorf("%d, %v, appeared %v", n, err, appeared)
		}
	})
}

// A server whose subscription is lost is not among those that it counts.
func TestMembers_CountsWhileItsSubscriptionIsLost(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, kind string) {
		for what, ask := range questions {
			w := threeServers(t, kind)
			w.answering()
			w.close(t, 1)
			w.close(t, 2)
			pass(t, time.Second)
			hold(w.hub, func(_ redisadapter.Publication, k rediswire.ControlKind) bool { return k == rediswire.ControlHello })
			w.reopen(t, 2)
			pass(t, 100*time.Millisecond)
			names := []string{counted(kind), "socket.io-sockeye#/#"}
			topics := redisadapter.Topics{Channels: names}
			if strings.Contains(kind, "sharded") {
				topics = redisadapter.Topics{Sharded: names}
			}
			w.drivers[0].receiver.Lost(redistest.ErrDown)
			if err := w.drivers[0].sub.Remove(t.Context(), topics); err != nil {
				t.Fatal(err)
			}
			if x := <-w.begin(t, ask); x.n != 2 || x.err != nil {
				t.Errorf("%s: %+v", what, x)
			}
			w.drivers[0].receiver.Restored()
			w.end(t)
		}
	})
}
