package faults

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/testkit"
)

// answers is what came of the three kinds of question.
type answers struct {
	sockets            int
	sides, acks        int
	fetch, side, acked error
}

// ask asks all three at the same time.
func ask(ctx context.Context, s *server) <-chan answers {
	parts := make(chan func(*answers), 3)
	go func() { // ends when it is answered, or ctx ends
		sockets, err := s.Of("/").All().FetchSockets(ctx)
		parts <- func(x *answers) { x.sockets, x.fetch = len(sockets), err }
	}()
	go func() { // likewise
		replies, err := s.Of("/").ServerSideEmitWithAck(ctx, "who")
		parts <- func(x *answers) { x.sides, x.side = len(replies), err }
	}()
	go func() { // likewise
		replies, err := s.Of("/").All().EmitWithAck(ctx, "question")
		parts <- func(x *answers) { x.acks, x.acked = len(replies), err }
	}()
	done := make(chan answers, 1)
	go func() { // ends after the others
		var x answers
		for range 3 {
			(<-parts)(&x)
		}
		done <- x
	}()
	return done
}

// missing gives how many servers an error says to be missing, by name and not, and why.
func missing(t *testing.T, err error) (named, silent int, why error) {
	t.Helper()
	if e, ok := errors.AsType[*adapter.Incomplete](err); ok {
		return len(e.MissingServers), e.SilentServers, e.Err
	}
	if e, ok := errors.AsType[*sockeye.AckError](err); ok {
		return len(e.MissingServers), e.SilentServers, e.Err
	}
	t.Errorf("%v says nothing of servers", err)
	return 0, 0, nil
}

// victims is two servers here and one that is to suffer, which all know each other, with a client each.
type victims struct {
	a, b       *server
	v          *child
	ca, cb, cv *client
}

func startVictims(t *testing.T, kind string) *victims {
	t.Helper()
	redis := testkit.StartRedis(t)
	p := plan{Kind: kind, URL: redis.URL()}
	f := &victims{a: start(t, p), b: start(t, p), v: spawn(t, p)}
	f.ca, f.cb, f.cv = connect(t, f.a.url, "r"), connect(t, f.b.url, "r"), connect(t, f.v.url, "r")
	f.known(t, 2)
	reaches(t, f.a, "", f.cv)
	reaches(t, f.a, "r", f.cb)
	return f
}

// known waits until the servers here know that many others.
func (f *victims) known(t *testing.T, n int) {
	t.Helper()
	eventually(t, "the servers know each other", func() bool {
		return f.a.stats().Servers == n && f.b.stats().Servers == n
	})
}

// all checks that questions are answered by everybody.
func (f *victims) all(t *testing.T, servers int) {
	t.Helper()
	x := <-ask(bounded(t), f.a)
	if err := errors.Join(x.fetch, x.side, x.acked); err != nil || x.sockets != servers || x.sides != servers-1 || x.acks != servers {
		t.Errorf("%+v, want %d servers", x, servers)
	}
}

// TestServer_Killed: a server is killed while another waits for its answers. What came is returned before the time is
// over, with an error that names it. Afterwards nobody waits for it.
func TestServer_Killed(t *testing.T) {
	t.Parallel()
	forKinds(t, func(t *testing.T, kind string) {
		t.Helper()
		f := startVictims(t, kind)
		f.all(t, 3)
		f.v.Pause()
		question := f.cb.times("question")
		done := ask(bounded(t), f.a)
		eventually(t, "the question is under way", func() bool { return f.cb.times("question") > question })
		f.v.Kill()
		if f.v.Running() {
			t.Error("it runs")
		}
		x := <-done
		if x.sockets != 2 || x.sides != 1 || x.acks != 2 {
			t.Errorf("%d sockets, %d servers, %d acknowledgements", x.sockets, x.sides, x.acks)
		}
		for what, err := range map[string]error{"fetch": x.fetch, "server-side": x.side, "acknowledgements": x.acked} {
			named, silent, why := missing(t, err)
			if named != 1 || silent != 0 || !errors.Is(why, adapter.ErrServerLeft) {
				t.Errorf("%s: %v: %d missing, %d silent: %v", what, err, named, silent, why)
			}
		}
		f.known(t, 1)
		f.all(t, 2)
		w := startStorm(t, f.a, "a", "", false)
		flows(t, f.cb, w, 50)
		complete(t, f.cb, w, w.finish(t))
	})
}

// TestServer_Frozen: a server stands still, and goes on. Others give what they have meanwhile and ignore what it answers
// late; its clients get everything late, and once.
func TestServer_Frozen(t *testing.T) {
	t.Parallel()
	forKinds(t, func(t *testing.T, kind string) {
		t.Helper()
		f := startVictims(t, kind)
		w, r := startStorm(t, f.a, "a", "", false), startStorm(t, f.b, "b", "r", false)
		n := rounds(t, 1)
		for round := range n {
			flows(t, f.cv, w, 50)
			f.v.Pause()
			ctx, cancel := context.WithTimeout(t.Context(), testkit.Scale(time.Second))
			x := <-ask(ctx, f.a)
			cancel()
			if x.sockets != 2 || x.sides != 1 || x.acks != 2 {
				t.Errorf("%d sockets, %d servers, %d acknowledgements", x.sockets, x.sides, x.acks)
			}
			for what, err := range map[string]error{"fetch": x.fetch, "server-side": x.side, "acknowledgements": x.acked} {
				if named, silent, _ := missing(t, err); named != 1 || silent != 0 {
					t.Errorf("%s: %v: %d missing, %d silent", what, err, named, silent)
				}
			}
			flows(t, f.cb, w, 50)
			flows(t, f.ca, r, 50)
			f.v.Resume()
			flows(t, f.cv, w, 50)
			f.known(t, 2)
			eventually(t, "it answers again", func() bool {
				sockets, err := f.a.Of("/").All().FetchSockets(bounded(t))
				return err == nil && len(sockets) == 3
			})
			if got := f.cv.times("question"); got != round+1 {
				t.Errorf("the question came %d times in %d rounds", got, round+1)
			}
		}
		na, nb := w.finish(t), r.finish(t)
		for _, c := range []*client{f.ca, f.cb, f.cv} {
			complete(t, c, w, na)
			complete(t, c, r, nb)
		}
	})
}
