package adaptertest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/parser"
)

// answers collects, and notices calls at the same time.
type answers struct {
	t    *testing.T
	busy atomic.Bool

	mu  sync.Mutex
	got []adapter.Answer
}

func (a *answers) add(x adapter.Answer) {
	if !a.busy.CompareAndSwap(false, true) {
		a.t.Error("two answers at the same time")
	}
	runtime.Gosched() // gives a second call a chance to show
	a.mu.Lock()
	a.got = append(a.got, x)
	a.mu.Unlock()
	a.busy.Store(false)
}

func (a *answers) len() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.got)
}

// firsts gives the first argument of each answer, sorted as text.
func (a *answers) firsts() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []string
	for _, x := range a.got {
		vs, err := plain(x.Args)
		if err != nil || len(vs) == 0 {
			a.t.Errorf("answer %v: %v", vs, err)
			continue
		}
		all = append(all, fmt.Sprint(vs[0]))
	}
	slices.Sort(all)
	return all
}

// sayID makes sockets answer with their id.
func sayID(ss ...*Socket) {
	for _, s := range ss {
		s.Answer(func([]any) []parser.Arg { return values(s.id) })
	}
}

func ids(ss []*Socket) []string {
	var all []string
	for _, s := range ss {
		all = append(all, s.id)
	}
	slices.Sort(all)
	return all
}

func testAckAll(t *testing.T, w *world) {
	t.Helper()
	nodes := w.populate(t)
	sayID(sockets(nodes)...)
	for _, n := range nodes {
		a := answers{t: t}
		if err := n.BroadcastWithAck(deadline(t), packet(n, "who"), adapter.Options{}, a.add); err != nil {
			t.Fatal(err)
		}
		if got, want := a.firsts(), ids(sockets(nodes)); !slices.Equal(got, want) {
			t.Errorf("answers of %q, want %q", got, want)
		}
		for _, x := range a.got {
			if x.Socket == "" && w.lacks(AckSocketUnknown) {
				continue
			}
			if vs, _ := plain(x.Args); x.Socket != vs[0] {
				t.Errorf("answer of %q marked as that of %q", vs[0], x.Socket)
			}
		}
	}
}

func testAckArguments(t *testing.T, w *world) {
	t.Helper()
	nodes := w.populate(t)
	given, want := arguments()
	for _, s := range sockets(nodes) {
		s.Answer(func(args []any) []parser.Arg {
			if !reflect.DeepEqual(args, want) {
				t.Errorf("%s got\n%#v\nwant\n%#v", s.id, args, want)
			}
			return values(append([]any{given}, given...)...)
		})
	}
	for _, n := range nodes {
		a := answers{t: t}
		f := adapter.Flags{Volatile: true, NoCompress: true}
		if err := n.BroadcastWithAck(deadline(t), packet(n, "what", given...), adapter.Options{Flags: f}, a.add); err != nil {
			t.Fatal(err)
		}
		for _, x := range a.got {
			vs, err := plain(x.Args)
			if err != nil {
				t.Fatal(err)
			}
			if full := append([]any{want}, want...); reflect.DeepEqual(vs, full) {
				continue
			}
			if !w.lacks(FirstAckArgument) || !reflect.DeepEqual(vs, []any{want}) {
				t.Errorf("answer\n%#v\nwant\n%#v", vs, want)
			}
		}
		for _, s := range n.sockets {
			if got := s.Got(); got[len(got)-1].Flags != f {
				t.Errorf("flags %+v", got[len(got)-1].Flags)
			}
		}
	}
	for _, s := range sockets(nodes) {
		for _, r := range s.Got() {
			if !w.lacks(AckFlagsDropped) && r.Flags != (adapter.Flags{Volatile: true, NoCompress: true}) {
				t.Errorf("%s got it with %+v", s.id, r.Flags)
			}
		}
	}
	// No argument at all is an answer too.
	for _, s := range sockets(nodes) {
		s.Answer(func([]any) []parser.Arg { return nil })
	}
	a := answers{t: t}
	if err := nodes[0].BroadcastWithAck(deadline(t), packet(nodes[0], "what"), adapter.Options{}, a.add); err != nil {
		t.Fatal(err)
	}
	if a.len() != len(sockets(nodes)) {
		t.Errorf("%d answers without arguments, want %d", a.len(), len(sockets(nodes)))
	}
}

func testAckNobody(t *testing.T, w *world) {
	t.Helper()
	nodes := w.populate(t)
	sayID(sockets(nodes)...)
	for _, n := range nodes {
		a := answers{t: t}
		o := adapter.Options{Rooms: []string{"nobody"}}
		if err := n.BroadcastWithAck(deadline(t), packet(n, "who"), o, a.add); err != nil || a.len() > 0 {
			t.Errorf("%d answers, error %v", a.len(), err)
		}
	}
}

func testAckSelects(t *testing.T, w *world) {
	t.Helper()
	nodes := w.populate(t)
	all := sockets(nodes)
	sayID(all...)
	for _, o := range []adapter.Options{
		{Rooms: []string{"red", "blue"}},
		{Rooms: []string{"red"}, Except: []string{"blue"}},
		{Except: []string{"server-0"}},
		{Rooms: []string{id(len(nodes)-1, 2)}},
		{Rooms: []string{id(len(nodes)-1, 2)}, Flags: adapter.Flags{Single: true}},
	} {
		for _, n := range nodes {
			want := ids(slices.DeleteFunc(slices.Clone(all), func(s *Socket) bool { return !selects(o, n.Host, s) }))
			a := answers{t: t}
			if err := n.BroadcastWithAck(deadline(t), packet(n, "who"), o, a.add); err != nil {
				t.Fatal(err)
			}
			if got := a.firsts(); !slices.Equal(got, want) {
				t.Errorf("%s: answers of %q, want %q", describe(o), got, want)
			}
		}
	}
}

// testAckIncomplete covers the end of the context while sockets here and elsewhere stay silent.
func testAckIncomplete(t *testing.T, w *world) {
	t.Helper()
	nodes := w.populate(t)
	all := sockets(nodes)
	for _, silent := range []*Socket{all[0], all[len(all)-1]} {
		for _, s := range all {
			s.Answer(nil)
			if s != silent {
				sayID(s)
			}
		}
		n := nodes[0]
		cause := errors.New("the test is tired")
		ctx, cancel := context.WithCancelCause(t.Context())
		a := answers{t: t}
		err := n.BroadcastWithAck(ctx, packet(n, "who"), adapter.Options{}, func(x adapter.Answer) {
			a.add(x)
			if a.len() == len(all)-1 {
				cancel(cause)
			}
		})
		cancel(nil)
		var inc *adapter.Incomplete
		if !errors.As(err, &inc) || !errors.Is(err, cause) {
			t.Fatalf("error %v", err)
		}
		if inc.Received != len(all)-1 || inc.Expected != len(all) || a.len() != inc.Received {
			t.Errorf("%+v after %d answers", inc, a.len())
		}
		var missing []string
		if silent.host == n.Host {
			missing = []string{silent.id}
		}
		if len(missing) > 0 && !slices.Equal(inc.MissingSockets, missing) {
			t.Errorf("missing %q, want %q", inc.MissingSockets, missing)
		}
	}
}

// testAckLeaving covers that a socket that leaves is not waited for, and is named.
func testAckLeaving(t *testing.T, w *world) {
	t.Helper()
	nodes := w.populate(t)
	all := sockets(nodes)
	n := nodes[0]
	leaving := n.sockets[1]
	for _, s := range all {
		if s != leaving {
			sayID(s)
		}
	}
	leaving.Answer(nil)
	done := make(chan error, 1)
	a := answers{t: t}
	go func() { // ends when the broadcast does
		done <- n.BroadcastWithAck(deadline(t), packet(n, "who"), adapter.Options{}, a.add)
	}()
	testkit.Eventually(t, "all but one answered", func() bool { return leaving.Has("who") && a.len() == len(all)-1 })
	leaving.Disconnect()
	var inc *adapter.Incomplete
	if err := <-done; !errors.As(err, &inc) || !errors.Is(err, adapter.ErrSocketLeft) {
		t.Fatalf("error %v", err)
	}
	if inc.Expected != len(all) || inc.Received != len(all)-1 || !slices.Equal(inc.MissingSockets, []string{leaving.id}) {
		t.Errorf("%+v", inc)
	}
}
